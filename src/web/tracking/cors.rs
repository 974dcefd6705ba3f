//! Which sites may read the script's answers: with credentials, so exactly the asking origin, never
//! `*`.

use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::model::host_pattern::OriginPattern;
use crate::model::site::Site;

/// The configured origins, and our own.
#[derive(Clone, Debug)]
pub struct Cors {
    is_open: bool,
    origins: Vec<OriginPattern>,
}

/// What the origin of a request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// No `Origin` header: no browser, or a page of our own.
    NotAsked,
    /// May read the answer.
    Granted(HeaderValue),
    /// May not.
    Refused,
}

impl Cors {
    /// The origins of a site; its own is always allowed.
    pub fn new(site: &Site) -> Self {
        let origins = &site.origins;
        let own = url::Url::parse(&site.base_url).map(|url| url.origin().ascii_serialization());
        Self {
            is_open: origins.iter().any(|origin| origin == "*"),
            origins: origins
                .iter()
                .chain(own.iter())
                .filter_map(|origin| OriginPattern::parse(origin).ok())
                .collect(),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        let is_listed = || self.origins.iter().any(|pattern| pattern.covers(origin));
        origin != "null" && (self.is_open || is_listed())
    }

    /// Decides on the `Origin` header.
    pub fn permission(&self, headers: &HeaderMap) -> Permission {
        let Some(origin) = headers.get(ORIGIN) else {
            return Permission::NotAsked;
        };
        match origin.to_str() {
            Ok(text) if self.allows(text) => Permission::Granted(origin.clone()),
            _ => Permission::Refused,
        }
    }
}

impl Permission {
    /// Whether the asking page's script may read answers.
    pub fn is_granted(&self) -> bool {
        matches!(self, Self::Granted(_))
    }

    /// 204: what the asking page's script may do, whatever path it asks for.
    pub fn preflight(&self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        self.write_preflight(response.headers_mut());
        response
    }

    /// Adds the headers to a response that does not say yet who may read it.
    pub fn add(&self, headers: &mut HeaderMap) {
        let is_said = headers.get_all(VARY).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            let mut names = value.split(',').map(str::trim);
            names.any(|name| name.eq_ignore_ascii_case("origin"))
        });
        if !is_said {
            self.write(headers);
        }
    }

    /// Writes the headers of the answer; `Vary: Origin` always, since a cache must not hand one
    /// origin's answer to another.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Self::Granted(origin) = self {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
    }

    /// Writes the headers of the answer to `OPTIONS`. Source: Mautic's `CORSSubscriber`.
    pub fn write_preflight(&self, headers: &mut HeaderMap) {
        self.write(headers);
        if let Self::Granted(_) = self {
            headers.insert(
                ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("Origin, X-Requested-With, Content-Type, Authorization"),
            );
            headers.insert(
                ACCESS_CONTROL_ALLOW_METHODS,
                HeaderValue::from_static("GET, POST, OPTIONS"),
            );
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("36000"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandboxed_frame_is_nobody() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("null"));
        let mut site = Site::new("http://x".to_owned());
        site.origins = vec!["*".to_owned()];
        let cors = Cors::new(&site);
        assert_eq!(cors.permission(&headers), Permission::Refused);
        headers.insert(ORIGIN, HeaderValue::from_static("https://any.example"));
        let granted = cors.permission(&headers);
        assert!(matches!(granted, Permission::Granted(_)), "{granted:?}");
    }
}

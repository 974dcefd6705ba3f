//! Which sites may read the script's answers: with credentials, so exactly the asking origin, never
//! `*`.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

/// The configured origins, and our own.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<String>,
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
    /// `own` is our public URL; its origin is always allowed.
    pub fn new(mut origins: Vec<String>, own: &str) -> Self {
        if let Ok(url) = url::Url::parse(own) {
            origins.push(url.origin().ascii_serialization());
        }
        Self { origins }
    }

    /// Decides on the `Origin` header.
    pub fn permission(&self, headers: &HeaderMap) -> Permission {
        let Some(origin) = headers.get(ORIGIN) else {
            return Permission::NotAsked;
        };
        match origin.to_str() {
            Ok(text)
                if text != "null" && self.origins.iter().any(|pattern| matches(pattern, text)) =>
            {
                Permission::Granted(origin.clone())
            }
            _ => Permission::Refused,
        }
    }
}

impl Permission {
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

/// `*`, an origin, or `https://*.example.com` (any host below it, not itself).
fn matches(pattern: &str, origin: &str) -> bool {
    if pattern == "*" || pattern.eq_ignore_ascii_case(origin) {
        return true;
    }
    let Some((scheme, suffix)) = pattern.split_once("*.") else {
        return false;
    };
    let Some(host) = origin.strip_prefix(scheme) else {
        return false;
    };
    let Some(label) = host
        .strip_suffix(suffix)
        .and_then(|label| label.strip_suffix('.'))
    else {
        return false;
    };
    !label.is_empty()
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_allow_exactly_what_they_say() {
        for (pattern, origin, allowed) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://A.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://*.a.example", "https://x.a.example", true),
            ("https://*.a.example", "https://x.y.a.example", true),
            ("https://*.a.example", "https://a.example", false),
            (
                "https://*.a.example",
                "https://evil.example/.a.example",
                false,
            ),
            ("https://*.a.example", "https://evila.example", false),
            (
                "https://*.a.example",
                "https://x.a.example.evil.example",
                false,
            ),
            ("*", "https://any.example", true),
        ] {
            assert_eq!(matches(pattern, origin), allowed, "{pattern} {origin}");
        }
    }

    #[test]
    fn a_sandboxed_frame_is_nobody() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("null"));
        assert_eq!(
            Cors::new(vec!["*".into()], "http://x").permission(&headers),
            Permission::Refused
        );
    }
}

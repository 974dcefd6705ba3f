//! Turns what a dialect answers into HTTP: the one place that knows how an answer looks.

use axum::body::Body;
use axum::response::{Html, IntoResponse as _, Response};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION, ORIGIN,
    PRAGMA, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::cors::Permission;
use super::error::Problem;
use super::page::{hide, page};
use super::script::JAVASCRIPT;
use super::{EMBEDDABLE, ServedSite};
use crate::model::retry;
use crate::tracking::decoded::{Cookies, Readers, Reply, Runs};
use crate::web::etag;

/// A transparent 1x1 GIF: 43 bytes, where a PNG would have 67.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

impl ServedSite {
    /// An answer with its cookies, to a request with these headers.
    pub(in crate::web) fn render(
        &self,
        reply: Reply,
        cookies: &Cookies,
        request: &HeaderMap,
    ) -> Response {
        let mut response = match reply {
            Reply::Gif => gif(),
            Reply::Redirect(location) => redirect(location),
            Reply::NoPage(html) => self.no_page(html),
            Reply::Json(status, body, readers) => {
                let mut response = json(status, &body, readers);
                self.permission_of(readers, request)
                    .write(response.headers_mut());
                response
            }
            Reply::Preflight(readers) => {
                let mut response = StatusCode::NO_CONTENT.into_response();
                self.permission_of(readers, request)
                    .write_preflight(response.headers_mut());
                response
            }
            Reply::Page { status, html, runs } => form_page(status, html, runs),
            Reply::Part(html, readers) => {
                let mut response = form_page(StatusCode::OK, html, Runs::Nothing);
                self.permission_of(readers, request)
                    .write(response.headers_mut());
                response
            }
            Reply::Script(text) => script(text, request),
            Reply::Xml(text) => xml(text),
            Reply::Status(status) => bare(status),
            Reply::NotStored => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not stored; send again")
                    .into_response()
            }
        };
        self.cookies.write(cookies, request, response.headers_mut());
        response
    }

    /// The operator's fallback, else a page that says so: the dialect's or ours.
    fn no_page(&self, html: Option<String>) -> Response {
        match (&self.site.fallback_url, html) {
            (Some(url), _) => redirect(url.clone()),
            (None, Some(html)) => {
                let mut response = (StatusCode::NOT_FOUND, Html(html)).into_response();
                hide(response.headers_mut());
                response
            }
            (None, None) => no_page_of_ours(),
        }
    }

    /// What the asking page's script may do.
    fn permission_of(&self, readers: Readers, request: &HeaderMap) -> Permission {
        match (self.cors.permission(request), readers, request.get(ORIGIN)) {
            (Permission::Refused, Readers::Form { is_own: true }, Some(origin)) => {
                Permission::Granted(origin.clone())
            }
            (permission, ..) => permission,
        }
    }
}

/// The pixel, never cached. Headers as Mautic sends them.
fn gif() -> Response {
    let mut response = Response::new(Body::from(GIF));
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache, no-store"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(&EMBEDDABLE, HeaderValue::from_static("cross-origin"));
    response
}

/// 302, never cached.
pub(in crate::web) fn redirect(location: String) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        // Destinations are checked when they are made: this would be a row changed by hand.
        return no_page_of_ours();
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(LOCATION, location);
    hide(headers);
    response
}

fn no_page_of_ours() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "This link leads nowhere",
        "It may be incomplete. Please copy it again from the message it came in.",
    )
}

fn json(status: StatusCode, body: &serde_json::Value, readers: Readers) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Readers::Form { .. } = readers {
        guard(headers);
    }
    response
}

fn form_page(status: StatusCode, html: String, runs: Runs) -> Response {
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    guard(headers);
    let policy = match runs {
        Runs::Nothing => Some("default-src 'none'; style-src 'unsafe-inline'"),
        // Its answers come into a frame.
        Runs::OwnFiles => Some(
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; frame-src 'self'; \
            base-uri 'none'",
        ),
        Runs::Inline => None,
    };
    if let Some(policy) = policy {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(retry::RETRY_AFTER));
    }
    response
}

/// A browser revalidates it each time and gets 304 if it has it.
fn script(text: String, request: &HeaderMap) -> Response {
    let tag = etag::of(text.as_bytes());
    let mut response = match etag::is_known(request, &tag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => text.into_response(),
    };
    let headers = response.headers_mut();
    guard(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JAVASCRIPT));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
    headers.insert(&EMBEDDABLE, HeaderValue::from_static("cross-origin"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// As `text/xml`, no browser takes it for a page.
fn xml(text: String) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/xml; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn bare(status: StatusCode) -> Response {
    let mut response = status.into_response();
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // What is taken is told, as RFC 9110 (15.5.16) asks.
        response
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
    }
    response
}

/// Never cached, never taken for another type.
fn guard(headers: &mut HeaderMap) {
    hide(headers);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use super::GIF;

    #[test]
    fn the_gif_has_43_bytes() {
        assert_eq!(GIF.len(), 43);
        assert!(GIF.starts_with(b"GIF89a\x01\x00\x01\x00") && GIF.ends_with(b";"));
    }
}

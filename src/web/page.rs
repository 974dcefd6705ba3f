//! Small pages for people who open an address that does not exist. They name no version, so that
//! they tell an attacker nothing.

use axum::response::{Html, IntoResponse as _, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};

static X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

const STYLE: &str =
    "body{font:1.1rem/1.5 system-ui;margin:15vh auto;max-width:30rem;padding:0 1rem}";

/// A page with a heading and a line, never cached, never indexed by a search engine. Both are ours:
/// nothing is escaped.
pub(super) fn page(status: StatusCode, heading: &str, line: &str) -> Response {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
        content=\"width=device-width\">\
         <meta name=\"robots\" \
         content=\"noindex\"><title>{heading}</title><style>{STYLE}</style><h1>{heading}</h1><p>{line}</p></html>"
    );
    let mut response = (status, Html(page)).into_response();
    hide(response.headers_mut());
    response
}

/// Keeps an answer out of caches, where later clicks would end, and out of search engines.
pub(super) fn hide(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(&X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
}

/// `GET /`: what this is.
pub(super) async fn get_start() -> Response {
    page(
        StatusCode::OK,
        "Links of messages",
        "This server forwards the links of messages to their pages and counts visits for whoever \
        sent them. There is nothing else to see here.",
    )
}

/// Whether a person's browser opens a page, rather than a page's script or image.
pub(super) fn is_navigation<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let takes_pages = text("accept").is_some_and(|accept| accept.contains("text/html"));
    let is_page = text("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
    *request.method() == Method::GET && takes_pages && is_page
}

/// The answer if no route matches. People get a page; programs that call the API or send something
/// read the status.
pub(super) fn refuse_path(method: &Method, uri: &Uri) -> Response {
    let path = uri.path();
    let is_api = path == "/api" || path.starts_with("/api/");
    if is_api || !matches!(*method, Method::GET | Method::HEAD) {
        return StatusCode::NOT_FOUND.into_response();
    }
    page(
        StatusCode::NOT_FOUND,
        "There is nothing here",
        "The address may be incomplete. Please copy it again from where it came from.",
    )
}

//! `/docs`: the manual of the running version, so that it describes what this server does.
//!
//! The pages are the Markdown files of `static/docs`, which read the same on a code host: links
//! between them are relative paths there and relative URLs here. They are compiled in, and turned
//! into HTML when the first of them is asked for. They hold no secrets, so they need no token.
//!
//! No HTML of a page's source gets through, there are no scripts, and the policy sent with each
//! page would stop both.

mod pages;
mod reference;
mod render;

use std::sync::LazyLock;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use self::pages::{FILES, PAGES, STYLE};
use super::api::openapi;
use super::{etag, page};

/// Loads nothing but our own style sheet, and no site may frame a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Documents by their path below `/docs/`.
static MANUAL: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let pages = PAGES.iter().enumerate().map(|(index, page)| {
        let around = [index.checked_sub(1), index.checked_add(1)];
        let around = around.map(|index| index.and_then(|index| PAGES.get(index)));
        Document::new(
            page.name,
            "text/html; charset=utf-8",
            render::page(page, around),
        )
    });
    let files = FILES.iter().map(|(_, name, text)| {
        Document::new(name, "text/plain; charset=utf-8", (*text).to_owned())
    });
    let style = Document::new("style.css", "text/css; charset=utf-8", STYLE.to_owned());
    let text = String::from_utf8_lossy(&openapi::TEXT).into_owned();
    let document = Document::new("openapi.json", "application/json", text);
    pages.chain(files).chain([style, document]).collect()
});

/// The response for a path.
struct Document {
    /// `mail`; nothing for the list of pages.
    name: &'static str,
    content_type: &'static str,
    body: Bytes,
    etag: String,
}

impl Document {
    fn new(name: &'static str, content_type: &'static str, body: String) -> Self {
        Self {
            name,
            content_type,
            etag: etag::of(body.as_bytes()),
            body: body.into(),
        }
    }
}

/// The routes below `/docs`.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(get_start))
        .route(
            "/docs/",
            get(async |headers: HeaderMap, method: Method, uri: Uri| {
                get_document(Path(String::new()), headers, method, uri).await
            }),
        )
        .route("/docs/{*name}", get(get_document))
}

static X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// `GET /docs`: links of the pages are relative, so the address has to end with a slash.
async fn get_start() -> Response {
    let headers = [
        (LOCATION, "/docs/"),
        (CACHE_CONTROL, "no-cache"),
        (X_ROBOTS_TAG.clone(), "noindex"),
    ];
    (StatusCode::PERMANENT_REDIRECT, headers).into_response()
}

/// `GET /docs/…`: a page, or a file that one of them names.
async fn get_document(
    Path(name): Path<String>,
    headers: HeaderMap,
    method: Method,
    uri: Uri,
) -> Response {
    let Some(document) = MANUAL.iter().find(|document| document.name == name) else {
        return page::refuse_path(&method, &uri);
    };
    let mut response = if etag::is_known(&headers, &document.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        document.body.clone().into_response()
    };
    let answer = response.headers_mut();
    let fixed: [(&HeaderName, &'static str); 6] = [
        (&X_ROBOTS_TAG, "noindex"),
        (&CONTENT_TYPE, document.content_type),
        // Kept, but asked for each time: an upgrade is seen at once.
        (&CACHE_CONTROL, "no-cache"),
        (&CONTENT_SECURITY_POLICY, POLICY),
        (&REFERRER_POLICY, "no-referrer"),
        (&X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        answer.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::try_from(&document.etag) {
        answer.insert(ETAG, etag);
    }
    response
}

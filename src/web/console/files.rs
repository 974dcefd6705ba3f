//! The style sheet, the script and the icon of all pages: asked for each time, so that an upgrade
//! is seen at once, and sent only where they are new.

use std::sync::LazyLock;

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, StatusCode};

use crate::web::etag;

const STYLE: &str = include_str!("../../../static/console/console.css");
const SCRIPT: &str = include_str!("../../../static/console/console.js");
const ICON: &str = include_str!("../../../static/console/icon.svg");

/// `GET /console/style.css`
pub(super) async fn style(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| etag::of(STYLE.as_bytes()));
    file(&headers, "text/css; charset=utf-8", STYLE, &TAG)
}

/// `GET /console/console.js`
pub(super) async fn script(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| etag::of(SCRIPT.as_bytes()));
    file(&headers, "text/javascript; charset=utf-8", SCRIPT, &TAG)
}

/// `GET /console/icon.svg`
pub(super) async fn icon(headers: HeaderMap) -> Response {
    static TAG: LazyLock<String> = LazyLock::new(|| etag::of(ICON.as_bytes()));
    file(&headers, "image/svg+xml", ICON, &TAG)
}

fn file(headers: &HeaderMap, kind: &'static str, text: &'static str, tag: &str) -> Response {
    let fixed = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (ETAG, tag),
    ];
    match etag::is_known(headers, tag) {
        true => (StatusCode::NOT_MODIFIED, fixed).into_response(),
        false => (fixed, text).into_response(),
    }
}

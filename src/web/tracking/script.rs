//! `/mtc.js` and `/media/js/mautic-form.js`: made once at the start, cacheable, compressed.

use std::io::Write as _;

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::EMBEDDABLE;
use crate::model::site::Paths;
use crate::web::etag;

/// The type of scripts.
pub(super) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A script as it is served.
#[derive(Clone, Debug)]
pub struct Script {
    plain: Bytes,
    gzip: Bytes,
    etag: String,
}

impl Script {
    /// The page script, with the operator's paths in it.
    pub fn new(paths: &Paths) -> Self {
        let text = without_comments(include_str!("../../../static/mtc.js"))
            .replace("__EVENT_PATH__", &paths.event)
            .replace("__PIXEL_PATH__", &paths.pixel)
            .replace("__ID_PATH__", "/mtc");
        Self::of(text)
    }

    /// What the forms of a page work with.
    pub fn of_forms() -> Self {
        Self::of(without_comments(include_str!(
            "../../../static/mautic-form.js"
        )))
    }

    fn of(text: String) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = encoder
            .write_all(text.as_bytes())
            .and_then(|()| encoder.finish())
            .unwrap_or_default();
        Self {
            etag: etag::of(text.as_bytes()),
            plain: text.into(),
            gzip: gzip.into(),
        }
    }
}

/// Lines without what stands before them, and without those that are comments: a quarter of the
/// bytes on the wire. No text of the script goes over the end of a line.
fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    code.flat_map(|line| [line, "\n"]).collect()
}

impl Script {
    /// `GET` of it.
    pub(in crate::web) fn answer(&self, headers: &HeaderMap) -> Response {
        let is_known = etag::is_known(headers, &self.etag);
        let takes_gzip = headers
            .get(ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.contains("gzip"));
        let mut response = match (is_known, takes_gzip && !self.gzip.is_empty()) {
            (true, _) => StatusCode::NOT_MODIFIED.into_response(),
            (false, true) => ([(CONTENT_ENCODING, "gzip")], self.gzip.clone()).into_response(),
            (false, false) => self.plain.clone().into_response(),
        };
        let answer = response.headers_mut();
        answer.insert(CONTENT_TYPE, HeaderValue::from_static(JAVASCRIPT));
        // An hour: a new version is on every site within it, and a visit fetches the script once.
        answer.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=3600, stale-while-revalidate=86400"),
        );
        answer.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        answer.insert(&EMBEDDABLE, HeaderValue::from_static("cross-origin"));
        if let Ok(etag) = HeaderValue::try_from(&self.etag) {
            answer.insert(ETAG, etag);
        }
        response
    }
}

//! One request as plain data: what a dialect may look at, and nothing else.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, Method};

use crate::clock::Micros;

/// Header in which the server tells itself that a request's head did not arrive whole: `cut` or `repaired`. A client that sends it gets no
/// more than the note.
pub const MENDED_HEADER: &str = "x-sillage-mended";

/// A request, borrowed from the server's.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// `GET`, `POST`, …
    pub method: &'a Method,
    /// Path as it stood in the request, not decoded.
    pub path: &'a str,
    /// Raw query without `?`.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Whole body.
    pub body: &'a [u8],
    /// Address of the client: the peer's, or what trusted proxies say of it.
    pub client: IpAddr,
    /// Whether the sender may override address, agent and time.
    pub is_trusted_sender: bool,
    /// When it arrived.
    pub received_at: Micros,
}

impl<'a> Inbound<'a> {
    /// A header's text; bytes that are no UTF-8 become U+FFFD.
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// Whether a header is there and holds a word, in any case.
    pub fn header_has(&self, name: &str, word: &str) -> bool {
        self.headers.get_all(name).iter().any(|value| {
            value
                .as_bytes()
                .windows(word.len())
                .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
        })
    }

    /// Value of a cookie; the first where several have the name.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(cookie::Cookie::split_parse)
            .filter_map(Result::ok)
            .find(|cookie| cookie.name() == name)
            .and_then(|cookie| cookie.value_raw())
    }

    /// Names and values of the query, decoded.
    pub fn query_pairs(&self) -> form_urlencoded::Parse<'a> {
        form_urlencoded::parse(self.query.as_bytes())
    }
}

//! One request as plain data: what a dialect may look at, and nothing else.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName, Method};

use crate::clock::Micros;
use crate::hit::clean_bytes;

/// Header in which the server tells itself that a request's head did not arrive whole: `cut` or `repaired`. A client that sends it gets no
/// more than the note.
pub static MENDED_HEADER: HeaderName = HeaderName::from_static("x-sillage-mended");

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
    pub fn header(&self, name: impl AsHeaderName) -> Option<Cow<'a, str>> {
        self.headers
            .get(name)
            .map(|value| clean_bytes(value.as_bytes()))
    }

    /// Value of a cookie; the first where several have the name. A header may hold thousands, and a request asks for several names: only a
    /// header that has the name in it at all is taken apart.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter(|value| memchr::memmem::find(value.as_bytes(), name.as_bytes()).is_some())
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.split_once('='))
            .find(|(had, _)| had.trim() == name)
            .map(|(_, value)| value.trim())
    }

    /// Names and values of the query, decoded.
    pub fn query_pairs(&self) -> form_urlencoded::Parse<'a> {
        form_urlencoded::parse(self.query.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
        let inbound = Inbound {
            method: &Method::GET,
            path: "/",
            query: "",
            headers,
            body: &[],
            client: IpAddr::from([127, 0, 0, 1]),
            is_trusted_sender: false,
            received_at: Micros(0),
        };
        inbound.cookie(name).map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        for line in ["xa=0; a=1;b = 2 ; empty=; c; d=e=f", "a=3; g=\"h\""] {
            headers.append("cookie", HeaderValue::from_static(line));
        }
        for (name, value) in [
            ("a", Some("1")),
            ("b", Some("2")),
            ("c", None),
            ("d", Some("e=f")),
            ("empty", Some("")),
            ("g", Some("\"h\"")),
            ("x", None),
        ] {
            assert_eq!(cookie(&headers, name).as_deref(), value, "{name}");
        }
    }

    proptest::proptest! {
        /// As the crate that writes our cookies reads them.
        #[test]
        fn cookies_are_read_as_the_cookie_crate_reads_them(line in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", HeaderValue::try_from(line.as_str()).unwrap());
            for parsed in cookie::Cookie::split_parse(line.as_str()).flatten() {
                let first = cookie::Cookie::split_parse(line.as_str())
                    .flatten()
                    .find(|other| other.name() == parsed.name());
                let first = first.and_then(|first| first.value_raw().map(str::to_owned));
                proptest::prop_assert_eq!(cookie(&headers, parsed.name()), first);
            }
        }
    }
}

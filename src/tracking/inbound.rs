//! One request as plain data: what a dialect may look at, and nothing else.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::model::clock::Micros;
use crate::model::hit::{VisitorId, clean_bytes};
use crate::model::site::Site;

/// Header in which the server notes for itself that a request's head was mended: `cut` or
/// `repaired`. A client that sends it gains nothing but the note.
pub static MENDED_HEADER: HeaderName = HeaderName::from_static("x-sillage-mended");

/// Maximum number of cookies of one name to examine: a browser has one for each domain and path
/// above a page, and each may cost a signature check.
const MOST_OF_A_NAME: usize = 20;

/// Why a requested cookie is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedOver {
    /// Its bytes are no UTF-8.
    NoText,
    /// Twenty of the name come before it.
    TooMany,
}

impl PassedOver {
    /// What a hit notes.
    pub fn note(self, name: &str) -> String {
        match self {
            Self::NoText => format!("{name} unreadable"),
            Self::TooMany => format!("{name} given too often"),
        }
    }
}

/// A request, borrowed from the server's.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// The site that it came to.
    pub site: &'a Site,
    /// `GET`, `POST`, …
    pub method: &'a Method,
    /// Path and query as in the request, not decoded.
    pub target: &'a str,
    /// The part of the path that belongs to the dialect: the rest of a route.
    pub rest: &'a str,
    /// Raw query without `?`, after repair.
    pub query: &'a str,
    /// Something in or behind the URL was cut away to understand it.
    pub is_repaired: bool,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// Whole body.
    pub body: &'a [u8],
    /// Address of the client: the peer's, or the one reported by trusted proxies.
    pub client: IpAddr,
    /// Whether a trusted proxy reported it.
    pub is_forwarded: bool,
    /// Whether the sender may override address, agent and time.
    pub is_trusted_sender: bool,
    /// When it arrived.
    pub received_at: Micros,
    /// The visitor's id, if the browser turns out to be new.
    pub new_visitor: VisitorId,
}

impl<'a> Inbound<'a> {
    /// Whether a trusted server sends this in its own name: it may speak for a visitor, but the
    /// request's address and agent are the server's.
    pub fn is_senders_own(&self) -> bool {
        self.is_trusted_sender && !self.is_forwarded
    }

    /// The same request with its body.
    pub fn with(self, body: &'a [u8]) -> Self {
        Self { body, ..self }
    }

    /// The same request, where more of its URL had to be interpreted.
    pub(crate) fn repaired(self, query: &'a str) -> Self {
        Self {
            query,
            is_repaired: true,
            ..self
        }
    }

    /// A header's text; invalid UTF-8 becomes U+FFFD.
    pub fn header(&self, name: impl AsHeaderName) -> Option<Cow<'a, str>> {
        self.headers
            .get(name)
            .map(|value| clean_bytes(value.as_bytes()))
    }

    /// Values of the cookies of a name, in the order in which the browser sent them. Cookies are
    /// bytes: what another program put into its own takes nothing from ours. A header may hold
    /// thousands, and a request asks for several names: only a header that has the name in it at
    /// all is taken apart.
    pub fn cookies<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = Result<&'a str, PassedOver>> + use<'a, 'n> {
        let headers: &'a HeaderMap = self.headers;
        headers
            .get_all(http::header::COOKIE)
            .iter()
            .map(HeaderValue::as_bytes)
            .filter(move |line| memchr::memmem::find(line, name.as_bytes()).is_some())
            .flat_map(|line| line.split(|byte| *byte == b';'))
            .filter_map(move |pair| {
                let end = memchr::memchr(b'=', pair)?;
                (pair[..end].trim_ascii() == name.as_bytes()).then(|| &pair[end + 1..])
            })
            .take(MOST_OF_A_NAME + 1)
            .enumerate()
            .map(|(index, value)| {
                if index == MOST_OF_A_NAME {
                    return Err(PassedOver::TooMany);
                }
                std::str::from_utf8(value)
                    .map(str::trim)
                    .map_err(|_| PassedOver::NoText)
            })
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

    fn cookies(headers: &HeaderMap, name: &str) -> Vec<Result<String, PassedOver>> {
        let inbound = Inbound {
            site: Site::usual(),
            method: &Method::GET,
            target: "/",
            rest: "",
            query: "",
            is_repaired: false,
            headers,
            body: &[],
            client: IpAddr::from([127, 0, 0, 1]),
            is_forwarded: false,
            is_trusted_sender: false,
            received_at: Micros(0),
            new_visitor: VisitorId(uuid::Uuid::nil()),
        };
        let cookies = inbound.cookies(name);
        cookies.map(|value| value.map(str::to_owned)).collect()
    }

    fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
        cookies(headers, name).into_iter().next()?.ok()
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

    #[test]
    fn a_cookie_that_is_no_text_takes_no_other_with_it() {
        for others in [
            "city=K\u{f6}ln".as_bytes(),
            b"city=K\xf6ln",
            "city=New\u{a0}York".as_bytes(),
            "\u{433}\u{43e}\u{440}\u{43e}\u{434}=1".as_bytes(),
            b"\xff\xfe",
        ] {
            for line in [[others, b"; a=1"].concat(), [b"a=1; ", others].concat()] {
                let mut headers = HeaderMap::new();
                headers.insert("cookie", HeaderValue::from_bytes(&line).unwrap());
                assert_eq!(cookie(&headers, "a").as_deref(), Some("1"), "{line:?}");
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            "cookie",
            HeaderValue::from_bytes(b"a=\xf6; a=\xc2\xa01").unwrap(),
        );
        assert_eq!(
            cookies(&headers, "a"),
            [Err(PassedOver::NoText), Ok("1".to_owned())]
        );
    }

    #[test]
    fn all_of_a_name_are_told_in_their_order_up_to_a_bound() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; b=2; a=; a=3"));
        headers.append("cookie", HeaderValue::from_static("a=4"));
        let told = ["1", "", "3", "4"].map(|value| Ok(value.to_owned()));
        assert_eq!(cookies(&headers, "a"), told);
        let line = "a=1; ".repeat(30);
        headers.insert("cookie", HeaderValue::from_str(&line).unwrap());
        let told = cookies(&headers, "a");
        assert_eq!((told.len(), &told[20]), (21, &Err(PassedOver::TooMany)));
    }

    proptest::proptest! {
        /// As parsed by the crate that writes our cookies.
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

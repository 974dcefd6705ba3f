//! The request that is to be explained, as it is given and as the bytes that its client would send.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_LENGTH;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::model::site::Site;
use crate::model::wire;
use crate::web::error::Problem;

/// Lines that decide where the body ends; they are written here.
const FRAMING: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// A request as its client would send it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodeRequest {
    /// `GET` without a body, else `POST`.
    method: Option<String>,
    /// Path or absolute URL, raw: it is sent as it stands here.
    url: String,
    #[serde(default)]
    headers: Headers,
    body: Option<String>,
    body_base64: Option<String>,
    /// Address of the connection's other end; 192.0.2.1 if none is named.
    #[schema(value_type = Option<String>)]
    peer: Option<Address>,
}

#[derive(Debug)]
struct Address(IpAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = "an IP address such as 203.0.113.7";
        wire::read(deserializer, form, |text| {
            text.trim().parse().ok().map(Self)
        })
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "it must be {name: value} or [[name, value], …]")]
#[schema(as = DecodeHeaders)]
enum Headers {
    Map(BTreeMap<String, String>),
    List(Vec<(String, String)>),
}

impl Default for Headers {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl DecodeRequest {
    /// Address of the connection's other end, where one is named.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.peer.as_ref().map(|peer| peer.0)
    }
}

/// The bytes that a client would send.
pub(super) fn write_request(wanted: DecodeRequest, site: &Site) -> Result<Vec<u8>, Problem> {
    let body = match (wanted.body, wanted.body_base64) {
        (Some(_), Some(_)) => {
            return Err(Problem::field(
                "body_base64",
                "cannot be combined with body; give one of the two",
            ));
        }
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => Some(STANDARD.decode(text.trim()).map_err(|_| {
            Problem::field(
                "body_base64",
                "is not valid base64; send plain text \
                    in body",
            )
        })?),
        (None, None) => None,
    };
    let usual = if body.is_some() { "POST" } else { "GET" };
    let method = wanted.method.as_deref().unwrap_or(usual);
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Problem::field(
            "method",
            "is not an HTTP method; give one such as GET or POST",
        ));
    }
    let (host, target) = split_url(&wanted.url)
        .ok_or_else(|| Problem::field("url", "must be a path or an http(s) URL on one line"))?;
    let headers: Vec<(String, String)> = match wanted.headers {
        Headers::Map(map) => map.into_iter().collect(),
        Headers::List(list) => list,
    };
    let is = |name: &str, known: &str| name.trim().eq_ignore_ascii_case(known);
    let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| is(name, "host")) {
        let own = split_url(&site.base_url).and_then(|(host, _)| host);
        let host = host.or(own).unwrap_or("localhost");
        text += &format!("Host: {host}\r\n");
    }
    for (name, value) in &headers {
        if name.contains(['\r', '\n']) || value.contains(['\r', '\n']) {
            return Err(Problem::field(
                "headers",
                "contain a line break; give each header separately",
            ));
        }
        if !FRAMING.iter().any(|line| is(name, line)) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    if let Some(body) = &body {
        text += &format!("{CONTENT_LENGTH}: {}\r\n", body.len());
    }
    text += "\r\n";
    let mut request = text.into_bytes();
    request.extend_from_slice(&body.unwrap_or_default());
    Ok(request)
}

/// Host, if there is one, and request target of a path or an absolute URL. Nothing in it is
/// changed.
fn split_url(url: &str) -> Option<(Option<&str>, String)> {
    if url.contains(['\r', '\n']) {
        return None;
    }
    if url.starts_with('/') {
        return Some((None, url.to_owned()));
    }
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    let slash = if target.starts_with('/') { "" } else { "/" };
    (!host.is_empty()).then(|| (Some(host), format!("{slash}{target}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(request: Value) -> Result<String, Problem> {
        let wanted = serde_json::from_value(request).unwrap();
        write_request(wanted, &Site::new("https://t.example.com".to_owned()))
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_request_is_sent_as_it_stands() {
        assert_eq!(
            written(json!({ "url": "/r/a b?x=%zz" })).unwrap(),
            "GET /r/a b?x=%zz HTTP/1.1\r\nConnection: close\r\nHost: t.example.com\r\n\r\n"
        );
        assert_eq!(
            written(json!({ "url": "HTTPS://other.example?x", "headers": [["Cookie", "a=1"], ["cookie", "b=2"]] })).unwrap(),
            "GET /?x HTTP/1.1\r\nConnection: close\r\nHost: other.example\r\nCookie: \
            a=1\r\ncookie: b=2\r\n\r\n"
        );
        let body = json!({ "url": "/mtc/event", "headers": { "host": "h", "Transfer-Encoding": "chunked" }, "body": "\u{fc}" });
        assert_eq!(
            written(body).unwrap(),
            "POST /mtc/event HTTP/1.1\r\nConnection: close\r\nhost: h\r\ncontent-length: \
            2\r\n\r\n\u{fc}"
        );
    }

    #[test]
    fn nothing_can_hide_a_second_request() {
        for request in [
            json!({ "url": "/r/a\r\n\r\nGET /r/b" }),
            json!({ "url": "/r/a", "headers": { "a": "b\nc: d" } }),
            json!({ "url": "/r/a", "headers": { "a\r\nb": "c" } }),
            json!({ "url": "/r/a", "method": "GET /x HTTP/1.1\r\n" }),
            json!({ "url": "/r/a", "method": "" }),
        ] {
            assert!(written(request.clone()).is_err(), "{request}");
        }
    }

    #[test]
    fn what_is_no_url_or_no_body_is_told() {
        for request in [
            json!({ "url": "" }),
            json!({ "url": "r/abc" }),
            json!({ "url": "ftp://t.example.com/" }),
            json!({ "url": "http:///r" }),
            json!({ "url": "/r", "body_base64": "*" }),
            json!({ "url": "/r", "body": "", "body_base64": "" }),
        ] {
            assert!(written(request.clone()).is_err(), "{request}");
        }
    }
}

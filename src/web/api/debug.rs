//! `POST /api/v1/debug/decode`: what would become of a request, without its happening.
//!
//! The request is written out as its client would send it and goes through the very parts that a real one meets: head mending, hyper, the
//! choice of the handler, the handler with its links. Only the last step is left out: no hit is offered to the spool. What the handlers
//! count (`sillage_redirects_total` and its like) they count here too. The answer's cookies are told as data; none is set.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, LOCATION, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::json::{ApiJson, Id};
use crate::export::HitLine;
use crate::hit::{Authority, Hit, Provenance, VisitorId};
use crate::sink::{Receipt, Refused, Sink};
use crate::store::stored_hits::StoredHit;
use crate::web::error::Problem;
use crate::web::{App, MOST_HEAD, Mended, Outcome, Visit};

/// Who asks where nobody is named: an address of the documentation range, in no list of trusted networks.
const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// What is told of the answer's text, in bytes.
const MOST_TOLD: usize = 64 << 10;
/// Hits of a batch that are told.
const MOST_HITS: usize = 1_000;
/// Lines that decide where the body ends; they are written here.
const FRAMING: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// A request as its client would send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `GET` without a body, else `POST`.
    method: Option<String>,
    /// Path or absolute URL, raw: it is sent as it stands here.
    url: String,
    #[serde(default)]
    headers: Headers,
    body: Option<String>,
    body_base64: Option<String>,
    /// Address of the connection's other end; 192.0.2.1 where none is named.
    peer: Option<IpAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "is neither {name: value} nor [[name, value], …]"
)]
enum Headers {
    Map(BTreeMap<String, String>),
    List(Vec<(String, String)>),
}

impl Default for Headers {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

/// Explains a request: 200 `{status, headers, location, set_cookies, body, refused, hits, hits_left_out}`; 422 that names `url` where it is no tracking URL.
/// `status` is null where the server would close the connection without an answer.
pub async fn explain_request(
    State(app): State<Arc<App>>,
    ApiJson(wanted): ApiJson<Wanted>,
) -> Result<Json<Value>, Problem> {
    let peer = wanted.peer.unwrap_or(SOMEBODY);
    let request = write_request(wanted, &app.base_url)?;
    match send(&app, peer, &request).await {
        Fate::Outcome(outcome) => Ok(Json(tell(&app, *outcome).await)),
        Fate::NoTracking => Err(Problem::field("url", "is no tracking URL of this server")),
        Fate::NotTaken(status) => Ok(Json(json!({
            "status": status,
            "headers": [],
            "location": null,
            "set_cookies": [],
            "body": null,
            "refused": "malformed request",
            "hits": [],
            "hits_left_out": 0,
        }))),
    }
}

/// The bytes that a client would send.
fn write_request(wanted: Wanted, base_url: &str) -> Result<Vec<u8>, Problem> {
    let body = match (wanted.body, wanted.body_base64) {
        (Some(_), Some(_)) => return Err(Problem::field("body_base64", "is given beside body")),
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => Some(
            STANDARD
                .decode(text.trim())
                .map_err(|_| Problem::field("body_base64", "is no base64"))?,
        ),
        (None, None) => None,
    };
    let usual = if body.is_some() { "POST" } else { "GET" };
    let method = wanted.method.as_deref().unwrap_or(usual);
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Problem::field("method", "is no method"));
    }
    let (host, target) = split_url(&wanted.url)
        .ok_or_else(|| Problem::field("url", "is neither a path nor an http(s) URL in one line"))?;
    let headers: Vec<(String, String)> = match wanted.headers {
        Headers::Map(map) => map.into_iter().collect(),
        Headers::List(list) => list,
    };
    let is = |name: &str, known: &str| name.trim().eq_ignore_ascii_case(known);
    let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| is(name, "host")) {
        let own = split_url(base_url).and_then(|(host, _)| host);
        let host = host.or(own).unwrap_or("localhost");
        text += &format!("Host: {host}\r\n");
    }
    for (name, value) in &headers {
        if name.contains(['\r', '\n']) || value.contains(['\r', '\n']) {
            return Err(Problem::field("headers", "hold a line end"));
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

/// Host, where there is one, and request target of a path or an absolute URL. Nothing in it is changed.
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

/// What became of the request.
enum Fate {
    Outcome(Box<Outcome>),
    NoTracking,
    /// It did not come through; the status that its sender would see.
    NotTaken(Option<u16>),
}

/// Sends the bytes over a connection in memory.
async fn send(app: &Arc<App>, peer: IpAddr, request: &[u8]) -> Fate {
    let (mut client, server) = duplex(64 << 10);
    let seen = Mutex::new(None);
    let service = service_fn(|request| {
        let seen = &seen;
        async move {
            let outcome = see(app, peer, request).await;
            if let Ok(mut seen) = seen.lock() {
                *seen = Some(outcome);
            }
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(Mended::new(server)), service);
    let exchange = async move {
        let mut answer = Vec::new();
        // A server that has seen enough closes while we still write.
        let _ = client.write_all(request).await;
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    let (answer, _) = tokio::join!(exchange, connection);
    let seen = seen.into_inner().ok().flatten();
    seen.unwrap_or_else(|| {
        let status = answer.get(9..12).and_then(|code| str::from_utf8(code).ok());
        Fate::NotTaken(status.and_then(|code| code.parse().ok()))
    })
}

/// The way of a tracking request up to where its hits would be kept.
async fn see(app: &App, peer: IpAddr, request: Request<Incoming>) -> Fate {
    let Some(tracking) = app.tracking(request.uri()) else {
        return Fate::NoTracking;
    };
    let (parts, body) = request.into_parts();
    let visit = Visit {
        peer,
        parts: &parts,
    };
    let outcome = app.track(tracking, visit, Body::new(body)).await;
    Fate::Outcome(Box::new(outcome))
}

async fn tell(app: &App, outcome: Outcome) -> Value {
    let Outcome {
        response,
        mut hits,
        refused,
        stream,
        ..
    } = outcome;
    let mut left_out = 0;
    if let Some(stream) = stream {
        // As the server reads it: on a thread of its own, with its place in memory.
        let read = tokio::task::spawn_blocking(move || {
            let onlooker = Onlooker::default();
            let _ = (stream.offer)(&onlooker);
            drop(stream.permits);
            onlooker.0.into_inner()
        });
        if let Ok(Ok(Seen { hits: seen, more })) = read.await {
            (hits, left_out) = (seen, more);
        }
    }
    let (parts, body) = response.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<Value> = parts
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), text(value)]))
        .collect();
    let cookies: Vec<String> = parts.headers.get_all(SET_COOKIE).iter().map(text).collect();
    json!({
        "status": parts.status.as_u16(),
        "headers": headers,
        "location": parts.headers.get(LOCATION).map(text),
        "set_cookies": cookies,
        "body": tell_body(&parts.headers, parts.status, body).await,
        "refused": refused,
        "hits": hits.iter().map(|hit| explain_hit(hit, &app.rules.unique)).collect::<Vec<_>>(),
        "hits_left_out": left_out,
    })
}

/// A sink that keeps nothing but what is told.
#[derive(Default)]
struct Onlooker(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    hits: Vec<Hit>,
    more: usize,
}

impl Sink for Onlooker {
    fn offer(&self, hits: &[Hit]) -> Receipt {
        self.offer_each(&mut hits.iter().cloned())
    }

    fn offer_each(&self, hits: &mut dyn Iterator<Item = Hit>) -> Receipt {
        if let Ok(mut seen) = self.0.lock() {
            seen.hits.extend(hits.take(MOST_HITS));
            seen.more = hits.count();
        }
        Receipt::refused(Refused::Stopping)
    }

    fn count_lost(&self, _hits: usize, _refused: Refused) {}
}

/// The answer's text; none for a picture.
async fn tell_body(headers: &HeaderMap, status: StatusCode, body: Body) -> Option<String> {
    let is_picture = headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"image/"));
    if is_picture || status == StatusCode::NOT_MODIFIED {
        return None;
    }
    let bytes = to_bytes(body, MOST_TOLD).await.ok()?;
    String::from_utf8(bytes.into())
        .ok()
        .filter(|text| !text.is_empty())
}

/// A hit as `GET /hits` tells it, but for its number and its id, which it gets when it is kept; and what no column holds.
fn explain_hit(hit: &Hit, unique: &[String]) -> Value {
    let row = StoredHit::preview(hit);
    let mut told = match serde_json::to_value(HitLine(&row)) {
        Ok(Value::Object(told)) => told,
        _ => Map::new(),
    };
    told.remove("seq");
    told.remove("id");
    let fields: Map<String, Value> = hit
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let notes: Vec<&str> = hit
        .reason
        .iter()
        .flat_map(|reason| reason.split("; "))
        .collect();
    let foreign = hit.foreign.as_deref();
    told.insert("fields".to_owned(), fields.into());
    told.insert("notes".to_owned(), notes.into());
    told.insert("evidence".to_owned(), evidence(hit, unique));
    told.insert(
        "idempotency_key".to_owned(),
        hit.idempotency_key.as_deref().into(),
    );
    told.insert(
        "quarantined".to_owned(),
        foreign
            .and_then(|foreign| foreign.refused.as_deref())
            .into(),
    );
    told.insert(
        "only_if_visitor_is_known".to_owned(),
        foreign
            .is_some_and(|foreign| foreign.is_for_known_visitors)
            .into(),
    );
    told.into()
}

/// What tells whose hit it is.
fn evidence(hit: &Hit, unique: &[String]) -> Value {
    let foreign = hit.foreign.as_deref();
    json!({
        "authority": match hit.authority {
            Authority::Public => "public",
            Authority::Authenticated => "authenticated",
        },
        "provenance": match hit.provenance {
            Provenance::None => "none",
            Provenance::Link => "link",
            Provenance::Session => "session",
            Provenance::Claimed => "claimed",
            Provenance::Unsigned => "unsigned",
        },
        "message_key": hit.message_key(),
        "recipient": foreign.and_then(|foreign| foreign.recipient.as_ref()).map(|(field, value)| json!({ "field": field, "value": value })),
        "visitor": hit.visitor_id.map(|id| json!({ "id": id.0, "from": visitor_source(hit, id) })),
        "names": names(hit, unique),
    })
}

/// What names a person, strongest first, as [`crate::identity`] goes through it: the first of them that leads to somebody is who it was.
fn names(hit: &Hit, unique: &[String]) -> Vec<Value> {
    let mut names = Vec::new();
    let message = match (hit.broadlog_id, hit.message_key()) {
        (Some(id), _) => Some(json!(Id(id.0))),
        (None, Some(key)) => Some(json!(key)),
        (None, None) => None,
    };
    let by_message = |by: &str| {
        message
            .as_ref()
            .map(|message| json!({ "by": by, "message": message }))
    };
    if let Some(contact) = hit.contact_id {
        names.push(json!({ "by": "authenticated sender", "contact_id": contact.0 }));
    }
    if hit.provenance == Provenance::Link {
        names.extend(by_message("signed link"));
    }
    let recipient = hit
        .foreign
        .as_ref()
        .and_then(|foreign| foreign.recipient.as_ref());
    for (by, pair) in recipient
        .map(|pair| ("recipient", pair))
        .into_iter()
        .chain(hit.fields.iter().map(|pair| ("field", pair)))
    {
        if unique.contains(&pair.0) {
            names.push(json!({ "by": by, "field": pair.0, "value": pair.1 }));
        }
    }
    match hit.provenance {
        Provenance::Session => names.extend(by_message("session of an earlier click")),
        Provenance::Unsigned => names.extend(by_message("unsigned link or its session")),
        Provenance::None | Provenance::Link | Provenance::Claimed => {}
    }
    if let (Some(id), false) = (hit.visitor_id, hit.visitor_is_new) {
        names.push(json!({ "by": "visitor", "id": id.0, "from": visitor_source(hit, id) }));
    }
    names
}

/// Where the visitor comes from: ours are made with the time in them, a vendor's are derived from what it sent.
fn visitor_source(hit: &Hit, id: VisitorId) -> &'static str {
    match (hit.visitor_is_new, id.0.get_version_num()) {
        (true, _) => "made for this request",
        (false, 8) => "a vendor's id, unsigned",
        (false, _) => "an id that this server signed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: Value) -> Result<String, Problem> {
        let wanted = serde_json::from_value(request).unwrap();
        write_request(wanted, "https://t.example.com")
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
            "GET /?x HTTP/1.1\r\nConnection: close\r\nHost: other.example\r\nCookie: a=1\r\ncookie: b=2\r\n\r\n"
        );
        let body = json!({ "url": "/mtc/event", "headers": { "host": "h", "Transfer-Encoding": "chunked" }, "body": "\u{fc}" });
        assert_eq!(
            written(body).unwrap(),
            "POST /mtc/event HTTP/1.1\r\nConnection: close\r\nhost: h\r\ncontent-length: 2\r\n\r\n\u{fc}"
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

//! `POST /api/v1/debug/decode`: what would become of a request, without its happening.
//!
//! The request is written out as its client would send it and goes through the very parts that a
//! real one meets: head mending, hyper, the reading of its path, its dialect with the links. Only
//! the last step is left out: no hit is offered to the spool, and nothing is counted. The answer's
//! cookies are told as data; none is set.

mod hit;
mod request;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use http::header::{LOCATION, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use self::hit::explain_hit;
pub(in crate::web) use self::request::DecodeRequest;
use self::request::write_request;
use super::json::ApiJson;
use super::openapi::shapes::ExplainedRequest;
use crate::model::hit::Hit;
use crate::queue::sink::{Receipt, Refused, Sink};
use crate::tracking::decoded::{Cookies, Reply};
use crate::tracking::route::RouteKind;
use crate::web::error::Problem;
use crate::web::tracking::{Head, Outcome};
use crate::web::{AdminState, MOST_HEAD, Mended, TrackingState};

/// Who asks if nobody is named: an address of the documentation range, in no list of trusted
/// networks.
const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// How much of the response's text is shown, in bytes.
const MOST_TOLD: usize = 64 << 10;
/// Number of a batch's hits that are shown.
const MOST_HITS: usize = 1_000;

/// Explains a request: 200 `{status, headers, location, set_cookies, body, refused, hits,
/// hits_left_out}`; 422 that names `url` where it is no tracking URL. `status` is null where the
/// server would close the connection without an answer.
#[utoipa::path(
    post,
    path = "/debug/decode",
    summary = "Explains what would become of a request",
    request_body = DecodeRequest,
    responses((status = 200, description = "What would become of it", body = ExplainedRequest)),
)]
pub async fn explain_request(
    State(app): State<Arc<AdminState>>,
    headers: HeaderMap,
    ApiJson(wanted): ApiJson<DecodeRequest>,
) -> Result<Json<Value>, Problem> {
    explain(&app, &headers, wanted).await.map(Json)
}

/// What would become of a request.
///
/// # Errors
/// It is none of this server's, or cannot be written out: 422 that names the field.
pub(in crate::web) async fn explain(
    app: &AdminState,
    headers: &HeaderMap,
    wanted: DecodeRequest,
) -> Result<Value, Problem> {
    let peer = wanted.peer().unwrap_or(SOMEBODY);
    let request = write_request(wanted, app.site_of(headers))?;
    match send(&app.tracking, peer, &request).await {
        Fate::Outcome(outcome, request) => Ok(tell(app, *outcome, &request).await),
        Fate::NoTracking => Err(Problem::field(
            "url",
            "is not a tracking URL of this server; give one such as /r/<id> or /mtracking.gif",
        )),
        Fate::NotTaken(status) => Ok(json!({
            "status": status,
            "headers": [],
            "location": null,
            "set_cookies": [],
            "body": null,
            "refused": "malformed request",
            "hits": [],
            "hits_left_out": 0,
        })),
    }
}

/// What became of the request.
enum Fate {
    /// With the headers of the request.
    Outcome(Box<Outcome>, HeaderMap),
    NoTracking,
    /// It did not get through; the status that its sender would see.
    NotTaken(Option<u16>),
}

/// Sends the bytes over a connection in memory.
async fn send(tracking: &TrackingState, peer: IpAddr, request: &[u8]) -> Fate {
    let (mut client, server) = duplex(64 << 10);
    let seen = Mutex::new(None);
    let service = service_fn(|request| {
        let seen = &seen;
        async move {
            let outcome = see(tracking, peer, request).await;
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

/// A tracking request up to the point where its hits would be kept.
async fn see(state: &TrackingState, peer: IpAddr, request: Request<Incoming>) -> Fate {
    let (parts, body) = request.into_parts();
    let served = state.site_of(&parts.headers);
    let Some(route) = served.site.paths.route(&parts.uri) else {
        return Fate::NoTracking;
    };
    if route.kind != RouteKind::Form && !state.has(&route).await {
        return Fate::NoTracking;
    }
    let head = Head::of(state, &served.site, peer, &parts, route);
    let outcome = state.decode(served, &head, Body::new(body)).await;
    Fate::Outcome(Box::new(outcome), parts.headers)
}

async fn tell(app: &AdminState, outcome: Outcome, request: &HeaderMap) -> Value {
    let site = app.tracking.site_of(request);
    let render = |reply, cookies| site.render(reply, cookies, request);
    let (response, Seen { hits, more }, refused) = match outcome {
        Outcome::Decoded(decoded)
        | Outcome::OfNobody {
            refusal: decoded, ..
        } => {
            let response = render(decoded.reply, &decoded.cookies);
            let seen = Seen {
                hits: decoded.hits,
                more: 0,
            };
            (response, seen, decoded.refused)
        }
        Outcome::Batch(batch) => {
            // As the server reads it: on a thread of its own, with its place in memory.
            let read = tokio::task::spawn_blocking(move || {
                let onlooker = Onlooker::default();
                let _ = (batch.offer)(&onlooker);
                drop(batch.permits);
                onlooker.0.into_inner()
            });
            let seen = read.await.ok().and_then(Result::ok).unwrap_or_default();
            let reply = Reply::Status(StatusCode::OK);
            (render(reply, &Cookies::default()), seen, None)
        }
        Outcome::Said { response, refused } => (response, Seen::default(), refused),
    };
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
        "hits": hits.iter().map(|hit| explain_hit(hit, &app.contacts.unique)).collect::<Vec<_>>(),
        "hits_left_out": more,
    })
}

/// A sink that keeps only what is shown.
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

    fn offer_unwatched(&self, hits: &[Hit]) -> Result<(), Refused> {
        self.offer(hits).refusal().map_or(Ok(()), Err)
    }

    fn offer_each(&self, hits: &mut dyn Iterator<Item = Hit>) -> Receipt {
        if let Ok(mut seen) = self.0.lock() {
            seen.hits.extend(hits.take(MOST_HITS));
            seen.more = hits.count();
        }
        Receipt::refused(Refused::Stopping)
    }

    fn count_lost(&self, _hits: usize, _refused: Refused) {}

    fn count_early(&self, _hits: usize) {}
}

/// The response's text; `None` for an image.
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

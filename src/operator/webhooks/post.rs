//! One request: built, signed, sent, and its answer judged. Whatever the receiver does, it takes at
//! most [`PATIENCE`] and a few kilobytes: a status is enough, and of the body only the beginning is
//! read, for people to see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use serde::Serialize;

use super::connector::{Connector, Resolve};
use crate::model::clock::Micros;
use crate::model::text::{Limit, clean, clean_bytes};
use crate::model::webhook::{Forbidden, WebhookSecret, retry_after};
use crate::operator::export::HitLine;
use crate::store::hits::StoredHit;
use crate::tls::with_roots;

/// How long a receiver may take for everything until its answer's head.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long its answer's body is waited for: the status is what counts.
const BODY_PATIENCE: Duration = Duration::from_secs(1);
/// How much of it is read. A connection on which more comes is closed.
const MOST_BODY: usize = 4 << 10;
/// How much of it is kept.
const KEPT: Limit = Limit(500);
/// Longest head of an answer.
const MOST_HEAD: usize = 16 << 10;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Idle connections that are kept for a receiver.
const MOST_IDLE: usize = 32;

const AGENT: &str = concat!("sillage/", env!("CARGO_PKG_VERSION"));

/// Sends requests.
#[derive(Clone)]
pub(super) struct Poster {
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 2xx.
    Taken,
    /// 410: nothing more is wanted.
    Gone(Failure),
    /// Anything else.
    Failed(Failure),
}

/// Why a hit did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The answer's status; `None`: there was none.
    pub(super) status: Option<u16>,
    /// The start of the answer, or why there was none.
    pub(super) answer: String,
    /// How long the receiver asks to wait, in microseconds.
    pub(super) retry_after: Option<i64>,
    /// How long it took.
    pub(super) took: Duration,
}

impl Answer {
    /// For the metric.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Taken => "delivered",
            Self::Gone(_) => "gone",
            Self::Failed(failure) => match failure.status {
                Some(_) => "refused",
                None => "unreachable",
            },
        }
    }
}

/// What is sent of a hit: the specification's envelope around what `GET /hits` says.
#[derive(Serialize)]
struct Payload<'h> {
    r#type: String,
    timestamp: String,
    data: HitLine<'h>,
}

/// The body for a hit.
pub(super) fn body_of(hit: &StoredHit) -> Bytes {
    let payload = Payload {
        r#type: format!("hit.{}", hit.kind),
        timestamp: hit.occurred_at.unwrap_or(hit.received_at).rfc3339(),
        data: HitLine(hit),
    };
    // Writing to memory does not fail.
    serde_json::to_vec(&payload).unwrap_or_default().into()
}

impl Poster {
    /// `None` if the system has no TLS at all.
    pub(super) fn new(resolve: Resolve, allowed: &[IpNet]) -> Option<Self> {
        let connector = Connector {
            resolve,
            allowed: Arc::from(allowed),
        };
        let connector = with_roots("a webhook's url")?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Some(Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(MOST_IDLE)
                .http1_max_buf_size(MOST_HEAD)
                .build(connector),
        })
    }

    /// Sends a hit.
    pub(super) async fn send(
        &self,
        url: &str,
        message: &str,
        secrets: &[WebhookSecret],
        body: Bytes,
        now: Micros,
    ) -> Answer {
        let begun = Instant::now();
        let failed = |answer: String| {
            Answer::Failed(Failure {
                status: None,
                answer,
                retry_after: None,
                took: begun.elapsed(),
            })
        };
        let seconds = now.0.div_euclid(Micros::SECOND);
        let signatures: Vec<String> = secrets
            .iter()
            .map(|secret| secret.sign(message, seconds, &body))
            .collect();
        let request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header("webhook-id", message)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signatures.join(" "))
            .body(Full::new(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return failed(format!("the request cannot be built: {error}")),
        };
        let answered = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let (parts, body) = match answered {
            Ok(Ok(response)) => response.into_parts(),
            Ok(Err(error)) => return failed(why(&error)),
            Err(_) => return failed(format!("no answer within {} seconds", PATIENCE.as_secs())),
        };
        let took = begun.elapsed();
        let start = start_of(body).await;
        judge(parts.status, &parts.headers, &start, took, now)
    }
}

/// What an answer means.
fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    took: Duration,
    now: Micros,
) -> Answer {
    if status.is_success() {
        return Answer::Taken;
    }
    let text = clean_bytes(body);
    let asked = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let failure = Failure {
        status: Some(status.as_u16()),
        answer: clean(&text, KEPT).0.into_owned(),
        retry_after: asked.and_then(|asked| retry_after(asked, now)),
        took,
    };
    match status {
        StatusCode::GONE => Answer::Gone(failure),
        _ => Answer::Failed(failure),
    }
}

/// The beginning of a body. A short one is read to its end, so that its connection can be used
/// again.
async fn start_of(mut body: Incoming) -> Vec<u8> {
    let mut start = Vec::new();
    let reading = async {
        while start.len() < MOST_BODY {
            let Some(Ok(frame)) = body.frame().await else {
                break;
            };
            if let Ok(data) = frame.into_data() {
                let room = MOST_BODY - start.len();
                start.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
    };
    // What has come by then is enough.
    let _ = tokio::time::timeout(BODY_PATIENCE, reading).await;
    start
}

/// Why there is no answer, in words for the operator. Errors of TLS quote names out of the
/// receiver's certificate, so they are cleaned like its answers.
fn why(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
        let forbidden = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<Forbidden>());
        if let Some(forbidden) = forbidden {
            return forbidden.to_string();
        }
    }
    clean(&cause.to_string(), KEPT).0.into_owned()
}

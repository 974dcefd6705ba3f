//! Mapp's hits, batches, opt-outs and redirects.
//!
//! A hit always gets its GIF. A batch gets exactly 200 once it is durable, 503 where it is not: its
//! sender sends it again then; 413 and 400 tell it to give the batch up (`protocols/mapp.md`,
//! Batch), and so does 415, to what is packed with anything but gzip and deflate. Nothing in a
//! batch tells that it was sent before: where the answer to a stored one is lost, it counts twice.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::ACCEPT_ENCODING;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::collect::gif;
use super::error::Problem;
use super::outcome::Stream;
use super::redirect::{is_visit, redirect, unknown_link};
use super::{Outcome, TrackingState, Visit};
use crate::model::hit::{Hit, HitId};
use crate::tracking::inbound::Inbound;
use crate::tracking::mapp::batch::{self, Packing, Unusable};
use crate::tracking::mapp::{self, Call, Sender};
use crate::tracking::verdict;

/// How long a batch may take to arrive.
const MOST_TIME: Duration = Duration::from_secs(60);
/// Kilobytes of batches that may wait in memory; who comes with more is asked to come again.
static ROOM: Semaphore = Semaphore::const_new(96 << 10);
/// Batches that are read and stored at once: while one waits for the disk the next is read.
static READERS: Semaphore = Semaphore::const_new(3);

/// Answers any of them.
pub(in crate::web) async fn answer_mapp(
    app: &TrackingState,
    visit: Visit<'_>,
    body: Body,
) -> Outcome {
    let parts = visit.parts;
    let Some((sites, call)) = mapp::read_path(visit.path, &app.mapp.path) else {
        return Outcome::refused(unknown_link(app), "no path of Mapp's");
    };
    match (call, &parts.method) {
        (Call::Hit | Call::Batch, &Method::POST) => {
            Box::pin(take_batch(app, visit, body, sites)).await
        }
        (Call::Hit, &(Method::GET | Method::HEAD)) => get_hit(app, visit, sites),
        (Call::Optout, &(Method::GET | Method::HEAD | Method::POST)) => {
            get_optout(app, visit, sites)
        }
        (Call::Redirect, &(Method::GET | Method::HEAD)) => get_redirect(app, visit, sites),
        _ => Outcome::refused(
            StatusCode::METHOD_NOT_ALLOWED.into_response(),
            "method not for this path",
        ),
    }
}

/// `GET /<track id>/wt`: the GIF, and Mapp's cookies where they are switched on.
fn get_hit(app: &TrackingState, visit: Visit<'_>, sites: &str) -> Outcome {
    let inbound = app.inbound(visit, &[]);
    let mut found = mapp::collect(&inbound, &app.rules, sites);
    let mut response = gif();
    if app.mapp.third_party_cookies && is_visit(&inbound) && !found.is_anonymous {
        write_cookies(app, &inbound, &mut found.hits, &mut response);
    }
    app.counters.collected.increment(found.hits.len() as u64);
    Outcome::of(response, found.hits)
}

/// Every track id has its own cookie. Who comes without any id gets one, and is its visitor from
/// this hit on.
fn write_cookies(
    app: &TrackingState,
    inbound: &Inbound<'_>,
    hits: &mut [Hit],
    response: &mut Response,
) {
    let mut made = None;
    for hit in hits {
        if hit.visitor_id.is_none() {
            let id = made.get_or_insert_with(|| {
                let random = app.clock.new_id(inbound.received_at).as_u128();
                mapp::new_ever_id(inbound.received_at, random)
            });
            mapp::set_ever_id(hit, id);
        }
        let ever_id = mapp::ever_id(hit).map(str::to_owned);
        app.cookies
            .write_ever_id(&hit.site, ever_id, inbound.headers, response.headers_mut());
    }
}

/// `GET /<track id>/optout?duration=<days>`: the GIF, and the cookie that later hits respect.
fn get_optout(app: &TrackingState, visit: Visit<'_>, sites: &str) -> Outcome {
    let inbound = app.inbound(visit, &[]);
    let (hits, days) = mapp::optout(&inbound, &app.rules, sites);
    let mut response = gif();
    if inbound.method != Method::HEAD && !verdict::is_prefetch(&inbound) {
        app.cookies
            .write_optout(days, inbound.headers, response.headers_mut());
    }
    Outcome::of(response, hits)
}

/// `GET /<track id>/re.pl?t=<target>&c=<content id>`: only to hosts of the configuration.
fn get_redirect(app: &TrackingState, visit: Visit<'_>, sites: &str) -> Outcome {
    let inbound = app.inbound(visit, &[]);
    let Some(target) = mapp::read_target(inbound.query, &app.mapp.redirect_hosts) else {
        app.counters.unknown_links.increment(1);
        return Outcome::refused(unknown_link(app), "redirect to a host that is not listed");
    };
    let hits = mapp::click(&inbound, &app.rules, sites, target.as_str());
    app.counters.redirects.increment(1);
    Outcome::of(redirect(target.as_str()), hits)
}

/// `POST /<track id>/batch`. Read on a thread of its own: ten thousand lines take long enough for a
/// redirect to wait behind them.
async fn take_batch(app: &TrackingState, visit: Visit<'_>, body: Body, sites: &str) -> Outcome {
    let Some(packing) = Packing::of(&visit.parts.headers) else {
        return Refusal::Unknown.into();
    };
    let (body, room) = match tokio::time::timeout(MOST_TIME, read_body(body)).await {
        Ok(Ok(read)) => read,
        Ok(Err(refusal)) => return refusal.into(),
        Err(_) => return Refusal::Slow.into(),
    };
    let Ok(reader) = READERS.acquire().await else {
        return Refusal::NoRoom.into();
    };
    let count = mapp::split_sites(sites).len().max(1);
    let unpacked = tokio::task::spawn_blocking(move || batch::unpack(body, packing, count)).await;
    let body = match unpacked {
        Ok(Ok(body)) => body,
        Ok(Err(why)) => return Refusal::Unusable(why).into(),
        Err(_) => return Refusal::NoRoom.into(),
    };
    let mut outcome = Outcome::from(StatusCode::OK.into_response());
    if batch::lines(&body).next().is_none() {
        if visit.query.contains("p=") {
            // One hit in the URL, sent by POST.
            let inbound = app.inbound(visit, &[]);
            outcome.hits = mapp::collect(&inbound, &app.rules, sites).hits;
        }
        return outcome;
    }
    let (app, visit) = (app.clone_for_reading(), OwnedVisit::of(visit, app, sites));
    outcome.stream = Some(Stream {
        offer: Box::new(move |sink| {
            let inbound = visit.inbound();
            let sender = Sender::of(&inbound, &app.rules);
            let defaults = batch::defaults(&visit.query);
            let mut hits = batch::lines(&body)
                .flat_map(|line| batch::line_hits(&sender, &visit.sites, &defaults, line))
                .map(|mut hit| {
                    hit.id = HitId(app.clock.new_id(hit.received_at));
                    hit
                })
                .inspect(|_| app.collected.increment(1));
            sink.offer_each(&mut hits)
        }),
        permits: vec![room, reader],
    });
    outcome.if_lost = Some(Box::new(not_stored()));
    outcome
}

fn not_stored() -> Response {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not stored; send again").into_response()
}

/// Why a batch is not taken.
enum Refusal {
    Unusable(Unusable),
    Unknown,
    Broken,
    Slow,
    NoRoom,
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        let (status, why) = match refusal {
            Refusal::Unusable(Unusable::TooLong) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "batch too long")
            }
            Refusal::Unusable(Unusable::TooManyLines) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "batch of too many lines")
            }
            Refusal::Unusable(Unusable::BrokenGzip) => {
                (StatusCode::BAD_REQUEST, "batch is broken gzip")
            }
            Refusal::Unusable(Unusable::BrokenDeflate) => {
                (StatusCode::BAD_REQUEST, "batch is broken deflate")
            }
            // What is taken is told, as RFC 9110 (15.5.16) asks.
            Refusal::Unknown => {
                let taken = [(ACCEPT_ENCODING, "gzip, deflate")];
                let response = (StatusCode::UNSUPPORTED_MEDIA_TYPE, taken).into_response();
                return Self::refused(response, "batch of another encoding");
            }
            Refusal::Broken => (StatusCode::BAD_REQUEST, "batch did not arrive whole"),
            Refusal::Slow => (StatusCode::REQUEST_TIMEOUT, "batch too slow"),
            // Nothing is lost: it comes again.
            Refusal::NoRoom => return not_stored().into(),
        };
        Self::refused(status.into_response(), why)
    }
}

/// The body, and its place in memory. What it says of its length is not believed: chunked bodies
/// say nothing.
async fn read_body(mut body: Body) -> Result<(Vec<u8>, SemaphorePermit<'static>), Refusal> {
    let mut room = ROOM.try_acquire().map_err(|_| Refusal::NoRoom)?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else {
            continue;
        };
        let length = bytes.len() + data.len();
        if length > batch::MOST_BYTES {
            return Err(Refusal::Unusable(Unusable::TooLong));
        }
        let more = (length >> 10) + 1 - room.num_permits();
        if more > 0 {
            room.merge(
                ROOM.try_acquire_many(more as u32)
                    .map_err(|_| Refusal::NoRoom)?,
            );
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, room))
}

/// What of a request its lines need, for another thread.
struct OwnedVisit {
    method: Method,
    path: String,
    query: String,
    sites: String,
    headers: http::HeaderMap,
    client: std::net::IpAddr,
    is_trusted_sender: bool,
    received_at: crate::model::clock::Micros,
}

impl OwnedVisit {
    fn of(visit: Visit<'_>, app: &TrackingState, sites: &str) -> Self {
        let inbound = app.inbound(visit, &[]);
        Self {
            method: inbound.method.clone(),
            path: inbound.path.to_owned(),
            query: inbound.query.to_owned(),
            sites: sites.to_owned(),
            headers: inbound.headers.clone(),
            client: inbound.client,
            is_trusted_sender: inbound.is_trusted_sender,
            received_at: inbound.received_at,
        }
    }

    fn inbound(&self) -> Inbound<'_> {
        Inbound {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &[],
            client: self.client,
            is_trusted_sender: self.is_trusted_sender,
            received_at: self.received_at,
        }
    }
}

/// What of the server reading a batch needs.
struct Reading {
    rules: crate::tracking::Rules,
    clock: crate::model::clock::Clock,
    collected: metrics::Counter,
}

impl TrackingState {
    fn clone_for_reading(&self) -> Reading {
        Reading {
            rules: self.rules.clone(),
            clock: self.clock.clone(),
            collected: self.counters.collected.clone(),
        }
    }
}

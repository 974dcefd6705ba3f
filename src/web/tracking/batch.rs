//! Mapp's batches: up to ten thousand hits that are read while they are stored.
//!
//! A batch gets exactly 200 once it is durable. It gets 503 if it is not: its sender then sends it
//! again. 413 and 400 tell the sender to give the batch up (`tests/cases/mapp/PROTOCOL.md`,
//! "Batch"), and so does 415, if it is packed with anything but gzip and deflate. Nothing in a
//! batch tells that it was sent before: if the answer to a stored one is lost, it counts twice.

use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use tokio::sync::Semaphore;

use super::TrackingState;
use super::body::{Limits, Unread, read_whole};
use super::head::Head;
use super::outcome::{Batch, Outcome};
use crate::model::hit::HitId;
use crate::tracking::decoded::{Decoded, Reply};
use crate::tracking::mapp::batch::{self, Packing, Unusable};
use crate::tracking::mapp::{self, Call, Sender};

/// Kilobytes of batches that may wait in memory; beyond that, senders are asked to retry.
static ROOM: Semaphore = Semaphore::const_new(96 << 10);
/// Batches that are read and stored at once: while one waits for the disk the next is read.
static READERS: Semaphore = Semaphore::const_new(3);

const LIMITS: Limits = Limits {
    bytes: batch::MOST_BYTES,
    time: Duration::from_secs(60),
    room: Some(&ROOM),
};

impl TrackingState {
    /// `POST /<track id>/batch`. Read on a thread of its own: ten thousand lines take long enough
    /// for a redirect to wait behind them.
    pub(in crate::web) async fn take_batch(&self, head: &Head<'_>, body: Body) -> Outcome {
        let Some(packing) = Packing::of(&head.parts.headers) else {
            return refuse(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "batch of another encoding",
            );
        };
        let body = match read_whole(body, LIMITS).await {
            Ok(body) => body,
            Err(unread) => return refuse_unread(unread),
        };
        let Ok(reader) = READERS.acquire().await else {
            return not_stored();
        };
        let count = mapp::split_sites(&head.route.rest).len().max(1);
        let packed = body.bytes.into();
        let unpacked =
            tokio::task::spawn_blocking(move || batch::unpack(packed, packing, count)).await;
        let text = match unpacked {
            Ok(Ok(text)) => text,
            Ok(Err(why)) => return refuse_unusable(why),
            Err(_) => return not_stored(),
        };
        if batch::lines(&text).next().is_none() {
            let mut decoded = Decoded::of(Reply::Status(StatusCode::OK), Vec::new());
            if head.route.query.contains("p=") {
                // One hit in the URL, sent by POST.
                decoded.hits = mapp::answer(&head.inbound(), &self.rules, Call::Hit).hits;
            }
            return decoded.into();
        }
        let (head, rules) = (head.clone().into_owned(), self.rules.clone());
        let (clock, collected) = (self.clock.clone(), self.counters.collected.clone());
        let permits = body.room.into_iter().chain([reader]).collect();
        Outcome::Batch(Batch {
            offer: Box::new(move |sink| {
                let inbound = head.inbound();
                let sender = Sender::of(&inbound, &rules);
                let defaults = batch::defaults(inbound.query);
                let mut hits = batch::lines(&text)
                    .flat_map(|line| batch::line_hits(&sender, inbound.rest, &defaults, line))
                    .map(|mut hit| {
                        hit.id = HitId(clock.new_id(hit.received_at));
                        hit
                    })
                    .inspect(|_| collected.increment(1));
                sink.offer_each(&mut hits)
            }),
            permits,
        })
    }
}

/// Nothing is lost: the sender retries.
fn not_stored() -> Outcome {
    Decoded::of(Reply::NotStored, Vec::new()).into()
}

fn refuse(status: StatusCode, why: &'static str) -> Outcome {
    Decoded::refused(Reply::Status(status), why).into()
}

fn refuse_unread(unread: Unread) -> Outcome {
    let why = match unread {
        Unread::NoRoom => return not_stored(),
        Unread::TooLarge => "batch too long",
        Unread::Slow => "batch too slow",
        Unread::Broken => "batch did not arrive whole",
    };
    refuse(unread.status(), why)
}

fn refuse_unusable(unusable: Unusable) -> Outcome {
    let (status, why) = match unusable {
        Unusable::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "batch too long"),
        Unusable::TooManyLines => (StatusCode::PAYLOAD_TOO_LARGE, "batch of too many lines"),
        Unusable::BrokenGzip => (StatusCode::BAD_REQUEST, "batch is broken gzip"),
        Unusable::BrokenDeflate => (StatusCode::BAD_REQUEST, "batch is broken deflate"),
    };
    refuse(status, why)
}

//! What a tracking request comes to, and how it is settled: first its hits are made safe, then its
//! answer goes out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::SemaphorePermit;

use super::{ServedSite, TrackingState};
use crate::config::Ack;
use crate::model::escape::header_text;
use crate::model::hit::{Hit, HitId};
use crate::model::orphan::Orphan;
use crate::model::secret::is_same_secret;
use crate::queue::sink::{Kept, Receipt, Sink};
use crate::tracking::decoded::{Cookies, Counted, Decoded, Reply};

/// No reader waits for a batch, and megabytes take the disk longer than a click.
const BATCH_PATIENCE: Duration = Duration::from_secs(2);

/// Header with the key that makes verdicts visible.
pub(in crate::web) const DEBUG_HEADER: &str = "x-sillage-debug";

/// Reads hits and offers them.
type Offer = Box<dyn FnOnce(&dyn Sink) -> Receipt + Send>;

/// Hits that are too many to be in memory together: they are read while they are offered, on a
/// thread of their own. Their sender retries what is not stored.
pub(in crate::web) struct Batch {
    pub(in crate::web) offer: Offer,
    /// Their share of memory until they are stored.
    pub(in crate::web) permits: Vec<SemaphorePermit<'static>>,
}

/// The result of a tracking request.
pub(in crate::web) enum Outcome {
    /// What a dialect made of it.
    Decoded(Decoded),
    /// Hits that have yet to be read, and 200 once they are stored.
    Batch(Batch),
    /// A submission to a form that we do not have, and its body: passed to the old system, if there
    /// is one.
    OfNobody {
        /// The answer if there is none.
        refusal: Decoded,
        body: Bytes,
    },
    /// A response that no dialect gives.
    Said {
        response: Response,
        /// Why it leaves no hit, if one was meant.
        refused: Option<&'static str>,
    },
}

impl From<Decoded> for Outcome {
    fn from(decoded: Decoded) -> Self {
        Self::Decoded(decoded)
    }
}

impl Outcome {
    /// The id that was asked for and that nothing has, to be counted once.
    pub(in crate::web) fn take_orphan(&mut self) -> Option<Box<Orphan>> {
        match self {
            Self::Decoded(decoded)
            | Self::OfNobody {
                refusal: decoded, ..
            } => decoded.orphan.take(),
            Self::Batch(_) | Self::Said { .. } => None,
        }
    }
}

impl TrackingState {
    /// Makes the hits durable and returns the response.
    pub(in crate::web) async fn settle(
        &self,
        site: &ServedSite,
        outcome: Outcome,
        request: &HeaderMap,
    ) -> Response {
        let (mut response, hits, refused) = match outcome {
            Outcome::Decoded(decoded)
            | Outcome::OfNobody {
                refusal: decoded, ..
            } => {
                self.count(&decoded);
                let Decoded {
                    mut hits,
                    mut reply,
                    if_lost,
                    cookies,
                    refused,
                    ..
                } = decoded;
                let is_kept = hits.is_empty() || self.keep(&mut hits, if_lost.is_some()).await;
                if let (false, Some(lost)) = (is_kept, if_lost) {
                    reply = *lost;
                }
                (site.render(reply, &cookies, request), hits, refused)
            }
            Outcome::Batch(batch) => {
                let reply = match self.keep_batch(batch).await {
                    true => Reply::Status(StatusCode::OK),
                    false => Reply::NotStored,
                };
                let response = site.render(reply, &Cookies::default(), request);
                (response, Vec::new(), None)
            }
            Outcome::Said { response, refused } => (response, Vec::new(), refused),
        };
        if let Some(reason) = refused {
            metrics::counter!("sillage_hits_refused_total", "reason" => reason).increment(1);
        }
        if self.is_debugging(request) {
            let verdict = hits.first().map_or("none", |hit| hit.verdict.as_str());
            let reason = hits.first().and_then(|hit| hit.reason.as_deref());
            let headers = response.headers_mut();
            headers.insert("x-sillage-verdict", HeaderValue::from_static(verdict));
            if let Some(reason) = reason.or(refused)
                && let Ok(reason) = HeaderValue::from_str(&header_text(reason))
            {
                headers.insert("x-sillage-reason", reason);
            }
        }
        response
    }

    fn count(&self, decoded: &Decoded) {
        let counters = &self.counters;
        match decoded.counted {
            Counted::Nothing => {}
            Counted::Redirect => counters.redirects.increment(1),
            Counted::Collected => counters.collected.increment(decoded.hits.len() as u64),
            Counted::UnknownLink => counters.unknown_links.increment(1),
            Counted::RefusedOrigin => counters.refused_origins.increment(1),
        }
    }

    /// Gives hits their ids and makes them durable, or counts them as lost: the response goes out
    /// in any case. False if they are lost. For senders that can retry, hits are not left to a disk
    /// that is too slow.
    async fn keep(&self, hits: &mut [Hit], can_send_again: bool) -> bool {
        for hit in hits.iter_mut() {
            hit.id = HitId(self.clock.new_id(hit.received_at));
        }
        let patience = self.spool.patience;
        let kept = if self.spool.ack == Ack::Fast {
            // What becomes of them, the sink counts.
            self.sink.offer_unwatched(hits).map(|()| Kept::Durable)
        } else if can_send_again {
            let receipt = self.sink.offer(hits);
            receipt.durable_or_taken_back(patience).await
        } else {
            self.sink.offer(hits).durable(patience).await
        };
        match kept {
            Ok(Kept::Durable) => {}
            Ok(Kept::Open) => self.sink.count_early(hits.len()),
            Err(refused) => self.sink.count_lost(hits.len(), refused),
        }
        kept.is_ok()
    }

    /// Makes a batch durable, whatever `spool.ack` says: success means that it is stored, failure
    /// that it is not.
    async fn keep_batch(&self, batch: Batch) -> bool {
        let Batch { offer, permits } = batch;
        let sink = Arc::clone(&self.sink);
        let receipt = tokio::task::spawn_blocking(move || offer(&*sink)).await;
        let is_kept = match receipt {
            Ok(receipt) => receipt
                .durable_or_withdrawn(self.spool.patience.max(BATCH_PATIENCE))
                .await
                .is_ok(),
            Err(_) => false,
        };
        drop(permits);
        is_kept
    }

    /// Whether the sender may see how its request is handled.
    fn is_debugging(&self, request: &HeaderMap) -> bool {
        self.debug.key.as_ref().is_some_and(|key| {
            request
                .get(DEBUG_HEADER)
                .is_some_and(|given| is_same_secret(key.0.as_bytes(), given.as_bytes()))
        })
    }
}

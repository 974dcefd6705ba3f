//! What a tracking request comes to, and how it is settled: first its hits are made safe, then its
//! answer goes out.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use tokio::sync::SemaphorePermit;

use super::TrackingState;
use crate::model::hit::Hit;
use crate::model::secret::is_same_secret;
use crate::queue::sink::{Receipt, Sink};

/// No reader waits for a stream, and megabytes take the disk longer than a click.
const STREAM_PATIENCE: Duration = Duration::from_secs(2);

/// Header with the key that makes verdicts visible.
const DEBUG_HEADER: &str = "x-sillage-debug";

/// What a tracking request comes to: the answer that goes out once its hits are safe.
pub(in crate::web) struct Outcome {
    pub(in crate::web) response: Response,
    pub(in crate::web) hits: Vec<Hit>,
    /// The answer where the hits could not be kept and the sender can do something about it.
    pub(in crate::web) if_lost: Option<Box<Response>>,
    /// Why what the request said is no hit.
    pub(in crate::web) refused: Option<&'static str>,
    /// Hits that are too many to stand in memory together, instead of `hits`.
    pub(in crate::web) stream: Option<Stream>,
}

/// Reads hits and offers them.
pub(in crate::web) type Offer = Box<dyn FnOnce(&dyn Sink) -> Receipt + Send>;

/// Hits that are read while they are offered, on a thread of their own. Their sender sends again
/// what is not stored.
pub(in crate::web) struct Stream {
    pub(in crate::web) offer: Offer,
    /// The places in memory that they take until they are stored.
    pub(in crate::web) permits: Vec<SemaphorePermit<'static>>,
}

impl Outcome {
    pub(in crate::web) fn of(response: Response, hits: Vec<Hit>) -> Self {
        Self {
            response,
            hits,
            if_lost: None,
            refused: None,
            stream: None,
        }
    }

    /// An answer that leaves no hit behind, and why.
    pub(in crate::web) fn refused(response: Response, why: &'static str) -> Self {
        Self {
            refused: Some(why),
            ..Self::from(response)
        }
    }
}

impl From<Response> for Outcome {
    /// An answer to what is not meant to be a hit.
    fn from(response: Response) -> Self {
        Self::of(response, Vec::new())
    }
}

impl TrackingState {
    /// Makes the hits durable and gives the answer.
    pub(in crate::web) async fn settle(&self, outcome: Outcome, request: &HeaderMap) -> Response {
        let Outcome {
            mut response,
            mut hits,
            if_lost,
            refused,
            stream,
        } = outcome;
        if let Some(reason) = refused {
            metrics::counter!("sillage_hits_refused_total", "reason" => reason).increment(1);
        }
        let is_kept = match stream {
            Some(stream) => self.keep_stream(stream).await,
            None => hits.is_empty() || self.keep(&mut hits, if_lost.is_some()).await,
        };
        if let (false, Some(answer)) = (is_kept, if_lost) {
            response = *answer;
        }
        if self.is_debugging(request) {
            let verdict = hits.first().map_or("none", |hit| hit.verdict.as_str());
            let reason = hits.first().and_then(|hit| hit.reason.as_deref());
            let headers = response.headers_mut();
            headers.insert("x-sillage-verdict", HeaderValue::from_static(verdict));
            if let Some(reason) = reason.or(refused) {
                let reason = reason.replace(|c: char| !matches!(c, ' '..='~'), "?");
                if let Ok(reason) = HeaderValue::try_from(reason) {
                    headers.insert("x-sillage-reason", reason);
                }
            }
        }
        response
    }

    /// Makes a stream durable, whatever `spool.ack` says: an answer means that it is stored, no
    /// answer that it is not.
    async fn keep_stream(&self, stream: Stream) -> bool {
        let Stream { offer, permits } = stream;
        let sink = Arc::clone(&self.sink);
        let receipt = tokio::task::spawn_blocking(move || offer(&*sink)).await;
        let is_kept = match receipt {
            Ok(receipt) => receipt
                .durable_or_withdrawn(self.spool.patience.max(STREAM_PATIENCE))
                .await
                .is_ok(),
            Err(_) => false,
        };
        drop(permits);
        is_kept
    }

    /// Whether the sender may see what becomes of its request.
    fn is_debugging(&self, request: &HeaderMap) -> bool {
        self.debug.key.as_ref().is_some_and(|key| {
            request
                .get(DEBUG_HEADER)
                .is_some_and(|given| is_same_secret(key.0.as_bytes(), given.as_bytes()))
        })
    }
}

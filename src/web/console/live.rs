//! Hits as they are stored, as server-sent events: each has the rows of a list, and as its id the
//! number up to which all is told. Who comes back with that number (`Last-Event-ID`) goes on there,
//! also on another server or after a restart, so there is no gap and no repetition.
//!
//! Nothing waits for a slow reader: the next hits are looked up when it has taken the last ones. A
//! stream ends after some minutes, and the browser's next one is let in anew or not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::form::Query;
use super::gate::Who;
use super::hits::{Line, filter_of, lines};
use super::page::Failure;
use crate::store::hits::HitFilter;
use crate::web::AdminState;

/// How often it looks for new hits.
const EVERY: Duration = Duration::from_secs(1);
/// After so many looks the browser comes again: some ten minutes.
const MOST_LOOKS: u32 = 600;
/// Most hits of an event.
const MOST_HITS: i64 = 50;
/// Somebody who comes back after so many hits gets the latest of them only, and a page's list has
/// the rest.
const MOST_BEHIND: i64 = 5_000;
/// A comment this often keeps proxies from closing the connection.
const ALIVE: Duration = Duration::from_secs(15);
/// Streams at a time.
static STREAMS: Semaphore = Semaphore::const_new(100);

#[derive(Template)]
#[template(path = "rows.html")]
struct Rows {
    lines: Vec<Line>,
}

struct Watch {
    app: Arc<AdminState>,
    who: Who,
    filter: HitFilter,
    /// All up to this number is told.
    told: i64,
    looks: u32,
    _place: SemaphorePermit<'static>,
}

impl Watch {
    /// The next event; `None` ends the stream.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        while self.looks < MOST_LOOKS && !self.app.state.read().is_stopping {
            self.looks += 1;
            match self.look().await {
                Ok(Some(event)) => return Some((Ok(event), self)),
                Ok(None) => {}
                // It is logged; the database may be back the next time.
                Err(_) => {}
            }
            tokio::time::sleep(EVERY).await;
        }
        None
    }

    /// New hits, if there are any that match.
    async fn look(&mut self) -> Result<Option<Event>, Failure> {
        let last = self.app.store.last_seq().await?;
        while self.told < last {
            let found = self
                .app
                .store
                .hits_between(&self.filter, self.told, last, MOST_HITS);
            let found = found.await?;
            let told = if found.is_last() { last } else { found.reached };
            if found.hits.is_empty() {
                self.told = told;
                continue;
            }
            let mut hits = found.hits;
            hits.reverse();
            let lines = lines(&self.app, &self.who, hits).await?;
            let rows = Rows { lines }.render().unwrap_or_default();
            self.told = told;
            // A line's end of its own would end the line of the event.
            let event = Event::default()
                .id(told.to_string())
                .data(rows.replace('\r', " "));
            return Ok(Some(event));
        }
        Ok(None)
    }
}

/// `GET /console/hits/live?kind=&judged=&after=`
pub(super) async fn watch(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Query(query): Query,
) -> Result<Response, Failure> {
    let full = "too many people watch at the same time; look at the list";
    let place = STREAMS.try_acquire();
    let place = place.map_err(|_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, full))?;
    let last_id = headers.get("last-event-id");
    let last_id = last_id.and_then(|id| id.to_str().ok()?.parse().ok());
    let last = app.store.last_seq().await?;
    let told = last_id.or(query.number("after")).unwrap_or(last);
    let watch = Watch {
        told: told.clamp((last - MOST_BEHIND).max(0), last),
        filter: filter_of(&query),
        app,
        who,
        looks: 0,
        _place: place,
    };
    let events = stream::unfold(watch, Watch::next);
    let alive = KeepAlive::new().interval(ALIVE);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

//! The projection: turns spooled hits into rows.
//!
//! It reads groups in order, finds out who each hit belongs to, and writes hits, contacts, figures
//! *and its own position in the spool* in one transaction: killed at any moment, on either side,
//! each hit is stored exactly once. The position is read again in every transaction, since the
//! answer to a commit can get lost. With it stands which start of a server moved it last: one that
//! finds another's mark, or a position that it cannot have come to, works on a copy of a spool that
//! is in use, and has its own take a new id.
//!
//! **Beside others.** Servers on one Postgres read, decide and write hits at the same time; what is
//! shared they write one after another. See `store/lane.rs`, and [`premises`] for what a
//! transaction looks at again when it has its turn.
//!
//! **How it fails.** Database away: the transaction is tried again until it comes back; the spool
//! holds what arrives. A record that the database refuses: the transaction is tried again with
//! savepoints, the record found by halving and put into `quarantine` with the reason; everything
//! else is stored. A burst: see [`pace`].

mod batch;
mod erased;
mod eraser;
mod health;
mod idempotency;
mod known_ids;
mod orders;
pub mod pace;
mod page_tags;
mod premises;
mod rules;
mod settle;
#[cfg(test)]
mod tests;
mod touches;
pub mod verdicts;

use std::time::Duration;

use metrics::{Counter, Histogram};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use batch::retry_quarantined;
use batch::{Batch, Done, Pending, Refusal};
pub use eraser::{Eraser, PersonNames, quarantined_hits_of};
pub use health::{DatabaseHealth, Health};
pub use rules::ProjectionRules;
pub use settle::Settler;

use crate::model::clock::Clock;
use crate::model::retry::Backoff;
use crate::queue::source::{Place, Source, SourceError, Start};
use crate::store::maintenance::SpoolPlace;
use crate::store::{self, Store, is_race, is_refusal};
use pace::Pace;

/// Hits a batch, which are in memory together with the next batch. Each costs a fixed number of
/// statements; more make the figures' rows denser. SQLite has its page cache in the same memory.
const SQLITE_BATCH: usize = 4_000;
/// All of a transaction: what a batch reads is read before the transaction has its turn.
const POSTGRES_BATCH: usize = TRANSACTION;
/// Most hits a transaction. While the database works on one batch the next is read; and a commit of
/// SQLite writes every page that was touched: messages lie all over theirs, so many batches
/// together touch hardly more pages than one. More would let other servers and the API wait longer
/// for their turn, about half a second while a backlog is worked off.
const TRANSACTION: usize = 16_000;
/// How often a transaction that lost a race is begun anew before it is alone.
const RACES: u32 = 3;
/// Least time between two transactions, so that a trickle does not cost a transaction a hit.
const LINGER: Duration = Duration::from_millis(100);

/// The task between spool and store.
pub struct Projection<S> {
    target: Target,
    source: S,
    pace: Pace,
    health: DatabaseHealth,
    meters: Meters,
}

struct Meters {
    stored: Counter,
    quarantined: Counter,
    duplicates: Counter,
    unknown: Counter,
    renamed: Counter,
    refused_tags: Counter,
    races: Counter,
    batch_seconds: Histogram,
}

impl<S: Source> Projection<S> {
    /// Joins a queue and a store. `give_way` limits how long a burst may hold it up.
    pub fn new(
        store: Store,
        source: S,
        clock: Clock,
        rules: ProjectionRules,
        give_way: Duration,
    ) -> Self {
        Self {
            target: Target {
                store,
                spool_id: Uuid::nil(),
                found: Start::default(),
                start_id: clock.new_id(clock.now()),
                is_ours: false,
                stands: 0,
                clock,
                rules,
            },
            source,
            pace: Pace::new(give_way),
            health: DatabaseHealth::default(),
            meters: Meters {
                stored: metrics::counter!("sillage_hits_stored_total"),
                quarantined: metrics::counter!("sillage_hits_quarantined_total"),
                duplicates: metrics::counter!("sillage_hits_duplicate_total"),
                unknown: metrics::counter!("sillage_hits_refused_total", "reason" => "visitor unknown"),
                renamed: metrics::counter!("sillage_spools_renamed_total"),
                refused_tags: metrics::counter!("sillage_page_tags_refused_total"),
                races: metrics::counter!("sillage_projection_races_total"),
                batch_seconds: metrics::histogram!("sillage_projection_batch_seconds"),
            },
        }
    }

    /// Shared with others that query the database: each reports here whether it responds.
    pub fn health(&self) -> DatabaseHealth {
        self.health.clone()
    }

    /// Runs until `stop` is signalled and then until the spool is empty or `drain` has passed,
    /// whichever comes first.
    pub async fn run(mut self, stop: CancellationToken, drain: Duration) {
        // A disk without room may keep the spool from being opened.
        let started = tokio::select! {
            biased;
            started = self.source.start() => started,
            () = stop.cancelled() => None,
        };
        let Some(found) = started else {
            return;
        };
        self.target.spool_id = found.id;
        self.target.found = found;
        let mut position = found.deleted_to;
        let mut backoff = Backoff::default();
        let mut deadline = None;
        loop {
            if stop.is_cancelled() && deadline.is_none() {
                deadline = Some(tokio::time::Instant::now() + drain);
            }
            let round = async {
                tokio::select! {
                    biased;
                    () = stop.cancelled(), if deadline.is_none() => return Round::Stop,
                    more = self.source.wait_after(position) => if !more { return Round::End },
                    () = std::future::ready(()), if deadline.is_some() => return Round::End,
                }
                if deadline.is_none() {
                    self.pace.give_way(&mut self.source, &stop).await;
                }
                self.round(&mut position).await
            };
            let round = match deadline {
                None => round.await,
                Some(deadline) => tokio::time::timeout_at(deadline, round)
                    .await
                    .unwrap_or(Round::End),
            };
            let pause = match round {
                Round::Stop => continue,
                Round::End => break,
                Round::Full => Duration::ZERO,
                Round::Part if deadline.is_some() => Duration::ZERO,
                Round::Part => LINGER,
                Round::Failed => backoff.pause(),
            };
            if !matches!(round, Round::Failed) {
                backoff = Backoff::default();
            }
            if !pause.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled(), if deadline.is_none() => {}
                    () = sleep_until(deadline) => break,
                }
            }
        }
        tracing::info!(position, "projection stopped");
    }

    async fn round(&mut self, position: &mut i64) -> Round {
        let started = std::time::Instant::now();
        self.health.writes();
        let (mut way, mut races) = (Way::Beside, 0);
        let projected = loop {
            let projected = self.project(*position, way).await;
            way = match (&projected, way) {
                (Err(ProjectionError::Database(error)), Way::Beside) if is_race(error) => {
                    tracing::debug!(%error, "begins anew what another server was faster with");
                    self.meters.races.increment(1);
                    races += 1;
                    match self.target.store.after_race(error).await {
                        Ok(()) if races < RACES => Way::Beside,
                        _ => Way::Alone,
                    }
                }
                (Err(ProjectionError::Database(error)), Way::Beside | Way::Alone)
                    if is_refusal(error) =>
                {
                    Way::PuttingAside
                }
                _ => break projected,
            };
        };
        match projected {
            Ok((done, is_full)) => {
                self.meters
                    .batch_seconds
                    .record(started.elapsed().as_secs_f64());
                *position = (*position).max(done);
                // First of all: whoever sees an empty spool is to see a database that is up.
                self.health.wrote();
                self.source.mark_done(Place {
                    spool: self.target.spool_id,
                    seq: *position,
                });
                if is_full { Round::Full } else { Round::Part }
            }
            Err(error) => {
                match &error {
                    ProjectionError::Database(_) => self.health.could_not_write(&error),
                    // The database is not to blame.
                    ProjectionError::Spool(_) => {
                        tracing::error!(%error, "cannot store hits now")
                    }
                }
                Round::Failed
            }
        }
    }

    /// Stores groups after `position` in one transaction; returns the position that the database
    /// has then, and whether more is likely to wait. Where the database is ahead (the answer to a
    /// commit was lost), it goes on from there.
    async fn project(&mut self, position: i64, way: Way) -> Result<(i64, bool), ProjectionError> {
        let Self {
            target:
                Target {
                    store,
                    spool_id,
                    found,
                    start_id,
                    is_ours,
                    stands,
                    clock,
                    rules,
                },
            source,
            meters,
            ..
        } = self;
        let batch_size = match store.is_postgres() {
            true => POSTGRES_BATCH,
            false => SQLITE_BATCH,
        };
        let batches = TRANSACTION / batch_size;
        let now = clock.now();
        let (mut tx, refusal) = match way {
            Way::Beside => (store.begin_beside().await?, Refusal::Fails),
            Way::Alone => (store.begin_lane().await?, Refusal::Fails),
            Way::PuttingAside => (store.begin_lane().await?, Refusal::IsPutAside),
        };
        let place = tx.hold_place(*spool_id, now).await?;
        let mut at = place.position.max(position).max(*stands);
        if place.start_id != Some(*start_id) {
            let is_stored_to = if *is_ours {
                // What lies above is another's.
                Some(position)
            } else if place.position > found.numbered_from {
                Some(position.max(found.found_to))
            } else {
                None
            };
            if let Some(to) = is_stored_to {
                let id = clock.new_id(now);
                source
                    .rename(id, to)
                    .await
                    .map_err(ProjectionError::Spool)?;
                tracing::error!(
                    is_copied = *is_ours,
                    old_id = %spool_id,
                    new_id = %id,
                    "another server stores under this spool's id, or an old copy of the spool was \
                    put back while the clock was behind. It gets a new id, so that no hit is \
                    mistaken for a stored one; hits that waited in both copies of a copied data \
                    directory are stored twice"
                );
                meters.renamed.increment(1);
                (*spool_id, *is_ours, *stands, at) = (id, false, to, to);
            }
        }
        let (mut done, mut pending) = (Done::default(), Pending::default());
        let mut groups = source
            .read(at, batch_size)
            .await
            .map_err(ProjectionError::Spool)?;
        let mut is_full = false;
        for number in 1..=batches {
            let Some(last) = groups.last().map(|group| group.place.seq) else {
                break;
            };
            is_full = groups.iter().map(|group| group.hits.len()).sum::<usize>() >= batch_size;
            let mut batch = Batch::new(clock, rules, now);
            for group in std::mem::take(&mut groups) {
                batch.push(group);
            }
            // While the database works on this batch, the next one of the transaction is read and
            // decoded.
            let reads_on = is_full && number < batches;
            let (stored, next) = tokio::join!(batch.store(&mut tx, refusal, &mut pending), async {
                if reads_on {
                    source.read(last, batch_size).await
                } else {
                    Ok(Vec::new())
                }
            });
            done += stored?;
            at = last;
            groups = next.map_err(ProjectionError::Spool)?;
        }
        let place = SpoolPlace {
            position: at,
            start_id: Some(*start_id),
        };
        tx.set_place(*spool_id, place, now, &mut pending.writes)
            .await?;
        pending.save(&mut tx).await?;
        tx.commit().await?;
        *is_ours = true;
        meters.stored.increment(done.stored);
        meters.quarantined.increment(done.quarantined);
        meters.duplicates.increment(done.duplicates);
        meters.unknown.increment(done.unknown);
        meters.refused_tags.increment(done.refused_tags);
        Ok((at, is_full))
    }
}

/// Where hits go, and under which name.
struct Target {
    store: Store,
    /// Known when the spool is open.
    spool_id: Uuid,
    /// How it was found.
    found: Start,
    /// This start of this server: anyone else who moves the position works on a copy of the same
    /// spool.
    start_id: Uuid,
    /// Whether this start has moved it.
    is_ours: bool,
    /// Up to where groups are stored under an id that the spool had before.
    stands: i64,
    clock: Clock,
    rules: ProjectionRules,
}

/// What kept a transaction from completing.
#[derive(Debug, thiserror::Error)]
enum ProjectionError {
    #[error("the database: {0}")]
    Database(#[from] store::Error),
    #[error("the spool cannot be read: {0}")]
    Spool(SourceError),
}

/// How a transaction stands to others and to records that the database refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Beside others, with its turn at the end.
    Beside,
    /// Alone: it has lost too often.
    Alone,
    /// Alone, with what is refused put aside.
    PuttingAside,
}

enum Round {
    Full,
    Part,
    Failed,
    Stop,
    End,
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

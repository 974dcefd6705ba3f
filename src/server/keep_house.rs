//! Once an hour: create partitions ahead of time, remove old data, and report both.
//!
//! **A wrong clock deletes nothing.** Age is counted back from the newest hit stored before this
//! start, plus the time that this process has run by a monotonic clock. A machine that boots in
//! 2038 sees that the newest hit is from this year; one that boots in 1970 finds nothing old.

use std::time::{Duration, Instant};

use crate::model::clock::{Clock, Micros};
use crate::operator::sign_in;
use crate::store::retention::{Pace, Retired};
use crate::store::{self, Store};

/// How far the clock may be from the hits' times before a warning: perhaps nobody came for as long.
const TOLD_FROM: i64 = 31 * Micros::DAY;

const HOUR: Duration = Duration::from_secs(60 * 60);
/// Something that others block is retried sooner.
const MINUTE: Duration = Duration::from_secs(60);

pub(super) struct Housekeeper {
    pub(super) store: Store,
    pub(super) clock: Clock,
    /// `database.keep_months`.
    pub(super) keep_months: u32,
    started: Micros,
    running: Instant,
    /// The newest hit before this start, or the start itself if there was none; set once the
    /// database has answered.
    newest: Option<Micros>,
    is_told: bool,
}

impl Housekeeper {
    pub(super) fn new(store: Store, clock: Clock, keep_months: u32) -> Self {
        Self {
            store,
            started: clock.now(),
            clock,
            keep_months,
            running: Instant::now(),
            newest: None,
            is_told: false,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            let pause = match self.keep().await {
                Ok(held) if held.is_empty() => HOUR,
                Ok(held) => {
                    tracing::info!(
                        months = held.join(", "),
                        "months of hits that were removed \
                        are still read by another session of the database; their space is freed \
                        when it ends"
                    );
                    MINUTE
                }
                // The partitions of a new month may be what failed.
                Err(error) => {
                    tracing::warn!(%error, "housekeeping failed; trying again in a minute");
                    MINUTE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Returns the months whose space others keep from being freed.
    async fn keep(&mut self) -> store::Result<Vec<String>> {
        let now = self.clock.now();
        self.store.prepare_months(now).await?;
        let from = self.counted_from(now).await?;
        self.store.forget_keys(from).await?;
        self.store.forget_orders(from).await?;
        // By the clock itself: at worst somebody signs in again.
        sign_in::forget(&self.store, now).await?;
        self.store
            .fold_tops(Micros(from.0 - 2 * Micros::DAY))
            .await?;
        let retired = self
            .store
            .retire(from, now, self.keep_months, Pace::OneADay)
            .await?;
        tell(&retired);
        metrics::gauge!("sillage_retention_from_seconds").set((from.0 / Micros::SECOND) as f64);
        Ok(retired.held)
    }

    /// The time from which ages are counted back.
    async fn counted_from(&mut self, now: Micros) -> store::Result<Micros> {
        let newest = match self.newest {
            Some(newest) => newest,
            None => {
                let newest = self.store.newest_hit_before(self.started).await?;
                // There is nothing yet that a wrong clock could take along.
                *self.newest.insert(newest.unwrap_or(self.started))
            }
        };
        let passed = self.running.elapsed().as_micros() as i64;
        let from = Micros(newest.0.saturating_add(passed)).min(now);
        if now.0 - from.0 > TOLD_FROM && !self.is_told {
            self.is_told = true;
            tracing::warn!(
                clock = now.rfc3339(),
                newest_hit = newest.rfc3339(),
                "the clock is far ahead of the newest hit: correct it if it is wrong; the age of \
                hits is counted back from that hit"
            );
        }
        Ok(from)
    }
}

/// Says what is gone.
fn tell(retired: &Retired) {
    for month in &retired.removed {
        tracing::info!(
            month = month.month,
            hits = month.hits,
            "hits older than database.keep_months removed"
        );
        metrics::counter!("sillage_months_removed_total").increment(1);
        metrics::counter!("sillage_hits_removed_total").increment(month.hits.max(0) as u64);
    }
    if retired.is_more {
        tracing::info!(
            "more months are older than database.keep_months; the server removes one a day, \
            `sillage retire` removes all of them at once"
        );
    }
}

//! What was asked for and is not ours: counted by the first part of the path, so that an operator
//! sees what the move of a domain left behind. Counted in memory, and added to the database every
//! few seconds; what a crash takes is a few seconds of these counts, never a hit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::clock::{Clock, Micros};
use crate::model::hit::{Limit, clean};
use crate::store::Store;
use crate::store::unknown_paths::{OTHERS, UnknownPath};

/// How often counts are added to the database.
const EVERY: Duration = Duration::from_secs(5);
/// Maximum number of first segments between two of these.
const MOST_WAITING: usize = 1_000;
/// Characters of a first part.
const MOST_SEGMENT: Limit = Limit(100);

/// The fate of a request that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was passed on to the old system.
    PassedOn,
    /// Nothing answers it.
    Refused,
}

/// The counts that the database does not have yet.
#[derive(Clone)]
pub struct UnknownPaths {
    waiting: Arc<Mutex<HashMap<String, UnknownPath>>>,
    clock: Clock,
}

impl UnknownPaths {
    /// None yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            waiting: Arc::default(),
            clock,
        }
    }

    /// Counts a request.
    pub fn note(&self, path: &str, fate: Fate) {
        let now = self.clock.now();
        let first = path.trim_start_matches('/').split('/').next();
        let (segment, _) = clean(first.unwrap_or_default(), MOST_SEGMENT);
        let segment = format!("/{segment}");
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = entry(&mut waiting, segment, now);
        counted.last_at = now;
        let (count, word) = match fate {
            Fate::PassedOn => (&mut counted.passed_on, "passed on"),
            Fate::Refused => (&mut counted.refused, "refused"),
        };
        *count += 1;
        metrics::counter!("sillage_unknown_paths_total", "fate" => word).increment(1);
    }

    fn take(&self) -> Vec<UnknownPath> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain().map(|(_, counted)| counted).collect()
    }

    /// Puts back what the database did not take, as far as there is room.
    fn put_back(&self, counted: Vec<UnknownPath>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for old in counted {
            let into = entry(&mut waiting, old.segment, old.first_at);
            into.passed_on += old.passed_on;
            into.refused += old.refused;
            into.first_at = into.first_at.min(old.first_at);
            into.last_at = into.last_at.max(old.last_at);
        }
    }

    async fn store(&self, store: &Store) {
        let counted = self.take();
        if counted.is_empty() {
            return;
        }
        if let Err(error) = store.add_unknown_paths(&counted).await {
            tracing::debug!(%error, "counts of unknown paths wait for the database");
            self.put_back(counted);
        }
    }

    /// Adds the counts to the database until the stop is signalled, and then once more.
    pub async fn run(self, store: Store, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_some()
        {
            self.store(&store).await;
        }
        self.store(&store).await;
    }
}

/// The counts for a first segment; for all others if there are too many.
fn entry(
    waiting: &mut HashMap<String, UnknownPath>,
    segment: String,
    at: Micros,
) -> &mut UnknownPath {
    let is_full = waiting.len() >= MOST_WAITING && !waiting.contains_key(&segment);
    let segment = if is_full { OTHERS.to_owned() } else { segment };
    waiting.entry(segment.clone()).or_insert(UnknownPath {
        segment,
        passed_on: 0,
        refused: 0,
        first_at: at,
        last_at: at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanner_fills_no_memory_while_the_database_is_away() {
        let paths = UnknownPaths::new(Clock::system());
        for round in 0..4 {
            let waiting = paths.take();
            for path in 0..1_500 {
                paths.note(&format!("/{round}-{path}/x"), Fate::Refused);
            }
            paths.put_back(waiting);
        }
        let counted = paths.take();
        assert!(counted.len() <= MOST_WAITING + 1, "{}", counted.len());
        assert_eq!(counted.iter().map(|path| path.refused).sum::<i64>(), 6_000);
    }
}

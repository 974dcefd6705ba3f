//! What was asked for and is not there, so that an operator sees what the move of a domain or of a
//! system left behind: paths that are not ours, by their first part, and ids that nothing has.

use std::time::Duration;

use http::HeaderMap;
use http::header::REFERER;
use tokio_util::sync::CancellationToken;

use super::tally::{Count, Tally};
use crate::model::clock::Clock;
use crate::model::hit::summary::host_of;
use crate::model::hit::{Limit, clean, clean_bytes};
use crate::model::orphan::Orphan;
use crate::store::Store;
use crate::store::orphans::AskedFor;
use crate::store::unknown_paths::{OTHERS, UnknownPath};

/// How often counts are added to the database.
const EVERY: Duration = Duration::from_secs(5);
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
    paths: Tally<String, UnknownPath>,
    orphans: Tally<Orphan, AskedFor>,
    clock: Clock,
}

impl Count for UnknownPath {
    fn add(&mut self, more: Self) {
        self.passed_on += more.passed_on;
        self.refused += more.refused;
        self.first_at = self.first_at.min(more.first_at);
        self.last_at = self.last_at.max(more.last_at);
    }
}

impl Count for AskedFor {
    fn add(&mut self, more: Self) {
        self.asked += more.asked;
        self.first_at = self.first_at.min(more.first_at);
        self.last_at = self.last_at.max(more.last_at);
        if more.referrer.is_some() {
            self.referrer = more.referrer;
        }
    }
}

impl UnknownPaths {
    /// None yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            paths: Tally::new(|| OTHERS.to_owned()),
            orphans: Tally::new(Orphan::others),
            clock,
        }
    }

    /// Counts a request for a path that is not ours.
    pub fn note(&self, path: &str, fate: Fate) {
        let now = self.clock.now();
        let first = path.trim_start_matches('/').split('/').next();
        let (segment, _) = clean(first.unwrap_or_default(), MOST_SEGMENT);
        let segment = format!("/{segment}");
        let word = match fate {
            Fate::PassedOn => "passed on",
            Fate::Refused => "refused",
        };
        let counted = UnknownPath {
            segment: segment.clone(),
            passed_on: (fate == Fate::PassedOn).into(),
            refused: (fate == Fate::Refused).into(),
            first_at: now,
            last_at: now,
        };
        self.paths.add(segment, counted);
        metrics::counter!("sillage_unknown_paths_total", "fate" => word).increment(1);
    }

    /// Counts a request for an id that nothing has.
    pub fn note_orphan(&self, orphan: Orphan, request: &HeaderMap) {
        let now = self.clock.now();
        let referrer = request.get(REFERER).map(|value| value.as_bytes());
        let host = referrer.and_then(|bytes| host_of(&clean_bytes(bytes)));
        let host = host.map(|host| clean(&host, MOST_SEGMENT).0.into_owned());
        let counted = AskedFor {
            asked: 1,
            first_at: now,
            last_at: now,
            referrer: host.filter(|host| !host.is_empty()),
        };
        self.orphans.add(orphan, counted);
    }

    async fn store(&self, store: &Store) {
        let paths = self.paths.take();
        if !paths.is_empty() {
            // The name of those beyond the limit is their row's.
            let rows: Vec<UnknownPath> = paths
                .iter()
                .map(|(segment, counted)| UnknownPath {
                    segment: segment.clone(),
                    ..counted.clone()
                })
                .collect();
            if let Err(error) = store.add_unknown_paths(&rows).await {
                tracing::debug!(%error, "counts of unknown paths wait for the database");
                self.paths.put_back(paths);
            }
        }
        let orphans = self.orphans.take();
        if !orphans.is_empty()
            && let Err(error) = store.add_orphans(&orphans).await
        {
            tracing::debug!(%error, "counts of unknown ids wait for the database");
            self.orphans.put_back(orphans);
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

#[cfg(test)]
mod tests {
    use super::super::tally::MOST_WAITING;
    use super::*;
    use crate::model::orphan::OrphanKind;

    #[test]
    fn a_scanner_fills_no_memory_while_the_database_is_away() {
        let paths = UnknownPaths::new(Clock::system());
        for round in 0..4 {
            let waiting = (paths.paths.take(), paths.orphans.take());
            for path in 0..1_500 {
                paths.note(&format!("/{round}-{path}/x"), Fate::Refused);
                let orphan = Orphan::new(OrphanKind::Link, &format!("{round}-{path}"));
                paths.note_orphan(orphan, &HeaderMap::new());
            }
            paths.paths.put_back(waiting.0);
            paths.orphans.put_back(waiting.1);
        }
        let (counted, orphans) = (paths.paths.take(), paths.orphans.take());
        assert!(counted.len() <= MOST_WAITING + 1, "{}", counted.len());
        assert!(orphans.len() <= MOST_WAITING + 1, "{}", orphans.len());
        assert_eq!(
            counted.iter().map(|(_, path)| path.refused).sum::<i64>(),
            6_000
        );
        assert_eq!(orphans.iter().map(|(_, of)| of.asked).sum::<i64>(), 6_000);
    }
}

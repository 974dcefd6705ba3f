//! Whether the database answers: one word, from everybody who asks it anyway.
//!
//! The projection asks only when there are hits, so a night without readers would hide a database
//! that is gone: whoever asks it for other reasons tells it here too. Who only reads knows less: a
//! database that answers queries may refuse to be written (a replica, a full disk), so a read that
//! went well takes nothing back while hits are failing to be stored.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;

/// What is known about the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has not been asked yet.
    Unknown,
    /// Its last request succeeded.
    Up,
    /// It did not.
    Down,
}

/// The database's state, shared; cheap to clone. Each change is logged once, each failed write
/// counted.
#[derive(Clone, Debug)]
pub struct DatabaseHealth {
    known: Arc<Mutex<Known>>,
    failures: Counter,
}

impl Default for DatabaseHealth {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            failures: metrics::counter!("sillage_projection_failures_total"),
        }
    }
}

#[derive(Debug)]
struct Known {
    health: Health,
    /// The last write transaction failed, so its data still waits.
    is_refusing: bool,
    /// Since when hits have been waiting without progress.
    storing: Option<Instant>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            health: Health::Unknown,
            is_refusing: false,
            storing: None,
        }
    }
}

impl DatabaseHealth {
    /// What was told last.
    pub fn now(&self) -> Health {
        self.known().health
    }

    /// How long hits have been waiting for the database without progress; `None` if none are. A
    /// database that responds and one that is slow look the same here.
    pub fn storing_for(&self) -> Option<Duration> {
        self.known().storing.map(|since| since.elapsed())
    }

    /// Hits are on their way.
    pub fn writes(&self) {
        self.known().storing.get_or_insert_with(Instant::now);
    }

    /// A write transaction succeeded.
    pub fn wrote(&self) {
        let mut known = self.known();
        known.is_refusing = false;
        known.storing = None;
        known.rise();
    }

    /// A write transaction (hits, or the tables for them) failed, for whatever reason; it will be
    /// retried.
    pub fn could_not_write(&self, error: &dyn Display) {
        self.failures.increment(1);
        let mut known = self.known();
        known.is_refusing = true;
        if known.fall() {
            tracing::error!(%error, "cannot store hits now; the spool keeps them until it can");
        }
    }

    /// A query succeeded. Says nothing while writes still fail.
    pub fn answered(&self) {
        let mut known = self.known();
        if !known.is_refusing {
            known.rise();
        }
    }

    /// A query failed: the database cannot be reached.
    pub fn did_not_answer(&self, error: &dyn Display) {
        if self.known().fall() {
            tracing::error!(%error, "the database does not answer; the spool keeps new hits \
                until it does");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// It is up.
    fn rise(&mut self) {
        if std::mem::replace(&mut self.health, Health::Up) == Health::Down {
            tracing::info!("the database is back");
        }
    }

    /// Marks it as down; returns whether that is news.
    fn fall(&mut self) -> bool {
        std::mem::replace(&mut self.health, Health::Down) != Health::Down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_tells_that_it_is_gone_and_either_that_it_is_back() {
        let health = DatabaseHealth::default();
        assert_eq!(health.now(), Health::Unknown);
        health.answered();
        assert_eq!(health.now(), Health::Up);
        health.did_not_answer(&"refused");
        assert_eq!(health.now(), Health::Down);
        health.answered();
        assert_eq!(health.now(), Health::Up);
        health.did_not_answer(&"refused");
        health.wrote();
        assert_eq!(health.now(), Health::Up);
        health.could_not_write(&"refused");
        assert_eq!(health.now(), Health::Down);
    }

    #[test]
    fn hits_are_on_their_way_until_they_are_there() {
        let health = DatabaseHealth::default();
        assert_eq!(health.storing_for(), None);
        health.writes();
        let first = health.storing_for();
        assert!(first.is_some());
        health.could_not_write(&"locked");
        health.answered();
        health.writes();
        assert!(health.storing_for() >= first, "tried again");
        health.wrote();
        assert_eq!(health.storing_for(), None);
    }

    #[test]
    fn a_database_that_can_only_be_read_is_not_up_while_hits_wait_to_be_written() {
        let health = DatabaseHealth::default();
        health.could_not_write(&"read-only");
        health.answered();
        assert_eq!(health.now(), Health::Down);
        health.did_not_answer(&"refused");
        health.answered();
        assert_eq!(health.now(), Health::Down);
        health.wrote();
        assert_eq!(health.now(), Health::Up);
        health.answered();
        assert_eq!(health.now(), Health::Up);
    }
}

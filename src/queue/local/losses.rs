//! Reports hits that are not stored, or not yet: always counted, logged once a second.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::queue::sink::Refused;

const REASONS: [Refused; 6] = [
    Refused::Full,
    Refused::Busy,
    Refused::Disk,
    Refused::Late,
    Refused::Stopping,
    Refused::Damaged,
];

/// Registers the figures at the start, so that monitoring sees the first loss as a change.
pub(super) fn announce() {
    for reason in REASONS {
        count(0, reason);
    }
    count_damaged(0);
}

/// Counts hits that were answered and will not be stored, and logs it.
pub(super) fn lose(hits: u64, refused: Refused) {
    count(hits, refused);
    LOSSES.note_lost(hits, refused);
}

/// Counts spools that were found damaged.
pub(super) fn count_damaged(spools: u64) {
    metrics::counter!("sillage_spool_damaged_total").increment(spools);
}

/// Logs that hits were answered before the disk had them.
pub(super) fn note_early(hits: u64) {
    if let Some(hits) = EARLY.due(hits) {
        tracing::warn!(
            hits,
            "the disk is slow: hits were acknowledged before they reached it"
        );
    }
}

/// Logs that a write failed, because the disk is full or for another reason.
pub(super) fn note_failed_write(error: &dyn Display, full: bool) {
    if let Some(writes) = WRITE_ERRORS.due(1) {
        tracing::error!(writes, full, %error, "cannot write to the spool");
    }
}

fn count(hits: u64, refused: Refused) {
    metrics::counter!("sillage_hits_lost_total", "reason" => refused.label()).increment(hits);
}

/// At most one log line per second for what happens to thousands of hits at once.
struct Rarely {
    count: AtomicU64,
    last: Mutex<Option<Instant>>,
}

static LOSSES: Rarely = Rarely::new();
static EARLY: Rarely = Rarely::new();
static WRITE_ERRORS: Rarely = Rarely::new();

impl Rarely {
    const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }

    /// The number to report, once per second.
    fn due(&self, count: u64) -> Option<u64> {
        self.count.fetch_add(count, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            return None;
        }
        *last = Some(Instant::now());
        Some(self.count.swap(0, Ordering::Relaxed))
    }

    fn note_lost(&self, hits: u64, refused: Refused) {
        if let Some(hits) = self.due(hits) {
            tracing::error!(hits, reason = refused.label(), "hits lost: {refused}");
        }
    }
}

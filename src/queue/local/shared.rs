//! What the two ends of the spool and its writer share: figures that every answer reads and
//! changes, and how far each of the three is.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use metrics::Counter;
use tokio::sync::watch;

use super::SpoolLimits;
use super::age::Ages;
use crate::queue::sink::Refused;
use crate::queue::source::{Start, Status};

/// The file that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) start: Start,
    /// Increases each time a file is replaced.
    pub(super) number: u64,
}

/// How far the spool's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes offers.
    Open,
    /// It refuses offers; earlier ones are being written.
    Closing,
    /// Nothing waits in memory, nor will.
    Written,
}

/// Shared by both ends and the writer.
pub(super) struct Shared {
    pub(super) limits: SpoolLimits,
    /// [`Phase`] is no longer `Open`: checked on every offer.
    pub(super) is_closed: AtomicBool,
    pub(super) phase: watch::Sender<Phase>,
    /// Bytes and hits on disk that the database has not yet.
    pub(super) bytes: AtomicU64,
    pub(super) backlog: AtomicU64,
    /// Bytes that wait in memory.
    pub(super) waiting: AtomicU64,
    /// Hits that wait in memory: a group leaves only once it is in the backlog, so no hit is in
    /// neither.
    pub(super) unwritten: AtomicU64,
    /// Hits taken since the start.
    pub(super) accepted: AtomicU64,
    pub(super) disk_fails: AtomicBool,
    pub(super) ages: Ages,
    /// Spools that were put aside and not removed since.
    pub(super) aside: AtomicU64,
    /// None until the file is open.
    pub(super) opened: watch::Sender<Option<Opened>>,
    /// Highest group on disk.
    pub(super) written: watch::Sender<i64>,
    /// Highest group that the database has: the writer deletes up to here.
    pub(super) done: AtomicI64,
    /// Once all up to this group is deleted, nothing of it is to be left in the file; 0: nobody
    /// asks.
    pub(super) scrub_after: AtomicI64,
    pub(super) counters: Counters,
}

pub(super) struct Counters {
    pub(super) accepted: Counter,
    pub(super) early: Counter,
}

impl Shared {
    pub(super) fn new(limits: SpoolLimits, is_open: bool) -> Self {
        Self {
            limits,
            is_closed: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Open),
            bytes: AtomicU64::new(0),
            backlog: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            disk_fails: AtomicBool::new(!is_open),
            ages: Ages::default(),
            aside: AtomicU64::new(0),
            opened: watch::Sender::new(None),
            written: watch::Sender::new(0),
            done: AtomicI64::new(0),
            scrub_after: AtomicI64::new(0),
            counters: Counters {
                accepted: metrics::counter!("sillage_hits_accepted_total"),
                early: metrics::counter!("sillage_hits_answered_early_total"),
            },
        }
    }

    /// Why nothing is accepted now, as far as known without trying.
    pub(super) fn refusal(&self) -> Option<Refused> {
        if self.is_closed.load(Ordering::Acquire) {
            return Some(Refused::Stopping);
        }
        let held = self.bytes.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed);
        (held >= self.limits.max_bytes).then_some(Refused::Full)
    }

    pub(super) fn status(&self) -> Status {
        // Before the backlog, in which what is written stands first: so no hit is in neither.
        let unwritten = self.unwritten.load(Ordering::Acquire);
        let done = self.done.load(Ordering::Acquire);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let limit = self.limits.max_bytes;
        Status {
            accepted: self.accepted.load(Ordering::Relaxed),
            unwritten,
            backlog: self.backlog.load(Ordering::Relaxed),
            bytes,
            limit,
            oldest: self.ages.oldest(done, *self.written.borrow()),
            is_taking: !self.disk_fails.load(Ordering::Relaxed) && bytes < limit,
            damaged: self.aside.load(Ordering::Relaxed),
        }
    }
}

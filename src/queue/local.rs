//! The spool: the durable queue on local disk between the answer and the database.
//!
//! One writer collects what waits, writes it as one row of a local SQLite file (WAL,
//! `synchronous=FULL`) and then releases every waiting answer: group commit, so one flush of the
//! disk serves all requests that wait for it.
//!
//! **Format.** `spool.db`, table `groups(seq, hits, body)`; a body is a sequence of frames, each a
//! length (u32, little-endian) and a hit as a MessagePack array (see [`crate::model::hit::Hit`]).
//! `seq` rises and is never used twice: after a start it goes on from the present time in
//! microseconds (above every number that was ever given out, also where an old copy of the file was
//! put back; where the clock is behind, the projection notices and has the spool take a new id).
//! `meta` keeps how far has been deleted. `meta` also holds the id under which the database
//! remembers this spool's position.
//!
//! **How it fails.** Limit reached: offers are refused ([`Refused::Full`]) until the projection has
//! made room. Disk full: the write fails, everyone waiting is told, and the next write tries again;
//! a ballast file is given up so that deleting (which in SQLite writes too) still works; where
//! there is no room even to open the file, the server starts without it and the writer goes on
//! trying. Process killed: SQLite's journal keeps whole groups only, and only whole groups were
//! answered. File damaged: it is put aside, and what can be read of it goes on in a new one
//! (`local/salvage.rs`).
//!
//! **Every offer is settled.** Who waits for its outcome is told. Where nobody does any more,
//! because a reader went on to the page or answers do not wait (`spool.ack = "fast"`), what is not
//! stored in the end is counted as lost here.

mod age;
mod file;
mod frame;
mod pages;
mod reader;
mod salvage;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use metrics::Counter;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use age::Ages;
pub use file::{SpoolError, SpoolStatus, inspect, inspect_file, status};
pub use frame::{BadFrame, decode_frames, encode_frame};
pub use reader::{Group, SpoolReader, SpoolStart};

use crate::model::clock::Clock;
use crate::model::hit::Hit;
use crate::queue::sink::{Claim, Receipt, Refused, Sink};

/// What the spool may use.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// Most bytes of hits on disk.
    pub max_bytes: u64,
    /// How long the writer waits for company before it writes; zero where answers wait for it.
    pub linger: Duration,
}

/// Most offers that wait in memory for the writer.
const QUEUE: usize = 65_536;

struct Entry {
    body: Vec<u8>,
    claim: Claim,
    account: Account,
}

/// What an offer is owed: its outcome, to whoever waits for it, or to the figures.
struct Account {
    hits: u32,
    outcome: Option<oneshot::Sender<Result<(), Refused>>>,
}

impl Account {
    fn settle(mut self, outcome: Result<(), Refused>) {
        self.pay(outcome);
    }

    /// Whoever offered them knows already.
    fn forget(mut self) {
        self.outcome = None;
    }

    fn pay(&mut self, outcome: Result<(), Refused>) {
        let Some(waiting) = self.outcome.take() else {
            return;
        };
        if waiting.send(outcome).is_err()
            && let Err(refused) = outcome
        {
            count_lost(u64::from(self.hits), refused);
            writer::LOSSES.note_lost(self.hits as usize, refused);
        }
    }
}

impl Drop for Account {
    /// The writer ended before it came to it.
    fn drop(&mut self) {
        self.pay(Err(Refused::Stopping));
    }
}

fn count_lost(hits: u64, refused: Refused) {
    metrics::counter!("sillage_hits_lost_total", "reason" => refused.label()).increment(hits);
}

/// The file that is open.
#[derive(Clone, Copy, Debug)]
struct Opened {
    start: SpoolStart,
    /// Rises with each file that takes the place of another.
    number: u64,
}

/// Handle of the spool; cheap to clone.
#[derive(Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    queue: mpsc::Sender<Entry>,
    limits: SpoolLimits,
    /// Bytes and hits on disk that the database has not yet.
    bytes: AtomicU64,
    backlog: AtomicU64,
    /// Bytes that wait in memory.
    waiting: AtomicU64,
    /// Hits that wait in memory: less by a group only when that stands in the backlog, so no hit is
    /// in neither.
    unwritten: AtomicU64,
    /// Hits taken since the start.
    accepted: AtomicU64,
    disk_fails: AtomicBool,
    ages: Ages,
    /// Spools that were put aside and not removed since.
    aside: AtomicU64,
    /// None until the file is open.
    opened: watch::Sender<Option<Opened>>,
    /// Highest group on disk.
    written: watch::Sender<i64>,
    /// Highest group that the database has: up to here the writer deletes.
    done: Arc<AtomicI64>,
    counters: Counters,
}

struct Counters {
    accepted: Counter,
    early: Counter,
}

const REASONS: [Refused; 6] = [
    Refused::Full,
    Refused::Busy,
    Refused::Disk,
    Refused::Late,
    Refused::Stopping,
    Refused::Damaged,
];

impl Spool {
    /// Opens or creates the spool in a directory and starts its writer. The handle of the writer
    /// ends when every clone of the spool is gone and all that waited is on disk.
    ///
    /// # Errors
    /// The file can neither be opened nor be put aside, for another reason than its disk.
    pub async fn open(
        dir: &Path,
        limits: SpoolLimits,
        clock: &Clock,
    ) -> Result<(Self, SpoolReader, JoinHandle<()>), SpoolError> {
        let opened = match file::SpoolFile::open(dir, clock).await {
            Err(error) if error.is_disk() => {
                tracing::error!(%error, "the spool cannot be opened for want of room; what is \
                    answered until then is lost");
                None
            }
            opened => Some(opened?),
        };
        let (queue, entries) = mpsc::channel(QUEUE);
        // They are there from the start, so that who watches them sees the first loss as a change.
        for reason in REASONS {
            count_lost(0, reason);
        }
        metrics::counter!("sillage_spool_damaged_total").increment(0);
        let shared = Arc::new(Shared {
            queue,
            limits,
            bytes: AtomicU64::new(0),
            backlog: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            disk_fails: AtomicBool::new(opened.is_none()),
            ages: Ages::default(),
            aside: AtomicU64::new(0),
            opened: watch::Sender::new(None),
            written: watch::Sender::new(0),
            done: Arc::new(AtomicI64::new(0)),
            counters: Counters {
                accepted: metrics::counter!("sillage_hits_accepted_total"),
                early: metrics::counter!("sillage_hits_answered_early_total"),
            },
        });
        let is_damaged = Arc::new(AtomicBool::new(false));
        let reader = SpoolReader::new(
            dir,
            shared.opened.subscribe(),
            shared.written.subscribe(),
            Arc::clone(&is_damaged),
        );
        let done = Arc::clone(&shared.done);
        let keeper = writer::Keeper::new(dir, clock, opened, is_damaged, &shared);
        let writer = tokio::spawn(writer::run(
            keeper,
            entries,
            Arc::downgrade(&shared),
            done,
            limits,
        ));
        Ok((Self(shared), reader, writer))
    }

    /// The id under which the database remembers this spool's position; none until there was room
    /// to open the file.
    pub fn id(&self) -> Option<Uuid> {
        self.0.opened.borrow().map(|opened| opened.start.id)
    }

    /// Damaged spools in the directory that were put aside.
    pub fn aside(&self) -> u64 {
        self.0.aside.load(Ordering::Relaxed)
    }

    /// Hits on disk that the database has not yet.
    pub fn backlog(&self) -> u64 {
        self.0.backlog.load(Ordering::Relaxed)
    }

    /// Hits in memory that the disk has not yet. Who asks for the backlog after it misses none.
    pub fn unwritten(&self) -> u64 {
        self.0.unwritten.load(Ordering::Acquire)
    }

    /// Bytes on disk that the database has not yet.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// How long the oldest hit on disk has waited for the database, exact to a second; zero where
    /// none waits.
    pub fn oldest_waits(&self) -> Duration {
        let done = self.0.done.load(Ordering::Acquire);
        self.0.ages.oldest(done, *self.0.written.borrow())
    }

    /// Most bytes of hits on disk.
    pub fn limit(&self) -> u64 {
        self.0.limits.max_bytes
    }

    /// Hits taken since the start.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Whether hits can be taken now.
    pub fn is_taking(&self) -> bool {
        !self.0.disk_fails.load(Ordering::Relaxed) && self.bytes() < self.0.limits.max_bytes
    }

    /// Whether less than half of the limit is used.
    pub fn has_room(&self) -> bool {
        self.bytes() < self.0.limits.max_bytes / 2
    }

    /// Tells that the database has all groups up to `seq`: they may go.
    pub fn mark_done(&self, seq: i64) {
        self.0.done.fetch_max(seq, Ordering::AcqRel);
    }
}

impl Spool {
    fn is_full(&self) -> bool {
        let shared = &*self.0;
        shared.bytes.load(Ordering::Relaxed) + shared.waiting.load(Ordering::Relaxed)
            >= shared.limits.max_bytes
    }

    fn offer_frames(&self, body: Vec<u8>, hits: u32) -> Receipt {
        let shared = &*self.0;
        let (outcome, receiver) = oneshot::channel();
        let claim = Claim::default();
        let bytes = body.len() as u64;
        let entry = Entry {
            body,
            claim: claim.clone(),
            account: Account {
                hits,
                outcome: Some(outcome),
            },
        };
        // Before sending: the writer may be done with the entry before this thread goes on.
        shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        shared
            .unwritten
            .fetch_add(u64::from(hits), Ordering::Relaxed);
        let sent = shared.queue.try_send(entry);
        if sent.is_err() {
            shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
            shared
                .unwritten
                .fetch_sub(u64::from(hits), Ordering::Relaxed);
        }
        match sent {
            Ok(()) => {
                let hits = u64::from(hits);
                shared.accepted.fetch_add(hits, Ordering::Relaxed);
                shared.counters.accepted.increment(hits);
                Receipt::pending(receiver, claim)
            }
            Err(mpsc::error::TrySendError::Full(entry)) => {
                entry.account.forget();
                Receipt::refused(Refused::Busy)
            }
            Err(mpsc::error::TrySendError::Closed(entry)) => {
                entry.account.forget();
                Receipt::refused(Refused::Stopping)
            }
        }
    }
}

impl Sink for Spool {
    fn offer(&self, hits: &[Hit]) -> Receipt {
        if self.is_full() {
            return Receipt::refused(Refused::Full);
        }
        let mut body = Vec::with_capacity(512 * hits.len());
        for hit in hits {
            encode_frame(hit, &mut body);
        }
        self.offer_frames(body, hits.len() as u32)
    }

    fn offer_each(&self, hits: &mut dyn Iterator<Item = Hit>) -> Receipt {
        if self.is_full() {
            return Receipt::refused(Refused::Full);
        }
        let (mut body, mut count) = (Vec::new(), 0);
        for hit in hits {
            encode_frame(&hit, &mut body);
            count += 1;
        }
        self.offer_frames(body, count)
    }

    fn count_lost(&self, hits: usize, refused: Refused) {
        count_lost(hits as u64, refused);
        writer::LOSSES.note_lost(hits, refused);
    }

    fn count_early(&self, hits: usize) {
        self.0.counters.early.increment(hits as u64);
        writer::EARLY.note_early(hits);
    }
}

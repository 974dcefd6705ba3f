//! The spool: the durable queue on local disk between the answer and the database.
//!
//! One writer collects what waits, writes it as one row of a local SQLite file (WAL, `synchronous=FULL`) and then releases every waiting
//! answer: group commit, so one flush of the disk serves all requests that wait for it.
//!
//! **Format.** `spool.db`, table `groups(seq, hits, body)`; a body is a sequence of frames, each a length (u32, little-endian) and a hit as
//! a MessagePack array (see [`crate::hit::Hit`]). `seq` rises and is never used twice: after a start it goes on from the
//! present time in microseconds (above every number that was ever given out, also where an old copy of the file was put back; where the clock
//! is behind, the projection notices and has the spool take a new id).
//! `meta` keeps how far has been deleted. `meta` also holds the id under which the database remembers this spool's position.
//!
//! **How it fails.** Limit reached: offers are refused ([`Refused::Full`]) until the projection has made room. Disk full: the write fails,
//! everyone waiting is told, and the next write tries again; a ballast file is given up so that deleting (which in SQLite writes too) still
//! works. Process killed: SQLite's journal keeps whole groups only, and only whole groups were answered.

mod age;
mod file;
mod frame;
mod reader;
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
pub use file::{SpoolError, SpoolStatus, inspect, status};
pub use frame::{BadFrame, decode_frames, encode_frame};
pub use reader::{Group, SpoolReader};

use crate::clock::{Clock, Micros};
use crate::hit::Hit;
use crate::sink::{Claim, Receipt, Refused, Sink};

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
    hits: u32,
    claim: Claim,
    outcome: oneshot::Sender<Result<(), Refused>>,
}

/// Handle of the spool; cheap to clone.
#[derive(Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    id: Uuid,
    /// Highest group in the file when it was opened, and the number above which this start's groups are numbered.
    opened: (i64, i64),
    queue: mpsc::Sender<Entry>,
    limits: SpoolLimits,
    /// Bytes and hits on disk that the database has not yet.
    bytes: AtomicU64,
    backlog: AtomicU64,
    /// Bytes that wait in memory.
    waiting: AtomicU64,
    /// Hits taken since the start.
    accepted: AtomicU64,
    disk_fails: AtomicBool,
    ages: Ages,
    /// Highest group on disk.
    written: watch::Sender<i64>,
    /// Highest group that the database has: up to here the writer deletes.
    done: Arc<AtomicI64>,
    counters: Counters,
}

struct Counters {
    accepted: Counter,
    lost: [Counter; 5],
}

const REASONS: [Refused; 5] = [
    Refused::Full,
    Refused::Busy,
    Refused::Disk,
    Refused::Late,
    Refused::Stopping,
];

impl Spool {
    /// Opens or creates the spool in a directory and starts its writer. The handle of the writer ends when every clone of the
    /// spool is gone and all that waited is on disk.
    ///
    /// # Errors
    /// The file cannot be opened or is no spool.
    pub async fn open(
        dir: &Path,
        limits: SpoolLimits,
        clock: &Clock,
    ) -> Result<(Self, SpoolReader, JoinHandle<()>), SpoolError> {
        let mut file = file::SpoolFile::open(dir, clock).await?;
        let oldest = match file.oldest().await {
            Ok(oldest) => oldest,
            Err(error) => {
                tracing::warn!(%error, "how long hits of an earlier start have waited is not known");
                None
            }
        };
        let now = clock.now();
        let age = |at: Micros| Duration::from_micros(now.0.saturating_sub(at.0).max(0) as u64);
        let oldest = oldest.map(|(seq, at)| (seq, age(at)));
        let (queue, entries) = mpsc::channel(QUEUE);
        let lost = REASONS
            .map(|reason| metrics::counter!("sillage_hits_lost_total", "reason" => reason.label()));
        let shared = Arc::new(Shared {
            id: file.id,
            opened: (file.written, file.last),
            queue,
            limits,
            bytes: AtomicU64::new(file.bytes),
            backlog: AtomicU64::new(file.hits),
            waiting: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            disk_fails: AtomicBool::new(false),
            ages: Ages::with(oldest),
            written: watch::Sender::new(file.written),
            done: Arc::new(AtomicI64::new(file.deleted_to)),
            counters: Counters {
                accepted: metrics::counter!("sillage_hits_accepted_total"),
                lost,
            },
        });
        let reader = SpoolReader::open(dir, file.deleted_to, shared.written.subscribe()).await?;
        let done = Arc::clone(&shared.done);
        let writer = tokio::spawn(writer::run(
            file,
            entries,
            Arc::downgrade(&shared),
            done,
            limits,
        ));
        Ok((Self(shared), reader, writer))
    }

    /// The id under which the database remembers this spool's position.
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// The highest group that was in the file when it was opened.
    pub fn found_to(&self) -> i64 {
        self.0.opened.0
    }

    /// Groups of this start have numbers above this.
    pub fn numbered_from(&self) -> i64 {
        self.0.opened.1
    }

    /// Hits on disk that the database has not yet.
    pub fn backlog(&self) -> u64 {
        self.0.backlog.load(Ordering::Relaxed)
    }

    /// Bytes on disk that the database has not yet.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// How long the oldest hit on disk has waited for the database, exact to a second; zero where none waits.
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
            hits,
            claim: claim.clone(),
            outcome,
        };
        // Before sending: the writer may be done with the entry before this thread goes on.
        shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        let sent = shared.queue.try_send(entry);
        if sent.is_err() {
            shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        match sent {
            Ok(()) => {
                let hits = u64::from(hits);
                shared.accepted.fetch_add(hits, Ordering::Relaxed);
                shared.counters.accepted.increment(hits);
                Receipt::pending(receiver, claim)
            }
            Err(mpsc::error::TrySendError::Full(_)) => Receipt::refused(Refused::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Receipt::refused(Refused::Stopping),
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
        let index = REASONS
            .iter()
            .position(|reason| *reason == refused)
            .unwrap_or_default();
        self.0.counters.lost[index].increment(hits as u64);
        writer::LOSSES.note_lost(hits, refused);
    }
}

//! The spool: the durable queue on local disk between the answer and the database.
//!
//! One writer collects what waits, writes it as one row of a local SQLite file (WAL,
//! `synchronous=FULL`) and then releases every waiting answer: group commit, so one flush of the
//! disk serves all requests that wait for it.
//!
//! **Format.** `spool.db`, table `groups(seq, hits, body)`; a body is a sequence of frames, see
//! [`super::frame`]. `pragma user_version` is the number of the newest format in it; 0 in files from
//! before the numbers.
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
//! (`local/salvage.rs`); what cannot is counted as lost, by what was noted beside the file
//! (`local/tally.rs`). File of a newer server: it is put aside whole and told, for that server to
//! go on with.
//!
//! **Every offer is settled.** Who waits for its outcome is told. Where nobody does any more,
//! because a reader went on to the page or answers do not wait (`spool.ack = "fast"`), what is not
//! stored in the end is counted as lost here.

mod age;
mod file;
mod pages;
mod reader;
mod salvage;
mod tally;
mod writer;

use std::cell::RefCell;
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
pub use reader::{Group, SpoolReadError, SpoolReader, SpoolStart};

use crate::model::clock::Clock;
use crate::model::hit::Hit;
use crate::queue::frame::encode_frame;
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

/// What was offered at once. Tens of thousands may wait for a slow disk, so each is small: the
/// frames take what they need and no more, and where nobody waits there is nobody to tell.
struct Entry {
    body: Box<[u8]>,
    account: Account,
}

/// What an offer is owed: its outcome, to whoever waits for it, or to the figures.
struct Account {
    /// Zero once it is settled.
    hits: u32,
    caller: Option<Caller>,
}

/// Who waits for an outcome, and may take the offer back before.
struct Caller {
    claim: Claim,
    outcome: oneshot::Sender<Result<(), Refused>>,
}

impl Account {
    /// The writer takes the offer; false where the caller has withdrawn it.
    fn claim(&self) -> bool {
        self.caller
            .as_ref()
            .is_none_or(|caller| caller.claim.take())
    }

    fn settle(mut self, outcome: Result<(), Refused>) {
        self.pay(outcome);
    }

    /// Whoever offered them knows already.
    fn forget(mut self) {
        self.hits = 0;
        self.caller = None;
    }

    fn pay(&mut self, outcome: Result<(), Refused>) {
        let hits = std::mem::take(&mut self.hits);
        if let Some(caller) = self.caller.take()
            && caller.outcome.send(outcome).is_ok()
        {
            return;
        }
        if let Err(refused) = outcome
            && hits > 0
        {
            count_lost(u64::from(hits), refused);
            writer::LOSSES.note_lost(hits as usize, refused);
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

/// The end of the spool that takes hits; cheap to clone.
#[derive(Clone)]
pub struct Spool {
    queue: mpsc::Sender<Entry>,
    shared: Arc<Shared>,
}

/// How far the spool's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It takes offers.
    Open,
    /// It refuses them; what was offered before is being written.
    Closing,
    /// Nothing waits in memory, and nothing will.
    Written,
}

/// What both ends and the writer share.
struct Shared {
    limits: SpoolLimits,
    /// [`Phase`] is no longer `Open`: asked at every offer.
    is_closed: AtomicBool,
    phase: watch::Sender<Phase>,
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
    done: AtomicI64,
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
    /// Opens or creates the spool in a directory and starts its writer.
    ///
    /// The writer ends, and its handle with it, when three things are true: the spool was closed
    /// ([`Spool::close`]) or every clone of it is gone, all that was offered is written, and the
    /// reader was dropped. What the reader marked as done is deleted then, and the journal is
    /// folded in.
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
            limits,
            is_closed: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Open),
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
            done: AtomicI64::new(0),
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
            shared.phase.subscribe(),
            Arc::clone(&is_damaged),
        );
        let keeper = writer::Keeper::new(dir, clock, opened, is_damaged, &shared);
        let writer = tokio::spawn(writer::run(keeper, entries, Arc::clone(&shared)));
        Ok((Self { queue, shared }, reader, writer))
    }

    /// Closes the spool, whoever else holds it: offers are refused with [`Refused::Stopping`] from
    /// here on. Returns when everything that was offered before is settled: on disk, or refused by
    /// it and told. That takes as long as the disk does, so callers set a limit.
    ///
    /// Reading goes on: the writer ends when the reader is dropped too, see [`Spool::open`]. So a
    /// server stops in this order: close the spool, let the projection store what time allows, drop
    /// the projection, wait for the writer.
    ///
    /// Closing twice is no mistake; both wait.
    pub async fn close(&self) {
        let shared = &*self.shared;
        shared.is_closed.store(true, Ordering::Release);
        shared.phase.send_if_modified(|phase| {
            let is_open = *phase == Phase::Open;
            if is_open {
                *phase = Phase::Closing;
            }
            is_open
        });
        // An error is for a sender that is gone, and this is one.
        let _ = shared
            .phase
            .subscribe()
            .wait_for(|phase| *phase == Phase::Written)
            .await;
    }

    /// The id under which the database remembers this spool's position; none until there was room
    /// to open the file.
    pub fn id(&self) -> Option<Uuid> {
        self.shared.opened.borrow().map(|opened| opened.start.id)
    }

    /// Damaged spools in the directory that were put aside.
    pub fn aside(&self) -> u64 {
        self.shared.aside.load(Ordering::Relaxed)
    }

    /// Hits on disk that the database has not yet.
    pub fn backlog(&self) -> u64 {
        self.shared.backlog.load(Ordering::Relaxed)
    }

    /// Hits in memory that the disk has not yet. Who asks for the backlog after it misses none.
    pub fn unwritten(&self) -> u64 {
        self.shared.unwritten.load(Ordering::Acquire)
    }

    /// Bytes on disk that the database has not yet.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// How long the oldest hit on disk has waited for the database, exact to a second; zero where
    /// none waits.
    pub fn oldest_waits(&self) -> Duration {
        let done = self.shared.done.load(Ordering::Acquire);
        self.shared.ages.oldest(done, *self.shared.written.borrow())
    }

    /// Most bytes of hits on disk.
    pub fn limit(&self) -> u64 {
        self.shared.limits.max_bytes
    }

    /// Hits taken since the start.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Whether hits can be taken now.
    pub fn is_taking(&self) -> bool {
        !self.shared.disk_fails.load(Ordering::Relaxed)
            && self.bytes() < self.shared.limits.max_bytes
    }

    /// Whether less than half of the limit is used.
    pub fn has_room(&self) -> bool {
        self.bytes() < self.shared.limits.max_bytes / 2
    }

    /// Tells that the database has all groups up to `seq`: they may go.
    pub fn mark_done(&self, seq: i64) {
        self.shared.done.fetch_max(seq, Ordering::AcqRel);
    }
}

impl Shared {
    /// Why nothing is taken now, as far as it is known without trying.
    fn refusal(&self) -> Option<Refused> {
        if self.is_closed.load(Ordering::Acquire) {
            return Some(Refused::Stopping);
        }
        let held = self.bytes.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed);
        (held >= self.limits.max_bytes).then_some(Refused::Full)
    }
}

/// Bytes beyond which the memory of a large offer is not kept for the next.
const MOST_SCRATCH: usize = 64 << 10;

/// The frames of hits, in as many bytes as they need: written into a growing list they would leave
/// a third of it unused, in each of the entries that wait.
fn frames_of(hits: &[Hit]) -> Box<[u8]> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        for hit in hits {
            encode_frame(hit, scratch);
        }
        let frames = scratch.as_slice().into();
        if scratch.capacity() > MOST_SCRATCH {
            *scratch = Vec::new();
        }
        frames
    })
}

impl Spool {
    /// Hands frames to the writer.
    fn send(&self, body: Box<[u8]>, hits: u32, caller: Option<Caller>) -> Result<(), Refused> {
        let shared = &*self.shared;
        let bytes = body.len() as u64;
        let account = Account { hits, caller };
        let hits = u64::from(hits);
        // Before sending: the writer may be done with the entry before this thread goes on.
        shared.waiting.fetch_add(bytes, Ordering::Relaxed);
        shared.unwritten.fetch_add(hits, Ordering::Relaxed);
        let Err(error) = self.queue.try_send(Entry { body, account }) else {
            shared.accepted.fetch_add(hits, Ordering::Relaxed);
            shared.counters.accepted.increment(hits);
            return Ok(());
        };
        shared.waiting.fetch_sub(bytes, Ordering::Relaxed);
        shared.unwritten.fetch_sub(hits, Ordering::Relaxed);
        let (entry, refused) = match error {
            mpsc::error::TrySendError::Full(entry) => (entry, Refused::Busy),
            mpsc::error::TrySendError::Closed(entry) => (entry, Refused::Stopping),
        };
        entry.account.forget();
        Err(refused)
    }

    /// The same, with a receipt.
    fn send_watched(&self, body: Box<[u8]>, hits: u32) -> Receipt {
        let (outcome, receiver) = oneshot::channel();
        let claim = Claim::default();
        let caller = Caller {
            claim: claim.clone(),
            outcome,
        };
        match self.send(body, hits, Some(caller)) {
            Ok(()) => Receipt::pending(receiver, claim),
            Err(refused) => Receipt::refused(refused),
        }
    }
}

impl Sink for Spool {
    fn offer(&self, hits: &[Hit]) -> Receipt {
        match self.shared.refusal() {
            Some(refused) => Receipt::refused(refused),
            None => self.send_watched(frames_of(hits), hits.len() as u32),
        }
    }

    fn offer_unwatched(&self, hits: &[Hit]) -> Result<(), Refused> {
        match self.shared.refusal() {
            Some(refused) => Err(refused),
            None => self.send(frames_of(hits), hits.len() as u32, None),
        }
    }

    fn offer_each(&self, hits: &mut dyn Iterator<Item = Hit>) -> Receipt {
        if let Some(refused) = self.shared.refusal() {
            return Receipt::refused(refused);
        }
        let (mut body, mut count) = (Vec::new(), 0);
        for hit in hits {
            encode_frame(&hit, &mut body);
            count += 1;
        }
        self.send_watched(body.into_boxed_slice(), count)
    }

    fn count_lost(&self, hits: usize, refused: Refused) {
        count_lost(hits as u64, refused);
        writer::LOSSES.note_lost(hits, refused);
    }

    fn count_early(&self, hits: usize) {
        self.shared.counters.early.increment(hits as u64);
        writer::EARLY.note_early(hits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{Dialect, HitId, Kind};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn hit(number: u128) -> Hit {
        Hit::new(
            HitId(Uuid::from_u128(number)),
            Micros(1),
            Kind::Click,
            Dialect::Native,
        )
    }

    async fn open(dir: &Path, linger: Duration) -> (Spool, SpoolReader, JoinHandle<()>) {
        let limits = SpoolLimits {
            max_bytes: 1 << 20,
            linger,
        };
        let clock = Clock::fixed(Micros(1_000 * Micros::SECOND));
        Spool::open(dir, limits, &clock).await.unwrap()
    }

    #[tokio::test]
    async fn a_closed_spool_refuses_offers_and_has_written_those_before() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, mut reader, writer) = open(dir.path(), Duration::from_millis(50)).await;
        let other = spool.clone();
        for number in 0..100 {
            spool.offer_unwatched(&[hit(number)]).unwrap();
        }
        spool.close().await;
        assert_eq!((spool.unwritten(), spool.backlog()), (0, 100));
        assert_eq!(other.offer_unwatched(&[hit(1_000)]), Err(Refused::Stopping));
        assert_eq!(
            other.offer(&[hit(1_000)]).refusal(),
            Some(Refused::Stopping)
        );
        other.close().await;

        // The reader's end goes on, and what it has stored is deleted before the writer ends.
        let start = reader.start().await.unwrap();
        assert!(reader.wait_after(start.deleted_to).await);
        let groups = reader.read(start.deleted_to, 1_000).await.unwrap();
        assert_eq!(
            groups.iter().map(|group| group.hits.len()).sum::<usize>(),
            100
        );
        let last = groups.last().unwrap().seq;
        assert!(!reader.wait_after(last).await, "nothing comes any more");
        spool.mark_done(last);
        assert!(!writer.is_finished(), "it waits for the reader");
        drop(reader);
        writer.await.unwrap();
        assert_eq!(status(dir.path()).await.unwrap().hits, 0);
    }

    #[tokio::test]
    async fn a_spool_that_nobody_holds_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, reader, writer) = open(dir.path(), Duration::ZERO).await;
        let receipt = spool.offer(&[hit(1), hit(2)]);
        drop((spool, reader));
        writer.await.unwrap();
        receipt.durable(PATIENCE).await.unwrap();
        assert_eq!(status(dir.path()).await.unwrap().hits, 2);
    }

    #[test]
    fn an_entry_that_nobody_waits_for_is_its_frames_and_a_few_words() {
        assert!(size_of::<Entry>() <= 40, "{}", size_of::<Entry>());
    }
}

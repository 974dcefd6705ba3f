//! The end of the spool that accepts hits.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::entry::{Account, Caller, Entry};
use super::keeper::Keeper;
use super::shared::{Phase, Shared};
use super::{SpoolError, SpoolLimits, SpoolReader, losses, opening, writer};
use crate::model::clock::Clock;
use crate::model::hit::Hit;
use crate::queue::frame::encode_frame;
use crate::queue::sink::{Claim, Receipt, Refused, Sink};
use crate::queue::source::Status;

/// Maximum number of offers that wait in memory for the writer.
const QUEUE: usize = 65_536;

/// The end of the spool that takes hits; cheap to clone.
#[derive(Clone)]
pub struct Spool {
    queue: mpsc::Sender<Entry>,
    shared: Arc<Shared>,
}

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
        let opened = match opening::open(dir, clock).await {
            Err(error) if error.is_disk() => {
                tracing::error!(%error, "cannot open the spool because the disk is full; hits \
                    answered until it opens are lost");
                None
            }
            opened => Some(opened?),
        };
        losses::announce();
        let (queue, entries) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::new(limits, opened.is_some()));
        let is_damaged = Arc::new(AtomicBool::new(false));
        let reader = SpoolReader::new(dir, Arc::clone(&shared), Arc::clone(&is_damaged));
        let keeper = Keeper::new(dir, clock, opened, is_damaged, &shared);
        let writer = tokio::spawn(writer::run(keeper, entries, Arc::clone(&shared)));
        Ok((Self { queue, shared }, reader, writer))
    }

    /// Closes the spool, whoever else holds it: offers are refused with `Stopping` from
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

    /// Asks that nothing of what is written by now be left in the file once the database has it.
    pub fn scrub(&self) {
        let written = *self.shared.written.borrow();
        self.shared.scrub_after.fetch_max(written, Ordering::AcqRel);
    }

    /// Its current state. Does not touch the disk.
    pub fn status(&self) -> Status {
        self.shared.status()
    }
}

/// Size up to which a large offer's buffer is kept for the next.
const MOST_SCRATCH: usize = 64 << 10;

/// The frames of hits, exactly sized: a growing buffer would waste a third in each waiting entry.
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
        losses::lose(hits as u64, refused);
    }

    fn count_early(&self, hits: usize) {
        self.shared.counters.early.increment(hits as u64);
        losses::note_early(hits as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{Dialect, HitId, Kind};
    use crate::queue::local::waiting::status;
    use crate::queue::source::Source as _;

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
        let now = spool.status();
        assert_eq!((now.unwritten, now.backlog), (0, 100));
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
        let last = groups.last().unwrap().place;
        assert!(!reader.wait_after(last.seq).await, "nothing comes any more");
        reader.mark_done(last);
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
}

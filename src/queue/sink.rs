//! Where answered hits go: the seam between the web and the durable queue.
//!
//! The web offers hits and gets a [`Receipt`]; how they become durable (a local file, a replicated
//! stream) is up to the sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::hit::Hit;

/// A durable queue of hits.
pub trait Sink: Send + Sync + 'static {
    /// Takes hits, all or none of them. Returns at once; the receipt says when they are durable.
    fn offer(&self, hits: &[Hit]) -> Receipt;

    /// Takes hits whose outcome nobody waits for, all or none of them. The queue counts those that
    /// never become durable as lost.
    ///
    /// # Errors
    /// None of them is taken, and the queue has not counted them.
    fn offer_unwatched(&self, hits: &[Hit]) -> Result<(), Refused>;

    /// Takes hits that are generated one by one, all or none of them: ten thousand are never in
    /// memory together. Returns after the last.
    fn offer_each(&self, hits: &mut dyn Iterator<Item = Hit>) -> Receipt;

    /// Counts hits that were answered but will never be stored, and logs it.
    fn count_lost(&self, hits: usize, refused: Refused);

    /// Counts hits that were answered before their outcome was known.
    fn count_early(&self, hits: usize);
}

/// Why hits did not become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// The queue is full.
    #[error("the spool is full")]
    Full,
    /// More hits wait for the disk than memory may hold.
    #[error("the disk is too slow")]
    Busy,
    /// The disk refused the write.
    #[error("the disk refuses writes")]
    Disk,
    /// Not durable within the patience of the caller, who withdrew them.
    #[error("the disk did not answer in time")]
    Late,
    /// They were on disk, but their file cannot be read.
    #[error("the spool was damaged")]
    Damaged,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl Refused {
    /// Label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Disk => "disk",
            Self::Late => "late",
            Self::Damaged => "damaged",
            Self::Stopping => "stopping",
        }
    }
}

/// How hits are kept if they are not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// They are durable.
    Durable,
    /// The disk has not answered yet. The queue settles the account: what is not stored in the end,
    /// it counts as lost.
    Open,
}

/// Pending proof that offered hits are durable. Dropping it leaves the outcome to the queue, as
/// after [`Kept::Open`].
#[derive(Debug)]
pub struct Receipt {
    state: Result<oneshot::Receiver<Result<(), Refused>>, Refused>,
    claim: Claim,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Who decides over an offer: the writer that claims it or the caller that withdraws it, whichever
/// is first.
#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<AtomicU8>);

impl Claim {
    /// The writer takes the offer; false if the caller has withdrawn it.
    pub fn take(&self) -> bool {
        self.0
            .compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn withdraw(&self) -> bool {
        self.0
            .compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

impl Receipt {
    /// A receipt whose outcome arrives through `outcome`.
    pub fn pending(outcome: oneshot::Receiver<Result<(), Refused>>, claim: Claim) -> Self {
        Self {
            state: Ok(outcome),
            claim,
        }
    }

    /// A refusal.
    pub fn refused(why: Refused) -> Self {
        Self {
            state: Err(why),
            claim: Claim::default(),
        }
    }

    /// The refusal, if it is already known; does not wait.
    pub fn refusal(&self) -> Option<Refused> {
        self.state.as_ref().err().copied()
    }

    /// Waits until the hits are durable, at most for `patience`: right for a reader who must get to
    /// the page.
    ///
    /// # Errors
    /// The hits are not durable and never will be.
    pub async fn durable(self, patience: Duration) -> Result<Kept, Refused> {
        let mut outcome = self.state?;
        match tokio::time::timeout(patience, &mut outcome).await {
            Ok(outcome) => told(outcome),
            Err(_) => leave(outcome),
        }
    }

    /// Waits like [`Receipt::durable`], but takes the hits back when patience ends and the disk
    /// does not have them yet: right for a visitor who is told to try again.
    ///
    /// # Errors
    /// The hits are not durable and never will be.
    pub async fn durable_or_taken_back(self, patience: Duration) -> Result<Kept, Refused> {
        let mut outcome = self.state?;
        match tokio::time::timeout(patience, &mut outcome).await {
            Ok(outcome) => told(outcome),
            Err(_) if self.claim.withdraw() => Err(Refused::Late),
            Err(_) => leave(outcome),
        }
    }

    /// Waits like [`Receipt::durable_or_taken_back`], but where the disk holds the hits when
    /// patience ends, the outcome is awaited: right for a sender that will send again what it is
    /// not told is stored.
    ///
    /// # Errors
    /// The hits are not durable and never will be.
    pub async fn durable_or_withdrawn(self, patience: Duration) -> Result<(), Refused> {
        let mut outcome = self.state?;
        match tokio::time::timeout(patience, &mut outcome).await {
            Ok(outcome) => outcome.unwrap_or(Err(Refused::Stopping)),
            Err(_) if self.claim.withdraw() => Err(Refused::Late),
            Err(_) => outcome.await.unwrap_or(Err(Refused::Stopping)),
        }
    }
}

type Told = Result<Result<(), Refused>, oneshot::error::RecvError>;

fn told(outcome: Told) -> Result<Kept, Refused> {
    outcome
        .unwrap_or(Err(Refused::Stopping))
        .map(|()| Kept::Durable)
}

/// Continues without the outcome, unless it arrives at this very moment.
fn leave(mut outcome: oneshot::Receiver<Result<(), Refused>>) -> Result<Kept, Refused> {
    outcome.close();
    match outcome.try_recv() {
        Ok(told) => told.map(|()| Kept::Durable),
        Err(_) => Ok(Kept::Open),
    }
}

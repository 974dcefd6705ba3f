//! Where hits leave a queue: the seam between the durable queue and the projection.
//!
//! A source hands out groups of hits in order and, once the database has them, gets a call to
//! delete them. It is one lane: the groups of one spool, read by one projection at a time. A queue
//! of another kind (a stream that servers publish their groups to, a lane of what another server
//! left behind) is another implementation beside `local/`, with a projection of its own.
//!
//! **Exactly once.** The name of a group is its [`Place`]: which spool, and its number in it. The
//! projection stores the place of the last group in the transaction that stores the hits, and
//! continues from the database's position, whatever the source has recorded. So a source may hand
//! out a group again, after a restart or a lost answer, but must never hand out different hits
//! under a place that was used.

use std::time::Duration;

use uuid::Uuid;

use crate::model::hit::Hit;
use crate::queue::frame::BadFrame;

/// The reading end of a queue.
pub trait Source: Send + 'static {
    /// Waits until groups can be read, which a full disk may delay; `None` if the queue is closed
    /// first.
    fn start(&mut self) -> impl Future<Output = Option<Start>> + Send;

    /// Waits until there is a group after number `seq`; false if there is none and the queue is
    /// closed.
    fn wait_after(&mut self, seq: i64) -> impl Future<Output = bool> + Send;

    /// Groups after number `seq` in order, at least one if there is one, until they have `hits`
    /// hits together.
    ///
    /// # Errors
    /// They cannot be read now. The queue mends what it can; reading again is right.
    fn read(
        &mut self,
        seq: i64,
        hits: usize,
    ) -> impl Future<Output = Result<Vec<Group>, SourceError>> + Send;

    /// The database has all groups up to this one: they may be deleted. Call it after the
    /// transaction that stored the position was committed, never before.
    fn mark_done(&self, place: Place);

    /// Gives the spool another id, because someone else stores groups under its present one; groups
    /// up to number `stored_to` stay stored. Durable when it returns.
    ///
    /// # Errors
    /// The disk refuses; the spool keeps its id.
    fn rename(
        &mut self,
        id: Uuid,
        stored_to: i64,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// The queue's current state. Touches neither disk nor network.
    fn status(&self) -> Status;
}

/// The name of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The id of its spool.
    pub spool: Uuid,
    /// Its number. Numbers increase and none is used twice; there may be gaps.
    pub seq: i64,
}

/// What one commit made durable.
#[derive(Debug)]
pub struct Group {
    /// Its name, which the database remembers.
    pub place: Place,
    /// Its hits in order of arrival.
    pub hits: Vec<Result<Box<Hit>, BadFrame>>,
}

/// The queue's state when it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// The spool's id.
    pub id: Uuid,
    /// Groups up to here were deleted before: all of them are in the database.
    pub deleted_to: i64,
    /// The highest group that was there.
    pub found_to: i64,
    /// Groups of this start have numbers above this.
    pub numbered_from: i64,
}

/// How a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Hits taken since the start.
    pub accepted: u64,
    /// Accepted hits that are not durable yet.
    pub unwritten: u64,
    /// Durable hits that the database does not have yet.
    pub backlog: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most bytes of them.
    pub limit: u64,
    /// How long the oldest of them has waited, exact to a second; zero if none waits.
    pub oldest: Duration,
    /// Whether hits can be taken now.
    pub is_taking: bool,
    /// Damaged files that were set aside and not removed since.
    pub damaged: u64,
}

impl Status {
    /// Whether less than half of the limit is used.
    pub fn has_room(&self) -> bool {
        self.bytes < self.limit / 2
    }
}

/// Groups cannot be read, or the spool cannot be renamed, at present.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SourceError(Box<dyn std::error::Error + Send + Sync>);

impl SourceError {
    /// An error of one kind of queue.
    pub fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

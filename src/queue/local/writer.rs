//! The one writer: collects, commits, releases.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::file::{SpoolFile, is_full};
use super::salvage::{self, Known};
use super::tally::{self, Tally};
use super::{Entry, Opened, Phase, Shared, SpoolStart};
use crate::model::clock::{Clock, Micros};
use crate::queue::sink::Refused;
use crate::sqlite::{Trouble, trouble};

/// Most offers in one commit. Larger groups gain nothing and make each answer wait for more bytes.
const MOST: usize = 4_096;
/// Most bytes in one commit.
const MOST_BYTES: usize = 4 << 20;
/// Deletions are gathered for so long: each costs a flush of the disk.
const DELETE_EVERY: Duration = Duration::from_millis(250);
/// How often a file that failed is tried while no hits arrive.
const TRY_EVERY: Duration = Duration::from_millis(200);
/// More groups than an offer can become.
const MOST_GROUPS: i64 = 1_000;

/// What the writer keeps: the file, open or not, and how far it is.
pub(super) struct Keeper {
    dir: PathBuf,
    clock: Clock,
    /// None while it cannot be opened.
    file: Option<SpoolFile>,
    /// Whoever reads it found it damaged.
    is_damaged: Arc<AtomicBool>,
    /// Why it is to be put aside.
    damage: Option<String>,
    /// The spool's id, once it is known.
    id: Option<Uuid>,
    /// The number of the last group.
    last: i64,
    deleted_to: i64,
    deleted_at: Instant,
    /// When opening or writing was last tried after it failed.
    tried: Instant,
    /// What was noted beside the file, and when.
    noted: Option<Tally>,
    noted_at: Instant,
}

impl Keeper {
    pub(super) fn new(
        dir: &Path,
        clock: &Clock,
        file: Option<SpoolFile>,
        is_damaged: Arc<AtomicBool>,
        shared: &Shared,
    ) -> Self {
        let mut keeper = Self {
            dir: dir.to_owned(),
            clock: clock.clone(),
            file: None,
            is_damaged,
            damage: None,
            id: None,
            last: 0,
            deleted_to: 0,
            deleted_at: Instant::now(),
            tried: Instant::now(),
            noted: None,
            noted_at: Instant::now(),
        };
        match file {
            Some(file) => keeper.adopt(file, shared),
            None => keeper.count_aside(shared),
        }
        keeper
    }

    /// Takes a file that was just opened, and says so.
    fn adopt(&mut self, file: SpoolFile, shared: &Shared) {
        self.id = Some(file.id);
        self.last = self.last.max(file.last);
        self.deleted_to = self.deleted_to.max(file.deleted_to);
        shared.bytes.store(file.bytes, Ordering::Relaxed);
        shared.backlog.store(file.hits, Ordering::Relaxed);
        shared.disk_fails.store(false, Ordering::Relaxed);
        shared.done.fetch_max(self.deleted_to, Ordering::AcqRel);
        let now = self.clock.now();
        let age = |at: Micros| Duration::from_micros(now.0.saturating_sub(at.0).max(0) as u64);
        shared
            .ages
            .begin_with(file.oldest.map(|(seq, at)| (seq, age(at))));
        self.count_aside(shared);
        let before = *shared.opened.borrow();
        shared.opened.send_replace(Some(Opened {
            // What was found stays what it was, also where another file takes the place.
            start: before.map_or_else(
                || SpoolStart {
                    id: file.id,
                    deleted_to: self.deleted_to,
                    found_to: file.written,
                    numbered_from: file.last,
                },
                |before| before.start,
            ),
            number: before.map_or(0, |before| before.number) + 1,
        }));
        shared
            .written
            .send_modify(|written| *written = file.written.max(*written));
        self.file = Some(file);
    }

    fn count_aside(&self, shared: &Shared) {
        shared
            .aside
            .store(salvage::aside(&self.dir), Ordering::Relaxed);
    }

    /// Notes what an error says about the file.
    fn note(&mut self, error: &sqlx::Error) {
        if trouble(error) == Trouble::Damage {
            self.damage.get_or_insert_with(|| error.to_string());
        }
    }

    /// What is to be done between two commits.
    async fn look_after(&mut self, shared: &Shared) {
        self.mend(shared).await;
        self.delete(shared).await;
        self.note_waiting(shared).await;
    }

    /// Puts right what can be: opens a file that is not open, puts a damaged one aside, and tries
    /// whether a disk that failed takes writes again, which without hits nobody else would.
    async fn mend(&mut self, shared: &Shared) {
        if self.is_damaged.swap(false, Ordering::AcqRel) {
            self.damage
                .get_or_insert_with(|| "found when it was read".to_owned());
        }
        if self.damage.is_some()
            && let Some(mut file) = self.file.take()
        {
            file.let_go().await;
            shared.disk_fails.store(true, Ordering::Relaxed);
        } else if !shared.disk_fails.load(Ordering::Relaxed) || self.tried.elapsed() < TRY_EVERY {
            return;
        }
        self.tried = Instant::now();
        if let Some(file) = &mut self.file {
            match file.probe().await {
                Ok(()) => shared.disk_fails.store(false, Ordering::Relaxed),
                Err(error) => self.note(&error),
            }
            return;
        }
        let opened = match &self.damage {
            Some(why) => {
                let known = Known {
                    // It may have taken another since.
                    id: salvage::read_id(&self.dir).or(self.id),
                    deleted_to: self.deleted_to,
                    hits: Some(shared.backlog.load(Ordering::Relaxed)),
                    last: self.last,
                };
                SpoolFile::renew(&self.dir, &self.clock, why, known).await
            }
            None => SpoolFile::open(&self.dir, &self.clock).await,
        };
        match opened {
            Ok(file) => {
                self.damage = None;
                self.adopt(file, shared);
            }
            Err(error) => WRITE_ERRORS.note_error(&error, error.is_disk()),
        }
    }

    /// Notes beside the file how many hits wait in it.
    async fn note_waiting(&mut self, shared: &Shared) {
        if self.file.is_none() || self.noted_at.elapsed() < tally::EVERY {
            return;
        }
        let tally = Tally {
            id: self.id,
            deleted_to: self.deleted_to,
            written: *shared.written.borrow(),
            hits: shared.backlog.load(Ordering::Relaxed),
        };
        if self.noted == Some(tally) {
            return;
        }
        self.noted = Some(tally);
        self.noted_at = Instant::now();
        let dir = self.dir.clone();
        // On a thread that may wait. A disk without room leaves the note as it was.
        let _ = tokio::task::spawn_blocking(move || tally.write(&dir)).await;
    }

    async fn delete(&mut self, shared: &Shared) {
        let Some(file) = &mut self.file else {
            return;
        };
        let done = shared.done.load(Ordering::Acquire);
        if done <= self.deleted_to || self.deleted_at.elapsed() < DELETE_EVERY {
            return;
        }
        self.deleted_at = Instant::now();
        match file.delete(done).await {
            Ok((hits, bytes)) => {
                self.deleted_to = done;
                shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
                shared.backlog.fetch_sub(hits, Ordering::Relaxed);
                file.restore_ballast();
            }
            Err(error) => {
                self.note(&error);
                tracing::warn!(%error, "stored groups could not be deleted from the spool; trying \
                    again");
            }
        }
    }

    /// Writes a group; on an error the numbers that it may have taken are not given out again.
    async fn append(&mut self, hits: u32, body: Vec<u8>) -> Result<(), Refused> {
        let Some(file) = &mut self.file else {
            return Err(Refused::Disk);
        };
        match file.append(self.last + 1, hits, body).await {
            Ok(groups) => {
                self.last += groups;
                Ok(())
            }
            Err(error) => {
                WRITE_ERRORS.note_error(&error, is_full(&error));
                // Should the failed write have reached the file after all, its number is taken.
                let written = file.last_written().await;
                self.last = written.map_or(self.last + MOST_GROUPS, |last| last.max(self.last));
                self.note(&error);
                Err(Refused::Disk)
            }
        }
    }
}

/// Writes what is offered until the spool is closed, and deletes what is done until its reader is
/// gone too.
pub(super) async fn run(
    mut keeper: Keeper,
    mut entries: mpsc::Receiver<Entry>,
    shared: Arc<Shared>,
) {
    let mut phase = shared.phase.subscribe();
    let mut batch = Vec::with_capacity(MOST);
    loop {
        tokio::select! {
            biased;
            count = entries.recv_many(&mut batch, MOST) => {
                if count == 0 {
                    break;
                }
                gather(&mut entries, &mut batch, shared.limits.linger).await;
                commit(&mut keeper, &mut batch, &shared).await;
            }
            // What is in the queue by then is still received.
            () = closing(&mut phase), if !entries.is_closed() => {
                entries.close();
                continue;
            }
            () = tokio::time::sleep(DELETE_EVERY) => {}
        }
        keeper.look_after(&shared).await;
    }
    drop(batch);
    shared.phase.send_replace(Phase::Written);
    loop {
        tokio::select! {
            biased;
            () = shared.written.closed() => break,
            () = tokio::time::sleep(DELETE_EVERY) => {}
        }
        keeper.look_after(&shared).await;
    }
    let Some(mut file) = keeper.file else {
        tracing::warn!("the spool was not open; the next start goes on from what is on disk");
        return;
    };
    // What was stored on the way out: left here it would look as if it waited.
    let done = shared.done.load(Ordering::Acquire);
    if done > keeper.deleted_to
        && let Err(error) = file.delete(done).await
    {
        tracing::warn!(%error, "stored groups could not be deleted from the spool; the next start \
            does it");
    }
    let written = *shared.written.borrow();
    match file.close().await {
        Ok(waiting) => {
            let tally = Tally {
                id: keeper.id,
                deleted_to: done.max(keeper.deleted_to),
                written,
                hits: waiting as u64,
            };
            let dir = keeper.dir;
            let _ = tokio::task::spawn_blocking(move || tally.write(&dir)).await;
            tracing::info!(waiting, "spool closed")
        }
        Err(error) => {
            tracing::warn!(%error, "the spool's journal could not be folded in; the next start \
                does it")
        }
    }
}

async fn closing(phase: &mut watch::Receiver<Phase>) {
    // An error is for a sender that is gone, which lives as long as the writer.
    let _ = phase.wait_for(|phase| *phase == Phase::Closing).await;
}

/// Takes what is about to arrive too: a commit costs the same for one hit as for fifty. Connections
/// whose requests are already here get their turn first, again as long as that brings something;
/// nobody waits on an idle machine.
async fn gather(entries: &mut mpsc::Receiver<Entry>, batch: &mut Vec<Entry>, linger: Duration) {
    if !linger.is_zero() && batch.len() < MOST {
        tokio::time::sleep(linger).await;
    }
    let mut before = 0;
    while batch.len() > before && batch.len() < MOST {
        before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < MOST
            && let Ok(entry) = entries.try_recv()
        {
            batch.push(entry);
        }
    }
}

/// Writes what waits, in commits of bounded size, and settles every account.
async fn commit(keeper: &mut Keeper, batch: &mut Vec<Entry>, shared: &Shared) {
    let mut left: usize = batch.iter().map(|entry| entry.body.len()).sum();
    let mut rest = batch.drain(..);
    while rest.len() > 0 {
        let (mut body, mut hits) = (Vec::new(), 0_u32);
        let mut accounts = Vec::with_capacity(rest.len());
        let (mut waited, mut unwritten) = (0, 0);
        while body.len() < MOST_BYTES
            && let Some(entry) = rest.next()
        {
            let length = entry.body.len();
            waited += length as u64;
            unwritten += u64::from(entry.account.hits);
            if entry.account.claim() {
                if body.is_empty() && rest.len() == 0 {
                    body = entry.body.into_vec();
                } else {
                    if body.is_empty() {
                        body.reserve_exact(left.min(MOST_BYTES + length));
                    }
                    body.extend_from_slice(&entry.body);
                }
                hits += entry.account.hits;
                accounts.push(entry.account);
            } else {
                entry.account.forget();
            }
            left -= length;
        }
        let bytes = body.len() as u64;
        let first = keeper.last + 1;
        let outcome = if hits == 0 {
            Ok(())
        } else {
            keeper.append(hits, body).await
        };
        shared.waiting.fetch_sub(waited, Ordering::Relaxed);
        if hits > 0 {
            shared.disk_fails.store(outcome.is_err(), Ordering::Relaxed);
        }
        if outcome.is_ok() && hits > 0 {
            shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            shared.backlog.fetch_add(u64::from(hits), Ordering::Relaxed);
            let done = shared.done.load(Ordering::Acquire);
            let written = *shared.written.borrow();
            shared.ages.note(first, written, done);
            shared.written.send_replace(keeper.last);
        }
        shared.unwritten.fetch_sub(unwritten, Ordering::Release);
        for account in accounts {
            account.settle(outcome);
        }
    }
}

/// A log line a second at most for what happens to thousands of hits at once.
pub(super) struct Rarely {
    count: AtomicU64,
    last: Mutex<Option<Instant>>,
}

pub(super) static LOSSES: Rarely = Rarely::new();
pub(super) static EARLY: Rarely = Rarely::new();
static WRITE_ERRORS: Rarely = Rarely::new();

impl Rarely {
    const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            last: Mutex::new(None),
        }
    }

    /// The number to report, once a second.
    fn due(&self, count: u64) -> Option<u64> {
        self.count.fetch_add(count, Ordering::Relaxed);
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            return None;
        }
        *last = Some(Instant::now());
        Some(self.count.swap(0, Ordering::Relaxed))
    }

    /// Hits that were answered and are not stored.
    pub(super) fn note_lost(&self, hits: usize, refused: Refused) {
        if let Some(hits) = self.due(hits as u64) {
            tracing::error!(hits, reason = refused.label(), "hits lost: {refused}");
        }
    }

    /// Hits that were answered before the disk had them.
    pub(super) fn note_early(&self, hits: usize) {
        if let Some(hits) = self.due(hits as u64) {
            tracing::warn!(
                hits,
                "the disk is slow: hits were answered before it had them"
            );
        }
    }

    fn note_error(&self, error: &dyn Display, full: bool) {
        if let Some(writes) = self.due(1) {
            tracing::error!(writes, full, %error, "the spool cannot be written");
        }
    }
}

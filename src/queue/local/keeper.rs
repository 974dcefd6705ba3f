//! The writer's state: the file, open or not, and the writer's position. Between commits, the file
//! is maintained here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::file::{SpoolFile, is_full};
use super::id::read_id;
use super::salvage::{self, Known};
use super::shared::{Opened, Shared};
use super::tally::{self, Tally};
use super::{losses, opening};
use crate::model::clock::{Clock, Micros};
use crate::queue::sink::Refused;
use crate::queue::source::Start;
use crate::sqlite::{Trouble, trouble};

/// How long deletions are collected: each costs a flush of the disk.
pub(super) const DELETE_EVERY: Duration = Duration::from_millis(250);
/// How often a failed file is retried while no hits arrive.
const TRY_EVERY: Duration = Duration::from_millis(200);
/// Most bytes that wait while the file is rewritten: some 100 ms.
const MOST_SCRUBBED: u64 = 16 << 20;
/// More groups than an offer can become.
const MOST_GROUPS: i64 = 1_000;

/// The writer's state: the file, open or not, and its progress.
pub(super) struct Keeper {
    dir: PathBuf,
    clock: Clock,
    /// None while it cannot be opened.
    file: Option<SpoolFile>,
    /// A reader found it damaged.
    is_damaged: Arc<AtomicBool>,
    /// Why it is to be put aside.
    damage: Option<String>,
    /// The spool's id, once it is known.
    id: Option<Uuid>,
    /// The number of the last group.
    pub(super) last: i64,
    deleted_to: i64,
    deleted_at: Instant,
    /// When opening or writing was last tried after it failed.
    tried: Instant,
    /// The last note beside the file, and when it was written.
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

    /// Takes over a file that was just opened, and publishes it.
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
                || Start {
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

    /// Housekeeping between two commits.
    pub(super) async fn look_after(&mut self, shared: &Shared) {
        self.mend(shared).await;
        self.delete(shared).await;
        self.scrub(shared).await;
        self.note_waiting(shared).await;
    }

    /// Recovers what it can: opens a file that is not open, sets a damaged one aside, and checks
    /// whether a failed disk takes writes again, which nobody else would notice without hits.
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
                    id: read_id(&self.dir).or(self.id),
                    deleted_to: self.deleted_to,
                    hits: Some(shared.backlog.load(Ordering::Relaxed)),
                    last: self.last,
                };
                opening::renew(&self.dir, &self.clock, why, known).await
            }
            None => opening::open(&self.dir, &self.clock).await,
        };
        match opened {
            Ok(file) => {
                self.damage = None;
                self.adopt(file, shared);
            }
            Err(error) => losses::note_failed_write(&error, error.is_disk()),
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
                tracing::warn!(%error, "cannot delete stored groups from the spool; trying \
                    again");
            }
        }
    }

    /// Rewrites the file without what was deleted. Only while little waits: nothing is appended
    /// meanwhile.
    async fn scrub(&mut self, shared: &Shared) {
        let wanted = shared.scrub_after.load(Ordering::Acquire);
        let is_due = wanted > 0 && self.deleted_to >= wanted;
        if !is_due || shared.bytes.load(Ordering::Relaxed) > MOST_SCRUBBED {
            return;
        }
        let Some(file) = &mut self.file else {
            return;
        };
        match file.scrub().await {
            // Somebody may have asked again.
            Ok(true) => {
                let _ = shared.scrub_after.compare_exchange(
                    wanted,
                    0,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
            }
            // A reader is in its way.
            Ok(false) => {}
            Err(error) => {
                self.note(&error);
                tracing::warn!(%error, "cannot rewrite the spool without what was erased; trying \
                    again");
            }
        }
    }

    /// Writes a group; after an error, numbers that it may have used are not reused.
    pub(super) async fn append(&mut self, hits: u32, body: Vec<u8>) -> Result<(), Refused> {
        let Some(file) = &mut self.file else {
            return Err(Refused::Disk);
        };
        match file.append(self.last + 1, hits, body).await {
            Ok(groups) => {
                self.last += groups;
                Ok(())
            }
            Err(error) => {
                losses::note_failed_write(&error, is_full(&error));
                // Should the failed write have reached the file after all, its number is taken.
                let written = file.last_written().await;
                self.last = written.map_or(self.last + MOST_GROUPS, |last| last.max(self.last));
                self.note(&error);
                Err(Refused::Disk)
            }
        }
    }

    /// Deletes on shutdown what was stored, which would otherwise look as if it waited, and
    /// checkpoints the journal.
    pub(super) async fn end(self, shared: &Shared) {
        let Some(mut file) = self.file else {
            tracing::warn!("the spool was not open; the next start continues from what is on disk");
            return;
        };
        let done = shared.done.load(Ordering::Acquire);
        if done > self.deleted_to
            && let Err(error) = file.delete(done).await
        {
            tracing::warn!(%error, "cannot delete stored groups from the spool; the next \
                start does it");
        }
        let written = *shared.written.borrow();
        match file.close().await {
            Ok(waiting) => {
                let tally = Tally {
                    id: self.id,
                    deleted_to: done.max(self.deleted_to),
                    written,
                    hits: waiting as u64,
                };
                let dir = self.dir;
                let _ = tokio::task::spawn_blocking(move || tally.write(&dir)).await;
                tracing::info!(waiting, "spool closed")
            }
            Err(error) => {
                tracing::warn!(%error, "cannot merge the spool's journal; the next start does it")
            }
        }
    }
}

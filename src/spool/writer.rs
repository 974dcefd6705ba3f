//! The one writer: collects, commits, releases.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::file::{SpoolFile, is_full};
use super::{Entry, Shared, SpoolLimits};
use crate::sink::Refused;

/// Most offers in one commit. Larger groups gain nothing and make each answer wait for more bytes.
const MOST: usize = 4_096;
/// Most bytes in one commit.
const MOST_BYTES: usize = 4 << 20;
/// Deletions are gathered for so long: each costs a flush of the disk.
const DELETE_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn run(
    mut file: SpoolFile,
    mut entries: mpsc::Receiver<Entry>,
    shared: Weak<Shared>,
    done: Arc<AtomicI64>,
    limits: SpoolLimits,
) {
    let mut batch = Vec::with_capacity(MOST);
    let mut last = file.last;
    let mut deleted = Deleted {
        to: file.deleted_to,
        at: Instant::now(),
    };
    loop {
        tokio::select! {
            biased;
            count = entries.recv_many(&mut batch, MOST) => {
                if count == 0 {
                    break;
                }
                gather(&mut entries, &mut batch, limits.linger).await;
                last = commit(&mut file, &mut batch, last, &shared).await;
            }
            () = tokio::time::sleep(DELETE_EVERY) => {}
        }
        deleted.delete(&mut file, &shared).await;
    }
    // What was stored on the way out: left here it would look as if it waited.
    let done = done.load(Ordering::Acquire);
    if done > deleted.to
        && let Err(error) = file.delete(done).await
    {
        tracing::warn!(%error, "stored groups could not be deleted from the spool; the next start does it");
    }
    match file.close().await {
        Ok(waiting) => tracing::info!(waiting, "spool closed"),
        Err(error) => {
            tracing::warn!(%error, "the spool's journal could not be folded in; the next start does it")
        }
    }
}

/// Takes what is about to arrive too: a commit costs the same for one hit as for fifty. Connections whose requests are already here
/// get their turn first, again as long as that brings something; nobody waits on an idle machine.
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

struct Deleted {
    to: i64,
    at: Instant,
}

impl Deleted {
    async fn delete(&mut self, file: &mut SpoolFile, shared: &Weak<Shared>) {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let done = shared.done.load(Ordering::Acquire);
        if done <= self.to || self.at.elapsed() < DELETE_EVERY {
            return;
        }
        self.at = Instant::now();
        match file.delete(done).await {
            Ok((hits, bytes)) => {
                self.to = done;
                shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
                shared.backlog.fetch_sub(hits, Ordering::Relaxed);
                file.restore_ballast();
            }
            Err(error) => {
                tracing::warn!(%error, "stored groups could not be deleted from the spool; trying again")
            }
        }
    }
}

/// Writes what waits, in commits of bounded size, and tells everyone the outcome. Returns the highest group.
async fn commit(
    file: &mut SpoolFile,
    batch: &mut Vec<Entry>,
    mut last: i64,
    shared: &Weak<Shared>,
) -> i64 {
    let mut rest = std::mem::take(batch).into_iter().peekable();
    while rest.peek().is_some() {
        let (mut body, mut hits, mut outcomes) = (Vec::new(), 0_u32, Vec::new());
        let mut waited = 0;
        while body.len() < MOST_BYTES
            && let Some(entry) = rest.next()
        {
            waited += entry.body.len() as u64;
            if entry.claim.take() {
                if body.is_empty() {
                    body = entry.body;
                } else {
                    body.extend_from_slice(&entry.body);
                }
                hits += entry.hits;
                outcomes.push(entry.outcome);
            }
        }
        let bytes = body.len() as u64;
        let result = if hits == 0 {
            Ok(0)
        } else {
            file.append(last + 1, hits, body).await
        };
        let first = last + 1;
        let outcome = match &result {
            Ok(groups) => {
                last += groups;
                Ok(())
            }
            Err(error) => {
                WRITE_ERRORS.note_error(error);
                // Should the failed write have reached the file after all, its number is taken.
                last = file.last_written().await.unwrap_or(last).max(last);
                Err(Refused::Disk)
            }
        };
        if let Some(shared) = shared.upgrade() {
            shared.waiting.fetch_sub(waited, Ordering::Relaxed);
            shared.disk_fails.store(result.is_err(), Ordering::Relaxed);
            if result.is_ok() && hits > 0 {
                shared.bytes.fetch_add(bytes, Ordering::Relaxed);
                shared.backlog.fetch_add(u64::from(hits), Ordering::Relaxed);
                let done = shared.done.load(Ordering::Acquire);
                let written = *shared.written.borrow();
                shared.ages.note(first, written, done);
                shared.written.send_replace(last);
            }
        }
        for sender in outcomes {
            // Who no longer waits has gone on without the answer.
            let _ = sender.send(outcome);
        }
    }
    *batch = Vec::with_capacity(MOST);
    last
}

/// A log line a second at most for what happens to thousands of hits at once.
pub(super) struct Rarely {
    count: AtomicU64,
    last: Mutex<Option<Instant>>,
}

pub(super) static LOSSES: Rarely = Rarely::new();
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

    fn note_error(&self, error: &sqlx::Error) {
        if let Some(writes) = self.due(1) {
            tracing::error!(writes, full = is_full(error), %error, "the spool cannot be written");
        }
    }
}

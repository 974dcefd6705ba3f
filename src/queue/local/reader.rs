//! The projection's side of the spool: whole groups, in order, from a position on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteSynchronous;
use sqlx::{ConnectOptions, Connection as _, Row, SqliteConnection};
use tokio::sync::watch;
use uuid::Uuid;

use super::file::{FILE, options};
use super::id::write_id;
use super::shared::{Opened, Phase, Shared};
use crate::queue::frame::{Unreadable, decode_frames};
use crate::queue::source::{Group, Place, Source, SourceError, Start, Status};
use crate::sqlite::{Trouble, trouble};

/// Whether the bytes of a group differ from those written, although SQLite reads them. (A record
/// that is not a hit for another reason is intact, and goes into quarantine.)
fn is_damaged(group: &Group) -> bool {
    let mut bad = group.hits.iter().filter_map(|hit| hit.as_ref().err());
    bad.any(|bad| matches!(bad.why, Unreadable::Damaged | Unreadable::CutOff))
}

/// Reads groups in order, and says which may be deleted.
pub struct SpoolReader {
    path: PathBuf,
    shared: Arc<Shared>,
    /// `None` before the first read, and after an error.
    connection: Option<SqliteConnection>,
    /// The file that it reads.
    number: u64,
    /// The spool's id; nil before the start.
    id: Uuid,
    opened: watch::Receiver<Option<Opened>>,
    /// Nothing else tracks it: while this exists, the writer keeps deleting.
    written: watch::Receiver<i64>,
    phase: watch::Receiver<Phase>,
    is_damaged: Arc<AtomicBool>,
}

impl Source for SpoolReader {
    async fn start(&mut self) -> Option<Start> {
        let opened = tokio::select! {
            biased;
            opened = self.opened.wait_for(Option::is_some) => *opened.ok()?,
            _ = self.phase.wait_for(|phase| *phase == Phase::Written) => None,
        };
        let start = opened?.start;
        self.id = start.id;
        Some(start)
    }

    async fn wait_after(&mut self, seq: i64) -> bool {
        let more = tokio::select! {
            biased;
            more = self.written.wait_for(|written| *written > seq) => more.is_ok(),
            _ = self.phase.wait_for(|phase| *phase == Phase::Written) => false,
        };
        more || *self.written.borrow() > seq
    }

    /// Reports a damaged file to the writer; the next read is from its replacement.
    async fn read(&mut self, seq: i64, hits: usize) -> Result<Vec<Group>, SourceError> {
        let number = self.opened.borrow().map_or(0, |opened| opened.number);
        if self.number != number {
            self.let_go().await;
            self.number = number;
        }
        let groups = self.try_read(seq, hits).await;
        let is_damaged = match &groups {
            Ok(groups) => groups.iter().any(is_damaged),
            Err(error) => trouble(error) == Trouble::Damage,
        };
        if is_damaged {
            self.is_damaged.store(true, Ordering::Release);
        }
        if is_damaged || groups.is_err() {
            self.let_go().await;
        }
        match groups {
            Ok(_) if is_damaged => Err(SourceError::new("records in it are damaged")),
            groups => groups.map_err(SourceError::new),
        }
    }

    fn mark_done(&self, place: Place) {
        // A place under an id that the spool no longer has says nothing about its groups.
        if place.spool == self.id {
            self.shared.done.fetch_max(place.seq, Ordering::AcqRel);
        }
    }

    async fn rename(&mut self, id: Uuid, stored_to: i64) -> Result<(), SourceError> {
        self.try_rename(id, stored_to)
            .await
            .map_err(SourceError::new)?;
        self.id = id;
        Ok(())
    }

    fn status(&self) -> Status {
        self.shared.status()
    }
}

impl SpoolReader {
    pub(super) fn new(dir: &Path, shared: Arc<Shared>, is_damaged: Arc<AtomicBool>) -> Self {
        Self {
            path: dir.join(FILE),
            connection: None,
            number: 0,
            id: Uuid::nil(),
            opened: shared.opened.subscribe(),
            written: shared.written.subscribe(),
            phase: shared.phase.subscribe(),
            shared,
            is_damaged,
        }
    }

    async fn try_rename(&self, id: Uuid, stored_to: i64) -> sqlx::Result<()> {
        let mut connection = options(&self.path)
            .synchronous(SqliteSynchronous::Full)
            .connect()
            .await?;
        sqlx::query("update meta set id = $1, deleted_to = max(deleted_to, $2)")
            .bind(id)
            .bind(stored_to)
            .execute(&mut connection)
            .await?;
        if let Some(dir) = self.path.parent() {
            write_id(dir, id);
        }
        connection.close().await
    }

    async fn let_go(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    async fn try_read(&mut self, seq: i64, hits: usize) -> sqlx::Result<Vec<Group>> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                options(&self.path)
                    .read_only(true)
                    .pragma("cache_size", "-2000")
                    // Groups of a burst are a megabyte each; sqlx would keep fifty of them ready.
                    .row_buffer_size(2)
                    .connect()
                    .await?
            }
        };
        let connection = self.connection.insert(connection);
        let mut groups = Vec::new();
        let mut count = 0;
        let mut rows =
            sqlx::query("select seq, body from groups where seq > $1 order by seq limit 1024")
                .bind(seq)
                .fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let body: &[u8] = row.try_get("body")?;
            let group = Group {
                place: Place {
                    spool: self.id,
                    seq: row.try_get("seq")?,
                },
                hits: decode_frames(body).collect(),
            };
            count += group.hits.len();
            groups.push(group);
            if count >= hits {
                break;
            }
        }
        Ok(groups)
    }
}

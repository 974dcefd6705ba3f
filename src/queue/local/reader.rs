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
use super::salvage::write_id;
use super::{Opened, Phase};
use crate::model::hit::Hit;
use crate::queue::frame::{BadFrame, Unreadable, decode_frames};
use crate::sqlite::{Trouble, trouble};

/// One row of the spool: what one commit made durable.
#[derive(Debug)]
pub struct Group {
    /// Its place; the position that the database remembers.
    pub seq: i64,
    /// Its hits in order of arrival.
    pub hits: Vec<Result<Box<Hit>, BadFrame>>,
}

impl Group {
    /// Whether bytes of it are not those that were written, though SQLite reads them. (What is no
    /// hit for another reason is whole, and goes into quarantine.)
    fn is_damaged(&self) -> bool {
        let mut bad = self.hits.iter().filter_map(|hit| hit.as_ref().err());
        bad.any(|bad| matches!(bad.why, Unreadable::Damaged | Unreadable::CutOff))
    }
}

/// The spool cannot be read now.
#[derive(Debug, thiserror::Error)]
pub enum SpoolReadError {
    /// SQLite's reason.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Records in it are not what was written.
    #[error("records of the spool are damaged")]
    Damaged,
}

/// How the spool was found when it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpoolStart {
    /// Under which the database remembers its position.
    pub id: Uuid,
    /// Up to here groups were deleted before: all of them are in the database.
    pub deleted_to: i64,
    /// The highest group that was in the file.
    pub found_to: i64,
    /// Groups of this start have numbers above this.
    pub numbered_from: i64,
}

/// Reads groups in order.
pub struct SpoolReader {
    path: PathBuf,
    /// None before the first reading, and after an error.
    connection: Option<SqliteConnection>,
    /// The file that it reads.
    number: u64,
    opened: watch::Receiver<Option<Opened>>,
    /// Nobody else watches it: while this is there, the writer goes on deleting.
    written: watch::Receiver<i64>,
    phase: watch::Receiver<Phase>,
    is_damaged: Arc<AtomicBool>,
}

impl SpoolReader {
    pub(super) fn new(
        dir: &Path,
        opened: watch::Receiver<Option<Opened>>,
        written: watch::Receiver<i64>,
        phase: watch::Receiver<Phase>,
        is_damaged: Arc<AtomicBool>,
    ) -> Self {
        Self {
            path: dir.join(FILE),
            connection: None,
            number: 0,
            opened,
            written,
            phase,
            is_damaged,
        }
    }

    /// Waits until the file is open, which a full disk may hold up; none when the spool is closed
    /// before.
    pub async fn start(&mut self) -> Option<SpoolStart> {
        let opened = tokio::select! {
            biased;
            opened = self.opened.wait_for(Option::is_some) => *opened.ok()?,
            _ = self.phase.wait_for(|phase| *phase == Phase::Written) => None,
        };
        opened.map(|opened| opened.start)
    }

    /// Gives the spool another id in the database; groups up to `position` stay stored. Durable
    /// when it returns.
    ///
    /// # Errors
    /// The file cannot be written; the id is as it was.
    pub async fn rename(&self, id: Uuid, position: i64) -> sqlx::Result<()> {
        let mut connection = options(&self.path)
            .synchronous(SqliteSynchronous::Full)
            .connect()
            .await?;
        sqlx::query("update meta set id = $1, deleted_to = max(deleted_to, $2)")
            .bind(id)
            .bind(position)
            .execute(&mut connection)
            .await?;
        if let Some(dir) = self.path.parent() {
            write_id(dir, id);
        }
        connection.close().await
    }

    /// Waits until a group after `position` is written; false when the spool is closed and there is
    /// none.
    pub async fn wait_after(&mut self, position: i64) -> bool {
        let more = tokio::select! {
            biased;
            more = self.written.wait_for(|written| *written > position) => more.is_ok(),
            _ = self.phase.wait_for(|phase| *phase == Phase::Written) => false,
        };
        more || *self.written.borrow() > position
    }

    /// Groups after `position`, at least one where there is one, until `hits` is reached.
    ///
    /// # Errors
    /// The file cannot be read. Where it is damaged the writer is told, and the next reading is of
    /// the file that takes its place.
    pub async fn read(&mut self, position: i64, hits: usize) -> Result<Vec<Group>, SpoolReadError> {
        let number = self.opened.borrow().map_or(0, |opened| opened.number);
        if self.number != number {
            self.let_go().await;
            self.number = number;
        }
        let groups = self.try_read(position, hits).await;
        let is_damaged = match &groups {
            Ok(groups) => groups.iter().any(Group::is_damaged),
            Err(error) => trouble(error) == Trouble::Damage,
        };
        if is_damaged {
            self.is_damaged.store(true, Ordering::Release);
        }
        if is_damaged || groups.is_err() {
            self.let_go().await;
        }
        match groups {
            Ok(_) if is_damaged => Err(SpoolReadError::Damaged),
            groups => Ok(groups?),
        }
    }

    async fn let_go(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    async fn try_read(&mut self, position: i64, hits: usize) -> sqlx::Result<Vec<Group>> {
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
                .bind(position)
                .fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let body: &[u8] = row.try_get(1)?;
            let group = Group {
                seq: row.try_get(0)?,
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

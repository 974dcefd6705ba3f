//! The projection's side of the spool: whole groups, in order, from a position on.

use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteSynchronous;
use sqlx::{ConnectOptions, Connection as _, Row, SqliteConnection};
use tokio::sync::watch;
use uuid::Uuid;

use super::file::{SpoolError, options};
use super::frame::{BadFrame, decode_frames};
use crate::hit::Hit;

/// One row of the spool: what one commit made durable.
#[derive(Debug)]
pub struct Group {
    /// Its place; the position that the database remembers.
    pub seq: i64,
    /// Its hits in order of arrival.
    pub hits: Vec<Result<Box<Hit>, BadFrame>>,
}

/// Reads groups in order.
pub struct SpoolReader {
    path: PathBuf,
    connection: SqliteConnection,
    start: i64,
    written: watch::Receiver<i64>,
}

impl SpoolReader {
    pub(super) async fn open(
        dir: &Path,
        start: i64,
        written: watch::Receiver<i64>,
    ) -> Result<Self, SpoolError> {
        let path = dir.join("spool.db");
        let connection = options(&path)
            .read_only(true)
            .pragma("cache_size", "-2000")
            // Groups of a burst are a megabyte each; sqlx would keep fifty of them ready.
            .row_buffer_size(2)
            .connect()
            .await
            .map_err(|source| SpoolError::Database {
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            path,
            connection,
            start,
            written,
        })
    }

    /// The position up to which groups were deleted when the spool was opened: all of them are in the database.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Gives the spool another id in the database; groups up to `position` stay stored. Durable when it returns.
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
        connection.close().await
    }

    /// Waits until a group after `position` is written; false when the spool is closed and there is none.
    pub async fn wait_after(&mut self, position: i64) -> bool {
        self.written
            .wait_for(|written| *written > position)
            .await
            .is_ok()
    }

    /// Groups after `position`, at least one where there is one, until `hits` is reached.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn read(&mut self, position: i64, hits: usize) -> sqlx::Result<Vec<Group>> {
        let mut groups = Vec::new();
        let mut count = 0;
        let mut rows =
            sqlx::query("select seq, body from groups where seq > $1 order by seq limit 1024")
                .bind(position)
                .fetch(&mut self.connection);
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

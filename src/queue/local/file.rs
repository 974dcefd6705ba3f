//! The SQLite file of the spool: groups are appended, and deleted when the database has them.
//!
//! **How it fails.** After any error the connection is closed and the next use opens another: only
//! SQLite knows whether the transaction that failed is undone, and if it is still open, every later
//! group would look written but disappear with the process. [`super::opening`] opens a damaged or
//! missing file.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use uuid::Uuid;

use super::error::NotOpened;
use super::id::write_id;
use crate::model::clock::{Clock, Micros};
use crate::queue::frame::{FORMAT, decode_frames, split_frames};
use crate::sqlite::{Trouble, trouble};

pub(super) const FILE: &str = "spool.db";
const BALLAST: &str = "spool.ballast";
const BALLAST_BYTES: usize = 8 << 20;
/// Most bytes of a group: one offer alone may be larger, a batch of ten thousand hits.
const MOST_GROUP: usize = 6 << 20;
pub(super) const INSERT: &str = "insert into groups (seq, hits, body) values ($1, $2, $3)";

/// The writer's side of the file.
pub(super) struct SpoolFile {
    path: PathBuf,
    /// None after an error.
    connection: Option<SqliteConnection>,
    pub(super) id: Uuid,
    /// It was made just now.
    pub(super) is_new: bool,
    pub(super) deleted_to: i64,
    /// Highest group there is to read, or was. `last` may lie above it: taken for something to
    /// read, it would keep the projection asking the database for nothing until the first hit.
    pub(super) written: i64,
    /// The number after which new groups are numbered.
    pub(super) last: i64,
    pub(super) bytes: u64,
    pub(super) hits: u64,
    /// The oldest group, and when the first of its hits came.
    pub(super) oldest: Option<(i64, Micros)>,
    ballast: PathBuf,
}

const SCHEMA: &str = "
    create table if not exists meta (id blob not null, deleted_to integer not null) strict;
    create table if not exists groups (
        seq integer primary key, hits integer not null, body blob not null) strict;
";

impl SpoolFile {
    /// Opens the file of a directory as it is, or creates it.
    pub(super) async fn open(dir: &Path, path: &Path, clock: &Clock) -> Result<Self, NotOpened> {
        let now = clock.now();
        let new_id = clock.new_id(now);
        let mut connection = create(path, new_id, 0).await?;
        let meta = sqlx::query("select id, deleted_to from meta")
            .fetch_one(&mut connection)
            .await?;
        let (id, deleted_to): (Uuid, i64) = (meta.try_get("id")?, meta.try_get("deleted_to")?);
        let sums = sqlx::query(
            "select coalesce(max(seq), 0) as last, coalesce(sum(length(body)), 0) as bytes, \
            coalesce(sum(hits), 0) as hits from groups",
        )
        .fetch_one(&mut connection)
        .await?;
        let (last, bytes, hits): (i64, i64, i64) = (
            sums.try_get("last")?,
            sums.try_get("bytes")?,
            sums.try_get("hits")?,
        );
        let mut file = Self {
            path: path.to_owned(),
            connection: Some(connection),
            id,
            is_new: id == new_id,
            deleted_to,
            written: last.max(deleted_to),
            last: last.max(deleted_to).max(now.0),
            bytes: bytes as u64,
            hits: hits as u64,
            oldest: None,
            ballast: dir.join(BALLAST),
        };
        file.oldest = file.read_oldest().await?;
        file.restore_ballast();
        write_id(dir, id);
        Ok(file)
    }

    /// The connection; a new one after an error.
    async fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => writing(&self.path).connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Passes a result on; after an error, drops the connection.
    async fn after<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if result.is_err() {
            self.let_go().await;
        }
        result
    }

    /// Closes the connection, rolling back whatever it had begun.
    pub(super) async fn let_go(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    /// Writes hits as a group, or as several where the projection would have too much to hold at
    /// once; durable, all or none of them, when this returns the number of groups.
    pub(super) async fn append(&mut self, seq: i64, hits: u32, body: Vec<u8>) -> sqlx::Result<i64> {
        let appended = self.try_append(seq, hits, body).await;
        self.after(appended).await
    }

    async fn try_append(&mut self, seq: i64, hits: u32, body: Vec<u8>) -> sqlx::Result<i64> {
        let connection = self.connection().await?;
        if body.len() <= MOST_GROUP {
            sqlx::query(INSERT)
                .bind(seq)
                .bind(hits)
                .bind(body)
                .execute(connection)
                .await?;
            return Ok(1);
        }
        run(connection, "begin immediate").await?;
        let mut next = seq;
        for (hits, part) in split_frames(&body, MOST_GROUP) {
            sqlx::query(INSERT)
                .bind(next)
                .bind(hits)
                .bind(part)
                .execute(&mut *connection)
                .await?;
            next += 1;
        }
        run(connection, "commit").await?;
        Ok(next - seq)
    }

    /// The oldest group in the file, and when the first of its hits came.
    async fn read_oldest(&mut self) -> sqlx::Result<Option<(i64, Micros)>> {
        let row = async {
            let connection = self.connection().await?;
            sqlx::query("select seq, body from groups order by seq limit 1")
                .fetch_optional(connection)
                .await
        }
        .await;
        let Some(row) = self.after(row).await? else {
            return Ok(None);
        };
        let (seq, body): (i64, Vec<u8>) = (row.try_get("seq")?, row.try_get("body")?);
        let first = decode_frames(&body).find_map(Result::ok);
        Ok(first.map(|hit| (seq, hit.received_at)))
    }

    /// Hits in groups after `seq`.
    pub(super) async fn hits_after(&mut self, seq: i64) -> sqlx::Result<u64> {
        let hits = async {
            let connection = self.connection().await?;
            sqlx::query_scalar::<_, i64>("select coalesce(sum(hits), 0) from groups where seq > $1")
                .bind(seq)
                .fetch_one(connection)
                .await
        }
        .await;
        self.after(hits).await.map(|hits| hits as u64)
    }

    /// Highest group in the file.
    pub(super) async fn last_written(&mut self) -> sqlx::Result<i64> {
        let last = async {
            let connection = self.connection().await?;
            sqlx::query_scalar("select coalesce(max(seq), 0) from groups")
                .fetch_one(connection)
                .await
        }
        .await;
        self.after(last).await
    }

    /// Whether the disk takes a write.
    pub(super) async fn probe(&mut self) -> sqlx::Result<()> {
        let written = async {
            let connection = self.connection().await?;
            run(connection, "update meta set deleted_to = deleted_to").await
        }
        .await;
        self.after(written).await
    }

    /// Deletes groups up to `seq`; returns the hits and bytes deleted.
    pub(super) async fn delete(&mut self, seq: i64) -> sqlx::Result<(u64, u64)> {
        let deleted = self.try_delete(seq).await;
        match self.after(deleted).await {
            Err(error) if is_full(&error) && self.release_ballast() => {
                let deleted = self.try_delete(seq).await;
                self.after(deleted).await
            }
            result => result,
        }
    }

    async fn try_delete(&mut self, seq: i64) -> sqlx::Result<(u64, u64)> {
        let connection = self.connection().await?;
        run(connection, "begin immediate").await?;
        let sums = sqlx::query(
            "select coalesce(sum(hits), 0) as hits, coalesce(sum(length(body)), 0) as bytes \
            from groups where seq <= $1",
        )
        .bind(seq)
        .fetch_one(&mut *connection)
        .await?;
        sqlx::query("delete from groups where seq <= $1")
            .bind(seq)
            .execute(&mut *connection)
            .await?;
        sqlx::query("update meta set deleted_to = $1 where deleted_to < $1")
            .bind(seq)
            .execute(&mut *connection)
            .await?;
        run(connection, "commit").await?;
        let (hits, bytes): (i64, i64) = (sums.try_get("hits")?, sums.try_get("bytes")?);
        Ok((hits as u64, bytes as u64))
    }

    /// Rewrites the file without what was deleted, and empties the journal; false while a reader
    /// still has to read there.
    pub(super) async fn scrub(&mut self) -> sqlx::Result<bool> {
        let scrubbed = self.try_scrub().await;
        self.after(scrubbed).await
    }

    async fn try_scrub(&mut self) -> sqlx::Result<bool> {
        let connection = self.connection().await?;
        run(connection, "vacuum").await?;
        let sql = "pragma wal_checkpoint(truncate)";
        let row = sqlx::query(sql).fetch_one(connection).await?;
        Ok(row.try_get::<i64, _>(0)? == 0)
    }

    #[cfg(test)]
    pub(super) async fn checkpoint(&mut self) {
        let connection = self.connection().await.unwrap();
        run(connection, "pragma wal_checkpoint(truncate)")
            .await
            .unwrap();
    }

    /// Frees the ballast's space for SQLite; false if none is left.
    pub(super) fn release_ballast(&mut self) -> bool {
        release(&self.ballast)
    }

    /// Allocates the ballast again, if the disk has room.
    pub(super) fn restore_ballast(&mut self) {
        let is_whole =
            std::fs::metadata(&self.ballast).is_ok_and(|meta| meta.len() == BALLAST_BYTES as u64);
        if !is_whole && std::fs::write(&self.ballast, vec![0x5a; BALLAST_BYTES]).is_err() {
            let _ = std::fs::remove_file(&self.ballast);
        }
    }

    /// Checkpoints the journal into the file: the last step of a graceful stop. Returns the hits
    /// that wait for the next start.
    pub(super) async fn close(mut self) -> sqlx::Result<i64> {
        let connection = self.connection().await?;
        let waiting = sqlx::query_scalar("select coalesce(sum(hits), 0) from groups")
            .fetch_one(&mut *connection)
            .await?;
        run(connection, "pragma wal_checkpoint(truncate)").await?;
        self.let_go().await;
        Ok(waiting)
    }
}

/// Frees the space of a directory's ballast; false if none is left.
pub(super) fn release_ballast(dir: &Path) -> bool {
    release(&dir.join(BALLAST))
}

fn release(ballast: &Path) -> bool {
    std::fs::remove_file(ballast).is_ok()
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
}

pub(super) fn is_full(error: &sqlx::Error) -> bool {
    trouble(error) == Trouble::Disk
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(std::time::Duration::from_secs(5))
}

fn writing(path: &Path) -> SqliteConnectOptions {
    options(path)
        .page_size(8192)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // 16 MB: a checkpoint flushes the main file too, so it should be rare, but the WAL must
        // stay small.
        .pragma("wal_autocheckpoint", "2000")
        .pragma("cache_size", "-2000")
}

/// The format of an open file; 0 before formats had a number, or in a file that is still empty.
pub(super) async fn format_of(connection: &mut SqliteConnection) -> Result<i64, NotOpened> {
    let format: i64 = sqlx::query_scalar("pragma user_version")
        .fetch_one(connection)
        .await?;
    if format > i64::from(FORMAT) {
        return Err(NotOpened::Newer(format));
    }
    Ok(format)
}

/// Opens a file, and creates what is missing.
pub(super) async fn create(
    path: &Path,
    id: Uuid,
    deleted_to: i64,
) -> Result<SqliteConnection, NotOpened> {
    let is_there = std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
    let mut connection = writing(path).create_if_missing(true).connect().await?;
    let format = match format_of(&mut connection).await {
        Ok(format) => format,
        Err(error) => {
            // Before the file is renamed.
            let _ = connection.close().await;
            return Err(error);
        }
    };
    if format < i64::from(FORMAT) {
        sqlx::raw_sql(AssertSqlSafe(format!("pragma user_version = {FORMAT}")))
            .execute(&mut connection)
            .await?;
        if is_there {
            tracing::info!(
                from = format,
                to = FORMAT,
                "the spool's format was upgraded: waiting hits are still read, new ones are written \
                in the new format. An older version would quarantine those, and this one can \
                store them from there"
            );
        }
    }
    run(&mut connection, SCHEMA).await?;
    sqlx::query(
        "insert into meta (id, deleted_to) select $1, $2 where not exists (select 1 from meta)",
    )
    .bind(id)
    .bind(deleted_to)
    .execute(&mut connection)
    .await?;
    Ok(connection)
}

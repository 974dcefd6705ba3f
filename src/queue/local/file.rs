//! The SQLite file of the spool, and what the command line asks of it.
//!
//! **How it fails.** After any error the connection is closed and the next use opens another: only
//! SQLite knows whether the transaction that failed is undone, and in one that is still open every
//! later group would look written and be gone with the process. A file that is damaged is put
//! aside, see [`super::salvage`].

use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use uuid::Uuid;

use super::count_lost;
use super::salvage::{self, Known};
use super::tally::Tally;
use super::writer::LOSSES;
use crate::model::clock::{Clock, Micros};
use crate::model::hit::Hit;
use crate::queue::frame::{FORMAT, decode_frames, split_frames};
use crate::queue::sink::Refused;
use crate::sqlite::{Trouble, is_to_be_replaced, put_aside_as, trouble};

pub(super) const FILE: &str = "spool.db";
const BALLAST: &str = "spool.ballast";
const BALLAST_BYTES: usize = 8 << 20;
/// Most bytes of a group: one offer alone may be larger, a batch of ten thousand hits.
const MOST_GROUP: usize = 6 << 20;
pub(super) const INSERT: &str = "insert into groups (seq, hits, body) values ($1, $2, $3)";

/// The spool's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// SQLite's or the file system's reason.
    #[error("spool {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// It is no whole database.
    #[error(
        "spool {path} is damaged ({source}): `sillage serve` puts it aside and goes on with what \
        can be read of it, `sillage spool inspect --file {path}` shows that"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// A newer server wrote it.
    #[error(
        "spool {path} has format {format}, and this version reads formats up to {FORMAT}: use the \
        newer version that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i64,
    },
    /// There is no spool here.
    #[error("there is no spool {}: no server has been started on this data directory; --data-dir \
        names another", std::path::absolute(.0).as_deref().unwrap_or(.0).display())]
    Missing(PathBuf),
}

impl SpoolError {
    fn of(path: &Path, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        if trouble(&source) == Trouble::Damage {
            Self::Damaged { path, source }
        } else {
            Self::Database { path, source }
        }
    }

    /// Whether it is the disk's, which may have room again.
    pub(super) fn is_disk(&self) -> bool {
        matches!(self, Self::Database { source, .. } if trouble(source) == Trouble::Disk)
    }
}

/// The writer's side of the file.
pub(super) struct SpoolFile {
    path: PathBuf,
    /// None after an error.
    connection: Option<SqliteConnection>,
    pub(super) id: Uuid,
    /// It was made just now.
    is_new: bool,
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
    create table if not exists groups (seq integer primary key, hits integer not null, body blob not null) strict;
";

impl SpoolFile {
    /// Opens or makes the file of a directory; one that is damaged is put aside.
    pub(super) async fn open(dir: &Path, clock: &Clock) -> Result<Self, SpoolError> {
        let path = dir.join(FILE);
        let failed = |source| SpoolError::of(&path, source);
        salvage::finish(dir, clock).map_err(|error| failed(error.into()))?;
        if has_only_journal(&path) {
            // SQLite would throw the journal away, and what is in it.
            return Self::renew(
                dir,
                clock,
                "the file is gone, its journal is there",
                Known::default(),
            )
            .await;
        }
        let has_lost_journal = has_lost_journal(&path);
        if has_lost_journal {
            tracing::error!(
                path = %path.display(),
                "the spool's journal is gone: hits that were answered last before the server \
                ended may be lost"
            );
            metrics::counter!("sillage_spool_damaged_total").increment(1);
        }
        let mut opened = Self::try_open(dir, &path, clock).await;
        if let Err(NotOpened::Failed(error)) = &opened
            && trouble(error) == Trouble::Disk
            && release(&dir.join(BALLAST))
        {
            opened = Self::try_open(dir, &path, clock).await;
        }
        if let Err(NotOpened::Newer(format)) = opened {
            leave_to_newer(dir, &path, format, clock).map_err(|error| failed(error.into()))?;
            opened = Self::try_open(dir, &path, clock).await;
        }
        match opened {
            Err(NotOpened::Failed(error)) if is_to_be_replaced(&error, &path) => {
                Self::renew(dir, clock, &error.to_string(), Known::default()).await
            }
            Err(error) => Err(error.of(&path)),
            Ok(mut file) => {
                if file.count_missing(dir).await.map_err(failed)? && !has_lost_journal {
                    metrics::counter!("sillage_spool_damaged_total").increment(1);
                }
                Ok(file)
            }
        }
    }

    /// Counts the hits that were noted as waiting and are not there: gone with the journal, or with
    /// the file. Whether there are any.
    async fn count_missing(&mut self, dir: &Path) -> sqlx::Result<bool> {
        let Some(tally) = Tally::read(dir) else {
            return Ok(false);
        };
        let there: i64 = if self.is_new {
            0
        } else if tally.is_of(Some(self.id)) && tally.written > self.written {
            let connection = self.connection().await?;
            sqlx::query_scalar("select coalesce(sum(hits), 0) from groups where seq > $1")
                .bind(tally.deleted_to)
                .fetch_one(connection)
                .await?
        } else {
            return Ok(false);
        };
        Tally::forget(dir);
        self.last = self.last.max(tally.written);
        let lost = tally.hits.saturating_sub(there as u64);
        if lost > 0 {
            tracing::error!(
                path = %self.path.display(),
                lost,
                "the spool lacks hits that were noted as waiting: its file or its journal was \
                taken away or cut. About so many are lost"
            );
            count_lost(lost, Refused::Damaged);
            LOSSES.note_lost(lost as usize, Refused::Damaged);
        }
        Ok(lost > 0)
    }

    /// Puts the file aside and opens a new one, with what could be read of the old.
    pub(super) async fn renew(
        dir: &Path,
        clock: &Clock,
        why: &str,
        known: Known,
    ) -> Result<Self, SpoolError> {
        let path = dir.join(FILE);
        let last = salvage::renew(dir, clock, why, known).await?;
        let mut file = Self::try_open(dir, &path, clock)
            .await
            .map_err(|error| error.of(&path))?;
        file.last = file.last.max(last);
        Ok(file)
    }

    async fn try_open(dir: &Path, path: &Path, clock: &Clock) -> Result<Self, NotOpened> {
        let now = clock.now();
        let new_id = clock.new_id(now);
        let mut connection = create(path, new_id, 0).await?;
        let meta = sqlx::query("select id, deleted_to from meta")
            .fetch_one(&mut connection)
            .await?;
        let (id, deleted_to): (Uuid, i64) = (meta.try_get(0)?, meta.try_get(1)?);
        let sums = sqlx::query(
            "select coalesce(max(seq), 0), coalesce(sum(length(body)), 0), \
            coalesce(sum(hits), 0) from groups",
        )
        .fetch_one(&mut connection)
        .await?;
        let (last, bytes, hits): (i64, i64, i64) =
            (sums.try_get(0)?, sums.try_get(1)?, sums.try_get(2)?);
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
        salvage::write_id(dir, id);
        Ok(file)
    }

    /// The connection; another one after an error.
    async fn connection(&mut self) -> sqlx::Result<&mut SqliteConnection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => writing(&self.path).connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Passes a result on; where it is an error, the connection goes.
    async fn after<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if result.is_err() {
            self.let_go().await;
        }
        result
    }

    /// Closes the connection, which undoes what it may have begun.
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
        let (seq, body): (i64, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
        let first = decode_frames(&body).find_map(Result::ok);
        Ok(first.map(|hit| (seq, hit.received_at)))
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

    /// Deletes groups up to `seq`; returns the hits and bytes that went.
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
            "select coalesce(sum(hits), 0), coalesce(sum(length(body)), 0) \
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
        let (hits, bytes): (i64, i64) = (sums.try_get(0)?, sums.try_get(1)?);
        Ok((hits as u64, bytes as u64))
    }

    #[cfg(test)]
    pub(super) async fn checkpoint(&mut self) {
        let connection = self.connection().await.unwrap();
        run(connection, "pragma wal_checkpoint(truncate)")
            .await
            .unwrap();
    }

    /// Gives the ballast's room to SQLite; false where there is none left to give.
    pub(super) fn release_ballast(&mut self) -> bool {
        release(&self.ballast)
    }

    /// Takes the ballast's room again, where the disk has it.
    pub(super) fn restore_ballast(&mut self) {
        let is_whole =
            std::fs::metadata(&self.ballast).is_ok_and(|meta| meta.len() == BALLAST_BYTES as u64);
        if !is_whole && std::fs::write(&self.ballast, vec![0x5a; BALLAST_BYTES]).is_err() {
            let _ = std::fs::remove_file(&self.ballast);
        }
    }

    /// Folds the journal into the file: the last step of a graceful stop. Returns the hits that
    /// wait for the next start.
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

fn release(ballast: &Path) -> bool {
    std::fs::remove_file(ballast).is_ok()
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ())
}

fn journal(path: &Path, suffix: &str) -> Option<u64> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    std::fs::metadata(name).ok().map(|meta| meta.len())
}

/// Whether the file is gone or empty and its journal is not.
fn has_only_journal(path: &Path) -> bool {
    let is_empty = std::fs::metadata(path).map_or(true, |meta| meta.is_file() && meta.len() == 0);
    is_empty && journal(path, "-wal").is_some_and(|bytes| bytes > 0)
}

/// Whether the journal was taken away: a server that is killed leaves it together with its index,
/// and one that stops leaves neither.
fn has_lost_journal(path: &Path) -> bool {
    path.is_file() && journal(path, "-shm").is_some() && journal(path, "-wal").is_none()
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

/// What keeps a file from being opened.
pub(super) enum NotOpened {
    Failed(sqlx::Error),
    /// It has a format that is not known here.
    Newer(i64),
}

impl From<sqlx::Error> for NotOpened {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl NotOpened {
    pub(super) fn of(self, path: &Path) -> SpoolError {
        match self {
            Self::Failed(source) => SpoolError::of(path, source),
            Self::Newer(format) => SpoolError::Newer {
                path: path.to_owned(),
                format,
            },
        }
    }
}

/// The format of an open file; 0 before formats had a number, or in a file that is still empty.
async fn format_of(connection: &mut SqliteConnection) -> Result<i64, NotOpened> {
    let format: i64 = sqlx::query_scalar("pragma user_version")
        .fetch_one(connection)
        .await?;
    if format > i64::from(FORMAT) {
        return Err(NotOpened::Newer(format));
    }
    Ok(format)
}

/// Puts the file of a newer server aside, whole: readers get to their pages, and its hits wait for
/// a server that can read them.
fn leave_to_newer(dir: &Path, path: &Path, format: i64, clock: &Clock) -> io::Result<()> {
    let aside = put_aside_as(path, &format!("format-{format}"), clock.now())?.unwrap_or_default();
    // They are not lost.
    Tally::forget(dir);
    tracing::error!(
        format,
        reads_up_to = FORMAT,
        aside = %aside.display(),
        "a newer version wrote the spool: it is put aside whole, and a new one is begun. To store \
        the hits in it, stop the newer version while `sillage spool status` says that none wait, \
        rename the file back to spool.db and start again"
    );
    Ok(())
}

/// Opens a file, and makes what is not there.
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
                "the spool's format is raised: what waits in it is read as it is, what comes is \
                written in the new one. An older version would put that into quarantine, from \
                where this one can store it"
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

/// What `sillage spool status` tells.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SpoolStatus {
    /// Id under which the database remembers the position.
    pub id: Uuid,
    /// Groups that wait.
    pub groups: i64,
    /// Hits that wait.
    pub hits: i64,
    /// Bytes that wait.
    pub bytes: i64,
    /// Highest group deleted.
    pub deleted_to: i64,
    /// Highest group written.
    pub last: i64,
}

async fn open_read_only(dir: &Path) -> Result<SqliteConnection, SpoolError> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(SpoolError::Missing(path));
    }
    let opened = async {
        let mut connection = options(&path).read_only(true).connect().await?;
        format_of(&mut connection).await?;
        Ok(connection)
    };
    opened.await.map_err(|error: NotOpened| error.of(&path))
}

/// Reads the state of the spool in a directory, also while a server uses it.
///
/// # Errors
/// There is no spool, or it cannot be read.
pub async fn status(dir: &Path) -> Result<SpoolStatus, SpoolError> {
    let mut connection = open_read_only(dir).await?;
    let read = async {
        let row = sqlx::query(
            "select m.id, m.deleted_to, count(g.seq), coalesce(sum(g.hits), 0), coalesce(sum(length(g.body)), 0), coalesce(max(g.seq), m.deleted_to)
             from meta m left join groups g on true",
        )
        .fetch_one(&mut connection)
        .await?;
        sqlx::Result::Ok(SpoolStatus {
            id: row.try_get(0)?,
            deleted_to: row.try_get(1)?,
            groups: row.try_get(2)?,
            hits: row.try_get(3)?,
            bytes: row.try_get(4)?,
            last: row.try_get(5)?,
        })
    };
    read.await
        .map_err(|source| SpoolError::of(&dir.join(FILE), source))
}

/// Calls `each` with the first `limit` waiting hits and their group, oldest first.
///
/// # Errors
/// There is no spool, or it cannot be read.
pub async fn inspect(
    dir: &Path,
    limit: usize,
    mut each: impl FnMut(i64, Result<Hit, String>),
) -> Result<(), SpoolError> {
    let mut connection = open_read_only(dir).await?;
    let (mut after, mut left) = (0_i64, limit);
    while left > 0 {
        let row = sqlx::query("select seq, body from groups where seq > $1 order by seq limit 1")
            .bind(after)
            .fetch_optional(&mut connection)
            .await;
        let row = row.and_then(|row| {
            row.map(|row| Ok((row.try_get(0)?, row.try_get::<Vec<u8>, _>(1)?)))
                .transpose()
        });
        let Some((seq, body)) = row.map_err(|source| SpoolError::of(&dir.join(FILE), source))?
        else {
            break;
        };
        after = seq;
        for frame in decode_frames(&body).take(left) {
            left -= 1;
            let hit = frame.map(|hit| *hit);
            each(seq, hit.map_err(|bad| bad.why.to_string()));
        }
    }
    Ok(())
}

/// Calls `each` with the first `limit` hits that can be read of a file, damaged or not, and their
/// group, in order.
///
/// # Errors
/// There is no such file, or it cannot be read at all.
pub async fn inspect_file(
    path: &Path,
    limit: usize,
    each: impl FnMut(i64, Result<Hit, String>),
) -> Result<(), SpoolError> {
    if !path.exists() {
        return Err(SpoolError::Missing(path.to_owned()));
    }
    salvage::inspect(path, limit, each)
        .await
        .map_err(|error| SpoolError::of(path, error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The database may have stored groups that an old copy of the file knows nothing of: their
    /// numbers must not come again.
    #[tokio::test]
    async fn an_old_copy_of_the_file_gives_no_number_out_twice() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Micros(1_000_000));
        let mut spool = SpoolFile::open(dir.path(), &clock).await.unwrap();
        let first = spool.last + 1;
        spool.append(first, 1, vec![1]).await.unwrap();
        spool.close().await.unwrap();
        let copy = std::fs::read(dir.path().join(FILE)).unwrap();

        let mut spool = SpoolFile::open(dir.path(), &clock).await.unwrap();
        assert_eq!(spool.last, first, "what waits keeps its number");
        spool.append(first + 1, 1, vec![2]).await.unwrap();
        spool.close().await.unwrap();

        std::fs::write(dir.path().join(FILE), copy).unwrap();
        clock.advance(Micros::SECOND);
        let spool = SpoolFile::open(dir.path(), &clock).await.unwrap();
        assert!(spool.last > first + 1, "{} after {}", spool.last, first + 1);
    }
}

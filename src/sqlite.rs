//! What the SQLite files of a server have in common: the spool, the copy of the links, the embedded
//! database.
//!
//! **A transaction that fails takes its connection with it.** On a full disk, after an I/O error or
//! without memory SQLite undoes a transaction by itself, or leaves it open: which of them, only
//! SQLite knows. Who keeps count beside it, as sqlx does, is left with a connection that is in a
//! transaction for ever, or believes to be. So nobody counts here: a connection goes back to its
//! pool after an end that SQLite has confirmed, else it is closed, which undoes what was begun.
//!
//! **A file that is damaged is put aside**, never deleted: renamed with the time, together with its
//! journal, so that a new one can take its place.

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::model::clock::Micros;

/// A write transaction, rolled back if dropped before it was committed.
#[derive(Debug)]
pub struct SqliteTransaction(PoolConnection<Sqlite>);

impl SqliteTransaction {
    /// Begins a transaction that has the writer at once.
    ///
    /// # Errors
    /// The file cannot be opened, or others write for longer than the connection waits.
    pub(crate) async fn begin(pool: &SqlitePool) -> sqlx::Result<Self> {
        Self::begin_by("begin immediate", pool).await
    }

    /// Begins a read transaction: a snapshot as of its first query.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) async fn begin_reading(pool: &SqlitePool) -> sqlx::Result<Self> {
        Self::begin_by("begin deferred", pool).await
    }

    async fn begin_by(sql: &'static str, pool: &SqlitePool) -> sqlx::Result<Self> {
        let mut connection = pool.acquire().await?;
        // From here on, also where nobody waits for the answer.
        connection.close_on_drop();
        let mut transaction = Self(connection);
        transaction.run(sql).await?;
        Ok(transaction)
    }

    /// Commits.
    ///
    /// # Errors
    /// SQLite refuses: nothing is written, and the connection is closed.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.end("commit").await
    }

    /// Rolls everything back.
    ///
    /// # Errors
    /// SQLite did so by itself before, and the connection is closed.
    pub async fn rollback(self) -> sqlx::Result<()> {
        self.end("rollback").await
    }

    async fn end(mut self, sql: &'static str) -> sqlx::Result<()> {
        self.run(sql).await?;
        // Nothing is open: it may go back, and there is none left to close.
        tokio::spawn(self.0.return_to_pool());
        Ok(())
    }

    async fn run(&mut self, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(&mut *self.0).await.map(|_| ())
    }
}

impl Deref for SqliteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.0
    }
}

impl DerefMut for SqliteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }
}

/// What prevents the use of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The disk is full, fails, or is read-only: for a moment or a day, and the file is as good as
    /// before.
    Disk,
    /// The file is not a database, or no longer an intact one.
    Damage,
    /// There is a file, or something else, but it cannot be opened.
    Unusable,
    /// Others hold a lock on it.
    Busy,
    /// Anything else: a statement that is wrong.
    Other,
}

/// What an error of SQLite says about the file.
pub(crate) fn trouble(error: &sqlx::Error) -> Trouble {
    let code = error
        .as_database_error()
        .and_then(|error| error.code())
        // Postgres' have five characters.
        .filter(|code| code.len() < 5)
        .and_then(|code| code.parse::<u32>().ok());
    // The primary code is the low byte of the extended one.
    match code.map(|code| code & 0xff) {
        // No memory, read-only, I/O error, full.
        Some(7 | 8 | 10 | 13) => Trouble::Disk,
        // Malformed, no database.
        Some(11 | 26) => Trouble::Damage,
        // Busy, locked.
        Some(5 | 6) => Trouble::Busy,
        // No permission, not to be opened.
        Some(3 | 14 | 23) => Trouble::Unusable,
        _ => Trouble::Other,
    }
}

/// Whether to set a file aside for this error on opening: it is damaged, or is not ours or may not
/// be opened. Not if descriptors or memory ran out, or others lock it.
pub(crate) fn is_to_be_replaced(error: &sqlx::Error, file: &Path) -> bool {
    match trouble(error) {
        Trouble::Damage => true,
        Trouble::Disk => false,
        Trouble::Unusable => std::iter::once("")
            .chain(BESIDE)
            .any(|suffix| is_in_the_way(&beside(file, suffix))),
        Trouble::Busy => false,
        // Tables of another shape.
        Trouble::Other => error
            .as_database_error()
            .is_some_and(|error| error.code().as_deref() == Some("1")),
    }
}

fn is_in_the_way(path: &Path) -> bool {
    let opened = std::fs::File::options().read(true).write(true).open(path);
    match opened {
        Ok(file) => !file.metadata().is_ok_and(|meta| meta.is_file()),
        Err(error) => matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory
        ),
    }
}

/// A file's journal, index and whatever else SQLite keeps beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Renames a file, or what is in its place, together with its journal: `links.db` becomes
/// `links.db.damaged-20260102T030405Z`. Returns the new name; `None` if nothing was there.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn put_aside(file: &Path, now: Micros) -> io::Result<Option<PathBuf>> {
    put_aside_as(file, "damaged", now)
}

/// The same with another word than `damaged` in the new name.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn put_aside_as(file: &Path, word: &str, now: Micros) -> io::Result<Option<PathBuf>> {
    let time: String = now
        .rfc3339()
        .chars()
        .take_while(|c| *c != '.')
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    let time = time.trim_end_matches('Z');
    let aside = (1..)
        .map(|number| match number {
            1 => beside(file, &format!(".{word}-{time}Z")),
            _ => beside(file, &format!(".{word}-{time}Z-{number}")),
        })
        .find(|name| std::fs::symlink_metadata(name).is_err())
        .unwrap_or_else(|| beside(file, &format!(".{word}")));
    let mut was_there = false;
    for suffix in std::iter::once("").chain(BESIDE) {
        match std::fs::rename(beside(file, suffix), beside(&aside, suffix)) {
            Ok(()) => was_there = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(was_there.then_some(aside))
}

/// Removes earlier files that were set aside, except the newest: of a cache one copy is enough to
/// look at.
pub(crate) fn keep_newest_aside(file: &Path) {
    let (Some(dir), Some(name)) = (file.parent(), file.file_name()) else {
        return;
    };
    let start = format!("{}.damaged-", name.to_string_lossy());
    let mut aside: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&start))
        .collect();
    aside.sort();
    let Some(newest) = aside
        .iter()
        .rfind(|name| !BESIDE.iter().any(|suffix| name.ends_with(suffix)))
        .cloned()
    else {
        return;
    };
    for name in aside.iter().filter(|name| !name.starts_with(&newest)) {
        let _ = std::fs::remove_file(dir.join(name));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::Row as _;
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    use super::*;

    async fn pool(dir: &Path) -> SqlitePool {
        let options = SqliteConnectOptions::new()
            .filename(dir.join("some.db"))
            .create_if_missing(true)
            .busy_timeout(Duration::from_secs(1));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .unwrap();
        sqlx::raw_sql("create table some (n integer check (n < 100)) strict")
            .execute(&pool)
            .await
            .unwrap();
        pool
    }

    /// SQLite rolls back by itself if this says so, as it does on a full disk.
    async fn undo(transaction: &mut SqliteTransaction) -> sqlx::Result<()> {
        sqlx::raw_sql("insert or rollback into some values (1000)")
            .execute(&mut **transaction)
            .await
            .map(|_| ())
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_undid_by_itself_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path()).await;
        for round in 0..3 {
            let mut transaction = SqliteTransaction::begin(&pool).await.unwrap();
            assert!(undo(&mut transaction).await.is_err());
            match round {
                0 => drop(transaction),
                1 => assert!(transaction.commit().await.is_err()),
                _ => assert!(transaction.rollback().await.is_err()),
            }
            let mut transaction = SqliteTransaction::begin(&pool).await.unwrap();
            sqlx::query("insert into some values ($1)")
                .bind(round)
                .execute(&mut *transaction)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
        }
        // What was begun and left is undone, however often.
        for _ in 0..3 {
            let mut left = SqliteTransaction::begin(&pool).await.unwrap();
            sqlx::raw_sql("delete from some")
                .execute(&mut *left)
                .await
                .unwrap();
        }
        let row = sqlx::query("select count(*) from some")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(row.get::<i64, _>(0), 3);
    }

    #[test]
    fn a_file_is_put_aside_with_its_journal_and_a_cache_keeps_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("links.db");
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(put_aside(&file, Micros(0)).unwrap(), None);
        for second in [0, 0, 5] {
            std::fs::write(&file, "x").unwrap();
            std::fs::write(dir.path().join("links.db-wal"), "x").unwrap();
            put_aside(&file, Micros(second * Micros::SECOND)).unwrap();
        }
        assert_eq!(
            names(),
            [
                "links.db.damaged-19700101T000000Z",
                "links.db.damaged-19700101T000000Z-2",
                "links.db.damaged-19700101T000000Z-2-wal",
                "links.db.damaged-19700101T000000Z-wal",
                "links.db.damaged-19700101T000005Z",
                "links.db.damaged-19700101T000005Z-wal",
            ]
        );
        keep_newest_aside(&file);
        assert_eq!(
            names(),
            [
                "links.db.damaged-19700101T000005Z",
                "links.db.damaged-19700101T000005Z-wal",
            ]
        );
        // Whatever is in the file's place.
        std::fs::create_dir(&file).unwrap();
        assert!(put_aside(&file, Micros(1)).unwrap().is_some());
    }
}

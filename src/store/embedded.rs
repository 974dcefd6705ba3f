//! The embedded database: an SQLite file, opened and brought up to date.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlitePool};

use super::{SqlitePools, StoreError, migrations};
use crate::model::retry::Backoff;
use crate::sqlite::{Trouble, trouble};

pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .foreign_keys(true)
        .busy_timeout(MOST_WAITED)
}

/// How long to wait for another process' lock on the file.
const MOST_WAITED: Duration = Duration::from_secs(10);

/// On SQLite sqlx takes no lock for this: a server and `sillage migrate` beside it would both
/// create the same table. So whoever finds something to do keeps others from writing until it is
/// done.
pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    let migrator = migrations::sqlite();
    let mut connection = pool.acquire().await?;
    let sql = "select count(*) from _sqlx_migrations";
    let done: i64 = sqlx::query_scalar(sql)
        .fetch_one(&mut *connection)
        .await
        // No such table: nothing is done.
        .unwrap_or_default();
    if done as usize >= migrator.iter().count() {
        // Only to see that they are ours.
        return Ok(migrator.run_direct(None, &mut *connection, false).await?);
    }
    let mut turn = connection.begin_with("begin immediate").await?;
    // What `run` does with a connection; that one's future cannot be sent to another thread.
    migrator.run_direct(None, &mut *turn, false).await?;
    Ok(turn.commit().await?)
}

/// Prepared statements that SQLite's writer keeps.
const WRITER_STATEMENTS: usize = 400;
/// sqlx's usual number.
const READER_STATEMENTS: usize = 100;

pub(super) async fn open(file: &Path, max_connections: u32) -> Result<SqlitePools, StoreError> {
    let options = options(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit of the projection must outlive a power cut: the spool forgets what it was told
        // is stored.
        .synchronous(SqliteSynchronous::Full)
        // 64 MB of journal between checkpoints. 8 MB of cache for the one writer: a batch goes
        // through most tables in the order of their keys and comes by each page once. 16 MB gained
        // less than the machine's noise and made the server 11 MB larger while it caught up.
        .pragma("wal_autocheckpoint", "16000")
        .pragma("cache_size", "-8000")
        // What is deleted is overwritten: an erased person is in no file. Whole pages that become
        // free are too, which costs only those that delete much.
        .pragma("secure_delete", "on")
        // The projection has some sixty statements, most of them in three sizes. One that does not
        // stay is prepared again for every batch, which for 256 rows takes longer than to run it.
        .statement_cache_capacity(WRITER_STATEMENTS);
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        // Migrations are sqlx's own transactions; see `SqliteTransaction` for what becomes of one
        // that fails. The ping comes after a rollback that is under way.
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
        .connect_lazy_with(options.clone());
    // A wrong path is told at the start. A disk that is full or fails, or a file that is damaged,
    // is a database that is down: readers get to their pages without it, and hits wait in the
    // spool.
    if let Err(error) = first_connection(&write).await
        && !matches!(trouble(&error), Trouble::Disk | Trouble::Damage)
    {
        return Err(error.into());
    }
    let options = options.statement_cache_capacity(READER_STATEMENTS);
    let read = readers(options, max_connections);
    Ok(SqlitePools { write, read })
}

/// Switching a new file to WAL needs exclusive access, and SQLite does not wait for it: a server
/// and a command that open it at the same moment take turns here.
async fn first_connection(pool: &SqlitePool) -> sqlx::Result<()> {
    let mut backoff = Backoff::default();
    let mut waited = Duration::ZERO;
    loop {
        match pool.acquire().await {
            Err(error) if trouble(&error) == Trouble::Busy && waited < MOST_WAITED => {
                let pause = backoff.pause();
                waited += pause;
                tokio::time::sleep(pause).await;
            }
            opened => return opened.map(|_| ()),
        }
    }
}

pub(super) fn readers(options: SqliteConnectOptions, max_connections: u32) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(max_connections.clamp(1, 4))
        .connect_lazy_with(options.read_only(true).pragma("cache_size", "-4000"))
}

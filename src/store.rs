//! The store: Postgres in production, an embedded SQLite file for trying out and small sites.
//!
//! One SQL text a query; `both!` compiles the same body for either database. Bulk statements are
//! written once too: see `store/bulk.rs`. What truly differs (opening, partitions, the insert of
//! hits) stands side by side in a `match` on the database.

mod again;
mod bulk;
pub mod contacts;
pub mod contents;
pub mod deliveries;
mod embedded;
pub mod erasures;
pub mod figures;
pub mod forms;
pub mod hits;
pub mod import_runs;
pub mod imports;
mod lane;
pub mod link_changes;
mod link_rows;
mod look_up;
pub mod maintenance;
pub mod messages;
mod migrations;
pub mod moving;
pub mod opt_outs;
pub mod orders;
pub mod orphans;
pub mod page_tags;
mod partitions;
pub mod people;
pub mod person_data;
pub mod persons;
mod postgres;
pub mod recount;
pub mod request_keys;
pub mod retention;
pub mod scan;
pub mod sessions;
pub mod settling;
mod sign_in_tries;
pub mod signing_keys;
mod stale;
#[cfg(test)]
pub(crate) mod tests;
pub mod tokens;
pub mod touches;
mod types;
pub mod unknown_paths;
pub mod users;
pub mod verdicts;
pub mod webhooks;
mod writes;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::postgres::PgConnectOptions;

pub use bulk::Bulk;
pub use lane::is_race;
pub(crate) use lane::{Meanwhile, lost_race};
pub use link_rows::{ChangePoint, ChangedAt};
pub(crate) use look_up::{Found, LookUps};
pub use postgres::{PgTransaction, WatchedPool};
pub use types::{Extra, Ip, Tags};
pub(crate) use writes::Writes;

pub use crate::sqlite::SqliteTransaction;
use crate::sqlite::{Trouble, trouble};

/// Runs the same body on either database: `both!(tx, c => sqlx::query("…").execute(&mut
/// **c).await)`.
#[doc(hidden)]
#[macro_export]
macro_rules! both {
    ($database:expr, $name:ident => $body:expr) => {
        match $database {
            $crate::door::Either::Postgres($name) => $body,
            $crate::door::Either::Sqlite($name) => $body,
        }
    };
}

/// Reads a type's rows on either database, each field from the column of its name; what stands in
/// no such column comes behind: `from_row!(Delivery, row => { id } { utm: Utm::from_row(row)? })`.
/// A field that is forgotten does not compile.
///
/// Not sqlx's derive: it brings both drivers into the compiler's side, where they are compiled a
/// second time.
#[doc(hidden)]
#[macro_export]
macro_rules! from_row {
    (@$of:ty, $type:ty, $row:ident => { $($field:ident),* $(,)? }
        $({ $($other:ident: $value:expr),+ $(,)? })?) => {
        impl<'r> sqlx::FromRow<'r, $of> for $type {
            fn from_row($row: &'r $of) -> sqlx::Result<Self> {
                use sqlx::Row as _;
                Ok(Self {
                    $($field: $row.try_get(stringify!($field))?,)*
                    $($($other: $value,)+)?
                })
            }
        }
    };
    ($type:ty, $row:ident => $fields:tt $($others:tt)?) => {
        $crate::from_row!(@sqlx::postgres::PgRow, $type, $row => $fields $($others)?);
        $crate::from_row!(@sqlx::sqlite::SqliteRow, $type, $row => $fields $($others)?);
    };
}

/// The counterparts of the two databases: pools, connections, transactions.
#[derive(Clone, Copy, Debug)]
pub enum Either<P, S> {
    /// Postgres.
    Postgres(P),
    /// Embedded SQLite.
    Sqlite(S),
}

/// An open transaction.
pub type Tx = Either<PgTransaction, SqliteTransaction>;

/// The store cannot be opened or migrated.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is none.
    #[error("database URL: {0}")]
    Url(sqlx::Error),
    /// The database refuses or cannot be reached.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// There is no such file to read.
    #[error("there is no database {}", std::path::absolute(.0).as_deref().unwrap_or(.0).display())]
    Missing(PathBuf),
    /// There is one, but it is not ours.
    #[error("the database has no Sillage tables")]
    NoTables,
    /// Its data is in Postgres, or on the way there.
    #[error(
        "the SQLite database was moved to Postgres, or a move was begun: name the Postgres \
        database in DATABASE_URL (database_url). To use SQLite again, without what was stored in \
        Postgres since, run sillage move --give-up"
    )]
    Moved,
    /// Its data is not complete.
    #[error(
        "the Postgres database is still being filled by sillage move: run that command again, \
        and it goes on"
    )]
    Moving,
    /// A migration failed.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether it is worth waiting: see [`is_away`].
    pub fn is_away(&self) -> bool {
        match self {
            Self::Database(error)
            | Self::Migration(
                sqlx::migrate::MigrateError::Execute(error)
                | sqlx::migrate::MigrateError::ExecuteMigration(error, _),
            ) => is_away(error),
            _ => false,
        }
    }
}

/// What the store answers: the projection above it knows no database library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the database.
pub type Error = sqlx::Error;

/// Whether the database refuses the data itself, so that retrying is useless: on Postgres the
/// classes data exception, integrity, program limit and raised exceptions; on SQLite constraint,
/// mismatch and too big.
pub fn is_refusal(error: &Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match code.parse::<u32>() {
                // SQLite's codes have up to four digits; the low byte is the primary one.
                Ok(number) if code.len() < 5 => matches!(number & 0xff, 18..=20),
                _ => ["22", "23", "54", "P0"]
                    .iter()
                    .any(|class| code.starts_with(class)),
            }
        }
        _ => false,
    }
}

/// Whether the database could not be reached, as opposed to having refused: no connection, or a
/// broken one; on Postgres also the classes connection, authorisation, unknown database, resources
/// and shutdown, on SQLite a file that cannot be opened, read or written: its disk is full or
/// fails, or it is damaged.
pub fn is_away(error: &Error) -> bool {
    match error {
        _ if trouble(error) != Trouble::Other => true,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            code.len() == 5
                && ["08", "28", "3D", "53", "57P"]
                    .iter()
                    .any(|class| code.starts_with(class))
        }
        _ => false,
    }
}

/// What an operator can do about an error, if that is known.
pub fn remedy(error: &Error) -> Option<&'static str> {
    match trouble(error) {
        Trouble::Damage => {
            return Some(
                "the file is damaged or belongs to another program: move it away and restore a \
                backup",
            );
        }
        Trouble::Disk => {
            return Some(
                "the file's disk is full, failing or read-only: free some space or repair it",
            );
        }
        Trouble::Busy | Trouble::Unusable | Trouble::Other => {}
    }
    if is_away(error) {
        return Some(
            "check that the database is running and that database.url (DATABASE_URL) \
            names it",
        );
    }
    let sqlx::Error::Database(error) = error else {
        return None;
    };
    let has_no_tables =
        error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table");
    has_no_tables
        .then_some("create or upgrade the tables with `sillage migrate`, or start the server")
}

/// Connections to the store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pools: Either<WatchedPool, SqlitePools>,
}

/// SQLite has one writer at a time: a pool of one for it, and readers that never wait for it.
#[derive(Clone, Debug)]
struct SqlitePools {
    write: SqlitePool,
    read: SqlitePool,
}

/// Counters stop here; greater numbers are free to be chosen.
pub const MOST_COUNTED: i64 = 1 << 62;

impl Store {
    /// Prepares connections without contacting Postgres yet, so that a server starts while it is
    /// down. `patience` is how long a response may take.
    ///
    /// # Errors
    /// The URL is malformed, or the SQLite file cannot be opened.
    pub async fn open(
        url: &str,
        max_connections: u32,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let pools = match sqlite_file(url) {
            Some(file) => Either::Sqlite(embedded::open(file, max_connections).await?),
            None => Either::Postgres(WatchedPool::open(
                postgres_options(url)?,
                max_connections,
                patience,
            )),
        };
        Ok(Self { pools })
    }

    /// The same for an existing database: creates no file.
    ///
    /// # Errors
    /// The URL is malformed, there is no SQLite file, or it cannot be opened.
    pub async fn open_that_exists(
        url: &str,
        max_connections: u32,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        match sqlite_file(url) {
            Some(file) if !file.is_file() => Err(StoreError::Missing(file.to_owned())),
            _ => Self::open(url, max_connections, patience).await,
        }
    }

    /// The same, read-only: creates, changes and migrates nothing, and any write fails.
    ///
    /// # Errors
    /// The URL is malformed, or there is no SQLite file.
    pub fn open_to_read(
        url: &str,
        max_connections: u32,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let pools = match sqlite_file(url) {
            Some(file) if !file.is_file() => return Err(StoreError::Missing(file.to_owned())),
            Some(file) => {
                let read = embedded::readers(embedded::options(file), max_connections);
                let write = read.clone();
                Either::Sqlite(SqlitePools { write, read })
            }
            None => {
                let options =
                    postgres_options(url)?.options([("default_transaction_read_only", "on")]);
                Either::Postgres(WatchedPool::open(options, max_connections, patience))
            }
        };
        Ok(Self { pools })
    }

    /// Runs the migrations, and looks whether the database may be used.
    ///
    /// # Errors
    /// The database cannot be reached, a migration fails, or its data was moved or is being moved.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.run_migrations().await?;
        self.expect_not_moved().await
    }

    async fn run_migrations(&self) -> Result<(), StoreError> {
        match &self.pools {
            Either::Postgres(pool) => {
                migrations::postgres().run(pool.pool()).await?;
            }
            Either::Sqlite(pools) => embedded::migrate(&pools.write).await?,
        }
        Ok(())
    }

    /// Whether a server, or `migrate`, has created its tables here.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn has_tables(&self) -> sqlx::Result<bool> {
        match self.reader() {
            Either::Postgres(pool) => {
                sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
                    .fetch_one(pool)
                    .await
            }
            Either::Sqlite(pool) => {
                let sql = "select count(*) > 0 from sqlite_master where name = '_sqlx_migrations'";
                sqlx::query_scalar(sql).fetch_one(pool).await
            }
        }
    }

    /// Whether it is Postgres.
    pub fn is_postgres(&self) -> bool {
        matches!(self.pools, Either::Postgres(_))
    }

    /// A pool to read from.
    pub fn reader(&self) -> Either<&WatchedPool, &SqlitePool> {
        match &self.pools {
            Either::Postgres(pool) => Either::Postgres(pool),
            Either::Sqlite(pools) => Either::Sqlite(&pools.read),
        }
    }

    /// A pool to write with, a statement at a time.
    fn writer(&self) -> Either<&WatchedPool, &SqlitePool> {
        match &self.pools {
            Either::Postgres(pool) => Either::Postgres(pool),
            Either::Sqlite(pools) => Either::Sqlite(&pools.write),
        }
    }

    /// Begins a transaction that may write (on SQLite it has the writer at once).
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        Ok(match &self.pools {
            Either::Postgres(pool) => Either::Postgres(pool.begin().await?),
            Either::Sqlite(pools) => Either::Sqlite(SqliteTransaction::begin(&pools.write).await?),
        })
    }

    /// Begins a read transaction, a snapshot of the database as it is now, for as long as it takes.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn begin_snapshot(&self) -> sqlx::Result<Tx> {
        Ok(match &self.pools {
            Either::Postgres(pool) => {
                let mut tx = pool.begin().await?;
                // Its statements are long, and there may be much to do between two of them.
                let sql = "set transaction isolation level repeatable read, read only;
                           set local statement_timeout = 0;
                           set local idle_in_transaction_session_timeout = 0";
                sqlx::raw_sql(sql).execute(&mut *tx).await?;
                Either::Postgres(tx)
            }
            Either::Sqlite(pools) => {
                Either::Sqlite(SqliteTransaction::begin_reading(&pools.read).await?)
            }
        })
    }

    /// Whether the database responds.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn ping(&self) -> sqlx::Result<()> {
        both!(self.reader(), pool => sqlx::query("select 1").execute(pool).await.map(|_| ()))
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.pools {
            Either::Postgres(pool) => pool.close().await,
            Either::Sqlite(pools) => {
                pools.read.close().await;
                pools.write.close().await;
            }
        }
    }
}

impl Tx {
    /// Commits.
    ///
    /// # Errors
    /// The database refuses, or its answer was lost: then nobody knows whether it is committed.
    pub async fn commit(self) -> sqlx::Result<()> {
        both!(self, c => c.commit().await)
    }

    /// Rolls everything back.
    ///
    /// # Errors
    /// The connection is lost (and with it the transaction).
    pub async fn rollback(self) -> sqlx::Result<()> {
        both!(self, c => c.rollback().await)
    }

    /// Runs statements of ours without values, such as savepoints.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn run(&mut self, sql: &'static str) -> sqlx::Result<()> {
        both!(self, c => sqlx::raw_sql(sql).execute(&mut **c).await.map(|_| ()))
    }

    /// Takes `count` numbers of a counter; returns the first.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take_numbers(&mut self, counter: &'static str, count: i64) -> sqlx::Result<i64> {
        let sql = "update counters set value = value + $2 where name = $1 returning value";
        let last: i64 = both!(self, c => sqlx::query_scalar(sql).bind(counter).bind(count).fetch_one(&mut **c).await)?;
        Ok(last - count + 1)
    }

    /// Raises a counter so that it never assigns a chosen number. Numbers that it will never reach
    /// are ignored: the greatest one would leave nothing to assign.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn reserve_number(&mut self, counter: &'static str, number: i64) -> sqlx::Result<()> {
        if number > MOST_COUNTED {
            return Ok(());
        }
        let sql = "update counters set value = $2 where name = $1 and value < $2";
        both!(self, c => sqlx::query(sql).bind(counter).bind(number).execute(&mut **c).await.map(|_| ()))
    }
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    Ok(PgConnectOptions::from_str(url)
        .map_err(StoreError::Url)?
        .application_name("sillage")
        // What poolers between refuse at the start of a session; what else a session needs is set
        // by `postgres::prepare`.
        .extra_float_digits(None))
}

/// The file that a URL names; `None` for Postgres.
pub fn sqlite_file(url: &str) -> Option<&Path> {
    let file = url.strip_prefix("sqlite:")?;
    Some(Path::new(file.trim_start_matches("//")))
}

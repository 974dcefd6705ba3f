//! `move`: everything from the embedded database to Postgres.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{WrongUsage, explain_store, print_json};
use crate::config::Config;
use crate::model::clock::Clock;
use crate::server::data_dir::{DataDir, DataDirError, EMBEDDED};
use crate::store::moving::{Move, MoveError};
use crate::store::{Store, StoreError, sqlite_file};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct MoveTo {
    /// The empty Postgres database to move to, such as postgres://user@host/database; a password
    /// can also be in PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "URL", required_unless_present = "give_up")]
    to: Option<String>,
    /// Go back: use the SQLite database again, without what Postgres has stored since
    #[arg(long, conflicts_with = "to")]
    give_up: bool,
}

impl MoveTo {
    /// Moves, tells each table as JSON, and compares the counts. Begun again after it was
    /// interrupted, it goes on.
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let file = source_file(config);
        if !file.is_file() {
            return Err(explain_store(StoreError::Missing(file)));
        }
        // For as long as this runs no server does.
        let _taken = match DataDir::take(&config.data_dir) {
            Err(DataDirError::InUse(dir)) => {
                return Err(WrongUsage(format!(
                    "a server uses the data directory {}: stop it, move, and start it on Postgres",
                    dir.display()
                ))
                .into());
            }
            taken => taken?,
        };
        let url = format!("sqlite://{}", file.display());
        let source = open(&url, config).await?;
        if !source.has_tables().await.context("database")? {
            return Err(explain_store(StoreError::NoTables));
        }
        let Some(to) = self.to else {
            let left = source.give_up_move().await?;
            eprintln!(
                "{}",
                match left {
                    true => "a server can use the SQLite database again",
                    false => "the SQLite database has not been moved",
                }
            );
            return Ok(());
        };
        let target = open(&to, config).await?;
        move_all(source, target).await
    }
}

/// Where the server's embedded database is, whatever `database_url` says by now.
fn source_file(config: &Config) -> PathBuf {
    let url = config.database_url.as_ref();
    match url.and_then(|url| sqlite_file(&url.0)) {
        Some(file) => file.to_owned(),
        None => config.data_dir.join(EMBEDDED),
    }
}

async fn open(url: &str, config: &Config) -> anyhow::Result<Store> {
    let database = &config.database;
    let store = Store::open(url, database.max_connections, database.patience).await;
    store.map_err(explain_store)
}

async fn move_all(source: Store, target: Store) -> anyhow::Result<()> {
    let clock = Clock::system();
    let now = clock.now();
    let begun = Instant::now();
    let moving = Move::begin(source.clone(), target.clone(), clock.new_id(now), now)
        .await
        .map_err(explain)?;
    if moving.is_resumed() {
        eprintln!("going on with the move that was begun");
    }
    let all = moving.count().await.map_err(explain)?;
    let mut progress = Progress::new(all);
    let told = |table: &str, rows: i64| progress.tell(table, rows);
    moving.run(told, clock.now()).await.map_err(explain)?;
    let tables = moving.end(clock.now()).await.map_err(explain)?;
    for table in &tables {
        print_json(&json!({"table": table.table, "rows": table.rows, "moved": table.moved}))?;
    }
    source.close().await;
    target.close().await;
    eprintln!(
        "moved {all} rows in {:.0} s; every table has as many as before. Set DATABASE_URL (or \
        database_url) to the new database and start the server on the same data directory",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What is wrong with the databases that were given is wrong usage; what fails is not.
fn explain(error: MoveError) -> anyhow::Error {
    match error {
        MoveError::Kind | MoveError::NotEmpty(_) | MoveError::Other(_) => {
            WrongUsage(error.to_string()).into()
        }
        MoveError::Database(error) => anyhow::Error::new(error)
            .context("the move was interrupted; run the same command again, and it goes on"),
        error => error.into(),
    }
}

/// Tells now and then how far the move is.
struct Progress {
    all: i64,
    /// Rows of tables before this one.
    before: i64,
    table: String,
    rows: i64,
    told: Instant,
}

impl Progress {
    fn new(all: i64) -> Self {
        Self {
            all,
            before: 0,
            table: String::new(),
            rows: 0,
            told: Instant::now(),
        }
    }

    fn tell(&mut self, table: &str, rows: i64) {
        if self.table != table {
            self.before += self.rows;
            table.clone_into(&mut self.table);
        }
        self.rows = rows;
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            let moved = self.before + rows;
            eprintln!("{table}: {rows} rows; {moved} of {} in all", self.all);
        }
    }
}

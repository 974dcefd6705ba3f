//! Moving everything from an embedded database to Postgres: every table, row by row as it is, so
//! that numbers, ids, figures and places in spools stay what they were.
//!
//! **Nothing is forgotten**: the tables and columns are those that the databases have, not a list
//! here. Only what `plan` names stays behind.
//!
//! **It can be killed** at any moment and goes on where it stopped: each part of a table is written
//! in one transaction together with how far the table has come.
//!
//! **Nobody writes meanwhile, or after.** Both databases note the move. A server does not start on
//! one that is or was left ([`StoreError::Moved`]), nor on one that is not filled yet
//! ([`StoreError::Moving`]): it would give numbers that the other has given before, and old emails'
//! links would lead to other people.
//!
//! What waits in the spool is not touched: the place in the spool moves with the rest, so the
//! server goes on storing into Postgres exactly behind what it had stored before.

mod copy;
mod plan;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use self::plan::TablePlan;
use super::{Either, Store, StoreError};
use crate::from_row;
use crate::model::clock::Micros;

/// Why a database cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// One of the databases cannot be opened or brought up to date.
    #[error("{0}: {1}")]
    Open(&'static str, StoreError),
    /// What is to be left is Postgres, or what is to be filled is not.
    #[error("data moves from SQLite to Postgres, and no other way")]
    Kind,
    /// There is something in it.
    #[error(
        "the target is not empty: {0}. Create a new database for the move; a server must not have \
        been started on it"
    )]
    NotEmpty(String),
    /// The two know of different moves.
    #[error(
        "{0}. Go on with the target that the move was begun with; or give it up with \
        sillage move --give-up and begin anew with a new, empty database"
    )]
    Other(&'static str),
    /// The two do not have the same columns.
    #[error("table {0}: its columns differ, so the databases are of different versions")]
    Columns(String),
    /// Postgres refuses rows that SQLite took.
    #[error("table {table}, behind the key {key}: Postgres refuses a row: {error}")]
    Refused {
        /// Which.
        table: String,
        /// The last row that was moved.
        key: String,
        /// Why.
        error: sqlx::Error,
    },
    /// Not as many rows arrived as there are.
    #[error("tables differ after the move: {0}. Was a server started on one of the databases?")]
    Counts(String),
    /// A database refuses or cannot be reached.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A move as a database notes it.
#[derive(Clone, Copy, Debug)]
struct Noted {
    id: Uuid,
    ended_at: Option<Micros>,
}

from_row!(Noted, row => { id, ended_at });

/// How many rows of a table there are, and have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedTable {
    /// Which.
    pub table: String,
    /// Rows that are there.
    pub rows: i64,
    /// Rows that arrived.
    pub moved: i64,
}

/// A move that was begun.
pub struct Move {
    source: Store,
    target: Store,
    id: Uuid,
    plans: Vec<TablePlan>,
    is_resumed: bool,
}

impl Move {
    /// Begins a move, or goes on with one that was interrupted: notes it in both databases.
    ///
    /// # Errors
    /// The target holds something, or one of them is part of another move.
    pub async fn begin(
        source: Store,
        target: Store,
        id: Uuid,
        now: Micros,
    ) -> Result<Self, MoveError> {
        if source.is_postgres() || !target.is_postgres() {
            return Err(MoveError::Kind);
        }
        let open = |what| move |error| MoveError::Open(what, error);
        source.run_migrations().await.map_err(open("source"))?;
        target.run_migrations().await.map_err(open("target"))?;
        let plans = plan::plan(&source, &target).await?;
        let left = source.noted_move("out").await?;
        let filled = target.noted_move("in").await?;
        let is_resumed = left.is_some();
        let id = match (left, filled) {
            (Some(left), Some(filled)) if left.id == filled.id => left.id,
            (Some(_), Some(_)) => {
                return Err(MoveError::Other("the target is part of another move"));
            }
            (Some(_), None) => {
                return Err(MoveError::Other(
                    "this database is being moved, or was moved, to another target",
                ));
            }
            // Killed between the two notes.
            (None, Some(filled))
                if filled.ended_at.is_none() && !target.has_moved_rows().await? =>
            {
                source.note_move(filled.id, "out", now).await?;
                filled.id
            }
            (None, Some(_)) => {
                return Err(MoveError::Other("the target was filled by another move"));
            }
            (None, None) => {
                target.expect_empty(&plans).await?;
                target.note_move(id, "in", now).await?;
                source.note_move(id, "out", now).await?;
                id
            }
        };
        Ok(Self {
            source,
            target,
            id,
            plans,
            is_resumed,
        })
    }

    /// Whether it goes on with an earlier one.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Rows that are to be moved, by SQLite's count.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn count(&self) -> Result<i64, MoveError> {
        let mut all = 0;
        for plan in &self.plans {
            all += self.source.count_rows(&plan.name).await?;
        }
        Ok(all)
    }

    /// Moves what has not been moved yet. `told` hears after each part how many rows of a table
    /// have arrived.
    ///
    /// # Errors
    /// A database refuses or cannot be reached: begin again, and it goes on.
    pub async fn run(&self, mut told: impl FnMut(&str, i64), now: Micros) -> Result<(), MoveError> {
        for plan in &self.plans {
            copy::copy_table(&self.source, &self.target, plan, now, &mut told).await?;
        }
        Ok(())
    }

    /// Compares the counts of all tables, and ends the move if they are the same.
    ///
    /// # Errors
    /// They differ, or a database cannot be reached.
    pub async fn end(self, now: Micros) -> Result<Vec<MovedTable>, MoveError> {
        let mut tables = Vec::new();
        for plan in &self.plans {
            tables.push(MovedTable {
                table: plan.name.clone(),
                rows: self.source.count_rows(&plan.name).await?,
                moved: self.target.count_rows(&plan.name).await?,
            });
        }
        let differing: Vec<String> = tables
            .iter()
            .filter(|table| table.rows != table.moved)
            .map(|table| format!("{} has {} of {} rows", table.table, table.moved, table.rows))
            .collect();
        if !differing.is_empty() {
            return Err(MoveError::Counts(differing.join(", ")));
        }
        self.target.analyze().await?;
        self.source.end_move(self.id, now).await?;
        self.target.end_move(self.id, now).await?;
        Ok(tables)
    }
}

impl Store {
    /// Fails where a move says that no server may use this database.
    pub(super) async fn expect_not_moved(&self) -> Result<(), StoreError> {
        if self.noted_move("out").await?.is_some() {
            return Err(StoreError::Moved);
        }
        match self.noted_move("in").await? {
            Some(noted) if noted.ended_at.is_none() => Err(StoreError::Moving),
            _ => Ok(()),
        }
    }

    /// Forgets that this embedded database was left; false if it was not.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn give_up_move(&self) -> Result<bool, StoreError> {
        self.run_migrations().await?;
        let sql = "delete from moves where direction = 'out'";
        let given_up = crate::both!(self.writer(), pool => {
            sqlx::query(sql).execute(pool).await.map(|done| done.rows_affected())
        })?;
        Ok(given_up > 0)
    }

    async fn noted_move(&self, direction: &str) -> sqlx::Result<Option<Noted>> {
        let sql =
            "select id, ended_at from moves where direction = $1 order by begun_at desc limit 1";
        crate::both!(self.writer(), pool => {
            sqlx::query_as(sql).bind(direction).fetch_optional(pool).await
        })
    }

    async fn note_move(&self, id: Uuid, direction: &str, now: Micros) -> sqlx::Result<()> {
        let sql = "insert into moves (id, direction, begun_at) values ($1, $2, $3)";
        crate::both!(self.writer(), pool => sqlx::query(sql)
            .bind(id)
            .bind(direction)
            .bind(now)
            .execute(pool)
            .await
            .map(|_| ()))
    }

    async fn end_move(&self, id: Uuid, now: Micros) -> sqlx::Result<()> {
        let sql = "update moves set ended_at = $2 where id = $1 and ended_at is null";
        crate::both!(self.writer(), pool => {
            sqlx::query(sql).bind(id).bind(now).execute(pool).await.map(|_| ())
        })
    }

    async fn has_moved_rows(&self) -> sqlx::Result<bool> {
        let sql = "select count(*) from moved_tables";
        let begun: i64 = crate::both!(self.writer(), pool => {
            sqlx::query_scalar(sql).fetch_one(pool).await
        })?;
        Ok(begun > 0)
    }

    async fn count_rows(&self, table: &str) -> sqlx::Result<i64> {
        let sql = format!("select count(*) from {}", plan::quoted(table));
        match self.writer() {
            // However long it takes.
            Either::Postgres(pool) => {
                sqlx::query_scalar(AssertSqlSafe(sql))
                    .fetch_one(pool.pool())
                    .await
            }
            Either::Sqlite(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await,
        }
    }

    /// Whether nothing but what the migrations put there is in a database.
    async fn expect_empty(&self, plans: &[TablePlan]) -> Result<(), MoveError> {
        let mut found = Vec::new();
        for plan in plans {
            let sql = match plan.name.as_str() {
                "counters" => "select count(*) from counters where value <> 0".to_owned(),
                "settling" => "select count(*) from settling where seq <> 0".to_owned(),
                name => format!("select count(*) from {}", plan::quoted(name)),
            };
            let rows: i64 = crate::both!(self.writer(), pool => {
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await
            })?;
            if rows > 0 {
                found.push(format!("{} has {rows} rows", plan.name));
            }
        }
        match found.is_empty() {
            true => Ok(()),
            false => Err(MoveError::NotEmpty(found.join(", "))),
        }
    }

    /// Statistics, without which the first queries would be planned for empty tables.
    async fn analyze(&self) -> sqlx::Result<()> {
        let Either::Postgres(pool) = self.writer() else {
            return Ok(());
        };
        sqlx::raw_sql("analyze").execute(pool.pool()).await?;
        Ok(())
    }
}

//! Writing hits: rows of placeholders, and on Postgres binary `COPY` for many.
//!
//! `COPY` instead of `unnest` over 35 arrays: Postgres takes each value once and fills pages many
//! rows at a time. Its end is several small writes without an answer between them, though, and sqlx
//! leaves Nagle's algorithm on: over TCP the last one waits 40 ms for an acknowledgement. Few rows,
//! as most transactions of a quiet server have, go quicker in an ordinary statement.

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection, PgCopyIn};
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe};

use super::column::Field as _;
use super::{COLUMNS, HitRow};
use crate::model::hit::hit_columns;
use crate::store::postgres::{PgTransaction, Waiting};
use crate::store::{Either, SqliteTransaction, Tx};

/// Generates the code that writes a row's values in the order of [`COLUMNS`].
macro_rules! writers {
    (|$row:ident, $hit:ident| $($(#[$doc:meta])* $name:ident: $type:ty = $value:expr,)+) => {
        fn bind_postgres($row: &HitRow<'_>, values: &mut PgArguments) -> Result<(), BoxDynError> {
            let $hit = $row.hit;
            $(values.add($value.bound())?;)+
            Ok(())
        }

        fn bind_sqlite($row: &HitRow<'_>, values: &mut SqliteArguments) -> Result<(), BoxDynError> {
            let $hit = $row.hit;
            $(values.add($value.bound())?;)+
            Ok(())
        }

        /// A row in Postgres' binary `COPY` format: the number of fields, and the fields.
        fn copy_row($row: &HitRow<'_>, data: &mut Vec<u8>) {
            let $hit = $row.hit;
            data.extend_from_slice(&(COLUMNS.len() as i16).to_be_bytes());
            $($value.copy(data);)+
        }
    };
}
hit_columns!(writers);

impl Tx {
    /// Writes hits.
    ///
    /// # Errors
    /// The database refuses one of them, or cannot be reached.
    pub async fn insert_hits(&mut self, rows: &[HitRow<'_>]) -> sqlx::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        match self {
            Either::Postgres(c) if rows.len() < FEWEST_COPIED => insert_postgres(c, rows).await,
            Either::Postgres(c) => {
                let sql = format!(
                    "copy hits ({}) from stdin with (format binary)",
                    COLUMNS.join(", ")
                );
                let (connection, mut waiting) = c.parts()?;
                let mut copy = waiting.wait(connection.copy_in_raw(&sql)).await?;
                match send_rows(&mut copy, &mut waiting, rows).await {
                    Ok(()) => waiting.wait(copy.finish()).await.map(|_| ()),
                    Err(error) => {
                        waiting.wait(copy.abort("a row could not be sent")).await?;
                        Err(error)
                    }
                }
            }
            Either::Sqlite(c) => insert_sqlite(c, rows).await,
        }
    }
}

/// From this many rows on they are copied.
const FEWEST_COPIED: usize = 256;

/// Rows per message: about 300 KB, so that neither side buffers the whole batch.
const SENT_AT_ONCE: usize = 512;

async fn send_rows(
    copy: &mut PgCopyIn<&mut PgConnection>,
    waiting: &mut Waiting<'_>,
    rows: &[HitRow<'_>],
) -> sqlx::Result<()> {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for part in rows.chunks(SENT_AT_ONCE) {
        for row in part {
            copy_row(row, &mut data);
        }
        waiting.wait(copy.send(data.as_slice())).await?;
        data.clear();
    }
    let end = (-1_i16).to_be_bytes();
    waiting.wait(copy.send(end.as_slice())).await.map(|_| ())
}

/// Rows per statement: few sizes, so that each is prepared once. 64 rows of 35 columns stay well
/// below SQLite's 32,766 placeholders.
const SIZES: [usize; 3] = [64, 8, 1];

/// The rows in runs, each of one of [`SIZES`].
fn runs<'r, 'h>(mut rows: &'r [HitRow<'h>]) -> impl Iterator<Item = (usize, &'r [HitRow<'h>])> {
    SIZES.into_iter().filter_map(move |size| {
        let (run, later) = rows.split_at(rows.len() - rows.len() % size);
        rows = later;
        (!run.is_empty()).then_some((size, run))
    })
}

/// `insert or fail`: see [`crate::store::Bulk::sqlite`].
async fn insert_sqlite(c: &mut SqliteTransaction, rows: &[HitRow<'_>]) -> sqlx::Result<()> {
    for (size, run) in runs(rows) {
        let sql: Arc<str> = values_statement("insert or fail", size, |_| "?".to_owned()).into();
        for part in run.chunks(size) {
            let mut values = SqliteArguments::default();
            for row in part {
                bind_sqlite(row, &mut values).map_err(sqlx::Error::Encode)?;
            }
            let query = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql)), values);
            query.execute(&mut **c).await?;
        }
    }
    Ok(())
}

async fn insert_postgres(c: &mut PgTransaction, rows: &[HitRow<'_>]) -> sqlx::Result<()> {
    for (size, run) in runs(rows) {
        let sql: Arc<str> = values_statement("insert", size, |place| format!("${place}")).into();
        for part in run.chunks(size) {
            let mut values = PgArguments::default();
            for row in part {
                bind_postgres(row, &mut values).map_err(sqlx::Error::Encode)?;
            }
            let query = sqlx::query_with(AssertSqlSafe(Arc::clone(&sql)), values);
            query.execute(&mut **c).await?;
        }
    }
    Ok(())
}

/// `<insert> into hits (…) values (…), …`. On SQLite a place must not be `$1`: that is a name, and
/// for each value that is bound SQLite walks through all names, which made the whole projection
/// five times slower.
fn values_statement(insert: &str, rows: usize, placeholder: fn(usize) -> String) -> String {
    let mut sql = format!("{insert} into hits ({}) values ", COLUMNS.join(", "));
    for place in 0..rows * COLUMNS.len() {
        let before = match (place, place % COLUMNS.len()) {
            (0, _) => "(",
            (_, 0) => "), (",
            _ => ", ",
        };
        let _ = write!(sql, "{before}{}", placeholder(place + 1));
    }
    sql.push(')');
    sql
}

//! Many rows in one statement, written once for both databases.
//!
//! A statement names its rows `{rows}`; on Postgres that becomes `unnest` over one array a column,
//! one round trip and one cached plan for any number of rows. On SQLite it becomes rows of
//! placeholders, in statements of few sizes: one `json_each` over all rows would parse each row's
//! text again for every column of it.

use std::sync::Arc;

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Postgres, Sqlite};
use uuid::Uuid;

use super::Tags;
use crate::model::clock::Micros;
use crate::model::hit::Money;

/// Rows per statement on SQLite: few sizes, so that each is prepared once. 256 rows of 11 columns
/// stay well below its 32,766 placeholders.
const SIZES: [usize; 3] = [256, 16, 1];

/// A query of SQLite with its values.
pub type SqliteQuery<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Columns of equal length.
#[derive(Clone, Debug, Default)]
pub struct Bulk {
    columns: Vec<(&'static str, Column)>,
}

#[derive(Clone, Debug)]
enum Column {
    Big(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Uuid(Vec<Option<Uuid>>),
    Time(Vec<Option<Micros>>),
    Money(Vec<Option<Money>>),
    Json(Vec<String>),
    Tags(Vec<Vec<String>>),
    Bytes(Vec<Vec<u8>>),
}

impl Column {
    /// Postgres' type of the array, and how each element is taken from the rows.
    fn postgres(&self) -> (&'static str, &'static str) {
        match self {
            Self::Big(_) => ("bigint[]", "{}"),
            Self::Text(_) => ("text[]", "{}"),
            Self::Uuid(_) => ("uuid[]", "{}"),
            Self::Time(_) => ("timestamptz[]", "{}"),
            Self::Money(_) => ("numeric[]", "{}"),
            Self::Json(_) => ("text[]", "{}::jsonb"),
            Self::Bytes(_) => ("bytea[]", "{}"),
            // An array of arrays must be rectangular, so lists travel as JSON.
            Self::Tags(_) => (
                "text[]",
                "array(select jsonb_array_elements_text({}::jsonb))",
            ),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Big(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Uuid(values) => values.len(),
            Self::Time(values) => values.len(),
            Self::Money(values) => values.len(),
            Self::Json(values) => values.len(),
            Self::Tags(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    /// Binds one row's value; texts are moved out, so each row is bound once.
    fn bind_sqlite<'q>(&mut self, row: usize, query: SqliteQuery<'q>) -> SqliteQuery<'q> {
        match self {
            Self::Big(values) => query.bind(values[row]),
            Self::Text(values) => query.bind(values[row].take()),
            Self::Uuid(values) => query.bind(values[row]),
            Self::Time(values) => query.bind(values[row]),
            Self::Money(values) => query.bind(values[row]),
            Self::Json(values) => query.bind(std::mem::take(&mut values[row])),
            Self::Tags(values) => query.bind(Tags(std::mem::take(&mut values[row]))),
            Self::Bytes(values) => query.bind(std::mem::take(&mut values[row])),
        }
    }
}

macro_rules! column {
    ($(#[$doc:meta])* $name:ident, $variant:ident, $type:ty) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, name: &'static str, values: impl IntoIterator<Item = $type>) -> Self {
            self.columns.push((name, Column::$variant(values.into_iter().map(Into::into).collect())));
            self
        }
    };
}

impl Bulk {
    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    column!(
        /// A column of 64-bit integers.
        big, Big, i64
    );
    column!(
        /// A column of 64-bit integers or nulls.
        big_or_null, Big, Option<i64>
    );
    column!(
        /// A column of texts.
        text, Text, String
    );
    column!(
        /// A column of texts or nulls.
        text_or_null, Text, Option<String>
    );
    column!(
        /// A column of UUIDs.
        uuid, Uuid, Uuid
    );
    column!(
        /// A column of UUIDs or nulls.
        uuid_or_null, Uuid, Option<Uuid>
    );
    column!(
        /// A column of times.
        time, Time, Micros
    );
    column!(
        /// A column of times or nulls.
        time_or_null, Time, Option<Micros>
    );
    column!(
        /// A column of amounts.
        money, Money, Money
    );
    column!(
        /// A column of amounts or nulls.
        money_or_null, Money, Option<Money>
    );
    column!(
        /// A column of JSON documents.
        json, Json, String
    );
    column!(
        /// A column of lists of texts.
        tags, Tags, Vec<String>
    );

    column!(
        /// A column of bytes.
        bytes, Bytes, Vec<u8>
    );

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The statement and its values for Postgres. `sql` is ours, never a user's.
    ///
    /// # Errors
    /// A value cannot be encoded.
    pub fn postgres<'q>(
        self,
        sql: &str,
    ) -> sqlx::Result<sqlx::query::Query<'q, Postgres, PgArguments>> {
        let mut values = PgArguments::default();
        let sql = self.add_to(&mut values, sql)?;
        Ok(sqlx::query_with(AssertSqlSafe(sql), values))
    }

    /// Adds the values to those of a larger statement for Postgres, and returns this part of it.
    ///
    /// # Errors
    /// A value cannot be encoded.
    pub(super) fn add_to(self, values: &mut PgArguments, sql: &str) -> sqlx::Result<String> {
        let (mut arrays, mut names, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        let before = values.len();
        for (index, (name, column)) in self.columns.iter().enumerate() {
            let (array, element) = column.postgres();
            arrays.push(format!("${}::{array}", before + index + 1));
            names.push(*name);
            taken.push(format!(
                "{} as {name}",
                element.replace("{}", &format!("u.{name}"))
            ));
        }
        for (_, column) in self.columns {
            match column {
                Column::Big(column) => values.add(column),
                Column::Text(column) => values.add(column),
                Column::Uuid(column) => values.add(column),
                Column::Time(column) => values.add(column),
                Column::Money(column) => values.add(column),
                Column::Json(column) => values.add(column),
                Column::Bytes(column) => values.add(column),
                Column::Tags(column) => values.add(
                    column
                        .iter()
                        .map(|tags| serde_json::to_string(tags).unwrap_or_default())
                        .collect::<Vec<_>>(),
                ),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        let rows = format!(
            "(select {} from unnest({}) as u({})) as rows",
            taken.join(", "),
            arrays.join(", "),
            names.join(", ")
        );
        Ok(sql.replace("{rows}", &rows))
    }

    /// The statements and their values for SQLite, to be run one after the other. One that is
    /// refused leaves the rows before the refused one written (`or fail`): the caller rolls back.
    /// So that a statement could be undone by itself, SQLite would copy every page it changes.
    pub fn sqlite<'q>(mut self, sql: &str) -> impl Iterator<Item = SqliteQuery<'q>> {
        let len = self.len();
        let mut from = 0;
        let mut statement: (usize, Arc<str>) = (0, Arc::from(""));
        let sql = match (sql.strip_prefix("insert "), sql.strip_prefix("update ")) {
            (Some(rest), _) => format!("insert or fail {rest}"),
            (_, Some(rest)) => format!("update or fail {rest}"),
            _ => sql.to_owned(),
        };
        std::iter::from_fn(move || {
            let size = SIZES.into_iter().find(|size| *size <= len - from)?;
            if statement.0 != size {
                let rows = self.values(size);
                statement = (size, Arc::from(sql.replace("{rows}", &rows)));
            }
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&statement.1)));
            for row in from..from + size {
                for (_, column) in &mut self.columns {
                    query = column.bind_sqlite(row, query);
                }
            }
            from += size;
            Some(query)
        })
    }

    /// `{rows}` for SQLite: as many rows of placeholders.
    fn values(&self, size: usize) -> String {
        let names: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (name, _))| format!("column{} as {name}", index + 1))
            .collect();
        let row = format!("({})", vec!["?"; self.columns.len()].join(","));
        format!(
            "(select {} from (values {})) as rows",
            names.join(", "),
            vec![row; size].join(",")
        )
    }
}

/// Runs a bulk statement in a transaction: `execute_bulk!(tx, bulk, "insert … select … from {rows}
/// where true …")`.
#[macro_export]
macro_rules! execute_bulk {
    ($tx:expr, $bulk:expr, $sql:expr) => {{
        let bulk: $crate::store::Bulk = $bulk;
        match $tx {
            _ if bulk.is_empty() => Ok(0),
            $crate::store::Either::Postgres(c) => match bulk.postgres($sql) {
                Ok(query) => query
                    .execute(&mut **c)
                    .await
                    .map(|done| done.rows_affected()),
                Err(error) => Err(error),
            },
            $crate::store::Either::Sqlite(c) => {
                let (mut affected, mut failure) = (0, None);
                for part in bulk.sqlite($sql) {
                    match part.execute(&mut **c).await {
                        Ok(done) => affected += done.rows_affected(),
                        Err(error) => {
                            failure = Some(error);
                            break;
                        }
                    }
                }
                failure.map_or(Ok(affected), Err)
            }
        }
    }};
}

/// Runs a bulk query in a transaction and reads each row with the same body: `fetch_bulk!(tx, bulk,
/// "select …", row => …)`.
#[macro_export]
macro_rules! fetch_bulk {
    ($tx:expr, $bulk:expr, $sql:expr, $row:ident => $read:expr) => {{
        let bulk: $crate::store::Bulk = $bulk;
        match $tx {
            _ if bulk.is_empty() => Ok(Vec::new()),
            $crate::store::Either::Postgres(c) => match bulk.postgres($sql) {
                Ok(query) => query.fetch_all(&mut **c).await.and_then(|rows| {
                    rows.iter()
                        .map(|$row| Ok::<_, sqlx::Error>($read))
                        .collect::<Result<Vec<_>, _>>()
                }),
                Err(error) => Err(error),
            },
            $crate::store::Either::Sqlite(c) => {
                let (mut read, mut failure) = (Vec::with_capacity(bulk.len()), None);
                for part in bulk.sqlite($sql) {
                    let rows = part.fetch_all(&mut **c).await.and_then(|rows| {
                        rows.iter()
                            .map(|$row| Ok::<_, sqlx::Error>($read))
                            .collect::<Result<Vec<_>, _>>()
                    });
                    match rows {
                        Ok(rows) => read.extend(rows),
                        Err(error) => {
                            failure = Some(error);
                            break;
                        }
                    }
                }
                failure.map_or(Ok(read), Err)
            }
        }
    }};
}

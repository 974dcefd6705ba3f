//! Many rows in one statement, written once for both databases.
//!
//! A statement names its rows `{rows}`; on Postgres that becomes `unnest` over one array a column, on SQLite `json_each` over one JSON text:
//! one round trip and one cached plan for any number of rows.

use sqlx::{AssertSqlSafe, Postgres, Sqlite};
use uuid::Uuid;

use crate::clock::Micros;
use crate::hit::Money;

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
}

impl Column {
    /// How Postgres types the array, and how each element is taken from the rows.
    fn postgres(&self) -> (&'static str, &'static str) {
        match self {
            Self::Big(_) => ("bigint[]", "{}"),
            Self::Text(_) => ("text[]", "{}"),
            Self::Uuid(_) => ("uuid[]", "{}"),
            Self::Time(_) => ("timestamptz[]", "{}"),
            Self::Money(_) => ("numeric[]", "{}"),
            Self::Json(_) => ("text[]", "{}::jsonb"),
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
        }
    }

    fn json(&self, row: usize) -> serde_json::Value {
        use serde_json::Value;
        let text = |text: &String| Value::from(text.as_str());
        match self {
            Self::Big(values) => values[row].map_or(Value::Null, Value::from),
            Self::Text(values) => values[row].as_ref().map_or(Value::Null, text),
            Self::Uuid(values) => {
                values[row].map_or(Value::Null, |id| Value::from(id.simple().to_string()))
            }
            Self::Time(values) => values[row].map_or(Value::Null, |at| Value::from(at.0)),
            Self::Money(values) => values[row].map_or(Value::Null, |amount| Value::from(amount.0)),
            Self::Json(values) => text(&values[row]),
            Self::Tags(values) => {
                Value::from(serde_json::to_string(&values[row]).unwrap_or_default())
            }
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
        /// A column of JSON documents.
        json, Json, String
    );
    column!(
        /// A column of lists of texts.
        tags, Tags, Vec<String>
    );

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The statement and its values for Postgres. `sql` is ours, never a user's.
    pub fn postgres<'q>(
        self,
        sql: &str,
    ) -> sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments> {
        let (mut arrays, mut names, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (name, column)) in self.columns.iter().enumerate() {
            let (array, element) = column.postgres();
            arrays.push(format!("${}::{array}", index + 1));
            names.push(*name);
            taken.push(format!(
                "{} as {name}",
                element.replace("{}", &format!("u.{name}"))
            ));
        }
        let rows = format!(
            "(select {} from unnest({}) as u({})) as rows",
            taken.join(", "),
            arrays.join(", "),
            names.join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(sql.replace("{rows}", &rows)));
        for (_, column) in self.columns {
            query = match column {
                Column::Big(values) => query.bind(values),
                Column::Text(values) => query.bind(values),
                Column::Uuid(values) => query.bind(values),
                Column::Time(values) => query.bind(values),
                Column::Money(values) => query.bind(values),
                Column::Json(values) => query.bind(values),
                Column::Tags(values) => query.bind(
                    values
                        .iter()
                        .map(|tags| serde_json::to_string(tags).unwrap_or_default())
                        .collect::<Vec<_>>(),
                ),
            };
        }
        query
    }

    /// The statement and its values for SQLite.
    pub fn sqlite<'q>(
        self,
        sql: &str,
    ) -> sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments> {
        let taken: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, (name, column))| match column {
                Column::Uuid(_) => format!("unhex(value ->> {index}) as {name}"),
                _ => format!("value ->> {index} as {name}"),
            })
            .collect();
        let rows = format!("(select {} from json_each($1)) as rows", taken.join(", "));
        let json: Vec<serde_json::Value> = (0..self.len())
            .map(|row| {
                self.columns
                    .iter()
                    .map(|(_, column)| column.json(row))
                    .collect()
            })
            .collect();
        sqlx::query(AssertSqlSafe(sql.replace("{rows}", &rows)))
            .bind(serde_json::Value::from(json).to_string())
    }
}

/// Runs a bulk statement in a transaction: `execute_bulk!(tx, bulk, "insert … select … from {rows} where true …")`.
#[macro_export]
macro_rules! execute_bulk {
    ($tx:expr, $bulk:expr, $sql:expr) => {{
        let bulk: $crate::store::Bulk = $bulk;
        match $tx {
            _ if bulk.is_empty() => Ok(0),
            $crate::store::Either::Postgres(c) => bulk
                .postgres($sql)
                .execute(&mut **c)
                .await
                .map(|done| done.rows_affected()),
            $crate::store::Either::Sqlite(c) => bulk
                .sqlite($sql)
                .execute(&mut **c)
                .await
                .map(|done| done.rows_affected()),
        }
    }};
}

/// Runs a bulk query in a transaction and reads each row with the same body: `fetch_bulk!(tx, bulk, "select …", row => …)`.
#[macro_export]
macro_rules! fetch_bulk {
    ($tx:expr, $bulk:expr, $sql:expr, $row:ident => $read:expr) => {{
        let bulk: $crate::store::Bulk = $bulk;
        match $tx {
            _ if bulk.is_empty() => Ok(Vec::new()),
            $crate::store::Either::Postgres(c) => bulk
                .postgres($sql)
                .fetch_all(&mut **c)
                .await
                .and_then(|rows| {
                    rows.iter()
                        .map(|$row| Ok::<_, sqlx::Error>($read))
                        .collect::<Result<Vec<_>, _>>()
                }),
            $crate::store::Either::Sqlite(c) => bulk
                .sqlite($sql)
                .fetch_all(&mut **c)
                .await
                .and_then(|rows| {
                    rows.iter()
                        .map(|$row| Ok::<_, sqlx::Error>($read))
                        .collect::<Result<Vec<_>, _>>()
                }),
        }
    }};
}

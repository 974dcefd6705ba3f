//! Several look-ups in one round trip; see [`super::writes`] for why.
//!
//! Each part looks its own rows up and answers in one form: which row it is, a number and bytes. On
//! Postgres all parts are one statement, those without rows too: so its text is always the same,
//! and the server parses and plans it once.

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Bulk, Either, Tx};
use crate::{fetch_bulk, from_row};

/// What was found for a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The row's number, as it was looked up by.
    pub(crate) number: i64,
    /// What the part's statement says.
    pub(crate) value: i64,
    /// The same; may be none.
    pub(crate) bytes: Option<Vec<u8>>,
}

from_row!(Found, row => { number, value, bytes });

/// Look-ups to be sent together.
#[derive(Debug, Default)]
pub(crate) struct LookUps {
    parts: Vec<(Bulk, &'static str)>,
}

impl LookUps {
    /// Adds rows, which get a column `number` from 0 on, and the statement that looks them up in
    /// `{rows}`: it selects `number`, `value` and `bytes`. `{none}` are no bytes, `{uuid}(…)` those
    /// of a UUID.
    pub(crate) fn and(mut self, rows: Bulk, sql: &'static str) -> Self {
        let numbers = 0..rows.len() as i64;
        self.parts.push((rows.big("number", numbers), sql));
        self
    }

    /// What was found, part by part.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn fetch<const PARTS: usize>(
        self,
        tx: &mut Tx,
    ) -> sqlx::Result<[Vec<Found>; PARTS]> {
        let mut found: [Vec<Found>; PARTS] = std::array::from_fn(|_| Vec::new());
        if let Either::Sqlite(_) = tx {
            for ((rows, sql), found) in self.parts.into_iter().zip(&mut found) {
                let sql = sql.replace("{none}", "null").replace("{uuid}", "");
                *found = fetch_bulk!(&mut *tx, rows, &sql, row => Found {
                    number: row.try_get("number")?,
                    value: row.try_get("value")?,
                    bytes: row.try_get("bytes")?,
                })?;
            }
            return Ok(found);
        }
        let Either::Postgres(c) = tx else {
            return Ok(found);
        };
        if self.parts.iter().all(|(rows, _)| rows.is_empty()) {
            return Ok(found);
        }
        let mut values = PgArguments::default();
        let mut parts = Vec::with_capacity(self.parts.len());
        for (part, (rows, sql)) in self.parts.into_iter().enumerate() {
            let sql = sql
                .replace("{none}", "null::bytea")
                .replace("{uuid}", "uuid_send");
            let sql = rows.add_to(&mut values, &sql)?;
            parts.push(format!(
                "select {part}::bigint as part, number, value::bigint as value, bytes
                 from ({sql}) as part_{part}"
            ));
        }
        let sql = AssertSqlSafe(parts.join(" union all "));
        let rows = sqlx::query_with(sql, values).fetch_all(&mut **c).await?;
        for row in &rows {
            let part: i64 = row.try_get("part")?;
            if let Some(found) = usize::try_from(part)
                .ok()
                .and_then(|part| found.get_mut(part))
            {
                found.push(sqlx::FromRow::from_row(row)?);
            }
        }
        Ok(found)
    }
}

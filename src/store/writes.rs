//! Writes whose answers nobody needs, in one round trip.
//!
//! A transaction that has its turn keeps all other servers waiting, and with the database far away
//! nearly all of that time is round trips. So what it writes last is collected here: on Postgres
//! all of it is one statement. Its parts see the database as it was before, so none may read or
//! change a row that another writes, and what is to be read again is sent before. A part without
//! rows is sent too: so the text is always the same, and the server parses and plans it once.
//!
//! SQLite has no round trips: there everything is written at once.

use std::borrow::Cow;

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Postgres};

use super::{Bulk, Either, Tx};
use crate::execute_bulk;

/// Statements that are yet to be sent.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Writes {
    waiting: Vec<(Bulk, Cow<'static, str>)>,
}

impl Writes {
    /// Adds a statement; see [`execute_bulk!`](crate::execute_bulk).
    ///
    /// # Errors
    /// SQLite refuses.
    pub(crate) async fn add(
        &mut self,
        tx: &mut Tx,
        rows: Bulk,
        sql: impl Into<Cow<'static, str>>,
    ) -> sqlx::Result<()> {
        let sql = sql.into();
        match tx {
            Either::Sqlite(_) if rows.is_empty() => Ok(()),
            Either::Postgres(_) => {
                self.waiting.push((rows, sql));
                Ok(())
            }
            Either::Sqlite(_) => execute_bulk!(tx, rows, &sql).map(|_| ()),
        }
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The database refuses, or cannot be reached.
    pub(crate) async fn send(&mut self, tx: &mut Tx) -> sqlx::Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.iter().all(|(rows, _)| rows.is_empty()) {
            return Ok(());
        }
        let (Either::Postgres(c), Some((rows, sql))) = (tx, waiting.pop()) else {
            return Ok(());
        };
        let mut whole = String::new();
        let mut query = PgArguments::default();
        let mut parts = Vec::with_capacity(waiting.len());
        for (number, (rows, sql)) in waiting.into_iter().enumerate() {
            let sql = rows.add_to(&mut query, &sql)?;
            parts.push(format!("write_{number} as ({sql})"));
        }
        if !parts.is_empty() {
            whole = format!("with {} ", parts.join(", "));
        }
        whole.push_str(&rows.add_to(&mut query, &sql)?);
        sqlx::query_with::<Postgres, _>(AssertSqlSafe(whole), query)
            .execute(&mut **c)
            .await
            .map(|_| ())
    }
}

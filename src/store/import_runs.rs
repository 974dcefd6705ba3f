//! Imports as they were run, and how far each came.

use super::scan::{Part, Wanted};
use super::{Store, Tx};
use crate::model::clock::Micros;
use crate::{both, from_row};

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRun {
    /// From 1 on.
    pub id: i64,
    /// What the file held: `adobe-urls` and the like.
    pub source: String,
    /// The file's name.
    pub file: String,
    /// `running`, `done` or `failed`. One whose process was killed stays `running`.
    pub outcome: String,
    /// Why it ended before the file did.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Micros,
    /// When it said how far it is, last.
    pub told_at: Micros,
    /// How far it is.
    pub rows: ImportedRows,
}

/// What became of an import's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportedRows {
    /// Read.
    pub rows: i64,
    /// New.
    pub made: i64,
    /// Different.
    pub changed: i64,
    /// The same.
    pub unchanged: i64,
    /// Nothing to import.
    pub ignored: i64,
    /// Refused.
    pub refused: i64,
    /// Deliveries made because rows name them.
    pub deliveries_made: i64,
}

from_row!(ImportedRows, row => { made, changed, unchanged, ignored, refused, deliveries_made } {
    rows: row.try_get("row_count")?,
});
from_row!(ImportRun, row => { id, source, file, outcome, error, started_at, told_at } {
    rows: ImportedRows::from_row(row)?,
});

impl Store {
    /// Imports, the latest first.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn import_runs(&self, wanted: Wanted) -> sqlx::Result<Part<ImportRun>> {
        let sql = "select id, source, file, outcome, error, started_at, told_at, row_count, made,
                   changed, unchanged, ignored,
                          refused, deliveries_made
                   from imports where id < $1 order by id desc limit $2";
        let before = wanted.before.unwrap_or(i64::MAX);
        let rows: Vec<ImportRun> = both!(self.reader(), pool => sqlx::query_as(sql).bind(before).bind(wanted.limit)
            .fetch_all(pool).await)?;
        let last = rows.last().map(|run| run.id);
        let next = last.filter(|_| rows.len() as i64 == wanted.limit);
        Ok(Part { rows, next })
    }

    /// Records that an import begins; returns its number.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn begin_import(&self, source: &str, file: &str, now: Micros) -> sqlx::Result<i64> {
        let mut tx = self.begin().await?;
        let id = tx.take_numbers("import", 1).await?;
        let sql = "insert into imports (id, source, file, outcome, started_at, told_at, row_count,
                   made, changed, unchanged,
                                        ignored, refused, deliveries_made)
                   values ($1, $2, $3, 'running', $4, $4, 0, 0, 0, 0, 0, 0, 0)";
        both!(&mut tx, c => sqlx::query(sql).bind(id).bind(source).bind(file).bind(now).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await?;
        Ok(id)
    }

    /// Records how far an import is.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn tell_import(&self, id: i64, rows: &ImportedRows, now: Micros) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        tx.tell_import(id, rows, now).await?;
        tx.commit().await
    }

    /// Records how an import ended.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn end_import(
        &self,
        id: i64,
        rows: &ImportedRows,
        error: Option<&str>,
        now: Micros,
    ) -> sqlx::Result<()> {
        let outcome = if error.is_none() { "done" } else { "failed" };
        let mut tx = self.begin().await?;
        tx.tell_import(id, rows, now).await?;
        let sql = "update imports set outcome = $2, error = $3 where id = $1";
        both!(&mut tx, c => sqlx::query(sql).bind(id).bind(outcome).bind(error).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await
    }
}

impl Tx {
    async fn tell_import(&mut self, id: i64, rows: &ImportedRows, now: Micros) -> sqlx::Result<()> {
        let sql = "update imports set told_at = $2, row_count = $3, made = $4, changed = $5,
                   unchanged = $6, ignored = $7,
                                      refused = $8, deliveries_made = $9
                   where id = $1";
        both!(self, c => sqlx::query(sql).bind(id).bind(now).bind(rows.rows).bind(rows.made).bind(rows.changed)
            .bind(rows.unchanged).bind(rows.ignored).bind(rows.refused).bind(rows.deliveries_made)
            .execute(&mut **c).await.map(|_| ()))
    }
}

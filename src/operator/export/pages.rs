//! Rows by rising keys, a page at a time: each page is a query of its own that goes on after the
//! last row of the one before.

use std::future::Future;

use super::{Format, PAGE};
use crate::store::Result;

/// What is exported: a table read in the order of its keys.
pub trait Table {
    /// A row.
    type Row;
    /// The key that rows are ordered by.
    type Key: Copy;
    /// The key before all rows.
    const START: Self::Key;

    /// The next rows after a key; empty at the end.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    fn rows_after(
        &self,
        after: Self::Key,
        most: i64,
    ) -> impl Future<Output = Result<Vec<Self::Row>>>;

    /// The key of a row.
    fn key(row: &Self::Row) -> Self::Key;

    /// Appends the header of a CSV.
    fn write_header(&self, out: &mut Vec<u8>);

    /// Appends a row as a line of a CSV.
    fn write_cells(&self, row: &Self::Row, out: &mut Vec<u8>);

    /// Appends a row as a line of JSON.
    fn write_object(&self, row: Self::Row, out: &mut Vec<u8>);
}

/// The progress of a table's export.
#[derive(Debug)]
pub struct Pages<T: Table> {
    table: T,
    format: Format,
    after: T::Key,
    told: u64,
    is_begun: bool,
    is_done: bool,
}

impl<T: Table> Pages<T> {
    /// From the lowest key on.
    pub fn of(table: T, format: Format) -> Self {
        Self {
            table,
            format,
            after: T::START,
            told: 0,
            is_begun: false,
            is_done: false,
        }
    }

    /// Rows told so far.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// The next lines; `None` after the last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_done {
            return Ok(None);
        }
        let rows = self.table.rows_after(self.after, PAGE).await?;
        let mut chunk = Vec::new();
        if !self.is_begun && self.format == Format::Csv {
            self.table.write_header(&mut chunk);
        }
        self.is_begun = true;
        self.is_done = rows.is_empty();
        self.told += rows.len() as u64;
        self.after = rows.last().map_or(self.after, T::key);
        for row in rows {
            match self.format {
                Format::Csv => self.table.write_cells(&row, &mut chunk),
                Format::Ndjson => self.table.write_object(row, &mut chunk),
            }
        }
        Ok(Some(chunk))
    }
}

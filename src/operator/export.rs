//! Exports: what is stored, as lines of NDJSON or CSV, for the API's `GET /hits` and for `sillage
//! export`.
//!
//! ```text
//!  store ──► hits | contacts | deliveries, links ──► a row's line ──► NDJSON | CSV
//!            a page at a time                        cells
//! ```
//!
//! Promises: memory does not grow with what is exported; nobody holds a snapshot or a lock while a
//! slow reader reads, as each page is a short query that goes on after the last row of the one
//! before; no cell of a CSV is a formula. An export that ends early has no last cursor, or fails:
//! it never looks whole.
//!
//! As NDJSON a row is what the API tells of it: see [`super::wire`].

mod cell;
mod contacts;
mod hit_line;
mod hits;
mod pages;
mod sent;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use cell::read_csv_text;
pub(in crate::operator) use cell::{Cell, write_csv};
pub use contacts::Contacts;
pub use hit_line::HitLine;
pub use hits::{HitStream, WantedHits, whose_hits};
pub use pages::{Pages, Table};
pub use sent::{Deliveries, Links};

/// Maximum number of rows of a query: they are in memory at once.
const PAGE: i64 = 1_000;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HitsFormat)]
pub enum Format {
    /// A JSON object a line.
    #[default]
    Ndjson,
    /// RFC 4180, UTF-8, with a header row; lines end with LF.
    Csv,
}

/// Appends a value as a line of JSON.
pub(in crate::operator) fn write_json(line: &impl Serialize, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

//! Hits in the order of storage, as a stream of any length.
//!
//! The end is fixed when the stream is opened, so it ends while hits go on arriving. It has a
//! cursor then: after that cursor the next stream goes on with what has been stored since. NDJSON
//! tells it in its last line; a CSV holds rows and nothing else, since no importer knows what to do
//! with another line: see [`HitStream::cursor`]. `seq` in every line is a cursor too: where a
//! stream breaks off without its end (the database went away), the reader goes on after the last
//! line it has. With a filter, the cursor of a stream that came to the end is the end's and not
//! that of the last hit which matched: the next stream does not search the same stretch again.
//!
//! A hit is exported once. If a value is filled in later (the person of an anonymous hit, when the
//! visitor is identified), the hit is not exported again.

use uuid::Uuid;

use super::hit_line::{HitLine, csv_header};
use super::{Format, PAGE, write_json};
use crate::model::hit::VisitorId;
use crate::store::hits::{HitFilter, PageEnd, StoredHit, Whose};
use crate::store::{Result, Store};

/// Which hits, and how.
#[derive(Clone, Debug, Default)]
pub struct WantedHits {
    /// Only these.
    pub filter: HitFilter,
    /// NDJSON or CSV.
    pub format: Format,
    /// The previous stream's cursor; 0 is the start.
    pub after: i64,
    /// Most hits; `None` means all.
    pub limit: Option<i64>,
}

/// Whose hits an id stands for: a contact's, a former one's or a visitor's. An unknown id has no
/// hits yet, and the cursor stays valid for when it has.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn whose_hits(store: &Store, id: Uuid) -> Result<Whose> {
    match store.find_person(id).await? {
        Some(person) => store.hits_of(person).await,
        None => Ok(Whose::Visitor(VisitorId(id))),
    }
}

/// How far a stream is.
#[derive(Debug)]
pub struct HitStream {
    store: Store,
    filter: HitFilter,
    format: Format,
    /// Hits up to here have been streamed or do not match.
    after: i64,
    until: i64,
    /// Hits that may still be streamed.
    left: i64,
    /// Hits of the next query.
    rows: i64,
    told: u64,
    is_begun: bool,
    is_done: bool,
}

impl HitStream {
    /// Fixes the end: everything stored by now.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn open(store: Store, wanted: WantedHits) -> Result<Self> {
        let until = store.last_seq().await?;
        Ok(Self {
            store,
            filter: wanted.filter,
            format: wanted.format,
            after: wanted.after,
            until,
            left: wanted.limit.unwrap_or(i64::MAX),
            rows: PAGE,
            told: 0,
            is_begun: false,
            is_done: false,
        })
    }

    /// Hits told so far.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Where the next stream continues; `None` before this one has ended.
    pub fn cursor(&self) -> Option<i64> {
        self.is_done.then_some(self.after)
    }

    /// The next lines; `None` after the last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_done {
            return Ok(None);
        }
        let rows = self.rows.min(self.left);
        let page = self
            .store
            .hits_between(&self.filter, self.after, self.until, rows)
            .await?;
        let mut chunk = Vec::with_capacity(page.hits.len() * 800);
        if !self.is_begun && self.format == Format::Csv {
            chunk.extend_from_slice(csv_header().as_bytes());
        }
        self.is_begun = true;
        for hit in &page.hits {
            self.write_hit(hit, &mut chunk);
        }
        let told = page.hits.len() as i64;
        self.left -= told;
        self.told += told as u64;
        self.after = self.after.max(page.reached);
        // A page that its size ended says how many such hits fit: asking for more would make the
        // database send them for nothing.
        self.rows = match page.end {
            PageEnd::Bytes => told.max(1),
            _ => (self.rows * 2).min(PAGE),
        };
        self.is_done = page.is_last() || self.left == 0;
        if self.is_done && self.format == Format::Ndjson {
            let line = format!("{{\"cursor\":\"{}\"}}\n", self.after);
            chunk.extend_from_slice(line.as_bytes());
        }
        Ok(Some(chunk))
    }

    fn write_hit(&self, hit: &StoredHit, chunk: &mut Vec<u8>) {
        match self.format {
            Format::Ndjson => write_json(&HitLine(hit), chunk),
            Format::Csv => HitLine(hit).write_csv(chunk),
        }
    }
}

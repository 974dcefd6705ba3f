//! `GET /api/v1/hits`: hits in the order of storage, as a stream of any length at constant memory.
//!
//! The end is fixed when the request arrives, so a stream ends while hits go on arriving. The last line is the cursor: `after=` that cursor goes
//! on with what has been stored since. `seq` in every line is a cursor too: where a stream breaks off without its last line (the
//! database went away), the reader goes on after the last line it has. With a filter, the cursor of a stream that came to the end is the end's
//! and not that of the last hit which matched: the next request does not search the same stretch again.
//!
//! A hit is told once. What is filled in later (the person of an anonymous hit, when the visitor is identified) is not told again.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::line::{HitLine, csv_header};
use crate::hit::{Kind, VisitorId};
use crate::store::StoreError;
use crate::store::stored_hits::{HitFilter, StoredHit, Whose};
use crate::web::App;
use crate::web::api::json::{ApiQuery, Cursor, Id};
use crate::web::error::Problem;

/// Hits of an answer where no limit is given.
const USUAL_LIMIT: i64 = 1_000;
/// Most hits of an answer.
const MOST_LIMIT: i64 = 1_000_000;
/// Most hits of a query: its rows are in memory at once.
const PAGE: i64 = 1_000;

/// The query string.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default, deserialize_with = "cursor_or_start")]
    after: Option<Cursor>,
    limit: Option<i64>,
    delivery_id: Option<Id>,
    contact_id: Option<Uuid>,
    kind: Option<Kind>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Ndjson,
    Csv,
}

/// `after=` with nothing behind it is the start: what a script sends in its first round.
fn cursor_or_start<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cursor>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    Cursor::deserialize(serde::de::value::StringDeserializer::new(text)).map(Some)
}

/// Streams hits: `?after=<cursor>&limit=&delivery_id=&contact_id=&kind=&format=ndjson|csv`. `contact_id` may be a former id or a visitor's.
pub async fn list_hits(
    State(app): State<Arc<App>>,
    ApiQuery(wanted): ApiQuery<Wanted>,
) -> Result<Response, Problem> {
    let limit = wanted.limit.unwrap_or(USUAL_LIMIT);
    if !(1..=MOST_LIMIT).contains(&limit) {
        return Err(Problem::field(
            "limit",
            format_args!("is not from 1 to {MOST_LIMIT}"),
        ));
    }
    let store = &app.store;
    let whose = match wanted.contact_id {
        None => None,
        Some(id) => match store
            .find_person(id)
            .await
            .map_err(|error| Problem::database(&error))?
        {
            Some(person) => Some(
                store
                    .hits_of(person)
                    .await
                    .map_err(|error| Problem::database(&error))?,
            ),
            // Nobody yet: no hits, and the cursor is right when there are some.
            None => Some(Whose::Visitor(VisitorId(id))),
        },
    };
    let filter = HitFilter {
        delivery: wanted.delivery_id.map(Into::into),
        whose,
        kind: wanted.kind,
    };
    let until = store
        .last_seq()
        .await
        .map_err(|error| Problem::database(&error))?;
    let mut reading = Reading {
        app: Arc::clone(&app),
        filter,
        format: wanted.format,
        after: wanted.after.map_or(0, |cursor| cursor.0),
        until,
        left: limit,
        rows: PAGE,
        is_done: false,
    };
    // Before the status is sent: a database that is away is a 503, not a stream that breaks off.
    let first = reading
        .next_chunk()
        .await
        .map_err(|error| Problem::database(&error))?;
    let head = match wanted.format {
        Format::Ndjson => Vec::new(),
        Format::Csv => csv_header().into_bytes(),
    };
    let first = stream::iter([Ok(Bytes::from(head)), Ok(first)]);
    let rest = stream::try_unfold(reading, |mut reading| async move {
        if reading.is_done {
            return Ok(None);
        }
        match reading.next_chunk().await {
            Ok(chunk) => Ok(Some((chunk, reading))),
            Err(error) => {
                tracing::error!(%error, "a stream of hits broke off in the database");
                Err(std::io::Error::other("the database does not answer"))
            }
        }
    });
    let content_type = match wanted.format {
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv; charset=utf-8",
    };
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(first.chain(rest))).into_response())
}

/// How far a stream is.
struct Reading {
    app: Arc<App>,
    filter: HitFilter,
    format: Format,
    /// The hits up to here have been told or do not match.
    after: i64,
    until: i64,
    /// Hits that may still be told.
    left: i64,
    /// Hits of the next query.
    rows: i64,
    is_done: bool,
}

impl Reading {
    async fn next_chunk(&mut self) -> Result<Bytes, StoreError> {
        let rows = self.rows.min(self.left);
        let page = self
            .app
            .store
            .hits_between(&self.filter, self.after, self.until, rows)
            .await?;
        let mut chunk = Vec::with_capacity(page.hits.len() * 800);
        for hit in &page.hits {
            self.write_hit(hit, &mut chunk);
        }
        let told = page.hits.len() as i64;
        self.left -= told;
        if let Some(last) = page.hits.last() {
            self.after = last.seq;
        }
        if page.is_last {
            self.after = self.after.max(self.until);
        }
        // A page that its size ended says how many such hits fit: asking for more would make the database send them for nothing.
        self.rows = if told < rows {
            told.max(1)
        } else {
            (self.rows * 2).min(PAGE)
        };
        self.is_done = page.is_last || self.left == 0;
        if self.is_done {
            let cursor = self.after;
            let line = match self.format {
                Format::Ndjson => format!("{{\"cursor\":\"{cursor}\"}}\n"),
                Format::Csv => format!("# cursor={cursor}\n"),
            };
            chunk.extend_from_slice(line.as_bytes());
        }
        Ok(Bytes::from(chunk))
    }

    fn write_hit(&self, hit: &StoredHit, chunk: &mut Vec<u8>) {
        match self.format {
            Format::Ndjson => {
                // Writing to a Vec does not fail.
                let _ = serde_json::to_writer(&mut *chunk, &HitLine(hit));
                chunk.push(b'\n');
            }
            Format::Csv => HitLine(hit).write_csv(chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Wanted, String> {
        let uri = format!("/hits?{query}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri)
            .map(|query| query.0)
            .map_err(|error| error.body_text())
    }

    #[test]
    fn a_query_names_the_start_the_end_or_nothing() {
        assert_eq!(read("").unwrap().after, None);
        assert_eq!(read("after=").unwrap().after, None);
        assert_eq!(read("after=0").unwrap().after, Some(Cursor(0)));
        assert_eq!(read("format=csv").unwrap().format, Format::Csv);
        for wrong in [
            "after=-1",
            "after=x",
            "after=9223372036854775808",
            "limit=many",
            "kind=nope",
            "format=xml",
            "delivery_id=0",
            "contact_id=1",
            "delivery=1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cursor_that_is_told_is_taken(seq in 0_i64..) {
            assert_eq!(read(&format!("after={seq}")).unwrap().after, Some(Cursor(seq)));
        }

        #[test]
        fn no_query_panics(text in "[ -~]*") {
            let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            let _ = read(&format!("after={encoded}"));
        }
    }
}

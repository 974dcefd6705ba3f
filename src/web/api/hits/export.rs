//! `GET /api/v1/hits`: hits in the order of storage, as a stream of any length at constant memory.
//! How it goes on and ends is told in [`crate::operator::export`].
//!
//! The cursor of the next answer is the header `X-Next-Cursor` where the first page (1,000 hits, or
//! 1 MB) was all, as it is with the usual limit. It is known only at the end of a longer answer:
//! there it is a trailer field, for clients that say `TE: trailers`. All others take the last line
//! of NDJSON, or `seq` of the last row of a CSV.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, TRAILER};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use crate::model::hit::{Kind, Verdict};
use crate::model::wire::{Id, Time, Uid};
use crate::operator::export::{Format, HitStream, WantedHits, whose_hits};
use crate::store::hits::{HitFilter, Judged};
use crate::store::{self, Store};
use crate::web::AdminState;
use crate::web::api::json::ApiQuery;
use crate::web::api::listing::{self, Cursor};
use crate::web::error::Problem;

/// Hits of an answer if no limit is given.
const USUAL_LIMIT: i64 = 1_000;
/// Most hits of an answer.
const MOST_LIMIT: i64 = 1_000_000;

/// Where the next answer goes on.
pub(in crate::web::api) const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// The query string.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HitsQuery {
    #[serde(default, deserialize_with = "cursor_or_start")]
    #[param(value_type = Option<String>, pattern = "^[0-9]{0,18}$")]
    after: Option<Cursor>,
    limit: Option<i64>,
    #[param(inline)]
    delivery_id: Option<Id>,
    #[param(inline)]
    contact_id: Option<Uid>,
    #[param(inline)]
    kind: Option<Kind>,
    #[param(inline)]
    link_id: Option<Id>,
    #[param(inline)]
    verdict: Option<Verdict>,
    site: Option<String>,
    #[param(inline)]
    from: Option<Time>,
    #[param(inline)]
    to: Option<Time>,
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// `after=` with nothing behind it is the start: what a script sends in its first round.
fn cursor_or_start<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cursor>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    Cursor::deserialize(serde::de::value::StringDeserializer::new(text)).map(Some)
}

/// Streams hits: `?after=<cursor>&limit=&delivery_id=&contact_id=&kind=&link_id=&verdict=&site=
/// &from=&to=&format=ndjson|csv`.
/// `contact_id` may be a former id or a visitor's.
#[utoipa::path(
    get,
    path = "/hits",
    summary = "Reads hits in the order in which they were stored",
    params(HitsQuery),
    responses((status = 200, description = "Lines; the cursor is in the last one, and in `X-Next-Cursor` where the answer is short", content((String = "application/x-ndjson"), (String = "text/csv; charset=utf-8")))),
)]
pub async fn list_hits(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<HitsQuery>,
) -> Result<Response, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_LIMIT, MOST_LIMIT)?;
    let format = wanted.format;
    let (first, hits) = begin(&app.store, wanted, limit)
        .await
        .map_err(|error| Problem::database(&error))?;
    let first_was_all = hits.cursor();
    // None once the trailer is sent.
    let rest = stream::try_unfold(Some(hits), move |hits| async move {
        let Some(mut hits) = hits else {
            return Ok(None);
        };
        match hits.next_chunk().await {
            Ok(Some(chunk)) => Ok(Some((Frame::data(Bytes::from(chunk)), Some(hits)))),
            Ok(None) => Ok(hits
                .cursor()
                .filter(|_| first_was_all.is_none())
                .map(|cursor| (Frame::trailers(next_cursor(cursor)), None))),
            Err(error) => {
                tracing::error!(%error, "the database failed while hits were streamed");
                Err(std::io::Error::other("the database does not answer"))
            }
        }
    });
    let content_type = match format {
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv; charset=utf-8",
    };
    let told = match first_was_all {
        Some(cursor) => next_cursor(cursor),
        None => HeaderMap::from_iter([(TRAILER, HeaderValue::from_static("x-next-cursor"))]),
    };
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    let first = stream::iter([Ok(Frame::data(Bytes::from(first)))]);
    let body = Body::new(StreamBody::new(first.chain(rest)));
    Ok((headers, told, body).into_response())
}

fn next_cursor(cursor: i64) -> HeaderMap {
    HeaderMap::from_iter([(NEXT_CURSOR, HeaderValue::from(cursor))])
}

/// The stream and its first lines, before the status is sent: a database that is away is a 503, not
/// a stream that breaks off.
async fn begin(
    store: &Store,
    wanted: HitsQuery,
    limit: i64,
) -> store::Result<(Vec<u8>, HitStream)> {
    let whose = match wanted.contact_id {
        Some(Uid(id)) => Some(whose_hits(store, id).await?),
        None => None,
    };
    let wanted = WantedHits {
        filter: HitFilter {
            delivery: wanted.delivery_id.map(Into::into),
            whose,
            kind: wanted.kind,
            link: wanted.link_id.map(Into::into),
            judged: wanted.verdict.map(Judged::As),
            // No site's name has a zero byte, and Postgres takes none in a text.
            site: wanted.site.map(|site| site.replace('\0', " ")),
            from: wanted.from.map(|at| at.0),
            to: wanted.to.map(|at| at.0),
        },
        format: wanted.format,
        after: wanted.after.map_or(0, |cursor| cursor.0),
        limit: Some(limit),
    };
    let mut hits = HitStream::open(store.clone(), wanted).await?;
    let first = hits.next_chunk().await?.unwrap_or_default();
    Ok((first, hits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::api::tree::Tree;

    fn read(query: &str) -> Result<HitsQuery, String> {
        HitsQuery::deserialize(&Tree::of_query(query)).map_err(|mistake| mistake.to_string())
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

//! `GET /reports/deliveries/{id}/people`: who is behind a number of a delivery's report, from
//! [`crate::operator::people`].
//!
//! Parts are short, so each is made whole. As CSV and NDJSON they hold rows only: where the next
//! part goes on stands in the header `X-Next-Cursor`, and in `next` of the JSON object.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::deliveries::no_delivery;
use super::hits::export::NEXT_CURSOR;
use super::json::{ApiQuery, PathText};
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use crate::model::hit::DeliveryId;
use crate::model::wire::{self, Id};
use crate::operator::people::{Place, Wanted, What, read_people};
use crate::web::AdminState;
use crate::web::error::Problem;

/// The query string.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeopleQuery {
    what: What,
    link: Option<Id>,
    #[serde(default, deserialize_with = "place")]
    after: Option<Place>,
    limit: Option<i64>,
    #[serde(default)]
    format: Format,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Ndjson,
    Csv,
}

fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Place>, D::Error> {
    let form = "the cursor of an earlier response";
    wire::read(deserializer, form, Place::parse).map(Some)
}

/// `?what=opened|clicked|clickers|bought|nothing|opted_out|machine&link=&after=&limit=&format=`
pub async fn list_people(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    ApiQuery(wanted): ApiQuery<PeopleQuery>,
) -> Result<Response, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let delivery: DeliveryId = path.id("delivery")?.into();
    if wanted.link.is_some() && !wanted.what.may_have_link() {
        let why = "is allowed only with what=clicked, clickers or machine; leave it out";
        return Err(Problem::field("link", why));
    }
    let database = |error| Problem::database(&error);
    if app
        .store
        .delivery(delivery)
        .await
        .map_err(database)?
        .is_none()
    {
        return Err(no_delivery(delivery));
    }
    let part = Wanted {
        delivery,
        what: wanted.what,
        link: wanted.link.map(Into::into),
        after: wanted.after,
        limit,
    };
    let people = read_people(&app.store, &part).await.map_err(database)?;
    let next = people.next.map(Place::text);
    let mut response = match wanted.format {
        Format::Json => Json(json!({ "people": people.people, "next": next })).into_response(),
        Format::Ndjson => {
            ([(CONTENT_TYPE, "application/x-ndjson")], people.ndjson()).into_response()
        }
        Format::Csv => {
            let kind = [(CONTENT_TYPE, "text/csv; charset=utf-8")];
            (kind, people.csv(&app.contacts.unique)).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        headers.insert(NEXT_CURSOR, next);
    }
    Ok(response)
}

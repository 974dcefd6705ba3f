//! `GET /reports/deliveries/{id}/people` and `GET /reports/links/{id}/people`: who is behind a
//! number of a report, from [`crate::operator::people`].
//!
//! Parts are short, so each is made whole. As CSV and NDJSON they hold rows only: where the next
//! part goes on stands in the header `X-Next-Cursor`, and in `next` of the JSON object.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::deliveries::no_delivery;
use super::hits::export::NEXT_CURSOR;
use super::json::{ApiQuery, PathText};
use super::links::no_link;
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::wire::{self, Id};
use crate::operator::people::{
    People, Place, Someone, Wanted, What, read_clickers_of, read_people,
};
use crate::web::AdminState;
use crate::web::error::Problem;

/// The query string.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeopleQuery {
    #[param(inline)]
    what: What,
    #[param(inline)]
    link: Option<Id>,
    #[serde(default, deserialize_with = "place")]
    #[param(inline)]
    after: Option<Place>,
    limit: Option<i64>,
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PeopleFormat)]
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
#[utoipa::path(
    get,
    path = "/reports/deliveries/{id}/people",
    summary = "Lists who is behind a number of a report",
    params(("id" = Id, Path), PeopleQuery),
    responses((status = 200, description = "A part of the list; the cursor is in `X-Next-Cursor` too", content((PeopleList = "application/json"), (String = "application/x-ndjson"), (String = "text/csv; charset=utf-8")))),
)]
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
    Ok(answer(&app, wanted.format, &people))
}

/// The query string of a link's people.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LinkPeopleQuery {
    #[param(inline)]
    what: What,
    #[serde(default, deserialize_with = "place")]
    #[param(inline)]
    after: Option<Place>,
    limit: Option<i64>,
    #[serde(default)]
    #[param(inline)]
    format: Format,
}

/// `?what=clicked|clickers|machine&after=&limit=&format=`: who followed a link; `machine` only
/// where it belongs to a delivery.
#[utoipa::path(
    get,
    path = "/reports/links/{id}/people",
    summary = "Lists who followed a link",
    params(("id" = Id, Path), LinkPeopleQuery),
    responses((status = 200, description = "A part of the list; the cursor is in `X-Next-Cursor` too", content((PeopleList = "application/json"), (String = "application/x-ndjson"), (String = "text/csv; charset=utf-8")))),
)]
pub async fn list_people_of_link(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    ApiQuery(wanted): ApiQuery<LinkPeopleQuery>,
) -> Result<Response, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let id: LinkId = path.id("link")?.into();
    let database = |error| Problem::database(&error);
    let link = app.store.link(id).await.map_err(database)?;
    let link = link.ok_or_else(|| no_link(id))?;
    if !wanted.what.may_have_link() {
        let why = "must be clicked, clickers or machine: these are what a link has people for";
        return Err(Problem::field("what", why));
    }
    let people = match (link.delivery_id, wanted.what) {
        (Some(delivery), what) => {
            let part = Wanted {
                delivery,
                what,
                link: Some(id),
                after: wanted.after,
                limit,
            };
            read_people(&app.store, &part).await
        }
        (None, What::Machine) => {
            return Err(Problem::field(
                "what",
                format_args!(
                    "must be clicked or clickers for a link that belongs to no delivery; GET \
                    /api/v1/hits?link_id={id}&verdict=bot has what machines did"
                ),
            ));
        }
        (None, _) => read_clickers_of(&app.store, id, wanted.after, limit).await,
    };
    Ok(answer(&app, wanted.format, &people.map_err(database)?))
}

/// Persons, messages or hits.
#[derive(Debug, Serialize, ToSchema)]
struct PeopleList<'p> {
    people: &'p [Someone],
    /// `after` for the rest; none where this was all.
    next: Option<&'p str>,
}

/// A part as it was asked for.
fn answer(app: &AdminState, format: Format, people: &People) -> Response {
    let next = people.next.map(Place::text);
    let mut response = match format {
        Format::Json => Json(PeopleList {
            people: &people.people,
            next: next.as_deref(),
        })
        .into_response(),
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
    response
}

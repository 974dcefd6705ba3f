//! What is stored of a person, and its erasure.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::access::Actor;
use super::json::{ApiQuery, NoQuery, PathText};
use super::listing::{self, MOST_ENTRIES, Ranked, USUAL_ENTRIES};
use crate::model::clock::Micros;
use crate::model::hint::quote;
use crate::model::hit::read_uid;
use crate::operator::privacy::{ErasureView, PersonData, erase_person};
use crate::web::AdminState;
use crate::web::error::Problem;

fn id_of(path: &PathText, what: &'static str) -> Result<Uuid, Problem> {
    read_uid(&path.0).ok_or_else(|| nobody(path, what))
}

fn nobody(path: &PathText, what: &'static str) -> Problem {
    Problem::not_found(what, quote(&path.0))
}

/// `GET /contacts/{id}/data`: every row that is stored of a person, a JSON object a line with the
/// name of its table.
#[utoipa::path(
    get,
    path = "/contacts/{id}/data",
    summary = "Tells everything that is stored of a person, as NDJSON",
    params(("id" = String, Path, description = "Of the contact, of one that was merged into it, or of a browser")),
    responses((status = 200, description = "An object a line; `table` says where it is stored", content_type = "application/x-ndjson", body = String)),
)]
pub async fn show_data(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    NoQuery: NoQuery,
) -> Result<Response, Problem> {
    let id = id_of(&path, "contact")?;
    let found = app.store.find_person(id).await;
    let person = found
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(|| nobody(&path, "contact"))?;
    let opened = PersonData::open(app.store.clone(), &app.contacts.unique, person).await;
    let mut data = opened.map_err(|error| Problem::database(&error))?;
    // A database that is away is a 503, not a stream that breaks off.
    let first = data.next_chunk().await;
    let first = first.map_err(|error| Problem::database(&error))?;
    let rest = stream::try_unfold(data, |mut data| async move {
        match data.next_chunk().await {
            Ok(Some(chunk)) => Ok(Some((Bytes::from(chunk), data))),
            Ok(None) => Ok(None),
            Err(error) => {
                tracing::error!(%error, "the database failed while a person's data was streamed");
                Err(std::io::Error::other("the database does not answer"))
            }
        }
    });
    let first = stream::iter([Ok(Bytes::from(first.unwrap_or_default()))]);
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(first.chain(rest))).into_response())
}

/// `DELETE /contacts/{id}`: erases a person. The contact is gone at once; its hits lose it within
/// moments, which the receipt tells.
#[utoipa::path(
    delete,
    path = "/contacts/{id}",
    summary = "Erases a person",
    params(("id" = String, Path, description = "Of the contact, of one that was merged into it, or of a browser")),
    responses((status = 202, description = "The receipt; GET /erasures/{id} tells when all is done", body = ErasureView)),
)]
pub async fn erase_contact(
    State(app): State<Arc<AdminState>>,
    Extension(Actor(actor)): Extension<Actor>,
    path: PathText,
) -> Result<Response, Problem> {
    let id = id_of(&path, "contact")?;
    let begun = erase_person(&app.store, &app.clock, id, &actor).await;
    let begun = begun
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(|| nobody(&path, "contact"))?;
    let place = format!("/api/v1/erasures/{}", begun.id);
    let receipt = Json(ErasureView::from(begun));
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], receipt).into_response())
}

/// `GET /erasures/{id}`
#[utoipa::path(
    get,
    path = "/erasures/{id}",
    summary = "Shows the receipt of an erasure",
    params(("id" = String, Path)),
    responses((status = 200, description = "The receipt", body = ErasureView)),
)]
pub async fn show_erasure(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    NoQuery: NoQuery,
) -> Result<Json<ErasureView>, Problem> {
    let found = app.store.erasure(id_of(&path, "erasure")?).await;
    let found = found.map_err(|error| Problem::database(&error))?;
    let found = found.ok_or_else(|| nobody(&path, "erasure"))?;
    Ok(Json(found.into()))
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ErasuresQuery {
    /// The `next` of the answer before.
    #[param(inline)]
    after: Option<Ranked>,
    limit: Option<i64>,
}

/// Receipts, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErasureList {
    erasures: Vec<ErasureView>,
    /// `after` for the rest; none where this was all.
    next: Option<Ranked>,
}

/// `GET /erasures?after=&limit=`
#[utoipa::path(
    get,
    path = "/erasures",
    summary = "Lists receipts of erasures",
    params(ErasuresQuery),
    responses((status = 200, description = "A part of the list", body = ErasureList)),
)]
pub async fn list_erasures(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<ErasuresQuery>,
) -> Result<Json<ErasureList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let before = match wanted.after {
        None => None,
        Some(Ranked(at, id)) => match Uuid::try_parse(&id) {
            Ok(id) => Some((Micros(at), id)),
            Err(_) => {
                return Err(Problem::field(
                    "after",
                    "is not the cursor of an earlier response",
                ));
            }
        },
    };
    let found = app.store.erasures_before(before, limit).await;
    let found = found.map_err(|error| Problem::database(&error))?;
    let next = listing::next(&found, limit, |last| {
        Ranked(last.begun_at.0, last.id.to_string())
    });
    Ok(Json(ErasureList {
        erasures: found.into_iter().map(Into::into).collect(),
        next,
    }))
}

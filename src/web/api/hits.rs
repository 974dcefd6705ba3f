//! `POST /api/v1/hits`: hits from a sender with the token, answered once they are durable. What
//! reads them out is in [`export`].
//!
//! One object, an array, or a line each (NDJSON). All valid hits of a request are offered to the
//! spool in one piece, so the request is stored whole or not at all: a 503 means that nothing is
//! stored and that the sender may send the same again. What is wrong with the other hits is told by
//! their index, and what was cut, repaired or not understood in those that are taken stands in
//! `notes`. A hit's address, agent and time are those in the JSON: the connection is the sender's,
//! not the visitor's.

mod body;
pub mod export;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use self::body::{Note, Read, Reading, Rejected};
use crate::web::AdminState;
use crate::web::api::idempotency::request_key;
use crate::web::api::openapi::shapes::{NewHit, NewHits};
use crate::web::body::WholeBody;
use crate::web::error::Problem;

/// Longer bodies are read on a thread of their own: it takes long enough for a redirect to wait
/// behind it.
const MOST_INLINE_BYTES: usize = 64 << 10;

/// What became of a request's hits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TakenHits)]
struct Taken {
    /// Hits that are durable now; those whose idempotency key was there before are dropped later.
    accepted: usize,
    rejected: Vec<Rejected>,
    /// What is to be said of hits that are taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Note>,
}

/// Takes hits: 202 `{accepted, rejected: [{index, error, field?}]}`; 400 if the body is not valid
/// JSON, 413 if it is too long or holds more than 100,000 hits, 422 (with `rejected`) where no hit
/// is valid, 503 with `Retry-After` if none is stored.
#[utoipa::path(
    post,
    path = "/hits",
    summary = "Takes hits from a server of yours",
    request_body(content((NewHits = "application/json"), (NewHit = "application/x-ndjson"))),
    responses((status = 202, description = "They are stored", body = Taken)),
)]
pub async fn post_hits(
    State(app): State<Arc<AdminState>>,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Problem> {
    let is_lines = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("application/x-ndjson")
        });
    let reading = Reading {
        is_lines,
        now: app.clock.now(),
        clock: app.clock.clone(),
        unique: app.contacts.unique.clone(),
        lists: Arc::clone(&app.tracking.rules.lists),
        key: request_key(&headers)?,
    };
    let read = if body.len() <= MOST_INLINE_BYTES {
        reading.read_hits(&body)?
    } else {
        tokio::task::spawn_blocking(move || reading.read_hits(&body))
            .await
            .map_err(|_| {
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the body could not be read: see the server's log",
                )
            })??
    };
    let Read {
        hits,
        rejected,
        notes,
    } = read;
    if hits.is_empty() && !rejected.is_empty() {
        let problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "no hit is valid; see rejected for the reasons",
        );
        return Ok(problem
            .with(
                "rejected",
                serde_json::to_value(rejected).unwrap_or_default(),
            )
            .into_response());
    }
    if !hits.is_empty() {
        app.sink
            .offer(&hits)
            .durable_or_withdrawn(app.spool.patience)
            .await?;
    }
    let taken = Taken {
        accepted: hits.len(),
        rejected,
        notes,
    };
    Ok((StatusCode::ACCEPTED, Json(taken)).into_response())
}

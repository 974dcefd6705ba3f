//! `/hits/{id}/verdict`: whose a hit is, how that came, and what a person decides.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::Actor;
use super::json::{ApiJson, NoQuery, PathText};
use crate::model::hit::Verdict;
use crate::operator::verdicts::{HitName, Undecided, VerdictView, decide, show_verdict as find};
use crate::web::AdminState;
use crate::web::error::Problem;

/// What a person decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    verdict: Verdict,
    /// Why; kept with who and when.
    reason: String,
}

fn named(path: &PathText) -> Result<HitName, Problem> {
    HitName::parse(&path.0).ok_or_else(|| Problem::not_found("hit", &path.0))
}

/// `GET /hits/{id}/verdict`: the verdict now and at first, and what was decided. The id is the
/// hit's or its `seq`.
#[utoipa::path(
    get,
    path = "/hits/{id}/verdict",
    summary = "Shows the verdict of a hit, and what was decided",
    params(("id" = String, Path)),
    responses((status = 200, description = "The verdict", body = VerdictView)),
)]
pub async fn show_verdict(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    NoQuery: NoQuery,
) -> Result<Json<VerdictView>, Problem> {
    let found = find(&app.store, named(&path)?).await;
    let found = found.map_err(|error| Problem::database(&error))?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found("hit", &path.0))
}

/// `POST /hits/{id}/verdict` `{verdict, reason}`: the hit has this verdict for good, whatever the
/// rules say later; figures follow at once.
#[utoipa::path(
    post,
    path = "/hits/{id}/verdict",
    summary = "Decides the verdict of a hit",
    params(("id" = String, Path)),
    request_body = DecisionRequest,
    responses((status = 200, description = "The verdict as it is now", body = VerdictView)),
)]
pub async fn decide_verdict(
    State(app): State<Arc<AdminState>>,
    Extension(Actor(actor)): Extension<Actor>,
    path: PathText,
    ApiJson(request): ApiJson<DecisionRequest>,
) -> Result<Json<VerdictView>, Problem> {
    let name = named(&path)?;
    let DecisionRequest { verdict, reason } = request;
    if reason.trim().is_empty() {
        return Err(Problem::field("reason", "is empty; say why"));
    }
    let who = (actor.as_str(), app.clock.now());
    let decided = decide(&app.store, &app.projection, name, verdict, &reason, who).await;
    match decided.map_err(|error| Problem::database(&error))? {
        Ok(view) => Ok(Json(view)),
        Err(Undecided::NoHit) => Err(Problem::not_found("hit", &path.0)),
        Err(Undecided::Unknown) => Err(Problem::new(
            StatusCode::CONFLICT,
            "the figures of this hit's message were counted by an earlier version; run sillage \
            recount --repair first",
        )),
    }
}

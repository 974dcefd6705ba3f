//! Mapp's hits, batches, opt-outs and redirects.

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::StatusCode;

use super::{App, Outcome, Visit};

/// Answers any of them.
pub(super) async fn answer_mapp(_app: &App, _visit: Visit<'_>, _body: Body) -> Outcome {
    Outcome::refused(StatusCode::NOT_FOUND.into_response(), "not supported")
}

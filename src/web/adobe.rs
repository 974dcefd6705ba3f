//! Adobe Campaign's tracked links, open pixels and page tags under `/r/`.

use axum::response::IntoResponse as _;
use http::StatusCode;

use super::{App, Outcome, Visit};

/// Answers any of them.
pub(super) async fn answer_adobe(_app: &App, _visit: Visit<'_>) -> Outcome {
    Outcome::refused(StatusCode::NOT_FOUND.into_response(), "not supported")
}

//! Whether the server lives, whether it can take hits, and its figures.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::App;
use super::api::is_admin;
use crate::web::error::Problem;

/// `GET /livez`: the process answers.
pub async fn get_liveness() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 while hits can be taken; says how the spool and the database are, and whether
/// the API can be used.
pub async fn get_readiness(State(app): State<Arc<App>>) -> Response {
    let state = app.state.read();
    let is_ready = state.is_taking && !state.is_stopping;
    let body = json!({
        "status": if state.is_stopping { "stopping" } else if is_ready { "ready" } else { "not ready" },
        "spool": { "taking": state.is_taking, "unwritten": state.unwritten, "backlog": state.backlog, "bytes": state.bytes, "damaged": state.damaged },
        "database": state.database,
        "api": state.api,
        "keys": state.keys,
    });
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "no-store"),
        ],
        body.to_string(),
    )
        .into_response()
}

/// `GET /metrics` on the main listener: with the admin token only.
pub async fn get_metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if is_admin(&app.admin_token, &headers) {
        app.state.metrics().into_response()
    } else {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "the admin token is missing or wrong: send Authorization: Bearer <token>",
        )
        .into_response()
    }
}

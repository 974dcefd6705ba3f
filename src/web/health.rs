//! Whether the server lives, whether it can take hits, and its figures.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::api::access;
use super::{AdminState, Came};
use crate::model::access::{Need, Scope};

/// What readiness and metrics report about the rest of the server.
pub trait ServerState: Send + Sync {
    /// How it is now.
    fn read(&self) -> Readiness;
    /// All figures in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// How the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the spool accepts hits.
    pub is_taking: bool,
    /// Whether the server is shutting down.
    pub is_stopping: bool,
    /// Hits that wait for the disk.
    pub unwritten: u64,
    /// Hits that wait for the database.
    pub backlog: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged spools that were set aside and are still there.
    pub damaged: u64,
    /// `up`, `down` or `unknown`.
    pub database: &'static str,
    /// `idle`, `storing`, or `stalled` if hits have been waiting for the database for long.
    pub projection: &'static str,
    /// `usable`, `starting` or `down`.
    pub api: &'static str,
    /// Whether it has the keys that all links are signed with: `ok`, `lacking`, or `unchecked`
    /// while no database has responded.
    pub keys: &'static str,
}

/// `GET /livez`: the process answers.
pub async fn get_liveness() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 while hits can be taken; says how the spool and the database are, and whether
/// the API can be used.
pub async fn get_readiness(State(app): State<Arc<AdminState>>) -> Response {
    let state = app.state.read();
    let is_ready = state.is_taking && !state.is_stopping;
    let body = json!({
        "status": if state.is_stopping { "stopping" } else if is_ready { "ready" } else { "not ready" },
        "spool": { "taking": state.is_taking, "unwritten": state.unwritten, "backlog": state.backlog, "bytes": state.bytes, "damaged": state.damaged },
        "database": state.database,
        "projection": state.projection,
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

/// `GET /metrics` on the main listener: with the admin token, or one that may operate.
pub async fn get_metrics(
    State(app): State<Arc<AdminState>>,
    Extension(came): Extension<Came>,
    headers: HeaderMap,
) -> Response {
    let caller = match access::caller(&app, came, &headers).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    match caller.check(Need::Any(&[Scope::Operate])) {
        Ok(()) => app.state.metrics().into_response(),
        Err(refused) => *refused,
    }
}

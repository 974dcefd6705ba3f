//! `GET /unknown-paths`: what was asked for and is not ours.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::model::wire::Time;
use crate::store::unknown_paths::UnknownPath;
use crate::web::AdminState;
use crate::web::error::Problem;

/// All first parts of paths, the most asked for first.
#[derive(Debug, Serialize)]
pub struct Listing {
    unknown_paths: Vec<View>,
}

/// One of them. `/wp-login.php` is a path's whole first part; `(others)` is all that came when
/// there were a thousand.
#[derive(Debug, Serialize)]
struct View {
    segment: String,
    passed_on: i64,
    refused: i64,
    first_at: Time,
    last_at: Time,
}

impl From<UnknownPath> for View {
    fn from(path: UnknownPath) -> Self {
        Self {
            segment: path.segment,
            passed_on: path.passed_on,
            refused: path.refused,
            first_at: Time(path.first_at),
            last_at: Time(path.last_at),
        }
    }
}

/// Lists them.
pub async fn list_unknown_paths(
    State(app): State<Arc<AdminState>>,
) -> Result<Json<Listing>, Problem> {
    let paths = app.store.unknown_paths().await;
    let paths = paths.map_err(|error| Problem::database(&error))?;
    Ok(Json(Listing {
        unknown_paths: paths.into_iter().map(View::from).collect(),
    }))
}

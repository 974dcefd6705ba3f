//! `GET /imports`: what the command line has imported.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::ApiQuery;
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use crate::model::wire::{Id, Time};
use crate::store::import_runs::ImportRun;
use crate::store::scan::{Part, Wanted};
use crate::web::AdminState;
use crate::web::error::Problem;

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportsQuery {
    /// The `next` of the answer before.
    #[param(inline)]
    after: Option<Id>,
    limit: Option<i64>,
}

/// Imports, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportList {
    imports: Vec<ImportView>,
    /// `after` for the rest; none where this was all.
    next: Option<Id>,
}

/// An import and what became of its rows.
#[derive(Debug, Serialize, ToSchema)]
struct ImportView {
    id: Id,
    /// What the file held, as the command line calls it: `adobe-urls`.
    source: String,
    file: String,
    /// `running`, `done` or `failed`; one whose process was killed stays `running`.
    outcome: String,
    /// Why it ended before the file did.
    error: Option<String>,
    started_at: Time,
    /// When it said how far it is, last.
    told_at: Time,
    rows: i64,
    made: i64,
    changed: i64,
    unchanged: i64,
    ignored: i64,
    refused: i64,
    deliveries_made: i64,
}

impl From<ImportRun> for ImportView {
    fn from(run: ImportRun) -> Self {
        Self {
            id: Id(run.id),
            source: run.source,
            file: run.file,
            outcome: run.outcome,
            error: run.error,
            started_at: Time(run.started_at),
            told_at: Time(run.told_at),
            rows: run.rows.rows,
            made: run.rows.made,
            changed: run.rows.changed,
            unchanged: run.rows.unchanged,
            ignored: run.rows.ignored,
            refused: run.rows.refused,
            deliveries_made: run.rows.deliveries_made,
        }
    }
}

/// `GET /imports?after=&limit=`
#[utoipa::path(
    get,
    path = "/imports",
    summary = "Lists imports, the latest first",
    params(ImportsQuery),
    responses((status = 200, description = "A part of the list", body = ImportList)),
)]
pub async fn list_imports(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<ImportsQuery>,
) -> Result<Json<ImportList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let wanted = Wanted {
        before: wanted.after.map(|id| id.0),
        limit,
    };
    let found = app.store.import_runs(wanted).await;
    let Part { rows, next } = found.map_err(|error| Problem::database(&error))?;
    Ok(Json(ImportList {
        imports: rows.into_iter().map(Into::into).collect(),
        next: next.map(Id),
    }))
}

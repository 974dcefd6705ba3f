//! `GET /unknown-paths` and `GET /orphans`: what was asked for and is not there.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::ApiQuery;
use super::listing::{self, MOST_ENTRIES, Ranked, USUAL_ENTRIES};
use crate::model::orphan::OrphanKind;
use crate::model::wire::Time;
use crate::store::orphans::OrphanRow;
use crate::store::unknown_paths::UnknownPath;
use crate::web::AdminState;
use crate::web::error::Problem;

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PathsQuery {
    /// The `next` of the answer before.
    #[param(inline)]
    after: Option<Ranked>,
    limit: Option<i64>,
}

/// First parts of paths, the most asked for first.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnknownPathList {
    unknown_paths: Vec<UnknownPathView>,
    /// `after` for the rest; none where this was all.
    next: Option<Ranked>,
}

/// One of them. `/wp-login.php` is a path's whole first part; `(others)` is all that came when
/// there were a thousand.
#[derive(Debug, Serialize, ToSchema)]
struct UnknownPathView {
    segment: String,
    passed_on: i64,
    refused: i64,
    first_at: Time,
    last_at: Time,
}

impl From<UnknownPath> for UnknownPathView {
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

/// `GET /unknown-paths?after=&limit=`
#[utoipa::path(
    get,
    path = "/unknown-paths",
    summary = "Lists paths that were asked for and are not ours",
    params(PathsQuery),
    responses((status = 200, description = "A part of the list", body = UnknownPathList)),
)]
pub async fn list_unknown_paths(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<PathsQuery>,
) -> Result<Json<UnknownPathList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let after = wanted.after.map(|Ranked(asked, segment)| (asked, segment));
    let paths = app.store.unknown_paths(after.as_ref(), limit).await;
    let paths = paths.map_err(|error| Problem::database(&error))?;
    let next = listing::next(&paths, limit, |path| {
        Ranked(path.passed_on + path.refused, path.segment.clone())
    });
    Ok(Json(UnknownPathList {
        unknown_paths: paths.into_iter().map(Into::into).collect(),
        next,
    }))
}

/// Which ids to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrphansQuery {
    #[param(inline)]
    kind: Option<OrphanKind>,
    /// The `next` of the answer before.
    #[param(inline)]
    after: Option<Ranked>,
    limit: Option<i64>,
}

/// Ids that nothing has, the most asked for first.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrphanList {
    orphans: Vec<OrphanView>,
    /// `after` for the rest; none where this was all.
    next: Option<Ranked>,
}

/// One of them.
#[derive(Debug, Serialize, ToSchema)]
struct OrphanView {
    kind: String,
    id: String,
    asked: i64,
    first_at: Time,
    last_at: Time,
    referrer: Option<String>,
}

impl From<OrphanRow> for OrphanView {
    fn from(row: OrphanRow) -> Self {
        Self {
            kind: row.kind,
            id: row.id,
            asked: row.of.asked,
            first_at: Time(row.of.first_at),
            last_at: Time(row.of.last_at),
            referrer: row.of.referrer,
        }
    }
}

/// `GET /orphans?kind=&after=&limit=`: ids that were asked for and that nothing has.
#[utoipa::path(
    get,
    path = "/orphans",
    summary = "Lists ids that were asked for and that nothing has",
    params(OrphansQuery),
    responses((status = 200, description = "A part of the list", body = OrphanList)),
)]
pub async fn list_orphans(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<OrphansQuery>,
) -> Result<Json<OrphanList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    // No kind has a colon in it.
    let after = wanted.after.map(|Ranked(asked, name)| {
        let (kind, id) = name.split_once(':').unwrap_or((&name, ""));
        (asked, kind.to_owned(), id.to_owned())
    });
    let found = app.store.orphans(wanted.kind, after.as_ref(), limit).await;
    let found = found.map_err(|error| Problem::database(&error))?;
    let next = listing::next(&found, limit, |row| {
        Ranked(row.of.asked, format!("{}:{}", row.kind, row.id))
    });
    Ok(Json(OrphanList {
        orphans: found.into_iter().map(Into::into).collect(),
        next,
    }))
}

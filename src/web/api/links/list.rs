//! Looking for links, and what was changed of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::no_link;
use crate::model::hit::Kind;
use crate::model::wire::{Id, Time};
use crate::operator::wire::LinkView;
use crate::store::link_changes::{LinkChange, LinkFilter};
use crate::store::scan::{Part, Wanted};
use crate::web::AdminState;
use crate::web::api::json::{ApiQuery, NoQuery, PathText};
use crate::web::api::listing::{self, Cursor, MOST_ENTRIES, USUAL_ENTRIES};
use crate::web::error::Problem;

/// Which links to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    search: Option<String>,
    #[param(inline)]
    delivery_id: Option<Id>,
    slug: Option<String>,
    #[param(inline)]
    kind: Option<LinkKind>,
    ended: Option<bool>,
    /// The `next` of the answer before.
    #[param(inline)]
    after: Option<Id>,
    limit: Option<i64>,
}

/// What a click on a link is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum LinkKind {
    Click,
    Optout,
    Mirror,
}

impl From<LinkKind> for Kind {
    fn from(kind: LinkKind) -> Self {
        match kind {
            LinkKind::Click => Self::Click,
            LinkKind::Optout => Self::Optout,
            LinkKind::Mirror => Self::Mirror,
        }
    }
}

/// Links by falling ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkList {
    links: Vec<LinkView>,
    /// `after` for the rest; `None` if this was all.
    next: Option<Id>,
}

/// `GET /links?search=&delivery_id=&slug=&kind=&ended=&after=&limit=`
#[utoipa::path(
    get,
    path = "/links",
    summary = "Lists links, the newest first",
    params(Listing),
    responses((status = 200, description = "A part of the list", body = LinkList)),
)]
pub async fn list_links(
    State(app): State<Arc<AdminState>>,
    headers: HeaderMap,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<LinkList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let filter = LinkFilter {
        delivery: wanted.delivery_id.map(Into::into),
        // No slug has a zero byte, and Postgres takes none in a text.
        slug: wanted.slug.map(|slug| slug.replace('\0', " ")),
        kind: wanted.kind.map(Into::into),
        is_ended: wanted.ended,
        text: wanted.search,
    };
    let wanted = Wanted {
        before: wanted.after.map(|id| id.0),
        limit,
    };
    let found = app.store.list_links(&filter, wanted).await;
    let Part { rows, next } = found.map_err(|error| Problem::database(&error))?;
    let site = app.site_of(&headers);
    Ok(Json(LinkList {
        links: rows
            .into_iter()
            .map(|link| LinkView::at(link, site))
            .collect(),
        next: next.map(Id),
    }))
}

/// `GET /links/{id}`
#[utoipa::path(
    get,
    path = "/links/{id}",
    summary = "Shows a link",
    params(("id" = Id, Path)),
    responses((status = 200, description = "The link", body = LinkView)),
)]
pub async fn get_link(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    NoQuery: NoQuery,
) -> Result<Json<LinkView>, Problem> {
    let id = id.id("link")?.into();
    let link = app.store.link(id).await;
    let link = link
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(|| no_link(id))?;
    Ok(Json(LinkView::at(link, app.site_of(&headers))))
}

/// Part of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    #[param(inline)]
    after: Option<Cursor>,
    limit: Option<i64>,
}

/// What was changed of a link, the latest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkHistory)]
pub struct History {
    changes: Vec<ChangeView>,
    /// `after` for the rest; `None` if this was all.
    next: Option<Cursor>,
}

/// A change: the fields that it changed, before and after.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkChange)]
struct ChangeView {
    at: Time,
    /// `admin`, `import`, or whose token it was.
    by: String,
    before: serde_json::Value,
    after: serde_json::Value,
}

impl From<LinkChange> for ChangeView {
    fn from(change: LinkChange) -> Self {
        Self {
            at: Time(change.changed_at),
            by: change.changed_by,
            before: change.was,
            after: change.became,
        }
    }
}

/// `GET /links/{id}/history?after=&limit=`
#[utoipa::path(
    get,
    path = "/links/{id}/history",
    summary = "Lists what was changed of a link, the latest first",
    params(("id" = Id, Path), HistoryQuery),
    responses((status = 200, description = "A part of the list", body = History)),
)]
pub async fn show_history(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiQuery(wanted): ApiQuery<HistoryQuery>,
) -> Result<Json<History>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let id = id.id("link")?.into();
    let after = wanted.after.map(|cursor| cursor.0);
    let database = |error| Problem::database(&error);
    let found = app.store.link_history(id, after, limit).await;
    let found = found.map_err(database)?;
    // One that was never changed, or none at all.
    if found.is_empty() && app.store.link(id).await.map_err(database)?.is_none() {
        return Err(no_link(id));
    }
    let next = listing::next(&found, limit, |change| Cursor(change.number));
    Ok(Json(History {
        changes: found.into_iter().map(Into::into).collect(),
        next,
    }))
}

//! Changing and ending a link after it was sent.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::model::hit::LinkId;
use crate::model::wire::Id;
use crate::operator::wire::LinkView;
use crate::operator::{self, LinkEdit};
use crate::web::AdminState;
use crate::web::api::Actor;
use crate::web::api::json::{ApiJson, ApiJsonIfAny, PathText};
use crate::web::api::serve_change;
use crate::web::error::Problem;

/// `PATCH /links/{id}`: what is not given stays, null empties a field.
#[utoipa::path(
    patch,
    path = "/links/{id}",
    summary = "Changes a link; what is not given stays",
    params(("id" = Id, Path)),
    request_body = LinkEdit,
    responses((status = 200, description = "The link as it is now", body = LinkView)),
)]
pub async fn change_link(
    State(app): State<Arc<AdminState>>,
    Extension(actor): Extension<Actor>,
    id: PathText,
    headers: HeaderMap,
    ApiJson(edit): ApiJson<LinkEdit>,
) -> Result<Json<LinkView>, Problem> {
    let id = id.id("link")?.into();
    save(&app, &actor, &headers, id, edit).await
}

/// Where what is ended leads.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndRequest {
    pub(in crate::web::api) url: Option<String>,
}

/// `POST /links/{id}/end`: from now on its clicks lead to `url`, to where its delivery says, or to
/// the fallback.
#[utoipa::path(
    post,
    path = "/links/{id}/end",
    summary = "Ends a link: its clicks lead elsewhere",
    params(("id" = Id, Path)),
    request_body = Option<EndRequest>,
    responses((status = 200, description = "The link as it is now", body = LinkView)),
)]
pub async fn end_link(
    State(app): State<Arc<AdminState>>,
    Extension(actor): Extension<Actor>,
    id: PathText,
    headers: HeaderMap,
    ApiJsonIfAny(request): ApiJsonIfAny<EndRequest>,
) -> Result<Json<LinkView>, Problem> {
    let id = id.id("link")?.into();
    let edit = LinkEdit {
        ended: Some(true),
        end_url: request.url.map(Some),
        ..LinkEdit::default()
    };
    let saved = save(&app, &actor, &headers, id, edit).await;
    saved.map_err(|problem| problem.rename("end_url", "url"))
}

/// `DELETE /links/{id}`: never.
#[utoipa::path(
    delete,
    path = "/links/{id}",
    operation_id = "delete_link",
    summary = "Refused: a link is ended",
    params(("id" = Id, Path)),
)]
pub async fn refuse_delete(id: PathText) -> Result<StatusCode, Problem> {
    let id = LinkId::from(id.id("link")?);
    Err(Problem::new(
        StatusCode::CONFLICT,
        format!(
            "links cannot be deleted, because emails that were sent contain them; end this one \
            with POST /api/v1/links/{id}/end, and its clicks lead to another page"
        ),
    ))
}

async fn save(
    app: &AdminState,
    actor: &Actor,
    headers: &HeaderMap,
    id: LinkId,
    edit: LinkEdit,
) -> Result<Json<LinkView>, Problem> {
    let hosts = &app.redirects.personal_hosts;
    let changed = operator::change_link(&app.store, &app.clock, hosts, id, edit, &actor.0).await?;
    serve_change(app, changed.at).await;
    Ok(Json(LinkView::at(changed.now, app.site_of(headers))))
}

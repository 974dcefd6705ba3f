//! `/deliveries`: campaigns.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::{ApiJson, ApiJsonIfAny, ApiQuery, NoQuery, PathText};
use super::links::change::EndRequest;
use super::links::no_link;
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use super::serve_change;
use crate::model::hit::DeliveryId;
use crate::model::wire::Id;
use crate::operator::wire::{Delivery, LinkView};
use crate::operator::{self, CampaignError, DeliveryEdit, NewDelivery};
use crate::store::scan::{Part, Wanted};
use crate::web::AdminState;
use crate::web::error::Problem;

/// `POST /deliveries`
#[utoipa::path(
    post,
    path = "/deliveries",
    summary = "Makes a delivery",
    request_body = NewDelivery,
    responses((status = 201, description = "It is made", body = Delivery)),
)]
pub(super) async fn create_delivery(
    State(app): State<Arc<AdminState>>,
    ApiJson(draft): ApiJson<NewDelivery>,
) -> Result<(StatusCode, Json<Delivery>), Problem> {
    let delivery = operator::create_delivery(&app.store, &app.clock, draft).await?;
    Ok((StatusCode::CREATED, Json(delivery)))
}

/// Which deliveries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    search: Option<String>,
    /// The `next` of the answer before. Earlier versions called it `before`.
    #[serde(alias = "before")]
    #[param(inline)]
    after: Option<Id>,
    limit: Option<i64>,
}

/// Deliveries by falling ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryList {
    deliveries: Vec<Delivery>,
    /// `after` for the rest; `None` if this was all.
    next: Option<Id>,
}

/// `GET /deliveries?search=&after=&limit=`
#[utoipa::path(
    get,
    path = "/deliveries",
    summary = "Lists deliveries, the newest first",
    params(Listing),
    responses((status = 200, description = "A part of the list", body = DeliveryList)),
)]
pub(super) async fn list_deliveries(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<DeliveryList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let part = Wanted {
        before: wanted.after.map(|id| id.0),
        limit,
    };
    let text = wanted.search.as_deref();
    let found = app.store.list_deliveries(text, part).await;
    let Part { rows, next } = found.map_err(|error| Problem::database(&error))?;
    Ok(Json(DeliveryList {
        deliveries: rows,
        next: next.map(Id),
    }))
}

/// A delivery with its links.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WholeDelivery {
    #[serde(flatten)]
    delivery: Delivery,
    links: Vec<LinkView>,
}

/// `GET /deliveries/{id}`
#[utoipa::path(
    get,
    path = "/deliveries/{id}",
    summary = "Shows a delivery with its links",
    params(("id" = Id, Path)),
    responses((status = 200, description = "The delivery", body = WholeDelivery)),
)]
pub(super) async fn get_delivery(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    NoQuery: NoQuery,
) -> Result<Json<WholeDelivery>, Problem> {
    let id = id.id("delivery")?.into();
    let database = |error| Problem::database(&error);
    let delivery = app
        .store
        .delivery(id)
        .await
        .map_err(database)?
        .ok_or_else(|| no_delivery(id))?;
    let links = app.store.links_of(id).await.map_err(database)?;
    let site = app.site_of(&headers);
    Ok(Json(WholeDelivery {
        delivery,
        links: links
            .into_iter()
            .map(|link| LinkView::at(link, site))
            .collect(),
    }))
}

/// `PATCH /deliveries/{id}`: what is not given stays, null empties a field.
#[utoipa::path(
    patch,
    path = "/deliveries/{id}",
    summary = "Changes a delivery; what is not given stays",
    params(("id" = Id, Path)),
    request_body = DeliveryEdit,
    responses((status = 200, description = "The delivery as it is now", body = Delivery)),
)]
pub(super) async fn change_delivery(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiJson(edit): ApiJson<DeliveryEdit>,
) -> Result<Json<Delivery>, Problem> {
    let id = id.id("delivery")?.into();
    save(&app, id, edit).await
}

/// `POST /deliveries/{id}/end`: from now on all its links lead to `url`, to the page that it has
/// for this, or to the fallback.
#[utoipa::path(
    post,
    path = "/deliveries/{id}/end",
    summary = "Ends a delivery: its links lead elsewhere",
    params(("id" = Id, Path)),
    request_body = Option<EndRequest>,
    responses((status = 200, description = "The delivery as it is now", body = Delivery)),
)]
pub(super) async fn end_delivery(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiJsonIfAny(request): ApiJsonIfAny<EndRequest>,
) -> Result<Json<Delivery>, Problem> {
    let id = id.id("delivery")?.into();
    let saved = save(&app, id, DeliveryEdit::end(request.url)).await;
    saved.map_err(|problem| problem.rename("expiration_url", "url"))
}

/// `DELETE /deliveries/{id}`: never.
#[utoipa::path(
    delete,
    path = "/deliveries/{id}",
    operation_id = "delete_delivery",
    summary = "Refused: a delivery is ended",
    params(("id" = Id, Path)),
)]
pub(super) async fn refuse_delete(id: PathText) -> Result<StatusCode, Problem> {
    let id = DeliveryId::from(id.id("delivery")?);
    Err(Problem::new(
        StatusCode::CONFLICT,
        format!(
            "deliveries cannot be deleted, because emails that were sent contain their links; end \
            this one with POST /api/v1/deliveries/{id}/end, and its links lead to another page"
        ),
    ))
}

async fn save(
    app: &AdminState,
    id: DeliveryId,
    edit: DeliveryEdit,
) -> Result<Json<Delivery>, Problem> {
    let changed = operator::change_delivery(&app.store, &app.clock, id, edit).await?;
    serve_change(app, changed.at).await;
    Ok(Json(changed.now))
}

/// The delivery of a path does not exist.
pub(super) fn no_delivery(id: DeliveryId) -> Problem {
    let which = format_args!("{id}; GET /api/v1/deliveries lists all deliveries");
    Problem::not_found("delivery", which)
}

impl From<CampaignError> for Problem {
    fn from(error: CampaignError) -> Self {
        let place = |index: Option<usize>, field: &str| match index {
            Some(index) => format!("[{index}].{field}"),
            None => field.to_owned(),
        };
        match error {
            CampaignError::Draft(index, draft) => Self::field(place(index, draft.field), draft.why),
            CampaignError::Taken(index, "identifier", value) => Self::conflict(
                place(index, "identifier"),
                format_args!(
                    "{value:?} is already taken; choose another, or change that one \
                    with PATCH /api/v1/page-tags/<identifier>"
                ),
            ),
            CampaignError::Taken(index, field, value) => Self::conflict(
                place(index, field),
                format_args!(
                    "{value} is already taken; choose another, or leave it out and the server \
                    assigns one"
                ),
            ),
            CampaignError::NoDelivery(id) => no_delivery(id),
            CampaignError::NoLink(id) => no_link(id),
            CampaignError::Database(error) => Self::database(&error),
        }
    }
}

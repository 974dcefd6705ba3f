//! `/deliveries`: campaigns.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

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
pub(super) async fn create_delivery(
    State(app): State<Arc<AdminState>>,
    ApiJson(draft): ApiJson<NewDelivery>,
) -> Result<(StatusCode, Json<Delivery>), Problem> {
    let delivery = operator::create_delivery(&app.store, &app.clock, draft).await?;
    Ok((StatusCode::CREATED, Json(delivery)))
}

/// Which deliveries to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    search: Option<String>,
    /// The `next` of the answer before. Earlier versions called it `before`.
    #[serde(alias = "before")]
    after: Option<Id>,
    limit: Option<i64>,
}

/// Deliveries by falling ids.
#[derive(Debug, Serialize)]
pub(super) struct DeliveryList {
    deliveries: Vec<Delivery>,
    /// `after` for the rest; `None` if this was all.
    next: Option<Id>,
}

/// `GET /deliveries?search=&after=&limit=`
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
#[derive(Debug, Serialize)]
pub(super) struct WholeDelivery {
    #[serde(flatten)]
    delivery: Delivery,
    links: Vec<LinkView>,
}

/// `GET /deliveries/{id}`
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

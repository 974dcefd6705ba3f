//! `/deliveries`: campaigns.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::json::{ApiJson, ApiQuery, Id, NoQuery, PathText, Time};
use super::links::link_line;
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use crate::model::hit::{DeliveryId, Utm};
use crate::operator::export::{DeliveryLine, LinkLine};
use crate::operator::{self, NewDelivery, SendingError};
use crate::web::AdminState;
use crate::web::error::Problem;

/// A delivery as the sender gives it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryRequest {
    label: String,
    id: Option<Id>,
    channel: Option<String>,
    sent_at: Option<Time>,
    expires_at: Option<Time>,
    expiration_url: Option<String>,
    utm: Option<UtmFields>,
}

/// Campaign parameters, without `utm_` before their names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UtmFields {
    source: Option<String>,
    medium: Option<String>,
    campaign: Option<String>,
    term: Option<String>,
    content: Option<String>,
}

impl From<DeliveryRequest> for NewDelivery {
    fn from(request: DeliveryRequest) -> Self {
        let utm = request.utm.unwrap_or_default();
        Self {
            id: request.id.map(Into::into),
            label: request.label,
            channel: request.channel,
            sent_at: request.sent_at.map(|at| at.0),
            expires_at: request.expires_at.map(|at| at.0),
            expiration_url: request.expiration_url,
            utm: Utm {
                source: utm.source,
                medium: utm.medium,
                campaign: utm.campaign,
                term: utm.term,
                content: utm.content,
            },
        }
    }
}

/// `POST /deliveries`
pub(super) async fn create_delivery(
    State(app): State<Arc<AdminState>>,
    ApiJson(request): ApiJson<DeliveryRequest>,
) -> Result<(StatusCode, Json<DeliveryLine>), Problem> {
    let delivery = operator::create_delivery(&app.store, &app.clock, request.into()).await?;
    Ok((StatusCode::CREATED, Json(DeliveryLine(delivery))))
}

/// Which deliveries to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only those with lower ids: the `next` of the answer before.
    before: Option<Id>,
    limit: Option<i64>,
}

/// Deliveries by falling ids.
#[derive(Debug, Serialize)]
pub(super) struct DeliveryList {
    deliveries: Vec<DeliveryLine>,
    /// `before` for the rest; none where this was all.
    next: Option<Id>,
}

/// `GET /deliveries?before=&limit=`
pub(super) async fn list_deliveries(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<DeliveryList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let found = app
        .store
        .deliveries(wanted.before.map(Into::into), limit)
        .await
        .map_err(|error| Problem::database(&error))?;
    let next = listing::next(&found, limit, |delivery| delivery.id.into());
    Ok(Json(DeliveryList {
        deliveries: found.into_iter().map(DeliveryLine).collect(),
        next,
    }))
}

/// A delivery with its links.
#[derive(Debug, Serialize)]
pub(super) struct WholeDelivery {
    #[serde(flatten)]
    delivery: DeliveryLine,
    links: Vec<LinkLine>,
}

/// `GET /deliveries/{id}`
pub(super) async fn get_delivery(
    State(app): State<Arc<AdminState>>,
    id: PathText,
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
    Ok(Json(WholeDelivery {
        delivery: DeliveryLine(delivery),
        links: links
            .into_iter()
            .map(|link| link_line(link, &app))
            .collect(),
    }))
}

/// The delivery of a path does not exist.
pub(super) fn no_delivery(id: DeliveryId) -> Problem {
    let which = format_args!("{id}; GET /api/v1/deliveries lists those there are");
    Problem::not_found("delivery", which)
}

impl From<SendingError> for Problem {
    fn from(error: SendingError) -> Self {
        let place = |index: Option<usize>, field: &str| match index {
            Some(index) => format!("[{index}].{field}"),
            None => field.to_owned(),
        };
        match error {
            SendingError::Draft(index, draft) => Self::field(place(index, draft.field), draft.why),
            SendingError::Taken(index, "identifier", value) => Self::conflict(
                place(index, "identifier"),
                format_args!(
                    "is taken: {value:?} belongs to another; choose another, or change that one \
                    with PATCH /api/v1/page-tags/<identifier>"
                ),
            ),
            SendingError::Taken(index, field, value) => Self::conflict(
                place(index, field),
                format_args!(
                    "is taken: {value} belongs to another; choose another, or leave it out to \
                    have one made"
                ),
            ),
            SendingError::NoDelivery(id) => no_delivery(id),
            SendingError::Database(error) => Self::database(&error),
        }
    }
}

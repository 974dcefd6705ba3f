//! `/deliveries`: campaigns.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::json::{ApiJson, ApiQuery, Id, PathText, Time};
use super::links::LinkAnswer;
use crate::hit::Utm;
use crate::sending::{self, NewDelivery, SendingError};
use crate::store::deliveries::Delivery;
use crate::web::App;
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
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UtmFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    medium: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// A delivery as it is told.
#[derive(Debug, Serialize)]
pub struct DeliveryAnswer {
    id: Id,
    label: String,
    channel: String,
    sent_at: Option<Time>,
    expires_at: Option<Time>,
    expiration_url: Option<String>,
    utm: UtmFields,
    messages: i64,
    created_at: Time,
}

impl From<Delivery> for DeliveryAnswer {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.into(),
            label: delivery.label,
            channel: delivery.channel,
            sent_at: delivery.sent_at.map(Time),
            expires_at: delivery.expires_at.map(Time),
            expiration_url: delivery.expiration_url,
            utm: UtmFields {
                source: delivery.utm.source,
                medium: delivery.utm.medium,
                campaign: delivery.utm.campaign,
                term: delivery.utm.term,
                content: delivery.utm.content,
            },
            messages: delivery.messages,
            created_at: Time(delivery.created_at),
        }
    }
}

/// `POST /deliveries`
pub(super) async fn create_delivery(
    State(app): State<Arc<App>>,
    ApiJson(request): ApiJson<DeliveryRequest>,
) -> Result<(StatusCode, Json<DeliveryAnswer>), Problem> {
    let delivery = sending::create_delivery(&app.store, &app.clock, request.into()).await?;
    Ok((StatusCode::CREATED, Json(delivery.into())))
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
    deliveries: Vec<DeliveryAnswer>,
    /// `before` for the rest; none where this was all.
    next: Option<Id>,
}

/// `GET /deliveries?before=&limit=`
pub(super) async fn list_deliveries(
    State(app): State<Arc<App>>,
    ApiQuery(listing): ApiQuery<Listing>,
) -> Result<Json<DeliveryList>, Problem> {
    let limit = listing.limit.unwrap_or(100);
    if !(1..=1_000).contains(&limit) {
        return Err(Problem::field("limit", "is not from 1 to 1000"));
    }
    let found = app
        .store
        .deliveries(listing.before.map(Into::into), limit)
        .await
        .map_err(|error| Problem::database(&error))?;
    let next = found
        .last()
        .filter(|_| found.len() as i64 == limit)
        .map(|delivery| delivery.id.into());
    Ok(Json(DeliveryList {
        deliveries: found.into_iter().map(Into::into).collect(),
        next,
    }))
}

/// A delivery with its links.
#[derive(Debug, Serialize)]
pub(super) struct WholeDelivery {
    #[serde(flatten)]
    delivery: DeliveryAnswer,
    links: Vec<LinkAnswer>,
}

/// `GET /deliveries/{id}`
pub(super) async fn get_delivery(
    State(app): State<Arc<App>>,
    id: PathText,
) -> Result<Json<WholeDelivery>, Problem> {
    let id = id.id("delivery")?.into();
    let database = |error| Problem::database(&error);
    let delivery = app
        .store
        .delivery(id)
        .await
        .map_err(database)?
        .ok_or_else(|| Problem::not_found("delivery"))?;
    let links = app.store.links_of(id).await.map_err(database)?;
    Ok(Json(WholeDelivery {
        delivery: delivery.into(),
        links: links
            .into_iter()
            .map(|link| LinkAnswer::new(link, &app))
            .collect(),
    }))
}

impl From<SendingError> for Problem {
    fn from(error: SendingError) -> Self {
        let place = |index: Option<usize>, field: &str| match index {
            Some(index) => format!("[{index}].{field}"),
            None => field.to_owned(),
        };
        match error {
            SendingError::Draft(index, draft) => Self::field(place(index, draft.field), draft.why),
            SendingError::Taken(index, field) => Self::conflict(place(index, field), "is taken"),
            SendingError::NoDelivery => Self::not_found("delivery"),
            SendingError::Database(error) => Self::database(&error),
        }
    }
}

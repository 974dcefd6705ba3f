//! `/deliveries/{id}/links` and `/links`: tracked destinations.

pub(super) mod change;
pub(super) mod check;
pub(super) mod list;
pub(super) mod qr;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::json::{ApiJson, OneOrMany, PathText};
use super::openapi::shapes::one_or_many;
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::link::LinkRecord;
use crate::model::wire::Id;
use crate::operator::wire::LinkView;
use crate::operator::{self, CampaignError, NewLink};
use crate::web::AdminState;
use crate::web::error::Problem;

/// Most links in one request: they are made one by one in a transaction.
const MOST_LINKS: usize = 1_000;

/// A link of a delivery as the sender gives it: the path names its delivery, and it needs no
/// slug.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkRequest {
    url: String,
    label: Option<String>,
    category: Option<String>,
    id: Option<Id>,
}

impl From<LinkRequest> for NewLink {
    fn from(request: LinkRequest) -> Self {
        Self {
            url: request.url,
            label: request.label,
            category: request.category,
            id: request.id.map(Into::into),
            ..Self::default()
        }
    }
}

one_or_many!(
    /// Links to be made.
    LinkRequests of LinkRequest
);
one_or_many!(
    /// Links that were made.
    MadeLinks of LinkView
);

/// `POST /deliveries/{id}/links`: one link or an array of them, all or none.
#[utoipa::path(
    post,
    path = "/deliveries/{id}/links",
    summary = "Makes links of a delivery, all or none",
    params(("id" = Id, Path)),
    request_body = LinkRequests,
    responses((status = 201, description = "They are made", body = MadeLinks)),
)]
pub(super) async fn create_links(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    ApiJson(request): ApiJson<OneOrMany<LinkRequest>>,
) -> Result<(StatusCode, Json<OneOrMany<LinkView>>), Problem> {
    let delivery_id = id.id("delivery")?.into();
    let is_one = request.is_one();
    let requests = request.into_vec();
    if requests.len() > MOST_LINKS {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "{} links are too many for one request: send at most {MOST_LINKS}",
                requests.len()
            ),
        ));
    }
    let drafts = requests.into_iter().map(Into::into).collect();
    let made = operator::create_links(
        &app.store,
        &app.clock,
        &app.redirects.personal_hosts,
        delivery_id,
        drafts,
    )
    .await;
    let (delivery, links) = made.map_err(|error| match is_one {
        true => error.by_itself(),
        false => error,
    })?;
    let records: Vec<_> = links
        .iter()
        .map(|link| link.record(Some(&delivery)))
        .collect();
    serve_at_once(&app, &records).await;
    let site = app.site_of(&headers);
    let views = links
        .into_iter()
        .map(|link| LinkView::at(link, site))
        .collect();
    Ok((StatusCode::CREATED, Json(OneOrMany::like(is_one, views))))
}

/// `POST /links`: a short link.
#[utoipa::path(
    post,
    path = "/links",
    summary = "Makes a short link",
    request_body = NewLink,
    responses((status = 201, description = "It is made", body = LinkView)),
)]
pub(super) async fn create_short_link(
    State(app): State<Arc<AdminState>>,
    headers: HeaderMap,
    ApiJson(draft): ApiJson<NewLink>,
) -> Result<(StatusCode, Json<LinkView>), Problem> {
    let made =
        operator::create_short_link(&app.store, &app.clock, &app.redirects.personal_hosts, draft)
            .await;
    let (delivery, link) = made.map_err(|error| match error {
        // Here it is a field, not the path.
        CampaignError::NoDelivery(id) => no_such_delivery(id),
        error => error.into(),
    })?;
    serve_at_once(&app, &[link.record(delivery.as_ref())]).await;
    Ok((
        StatusCode::CREATED,
        Json(LinkView::at(link, app.site_of(&headers))),
    ))
}

/// The delivery of a field does not exist.
fn no_such_delivery(id: DeliveryId) -> Problem {
    Problem::field(
        "delivery_id",
        format_args!("{id} does not exist; GET /api/v1/deliveries lists all deliveries"),
    )
}

/// The link of a path does not exist.
pub(super) fn no_link(id: LinkId) -> Problem {
    let which = format_args!("{id}; GET /api/v1/links lists all links");
    Problem::not_found("link", which)
}

/// Puts new links into the local copy. Where its file cannot be written, memory has them, and the
/// next refresh tries again.
pub(super) async fn serve_at_once(app: &AdminState, records: &[LinkRecord]) {
    if let Err(error) = app.links.put(records).await {
        tracing::warn!(%error, "cannot write the local link copy");
    }
}

//! `/deliveries/{id}/links` and `/links`: tracked destinations.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use super::json::{ApiJson, Id, OneOrMany, PathText};
use crate::model::link::LinkRecord;
use crate::operator::export::LinkLine;
use crate::operator::{self, NewLink, SendingError};
use crate::store::deliveries::Link;
use crate::web::AdminState;
use crate::web::error::Problem;

/// Most links in one request: they are made one by one in a transaction.
const MOST_LINKS: usize = 1_000;

/// A link of a delivery as the sender gives it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkRequest {
    url: String,
    label: Option<String>,
    category: Option<String>,
    id: Option<Id>,
}

/// A short link as the sender gives it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShortLinkRequest {
    url: String,
    slug: Option<String>,
    delivery_id: Option<Id>,
    label: Option<String>,
    category: Option<String>,
    id: Option<Id>,
}

pub(super) fn link_line(link: Link, app: &AdminState) -> LinkLine {
    LinkLine::at(link, &app.base_url, &app.paths.redirect)
}

/// `POST /deliveries/{id}/links`: one link or an array of them, all or none.
pub(super) async fn create_links(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiJson(request): ApiJson<OneOrMany<LinkRequest>>,
) -> Result<(StatusCode, Json<OneOrMany<LinkLine>>), Problem> {
    let delivery_id = id.id("delivery")?.into();
    let is_one = matches!(request, OneOrMany::One(_));
    let requests = request.into_vec();
    if requests.len() > MOST_LINKS {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "{} links are more than {MOST_LINKS}: send them in several requests",
                requests.len()
            ),
        ));
    }
    let drafts = requests
        .into_iter()
        .map(|request| NewLink {
            id: request.id.map(Into::into),
            url: request.url,
            label: request.label,
            category: request.category,
            ..NewLink::default()
        })
        .collect();
    let made = operator::create_links(
        &app.store,
        &app.clock,
        &app.redirects.personal_hosts,
        delivery_id,
        drafts,
    )
    .await;
    let (delivery, links) = made.map_err(|error| match error {
        // One link given by itself has no place in an array.
        SendingError::Draft(_, draft) if is_one => SendingError::Draft(None, draft).into(),
        SendingError::Taken(_, field, value) if is_one => {
            SendingError::Taken(None, field, value).into()
        }
        error => Problem::from(error),
    })?;
    let records: Vec<_> = links
        .iter()
        .map(|link| link.record(Some(&delivery)))
        .collect();
    serve_at_once(&app, &records).await;
    let mut answers: Vec<_> = links
        .into_iter()
        .map(|link| link_line(link, &app))
        .collect();
    let answer = match answers.pop() {
        Some(answer) if is_one => OneOrMany::One(answer),
        last => {
            answers.extend(last);
            OneOrMany::Many(answers)
        }
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// `POST /links`: a short link.
pub(super) async fn create_short_link(
    State(app): State<Arc<AdminState>>,
    ApiJson(request): ApiJson<ShortLinkRequest>,
) -> Result<(StatusCode, Json<LinkLine>), Problem> {
    let draft = NewLink {
        id: request.id.map(Into::into),
        delivery_id: request.delivery_id.map(Into::into),
        slug: request.slug,
        url: request.url,
        label: request.label,
        category: request.category,
    };
    let made =
        operator::create_short_link(&app.store, &app.clock, &app.redirects.personal_hosts, draft)
            .await;
    let (delivery, link) = made.map_err(|error| match error {
        // Here it is a field, not the path.
        SendingError::NoDelivery(id) => Problem::field(
            "delivery_id",
            format_args!("{id} is no delivery's; GET /api/v1/deliveries lists those there are"),
        ),
        error => error.into(),
    })?;
    serve_at_once(&app, &[link.record(delivery.as_ref())]).await;
    Ok((StatusCode::CREATED, Json(link_line(link, &app))))
}

/// Puts new links into the local copy. Where its file cannot be written, memory has them, and the
/// next refresh tries again.
async fn serve_at_once(app: &AdminState, records: &[LinkRecord]) {
    if let Err(error) = app.links.put(records).await {
        tracing::warn!(%error, "the local link copy cannot be written");
    }
}

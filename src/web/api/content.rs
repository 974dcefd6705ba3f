//! `/deliveries/{id}/content` and `/content/check`: the HTML and the text of a mail, and the links
//! in it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::json::{ApiJson, NoQuery, PathText};
use super::links::serve_at_once;
use crate::content::{FoundLink, LinkKind, Part, Source, Warning};
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::wire::{Id, Time};
use crate::operator::content::{self, ContentRules};
use crate::store::deliveries::Link;
use crate::web::AdminState;
use crate::web::error::Problem;

/// The two parts of a mail.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentRequest {
    html: Option<String>,
    text: Option<String>,
}

impl From<ContentRequest> for Source {
    fn from(request: ContentRequest) -> Self {
        Self {
            html: request.html,
            text: request.text,
        }
    }
}

/// What was found in a mail.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContentReport {
    /// Tracked links in the order in which a reader meets them, those of the HTML first.
    links: Vec<ContentLinkView>,
    /// Fields of the contact that are filled in.
    fields: Vec<String>,
    /// What the author should know.
    warnings: Vec<Warning>,
}

/// A tracked link of a mail.
#[derive(Debug, Serialize, ToSchema)]
struct ContentLinkView {
    /// The delivery's link; null where there is no delivery.
    id: Option<Id>,
    /// Where its clicks lead.
    url: String,
    /// What the reader sees of it.
    label: Option<String>,
    /// Its place among the mail's links, from 1.
    position: usize,
    /// What a click on it is.
    kind: LinkKind,
    /// Where it is.
    part: Part,
}

impl ContentLinkView {
    fn of(index: usize, found: &FoundLink) -> Self {
        Self {
            id: None,
            url: found.url.clone(),
            label: found.label.clone(),
            position: index + 1,
            kind: found.kind,
            part: found.part,
        }
    }

    /// With what its row says by now.
    fn with(self, id: LinkId, row: Option<Link>) -> Self {
        let (url, label) = match row {
            Some(row) => (row.url, row.label),
            None => (self.url, self.label),
        };
        Self {
            id: Some(id.into()),
            url,
            label,
            ..self
        }
    }
}

/// `POST /deliveries/{id}/content`: the same again changes nothing, another replaces it.
#[utoipa::path(
    post,
    path = "/deliveries/{id}/content",
    summary = "Gives a delivery its HTML and text",
    params(("id" = Id, Path)),
    request_body = ContentRequest,
    responses((status = 200, description = "Its links and warnings", body = ContentReport)),
)]
pub(super) async fn save_content(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    NoQuery: NoQuery,
    ApiJson(request): ApiJson<ContentRequest>,
) -> Result<Json<ContentReport>, Problem> {
    let delivery_id = DeliveryId::from(id.id("delivery")?);
    let read = content::read_content(request.into(), rules(&app, &headers)).await?;
    let found = read.compiled.links.clone();
    let fields = read.compiled.fields();
    let mut warnings = read.compiled.warnings.clone();
    let saved = content::save_content(&app.store, &app.clock, delivery_id, read).await?;
    let made: Vec<_> = saved
        .made
        .iter()
        .map(|link| link.record(Some(&saved.delivery)))
        .collect();
    serve_at_once(&app, &made).await;
    warnings.extend(saved.warnings);
    let views = found.iter().enumerate().zip(saved.links);
    Ok(Json(ContentReport {
        links: views
            .map(|((index, found), (id, row))| ContentLinkView::of(index, found).with(id, row))
            .collect(),
        fields,
        warnings,
    }))
}

/// `POST /content/check`: what the content of a delivery would be told.
#[utoipa::path(
    post,
    path = "/content/check",
    summary = "Shows what the content of a delivery would be told",
    request_body = ContentRequest,
    responses((status = 200, description = "Its links and warnings", body = ContentReport)),
)]
pub(super) async fn check_content(
    State(app): State<Arc<AdminState>>,
    headers: HeaderMap,
    NoQuery: NoQuery,
    ApiJson(request): ApiJson<ContentRequest>,
) -> Result<Json<ContentReport>, Problem> {
    let read = content::read_content(request.into(), rules(&app, &headers)).await?;
    let links = read.compiled.links.iter().enumerate();
    Ok(Json(ContentReport {
        links: links
            .map(|(index, found)| ContentLinkView::of(index, found))
            .collect(),
        fields: read.compiled.fields(),
        warnings: read.compiled.warnings,
    }))
}

/// The content of a delivery, as it was given.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContentView {
    html: Option<String>,
    text: Option<String>,
    links: Vec<ContentLinkView>,
    changed_at: Time,
}

/// `GET /deliveries/{id}/content`
#[utoipa::path(
    get,
    path = "/deliveries/{id}/content",
    summary = "Shows the content of a delivery",
    params(("id" = Id, Path)),
    responses((status = 200, description = "The content", body = ContentView)),
)]
pub(super) async fn show_content(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<Json<ContentView>, Problem> {
    let delivery_id = DeliveryId::from(id.id("delivery")?);
    let database = |error| Problem::database(&error);
    let stored = app.store.content(delivery_id).await.map_err(database)?;
    let Some(stored) = stored else {
        return Err(no_content(delivery_id));
    };
    let current: Vec<_> = stored.current().cloned().collect();
    let rows = content::rows_of(&app.store, delivery_id, &current).await;
    let views = current.iter().zip(rows.map_err(database)?).enumerate();
    let views = views.map(|(index, (link, (id, row)))| {
        let view = ContentLinkView {
            id: None,
            url: link.url.clone(),
            label: None,
            position: index + 1,
            kind: link.kind,
            part: link.part,
        };
        view.with(id, row)
    });
    Ok(Json(ContentView {
        links: views.collect(),
        html: stored.source.html,
        text: stored.source.text,
        changed_at: Time(stored.changed_at),
    }))
}

/// A delivery has no content, or does not exist.
pub(super) fn no_content(id: DeliveryId) -> Problem {
    let which =
        format_args!("of delivery {id}; give it one with POST /api/v1/deliveries/{id}/content");
    Problem::not_found("content", which)
}

fn rules(app: &AdminState, headers: &HeaderMap) -> ContentRules {
    let site = app.site_of(headers);
    ContentRules {
        personal_hosts: app.redirects.personal_hosts.clone(),
        own_urls: vec![site.redirect_url()],
    }
}

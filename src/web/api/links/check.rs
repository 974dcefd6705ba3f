//! `POST /links/check`: where a link would lead, with its campaign parameters, and what may spoil
//! its figures. Nothing is stored and nothing is fetched.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::no_such_delivery;
use crate::model::hit::{DeliveryId, Utm};
use crate::model::link::{build_destination, look_at};
use crate::model::wire;
use crate::operator::NewLink;
use crate::web::AdminState;
use crate::web::api::json::{ApiJson, NoQuery};
use crate::web::error::Problem;

/// A link that might be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkCheck {
    url: String,
    /// The delivery whose parameters are added where `utm` has none.
    #[serde(default, with = "wire::option_id")]
    delivery_id: Option<DeliveryId>,
    #[serde(default, with = "wire::utm")]
    #[schema(value_type = Option<Utm>)]
    utm: Utm,
}

/// What would become of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CheckedLink {
    /// The destination of a link, as it is stored.
    url: String,
    /// Where a click leads.
    destination: String,
    /// What may spoil its figures.
    warnings: Vec<HintView>,
}

/// Something to look at.
#[derive(Debug, Serialize, ToSchema)]
struct HintView {
    /// In one word, for programs.
    code: &'static str,
    /// For people.
    detail: String,
}

/// `POST /links/check`
#[utoipa::path(
    post,
    path = "/links/check",
    summary = "Shows where a link would lead, and what may spoil its figures",
    request_body = LinkCheck,
    responses((status = 200, description = "What would become of it", body = CheckedLink)),
)]
pub async fn check_link(
    State(app): State<Arc<AdminState>>,
    headers: HeaderMap,
    NoQuery: NoQuery,
    ApiJson(request): ApiJson<LinkCheck>,
) -> Result<Json<CheckedLink>, Problem> {
    let draft = NewLink {
        url: request.url.clone(),
        ..NewLink::default()
    };
    let draft = draft.check_with(&app.redirects.personal_hosts);
    let url = draft
        .map_err(|error| Problem::field(error.field, error.why))?
        .url;
    let mut utm = request.utm;
    if let Some(id) = request.delivery_id {
        let delivery = app.store.delivery(id).await;
        let delivery = delivery.map_err(|error| Problem::database(&error))?;
        let of_delivery = delivery.ok_or_else(|| no_such_delivery(id))?.utm;
        for (name, value) in of_delivery.pairs() {
            if let Some(slot) = utm.slot(name) {
                slot.get_or_insert_with(|| value.to_owned());
            }
        }
    }
    let host = app.site_of(&headers).host.clone();
    let hints = look_at(&request.url, &url, &utm, &[&host]);
    let warnings = hints.into_iter().map(|hint| HintView {
        code: hint.code,
        detail: hint.detail,
    });
    Ok(Json(CheckedLink {
        destination: build_destination(&url, "", &utm).into_owned(),
        warnings: warnings.collect(),
        url,
    }))
}

//! `GET /deliveries/{id}/report`: the indicators of [`crate::operator::report`] as JSON.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::deliveries::no_delivery;
use super::json::{ApiQuery, PathText};
use crate::model::hit::DeliveryId;
use crate::model::wire::Id;
use crate::operator::report::{self, Report, ReportView};
use crate::web::AdminState;
use crate::web::error::Problem;

/// The query string.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReportQuery {
    #[param(inline)]
    by: Option<By>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ReportBy)]
enum By {
    Hour,
}

/// Shows a delivery's indicators; with `?by=hour` also `hours`, a row for each hour in which
/// something happened.
#[utoipa::path(
    get,
    path = "/deliveries/{id}/report",
    summary = "Shows the indicators of a delivery",
    params(("id" = Id, Path), ReportQuery),
    responses((status = 200, description = "The report", body = ReportView)),
)]
pub async fn show_report(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    ApiQuery(wanted): ApiQuery<ReportQuery>,
) -> Result<Response, Problem> {
    let id: DeliveryId = path.id("delivery")?.into();
    let report = Report::read(&app.store, id)
        .await
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(|| no_delivery(id))?;
    let view = ReportView::from(&report);
    Ok(match wanted.by {
        None => Json(view).into_response(),
        Some(By::Hour) => {
            let hours = report::read_hours(&app.store, id)
                .await
                .map_err(|error| Problem::database(&error))?;
            Json(view.by_hour(&hours)).into_response()
        }
    })
}

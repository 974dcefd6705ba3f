//! QR codes of short links.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::no_link;
use crate::model::hit::LinkId;
use crate::model::wire::Id;
use crate::operator::qr::{CodeError, draw_png, draw_svg};
use crate::web::AdminState;
use crate::web::api::json::{ApiQuery, NoQuery, PathText};
use crate::web::error::Problem;

/// Pixels that a picture has at most if nothing is said.
const USUAL_SIZE: i64 = 512;
const SIZES: std::ops::RangeInclusive<i64> = 64..=4_096;

/// How large a picture may be.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PictureQuery {
    size: Option<i64>,
}

/// `GET /links/{id}/qr.svg`
#[utoipa::path(
    get,
    path = "/links/{id}/qr.svg",
    summary = "Draws the QR code of a short link as SVG",
    params(("id" = Id, Path)),
    responses(
        (status = 200, description = "The code", content_type = "image/svg+xml", body = String),
        (status = 409, description = "The link has no slug, so it has no short URL"),
    ),
)]
pub async fn draw_link(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    NoQuery: NoQuery,
) -> Result<Response, Problem> {
    let url = short_url(&app, &id, &headers).await?;
    let drawing = draw_svg(&url).map_err(no_code)?;
    Ok(([(CONTENT_TYPE, "image/svg+xml")], drawing).into_response())
}

/// `GET /links/{id}/qr.png?size=`
#[utoipa::path(
    get,
    path = "/links/{id}/qr.png",
    summary = "Draws the QR code of a short link as PNG",
    params(("id" = Id, Path), PictureQuery),
    responses(
        (status = 200, description = "The code", content_type = "image/png", body = Vec<u8>),
        (status = 409, description = "The link has no slug, so it has no short URL"),
    ),
)]
pub async fn picture_link(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    ApiQuery(wanted): ApiQuery<PictureQuery>,
) -> Result<Response, Problem> {
    let size = wanted.size.unwrap_or(USUAL_SIZE);
    if !SIZES.contains(&size) {
        let (least, most) = (SIZES.start(), SIZES.end());
        let why = format!("is {size} but must be {least} to {most} pixels");
        return Err(Problem::field("size", why));
    }
    let url = short_url(&app, &id, &headers).await?;
    let most = usize::try_from(size).unwrap_or_default();
    let picture = draw_png(&url, most).map_err(no_code)?;
    Ok(([(CONTENT_TYPE, "image/png")], picture).into_response())
}

async fn short_url(
    app: &AdminState,
    id: &PathText,
    headers: &HeaderMap,
) -> Result<String, Problem> {
    let id = LinkId::from(id.id("link")?);
    let link = app.store.link(id).await;
    let link = link.map_err(|error| Problem::database(&error))?;
    let link = link.ok_or_else(|| no_link(id))?;
    match link.slug {
        Some(slug) => Ok(format!("{}/{slug}", app.site_of(headers).redirect_url())),
        None => Err(Problem::new(
            StatusCode::CONFLICT,
            format!(
                "link {id} has no short URL, as it has no slug: make a short link with POST \
                /api/v1/links"
            ),
        )),
    }
}

fn no_code(error: CodeError) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
}

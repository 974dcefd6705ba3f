//! `/demo`: a sample mail and a shop page, to see the whole way of a hit in a browser.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::header::CONTENT_TYPE;

use super::App;

/// Links of the demo, made at the start with `--demo`.
#[derive(Clone, Debug, Default)]
pub struct DemoLinks {
    /// To the shop page.
    pub shop: String,
    /// To a section of it.
    pub article: String,
    /// The open pixel.
    pub open_pixel: String,
}

/// `GET /demo`: the mail.
pub async fn get_mail(State(app): State<Arc<App>>) -> Response {
    let links = app.demo.get().cloned().unwrap_or_default();
    let page = include_str!("../../static/demo/mail.html")
        .replace("{{link_shop}}", &links.shop)
        .replace("{{link_article}}", &links.article)
        .replace("{{open_pixel}}", &links.open_pixel)
        .replace("{{base}}", &app.base_url);
    Html(page).into_response()
}

/// `GET /demo/shop`: the landing page with the script.
pub async fn get_shop(State(app): State<Arc<App>>) -> Response {
    let page = include_str!("../../static/demo/shop.html")
        .replace(
            "{{script}}",
            &format!("{}{}", app.base_url, app.paths.script),
        )
        .replace("{{base}}", &app.base_url);
    Html(page).into_response()
}

/// `GET /demo/demo.css`.
pub async fn get_style() -> Response {
    (
        [(CONTENT_TYPE, "text/css")],
        include_str!("../../static/demo/demo.css"),
    )
        .into_response()
}

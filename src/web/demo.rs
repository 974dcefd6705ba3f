//! `/demo`: a sample mail and a shop page, to see the whole way of a hit in a browser.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::AdminState;
use crate::model::escape::html;

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
pub async fn get_mail(State(app): State<Arc<AdminState>>, headers: HeaderMap) -> Response {
    let links = app
        .demo
        .as_ref()
        .and_then(|links| links.get())
        .cloned()
        .unwrap_or_default();
    let page = fill(
        include_str!("../../static/demo/mail.html"),
        &[
            ("{{link_shop}}", &links.shop),
            ("{{link_article}}", &links.article),
            ("{{open_pixel}}", &links.open_pixel),
            ("{{base}}", &app.site_of(&headers).base_url),
        ],
    );
    Html(page).into_response()
}

/// `GET /demo/shop`: the landing page with the script.
pub async fn get_shop(State(app): State<Arc<AdminState>>, headers: HeaderMap) -> Response {
    let site = app.site_of(&headers);
    let script = format!("{}{}", site.base_url, site.paths.script);
    let page = fill(
        include_str!("../../static/demo/shop.html"),
        &[("{{script}}", &script), ("{{base}}", &site.base_url)],
    );
    Html(page).into_response()
}

/// Puts values into a page, escaped: a public URL may hold an ampersand or, by mistake, worse.
fn fill(page: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(page.to_owned(), |page, (place, value)| {
        // They end a line in a script's string.
        let value = value.replace(['\\', '\n', '\r'], "");
        page.replace(place, &html(&value))
    })
}

/// `GET /demo/demo.css`.
pub async fn get_style() -> Response {
    (
        [(CONTENT_TYPE, "text/css")],
        include_str!("../../static/demo/demo.css"),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_place_in_the_page() {
        assert_eq!(
            fill("<a href=\"{{x}}\">", &[("{{x}}", "\"><script>'&\\")]),
            "<a href=\"&quot;&gt;&lt;script&gt;&#39;&amp;\">"
        );
    }
}

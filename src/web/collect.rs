//! The pixel, the script's requests and the visitor's ids.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderValue, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::cors::Permission;
use super::{App, Visit};
use crate::dialect::{Reply, judge, native};
use crate::hit::VisitorId;
use crate::link::Purpose;

/// A transparent 1x1 GIF: 43 bytes, where a PNG would have 67.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// Most bytes of a tracking request's body; the script cuts far below.
const MOST_EVENT_BYTES: usize = 512 << 10;
/// How long that body may take to arrive.
const MOST_EVENT_TIME: Duration = Duration::from_secs(15);

/// The pixel, never cached. Headers as Mautic sends them.
pub fn gif() -> Response {
    let mut response = Response::new(Body::from(GIF));
    let headers = response.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache, no-store"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("cross-origin"),
    );
    response
}

/// `GET /mtracking.gif`: always the GIF.
pub(super) async fn get_pixel(app: &App, visit: Visit<'_>) -> Response {
    let mut response = gif();
    collect(app, visit, &[], Reply::Gif, &mut response).await;
    response
}

/// `POST /mtc/event`. An origin that may not read the answer is refused before anything is stored: its script then sends the pixel,
/// and the hit counts once.
pub(super) async fn post_event(app: &App, visit: Visit<'_>, body: Incoming) -> Response {
    let parts = visit.parts;
    let read = tokio::time::timeout(MOST_EVENT_TIME, to_bytes(Body::new(body), MOST_EVENT_BYTES));
    let body = match read.await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let permission = app.cors.permission(&parts.headers);
    if permission == Permission::Refused {
        app.counters.refused_origins.increment(1);
        let mut response = json_answer(StatusCode::FORBIDDEN, &json!({ "success": 0 }));
        permission.write(response.headers_mut());
        return response;
    }
    let mut response = json_answer(StatusCode::OK, &json!({}));
    let (visitor, is_kept) = collect(app, visit, &body, Reply::Visitor, &mut response).await;
    let sealed = visitor.map(|id| app.cookies.seal_visitor(id));
    let answer = json!({ "success": u8::from(is_kept), "id": visitor.map(|id| id.0), "sid": sealed, "device_id": sealed, "events": [] });
    *response.body_mut() = Body::from(answer.to_string());
    permission.write(response.headers_mut());
    response
}

/// `GET /mtc`: the visitor's ids, asked after a pixel delivery. Stores nothing and never waits for the database.
pub(super) fn get_visitor(app: &App, visit: Visit<'_>) -> Response {
    let parts = visit.parts;
    let permission = app.cors.permission(&parts.headers);
    let inbound = app.inbound(visit, &[]);
    let known = inbound
        .cookie(native::VISITOR_COOKIE)
        .and_then(|sealed| app.rules.keys.open(Purpose::Visitor, sealed))
        .and_then(|id| uuid::Uuid::try_parse(id).ok())
        .map(VisitorId);
    let mut response = json_answer(StatusCode::OK, &json!({}));
    if permission != Permission::Refused && !judge::is_prefetch(&inbound) {
        let visitor = known.unwrap_or_else(|| VisitorId(app.clock.new_id(inbound.received_at)));
        let sealed = app.cookies.seal_visitor(visitor);
        *response.body_mut() =
            Body::from(json!({ "id": visitor.0, "sid": sealed, "device_id": sealed }).to_string());
        app.cookies
            .write_visitor(visitor, &parts.headers, response.headers_mut());
    }
    permission.write(response.headers_mut());
    response
}

/// `OPTIONS` of the above.
pub(super) fn get_permission(app: &App, visit: Visit<'_>) -> Response {
    let parts = visit.parts;
    let mut response = StatusCode::NO_CONTENT.into_response();
    app.cors
        .permission(&parts.headers)
        .write_preflight(response.headers_mut());
    response
}

/// Decodes, stores, and sets the visitor cookie. Returns the visitor and whether the hit is stored.
async fn collect(
    app: &App,
    visit: Visit<'_>,
    body: &[u8],
    reply: Reply,
    response: &mut Response,
) -> (Option<VisitorId>, bool) {
    let inbound = app.inbound(visit, body);
    let mut decoded = native::collect(&inbound, &app.rules, reply);
    let mut visitor = None;
    for hit in &mut decoded.hits {
        if !judge::is_prefetch(&inbound) {
            hit.visitor_is_new = hit.visitor_id.is_none();
            hit.visitor_id = hit
                .visitor_id
                .or_else(|| Some(VisitorId(app.clock.new_id(hit.received_at))));
        }
        visitor = hit.visitor_id;
    }
    if let Some(id) = visitor {
        app.cookies
            .write_visitor(id, &visit.parts.headers, response.headers_mut());
    }
    app.counters.collected.increment(decoded.hits.len() as u64);
    let is_kept = app.keep(&mut decoded.hits).await;
    (visitor, is_kept)
}

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::GIF;

    #[test]
    fn the_gif_has_43_bytes() {
        assert_eq!(GIF.len(), 43);
        assert!(GIF.starts_with(b"GIF89a\x01\x00\x01\x00") && GIF.ends_with(b";"));
    }
}

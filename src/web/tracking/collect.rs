//! The pixel, the script's requests and the visitor's ids.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::cors::Permission;
use super::redirect::{REPAIRED, set_visitor};
use super::{EMBEDDABLE, Outcome, TrackingState, Visit};
use crate::model::hit::VisitorId;
use crate::tracking::{Reply, native, verdict};

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
    headers.insert(&EMBEDDABLE, HeaderValue::from_static("cross-origin"));
    response
}

/// `GET /mtracking.gif`: always the GIF.
pub(in crate::web) fn get_pixel(app: &TrackingState, visit: Visit<'_>) -> Outcome {
    collect(app, visit, &[], Reply::Gif)
}

/// `POST /mtc/event`. An origin that may not read the answer is refused before anything is stored:
/// its script then sends the pixel, and the hit counts once.
pub(in crate::web) async fn post_event(
    app: &TrackingState,
    visit: Visit<'_>,
    body: Body,
) -> Outcome {
    let parts = visit.parts;
    let body = match read_body(body, MOST_EVENT_BYTES).await {
        Ok(body) => body,
        Err(status) => return status.into_response().into(),
    };
    let permission = app.cors.permission(&parts.headers);
    if permission == Permission::Refused {
        app.counters.refused_origins.increment(1);
        let mut response = json_answer(StatusCode::FORBIDDEN, &json!({ "success": 0 }));
        permission.write(response.headers_mut());
        return response.into();
    }
    let mut outcome = collect(app, visit, &body, Reply::Visitor);
    permission.write(outcome.response.headers_mut());
    if let Some(response) = &mut outcome.if_lost {
        permission.write(response.headers_mut());
    }
    outcome
}

/// A body of at most `most` bytes; else what to answer.
pub(in crate::web) async fn read_body(body: Body, most: usize) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(MOST_EVENT_TIME, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// `GET /mtc`: the visitor's ids, asked after a pixel delivery. Stores nothing and never waits for
/// the database.
pub(in crate::web) fn get_visitor(app: &TrackingState, visit: Visit<'_>) -> Response {
    let parts = visit.parts;
    let permission = app.cors.permission(&parts.headers);
    let inbound = app.inbound(visit, &[]);
    let mut response = json_answer(StatusCode::OK, &json!({}));
    if permission != Permission::Refused && !verdict::is_prefetch(&inbound) {
        let mut asked = native::known_visitor(&inbound, &app.rules);
        set_visitor(app, &mut asked);
        let value = app.cookies.visitor_value(&asked);
        let id = asked.visitor_id.map(|id| id.0);
        *response.body_mut() =
            Body::from(json!({ "id": id, "sid": value, "device_id": value }).to_string());
        if let Some(value) = value {
            app.cookies
                .write_visitor(&value, &parts.headers, response.headers_mut());
        }
    }
    permission.write(response.headers_mut());
    response
}

/// `OPTIONS` of the above.
pub(in crate::web) fn get_permission(app: &TrackingState, visit: Visit<'_>) -> Response {
    let parts = visit.parts;
    let mut response = StatusCode::NO_CONTENT.into_response();
    app.cors
        .permission(&parts.headers)
        .write_preflight(response.headers_mut());
    response
}

/// Decodes, and sets the visitor cookie.
fn collect(app: &TrackingState, visit: Visit<'_>, body: &[u8], reply: Reply) -> Outcome {
    let inbound = app.inbound(visit, body);
    let mut decoded = native::collect(&inbound, &app.rules, reply);
    let (mut visitor, mut value) = (None, None);
    for hit in &mut decoded.hits {
        if visit.is_repaired {
            hit.note(REPAIRED);
        }
        if !verdict::is_prefetch(&inbound) {
            set_visitor(app, hit);
        }
        visitor = hit.visitor_id;
        value = app.cookies.visitor_value(hit);
    }
    let answer = |is_kept| {
        let mut response = match reply {
            Reply::Gif => gif(),
            Reply::Visitor => visitor_answer(visitor, value.as_deref(), is_kept),
        };
        if let Some(value) = &value {
            app.cookies
                .write_visitor(value, &visit.parts.headers, response.headers_mut());
        }
        response
    };
    app.counters.collected.increment(decoded.hits.len() as u64);
    let mut outcome = Outcome::of(answer(true), decoded.hits);
    if reply == Reply::Visitor {
        outcome.if_lost = Some(Box::new(answer(false)));
    }
    outcome
}

/// What the script gets back; `value` is the visitor's in cookies.
fn visitor_answer(visitor: Option<VisitorId>, value: Option<&str>, is_kept: bool) -> Response {
    json_answer(
        StatusCode::OK,
        &json!({ "success": u8::from(is_kept), "id": visitor.map(|id| id.0), "sid": value, "device_id": value, "events": [] }),
    )
}

pub(in crate::web) fn json_answer(status: StatusCode, body: &serde_json::Value) -> Response {
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

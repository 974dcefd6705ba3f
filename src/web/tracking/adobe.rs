//! Adobe Campaign's tracked links, open pixels and page tags under `/r/`.

use axum::response::{Html, IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, StatusCode};

use super::collect::gif;
use super::redirect::{Asked, is_visit, lead, redirect, remember_click, set_visitor};
use super::{Outcome, TrackingState, Visit, hide};
use crate::model::hit::clean_bytes;
use crate::replica::links::LinkName;
use crate::tracking::adobe::{self, Claim, Request, Target};

/// Most characters of a URL that an answer repeats.
const MOST_REPEATED: usize = 500;

/// `GET /r/?id=…`, `GET /r/<any>?tagid=…`, `GET /r/test`.
pub(in crate::web) async fn answer_adobe(app: &TrackingState, visit: Visit<'_>) -> Outcome {
    if !matches!(visit.parts.method, Method::GET | Method::HEAD) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response().into();
    }
    match adobe::read(&app.inbound(visit, &[])) {
        Request::Message(claim) => match claim.id.target {
            Target::Link(_) => follow_link(app, visit, &claim).await,
            Target::Open | Target::PushClick => take_message(app, visit, &claim),
        },
        Request::Tag => take_tag(app, visit),
        Request::Test => test_answer(app, visit).into(),
        Request::Odd => {
            app.counters.unknown_links.increment(1);
            Outcome::refused(not_found(app, visit), "id unreadable")
        }
    }
}

/// A click. An id that may be one of two numbers is looked up as both.
async fn follow_link(app: &TrackingState, visit: Visit<'_>, claim: &Claim) -> Outcome {
    let mut link = None;
    for id in claim.link_ids() {
        link = app.links.get(LinkName::Id(id)).await;
        if link.is_some() {
            break;
        }
    }
    let Some(link) = link else {
        app.counters.unknown_links.increment(1);
        return Outcome::refused(not_found(app, visit), "link unknown");
    };
    let inbound = app.inbound(visit, &[]);
    let hit = adobe::click(&inbound, &app.rules, claim, &link);
    let asked = Asked {
        values: claim.values.clone(),
        query: claim.query.as_str().into(),
    };
    lead(app, &inbound, &link, &asked, hit, || not_found(app, visit))
}

/// An open, or a push received or tapped: the GIF with 200, since Adobe's SDKs send again after
/// anything else.
fn take_message(app: &TrackingState, visit: Visit<'_>, claim: &Claim) -> Outcome {
    let inbound = app.inbound(visit, &[]);
    let mut hit = adobe::message(&inbound, &app.rules, claim);
    let mut response = gif();
    if claim.id.target == Target::PushClick && is_visit(&inbound) {
        remember_click(app, &inbound, &mut hit, &mut response);
    }
    Outcome::of(response, vec![hit])
}

/// A page tag: always the GIF. The visitor's cookie goes back with it, so that a site's server that
/// calls the tag can hand it on.
fn take_tag(app: &TrackingState, visit: Visit<'_>) -> Outcome {
    let (mut response, inbound) = (gif(), app.inbound(visit, &[]));
    let mut hit = match adobe::tag(&inbound, &app.rules) {
        Ok(hit) => hit,
        Err(why) => return Outcome::refused(response, why),
    };
    if is_visit(&inbound) {
        set_visitor(app, &mut hit);
        if let Some(value) = app.cookies.visitor_value(&hit) {
            app.cookies
                .write_visitor(&value, &visit.parts.headers, response.headers_mut());
        }
    }
    app.counters.collected.increment(1);
    Outcome::of(response, vec![hit])
}

/// `/r/test`. Its type is documented nowhere; the body is XML, and as `text/xml` no browser takes
/// it for a page.
fn test_answer(app: &TrackingState, visit: Visit<'_>) -> Response {
    let host = visit
        .parts
        .headers
        .get(HOST)
        .map(|host| clean_bytes(host.as_bytes()))
        .unwrap_or_default();
    let mut response = adobe::test_answer(&host, &app.own_host, app.clock.now()).into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/xml; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The fallback, or a page in Adobe's words.
fn not_found(app: &TrackingState, visit: Visit<'_>) -> Response {
    if let Some(url) = &app.redirects.fallback_url {
        return redirect(url);
    }
    let asked = visit
        .parts
        .uri
        .path_and_query()
        .map_or("/", |asked| asked.as_str());
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Not \
        found</title><p>Requested URL '{}' cannot be found</p></html>",
        adobe::escaped(asked, MOST_REPEATED)
    );
    let mut response = (StatusCode::NOT_FOUND, Html(page)).into_response();
    hide(response.headers_mut());
    response
}

//! The API: `/api/v1`, with the admin token. One handler file a resource; [`json`] and `listing`
//! hold what they share.

mod contacts;
mod debug;
mod deliveries;
mod forms;
mod hits;
mod idempotency;
pub mod json;
mod links;
mod listing;
mod messages;
mod mistake;
mod page_tags;
mod people;
mod reports;
mod site_reports;
mod tree;
mod unknown_paths;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode, Uri};

use super::error::Problem;
use super::{AdminState, Tables};
use crate::model::clock::Micros;
use crate::model::secret::is_same_secret;

/// How long a call waits for the first attempt to make the tables: a first start takes a second, an
/// upgrade may take longer.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// How long a change may wait for a refresh of the local link copy that is under way.
const MOST_FETCHING: Duration = Duration::from_secs(2);

/// All routes of the API. Every answer that is no success is `application/problem+json`, also to
/// paths and methods that do not exist.
pub fn router(app: Arc<AdminState>) -> Router<Arc<AdminState>> {
    Router::new()
        // Sending.
        .route(
            "/deliveries",
            get(deliveries::list_deliveries).post(deliveries::create_delivery),
        )
        .route(
            "/deliveries/{id}",
            get(deliveries::get_delivery)
                .patch(deliveries::change_delivery)
                .delete(deliveries::refuse_delete),
        )
        .route("/deliveries/{id}/end", post(deliveries::end_delivery))
        .route("/deliveries/{id}/links", post(links::create_links))
        .route("/deliveries/{id}/messages", post(messages::create_messages))
        .route(
            "/links",
            get(links::list::list_links).post(links::create_short_link),
        )
        .route(
            "/links/{id}",
            get(links::list::get_link)
                .patch(links::change::change_link)
                .delete(links::change::refuse_delete),
        )
        .route("/links/{id}/end", post(links::change::end_link))
        .route("/links/{id}/history", get(links::list::show_history))
        .route(
            "/page-tags",
            get(page_tags::list_page_tags).post(page_tags::create_page_tags),
        )
        .route(
            "/page-tags/{identifier}",
            get(page_tags::get_page_tag)
                .put(page_tags::replace_page_tag)
                .patch(page_tags::change_page_tag),
        )
        .route("/forms", get(forms::list_forms).post(forms::create_form))
        .route("/forms/{id}", get(forms::get_form).put(forms::change_form))
        // Measuring.
        .route("/hits", get(hits::export::list_hits))
        .route(
            "/contacts",
            get(contacts::find_contacts).post(contacts::create_contact),
        )
        .route(
            "/contacts/{id}",
            get(contacts::show_contact).patch(contacts::change_contact),
        )
        .route("/contacts/{id}/timeline", get(contacts::show_timeline))
        .route("/contacts/{id}/opt-out", delete(contacts::end_opt_out))
        .route("/deliveries/{id}/report", get(reports::show_report))
        .route("/reports/deliveries/{id}/people", get(people::list_people))
        .route("/reports/hits", get(site_reports::show_hits))
        .route("/reports/visitors", get(site_reports::show_visitors))
        .route("/reports/pages", get(site_reports::show_pages))
        .route("/reports/referrers", get(site_reports::show_referrers))
        .route("/reports/campaigns", get(site_reports::show_campaigns))
        .route("/reports/revenue", get(site_reports::show_revenue))
        .route("/unknown-paths", get(unknown_paths::list_unknown_paths))
        // Before what needs no database: it covers the routes that are there by then.
        .route_layer(from_fn_with_state(Arc::clone(&app), await_tables))
        // Kept in the spool, whatever the database does.
        .route("/hits", post(hits::post_hits))
        // Looking at what becomes of a request.
        .route("/debug/decode", post(debug::explain_request))
        .fallback(refuse_path)
        // After the routes: it covers those that are there by then. `refuse_method` says which
        // methods there are.
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .layer(DefaultBodyLimit::max(app.limits.max_body_bytes))
        .layer(from_fn_with_state(app, require_admin))
}

/// Serves a change of links or deliveries at once, where the database still answers; else, and on
/// other servers, it comes with the next refresh.
async fn serve_change(app: &AdminState, at: Option<Micros>) {
    let Some(at) = at else { return };
    let fetched = tokio::time::timeout(MOST_FETCHING, app.links.fetch_changed(at)).await;
    if !matches!(fetched, Ok(Ok(()))) {
        tracing::warn!("the local link copy gets this change with its next refresh");
    }
}

/// There is nothing at this path.
pub async fn refuse_path(uri: Uri) -> Problem {
    Problem::no_path(&uri)
}

/// Lets requests with the admin token through; nobody else learns even which paths there are.
async fn require_admin(
    State(app): State<Arc<AdminState>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !is_admin(&app.token, request.headers()) {
        let why = match request.headers().get(AUTHORIZATION) {
            None => "the admin token is missing: send it as Authorization: Bearer <token>",
            Some(_) => {
                "the admin token is wrong: Authorization must be Bearer <token>, with the token \
                from admin_token or data/admin.token"
            }
        };
        return Problem::new(StatusCode::UNAUTHORIZED, why).into_response();
    }
    request.extensions_mut().insert(Actor("admin".to_owned()));
    next.run(request).await
}

/// Who makes a request, as histories name it.
#[derive(Clone, Debug)]
pub struct Actor(pub String);

/// Lets requests through once the tables are there. At a start they wait for the first attempt to
/// make them; where that failed, or takes longer than a caller should wait, they are told so.
async fn await_tables(
    State(app): State<Arc<AdminState>>,
    request: Request,
    next: Next,
) -> Response {
    let now = *app.tables.borrow();
    let tables = match now {
        Tables::Awaited => {
            let mut tables = app.tables.clone();
            let tried = tables.wait_for(|tables| *tables != Tables::Awaited);
            match tokio::time::timeout(START_PATIENCE, tried).await {
                Ok(Ok(tables)) => *tables,
                _ => Tables::Awaited,
            }
        }
        known => known,
    };
    let why = match tables {
        Tables::There => return next.run(request).await,
        Tables::Awaited => "the database tables are being created or upgraded",
        Tables::Missing => {
            "the database has not been reached yet, or its tables cannot be created (see the log)"
        }
    };
    Problem::starting(why).into_response()
}

/// Whether a request carries the admin token. The scheme is written in any case, with any spaces
/// behind it (RFC 9110, 11.1 and 11.4).
pub fn is_admin(token: &str, headers: &HeaderMap) -> bool {
    let given = headers
        .get(AUTHORIZATION)
        .map(|value| value.as_bytes().trim_ascii())
        .and_then(|value| value.split_first_chunk::<6>())
        .filter(|(scheme, rest)| scheme.eq_ignore_ascii_case(b"bearer") && rest.starts_with(b" "));
    given.is_some_and(|(_, given)| is_same_secret(token.as_bytes(), given.trim_ascii()))
}

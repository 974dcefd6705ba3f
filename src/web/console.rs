//! `/console`: what came of the mail, for people who look rather than read.
//!
//! Pages are made here and work without JavaScript; they ask `operator` and the store as the API
//! does, and never the API. Each names what its reader needs where it is added, as the API's paths
//! do. It is on the operators' listener, and on the public one where the API is.
//!
//! Every text that is shown comes from outside. Templates escape it, and an address from outside is
//! shown and leads nowhere; nothing of ours is inline, so the policy sent with each page stops
//! whatever would get through. No page asks for anything that counts a hit.

mod chart;
mod compare;
mod contacts;
mod deliveries;
mod delivery;
mod files;
mod form;
mod gate;
mod hit;
mod hits;
mod inspector;
mod links;
mod live;
mod operation;
mod page;
mod people;
mod show;
mod sign_in;
mod website;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Redirect;
use axum::routing::{get, post};
use tower_http::csrf::CsrfLayer;

use super::AdminState;
use super::api::{
    NAME_PEOPLE, OPERATE, READ_CONTACTS, READ_HITS, READ_LINKS, READ_REPORTS, WRITE_LINKS,
};
use crate::model::access::Need;

/// Most bytes of a form: an inspected request may be long.
const MOST_FORM: usize = 256 << 10;

/// The routes below `/console`.
pub(super) fn router(app: &Arc<AdminState>) -> Router<Arc<AdminState>> {
    let pages = Pages {
        app,
        router: Router::new(),
    };
    let pages = pages
        .add(READ_LINKS, |router| {
            router.route("/console/", get(deliveries::list))
        })
        .add(READ_REPORTS, |router| {
            router
                .route("/console/deliveries/{id}", get(delivery::get_delivery))
                .route("/console/compare", get(compare::get_comparison))
                .route("/console/website", get(website::get_website))
        })
        .add(NAME_PEOPLE, |router| {
            router.route("/console/deliveries/{id}/people", get(people::list))
        })
        .add(READ_CONTACTS, |router| {
            router
                .route("/console/contacts", get(contacts::list))
                .route("/console/contacts/{id}", get(contacts::get_contact))
        })
        .add(READ_LINKS, |router| {
            router
                .route("/console/links", get(links::list))
                .route("/console/links/{id}", get(links::get_link))
                .route("/console/links/{id}/code.svg", get(links::draw))
        })
        .add(WRITE_LINKS, |router| {
            router.route("/console/links/{id}/change", post(links::change))
        })
        .add(READ_HITS, |router| {
            router
                .route("/console/hits", get(hits::list))
                .route("/console/hits/live", get(live::watch))
                .route("/console/hits/{seq}", get(hit::get_hit))
        })
        .add(OPERATE, |router| {
            router
                .route("/console/hits/{seq}/verdict", post(hit::judge))
                .route("/console/links/orphans", get(links::list_orphans))
                .route("/console/operation", get(operation::get_operation))
                .route("/console/operation/quarantine/{id}", post(operation::retry))
                .route(
                    "/console/inspector",
                    get(inspector::ask).post(inspector::inspect),
                )
        });
    let open = Router::new()
        .route("/console", get(async || Redirect::permanent("/console/")))
        .route("/console/sign-in", get(sign_in::ask).post(sign_in::sign_in))
        .route("/console/sign-out", post(sign_in::sign_out))
        .route("/console/style.css", get(files::style))
        .route("/console/console.js", get(files::script))
        .route("/console/icon.svg", get(files::icon));
    let guard = CsrfLayer::new().with_rejection_response(page::refuse_stranger);
    pages
        .router
        .merge(open)
        .layer(DefaultBodyLimit::max(MOST_FORM))
        .layer(guard)
        .layer(from_fn(page::seal))
}

/// Pages, each with what its reader needs.
struct Pages<'a> {
    app: &'a Arc<AdminState>,
    router: Router<Arc<AdminState>>,
}

impl Pages<'_> {
    fn add(
        mut self,
        need: Need,
        routes: impl FnOnce(Router<Arc<AdminState>>) -> Router<Arc<AdminState>>,
    ) -> Self {
        let gate = gate::Gate {
            app: Arc::clone(self.app),
            need,
        };
        let routes = routes(Router::new()).route_layer(from_fn_with_state(gate, gate::let_in));
        self.router = self.router.merge(routes);
        self
    }
}

//! Every URL of the server on one page.

mod admin;
pub mod api;
mod body;
mod console;
mod demo;
pub mod error;
mod etag;
mod heads;
mod health;
mod manual;
mod page;
mod tracking;
mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use admin::unknown_paths::Fate;
use axum::body::Body;
use axum::extract::State;
use axum::response::{Redirect, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use http::header::{ALLOW, AUTHORIZATION, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use self::tracking::Outcome;
use crate::model::site::{OPERATOR_PATHS, OPERATOR_TREES};
use crate::tracking::route::{Route, RouteKind};

pub use admin::unknown_paths::UnknownPaths;
pub use admin::{AdminState, Tables};
pub use demo::DemoLinks;
pub use heads::{MOST_HEAD, Mended};
pub use health::{Readiness, ServerState};
pub use tracking::{Counters, ServedSite, Sites, TrackingState};
pub use upstream::Upstream;

/// Every URL of the server.
///
/// Links, pixels and the script's requests are nearly all there is, so they go straight to their
/// handlers: a walk through the router's tree, its boxes and extensions costs as much as all the
/// rest of a redirect. Everything else is axum's.
///
/// Cheap to clone; all clones answer by the states that were given last.
#[derive(Clone)]
pub struct Web {
    now: Arc<RwLock<Surface>>,
}

/// Which listener a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Everybody's: tracking, and the operator's side too where it is configured so.
    Public,
    /// The operators' own: no tracking.
    Console,
}

/// The state behind responses, for one configuration.
#[derive(Clone)]
struct Surface {
    tracking: Arc<TrackingState>,
    admin: Arc<AdminState>,
    /// What is no tracking request, on the public listener.
    public: Router,
    /// Everything on the operators' listener.
    console: Router,
}

impl Surface {
    /// All routes.
    fn new(admin: Arc<AdminState>) -> Self {
        Self {
            tracking: Arc::clone(&admin.tracking),
            public: public(&admin).with_state(Arc::clone(&admin)),
            console: console(&admin).with_state(Arc::clone(&admin)),
            admin,
        }
    }
}

/// Whether the server lives, for whoever watches it: on both listeners.
fn health() -> Router<Arc<AdminState>> {
    Router::new()
        .route("/livez", get(health::get_liveness))
        .route("/readyz", get(health::get_readiness))
}

/// What is for operators only.
fn operators(admin: &Arc<AdminState>) -> Router<Arc<AdminState>> {
    Router::new()
        .route("/metrics", get(health::get_metrics))
        .merge(manual::router())
        .merge(console::router(admin))
        .route("/api/v1/", any(api::refuse_path))
        .nest("/api/v1", api::router(Arc::clone(admin)))
}

/// The operators' listener.
fn console(admin: &Arc<AdminState>) -> Router<Arc<AdminState>> {
    health()
        .merge(operators(admin))
        .route("/", get(async || Redirect::to("/console/")))
        .fallback(async |method: Method, uri: Uri| page::refuse_path(&method, &uri))
}

/// What the public listener answers beside tracking requests.
fn public(admin: &Arc<AdminState>) -> Router<Arc<AdminState>> {
    let mut router = health();
    router = match admin.api.is_public() {
        true => router.merge(operators(admin)),
        false => router.nest("/api/v1", api::senders_router(Arc::clone(admin))),
    };
    router = router.fallback(answer_unknown);
    if admin.upstream.is_none() {
        // The old system has its own.
        router = router
            .route("/", get(page::get_start))
            .route("/robots.txt", get(async || "User-agent: *\nDisallow: /\n"))
            .route("/favicon.ico", get(async || StatusCode::NO_CONTENT));
    }
    if admin.demo.is_some() {
        router = router
            .route("/demo", get(demo::get_mail))
            .route("/demo/shop", get(demo::get_shop))
            .route("/demo/demo.css", get(demo::get_style));
    }
    router
}

impl Web {
    /// Answers tracking requests by `admin.tracking` alone, and everything else by `admin`.
    pub fn new(admin: Arc<AdminState>) -> Self {
        Self {
            now: Arc::new(RwLock::new(Surface::new(admin))),
        }
    }

    /// Switches to another state from the next request on; requests in progress end as they began.
    pub fn replace(&self, admin: Arc<AdminState>) {
        let new = Surface::new(admin);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// What answers now; a lock that only a reload takes from readers, a few nanoseconds of a
    /// request's microseconds.
    fn tracking(&self) -> Arc<TrackingState> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&now.tracking)
    }

    /// The current state of the operator's side.
    pub fn admin(&self) -> Arc<AdminState> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&now.admin)
    }

    fn router(&self, door: Door) -> Router {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        match door {
            Door::Public => now.public.clone(),
            Door::Console => now.console.clone(),
        }
    }

    /// A name for the log: the kind of URL, nothing of its contents.
    pub fn route_name(&self, uri: &Uri, headers: &HeaderMap) -> &'static str {
        let tracking = self.tracking();
        match tracking.site_of(headers).site.paths.route(uri) {
            Some(route) => route.kind.name(),
            None if uri.path().starts_with("/api/") => "api",
            None if uri.path().starts_with("/console") => "console",
            None => "other",
        }
    }

    /// Answers a request of the client at `peer`.
    pub async fn answer(
        &self,
        door: Door,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Response {
        match door {
            Door::Public => self.answer_public(peer, request).await,
            Door::Console => {
                let mut request = request.map(Body::new);
                let client = self.tracking().client_of(peer.ip(), request.headers());
                let peer = peer.ip();
                request.extensions_mut().insert(Came { door, peer, client });
                self.answer_page(door, request).await
            }
        }
    }

    async fn answer_public(&self, peer: SocketAddr, request: Request<Incoming>) -> Response {
        let tracking = self.tracking();
        let (parts, body) = request.into_parts();
        let served = tracking.site_of(&parts.headers);
        // Whose script asks, wherever it asks: one answer that a page's script may not read, a 404
        // among them, makes Mautic's script give up asking for the rest of the visit.
        let script = match parts.headers.contains_key(ORIGIN) && !is_operators(parts.uri.path()) {
            true => Some(served.permission(&parts.headers)),
            false => None,
        };
        if let (&Method::OPTIONS, Some(permission)) = (&parts.method, &script)
            && permission.is_granted()
        {
            return permission.preflight();
        }
        let route = match served.site.paths.route(&parts.uri) {
            Some(route) if !self.is_ours(&tracking, &route).await => None,
            route => route,
        };
        let answered = match route {
            Some(route) => {
                let body = match parts.method {
                    Method::POST => Body::new(body),
                    _ => Body::empty(),
                };
                let head = tracking::Head::of(&tracking, &served.site, peer.ip(), &parts, route);
                match tracking.decode(served, &head, body).await {
                    Outcome::OfNobody { body, .. } if self.has_upstream() => Err(Body::from(body)),
                    mut outcome => {
                        if let Some(orphan) = outcome.take_orphan() {
                            let admin = self.admin();
                            admin.unknown_paths.note_orphan(*orphan, &parts.headers);
                        }
                        Ok(tracking.settle(served, outcome, &parts.headers).await)
                    }
                }
            }
            None => Err(Body::new(body)),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(body) => {
                let client = tracking.client_of(peer.ip(), &parts.headers);
                let mut request = Request::from_parts(parts, body);
                let (door, peer) = (Door::Public, peer.ip());
                request.extensions_mut().insert(Came { door, peer, client });
                self.answer_page(Door::Public, request).await
            }
        };
        if let Some(permission) = script {
            permission.add(response.headers_mut());
        }
        response
    }

    /// Whether what a route means is answered here. Pages may have forms that only the old system
    /// knows; without one, who submits them is told so here.
    async fn is_ours(&self, tracking: &TrackingState, route: &Route<'_>) -> bool {
        tracking.has(route).await || route.kind == RouteKind::Form && !self.has_upstream()
    }

    fn has_upstream(&self) -> bool {
        self.admin().upstream.is_some()
    }

    /// Everything that is not a tracking request.
    async fn answer_page(&self, door: Door, request: Request<Body>) -> Response {
        let method = request.method().clone();
        match Box::pin(self.router(door).oneshot(request)).await {
            Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
                error::refuse_method(&method, response.headers().get(ALLOW).cloned())
            }
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// By which listener.
    door: Door,
    /// From which address, a proxy's perhaps.
    peer: IpAddr,
    /// From which client, by our own rules of trust.
    client: IpAddr,
}

/// What no route matches: the old system's, if there is one.
async fn answer_unknown(
    State(admin): State<Arc<AdminState>>,
    Extension(Came { client, .. }): Extension<Came>,
    mut request: Request<Body>,
) -> Response {
    let path = request.uri().path();
    if is_operators(path) {
        return page::refuse_path(request.method(), request.uri());
    }
    let site = admin.site_of(request.headers());
    match &admin.upstream {
        Some(upstream) => {
            admin.unknown_paths.note(path, Fate::PassedOn);
            // Our own secrets, from an operator's mistyped call, are not for the old system.
            if api::access::is_ours(&admin.token, request.headers()) {
                request.headers_mut().remove(AUTHORIZATION);
            }
            request.headers_mut().remove(tracking::DEBUG_HEADER);
            upstream.pass_on(site, client, request).await
        }
        None => {
            admin.unknown_paths.note(path, Fate::Refused);
            match &site.fallback_url {
                Some(page) if page::is_navigation(&request) => tracking::redirect(page.clone()),
                _ => page::refuse_path(request.method(), request.uri()),
            }
        }
    }
}

/// Whether a path is the operator's: no page's script has any business there.
fn is_operators(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next();
    let names = OPERATOR_TREES.iter().chain(&OPERATOR_PATHS);
    let mut names = names.map(|name| name.trim_start_matches('/'));
    first.is_some_and(|first| names.any(|name| name == first))
}

//! The web: every URL on one page, and what the handlers share.

pub mod api;
pub mod client_ip;
mod collect;
mod cookies;
mod cors;
mod demo;
pub mod error;
mod health;
mod redirect;
mod script;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use ipnet::IpNet;
use metrics::Counter;
use tower::ServiceExt as _;

pub use cookies::CookieMaker;
pub use cors::Cors;
pub use demo::DemoLinks;
pub use script::Script;

use crate::clock::Clock;
use crate::config::Paths;
use crate::dialect::Rules;
use crate::inbound::Inbound;
use crate::link_copy::LinkCopy;
use crate::sink::Sink;
use crate::store::Store;

/// Every URL of the server.
///
/// Links, pixels and the script's requests are nearly all there is, so they go straight to their handlers: a walk through the
/// router's tree, its boxes and extensions costs as much as all the rest of a redirect. Everything else is axum's.
#[derive(Clone)]
pub struct Web {
    app: Arc<App>,
    router: Router,
}

/// A request of the tracking surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracking {
    Link,
    Open,
    Pixel,
    Script,
    Event,
    Visitor,
}

impl Web {
    /// All routes.
    pub fn new(app: Arc<App>, max_body_bytes: usize) -> Self {
        let mut router = Router::new()
            .route("/livez", get(health::get_liveness))
            .route("/readyz", get(health::get_readiness))
            .route("/metrics", get(health::get_metrics))
            .route("/robots.txt", get(async || "User-agent: *\nDisallow: /\n"))
            .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
            .nest("/api/v1", api::router(Arc::clone(&app), max_body_bytes));
        if app.is_demo {
            router = router
                .route("/demo", get(demo::get_mail))
                .route("/demo/shop", get(demo::get_shop))
                .route("/demo/demo.css", get(demo::get_style));
        }
        Self {
            router: router.with_state(Arc::clone(&app)),
            app,
        }
    }

    /// The tracking surface: the operator's names and the usual ones, so that links and pages of yesterday go on working.
    fn tracking(&self, path: &str) -> Option<Tracking> {
        let paths = &self.app.paths;
        let is_below = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        Some(match path {
            _ if is_below(&paths.redirect) || path.starts_with("/r/") => Tracking::Link,
            _ if path.starts_with("/o/") || path.starts_with("/email/") => Tracking::Open,
            _ if path == paths.pixel || path == "/mtracking.gif" => Tracking::Pixel,
            _ if path == paths.event || path == "/mtc/event" => Tracking::Event,
            _ if path == paths.script || path == "/mtc.js" => Tracking::Script,
            "/mtc" => Tracking::Visitor,
            _ => return None,
        })
    }

    /// A name for the log: which kind of URL, nothing of what stands in it.
    pub fn route_name(&self, path: &str) -> &'static str {
        match self.tracking(path) {
            Some(Tracking::Link) => "link",
            Some(Tracking::Open) => "open",
            Some(Tracking::Pixel) => "pixel",
            Some(Tracking::Script) => "script",
            Some(Tracking::Event) => "event",
            Some(Tracking::Visitor) => "visitor",
            None if path.starts_with("/api/") => "api",
            None => "other",
        }
    }

    /// Answers a request of the client at `peer`.
    pub async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response {
        let Some(tracking) = self.tracking(request.uri().path()) else {
            return match Box::pin(self.router.clone().oneshot(request)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
        };
        let app = &*self.app;
        let (parts, body) = request.into_parts();
        let visit = Visit {
            peer: peer.ip(),
            parts: &parts,
        };
        match (tracking, &parts.method) {
            (Tracking::Link, &(Method::GET | Method::HEAD)) => {
                redirect::follow_link(app, visit).await
            }
            (Tracking::Open, &(Method::GET | Method::HEAD)) => {
                redirect::open_mail(app, visit).await
            }
            (Tracking::Pixel, &(Method::GET | Method::HEAD)) => {
                collect::get_pixel(app, visit).await
            }
            (Tracking::Script, &(Method::GET | Method::HEAD)) => {
                script::get_script(app, &parts.headers)
            }
            (Tracking::Visitor, &(Method::GET | Method::HEAD)) => collect::get_visitor(app, visit),
            (Tracking::Event, &Method::POST) => {
                Box::pin(collect::post_event(app, visit, body)).await
            }
            (Tracking::Event | Tracking::Visitor, &Method::OPTIONS) => {
                collect::get_permission(app, visit)
            }
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        }
    }
}

/// The head of a tracking request and where it came from.
#[derive(Clone, Copy)]
struct Visit<'a> {
    peer: IpAddr,
    parts: &'a Parts,
}

/// What the handlers share.
pub struct App {
    /// How requests are read.
    pub rules: Rules,
    /// Where hits go.
    pub sink: Arc<dyn Sink>,
    /// Destinations.
    pub links: LinkCopy,
    /// The API's database.
    pub store: Store,
    /// Times and ids.
    pub clock: Clock,
    /// Cookies.
    pub cookies: CookieMaker,
    /// Origins.
    pub cors: Cors,
    /// Networks of proxies.
    pub proxies: Vec<IpNet>,
    /// Networks of trusted senders.
    pub senders: Vec<IpNet>,
    /// Names of URLs.
    pub paths: Paths,
    /// Public URL without a slash at its end, and its host.
    pub base_url: String,
    /// Host of the public URL.
    pub own_host: String,
    /// Where unknown links lead.
    pub fallback_url: Option<String>,
    /// Whether redirects hand visits over to other domains.
    pub landing_parameter: bool,
    /// Whether answers wait for the disk.
    pub is_durable: bool,
    /// How long they wait at most.
    pub patience: Duration,
    /// Token of the API.
    pub admin_token: String,
    /// The script.
    pub script: Script,
    /// Whether `/demo` is served.
    pub is_demo: bool,
    /// Its links, once they are made.
    pub demo: OnceLock<DemoLinks>,
    /// How the server is.
    pub state: Arc<dyn ServerState>,
    /// Counted answers.
    pub counters: Counters,
}

/// What readiness and metrics tell of the rest of the server.
pub trait ServerState: Send + Sync {
    /// How it is now.
    fn read(&self) -> Readiness;
    /// All figures in Prometheus' text format.
    fn metrics(&self) -> String;
}

/// How the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the spool takes hits.
    pub is_taking: bool,
    /// Whether the server is on its way out.
    pub is_stopping: bool,
    /// Hits that wait for the database.
    pub backlog: u64,
    /// Their bytes.
    pub bytes: u64,
    /// `up`, `down` or `unknown`.
    pub database: &'static str,
}

/// Counted answers.
pub struct Counters {
    redirects: Counter,
    collected: Counter,
    unknown_links: Counter,
    refused_origins: Counter,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            redirects: metrics::counter!("sillage_redirects_total"),
            collected: metrics::counter!("sillage_collected_total"),
            unknown_links: metrics::counter!("sillage_unknown_links_total"),
            refused_origins: metrics::counter!("sillage_refused_origins_total"),
        }
    }
}

impl App {
    /// A request as dialects see it.
    fn inbound<'a>(&self, visit: Visit<'a>, body: &'a [u8]) -> Inbound<'a> {
        let Visit { peer, parts } = visit;
        Inbound {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body,
            client: client_ip::client_ip(peer, &parts.headers, &self.proxies),
            is_trusted_sender: client_ip::is_in(peer.to_canonical(), &self.senders),
            received_at: self.clock.now(),
        }
    }
}

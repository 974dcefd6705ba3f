//! The web: every URL on one page, and what the handlers share.

pub mod api;
mod demo;
pub mod error;
mod heads;
mod health;
mod page;
mod tracking;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use hyper::body::Incoming;
use ipnet::IpNet;
use metrics::Counter;
use tokio::sync::watch;
use tower::ServiceExt as _;

pub use demo::DemoLinks;
pub use heads::{MOST_HEAD, Mended};
pub use tracking::{CookieMaker, Cors, Script};

use self::tracking::{Outcome, Route, adobe, client_ip, collect, form, mapp, redirect, script};
use crate::config::{self, Paths};
use crate::model::clock::Clock;
use crate::model::host_pattern::HostPattern;
use crate::queue::sink::Sink;
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::store::Store;
use crate::tracking::Rules;
use crate::tracking::inbound::Inbound;

/// Every URL of the server.
///
/// Links, pixels and the script's requests are nearly all there is, so they go straight to their
/// handlers: a walk through the router's tree, its boxes and extensions costs as much as all the
/// rest of a redirect. Everything else is axum's.
///
/// Cheap to clone; all clones answer by the [`App`] that was given last.
#[derive(Clone)]
pub struct Web {
    now: Arc<RwLock<Surface>>,
    max_body_bytes: usize,
}

/// What answers, by one configuration.
#[derive(Clone)]
struct Surface {
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
    Form,
    Adobe,
    Mapp,
}

impl Surface {
    /// All routes.
    fn new(app: Arc<App>, max_body_bytes: usize) -> Self {
        let mut router = Router::new()
            .route("/", get(page::get_start))
            .route("/livez", get(health::get_liveness))
            .route("/readyz", get(health::get_readiness))
            .route("/metrics", get(health::get_metrics))
            .route("/robots.txt", get(async || "User-agent: *\nDisallow: /\n"))
            .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
            .route("/api/v1/", any(api::refuse_path))
            .nest("/api/v1", api::router(Arc::clone(&app), max_body_bytes));
        router = router.fallback(page::refuse_path);
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
}

impl Web {
    /// Answers by `app`.
    pub fn new(app: Arc<App>, max_body_bytes: usize) -> Self {
        let now = Surface::new(app, max_body_bytes);
        Self {
            now: Arc::new(RwLock::new(now)),
            max_body_bytes,
        }
    }

    /// Answers by another one from the next request on; requests that were begun end as they began.
    pub fn replace(&self, app: Arc<App>) {
        let new = Surface::new(app, self.max_body_bytes);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// What answers now; a lock that only a reload takes from readers, a few nanoseconds of a
    /// request's microseconds.
    fn app(&self) -> Arc<App> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&now.app)
    }

    fn router(&self) -> Router {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.router.clone()
    }

    /// A name for the log: which kind of URL, nothing of what stands in it.
    pub fn route_name(&self, uri: &Uri) -> &'static str {
        match self.app().route(uri).map(|route| route.tracking) {
            Some(Tracking::Link) => "link",
            Some(Tracking::Open) => "open",
            Some(Tracking::Pixel) => "pixel",
            Some(Tracking::Script) => "script",
            Some(Tracking::Event) => "event",
            Some(Tracking::Visitor) => "visitor",
            Some(Tracking::Form) => "form",
            Some(Tracking::Adobe) => "adobe",
            Some(Tracking::Mapp) => "mapp",
            None if uri.path().starts_with("/api/") => "api",
            None => "other",
        }
    }

    /// Answers a request of the client at `peer`.
    pub async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response {
        let app = self.app();
        let (parts, body) = request.into_parts();
        let Some(route) = app.route(&parts.uri) else {
            let method = parts.method.clone();
            let request = Request::from_parts(parts, body);
            return match Box::pin(self.router().oneshot(request)).await {
                Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
                    api::refuse_method(&method, &response)
                }
                Ok(response) => response,
                Err(never) => match never {},
            };
        };
        let body = match parts.method {
            Method::POST => Body::new(body),
            _ => Body::empty(),
        };
        let visit = Visit::of(peer.ip(), &parts, &route);
        let outcome = app.track(route.tracking, visit, body).await;
        app.settle(outcome, &parts.headers).await
    }
}

impl App {
    /// The tracking surface: the operator's names and the usual ones, so that links and pages of
    /// yesterday go on working. What mail programs and installations made of an address,
    /// [`App::route`] knows.
    fn tracking(&self, path: &str, query: &str) -> Option<Tracking> {
        let paths = &self.paths;
        let below = |prefix: &str| {
            path.strip_prefix(prefix)
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(rest) = below(&paths.redirect).or_else(|| below("/r")) {
            return if crate::tracking::adobe::recognises(rest, query) {
                Some(Tracking::Adobe)
            } else {
                Some(Tracking::Link)
            };
        }
        Some(match path {
            _ if path.starts_with("/o/") || path.starts_with("/email/") => Tracking::Open,
            _ if path == paths.pixel || path == "/mtracking.gif" => Tracking::Pixel,
            _ if path == paths.event || path == "/mtc/event" => Tracking::Event,
            _ if path == paths.script || path == "/mtc.js" => Tracking::Script,
            "/mtc" => Tracking::Visitor,
            "/form/submit" | "/form/submit/ajax" => Tracking::Form,
            _ if crate::tracking::mapp::recognises(path, &self.mapp.path) => Tracking::Mapp,
            _ => return None,
        })
    }

    /// What a tracking request comes to. Stores nothing.
    async fn track(&self, tracking: Tracking, visit: Visit<'_>, body: Body) -> Outcome {
        match (tracking, &visit.parts.method) {
            (Tracking::Link, &(Method::GET | Method::HEAD)) => {
                redirect::follow_link(self, visit).await
            }
            (Tracking::Open, &(Method::GET | Method::HEAD)) => redirect::open_mail(self, visit),
            (Tracking::Pixel, &(Method::GET | Method::HEAD)) => collect::get_pixel(self, visit),
            (Tracking::Script, &(Method::GET | Method::HEAD)) => {
                script::get_script(self, &visit.parts.headers).into()
            }
            (Tracking::Visitor, &(Method::GET | Method::HEAD)) => {
                collect::get_visitor(self, visit).into()
            }
            (Tracking::Event, &Method::POST) => {
                Box::pin(collect::post_event(self, visit, body)).await
            }
            (Tracking::Event | Tracking::Visitor, &Method::OPTIONS) => {
                collect::get_permission(self, visit).into()
            }
            (Tracking::Form, _) => Box::pin(form::answer_form(self, visit, body)).await,
            (Tracking::Adobe, _) => Box::pin(adobe::answer_adobe(self, visit)).await,
            (Tracking::Mapp, _) => Box::pin(mapp::answer_mapp(self, visit, body)).await,
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response().into(),
        }
    }
}

/// Lets pages of other sites show what answers with it.
static EMBEDDABLE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
static X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Keeps an answer out of caches, where later clicks would end, and out of search engines.
fn hide(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(&X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
}

/// The head of a tracking request and where it came from.
#[derive(Clone, Copy)]
struct Visit<'a> {
    peer: IpAddr,
    parts: &'a Parts,
    /// Path and raw query as they are meant, which is nearly always as they came.
    path: &'a str,
    query: &'a str,
    /// Text behind the address was cut away to understand it.
    is_repaired: bool,
}

impl<'a> Visit<'a> {
    fn of(peer: IpAddr, parts: &'a Parts, route: &'a Route<'a>) -> Self {
        Self {
            peer,
            parts,
            path: &route.path,
            query: &route.query,
            is_repaired: route.is_repaired,
        }
    }
}

/// What the handlers share.
pub struct App {
    /// How requests are read.
    pub rules: Rules,
    /// Where hits go.
    pub sink: Arc<dyn Sink>,
    /// Destinations.
    pub links: LinkCopy,
    /// Definitions of forms.
    pub forms: FormCopy,
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
    /// Hosts that a destination with a personal host may have.
    pub personal_hosts: Vec<HostPattern>,
    /// Mapp's section.
    pub mapp: config::Mapp,
    /// What makes verdicts visible.
    pub debug_key: Option<String>,
    /// Whether answers wait for the disk.
    pub is_durable: bool,
    /// How long they wait at most.
    pub patience: Duration,
    /// Token of the API.
    pub admin_token: String,
    /// Where a request may keep what has no room in memory.
    pub data_dir: PathBuf,
    /// The script.
    pub script: Script,
    /// Whether `/demo` is served.
    pub is_demo: bool,
    /// Its links, once they are made.
    pub demo: Arc<OnceLock<DemoLinks>>,
    /// How the server is.
    pub state: Arc<dyn ServerState>,
    /// Whether the API's database has its tables.
    pub tables: watch::Receiver<Tables>,
    /// Counted answers.
    pub counters: Counters,
}

/// Whether the database has its tables, which a start makes or brings up to date first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// The first attempt is on its way.
    Awaited,
    /// An attempt failed: the database cannot be reached, or refuses. There will be another.
    Missing,
    /// They are there.
    There,
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
    /// Hits that wait for the disk.
    pub unwritten: u64,
    /// Hits that wait for the database.
    pub backlog: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged spools that were put aside and are still there.
    pub damaged: u64,
    /// `up`, `down` or `unknown`.
    pub database: &'static str,
    /// `usable`, `starting` or `down`.
    pub api: &'static str,
    /// Whether it has the keys that all links are signed with: `ok`, `lacking`, or `unchecked`
    /// while no database has answered.
    pub keys: &'static str,
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
        let Visit { peer, parts, .. } = visit;
        Inbound {
            method: &parts.method,
            path: visit.path,
            query: visit.query,
            headers: &parts.headers,
            body,
            client: client_ip::client_ip(peer, &parts.headers, &self.proxies),
            is_trusted_sender: client_ip::is_in(peer.to_canonical(), &self.senders),
            received_at: self.clock.now(),
        }
    }
}

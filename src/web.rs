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

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{MethodRouter, get, post};
use http::StatusCode;
use http::request::Parts;
use ipnet::IpNet;
use metrics::Counter;

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
pub fn router(app: Arc<App>, max_body_bytes: usize) -> Router {
    let paths = &app.paths;
    let event = || post(collect::post_event).options(collect::get_permission);
    let mut router = Router::new()
        // Tracking.
        .route(
            &format!("{}/{{*name}}", paths.redirect),
            get(redirect::follow_link),
        )
        .route(&format!("{}/", paths.redirect), get(redirect::follow_link))
        .route("/o/{name}", get(redirect::open_mail))
        .route(&paths.pixel, get(collect::get_pixel))
        .route(&paths.script, get(script::get_script))
        .route(&paths.event, event())
        .route(
            "/mtc",
            get(collect::get_visitor).options(collect::get_permission),
        );
    // An alias is one more name: links and pages of yesterday go on working.
    let usual = Paths::default();
    for (path, alias, route) in [
        (&usual.pixel, &paths.pixel, get(collect::get_pixel)),
        (&usual.script, &paths.script, get(script::get_script)),
        (&usual.event, &paths.event, event()),
    ] as [(&String, &String, MethodRouter<Arc<App>>); 3]
    {
        if path != alias {
            router = router.route(path, route);
        }
    }
    if usual.redirect != paths.redirect {
        router = router.route(
            &format!("{}/{{*name}}", usual.redirect),
            get(redirect::follow_link),
        );
    }
    if app.is_demo {
        router = router
            .route("/demo", get(demo::get_mail))
            .route("/demo/shop", get(demo::get_shop))
            .route("/demo/demo.css", get(demo::get_style));
    }
    router
        // Operation.
        .route("/livez", get(health::get_liveness))
        .route("/readyz", get(health::get_readiness))
        .route("/metrics", get(health::get_metrics))
        .route("/robots.txt", get(async || "User-agent: *\nDisallow: /\n"))
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
        // API.
        .nest("/api/v1", api::router(Arc::clone(&app), max_body_bytes))
        .with_state(app)
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
    fn inbound<'a>(&self, parts: &'a Parts, body: &'a [u8]) -> Inbound<'a> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let client = client_ip::client_ip(peer, &parts.headers, &self.proxies);
        Inbound {
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body,
            client,
            is_trusted_sender: client_ip::is_in(peer.to_canonical(), &self.senders),
            received_at: self.clock.now(),
        }
    }
}

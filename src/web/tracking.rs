//! What answers tracking requests: links, pixels, the script and what it sends, forms, and the
//! addresses of Adobe's and Mapp's. Handlers get a [`TrackingState`] and nothing else, so none of
//! them can wait for the database.

pub(in crate::web) mod adobe;
pub(in crate::web) mod client_ip;
pub(in crate::web) mod collect;
mod cookies;
mod cors;
pub(in crate::web) mod form;
pub(in crate::web) mod mapp;
mod outcome;
pub(in crate::web) mod redirect;
mod route;
pub(in crate::web) mod script;

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::IntoResponse as _;
use http::request::Parts;
use http::{HeaderName, Method, StatusCode};
use metrics::Counter;

pub use cookies::CookieMaker;
pub use cors::Cors;
pub use script::Script;

pub(in crate::web) use outcome::Outcome;
use route::Route;

use super::page::hide;
use super::{error, page};
use crate::config;
use crate::model::clock::Clock;
use crate::queue::sink::Sink;
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::tracking::Rules;
use crate::tracking::inbound::Inbound;

/// Lets pages of other sites show what answers with it.
static EMBEDDABLE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What tracking requests are answered by. The database is not in it: links and forms come from
/// their local copies, hits go into the sink.
pub struct TrackingState {
    /// How requests are read.
    pub rules: Rules,
    /// Where hits go.
    pub sink: Arc<dyn Sink>,
    /// Destinations.
    pub links: LinkCopy,
    /// Definitions of forms.
    pub forms: FormCopy,
    /// Times and ids.
    pub clock: Clock,
    /// Cookies.
    pub cookies: CookieMaker,
    /// Origins.
    pub cors: Cors,
    /// The script.
    pub script: Script,
    /// Host of the public URL.
    pub own_host: String,
    /// Whom to believe.
    pub trust: config::Trust,
    /// Names of URLs.
    pub paths: config::Paths,
    /// Where links may lead, and what they hand over.
    pub redirects: config::Links,
    /// Mapp's protocol.
    pub mapp: config::Mapp,
    /// What makes verdicts visible.
    pub debug: config::Debug,
    /// When a hit is answered.
    pub spool: config::Spool,
    /// Counted answers.
    pub counters: Counters,
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

/// A request of the tracking surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Tracking {
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

impl Tracking {
    /// For the log.
    pub(in crate::web) fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Open => "open",
            Self::Pixel => "pixel",
            Self::Script => "script",
            Self::Event => "event",
            Self::Visitor => "visitor",
            Self::Form => "form",
            Self::Adobe => "adobe",
            Self::Mapp => "mapp",
        }
    }
}

/// The head of a tracking request and where it came from.
#[derive(Clone, Copy)]
pub(in crate::web) struct Visit<'a> {
    peer: IpAddr,
    parts: &'a Parts,
    /// Path and raw query as they are meant, which is nearly always as they came.
    path: &'a str,
    query: &'a str,
    /// Text behind the address was cut away to understand it.
    is_repaired: bool,
}

impl<'a> Visit<'a> {
    pub(in crate::web) fn of(peer: IpAddr, parts: &'a Parts, route: &'a Route<'a>) -> Self {
        Self {
            peer,
            parts,
            path: &route.path,
            query: &route.query,
            is_repaired: route.is_repaired,
        }
    }
}

impl TrackingState {
    /// The tracking surface: the operator's names and the usual ones, so that links and pages of
    /// yesterday go on working. What mail programs and installations made of an address,
    /// [`TrackingState::route`] knows.
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
    pub(in crate::web) async fn track(
        &self,
        tracking: Tracking,
        visit: Visit<'_>,
        body: Body,
    ) -> Outcome {
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

    /// A request as dialects see it.
    fn inbound<'a>(&self, visit: Visit<'a>, body: &'a [u8]) -> Inbound<'a> {
        let Visit { peer, parts, .. } = visit;
        let config::Trust { proxies, senders } = &self.trust;
        Inbound {
            method: &parts.method,
            path: visit.path,
            query: visit.query,
            headers: &parts.headers,
            body,
            client: client_ip::client_ip(peer, &parts.headers, proxies),
            is_trusted_sender: client_ip::is_in(peer.to_canonical(), senders),
            received_at: self.clock.now(),
        }
    }
}

//! The old system: requests to a moved tracking domain that this server does not answer (images of
//! emails already sent, landing pages, dynamic content, callbacks) are passed on to it, under its
//! own name.
//!
//! A path that a dialect handles never depends on it, so clicks work while it is down. Bodies
//! stream both ways and are never held whole. Only so many requests are on their way at once: an
//! old system that hangs takes no more than their memory.
//!
//! | goes on | does not |
//! |---|---|
//! | method, path, query, body, headers | hop-by-hop headers (RFC 9110, 7.6.1), `Expect`, what clients say in `Forwarded` and `X-Forwarded-…` |
//! | cookies of the old system | our own, both ways |
//! | status and headers of the answer | `Domain` of its cookies where it is its own host, which browsers would refuse |
//!
//! An answer that redirects to the old system's own address is led to ours.

mod body;
mod headers;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use url::Url;

use self::body::{Activity, Idle, Watched};
use self::headers::Asked;
use super::page::page;
use crate::config;
use crate::model::retry;
use crate::model::site::Site;
use crate::tls::with_roots;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const KEPT: Duration = Duration::from_secs(30);

type Connector = HttpsConnector<HttpConnector>;

/// The old system, and the way there.
pub struct Upstream {
    client: Client<Connector, Body>,
    scheme: Scheme,
    authority: Authority,
    /// Prefix of every path there; empty, or starting with a slash and not ending with one.
    prefix: String,
    /// The `Host` it is sent.
    host: HeaderValue,
    patience: Duration,
    most_bytes: u64,
    room: Arc<Semaphore>,
}

/// Why the old system did not respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Too many requests are waiting for it already.
    Busy,
    /// It cannot be reached, or the connection breaks.
    Away,
    /// It stays silent for too long.
    Slow,
    /// The request is longer than allowed.
    TooLarge,
    /// The request came from here.
    Loop,
}

impl Failure {
    fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Away => "away",
            Self::Slow => "slow",
            Self::TooLarge => "too large",
            Self::Loop => "loop",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Away => StatusCode::BAD_GATEWAY,
            Self::Slow => StatusCode::GATEWAY_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }

    fn answer(self) -> Response {
        let line = match self {
            Self::TooLarge => "What was sent is too large.",
            Self::Loop => "This address leads back to itself.",
            Self::Busy | Self::Away | Self::Slow => "Please try again in a few minutes.",
        };
        let mut response = page(self.status(), "This page cannot be shown", line);
        if self == Self::Busy {
            let after = HeaderValue::from_static(retry::RETRY_AFTER);
            response.headers_mut().insert(RETRY_AFTER, after);
        }
        response
    }
}

impl Upstream {
    /// The old system of a configuration; `None` if none is configured. The configuration has been
    /// validated.
    pub fn new(config: &config::Upstream) -> Option<Self> {
        let url = Url::parse(config.url.as_deref()?).ok()?;
        let at: Uri = url.as_str().parse().ok()?;
        let authority = at.authority()?.clone();
        let host = config.host.as_deref().unwrap_or(authority.as_str());
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = with_roots("upstream.url")?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Some(Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(KEPT)
                // Names of headers as they came: old systems may look at their case.
                .http1_preserve_header_case(true)
                .build(connector),
            scheme: at.scheme()?.clone(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            host: HeaderValue::try_from(host).ok()?,
            authority,
            patience: config.timeout,
            most_bytes: config.max_body_bytes,
            room: Arc::new(Semaphore::new(config.max_requests)),
        })
    }

    /// Forwards a client's request to the old system.
    pub async fn pass_on(&self, site: &Site, client: IpAddr, request: Request<Body>) -> Response {
        let (response, outcome) = match self.ask(site, client, request).await {
            Ok(response) => (response, "answered"),
            Err(failure) => (failure.answer(), failure.word()),
        };
        metrics::counter!("sillage_upstream_requests_total", "outcome" => outcome).increment(1);
        response
    }

    /// Tells the old system that the reader of one of Mautic's messages has unsubscribed, as the
    /// reader's mailbox would (RFC 8058). False if it must be retried.
    pub(crate) async fn unsubscribe(&self, site: &Site, hash: &str) -> bool {
        let path = format!("/email/unsubscribe/{hash}");
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from("List-Unsubscribe=One-Click"));
        let Ok(request) = request else {
            return true;
        };
        let here = IpAddr::from([127, 0, 0, 1]);
        match self.ask(site, here, request).await {
            // A message that it does not know, it will not know tomorrow. Anything else, such as a
            // redirect, a limit or a firewall, says nothing about the opt-out.
            Ok(response) => {
                let status = response.status();
                status.is_success() || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
            }
            Err(_) => false,
        }
    }

    async fn ask(
        &self,
        site: &Site,
        client: IpAddr,
        request: Request<Body>,
    ) -> Result<Response, Failure> {
        if headers::is_loop(request.headers()) {
            tracing::warn!("upstream.url leads back to this server");
            return Err(Failure::Loop);
        }
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.most_bytes) {
            return Err(Failure::TooLarge);
        }
        let room = Arc::clone(&self.room).try_acquire_owned();
        let room = room.map_err(|_| Failure::Busy)?;
        let (mut parts, body) = request.into_parts();
        parts.uri = self.uri(&parts.uri).ok_or(Failure::Away)?;
        parts.version = http::Version::HTTP_11;
        let asked = Asked {
            site,
            client,
            host: &self.host,
        };
        asked.write(&mut parts.headers);
        let most = usize::try_from(self.most_bytes).unwrap_or(usize::MAX);
        let activity = Activity::default();
        let body = Watched::new(Limited::new(body, most), activity.clone());
        let request = Request::from_parts(parts, Body::new(body));
        let answer = tokio::select! {
            answer = self.client.request(request) => answer.map_err(|error| failure(&error))?,
            // It counts anew with every part of the body: uploads come over slow lines.
            () = activity.ends(self.patience) => return Err(Failure::Slow),
        };
        let (mut parts, body) = answer.into_parts();
        self.headers_of(site).clean(&mut parts.headers);
        let body = Idle::new(body, self.patience, room);
        Ok(Response::from_parts(parts, Body::new(body)))
    }

    fn headers_of<'s>(&'s self, site: &'s Site) -> headers::Answered<'s> {
        headers::Answered {
            site,
            authority: self.authority.as_str(),
            host: self.host.to_str().unwrap_or_default(),
            prefix: &self.prefix,
        }
    }

    /// The same path and query there.
    fn uri(&self, asked: &Uri) -> Option<Uri> {
        let target = asked.path_and_query().map_or("/", PathAndQuery::as_str);
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{target}", self.prefix))
            .build()
            .ok()
    }
}

/// What an error of the client means.
fn failure(error: &hyper_util::client::legacy::Error) -> Failure {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Failure::TooLarge;
        }
        cause = error.source();
    }
    tracing::debug!(%error, "the old system does not answer");
    Failure::Away
}

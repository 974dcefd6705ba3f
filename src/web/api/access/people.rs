//! Who sits before a browser: the user of a session's cookie, or whom a trusted proxy names.
//!
//! Only on the operators' listener. The public one may stand behind a proxy that passes on whatever
//! header a stranger sends, and its host's cookies go to every page there.

use std::net::IpAddr;

use cookie::time::Duration;
use cookie::{Cookie, SameSite};
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Actor, Caller, Person};
use crate::model::access::{AdminSession, SessionText};
use crate::operator::sign_in::visit;
use crate::operator::user_name;
use crate::web::error::Problem;
use crate::web::tracking::is_in;
use crate::web::{AdminState, Came, Door};

/// The cookie over https. Browsers take its name from this host only, over https only, so no other
/// host can set it.
const COOKIE_NAME: &str = "__Host-sillage";
/// The cookie of a browser on this machine, over plain http.
const LOCAL_COOKIE_NAME: &str = "sillage-local";

/// All names of the cookie: no other system is to see it.
pub const SESSION_COOKIES: [&str; 2] = [COOKIE_NAME, LOCAL_COOKIE_NAME];

/// How a browser reaches this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Over https, as a trusted proxy says.
    Https,
    /// From this machine, over plain http, as far as its address or its name for the server says.
    Local,
    /// Over plain http, as far as anybody can tell.
    Open,
}

impl Channel {
    /// How a request came.
    pub fn of(app: &AdminState, came: Came, headers: &HeaderMap) -> Self {
        let is_proxied = is_trusted(app, came.peer);
        let proto = headers.get_all("x-forwarded-proto").iter().next_back();
        let proto = proto.map(|proto| proto.as_bytes().trim_ascii());
        let is_passed_on = proto.is_some() || headers.contains_key("x-forwarded-for");
        match proto {
            Some(proto) if is_proxied && proto.eq_ignore_ascii_case(b"https") => Self::Https,
            _ if is_passed_on => Self::Open,
            _ if came.client.is_loopback() || calls_it_local(headers) => Self::Local,
            _ => Self::Open,
        }
    }

    fn cookie_name(self) -> Option<&'static str> {
        match self {
            Self::Https => Some(COOKIE_NAME),
            Self::Local => Some(LOCAL_COOKIE_NAME),
            Self::Open => None,
        }
    }

    /// The session of a request's cookie.
    pub fn session(self, headers: &HeaderMap) -> Option<SessionText> {
        self.cookie(headers).and_then(SessionText::read)
    }

    /// Whether a request's cookie is a session of the admin token's holder.
    fn is_admin(self, app: &AdminState, headers: &HeaderMap) -> bool {
        let cookie = self.cookie(headers);
        cookie.is_some_and(|text| AdminSession::is_valid(text, &app.token, app.clock.now()))
    }

    fn cookie(self, headers: &HeaderMap) -> Option<&str> {
        let name = self.cookie_name()?;
        let lines = headers.get_all(COOKIE).iter();
        let mut pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(known, _)| *known == name)?;
        Some(value)
    }

    /// `Set-Cookie` of a session that begins, or with `None` of one that is over.
    pub fn set_cookie(self, session: Option<&SessionText>, answer: &mut HeaderMap) {
        self.set(session.map(SessionText::as_str), answer);
    }

    /// `Set-Cookie` of a session that begins for the admin token's holder.
    pub fn set_admin_cookie(self, session: &AdminSession, answer: &mut HeaderMap) {
        self.set(Some(session.as_str()), answer);
    }

    fn set(self, session: Option<&str>, answer: &mut HeaderMap) {
        let Some(name) = self.cookie_name() else {
            return;
        };
        let value = session.unwrap_or_default();
        let mut cookie = Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .secure(self == Self::Https)
            .same_site(SameSite::Lax)
            .build();
        if session.is_none() {
            cookie.set_max_age(Duration::ZERO);
        }
        if let Ok(line) = HeaderValue::try_from(cookie.to_string()) {
            answer.append(SET_COOKIE, line);
        }
    }
}

/// Whether the browser is on this machine by the name that it knows the server by: what comes
/// through a container's published port comes from the container's own network.
fn calls_it_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    name.is_some_and(|name| ["localhost", "127.0.0.1", "[::1]"].contains(&name))
}

fn is_trusted(app: &AdminState, peer: IpAddr) -> bool {
    is_in(peer.to_canonical(), &app.tracking.trust.proxies)
}

/// Whether pages are shown to whoever signs in with the admin token, by the listener that a request
/// came to. The old system behind the public one has pages of its own there, whose scripts could
/// read ours.
pub(super) fn shows_pages(app: &AdminState, came: Came) -> bool {
    came.door == Door::Console || app.upstream.is_none()
}

/// Whether the holder of the admin token has signed in with this browser.
pub(super) fn is_admin(app: &AdminState, came: Came, headers: &HeaderMap) -> bool {
    shows_pages(app, came) && Channel::of(app, came, headers).is_admin(app, headers)
}

/// The user of a request without a token; `None` if it names none.
///
/// # Errors
/// A proxy names somebody who is no user here (403), or the database does not answer (503).
pub(super) async fn person(
    app: &AdminState,
    came: Came,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Problem> {
    if came.door != Door::Console {
        return Ok(None);
    }
    if let Some(name) = named_by_proxy(app, came, headers)? {
        let user = app.store.user_named(&name).await;
        let user = user.map_err(|error| Problem::database(&error))?;
        let user = user.ok_or_else(|| {
            let why = format!(
                "the proxy signs in {name}, who is no user here: add the user first, with POST \
                /api/v1/users or sillage user add"
            );
            Problem::new(StatusCode::FORBIDDEN, why)
        })?;
        return Ok(Some(Caller {
            actor: Actor(format!("user {}", user.name)),
            rights: user.role.rights(),
            is_stale: false,
            person: Some(Person {
                user_id: user.id,
                session: None,
            }),
        }));
    }
    let channel = Channel::of(app, came, headers);
    let Some(session) = channel.session(headers) else {
        return Ok(None);
    };
    let visit = visit(&app.store, &app.clock, &session).await;
    let visit = visit.map_err(|error| Problem::database(&error))?;
    Ok(visit.map(|visit| Caller {
        actor: Actor(format!("user {}", visit.name)),
        rights: visit.role.rights(),
        is_stale: false,
        person: Some(Person {
            user_id: visit.user_id,
            session: Some(visit.id),
        }),
    }))
}

/// The name in the header of a trusted proxy, where one is configured.
fn named_by_proxy(
    app: &AdminState,
    came: Came,
    headers: &HeaderMap,
) -> Result<Option<String>, Problem> {
    let Some(header) = &app.console.user_header else {
        return Ok(None);
    };
    if !is_trusted(app, came.peer) {
        return Ok(None);
    }
    let mut values = headers.get_all(header).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let refused = || {
        let why = format!("the proxy's header {header} is given twice or is no name");
        Problem::new(StatusCode::FORBIDDEN, why)
    };
    // A stranger's beside the proxy's own: nobody knows which is which.
    if values.next().is_some() {
        return Err(refused());
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| refused())?;
    user_name(text).map(Some).map_err(|_| refused())
}

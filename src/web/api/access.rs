//! Who calls the API, and whether they may: programs with a token, and people who have signed in.
//!
//! [`identify`] stands before everything: who is not known does not learn even which paths there
//! are (401). Each route has a [`Need`], and whoever does not meet it is told what it is (403).
//! Tokens are looked up in the server's own copy, so a sender's hits are taken while the database
//! is away; people are looked up in the database.

mod people;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tower::{Layer as _, ServiceExt as _};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use super::routes::Needs;
use crate::model::access::{Need, Rights, Scope, SessionId, TokenText, UserId};
use crate::model::secret::is_same_secret;
use crate::replica::tokens::Found;
use crate::web::error::Problem;
use crate::web::{AdminState, Came};

pub use people::{Channel, SESSION_COOKIES};

/// Who makes a request, as histories name it.
#[derive(Clone, Debug)]
pub struct Actor(pub String);

/// Who makes a request, and what they may do.
#[derive(Clone, Debug)]
pub struct Caller {
    /// As histories name them.
    pub(super) actor: Actor,
    /// What they may do.
    pub(super) rights: Rights,
    /// The database has been away for so long that the rights may have been taken away.
    is_stale: bool,
    /// Who has signed in; `None` for a token.
    pub(super) person: Option<Person>,
}

/// A user who makes a request.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// Who they are.
    pub(super) user_id: UserId,
    /// Their session; `None` where a proxy signs them in with each request.
    pub(super) session: Option<SessionId>,
}

impl Caller {
    /// The holder of the admin token.
    fn admin() -> Self {
        Self {
            actor: Actor("admin".to_owned()),
            rights: Rights::ADMIN,
            is_stale: false,
            person: None,
        }
    }

    /// What they are called and what they may do.
    pub fn named(&self) -> (&str, Rights) {
        (&self.actor.0, self.rights)
    }

    /// Their session, where it is one that is stored.
    pub fn session(&self) -> Option<SessionId> {
        self.person?.session
    }

    /// Whether the caller has what a route needs.
    ///
    /// # Errors
    /// 403 where it does not, with what is needed; 503 where nobody can tell, as the database
    /// has been away for long; never so for hits that are sent.
    pub fn check(&self, need: Need) -> Result<(), Box<Response>> {
        if !need.is_met_by(self.rights) {
            return Err(Box::new(self.refuse(need)));
        }
        if self.is_stale && need != Need::Any(&[Scope::HitsWrite]) {
            let why = "this server has not reached the database for long, so it cannot tell \
                whether the token is still valid; try again";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, why);
            return Err(Box::new(problem.into_response()));
        }
        Ok(())
    }

    fn refuse(&self, need: Need) -> Response {
        let scopes = need.scopes();
        let has = match self.rights.scopes.names().as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let why = format!("this needs {need}; {} has: {has}", self.actor.0);
        let problem = Problem::new(StatusCode::FORBIDDEN, why).with("needs", scopes.clone().into());
        let mut response = problem.into_response();
        // RFC 6750, 3.1.
        let scopes = scopes.join(" ");
        let told = format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\"");
        if let Ok(told) = HeaderValue::try_from(told) {
            response.headers_mut().insert(WWW_AUTHENTICATE, told);
        }
        response
    }
}

/// What stands before the API.
#[derive(Clone)]
pub(super) struct Gate {
    app: Arc<AdminState>,
    needs: Arc<Needs>,
}

impl Gate {
    /// Before routes with these needs.
    pub(super) fn new(app: Arc<AdminState>, needs: Needs) -> Self {
        let needs = Arc::new(needs);
        Self { app, needs }
    }

    /// What a request needs; `None` if there is no such route.
    fn need(&self, request: &Request) -> Option<Need> {
        let matched = request.extensions().get::<MatchedPath>()?;
        let path = matched.as_str().strip_prefix("/api/v1")?;
        let is_route = !path.contains("{*");
        is_route.then(|| self.needs.of(path, request.method()))?
    }
}

/// Lets requests through whose caller has what the route needs, and notes who it is. What is
/// answered is the caller's alone, and some of it is told only once, so no cache keeps it.
pub(super) async fn identify(
    State(gate): State<Gate>,
    Extension(came): Extension<Came>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = answer(gate, came, request, next).await;
    let headers = response.headers_mut();
    let unless_said = headers.entry(CACHE_CONTROL);
    unless_said.or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn answer(gate: Gate, came: Came, mut request: Request, next: Next) -> Response {
    let need = gate.need(&request);
    if need == Some(Need::Nothing) {
        return from_our_pages(request, next).await;
    }
    let caller = match caller(&gate.app, came, request.headers()).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    if let Some(need) = need
        && let Err(refused) = caller.check(need)
    {
        return *refused;
    }
    let is_person = caller.person.is_some();
    request.extensions_mut().insert(caller.actor.clone());
    request.extensions_mut().insert(caller);
    match is_person {
        // A browser sends its cookies, and a proxy its header, whichever page asks.
        true => from_our_pages(request, next).await,
        false => next.run(request).await,
    }
}

/// Lets a browser's request through if it changes nothing or comes from a page of this server.
async fn from_our_pages(request: Request, next: Next) -> Response {
    let refused = |_: ProtectionError| {
        let why = "the request comes from a page of another site";
        Problem::new(StatusCode::FORBIDDEN, why).into_response()
    };
    let guard = CsrfLayer::new().with_rejection_response(refused);
    match guard.layer(next).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Who makes a request.
///
/// # Errors
/// There is no token and nobody has signed in (401), the token is none that is valid (401, whatever
/// is wrong with it), or only the database could tell and does not answer (503).
pub async fn caller(app: &AdminState, came: Came, headers: &HeaderMap) -> Result<Caller, Problem> {
    let refused = |why| Err(Problem::new(StatusCode::UNAUTHORIZED, why));
    if !headers.contains_key(AUTHORIZATION) {
        return match people::person(app, came, headers).await? {
            Some(caller) => Ok(caller),
            None => refused("the token is missing: send it as Authorization: Bearer <token>"),
        };
    }
    const WRONG: &str = "the token is not valid: Authorization must be Bearer <token>, with the \
        token from admin_token or data/admin.token, or one made with POST /api/v1/tokens that has \
        neither expired nor been revoked";
    let Some(given) = bearer(headers) else {
        return refused(WRONG);
    };
    if is_same_secret(app.token.as_bytes(), given) {
        return Ok(Caller::admin());
    }
    let Some(text) = TokenText::read(given) else {
        return refused(WRONG);
    };
    match app.tokens.find(text.print()).await {
        Found::Known { token, is_stale } => Ok(Caller {
            actor: Actor(format!("token {} ({})", token.id, token.name)),
            rights: Rights::of(token.scopes),
            is_stale,
            person: None,
        }),
        Found::Unknown => refused(WRONG),
        Found::Unanswered => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the token is not known here, and the database does not answer; try again",
        )),
    }
}

/// Who sits before a browser that asks for a page; `None` if nobody has signed in. Tokens are for
/// programs: only the admin token begins a session, and no other call takes that.
///
/// # Errors
/// A proxy names somebody who is no user here (403), or the database does not answer (503).
pub async fn signed_in(
    app: &AdminState,
    came: Came,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Problem> {
    if people::is_admin(app, came, headers) {
        return Ok(Some(Caller::admin()));
    }
    people::person(app, came, headers).await
}

/// Whether pages are shown on the listener that a request came to.
pub fn shows_pages(app: &AdminState, came: Came) -> bool {
    people::shows_pages(app, came)
}

/// The token of a request. The scheme is written in any case, with any spaces behind it (RFC 9110,
/// 11.1 and 11.4).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
    let (scheme, rest) = value.split_first_chunk::<6>()?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && rest.starts_with(b" ");
    is_bearer.then(|| rest.trim_ascii())
}

/// Whether a request carries a secret of this server's, which no other system is to see.
pub fn is_ours(admin_token: &str, headers: &HeaderMap) -> bool {
    bearer(headers).is_some_and(|given| {
        is_same_secret(admin_token.as_bytes(), given) || TokenText::read(given).is_some()
    })
}

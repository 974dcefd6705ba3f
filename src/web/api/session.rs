//! `/session`: signing in and out. `/sessions`: who is signed in.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::header::USER_AGENT;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::access::{Caller, Channel};
use super::json::{ApiJson, ApiQuery, NoQuery, PathText};
use crate::model::access::{Password, SessionId, SessionText};
use crate::model::hint::quote;
use crate::model::wire::{Id, Time};
use crate::operator::sign_in::{self, SignIn, SignInError};
use crate::store::sessions::{Session, Visit};
use crate::web::error::Problem;
use crate::web::{AdminState, Came, Door};

/// What somebody signs in with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInRequest {
    name: String,
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// `POST /session`: signs a user in, under a new session whatever the browser had before.
#[utoipa::path(
    post,
    path = "/session",
    summary = "Signs a user in",
    request_body = SignInRequest,
    responses((status = 200, description = "They are signed in", body = serde_json::Value), (status = 429, description = "Too many tries; try again after `Retry-After`", content_type = "application/problem+json", body = serde_json::Value)),
)]
pub(super) async fn sign_in(
    State(app): State<Arc<AdminState>>,
    Extension(came): Extension<Came>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<SignInRequest>,
) -> Result<Response, Problem> {
    let channel = expect_safe(&app, came, &headers)?;
    let before = channel.session(&headers);
    let asked = SignIn {
        name: &request.name,
        password: request.password,
        address: came.client,
        agent: agent(&headers),
        before: before.as_ref(),
    };
    let (session, visit) = sign_in::sign_in(&app.store, &app.clock, &asked).await?;
    Ok(begun(channel, &session, &visit))
}

/// A password that somebody changes for themselves.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    #[schema(value_type = String, format = Password)]
    password: Password,
    #[schema(value_type = String, format = Password)]
    new_password: Password,
}

/// `POST /session/password`: gives the user another password. All their sessions end, and a new one
/// begins.
#[utoipa::path(
    post,
    path = "/session/password",
    summary = "Gives the user another password",
    request_body = PasswordChange,
    responses((status = 200, description = "A new session begins", body = serde_json::Value), (status = 429, description = "Too many tries; try again after `Retry-After`", content_type = "application/problem+json", body = serde_json::Value)),
)]
pub(super) async fn change_password(
    State(app): State<Arc<AdminState>>,
    Extension(came): Extension<Came>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<PasswordChange>,
) -> Result<Response, Problem> {
    let channel = expect_safe(&app, came, &headers)?;
    let user = match caller.person {
        Some(person) => app.store.user(person.user_id).await,
        None => Ok(None),
    };
    let user = user.map_err(|error| Problem::database(&error))?;
    let user = user.ok_or_else(|| {
        let why = "only a user has a password: sign in first, with POST /api/v1/session";
        Problem::new(StatusCode::CONFLICT, why)
    })?;
    let asked = SignIn {
        name: &user.name,
        password: request.password,
        address: came.client,
        agent: agent(&headers),
        before: None,
    };
    let new = request.new_password;
    let changed = sign_in::change_own_password(&app.store, &app.clock, &asked, new).await;
    let (session, visit) = changed.map_err(|error| match error {
        // Who the user is, is known: it is the password.
        SignInError::Wrong => Problem::field("password", "is wrong"),
        error => error.into(),
    })?;
    Ok(begun(channel, &session, &visit))
}

/// How the request came, if a password may come that way.
pub(in crate::web) fn expect_safe(
    app: &AdminState,
    came: Came,
    headers: &HeaderMap,
) -> Result<Channel, Problem> {
    let refused = |why| Err(Problem::new(StatusCode::FORBIDDEN, why));
    if came.door != Door::Console {
        return refused("users sign in on the operators' listener (console.listen)");
    }
    match Channel::of(app, came, headers) {
        Channel::Open => refused(
            "a password is taken over https only, or from this machine itself. Behind a proxy that \
            speaks https, list it in trust.proxies and let it set X-Forwarded-Proto",
        ),
        channel => Ok(channel),
    }
}

pub(in crate::web) fn agent(headers: &HeaderMap) -> Option<&str> {
    let agent = headers.get(USER_AGENT)?;
    agent.to_str().ok()
}

/// The answer that begins a session.
fn begun(channel: Channel, session: &SessionText, visit: &Visit) -> Response {
    let body = json!({
        "user": visit.name,
        "role": visit.role,
        "scopes": visit.role.rights().scopes,
        "ends_at": Time(visit.ends_at),
    });
    let mut answer = Json(body).into_response();
    channel.set_cookie(Some(session), answer.headers_mut());
    answer
}

/// `DELETE /session`: signs the user out.
#[utoipa::path(
    delete,
    path = "/session",
    summary = "Signs the user out",
    responses((status = 204, description = "They are signed out")),
)]
pub(super) async fn sign_out(
    State(app): State<Arc<AdminState>>,
    Extension(came): Extension<Came>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    NoQuery: NoQuery,
) -> Result<Response, Problem> {
    if let Some(session) = caller.person.and_then(|person| person.session) {
        let ended = app.store.end_session(session, None).await;
        ended.map_err(|error| Problem::database(&error))?;
    }
    let mut answer = StatusCode::NO_CONTENT.into_response();
    Channel::of(&app, came, &headers).set_cookie(None, answer.headers_mut());
    Ok(answer)
}

/// Who makes the request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Whoami {
    /// As histories name them.
    actor: String,
    scopes: Vec<&'static str>,
    /// Whether they may also say who may do what.
    admin: bool,
}

/// `GET /session`: who the request is from, and what they may do; for tokens too.
#[utoipa::path(
    get,
    path = "/session",
    summary = "Tells who the request is from",
    responses((status = 200, description = "Who it is from", body = Whoami)),
)]
pub(super) async fn show_session(
    Extension(caller): Extension<Caller>,
    NoQuery: NoQuery,
) -> Json<Whoami> {
    Json(Whoami {
        scopes: caller.rights.scopes.names(),
        admin: caller.rights.is_admin,
        actor: caller.actor.0,
    })
}

/// Whose sessions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    #[param(inline)]
    user_id: Option<Id>,
}

/// Sessions, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionList {
    sessions: Vec<Session>,
}

/// `GET /sessions?user_id=`: an admin sees all, everybody else their own.
#[utoipa::path(
    get,
    path = "/sessions",
    summary = "Lists who is signed in",
    params(Listing),
    responses((status = 200, description = "Sessions", body = SessionList)),
)]
pub(super) async fn list_sessions(
    State(app): State<Arc<AdminState>>,
    Extension(caller): Extension<Caller>,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<SessionList>, Problem> {
    let wanted = wanted.user_id.map(Into::into);
    let own = caller.person.map(|person| person.user_id);
    let of = if caller.rights.is_admin { wanted } else { own };
    if !caller.rights.is_admin && (own.is_none() || wanted.is_some_and(|id| Some(id) != own)) {
        return Ok(Json(SessionList {
            sessions: Vec::new(),
        }));
    }
    let limits = sign_in::limits(app.clock.now());
    let sessions = app.store.sessions(of, limits).await;
    let sessions = sessions.map_err(|error| Problem::database(&error))?;
    Ok(Json(SessionList { sessions }))
}

/// `DELETE /sessions/{id}`: an admin ends any, everybody else their own.
#[utoipa::path(
    delete,
    path = "/sessions/{id}",
    summary = "Ends a session",
    params(("id" = String, Path)),
    responses((status = 204, description = "It is ended")),
)]
pub(super) async fn end_session(
    State(app): State<Arc<AdminState>>,
    Extension(caller): Extension<Caller>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<StatusCode, Problem> {
    let nothing = || {
        let which = format_args!("{}; GET /api/v1/sessions lists sessions", quote(&id.0));
        Problem::not_found("session", which)
    };
    let session = Uuid::try_parse(&id.0).map_err(|_| nothing())?;
    let of = match (caller.rights.is_admin, caller.person) {
        (true, _) => None,
        (false, Some(person)) => Some(person.user_id),
        (false, None) => return Err(nothing()),
    };
    let ended = app.store.end_session(SessionId(session), of).await;
    match ended.map_err(|error| Problem::database(&error))? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(nothing()),
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Wrong => Self::new(StatusCode::UNAUTHORIZED, error.to_string()),
            SignInError::TooMany { after } => {
                let why = format!("{error}; try again in {after} s");
                Self::new(StatusCode::TOO_MANY_REQUESTS, why).after(after)
            }
            SignInError::TooLong(why) => Self::field("password", why),
            SignInError::NewPassword(why) => Self::field("new_password", why),
            SignInError::Password(error) => error.into(),
            SignInError::NoRandom(error) => error.into(),
            SignInError::Database(error) => Self::database(&error),
        }
    }
}

//! Signing in, with a name and its password or with the admin token, and signing out.
//!
//! Users sign in on the operators' listener only, as in the API. The admin token's holder may do so
//! on the public one too, where that shows pages of nobody else.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::{HeaderMap, StatusCode};

use super::form::{Query, Sent};
use super::page::{Failure, Frame, show};
use crate::model::access::{AdminSession, Password};
use crate::model::secret::is_same_secret;
use crate::operator::sign_in::{self, SignIn};
use crate::web::api::access::{Channel, shows_pages, signed_in};
use crate::web::api::expect_tables;
use crate::web::api::session::{agent, expect_safe};
use crate::web::error::Problem;
use crate::web::{AdminState, Came, Door};

/// Where somebody goes who wanted no page.
const START: &str = "/console/";

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'p> {
    frame: Frame,
    /// Whether users sign in here.
    has_users: bool,
    to: &'p str,
    name: &'p str,
    why: Option<&'p str>,
}

fn page(came: Came, to: &str, name: &str, told: Option<&Problem>) -> Response {
    let (status, why) = match told.map(Problem::told) {
        Some((status, why)) => (status, Some(why)),
        None => (StatusCode::OK, None),
    };
    let page = SignInPage {
        frame: Frame::closed("Sign in"),
        has_users: came.door == Door::Console,
        to,
        name,
        why,
    };
    show(status, &page)
}

/// A page of ours, so that no stranger's link sends somebody on who has just signed in.
fn destination(wanted: Option<&str>) -> &str {
    let is_ours =
        |to: &&str| to.starts_with(START) && to.bytes().all(|byte| byte.is_ascii_graphic());
    wanted.filter(is_ours).unwrap_or(START)
}

/// `GET /console/sign-in?to=`
pub(super) async fn ask(Extension(came): Extension<Came>, Query(query): Query) -> Response {
    page(came, destination(query.get("to")), "", None)
}

/// `POST /console/sign-in`
pub(super) async fn sign_in(
    State(app): State<Arc<AdminState>>,
    Extension(came): Extension<Came>,
    headers: HeaderMap,
    Sent(form): Sent,
) -> Response {
    let to = destination(form.get("to"));
    let name = form.get("name").unwrap_or_default();
    let tried = match form.get("token") {
        Some(token) => with_token(&app, came, &headers, token, to),
        None => {
            let password = form.whole("password").unwrap_or_default();
            with_password(&app, came, &headers, (name, password), to).await
        }
    };
    tried.unwrap_or_else(|problem| page(came, to, name, Some(&problem)))
}

fn with_token(
    app: &AdminState,
    came: Came,
    headers: &HeaderMap,
    token: &str,
    to: &str,
) -> Result<Response, Problem> {
    let refused = |status, why| Err(Problem::new(status, why));
    if !shows_pages(app, came) {
        return refused(
            StatusCode::FORBIDDEN,
            "sign in on the operators' listener (console.listen): an old system answers here too, \
            and its pages could use your session",
        );
    }
    let channel = Channel::of(app, came, headers);
    if channel == Channel::Open {
        return refused(
            StatusCode::FORBIDDEN,
            "a token is taken over https only, or from this machine itself. Behind a proxy that \
            speaks https, list it in trust.proxies and let it set X-Forwarded-Proto",
        );
    }
    if !is_same_secret(app.token.as_bytes(), token.as_bytes()) {
        return refused(
            StatusCode::UNAUTHORIZED,
            "this is not the admin token; it is in the file admin.token in the data directory, \
            unless the configuration sets it",
        );
    }
    let session = AdminSession::begin(&app.token, app.clock.now());
    let session = session
        .ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the token cannot sign"))?;
    let mut answer = Redirect::to(to).into_response();
    channel.set_admin_cookie(&session, answer.headers_mut());
    Ok(answer)
}

async fn with_password(
    app: &AdminState,
    came: Came,
    headers: &HeaderMap,
    (name, password): (&str, &str),
    to: &str,
) -> Result<Response, Problem> {
    let channel = expect_safe(app, came, headers)?;
    expect_tables(app).await?;
    let before = channel.session(headers);
    let asked = SignIn {
        name,
        password: Password::new(password.to_owned()),
        address: came.client,
        agent: agent(headers),
        before: before.as_ref(),
    };
    let (session, _) = sign_in::sign_in(&app.store, &app.clock, &asked).await?;
    let mut answer = Redirect::to(to).into_response();
    channel.set_cookie(Some(&session), answer.headers_mut());
    Ok(answer)
}

/// `POST /console/sign-out`
pub(super) async fn sign_out(
    State(app): State<Arc<AdminState>>,
    Extension(came): Extension<Came>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = signed_in(&app, came, &headers).await?;
    if let Some(session) = caller.and_then(|caller| caller.session()) {
        app.store.end_session(session, None).await?;
    }
    let mut answer = Redirect::to("/console/sign-in").into_response();
    Channel::of(&app, came, &headers).set_cookie(None, answer.headers_mut());
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for to in ["/console/", "/console/deliveries/7?by=hour&a=%20"] {
            assert_eq!(destination(Some(to)), to);
        }
        for to in [
            "",
            "/",
            "//a.example",
            "https://a.example/console/",
            "/console/\r\nx",
        ] {
            assert_eq!(destination(Some(to)), START);
        }
        assert_eq!(destination(None), START);
    }
}

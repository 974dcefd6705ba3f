//! Who asks for a page, and whether they may see it. Who has not signed in is asked to, and comes
//! back to the page that they wanted.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::page::Failure;
use crate::model::access::{Need, Rights};
use crate::web::api::{access, expect_tables};
use crate::web::{AdminState, Came};

/// What stands before pages.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) app: Arc<AdminState>,
    pub(super) need: Need,
}

/// Who looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// As histories name them.
    pub(super) name: String,
    rights: Rights,
}

impl Who {
    /// Whether they may see what needs this.
    pub(super) fn may(&self, need: Need) -> bool {
        need.is_met_by(self.rights)
    }
}

/// Lets requests through whose reader may see the page.
pub(super) async fn let_in(
    State(gate): State<Gate>,
    Extension(came): Extension<Came>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match access::signed_in(&gate.app, came, request.headers()).await {
        Ok(Some(caller)) => caller,
        Ok(None) => return ask(&request),
        Err(problem) => return Failure::from(problem).into_response(),
    };
    let (name, rights) = caller.named();
    let who = Who {
        name: name.to_owned(),
        rights,
    };
    if !who.may(gate.need) {
        let why = format!("this page needs {}, which you do not have", gate.need);
        return Failure::new(StatusCode::FORBIDDEN, why)
            .seen_by(&who)
            .into_response();
    }
    if let Err(problem) = expect_tables(&gate.app).await {
        return Failure::from(problem).seen_by(&who).into_response();
    }
    request.extensions_mut().insert(who.clone());
    next.run(request).await
}

/// To the page that signs in; what was typed into a form is lost, as nobody knows whose it was.
fn ask(request: &Request) -> Response {
    let path = match (request.method(), request.uri().path_and_query()) {
        (&Method::GET, Some(path)) => path.as_str(),
        _ => "/console/",
    };
    let to = utf8_percent_encode(path, NON_ALPHANUMERIC);
    Redirect::to(&format!("/console/sign-in?to={to}")).into_response()
}

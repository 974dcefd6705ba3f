//! What makes things is done once for an `Idempotency-Key`: one layer around those routes.
//!
//! The key is claimed before anything is done. The answer is kept for a week, as long as the keys
//! of hits and messages; the same request under the same key gets it again, with
//! `Idempotency-Replayed: true`, and another request under it is refused. A request that fails has
//! made nothing, and leaves its key free. Once begun, a request is done to its end, whether or not
//! its sender still listens: senders repeat what they did not wait for.
//!
//! A server that is killed between what it made and its answer leaves a key without one. Nobody
//! knows then whether it was made, so it is never done again under that key: its sender is told to
//! look.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::Actor;
use super::idempotency::{HEADER, request_key};
use crate::store::request_keys::{Claim, Digest, KeptAnswer, RequestKey};
use crate::web::AdminState;
use crate::web::body::WholeBody;
use crate::web::error::Problem;

/// Says that an answer is one that was given before.
static REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Does a request once for its key; one without a key each time that it comes.
pub(super) async fn do_once(
    State(app): State<Arc<AdminState>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let Some(key) = request_key(request.headers())? else {
        return Ok(next.run(request).await);
    };
    let actor = request.extensions().get::<Actor>();
    let of = RequestKey {
        actor: actor.map_or_else(String::new, |actor| actor.0.clone()),
        key,
    };
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), body);
    let WholeBody(body) = WholeBody::from_request(whole, &()).await?;
    let target = parts.uri.path_and_query().map_or("/", |of| of.as_str());
    let digest: Digest = Sha256::new()
        .chain_update(target)
        .chain_update([0])
        .chain_update(&body)
        .finalize()
        .into();
    let request = Request::from_parts(parts, Body::from(body));
    // A sender that hangs up takes nothing of this along.
    let done = tokio::spawn(async move {
        let claim = app.store.claim_request(&of, &digest, app.clock.now());
        match claim.await.map_err(|error| Problem::database(&error))? {
            Claim::Ours => Ok(keep(&app, &of, next.run(request).await).await),
            Claim::Answered(answer) => Ok(replay(answer)),
            Claim::Other => Err(Problem::field(
                HEADER,
                "was used for another request: send the same request under it, or this one under a \
                new key",
            )),
            Claim::Begun => Err(Problem::conflict(
                HEADER,
                "is of a request that has no answer yet: try again in a moment. Where it stays so, \
                the server ended in the midst of it: look whether it was done, and do the rest under \
                a new key",
            )),
        }
    });
    done.await.unwrap_or_else(|_| {
        let why = "the request could not be done: see the server's log";
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why))
    })
}

/// Keeps a success for the next time, and gives up the key of anything else.
async fn keep(app: &AdminState, of: &RequestKey, response: Response) -> Response {
    if !response.status().is_success() {
        if let Err(error) = app.store.give_up_request(of).await {
            tracing::warn!(%error, "cannot give up the key of a request that failed");
        }
        return response;
    }
    let (parts, body) = response.into_parts();
    // Answers of these routes are whole already.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let content_type = parts.headers.get(CONTENT_TYPE);
    let answer = KeptAnswer {
        status: parts.status.as_u16().into(),
        content_type: content_type.and_then(|value| value.to_str().ok().map(str::to_owned)),
        body: body.to_vec(),
    };
    if let Err(error) = app.store.keep_answer(of, &answer).await {
        tracing::warn!(%error, "cannot keep the answer of a request with an idempotency key");
    }
    Response::from_parts(parts, Body::from(body))
}

/// An answer that was given before.
fn replay(answer: KeptAnswer) -> Response {
    let status = u16::try_from(answer.status).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = (status.unwrap_or(StatusCode::OK), answer.body).into_response();
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    let content_type = answer.content_type.map(HeaderValue::try_from);
    if let Some(Ok(content_type)) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
    headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    response
}

//! `/tokens`: who may call the API beside the holder of the admin token.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::access::Actor;
use super::json::{ApiJson, ApiQuery, NoQuery, PathText};
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use super::users::no_user;
use crate::model::access::TokenId;
use crate::model::hint::quote;
use crate::model::wire::Id;
use crate::operator::NewToken;
use crate::operator::access::{self, AccessError, NewlyMade};
use crate::store::scan::{Part, Wanted};
use crate::store::tokens::Token;
use crate::web::AdminState;
use crate::web::error::Problem;

/// `POST /tokens`: this answer is the only one that tells the token.
#[utoipa::path(
    post,
    path = "/tokens",
    summary = "Makes a token; only this answer tells it",
    request_body = NewToken,
    responses((status = 201, description = "It is made", body = NewlyMade)),
)]
pub(super) async fn create_token(
    State(app): State<Arc<AdminState>>,
    Extension(actor): Extension<Actor>,
    ApiJson(draft): ApiJson<NewToken>,
) -> Result<(StatusCode, Json<NewlyMade>), Problem> {
    let made = access::create_token(&app.store, &app.clock, draft, &actor.0).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Which tokens to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    revoked: Option<bool>,
    /// The `next` of the answer before.
    #[param(inline)]
    after: Option<Id>,
    limit: Option<i64>,
}

/// Tokens by falling ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenList {
    tokens: Vec<Token>,
    /// `after` for the rest; `None` if this was all.
    next: Option<Id>,
}

/// `GET /tokens?revoked=&after=&limit=`
#[utoipa::path(
    get,
    path = "/tokens",
    summary = "Lists tokens, the newest first",
    params(Listing),
    responses((status = 200, description = "A part of the list", body = TokenList)),
)]
pub(super) async fn list_tokens(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<TokenList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let part = Wanted {
        before: wanted.after.map(|id| id.0),
        limit,
    };
    let found = app.store.tokens(wanted.revoked, part).await;
    let Part { rows, next } = found.map_err(|error| Problem::database(&error))?;
    Ok(Json(TokenList {
        tokens: rows,
        next: next.map(Id),
    }))
}

/// `GET /tokens/{id}`
#[utoipa::path(
    get,
    path = "/tokens/{id}",
    summary = "Shows a token, but not its text",
    params(("id" = Id, Path)),
    responses((status = 200, description = "The token", body = Token)),
)]
pub(super) async fn get_token(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<Json<Token>, Problem> {
    let id = id.id("token")?.into();
    let token = app.store.token(id).await;
    let token = token.map_err(|error| Problem::database(&error))?;
    token.map(Json).ok_or_else(|| no_token(id))
}

/// `DELETE /tokens/{id}`: it no longer works. It stays in the list, for the histories that name it.
#[utoipa::path(
    delete,
    path = "/tokens/{id}",
    summary = "Revokes a token: it no longer works",
    params(("id" = Id, Path)),
    responses((status = 200, description = "The token as it is now", body = Token)),
)]
pub(super) async fn revoke_token(
    State(app): State<Arc<AdminState>>,
    Extension(actor): Extension<Actor>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<Json<Token>, Problem> {
    let id = id.id("token")?.into();
    let token = access::revoke_token(&app.store, &app.clock, id, &actor.0).await?;
    app.tokens.forget(id).await;
    Ok(Json(token))
}

fn no_token(id: TokenId) -> Problem {
    let which = format_args!("{id}; GET /api/v1/tokens lists all tokens");
    Problem::not_found("token", which)
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Draft(draft) => Self::field(draft.field, draft.why),
            AccessError::NoToken(id) => no_token(id),
            AccessError::NoUser(id) => no_user(id),
            AccessError::NameTaken(name) => Self::conflict(
                "name",
                format_args!("{} is already taken; choose another", quote(&name)),
            ),
            AccessError::Password(error) => error.into(),
            AccessError::NoRandom(error) => error.into(),
            AccessError::Database(error) => Self::database(&error),
        }
    }
}

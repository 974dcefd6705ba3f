//! `/users`: the people who sign in.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Actor;
use super::json::{ApiJson, NoQuery, PathText};
use crate::model::access::UserId;
use crate::model::wire::Id;
use crate::operator::{NewUser, PasswordError, UserEdit, users};
use crate::store::users::User;
use crate::web::AdminState;
use crate::web::error::Problem;

/// `POST /users`
#[utoipa::path(
    post,
    path = "/users",
    summary = "Adds a user",
    request_body = NewUser,
    responses((status = 201, description = "They are added", body = User)),
)]
pub(super) async fn add_user(
    State(app): State<Arc<AdminState>>,
    Extension(actor): Extension<Actor>,
    ApiJson(draft): ApiJson<NewUser>,
) -> Result<(StatusCode, Json<User>), Problem> {
    let user = users::add_user(&app.store, &app.clock, draft, &actor.0).await?;
    Ok((StatusCode::CREATED, Json(user)))
}

/// All users, by name: there are few.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserList {
    users: Vec<User>,
}

/// `GET /users`
#[utoipa::path(
    get,
    path = "/users",
    summary = "Lists users by name",
    responses((status = 200, description = "All users", body = UserList)),
)]
pub(super) async fn list_users(
    State(app): State<Arc<AdminState>>,
    NoQuery: NoQuery,
) -> Result<Json<UserList>, Problem> {
    let users = app.store.users().await;
    let users = users.map_err(|error| Problem::database(&error))?;
    Ok(Json(UserList { users }))
}

/// `GET /users/{id}`
#[utoipa::path(
    get,
    path = "/users/{id}",
    summary = "Shows a user",
    params(("id" = Id, Path)),
    responses((status = 200, description = "The user", body = User)),
)]
pub(super) async fn get_user(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<Json<User>, Problem> {
    let id = id.id("user")?.into();
    let user = app.store.user(id).await;
    let user = user.map_err(|error| Problem::database(&error))?;
    user.map(Json).ok_or_else(|| no_user(id))
}

/// `PATCH /users/{id}`: what is not given stays.
#[utoipa::path(
    patch,
    path = "/users/{id}",
    summary = "Changes a user; what is not given stays",
    params(("id" = Id, Path)),
    request_body = UserEdit,
    responses((status = 200, description = "The user as they are now", body = User)),
)]
pub(super) async fn change_user(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiJson(edit): ApiJson<UserEdit>,
) -> Result<Json<User>, Problem> {
    let id = id.id("user")?.into();
    Ok(Json(
        users::change_user(&app.store, &app.clock, id, edit).await?,
    ))
}

/// `DELETE /users/{id}`
#[utoipa::path(
    delete,
    path = "/users/{id}",
    summary = "Removes a user",
    params(("id" = Id, Path)),
    responses((status = 204, description = "They are removed")),
)]
pub(super) async fn remove_user(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<StatusCode, Problem> {
    let id = id.id("user")?.into();
    users::remove_user(&app.store, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn no_user(id: UserId) -> Problem {
    let which = format_args!("{id}; GET /api/v1/users lists all users");
    Problem::not_found("user", which)
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        let status = match error {
            PasswordError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            PasswordError::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

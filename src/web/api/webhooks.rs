//! `/webhooks`: servers that are told of hits as they are stored.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::{ApiJson, ApiJsonIfAny, ApiQuery, NoQuery, PathText};
use super::listing::{self, Cursor, MOST_ENTRIES, USUAL_ENTRIES};
use crate::model::hint::quote;
use crate::model::hit::{Kind, Verdict, read_uid};
use crate::model::webhook::{WebhookId, WebhookSecret};
use crate::model::wire::{Id, Time, given};
use crate::operator::webhooks::{self, Again, NewWebhook, WebhookEdit, WebhookError, WebhookView};
use crate::store::hits::{HitFilter, Judged};
use crate::store::webhooks::{Webhook, WebhookAttempt, WebhookFailure};
use crate::web::AdminState;
use crate::web::error::Problem;

/// Which hits, by the names that `GET /hits` has for them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WebhookFilter)]
pub(super) struct FilterRequest {
    kind: Option<Kind>,
    delivery_id: Option<Id>,
    link_id: Option<Id>,
    verdict: Option<Verdict>,
    site: Option<String>,
}

impl From<FilterRequest> for HitFilter {
    fn from(request: FilterRequest) -> Self {
        Self {
            kind: request.kind,
            delivery: request.delivery_id.map(Into::into),
            link: request.link_id.map(Into::into),
            judged: request.verdict.map(Judged::As),
            // No site has a zero byte, and Postgres takes none in a text.
            site: request.site.map(|site| site.replace('\0', " ")),
            ..Self::default()
        }
    }
}

/// A webhook that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookRequest {
    url: String,
    label: Option<String>,
    filter: Option<FilterRequest>,
    /// Only hits after this cursor of `GET /hits`; `None`: those stored from now on.
    after: Option<Cursor>,
}

/// A webhook with its secret, which is told once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    secret: String,
}

/// `POST /webhooks`
#[utoipa::path(
    post,
    path = "/webhooks",
    summary = "Makes a webhook; only this answer tells its secret",
    request_body = WebhookRequest,
    responses((status = 201, description = "It is made", body = NewWebhookView)),
)]
pub(super) async fn create_webhook(
    State(app): State<Arc<AdminState>>,
    ApiJson(request): ApiJson<WebhookRequest>,
) -> Result<(StatusCode, Json<NewWebhookView>), Problem> {
    let draft = NewWebhook {
        url: request.url,
        label: request.label,
        filter: request.filter.unwrap_or_default().into(),
        after: request.after.map(|cursor| cursor.0),
    };
    let allowed = &app.webhooks.allow_networks;
    let (webhook, secret) =
        webhooks::create_webhook(&app.store, &app.clock, allowed, draft).await?;
    let view = NewWebhookView {
        webhook: webhook.into(),
        secret: secret.text(),
    };
    Ok((StatusCode::CREATED, Json(view)))
}

/// All webhooks: there are few.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookList {
    webhooks: Vec<WebhookView>,
}

/// `GET /webhooks`
#[utoipa::path(
    get,
    path = "/webhooks",
    summary = "Lists webhooks",
    responses((status = 200, description = "All webhooks", body = WebhookList)),
)]
pub(super) async fn list_webhooks(
    State(app): State<Arc<AdminState>>,
    NoQuery: NoQuery,
) -> Result<Json<WebhookList>, Problem> {
    let all = app.store.webhooks().await;
    let all = all.map_err(|error| Problem::database(&error))?;
    let webhooks = all.into_iter().map(Into::into).collect();
    Ok(Json(WebhookList { webhooks }))
}

fn id_of(path: &PathText) -> Result<WebhookId, Problem> {
    let id = read_uid(&path.0).map(WebhookId);
    id.ok_or_else(|| no_webhook(quote(&path.0)))
}

fn no_webhook(id: impl std::fmt::Display) -> Problem {
    let which = format_args!("{id}; GET /api/v1/webhooks lists all webhooks");
    Problem::not_found("webhook", which)
}

async fn find(app: &AdminState, id: WebhookId) -> Result<Webhook, Problem> {
    let found = app.store.webhook(id).await;
    found
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(|| no_webhook(id))
}

/// `GET /webhooks/{id}`
#[utoipa::path(
    get,
    path = "/webhooks/{id}",
    summary = "Shows a webhook",
    params(("id" = String, Path)),
    responses((status = 200, description = "The webhook", body = WebhookView)),
)]
pub(super) async fn get_webhook(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<Json<WebhookView>, Problem> {
    Ok(Json(find(&app, id_of(&id)?).await?.into()))
}

/// The fields to change; null removes a label.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookChange {
    url: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    label: Option<Option<String>>,
    filter: Option<FilterRequest>,
    ended: Option<bool>,
}

/// `PATCH /webhooks/{id}`: what is not given stays. `{"ended": false}` begins it again where it
/// stopped.
#[utoipa::path(
    patch,
    path = "/webhooks/{id}",
    summary = "Changes a webhook; what is not given stays",
    params(("id" = String, Path)),
    request_body = WebhookChange,
    responses((status = 200, description = "The webhook as it is now", body = WebhookView)),
)]
pub(super) async fn change_webhook(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiJson(change): ApiJson<WebhookChange>,
) -> Result<Json<WebhookView>, Problem> {
    let edit = WebhookEdit {
        url: change.url,
        label: change.label,
        filter: change.filter.map(Into::into),
        ended: change.ended,
    };
    save(&app, id_of(&id)?, edit).await
}

/// `POST /webhooks/{id}/end`: nothing more is sent.
#[utoipa::path(
    post,
    path = "/webhooks/{id}/end",
    summary = "Ends a webhook: nothing more is sent",
    params(("id" = String, Path)),
    responses((status = 200, description = "The webhook as it is now", body = WebhookView)),
)]
pub(super) async fn end_webhook(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<Json<WebhookView>, Problem> {
    let edit = WebhookEdit {
        ended: Some(true),
        ..WebhookEdit::default()
    };
    save(&app, id_of(&id)?, edit).await
}

async fn save(
    app: &AdminState,
    id: WebhookId,
    edit: WebhookEdit,
) -> Result<Json<WebhookView>, Problem> {
    let allowed = &app.webhooks.allow_networks;
    let webhook = webhooks::change_webhook(&app.store, &app.clock, allowed, id, edit).await?;
    Ok(Json(webhook.into()))
}

/// `DELETE /webhooks/{id}`: it goes with its secrets and failures. No email needs it.
#[utoipa::path(
    delete,
    path = "/webhooks/{id}",
    summary = "Removes a webhook with its secrets and failures",
    params(("id" = String, Path)),
    responses((status = 204, description = "It is removed")),
)]
pub(super) async fn delete_webhook(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    NoQuery: NoQuery,
) -> Result<StatusCode, Problem> {
    webhooks::delete_webhook(&app.store, id_of(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// For how long secrets before the new one go on signing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretRequest {
    keep_hours: Option<i64>,
}

/// A new secret, told once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SecretView {
    secret: String,
}

/// `POST /webhooks/{id}/secret`
#[utoipa::path(
    post,
    path = "/webhooks/{id}/secret",
    summary = "Gives a webhook a new secret; only this answer tells it",
    params(("id" = String, Path)),
    request_body = Option<SecretRequest>,
    responses((status = 201, description = "It is made", body = SecretView)),
)]
pub(super) async fn rotate_secret(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiJsonIfAny(request): ApiJsonIfAny<SecretRequest>,
) -> Result<(StatusCode, Json<SecretView>), Problem> {
    let id = id_of(&id)?;
    let made = webhooks::rotate_secret(&app.store, &app.clock, id, request.keep_hours).await?;
    let secret = WebhookSecret::text(&made);
    Ok((StatusCode::CREATED, Json(SecretView { secret })))
}

/// What to send again; without a field everything that failed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgainRequest {
    /// The `seq` of one hit.
    seq: Option<Id>,
    /// Everything after this cursor of `GET /hits`.
    after: Option<Cursor>,
}

/// `POST /webhooks/{id}/send-again`
#[utoipa::path(
    post,
    path = "/webhooks/{id}/send-again",
    summary = "Sends hits again",
    params(("id" = String, Path)),
    request_body = Option<AgainRequest>,
    responses((status = 200, description = "The webhook as it is now", body = WebhookView)),
)]
pub(super) async fn send_again(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiJsonIfAny(request): ApiJsonIfAny<AgainRequest>,
) -> Result<Json<WebhookView>, Problem> {
    let again = match (request.seq, request.after) {
        (None, None) => Again::Failed,
        (Some(seq), None) => Again::Hit(seq.0),
        (None, Some(after)) => Again::After(after.0),
        (Some(_), Some(_)) => {
            return Err(Problem::field("seq", "and after exclude each other"));
        }
    };
    let webhook = webhooks::send_again(&app.store, &app.clock, id_of(&id)?, again).await?;
    Ok(Json(webhook.into()))
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    #[param(inline)]
    after: Option<Cursor>,
    limit: Option<i64>,
}

/// Hits that did not arrive while others did, by rising numbers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FailureList {
    failures: Vec<FailureView>,
    next: Option<Cursor>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookFailure)]
struct FailureView {
    seq: Id,
    webhook_id: String,
    attempts: i64,
    failed_at: Time,
    /// `None`: given up until it is asked for.
    next_attempt_at: Option<Time>,
    /// `None`: there was no answer.
    status: Option<i64>,
    /// The start of the answer, or why there was none.
    answer: String,
}

/// `GET /webhooks/{id}/failures?after=&limit=`
#[utoipa::path(
    get,
    path = "/webhooks/{id}/failures",
    summary = "Lists hits that did not arrive while others did",
    params(("id" = String, Path), Listing),
    responses((status = 200, description = "A part of the list", body = FailureList)),
)]
pub(super) async fn list_failures(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<FailureList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let id = find(&app, id_of(&id)?).await?.id;
    let after = wanted.after.map_or(0, |cursor| cursor.0);
    let found = app.store.webhook_failures(id, after, limit).await;
    let found = found.map_err(|error| Problem::database(&error))?;
    let next = listing::next(&found, limit, |failure| Cursor(failure.seq));
    let view = |failure: WebhookFailure| FailureView {
        seq: Id(failure.seq),
        webhook_id: id.message(failure.seq),
        attempts: failure.attempts,
        failed_at: Time(failure.failed_at),
        next_attempt_at: failure.next_at.map(Time),
        status: failure.status,
        answer: failure.answer,
    };
    Ok(Json(FailureList {
        failures: found.into_iter().map(view).collect(),
        next,
    }))
}

/// The latest attempts that failed, the last first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AttemptList {
    attempts: Vec<AttemptView>,
    next: Option<Cursor>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
struct AttemptView {
    at: Time,
    seq: Id,
    webhook_id: String,
    milliseconds: i64,
    status: Option<i64>,
    answer: String,
}

/// `GET /webhooks/{id}/attempts?after=&limit=`
#[utoipa::path(
    get,
    path = "/webhooks/{id}/attempts",
    summary = "Lists attempts that failed, the latest first",
    params(("id" = String, Path), Listing),
    responses((status = 200, description = "A part of the list", body = AttemptList)),
)]
pub(super) async fn list_attempts(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<AttemptList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let id = find(&app, id_of(&id)?).await?.id;
    let before = wanted.after.map_or(i64::MAX, |cursor| cursor.0);
    let found = app.store.webhook_attempts(id, before, limit).await;
    let found = found.map_err(|error| Problem::database(&error))?;
    let next = listing::next(&found, limit, |attempt| Cursor(attempt.number));
    let view = |attempt: WebhookAttempt| AttemptView {
        at: Time(attempt.attempted_at),
        seq: Id(attempt.seq),
        webhook_id: id.message(attempt.seq),
        milliseconds: attempt.milliseconds,
        status: attempt.status,
        answer: attempt.answer,
    };
    Ok(Json(AttemptList {
        attempts: found.into_iter().map(view).collect(),
        next,
    }))
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Draft(draft) => Self::field(draft.field, draft.why),
            WebhookError::TooMany | WebhookError::TooManySecrets => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            WebhookError::None(id) => no_webhook(id),
            WebhookError::Database(error) => Self::database(&error),
            WebhookError::NoRandom(error) => error.into(),
        }
    }
}

//! Webhooks: hits are sent to other servers as they are stored (Standard Webhooks 1.0).
//!
//! ```text
//!  store: hits after sent_to ──► rounds ──► post ──► connector ──► receiver
//!         up to the horizon      │          signs    checks the address
//!         ◄── sent_to, failures ─┘
//! ```
//!
//! **One hit a request.** The specification's message is an event with an id of its own, by which
//! receivers drop what they already have, and is best below 20 KB. A batch would need stored
//! boundaries to keep its id, would fail whole for one hit, and could be read by none of the
//! specification's libraries. What a batch would save is waiting, so many requests are under way at
//! once instead: see [`sender`].
//!
//! Promises: each matching hit arrives at least once, always under the same id, whatever is killed;
//! a receiver that fails holds up only itself; no address is connected to that was not checked.

mod connector;
mod post;
mod round;
mod sender;
#[cfg(test)]
mod tests;

use ipnet::IpNet;
use serde::Serialize;
use utoipa::ToSchema;

use super::DraftError;
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{Kind, Limit, clean};
use crate::model::secret::{NoRandom, random_secret};
use crate::model::webhook::{WebhookId, WebhookSecret, check_url};
use crate::model::wire;
use crate::store::hits::{HitFilter, Judged};
use crate::store::webhooks::{Ended, Webhook};
use crate::store::{self, Store};

pub use sender::{Sender, send};

/// Maximum number of receivers: each may hold a megabyte of hits in memory.
pub const MOST_WEBHOOKS: i64 = 100;
/// Longest time for which an old secret signs beside the new one, in hours.
pub const MOST_KEPT_HOURS: i64 = 168;
/// And the usual one.
const KEPT_HOURS: i64 = 24;
/// Most secrets that sign at a time.
const MOST_SECRETS: i64 = 5;

/// Why a webhook is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A field is not accepted.
    #[error("{0}")]
    Draft(#[from] DraftError),
    /// There are too many.
    #[error("there are {MOST_WEBHOOKS} webhooks already: remove one that is not needed")]
    TooMany,
    /// Too many secrets sign at the moment.
    #[error(
        "{MOST_SECRETS} secrets are in use already: give keep_hours 0, or wait until the oldest ends"
    )]
    TooManySecrets,
    /// There is no such webhook.
    #[error("there is no webhook {0}")]
    None(WebhookId),
    /// The database refuses or cannot be reached.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// No secret can be made.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// A receiver that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewWebhook {
    /// Where hits are sent.
    pub url: String,
    /// Its name for people.
    pub label: Option<String>,
    /// Which hits.
    pub filter: HitFilter,
    /// Hits after this number; `None`: those that are stored from now on.
    pub after: Option<i64>,
}

/// What is to be changed; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookEdit {
    /// Where hits are sent.
    pub url: Option<String>,
    /// Its name for people; `Some(None)` removes it.
    pub label: Option<Option<String>>,
    /// Which hits.
    pub filter: Option<HitFilter>,
    /// Whether nothing is sent any more.
    pub ended: Option<bool>,
}

/// A receiver as people see it: without its secrets.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WebhookView {
    id: String,
    url: String,
    label: Option<String>,
    filter: FilterView,
    /// Hits up to here have arrived, do not match, or are among the failures.
    cursor: String,
    sent: i64,
    #[serde(with = "wire::option_time")]
    last_sent_at: Option<Micros>,
    /// Hits that did not arrive while others did.
    failures: i64,
    #[serde(with = "wire::option_time")]
    failing_since: Option<Micros>,
    attempts: i64,
    #[serde(with = "wire::option_time")]
    next_attempt_at: Option<Micros>,
    #[serde(with = "wire::option_time")]
    ended_at: Option<Micros>,
    /// `operator`, `gone` or `failing`.
    ended_because: Option<String>,
    #[serde(with = "wire::time")]
    created_at: Micros,
}

/// Which hits, by the names that `GET /hits` has for them.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = WebhookFilterView)]
struct FilterView {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<wire::Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_id: Option<wire::Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        let filter = webhook.filter;
        Self {
            id: webhook.id.to_string(),
            url: webhook.url,
            label: webhook.label,
            filter: FilterView {
                kind: filter.kind,
                delivery_id: filter.delivery.map(Into::into),
                link_id: filter.link.map(Into::into),
                verdict: match filter.judged {
                    Some(Judged::As(verdict)) => Some(verdict.as_str()),
                    _ => None,
                },
                site: filter.site,
            },
            cursor: webhook.sent_to.to_string(),
            sent: webhook.sent,
            last_sent_at: webhook.last_sent_at,
            failures: webhook.failures,
            failing_since: webhook.failing_since,
            attempts: webhook.attempts,
            next_attempt_at: webhook.next_at,
            ended_at: webhook.ended_at,
            ended_because: webhook.ended_because,
            created_at: webhook.created_at,
        }
    }
}

/// Makes a receiver. Its secret is told here and never again.
///
/// # Errors
/// A field is not accepted, there are too many, or the database fails.
pub async fn create_webhook(
    store: &Store,
    clock: &Clock,
    allowed: &[IpNet],
    draft: NewWebhook,
) -> Result<(Webhook, WebhookSecret), WebhookError> {
    let horizon = store.last_seq().await?;
    let now = clock.now();
    let webhook = Webhook {
        id: WebhookId(clock.new_id(now)),
        url: check_url(&draft.url, allowed)?,
        label: check_label(draft.label)?,
        filter: draft.filter,
        sent_to: draft.after.map_or(horizon, |after| after.min(horizon)),
        sent: 0,
        last_sent_at: None,
        attempts: 0,
        failing_since: None,
        next_at: None,
        ended_at: None,
        ended_because: None,
        lease_owner: None,
        created_at: now,
        failures: 0,
        retry_at: None,
    };
    let secret = new_secret()?;
    let mut tx = store.begin().await?;
    if tx.count_webhooks().await? >= MOST_WEBHOOKS {
        tx.rollback().await?;
        return Err(WebhookError::TooMany);
    }
    tx.insert_webhook(&webhook).await?;
    tx.rotate_webhook_secret(webhook.id, &secret, now, now)
        .await?;
    tx.commit().await?;
    Ok((webhook, secret))
}

/// Changes a receiver. With another address, or begun again, it is tried at once; where it was
/// ended, it goes on where it stopped.
///
/// # Errors
/// There is no such webhook, a field is not accepted, or the database fails.
pub async fn change_webhook(
    store: &Store,
    clock: &Clock,
    allowed: &[IpNet],
    id: WebhookId,
    edit: WebhookEdit,
) -> Result<Webhook, WebhookError> {
    let url = match &edit.url {
        Some(url) => Some(check_url(url, allowed)?),
        None => None,
    };
    let label = match edit.label {
        Some(label) => Some(check_label(label)?),
        None => None,
    };
    let mut tx = store.begin().await?;
    let Some(was) = tx.webhook_to_change(id).await? else {
        tx.rollback().await?;
        return Err(WebhookError::None(id));
    };
    let now = clock.now();
    let mut webhook = was.clone();
    webhook.label = label.unwrap_or(webhook.label);
    webhook.filter = edit.filter.unwrap_or(webhook.filter);
    if let Some(url) = url {
        webhook.url = url;
    }
    match edit.ended {
        Some(true) if webhook.ended_at.is_none() => {
            webhook.ended_at = Some(now);
            webhook.ended_because = Some(Ended::Operator.as_str().to_owned());
        }
        Some(false) => (webhook.ended_at, webhook.ended_because) = (None, None),
        _ => {}
    }
    if webhook.url != was.url || webhook.ended_at.is_none() && was.ended_at.is_some() {
        try_at_once(&mut webhook);
    }
    tx.change_webhook(&webhook, now).await?;
    tx.commit().await?;
    Ok(webhook)
}

fn try_at_once(webhook: &mut Webhook) {
    (webhook.attempts, webhook.failing_since, webhook.next_at) = (0, None, None);
}

/// Removes a receiver with its secrets and failures.
///
/// # Errors
/// There is no such webhook, or the database fails.
pub async fn delete_webhook(store: &Store, id: WebhookId) -> Result<(), WebhookError> {
    let mut tx = store.begin().await?;
    if !tx.delete_webhook(id).await? {
        tx.rollback().await?;
        return Err(WebhookError::None(id));
    }
    Ok(tx.commit().await?)
}

/// Gives a receiver a new secret, told here and never again. Those before it sign beside it for so
/// many hours, so that the receiver can change over without losing a request.
///
/// # Errors
/// There is no such webhook, too many secrets sign already, or the database fails.
pub async fn rotate_secret(
    store: &Store,
    clock: &Clock,
    id: WebhookId,
    keep_hours: Option<i64>,
) -> Result<WebhookSecret, WebhookError> {
    let hours = keep_hours.unwrap_or(KEPT_HOURS);
    if !(0..=MOST_KEPT_HOURS).contains(&hours) {
        return Err(WebhookError::Draft(DraftError {
            field: "keep_hours",
            why: format!("is {hours} but must be from 0 to {MOST_KEPT_HOURS}"),
        }));
    }
    let secret = new_secret()?;
    let mut tx = store.begin().await?;
    if tx.webhook_to_change(id).await?.is_none() {
        tx.rollback().await?;
        return Err(WebhookError::None(id));
    }
    let now = clock.now();
    let old_until = Micros(now.0 + hours * Micros::HOUR);
    let signing = tx
        .rotate_webhook_secret(id, &secret, old_until, now)
        .await?;
    if signing > MOST_SECRETS {
        tx.rollback().await?;
        return Err(WebhookError::TooManySecrets);
    }
    tx.commit().await?;
    Ok(secret)
}

/// What is to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Everything that failed.
    Failed,
    /// One hit.
    Hit(i64),
    /// Everything after a hit.
    After(i64),
}

/// Sends hits again, under the ids that they had, and does so at once: whatever the receiver was
/// waited for, it is back.
///
/// # Errors
/// There is no such webhook, or the database fails.
pub async fn send_again(
    store: &Store,
    clock: &Clock,
    id: WebhookId,
    again: Again,
) -> Result<Webhook, WebhookError> {
    let mut tx = store.begin().await?;
    let Some(mut webhook) = tx.webhook_to_change(id).await? else {
        tx.rollback().await?;
        return Err(WebhookError::None(id));
    };
    let now = clock.now();
    match again {
        Again::Failed => {
            tx.retry_webhook_failures(id, None, now).await?;
        }
        Again::Hit(seq) => {
            tx.retry_webhook_failures(id, Some(seq), now).await?;
        }
        Again::After(seq) => webhook.sent_to = webhook.sent_to.min(seq.max(0)),
    }
    try_at_once(&mut webhook);
    tx.change_webhook(&webhook, now).await?;
    tx.commit().await?;
    store.webhook(id).await?.ok_or(WebhookError::None(id))
}

fn check_label(label: Option<String>) -> Result<Option<String>, DraftError> {
    let Some(label) = label else { return Ok(None) };
    match clean(&label, Limit::NAME) {
        (_, Some(_)) => Err(DraftError {
            field: "label",
            why: "must be at most 255 characters long and contain no control characters".to_owned(),
        }),
        (label, None) => Ok((!label.is_empty()).then(|| label.into_owned())),
    }
}

fn new_secret() -> Result<WebhookSecret, WebhookError> {
    Ok(WebhookSecret::of(random_secret()?.to_vec()))
}

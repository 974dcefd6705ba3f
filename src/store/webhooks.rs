//! Webhooks: their receivers, how far each has been told, and what did not arrive.
//!
//! A receiver needs no queue: the hits are there, in their order, and `sent_to` says up to which of
//! them all have arrived or stand in `webhook_failures`. It is written after the receiver has
//! answered, so a server that is killed sends some hits again and skips none.
//!
//! **One server sends**: the one that has the lease, and every write of a sender's says so. The
//! lease runs by the database's clock where several servers share one: a server whose own clock is
//! wrong would hold it for years.

use uuid::Uuid;

use super::hits::{HitFilter, Judged};
use super::{Bulk, Either, Store, Tx};
use crate::model::clock::Micros;
use crate::model::hit::{Kind, Verdict};
use crate::model::webhook::{MOST_PAUSE, WebhookId, WebhookSecret};
use crate::{both, execute_bulk, from_row};

/// How long a lease is good for. A server that was killed is replaced after this time.
const LEASE: i64 = 10 * Micros::SECOND;

/// Attempts that failed are kept for a look; so many of each receiver.
const KEPT_ATTEMPTS: i64 = 100;

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where hits are sent.
    pub url: String,
    /// Its name for people.
    pub label: Option<String>,
    /// Which hits.
    pub filter: HitFilter,
    /// Matching hits up to this one have arrived or failed.
    pub sent_to: i64,
    /// How many have arrived.
    pub sent: i64,
    /// When the last one arrived.
    pub last_sent_at: Option<Micros>,
    /// Rounds of attempts since anything arrived.
    pub attempts: i64,
    /// Since when nothing has arrived although it was tried.
    pub failing_since: Option<Micros>,
    /// When it is tried again; `None`: at once.
    pub next_at: Option<Micros>,
    /// Since when nothing is sent.
    pub ended_at: Option<Micros>,
    /// Why: see [`Ended`].
    pub ended_because: Option<String>,
    /// Who sends.
    pub lease_owner: Option<Uuid>,
    /// When it was made.
    pub created_at: Micros,
    /// Hits that did not arrive while others did.
    pub failures: i64,
    /// When the first of them is tried again.
    pub retry_at: Option<Micros>,
}

from_row!(Webhook, row => {
    id, url, label, sent_to, sent, last_sent_at, attempts, failing_since, next_at, ended_at,
    ended_because, lease_owner, created_at, failures, retry_at,
} {
    filter: HitFilter {
        delivery: row.try_get("delivery_id")?,
        link: row.try_get("link_id")?,
        site: row.try_get("site")?,
        kind: row.try_get::<Option<&str>, _>("kind")?.and_then(Kind::parse),
        judged: row.try_get::<Option<&str>, _>("verdict")?.and_then(Verdict::parse).map(Judged::As),
        ..HitFilter::default()
    },
});

macro_rules! select_webhooks {
    ($rest:literal) => {
        concat!(
            "select w.id, w.url, w.label, w.kind, w.delivery_id, w.link_id, w.verdict, w.site,
                    w.sent_to, w.sent, w.last_sent_at, w.attempts, w.failing_since, w.next_at,
                    w.ended_at, w.ended_because, w.lease_owner, w.created_at,
                    (select count(*) from webhook_failures f where f.webhook_id = w.id) as failures,
                    (select min(f.next_at) from webhook_failures f where f.webhook_id = w.id)
                    as retry_at
             from webhooks w ",
            $rest
        )
    };
}

/// Why nothing is sent to a receiver any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// An operator said so.
    Operator,
    /// It answered 410 Gone.
    Gone,
    /// It took nothing for days.
    Failing,
}

impl Ended {
    /// The word as it is stored and told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// A hit that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookFailure {
    /// Its number.
    pub seq: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// When last.
    pub failed_at: Micros,
    /// When it is tried again; `None`: not by itself.
    pub next_at: Option<Micros>,
    /// The answer's status; `None`: there was none.
    pub status: Option<i64>,
    /// The start of the answer, or why there was none.
    pub answer: String,
}

from_row!(WebhookFailure, row => { seq, attempts, failed_at, next_at, status, answer });

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// From 1 on for each receiver.
    pub number: i64,
    /// The hit's number.
    pub seq: i64,
    /// When.
    pub attempted_at: Micros,
    /// How long it took.
    pub milliseconds: i64,
    /// The answer's status; `None`: there was none.
    pub status: Option<i64>,
    /// The start of the answer, or why there was none.
    pub answer: String,
}

from_row!(WebhookAttempt, row => { number, seq, attempted_at, milliseconds, status, answer });

/// What came of sending some hits.
#[derive(Clone, Debug)]
pub struct SentRound {
    /// To whom.
    pub id: WebhookId,
    /// Who sent.
    pub owner: Uuid,
    /// `sent_to` before: where somebody has changed it since, nothing is written.
    pub was: i64,
    /// And after.
    pub sent_to: i64,
    /// How many arrived.
    pub arrived: i64,
    /// Those of them that had failed before.
    pub mended: Vec<i64>,
    /// Those that failed while others arrived.
    pub failures: Vec<WebhookFailure>,
    /// The latest attempts that failed; their numbers are given when they are written.
    pub attempts: Vec<WebhookAttempt>,
    /// Rounds since anything arrived.
    pub failed_rounds: i64,
    /// Since when nothing arrives.
    pub failing_since: Option<Micros>,
    /// When to try again.
    pub next_at: Option<Micros>,
    /// Whether this is the end.
    pub ended: Option<Ended>,
    /// When the round ended.
    pub now: Micros,
}

impl Store {
    /// All receivers, in the order in which they were made.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn webhooks(&self) -> sqlx::Result<Vec<Webhook>> {
        let sql = select_webhooks!("order by w.created_at, w.id");
        both!(self.reader(), pool => sqlx::query_as(sql).fetch_all(pool).await)
    }

    /// One of them.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn webhook(&self, id: WebhookId) -> sqlx::Result<Option<Webhook>> {
        let sql = select_webhooks!("where w.id = $1");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)
    }

    /// What requests are signed with at a time, the newest first.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn webhook_secrets(
        &self,
        id: WebhookId,
        now: Micros,
    ) -> sqlx::Result<Vec<WebhookSecret>> {
        let sql = "select secret from webhook_secrets
                   where webhook_id = $1 and (ends_at is null or ends_at > $2)
                   order by number desc";
        let secrets: Vec<Vec<u8>> = both!(self.reader(), pool => sqlx::query_scalar(sql)
            .bind(id)
            .bind(now)
            .fetch_all(pool)
            .await)?;
        Ok(secrets.into_iter().map(WebhookSecret::of).collect())
    }

    /// Hits that did not arrive, by rising numbers.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn webhook_failures(
        &self,
        id: WebhookId,
        after: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<WebhookFailure>> {
        let sql = "select seq, attempts, failed_at, next_at, status, answer from webhook_failures
                   where webhook_id = $1 and seq > $2 order by seq limit $3";
        both!(self.reader(), pool => sqlx::query_as(sql)
            .bind(id)
            .bind(after)
            .bind(limit)
            .fetch_all(pool)
            .await)
    }

    /// Hits that are to be tried again by now.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn due_webhook_failures(
        &self,
        id: WebhookId,
        now: Micros,
        limit: i64,
    ) -> sqlx::Result<Vec<WebhookFailure>> {
        let sql = "select seq, attempts, failed_at, next_at, status, answer from webhook_failures
                   where webhook_id = $1 and (next_at <= $2 or next_at > $3) order by next_at, seq
                   limit $4";
        both!(self.reader(), pool => sqlx::query_as(sql)
            .bind(id)
            .bind(now)
            .bind(Micros(now.0.saturating_add(MOST_PAUSE)))
            .bind(limit)
            .fetch_all(pool)
            .await)
    }

    /// Attempts that failed, the latest first.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn webhook_attempts(
        &self,
        id: WebhookId,
        before: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<WebhookAttempt>> {
        let sql =
            "select number, seq, attempted_at, milliseconds, status, answer from webhook_attempts
                   where webhook_id = $1 and number < $2 order by number desc limit $3";
        both!(self.reader(), pool => sqlx::query_as(sql)
            .bind(id)
            .bind(before)
            .bind(limit)
            .fetch_all(pool)
            .await)
    }

    /// Keeps the leases that somebody has.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn renew_webhook_leases(&self, owner: Uuid, now: Micros) -> sqlx::Result<()> {
        match self.writer() {
            Either::Postgres(pool) => {
                let sql = "update webhooks
                           set lease_until = clock_timestamp() + make_interval(secs => $2)
                           where lease_owner = $1 and ended_at is null";
                let seconds = (LEASE / Micros::SECOND) as f64;
                sqlx::query(sql)
                    .bind(owner)
                    .bind(seconds)
                    .execute(pool)
                    .await?;
            }
            Either::Sqlite(pool) => {
                let sql = "update webhooks set lease_until = $2 where lease_owner = $1
                           and ended_at is null";
                let until = Micros(now.0 + LEASE);
                sqlx::query(sql)
                    .bind(owner)
                    .bind(until)
                    .execute(pool)
                    .await?;
            }
        }
        Ok(())
    }

    /// Takes the lease of a receiver; false if somebody else has it. One that reaches further ahead
    /// than any lease was taken under a wrong clock.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn take_webhook(
        &self,
        id: WebhookId,
        owner: Uuid,
        now: Micros,
    ) -> sqlx::Result<bool> {
        let taken = match self.writer() {
            Either::Postgres(pool) => {
                let sql = "update webhooks set lease_owner = $2,
                           lease_until = clock_timestamp() + make_interval(secs => $3)
                           where id = $1 and ended_at is null
                             and (lease_owner is null or lease_owner = $2
                             or lease_until < clock_timestamp()
                                  or lease_until > clock_timestamp() + make_interval(secs => 2 * $3))";
                let seconds = (LEASE / Micros::SECOND) as f64;
                let query = sqlx::query(sql).bind(id).bind(owner).bind(seconds);
                query.execute(pool).await?.rows_affected()
            }
            Either::Sqlite(pool) => {
                let sql = "update webhooks set lease_owner = $2, lease_until = $3 + $4
                           where id = $1 and ended_at is null
                             and (lease_owner is null or lease_owner = $2 or lease_until < $3
                                  or lease_until > $3 + 2 * $4)";
                let query = sqlx::query(sql).bind(id).bind(owner).bind(now).bind(LEASE);
                query.execute(pool).await?.rows_affected()
            }
        };
        Ok(taken == 1)
    }

    /// Gives up all leases of somebody, so that others need not wait.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn release_webhooks(&self, owner: Uuid) -> sqlx::Result<()> {
        let sql =
            "update webhooks set lease_owner = null, lease_until = null where lease_owner = $1";
        both!(self.writer(), pool => sqlx::query(sql).bind(owner).execute(pool).await.map(|_| ()))
    }

    /// Writes what came of sending; false if the lease is somebody else's by now, or the receiver
    /// was changed meanwhile: then nothing is written, and the hits are sent again.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn save_webhook_round(&self, round: &SentRound) -> sqlx::Result<bool> {
        let mut tx = self.begin().await?;
        if !tx.move_webhook(round).await? {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.write_failures(round).await?;
        tx.write_attempts(round).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Tx {
    async fn move_webhook(&mut self, round: &SentRound) -> sqlx::Result<bool> {
        let sql = "update webhooks set sent_to = $4, sent = sent + $5, attempts = $6,
                   failing_since = $7, next_at = $8,
                       last_sent_at = case when $5 > 0 then $9 else last_sent_at end,
                       ended_at = case when $10 <> '' then $9 else ended_at end,
                       ended_because = case when $10 <> '' then $10 else ended_because end
                   where id = $1 and lease_owner = $2 and sent_to = $3 and ended_at is null";
        let moved = both!(self, c => sqlx::query(sql)
            .bind(round.id)
            .bind(round.owner)
            .bind(round.was)
            .bind(round.sent_to)
            .bind(round.arrived)
            .bind(round.failed_rounds)
            .bind(round.failing_since)
            .bind(round.next_at)
            .bind(round.now)
            .bind(round.ended.map_or("", Ended::as_str))
            .execute(&mut **c)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(moved == 1)
    }

    async fn write_failures(&mut self, round: &SentRound) -> sqlx::Result<()> {
        if !round.mended.is_empty() {
            let rows = Bulk::new()
                .uuid("webhook_id", round.mended.iter().map(|_| round.id.0))
                .big("seq", round.mended.iter().copied());
            execute_bulk!(
                self,
                rows,
                "delete from webhook_failures where (webhook_id, seq) in (select webhook_id, seq
                 from {rows})"
            )?;
        }
        let failures = &round.failures;
        if !failures.is_empty() {
            let rows = Bulk::new()
                .uuid("webhook_id", failures.iter().map(|_| round.id.0))
                .big("seq", failures.iter().map(|failure| failure.seq))
                .big("attempts", failures.iter().map(|failure| failure.attempts))
                .time(
                    "failed_at",
                    failures.iter().map(|failure| failure.failed_at),
                )
                .time_or_null("next_at", failures.iter().map(|failure| failure.next_at))
                .big_or_null("status", failures.iter().map(|failure| failure.status))
                .text(
                    "answer",
                    failures.iter().map(|failure| failure.answer.clone()),
                );
            execute_bulk!(
                self,
                rows,
                "insert into webhook_failures (webhook_id, seq, attempts, failed_at, next_at,
                 status, answer)
                 select webhook_id, seq, attempts, failed_at, next_at, status, answer from {rows}
                 where true
                 on conflict (webhook_id, seq) do update set attempts = excluded.attempts,
                 failed_at = excluded.failed_at,
                     next_at = excluded.next_at, status = excluded.status, answer = excluded.answer"
            )?;
        }
        Ok(())
    }

    async fn write_attempts(&mut self, round: &SentRound) -> sqlx::Result<()> {
        let attempts = &round.attempts;
        if attempts.is_empty() {
            return Ok(());
        }
        let last = "select coalesce(max(number), 0) from webhook_attempts where webhook_id = $1";
        let last: i64 =
            both!(self, c => sqlx::query_scalar(last).bind(round.id).fetch_one(&mut **c).await)?;
        let rows = Bulk::new()
            .uuid("webhook_id", attempts.iter().map(|_| round.id.0))
            .big("number", (last + 1..).take(attempts.len()))
            .big("seq", attempts.iter().map(|attempt| attempt.seq))
            .time(
                "attempted_at",
                attempts.iter().map(|attempt| attempt.attempted_at),
            )
            .big(
                "milliseconds",
                attempts.iter().map(|attempt| attempt.milliseconds),
            )
            .big_or_null("status", attempts.iter().map(|attempt| attempt.status))
            .text(
                "answer",
                attempts.iter().map(|attempt| attempt.answer.clone()),
            );
        execute_bulk!(
            self,
            rows,
            "insert into webhook_attempts (webhook_id, number, seq, attempted_at, milliseconds,
             status, answer)
             select webhook_id, number, seq, attempted_at, milliseconds, status, answer from {rows}"
        )?;
        let old = "delete from webhook_attempts where webhook_id = $1 and number <= $2";
        let kept = last + attempts.len() as i64 - KEPT_ATTEMPTS;
        both!(self, c => sqlx::query(old).bind(round.id).bind(kept).execute(&mut **c).await.map(|_| ()))
    }

    /// Makes a receiver that is told of what comes after `sent_to`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn insert_webhook(&mut self, webhook: &Webhook) -> sqlx::Result<()> {
        let sql =
            "insert into webhooks (id, sent_to, sent, attempts, created_at, changed_at, url, label,
                       kind, delivery_id, link_id, verdict, site)
                   values ($1, $2, 0, 0, $3, $3, $4, $5, $6, $7, $8, $9, $10)";
        let filter = &webhook.filter;
        both!(self, c => sqlx::query(sql)
            .bind(webhook.id)
            .bind(webhook.sent_to)
            .bind(webhook.created_at)
            .bind(&webhook.url)
            .bind(&webhook.label)
            .bind(filter.kind.map(Kind::as_str))
            .bind(filter.delivery)
            .bind(filter.link)
            .bind(verdict_of(filter))
            .bind(&filter.site)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// How many receivers there are.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn count_webhooks(&mut self) -> sqlx::Result<i64> {
        let sql = "select count(*) from webhooks";
        both!(self, c => sqlx::query_scalar(sql).fetch_one(&mut **c).await)
    }

    /// A receiver that is to be changed: others wait until the end of the transaction.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn webhook_to_change(&mut self, id: WebhookId) -> sqlx::Result<Option<Webhook>> {
        let sql = select_webhooks!("where w.id = $1");
        match self {
            Either::Postgres(c) => {
                let lock = "select 1 from webhooks where id = $1 for update";
                sqlx::query(lock).bind(id).execute(&mut **c).await?;
                sqlx::query_as(sql).bind(id).fetch_optional(&mut **c).await
            }
            Either::Sqlite(c) => sqlx::query_as(sql).bind(id).fetch_optional(&mut **c).await,
        }
    }

    /// Writes what operators change of a receiver.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn change_webhook(&mut self, webhook: &Webhook, now: Micros) -> sqlx::Result<()> {
        let sql = "update webhooks set url = $2, label = $3, kind = $4, delivery_id = $5,
                   link_id = $6, verdict = $7,
                       site = $8, sent_to = $9, attempts = $10, failing_since = $11, next_at = $12, ended_at = $13,
                       ended_because = $14, changed_at = $15 where id = $1";
        let filter = &webhook.filter;
        both!(self, c => sqlx::query(sql)
            .bind(webhook.id)
            .bind(&webhook.url)
            .bind(&webhook.label)
            .bind(filter.kind.map(Kind::as_str))
            .bind(filter.delivery)
            .bind(filter.link)
            .bind(verdict_of(filter))
            .bind(&filter.site)
            .bind(webhook.sent_to)
            .bind(webhook.attempts)
            .bind(webhook.failing_since)
            .bind(webhook.next_at)
            .bind(webhook.ended_at)
            .bind(&webhook.ended_because)
            .bind(now)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Removes a receiver and all that is kept for it.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete_webhook(&mut self, id: WebhookId) -> sqlx::Result<bool> {
        let mut removed = 0;
        for sql in [
            "delete from webhook_attempts where webhook_id = $1",
            "delete from webhook_failures where webhook_id = $1",
            "delete from webhook_secrets where webhook_id = $1",
            "delete from webhooks where id = $1",
        ] {
            removed = both!(&mut *self, c => sqlx::query(sql)
                .bind(id)
                .execute(&mut **c)
                .await
                .map(|done| done.rows_affected()))?;
        }
        Ok(removed == 1)
    }

    /// Adds a secret. Those before it go on signing until `old_until`, or as long as they would
    /// have anyway; what has ended is forgotten. Returns how many sign from now on.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn rotate_webhook_secret(
        &mut self,
        id: WebhookId,
        secret: &WebhookSecret,
        old_until: Micros,
        now: Micros,
    ) -> sqlx::Result<i64> {
        let end = "update webhook_secrets set ends_at = $2 where webhook_id = $1
                   and (ends_at is null or ends_at > $2)";
        both!(&mut *self, c => sqlx::query(end).bind(id).bind(old_until).execute(&mut **c).await.map(|_| ()))?;
        let forget = "delete from webhook_secrets where webhook_id = $1 and ends_at <= $2";
        both!(&mut *self, c => sqlx::query(forget).bind(id).bind(now).execute(&mut **c).await.map(|_| ()))?;
        let add = "insert into webhook_secrets (webhook_id, number, secret, created_at)
                   select $1, coalesce(max(number), 0) + 1, $2, $3 from webhook_secrets
                   where webhook_id = $1";
        both!(&mut *self, c => sqlx::query(add)
            .bind(id)
            .bind(secret.bytes())
            .bind(now)
            .execute(&mut **c)
            .await
            .map(|_| ()))?;
        let count = "select count(*) from webhook_secrets where webhook_id = $1";
        both!(self, c => sqlx::query_scalar(count).bind(id).fetch_one(&mut **c).await)
    }

    /// Makes hits that failed due at once: all, or those with these numbers, which need not have
    /// failed before. Returns how many of them are due.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn retry_webhook_failures(
        &mut self,
        id: WebhookId,
        seq: Option<i64>,
        now: Micros,
    ) -> sqlx::Result<u64> {
        let all = "update webhook_failures set next_at = $2, attempts = 0 where webhook_id = $1";
        let one = "insert into webhook_failures (webhook_id, seq, attempts, failed_at, next_at,
                   answer)
                   values ($1, $3, 0, $2, $2, 'to be sent again')
                   on conflict (webhook_id, seq) do update set next_at = excluded.next_at,
                   attempts = 0";
        both!(self, c => match seq {
            None => sqlx::query(all).bind(id).bind(now).execute(&mut **c).await.map(|done| done.rows_affected()),
            Some(seq) => sqlx::query(one).bind(id).bind(now).bind(seq).execute(&mut **c).await.map(|done| done.rows_affected()),
        })
    }
}

fn verdict_of(filter: &HitFilter) -> Option<&'static str> {
    match filter.judged {
        Some(Judged::As(verdict)) => Some(verdict.as_str()),
        _ => None,
    }
}

//! Sends hits to receivers.
//!
//! A look at all receivers every second: who has the lease, who is due, who is behind the horizon.
//! Each that has something to get is served by a task of its own, in rounds: read some hits, send
//! up to [`AT_ONCE`] of them at the same time, write what came of it. So a slow receiver holds up
//! nobody, and memory holds one round of each.
//!
//! A round starts small and doubles while everything arrives; after a failure it is small again, so
//! a receiver that is away or overloaded is asked with a few requests and not with hundreds. It
//! ends early once so many requests failed in a row.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connector::{Resolve, system_resolver};
use super::post::{Answer, Poster, body_of};
use super::round::{Round, Sent};
use crate::model::clock::Clock;
use crate::model::webhook::{WebhookSecret, is_due};
use crate::store::hits::{HitFilter, StoredHit};
use crate::store::webhooks::{Ended, SentRound, Webhook, WebhookFailure};
use crate::store::{self, Store};

/// How often to look.
const EVERY: Duration = Duration::from_secs(1);
/// How often leases are renewed, and those of others tried: well within a lease.
const RENEWED: Duration = Duration::from_secs(3);
/// Requests to a receiver at the same time. At 100 ms an answer these are 320 hits a second.
const AT_ONCE: usize = 32;
/// Hits of a round after a failure. More than one, so that a single hit which is never taken does
/// not look like a receiver that is away.
const FEW: i64 = 4;
/// Hits of the largest round.
const MANY: i64 = 256;
/// Failures in a row that end a round.
const ENOUGH: usize = 8;
/// Tasks that use the database at a time: the API has most of the connections.
const READING: usize = 3;
/// How long requests under way may take when the server stops.
const FAREWELL: Duration = Duration::from_secs(3);

/// What sends.
#[derive(Clone)]
pub struct Sender {
    store: Store,
    clock: Clock,
    owner: Uuid,
    resolve: Resolve,
    reading: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Sender {
    /// What ends it.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// `owner` is the same after a restart of the same server, which then need not wait for its own
    /// lease.
    pub fn new(store: Store, clock: Clock, owner: Uuid, stop: CancellationToken) -> Self {
        Self {
            store,
            clock,
            owner,
            resolve: system_resolver(),
            reading: Arc::new(Semaphore::new(READING)),
            stop,
        }
    }
}

/// Sends until the server stops. `allowed` are the networks of `webhooks.allow_networks` as they
/// are by now.
pub async fn send(sender: Sender, allowed: impl Fn() -> Vec<IpNet>) {
    let mut desk = Desk {
        sender,
        runs: JoinSet::new(),
        running: HashMap::new(),
        renewed: None,
        poster: None,
    };
    loop {
        if let Err(error) = desk.look(allowed()).await {
            tracing::debug!(%error, "webhooks wait for the database");
        }
        tokio::select! {
            () = desk.sender.stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    let ended = async { while desk.runs.join_next().await.is_some() {} };
    // What arrives later is sent again.
    let _ = tokio::time::timeout(FAREWELL, ended).await;
    desk.runs.shutdown().await;
    if let Err(error) = desk.sender.store.release_webhooks(desk.sender.owner).await {
        tracing::debug!(%error, "another server sends webhooks after a few seconds");
    }
}

/// Who is served at the moment.
struct Desk {
    sender: Sender,
    runs: JoinSet<()>,
    running: HashMap<Uuid, AbortHandle>,
    renewed: Option<Instant>,
    /// With the networks that it was made for.
    poster: Option<(Vec<IpNet>, Poster)>,
}

impl Desk {
    async fn look(&mut self, allowed: Vec<IpNet>) -> store::Result<()> {
        while self.runs.try_join_next().is_some() {}
        self.running.retain(|_, run| !run.is_finished());
        let (store, owner) = (self.sender.store.clone(), self.sender.owner);
        let now = self.sender.clock.now();
        let all = store.webhooks().await?;
        let active: Vec<&Webhook> = all.iter().filter(|w| w.ended_at.is_none()).collect();
        let renews = self.renewed.is_none_or(|at| at.elapsed() >= RENEWED);
        if renews && !active.is_empty() {
            store.renew_webhook_leases(owner, now).await?;
            self.renewed = Some(Instant::now());
        }
        let horizon = match active.is_empty() {
            true => 0,
            false => store.last_seq().await?,
        };
        tell(&all, horizon);
        for webhook in active {
            let is_ours = match webhook.lease_owner {
                Some(other) if other == owner => true,
                Some(_) if !renews => false,
                _ => store.take_webhook(webhook.id, owner, now).await?,
            };
            let has_work = webhook.sent_to < horizon
                || webhook.retry_at.is_some() && is_due(webhook.retry_at, now);
            if is_ours
                && has_work
                && is_due(webhook.next_at, now)
                && !self.running.contains_key(&webhook.id.0)
                && let Some(poster) = self.poster_for(&allowed)
            {
                let run = self.sender.clone().serve(webhook.clone(), poster);
                self.running.insert(webhook.id.0, self.runs.spawn(run));
            }
        }
        Ok(())
    }

    fn poster_for(&mut self, allowed: &[IpNet]) -> Option<Poster> {
        match &self.poster {
            Some((made_for, poster)) if made_for == allowed => Some(poster.clone()),
            _ => {
                let poster = Poster::new(Arc::clone(&self.sender.resolve), allowed)?;
                self.poster = Some((allowed.to_vec(), poster.clone()));
                Some(poster)
            }
        }
    }
}

/// The gauges.
fn tell(all: &[Webhook], horizon: i64) {
    let (mut active, mut failing, mut ended, mut failures, mut behind) = (0, 0, 0, 0, 0);
    for webhook in all {
        failures += webhook.failures;
        match (webhook.ended_at, webhook.failing_since) {
            (Some(_), _) => ended += 1,
            (None, Some(_)) => failing += 1,
            (None, None) => active += 1,
        }
        if webhook.ended_at.is_none() {
            behind = behind.max(horizon - webhook.sent_to);
        }
    }
    for (state, count) in [("active", active), ("failing", failing), ("ended", ended)] {
        metrics::gauge!("sillage_webhooks", "state" => state).set(f64::from(count));
    }
    metrics::gauge!("sillage_webhook_failures").set(failures as f64);
    metrics::gauge!("sillage_webhook_behind_hits").set(behind as f64);
}

/// Some hits that are to be sent.
struct Batch {
    new: Vec<StoredHit>,
    reached: i64,
    is_last: bool,
    again: Vec<(WebhookFailure, StoredHit)>,
    vanished: Vec<i64>,
}

impl Sender {
    /// Rounds, until the receiver has everything, fails, or is not ours any more.
    async fn serve(self, webhook: Webhook, poster: Poster) {
        let id = webhook.id;
        if let Err(error) = self.serve_rounds(webhook, &poster).await {
            tracing::debug!(%error, webhook = %id, "a webhook waits for the database");
        }
    }

    async fn serve_rounds(&self, mut webhook: Webhook, poster: &Poster) -> store::Result<()> {
        let id = webhook.id;
        let mut size = match webhook.attempts {
            0 => AT_ONCE as i64,
            _ => FEW,
        };
        loop {
            let now = self.clock.now();
            let (batch, secrets) = {
                let _turn = self.reading.acquire().await;
                let batch = self.read(&webhook, size).await?;
                (batch, self.store.webhook_secrets(id, now).await?)
            };
            let is_last = batch.is_last;
            let round = self.round(&webhook, batch, &secrets, poster, size).await;
            let was_clean = round.attempts.is_empty();
            let is_over = round.next_at.is_some() || round.ended.is_some();
            let is_idle = round.sent_to == webhook.sent_to
                && was_clean
                && round.arrived == 0
                && round.mended.is_empty();
            if is_idle {
                return Ok(());
            }
            let _turn = self.reading.acquire().await;
            if !self.store.save_webhook_round(&round).await? {
                return Ok(());
            }
            tell_round(&round);
            if is_over || is_last && was_clean || self.stop.is_cancelled() {
                return Ok(());
            }
            size = match was_clean {
                true => (size * 2).min(MANY),
                false => FEW,
            };
            // Its address, its filter and its owner may be others by now.
            match self.store.webhook(id).await? {
                Some(now) if now.ended_at.is_none() && now.lease_owner == Some(self.owner) => {
                    webhook = now;
                }
                _ => return Ok(()),
            }
        }
    }

    async fn read(&self, webhook: &Webhook, size: i64) -> store::Result<Batch> {
        let store = &self.store;
        let due = store
            .due_webhook_failures(webhook.id, self.clock.now(), size)
            .await?;
        let (mut again, mut vanished) = (Vec::new(), Vec::new());
        for failure in due {
            let seq = failure.seq;
            let all = HitFilter::default();
            let page = store.hits_between(&all, seq - 1, seq, 1).await?;
            match page.hits.into_iter().next() {
                Some(hit) => again.push((failure, hit)),
                // Retention removed it.
                None => vanished.push(seq),
            }
        }
        let horizon = store.last_seq().await?.max(webhook.sent_to);
        let page = store
            .hits_between(&webhook.filter, webhook.sent_to, horizon, size)
            .await?;
        Ok(Batch {
            is_last: page.is_last() && again.len() < usize::try_from(size).unwrap_or(0),
            reached: page.reached.max(webhook.sent_to),
            new: page.hits,
            again,
            vanished,
        })
    }

    /// Sends them, so many at a time.
    async fn round(
        &self,
        webhook: &Webhook,
        batch: Batch,
        secrets: &[WebhookSecret],
        poster: &Poster,
        size: i64,
    ) -> SentRound {
        let round = Sending {
            webhook,
            secrets,
            poster,
            failed_in_a_row: AtomicUsize::new(0),
        };
        let mut requests = Vec::with_capacity(batch.new.len() + batch.again.len());
        for hit in batch.new {
            requests.push(self.send_one(&round, hit, None));
        }
        for (failure, hit) in batch.again {
            requests.push(self.send_one(&round, hit, Some(failure.attempts)));
        }
        let at_once = usize::try_from(size).unwrap_or(1).min(AT_ONCE);
        let requests = stream::iter(requests).buffer_unordered(at_once);
        let mut sent: Vec<Sent> = requests.collect().await;
        sent.sort_by_key(|sent| sent.seq);
        let (new, again) = sent.into_iter().partition(|sent| sent.before.is_none());
        let round = Round {
            webhook,
            owner: self.owner,
            new,
            reached: batch.reached,
            again,
            vanished: batch.vanished,
            now: self.clock.now(),
            chance: getrandom::u64().unwrap_or_default(),
        };
        round.settle()
    }

    async fn send_one(&self, round: &Sending<'_>, hit: StoredHit, before: Option<i64>) -> Sent {
        let seq = hit.seq;
        let is_over = round.failed_in_a_row.load(Ordering::Relaxed) >= ENOUGH;
        if is_over || self.stop.is_cancelled() {
            return Sent {
                seq,
                before,
                answer: None,
            };
        }
        let (url, message) = (&round.webhook.url, round.webhook.id.message(seq));
        let (body, now) = (body_of(&hit), self.clock.now());
        drop(hit);
        let sending = round.poster.send(url, &message, round.secrets, body, now);
        let answer = sending.await;
        let outcome = answer.word();
        metrics::counter!("sillage_webhook_requests_total", "outcome" => outcome).increment(1);
        match &answer {
            Answer::Taken => round.failed_in_a_row.store(0, Ordering::Relaxed),
            Answer::Failed(_) => _ = round.failed_in_a_row.fetch_add(1, Ordering::Relaxed),
            Answer::Gone(_) => round.failed_in_a_row.store(ENOUGH, Ordering::Relaxed),
        }
        Sent {
            seq,
            before,
            answer: Some(answer),
        }
    }
}

/// What the requests of a round share.
struct Sending<'r> {
    webhook: &'r Webhook,
    secrets: &'r [WebhookSecret],
    poster: &'r Poster,
    failed_in_a_row: AtomicUsize,
}

/// What of a round operators should know.
fn tell_round(round: &SentRound) {
    let given_up = round
        .failures
        .iter()
        .filter(|failure| failure.next_at.is_none());
    let given_up = given_up.count();
    if given_up > 0 {
        metrics::counter!("sillage_webhook_given_up_total").increment(given_up as u64);
        tracing::warn!(
            webhook = %round.id,
            hits = given_up,
            "a webhook's receiver did not take these hits for days; they can be sent again"
        );
    }
    match round.ended {
        Some(Ended::Failing) => tracing::error!(
            webhook = %round.id,
            "a webhook's receiver took nothing for days: nothing more is sent until it is begun \
            again"
        ),
        Some(Ended::Gone) => tracing::warn!(
            webhook = %round.id,
            "a webhook's receiver wants nothing more (410): the webhook has ended"
        ),
        _ => {}
    }
}

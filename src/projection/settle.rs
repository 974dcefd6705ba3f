//! Lets verdicts settle: looks at the hits of each message together, some minutes long, and changes
//! the verdicts that turn out to be others, with their figures.
//!
//! It runs beside the projection on one server at a time, and costs the storing of hits nothing but
//! short turns. It reads hits in storage order up to the horizon and keeps those of the last
//! [`KEPT`] by message. What settles follows from the hits alone, so whoever takes over after a
//! `kill -9` reads them again from the last noted place and comes to the same.
//!
//! **How it fails.** Database away: it tries again. Far behind (a backlog, a server that was off
//! for long): it reads on as fast as it can, by the times of the hits, which say what was near
//! what. More than [`MOST`] hits at a time: the oldest settle as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::rules::ProjectionRules;
use super::verdicts::{Ruling, rule};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{BroadlogId, Reason};
use crate::store::settling::{RENEWAL, SettlingHit};
use crate::store::{self, Store, is_race};
use crate::tracking::verdict::settle::{MessageHit, PROOF, QUIET, settle};

/// How long hits are kept to be looked at together: as long as a page proves its click.
const KEPT: i64 = PROOF + 60 * Micros::SECOND;
/// Hits that are kept at most, some 100 bytes each.
const MOST: usize = 200_000;
/// A message with more hits than this within that time has gone round: its hits are not one
/// reader's.
const MOST_OF_MESSAGE: usize = 100;
/// Numbers read at a time.
const PAGE: i64 = 5_000;
/// Verdicts changed in one transaction.
const PORTION: usize = 200;
/// Pause once all is read.
const PAUSE: Duration = Duration::from_secs(5);
/// How often sketches are made anew that have visitors which were taken back.
const RENEWED: Duration = Duration::from_secs(600);

/// The task that lets verdicts settle.
pub struct Settler {
    store: Store,
    clock: Clock,
    rules: ProjectionRules,
    owner: Uuid,
    /// When the place was claimed last; `None` while another server has it.
    claimed: Option<Micros>,
    window: Window,
}

/// The hits that are looked at.
#[derive(Debug, Default)]
struct Window {
    /// The last number that was read; `None` before the first.
    read_to: Option<i64>,
    of: BTreeMap<BroadlogId, Vec<SettlingHit>>,
    /// All of them, oldest first.
    times: BTreeSet<(Micros, i64, BroadlogId)>,
    /// When to look again at messages with hits that were only too soon.
    due: BTreeSet<(Micros, BroadlogId)>,
}

impl Window {
    fn add(&mut self, hit: SettlingHit) {
        if hit.reason == Some(Reason::TooSoon) {
            self.due.insert((Micros(hit.at.0 + QUIET), hit.message));
        }
        self.times.insert((hit.at, hit.seq, hit.message));
        self.of.entry(hit.message).or_default().push(hit);
    }

    /// Forgets what came before a time, or is too much.
    fn forget(&mut self, before: Micros) {
        while let Some((at, seq, message)) = self.times.first().copied() {
            if at >= before && self.times.len() <= MOST {
                break;
            }
            self.times.pop_first();
            if let Some(hits) = self.of.get_mut(&message) {
                hits.retain(|hit| hit.seq != seq);
                if hits.is_empty() {
                    self.of.remove(&message);
                }
            }
        }
    }

    /// What a message's verdicts become.
    fn settle(&mut self, message: BroadlogId, now: Micros, rulings: &mut BTreeMap<i64, Ruling>) {
        let Some(hits) = self.of.get_mut(&message) else {
            return;
        };
        if hits.len() > MOST_OF_MESSAGE {
            return;
        }
        hits.sort_by_key(|hit| (hit.at, hit.seq));
        let seen: Vec<MessageHit> = hits
            .iter()
            .map(|hit| MessageHit {
                at: hit.at,
                kind: hit.kind,
                link: hit.link,
                visitor: hit.visitor,
                address: hit.address,
                verdict: hit.verdict,
                reason: hit.reason,
            })
            .collect();
        for (hit, new) in hits.iter().zip(settle(&seen, now)) {
            if let Some(why) = new {
                rulings.insert(hit.seq, Ruling::Settled(why));
            }
        }
    }

    /// Where all below has settled.
    fn settled_to(&self) -> Option<i64> {
        let first = self.times.iter().map(|(_, seq, _)| seq - 1).min();
        first.or(self.read_to)
    }
}

impl Settler {
    /// For a store.
    pub fn new(store: Store, clock: Clock, rules: ProjectionRules) -> Self {
        Self {
            owner: clock.new_id(clock.now()),
            store,
            clock,
            rules,
            claimed: None,
            window: Window::default(),
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut renewed = tokio::time::Instant::now();
        loop {
            let is_all = match self.step().await {
                Ok(is_all) => is_all,
                Err(error) => {
                    if !is_race(&error) {
                        tracing::debug!(%error, "verdicts wait for the database");
                    }
                    // What was read may not be what is there.
                    (self.claimed, self.window) = (None, Window::default());
                    true
                }
            };
            if renewed.elapsed() >= RENEWED {
                renewed = tokio::time::Instant::now();
                if let Err(error) = self.store.renew_sketches().await {
                    tracing::debug!(%error, "sketches of visitors wait for the database");
                }
            }
            if is_all {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Reads a page and settles what it belongs to; true if that was all, or another server does
    /// it.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(super) async fn step(&mut self) -> store::Result<bool> {
        let clock = self.clock.now();
        if self
            .claimed
            .is_none_or(|at| clock.0 - at.0 >= RENEWAL || clock < at)
        {
            let settled_to = self.window.settled_to().unwrap_or(0);
            let claim = self.store.claim_settling(self.owner, settled_to, clock);
            match claim.await? {
                Some(seq) => {
                    self.claimed = Some(clock);
                    self.window.read_to.get_or_insert(seq);
                }
                None => {
                    self.claimed = None;
                    self.window = Window::default();
                    return Ok(true);
                }
            }
        }
        let after = self.window.read_to.unwrap_or(0);
        let horizon = self.store.last_seq().await?;
        let until = horizon.min(after.saturating_add(PAGE));
        let page = self.store.settling_hits(after, until).await?;
        let newest = page.iter().map(|hit| hit.at).max();
        let is_all = until >= horizon;
        // Behind, it is as late as the hits are.
        let now = if is_all {
            clock
        } else {
            newest.unwrap_or_default()
        };
        let mut messages: BTreeSet<BroadlogId> = page.iter().map(|hit| hit.message).collect();
        page.into_iter().for_each(|hit| self.window.add(hit));
        self.window.read_to = Some(until);
        while let Some((at, message)) = self.window.due.first().copied()
            && at <= now
        {
            self.window.due.pop_first();
            messages.insert(message);
        }
        let mut rulings = BTreeMap::new();
        for message in messages {
            self.window.settle(message, now, &mut rulings);
        }
        self.write(rulings).await?;
        self.window.forget(Micros(now.0 - KEPT));
        Ok(is_all)
    }

    async fn write(&mut self, rulings: BTreeMap<i64, Ruling>) -> store::Result<()> {
        let mut rulings = rulings.into_iter().peekable();
        while rulings.peek().is_some() {
            let portion = rulings.by_ref().take(PORTION).collect();
            let ruled = rule(&self.store, &self.rules, &portion).await?;
            let changed: BTreeMap<i64, _> = ruled
                .changed
                .iter()
                .map(|changed| (changed.seq, changed.to))
                .collect();
            metrics::counter!("sillage_verdicts_settled_total").increment(changed.len() as u64);
            for hit in self.window.of.values_mut().flatten() {
                if let Some((verdict, reason)) = changed.get(&hit.seq) {
                    (hit.verdict, hit.reason) = (*verdict, *reason);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hit::{
        DeliveryId, Dialect, Hit, HitId, Kind, LinkId, Provenance, Verdict, VisitorId,
    };
    use crate::projection::tests::{rules, write};
    use crate::store::tests::rig::{Engine, new_dir, on_both};
    use crate::store::tests::{NOW, count, new_store, next_number, texts};

    fn hit(kind: Kind, message: i64, seconds: i64) -> Hit {
        let at = Micros(NOW.0 + seconds * Micros::SECOND);
        let id = HitId(Uuid::from_u128(next_number()));
        let mut hit = Hit::new(id, at, kind, Dialect::Native);
        hit.delivery_id = Some(DeliveryId(1));
        hit.broadlog_id = Some(BroadlogId(message));
        hit.provenance = Provenance::Link;
        hit.visitor_id = Some(VisitorId(Uuid::from_u128(next_number())));
        hit.ip = Some("192.0.2.7".parse().unwrap());
        hit
    }

    fn click(message: i64, seconds: i64, link: i64) -> Hit {
        let mut hit = hit(Kind::Click, message, seconds);
        hit.link_id = Some(LinkId(link));
        hit
    }

    async fn store_hits(store: &Store, hits: Vec<Hit>) {
        let mut tx = store.begin_lane().await.unwrap();
        write(&mut tx, hits).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn recount(store: &Store) {
        store.renew_sketches().await.unwrap();
        let scratch = new_dir("recount").join("counted.db");
        let found = store.recount(&scratch, false).await.unwrap();
        assert!(found.is_right(), "{found:#?}");
    }

    async fn verdicts(store: &Store, message: i64) -> Vec<String> {
        let sql = format!(
            "select verdict || ':' || coalesce(reason, '') from hits where broadlog_id = {message}
             order by seq"
        );
        texts(store, &sql).await.into_iter().flatten().collect()
    }

    async fn settle_all(settler: &mut Settler) {
        while !settler.step().await.unwrap() {}
    }

    async fn verdicts_settle_and_figures_follow(engine: Engine) {
        let store = new_store(engine).await;
        let clock = Clock::fixed(NOW);
        let mut settler = Settler::new(store.clone(), clock.clone(), rules());
        let mut early = click(3, 30, 1);
        early.judge(Reason::TooSoon);
        let reader = click(4, 10, 1);
        let mut page = hit(Kind::Pageview, 4, 12);
        page.visitor_id = reader.visitor_id;
        let mut second = click(4, 11, 2);
        second.visitor_id = reader.visitor_id;
        store_hits(
            &store,
            vec![
                hit(Kind::Open, 1, 10),
                click(1, 20, 1),
                click(1, 20, 2),
                click(2, 20, 1),
                early,
                reader,
                second,
                page,
            ],
        )
        .await;
        clock.advance(40 * Micros::SECOND);
        settle_all(&mut settler).await;
        let at_once = "scanner:several links at once";
        let opened = "scanner:opened before several links at once";
        assert_eq!(verdicts(&store, 1).await, [opened, at_once, at_once]);
        assert_eq!(verdicts(&store, 2).await, ["human:"]);
        assert_eq!(
            verdicts(&store, 3).await,
            ["suspect:within the minute of sending"]
        );
        assert_eq!(verdicts(&store, 4).await, ["human:", "human:", "human:"]);
        recount(&store).await;
        clock.advance(180 * Micros::SECOND);
        settle_all(&mut settler).await;
        assert_eq!(verdicts(&store, 3).await, ["human:settled as a person's"]);
        recount(&store).await;
        let first = "hits where first_verdict is not null";
        assert_eq!(count(&store, first).await, 4);
        store.close().await;
    }

    /// One is gone at any moment; the other takes over and comes to the same.
    async fn whoever_takes_over_settles_what_was_left(engine: Engine) {
        let store = new_store(engine).await;
        let clock = Clock::fixed(NOW);
        let mut hits = Vec::new();
        for message in 1..=300 {
            hits.push(click(message, 1, 1));
        }
        store_hits(&store, hits).await;
        let mut one = Settler::new(store.clone(), clock.clone(), rules());
        let mut other = Settler::new(store.clone(), clock.clone(), rules());
        settle_all(&mut one).await;
        assert!(other.step().await.unwrap(), "one has the place");
        let seconds = (1..=300).map(|message| click(message, 2, 2)).collect();
        store_hits(&store, seconds).await;
        // Dropped in the middle of its transactions.
        for polls in [3, 9, 27] {
            let step = one.step();
            let mut step = std::pin::pin!(step);
            for _ in 0..polls {
                let once = std::time::Duration::from_millis(5);
                if tokio::time::timeout(once, &mut step).await.is_ok() {
                    break;
                }
            }
        }
        drop(one);
        recount(&store).await;
        clock.advance(90 * Micros::SECOND);
        settle_all(&mut other).await;
        assert_eq!(count(&store, "hits where verdict = 'scanner'").await, 600);
        assert_eq!(count(&store, "broadlog_figures").await, 0);
        recount(&store).await;
        // What has settled is not read again.
        clock.advance(1_000 * Micros::SECOND);
        settle_all(&mut other).await;
        clock.advance(30 * Micros::SECOND);
        settle_all(&mut other).await;
        assert_eq!(count(&store, "settling where seq = 600").await, 1);
        let scanners = store
            .hits_to_judge(0, 600, Micros(0), Micros(i64::MAX), 1_000)
            .await;
        assert!(
            scanners
                .unwrap()
                .iter()
                .all(|(hit, _)| hit.hit.verdict == Verdict::Scanner)
        );
        store.close().await;
    }

    on_both!(
        verdicts_settle_and_figures_follow,
        whoever_takes_over_settles_what_was_left,
    );
}

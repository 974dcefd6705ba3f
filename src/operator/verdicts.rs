//! Verdicts of stored hits: judged again by the rules and lists of today, and decided by people.
//!
//! A period is judged in portions, each in a short transaction of its own, with its figures. What
//! is judged already does not differ any more, so whoever is interrupted begins again and loses
//! nothing but the time of looking.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::clock::Micros;
use crate::model::hit::{Kind, Limit, Reason, Verdict, clean};
use crate::model::wire::{Time, Uid};
use crate::projection::ProjectionRules;
use crate::projection::verdicts::{Ruled, Ruling, rule};
use crate::store::verdicts::{Decision, JudgedHit};
use crate::store::{self, Store};
use crate::tracking::verdict::{Lists, judge_stored};

/// Hits looked at at a time.
const PAGE: i64 = 2_000;
/// Verdicts changed in one transaction, which others that store hits wait for: some 50 ms.
const PORTION: usize = 200;

/// Judges stored hits again.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Where they are.
    pub store: Store,
    /// What counts as revenue.
    pub rules: ProjectionRules,
    /// What they are judged by.
    pub lists: Arc<Lists>,
}

/// A time of which hits are judged again: those received from its start on and before its end.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its start.
    pub from: Micros,
    /// Its end, excluded.
    pub to: Micros,
}

/// From one verdict to another.
type Way = (Kind, (Verdict, Option<Reason>), (Verdict, Option<Reason>));

/// How today's verdicts differ from those that hits have.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    /// Hits looked at.
    pub hits: u64,
    /// Hits that stay as a person decided.
    pub decided: u64,
    /// How many change so, and one of them.
    of: BTreeMap<Way, (u64, i64)>,
}

/// Hits that change in the same way.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// What they are.
    pub kind: Kind,
    /// Before.
    pub from: Verdict,
    /// Why.
    pub from_reason: Option<Reason>,
    /// After.
    pub to: Verdict,
    /// Why.
    pub to_reason: Option<Reason>,
    /// How many.
    pub hits: u64,
    /// The number of one of them.
    pub example: i64,
}

impl Differences {
    fn add(&mut self, kind: Kind, was: &JudgedHit, is: &JudgedHit) {
        let of = |of: &JudgedHit| (of.hit.verdict, of.hit.verdict_reason());
        let way = (kind, of(was), of(is));
        self.of.entry(way).or_insert((0, was.seq)).0 += 1;
    }

    /// Each way in which hits change.
    pub fn list(&self) -> impl Iterator<Item = Difference> {
        self.of
            .iter()
            .map(|((kind, from, to), (hits, example))| Difference {
                kind: *kind,
                from: from.0,
                from_reason: from.1,
                to: to.0,
                to_reason: to.1,
                hits: *hits,
                example: *example,
            })
    }
}

impl Judge {
    /// Looks at hits after a number and up to another, some thousand at a time, and notes how
    /// today's verdicts differ; returns the last number that it looked at, `None` at the end, and
    /// the verdicts to be written.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn look(
        &self,
        received: Received,
        after: i64,
        until: i64,
        differences: &mut Differences,
    ) -> store::Result<Option<(i64, BTreeMap<i64, Ruling>)>> {
        let Received { from, to } = received;
        let page = self
            .store
            .hits_to_judge(after, until, from, to, PAGE)
            .await?;
        let Some(last) = page.last().map(|(hit, _)| hit.seq) else {
            return Ok(None);
        };
        let mut rulings = BTreeMap::new();
        for (was, sent_at) in page {
            differences.hits += 1;
            if was.is_decided {
                differences.decided += 1;
                continue;
            }
            // What it was judged by is erased.
            if was.hit.is_erased() {
                continue;
            }
            let verdict = was.first.as_ref().map_or(was.hit.verdict, |first| first.0);
            let first = (verdict, was.first_notes());
            let why = judge_stored(&was.hit, first, sent_at, &self.lists);
            // What all hits of a message show outweighs what one alone seems to be.
            if was.hit.is_settled() && why.is_none_or(Reason::gives_way) {
                continue;
            }
            let mut is = was.clone();
            is.hit.judge_anew(why);
            if (is.hit.verdict, &is.hit.reason) != (was.hit.verdict, &was.hit.reason) {
                differences.add(was.hit.kind, &was, &is);
                rulings.insert(was.seq, Ruling::Rules(why));
            }
        }
        Ok(Some((last, rulings)))
    }

    /// Writes verdicts, and figures follow. Tells after each portion how many are written.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn write(&self, rulings: BTreeMap<i64, Ruling>) -> store::Result<Ruled> {
        let mut ruled = Ruled::default();
        let mut rulings = rulings.into_iter().peekable();
        while rulings.peek().is_some() {
            let portion = rulings.by_ref().take(PORTION).collect();
            ruled.merge(rule(&self.store, &self.rules, &portion).await?);
        }
        Ok(ruled)
    }
}

/// A hit, as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitName {
    /// Its number in the order of storage.
    Seq(i64),
    /// Its id.
    Id(Uuid),
}

impl HitName {
    /// The hit that a text names.
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(seq) => Some(Self::Seq(seq)),
            Err(_) => Uuid::try_parse(text).ok().map(Self::Id),
        }
    }
}

/// The verdict of a hit, and how it came to have it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerdictView {
    /// The hit's id.
    #[schema(value_type = Uid)]
    pub id: Uuid,
    /// Its number in the order of storage.
    pub seq: i64,
    /// Whose it is.
    pub verdict: Verdict,
    /// Why, and notes about other things.
    pub reason: Option<String>,
    /// Whose it was at first.
    pub first_verdict: Verdict,
    /// Why at first.
    pub first_reason: Option<String>,
    /// What a person decided.
    pub decision: Option<DecisionView>,
}

/// A person's decision.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DecisionView {
    /// What.
    pub verdict: Verdict,
    /// Why, in the person's words.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Time,
}

/// Why a decision is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// There is no such hit.
    NoHit,
    /// Nobody knows what it counted.
    Unknown,
}

/// The verdict of a hit; `None` if there is no such hit.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn show_verdict(store: &Store, name: HitName) -> store::Result<Option<VerdictView>> {
    let seq = match name {
        HitName::Seq(seq) => Some(seq),
        HitName::Id(id) => store.number_of_hit(id).await?,
    };
    let Some(seq) = seq else {
        return Ok(None);
    };
    let Some(hit) = store.judged_hit(seq).await? else {
        return Ok(None);
    };
    let decision = store.decision(seq).await?.map(|decision| DecisionView {
        verdict: decision.verdict,
        reason: decision.reason,
        by: decision.decided_by,
        at: Time(decision.decided_at),
    });
    let first_reason = hit.first_notes().map(str::to_owned);
    Ok(Some(VerdictView {
        id: hit.hit.id.0,
        seq,
        verdict: hit.hit.verdict,
        first_verdict: hit.first.as_ref().map_or(hit.hit.verdict, |first| first.0),
        reason: hit.hit.reason,
        first_reason,
        decision,
    }))
}

/// Gives a hit the verdict that a person decides, for good.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn decide(
    store: &Store,
    rules: &ProjectionRules,
    name: HitName,
    verdict: Verdict,
    reason: &str,
    (by, at): (&str, Micros),
) -> store::Result<Result<VerdictView, Undecided>> {
    let Some(hit) = show_verdict(store, name).await? else {
        return Ok(Err(Undecided::NoHit));
    };
    let decision = Decision {
        seq: hit.seq,
        hit_id: hit.id,
        verdict,
        reason: clean(reason, Limit::AGENT).0.into_owned(),
        decided_by: by.to_owned(),
        decided_at: at,
    };
    let rulings = BTreeMap::from([(hit.seq, Ruling::Decided(decision))]);
    let ruled = rule(store, rules, &rulings).await?;
    if !ruled.unknown.is_empty() {
        return Ok(Err(Undecided::Unknown));
    }
    let now = show_verdict(store, HitName::Seq(hit.seq)).await?;
    Ok(now.ok_or(Undecided::NoHit))
}

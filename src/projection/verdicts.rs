//! Gives stored hits other verdicts, and figures follow in the same transaction.
//!
//! | what a hit counted | how it is taken back and counted again |
//! |---|---|
//! | hits, messages, who clicked, top values, visitors | by the code that counts (`store/figures/changes.rs`) |
//! | what a purchase earned | what was booked is booked with the opposite sign; a purchase that counts now is told as if it came now |
//! | an order that a machine told | it is taken back whole, with what changed it later |
//! | a click that led to purchases | the purchases after it are credited anew, by the touches that there are then |
//!
//! A hit that a person decided keeps its verdict, unless a person decides again. Hits whose message
//! an earlier version counted may not be known well enough; they stay as they are and are told.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::orders::{Earned, Orders};
use super::rules::ProjectionRules;
use super::touches::{self, Settled};
use crate::identity::Changes;
use crate::model::clock::Micros;
use crate::model::hit::{Kind, Proof, Reason, Verdict};
use crate::store::figures::{Booking, CountedChange, CountedChanges, Figures, Totals, Touches};
use crate::store::orders::note;
use crate::store::touches::{Touch, visits};
use crate::store::verdicts::{Decision, JudgedHit, NewVerdict};
use crate::store::{self, Store, Tx, Writes};

/// What a hit's verdict is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// What the rules say; `None` for a person's.
    Rules(Option<Reason>),
    /// What the hits of its message together show; `None` for a person's.
    Settled(Option<Reason>),
    /// What a person says.
    Decided(Decision),
}

/// A verdict that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The hit's number.
    pub seq: i64,
    /// What it is.
    pub kind: Kind,
    /// Before.
    pub from: (Verdict, Option<Reason>),
    /// After.
    pub to: (Verdict, Option<Reason>),
}

/// What became of rulings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruled {
    /// Hits with another verdict or reason now.
    pub changed: Vec<Changed>,
    /// Hits that stay as a person decided.
    pub decided: Vec<i64>,
    /// Hits that stay, since nobody knows what they counted: see `sillage recount --repair`.
    pub unknown: Vec<i64>,
}

impl Ruled {
    /// Takes another's.
    pub fn merge(&mut self, more: Self) {
        self.changed.extend(more.changed);
        self.decided.extend(more.decided);
        self.unknown.extend(more.unknown);
    }
}

/// A hit on its way to another verdict.
struct Case {
    was: JudgedHit,
    is: JudgedHit,
}

impl Case {
    fn is_changed(&self) -> bool {
        (self.was.hit.verdict, &self.was.hit.reason) != (self.is.hit.verdict, &self.is.hit.reason)
    }

    fn is_taken_back(&self) -> bool {
        self.was.hit.verdict.counts() && !self.is.hit.verdict.counts()
    }

    fn is_added(&self) -> bool {
        !self.was.hit.verdict.counts() && self.is.hit.verdict.counts()
    }

    fn changed(&self) -> Changed {
        let of = |of: &JudgedHit| (of.hit.verdict, of.hit.verdict_reason());
        Changed {
            seq: self.was.seq,
            kind: self.was.hit.kind,
            from: of(&self.was),
            to: of(&self.is),
        }
    }
}

/// Gives hits other verdicts in a transaction of its own, in which nobody else writes figures: some
/// hundred hits at most.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn rule(
    store: &Store,
    rules: &ProjectionRules,
    rulings: &BTreeMap<i64, Ruling>,
) -> store::Result<Ruled> {
    let mut tx = store.begin_turn().await?;
    let ruled = rule_in(&mut tx, rules, rulings).await?;
    tx.commit().await?;
    Ok(ruled)
}

/// The same in a transaction that has its turn.
///
/// # Errors
/// The database refuses.
pub async fn rule_in(
    tx: &mut Tx,
    rules: &ProjectionRules,
    rulings: &BTreeMap<i64, Ruling>,
) -> store::Result<Ruled> {
    let mut ruled = Ruled::default();
    let mut cases: BTreeMap<i64, Case> = BTreeMap::new();
    for was in tx.judged_hits(rulings.keys().copied()).await? {
        let mut is = was.clone();
        match rulings.get(&was.seq) {
            None => continue,
            Some(Ruling::Rules(_) | Ruling::Settled(_)) if was.is_decided => {
                ruled.decided.push(was.seq);
                continue;
            }
            Some(Ruling::Rules(why)) => is.hit.judge_anew(*why),
            Some(Ruling::Settled(why)) => is.hit.settle(*why),
            Some(Ruling::Decided(decision)) => is.hit.decide(decision.verdict),
        }
        cases.insert(was.seq, Case { was, is });
    }
    let changes = cases.values().filter(|case| case.is_changed());
    let changes = changes.map(|case| CountedChange {
        seq: case.was.seq,
        before: case.was.hit.clone(),
        after: case.is.hit.clone(),
    });
    let mut counted = CountedChanges::load(tx, changes.collect()).await?;
    for seq in std::mem::take(&mut counted.refused) {
        cases.remove(&seq);
        ruled.unknown.push(seq);
    }
    for ruling in rulings.values() {
        if let Ruling::Decided(decision) = ruling
            && cases.contains_key(&decision.seq)
        {
            tx.keep_decision(decision).await?;
        }
    }
    cases.retain(|_, case| case.is_changed());
    if cases.is_empty() {
        return Ok(ruled);
    }
    let bookings = book_again(tx, rules, &mut cases).await?;
    // What an order says of a hit is among its notes, and decides whether it is counted as one.
    for change in &mut counted.changes {
        if let Some(case) = cases.get(&change.seq) {
            change.after.reason.clone_from(&case.is.hit.reason);
        }
    }
    let mut totals = book(tx, &bookings).await?;
    totals.merge(counted.save(tx).await?);
    let new = cases.values().map(|case| NewVerdict {
        seq: case.is.seq,
        received_at: case.is.hit.received_at,
        verdict: case.is.hit.verdict,
        reason: case.is.hit.reason.clone(),
        counted_revenue: case.is.counted_revenue,
    });
    tx.write_verdicts(&new.collect::<Vec<_>>()).await?;
    let credits = credit_again(tx, rules, &cases).await?;
    totals.merge(book(tx, &credits).await?);
    totals.save_changes(tx).await?;
    ruled.changed = cases.values().map(Case::changed).collect();
    Ok(ruled)
}

/// Books in the rows of messages; returns the rest.
async fn book(tx: &mut Tx, bookings: &[Booking]) -> store::Result<Totals> {
    let mut figures = Figures::load(tx, &[], bookings.iter()).await?;
    for booking in bookings {
        figures.book(booking);
    }
    let mut writes = Writes::default();
    let totals = figures.save(tx, &mut writes).await?;
    writes.send(tx).await?;
    Ok(totals)
}

/// Writes orders, and what led to the purchase that changed them; at once, since the next purchase
/// may be of the same order.
async fn save_orders(
    tx: &mut Tx,
    orders: &Orders,
    purchase: Option<(i64, Micros, &Touches)>,
) -> store::Result<()> {
    let mut writes = Writes::default();
    orders.save(tx, &mut writes).await?;
    tx.keep_purchase_touches(purchase.as_slice(), &mut writes)
        .await?;
    writes.send(tx).await
}

/// What purchases among the hits earn no more, and what they earn now. Notes it in the hits, and
/// keeps it of their orders.
async fn book_again(
    tx: &mut Tx,
    rules: &ProjectionRules,
    cases: &mut BTreeMap<i64, Case>,
) -> store::Result<Vec<Booking>> {
    // Of the two verdicts, the one that counts says whether there is anything to earn.
    let earns = |case: &Case| {
        (case.is_taken_back() && Orders::may_earn(&case.was.hit))
            || (case.is_added() && Orders::may_earn(&case.is.hit))
    };
    let of: BTreeSet<i64> = cases
        .iter()
        .filter(|(_, case)| earns(case))
        .map(|(seq, _)| *seq)
        .collect();
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let known = tx.purchase_touches(&of).await?;
    let mut bookings = Vec::new();
    for seq in &of {
        let Some(case) = cases.get_mut(seq) else {
            continue;
        };
        if case.is_taken_back() {
            let hits = [&case.was.hit];
            let mut orders = Orders::load_all(tx, rules.revenue, &hits).await?;
            let touches = match known.get(seq) {
                Some(touches) => Arc::clone(touches),
                // An earlier version did not keep them.
                None => touches_of(tx, rules, &case.was).await?,
            };
            let (hit, counted) = (&case.was.hit, case.was.counted_revenue);
            bookings.extend(orders.take_back(hit, counted, &touches));
            save_orders(tx, &orders, None).await?;
            case.is.hit.forget_notes(&note::ALL);
            case.is.counted_revenue = None;
        } else {
            case.is.hit.forget_notes(&note::ALL);
            let touches = touches_of(tx, rules, &case.is).await?;
            let hits = [&case.is.hit];
            let mut orders = Orders::load(tx, rules.revenue, &hits).await?;
            let earned: Earned = orders.settle(&case.is.hit, &touches);
            let received_at = case.is.hit.received_at;
            save_orders(tx, &orders, Some((*seq, received_at, &touches))).await?;
            if let Some(note) = earned.note {
                case.is.hit.note(note);
            }
            case.is.counted_revenue = earned.counted_revenue();
            bookings.extend(earned.bookings);
        }
    }
    Ok(bookings)
}

/// What led to a stored purchase, as the hits say it now.
async fn touches_of(
    tx: &mut Tx,
    rules: &ProjectionRules,
    of: &JudgedHit,
) -> store::Result<Touches> {
    let settled = [Settled {
        hit: Cow::Borrowed(&of.hit),
        contact: of.contact,
        is_proved: of.hit.proof().is_some_and(Proof::is_signed),
    }];
    let found = touches::find(tx, &settled, &Changes::default(), rules).await?;
    Ok(found
        .into_iter()
        .next()
        .map(visits)
        .unwrap_or_default()
        .into())
}

/// Credits purchases anew that these hits led to, or lead to now.
async fn credit_again(
    tx: &mut Tx,
    rules: &ProjectionRules,
    cases: &BTreeMap<i64, Case>,
) -> store::Result<Vec<Booking>> {
    let touched = cases.values().filter(|case| {
        let counting = if case.is_added() { &case.is } else { &case.was };
        (case.is_taken_back() || case.is_added())
            && Touch::of(&counting.hit, rules.revenue).is_some()
    });
    let touched: Vec<_> = touched
        .map(|case| {
            let hit = &case.was.hit;
            let at = Micros(hit.counted_at().0.min(hit.received_at.0));
            (case.was.contact, hit.visitor_id.map(|id| id.0), at)
        })
        .collect();
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    // A purchase may be told days after it was.
    let window = rules.window + 7 * Micros::DAY;
    let purchases = tx.purchases_after(&touched, window).await?;
    let known = tx.purchase_touches(&purchases).await?;
    let mut bookings = Vec::new();
    for purchase in tx.judged_hits(purchases).await? {
        // Without what led to it once, nobody knows whom to take the credit from.
        let Some(before) = known.get(&purchase.seq) else {
            continue;
        };
        let after = touches_of(tx, rules, &purchase).await?;
        if *before == after {
            continue;
        }
        let hits = [&purchase.hit];
        let mut orders = Orders::load_all(tx, rules.revenue, &hits).await?;
        bookings.extend(orders.credit_again(&purchase.hit, before, &after));
        let received_at = purchase.hit.received_at;
        save_orders(tx, &orders, Some((purchase.seq, received_at, &after))).await?;
    }
    Ok(bookings)
}

#[cfg(test)]
mod tests;

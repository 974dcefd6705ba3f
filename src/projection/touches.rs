//! What led to the purchases of a batch: touches that are stored, and those that come with it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::orders::Orders;
use super::rules::ProjectionRules;
use crate::identity::Changes;
use crate::model::hit::{ContactId, Hit, Kind, LinkId, Utm, VisitorId};
use crate::store::touches::{Purchase, Touch, Touched};
use crate::store::{self, Tx};

/// Contacts that were merged into others.
type Survivors = BTreeMap<ContactId, ContactId>;

/// A hit whose person is resolved.
pub(super) struct Settled<'h> {
    /// The hit, with what was found out about it.
    pub hit: Cow<'h, Hit>,
    /// The person; `None` if nobody is named.
    pub contact: Option<ContactId>,
    /// Its person is proved, not only claimed.
    pub is_proved: bool,
}

/// The touches of each hit that may earn something, in the order of those hits.
pub(super) async fn find(
    tx: &mut Tx,
    hits: &[Settled<'_>],
    changes: &Changes,
    rules: &ProjectionRules,
) -> store::Result<Vec<Touched>> {
    let survivors: Survivors = changes.merges.iter().copied().collect();
    let purchases: Vec<Purchase> = hits
        .iter()
        .filter(|of| Orders::may_earn(&of.hit))
        .map(|of| Purchase {
            contact: of.contact.map(|id| last_of(&survivors, id)),
            is_proved: of.is_proved,
            visitor: own_browser(&of.hit),
            at: of.hit.counted_at(),
        })
        .collect();
    if purchases.is_empty() {
        return Ok(Vec::new());
    }
    let found = tx.touches_of(&purchases, rules.window, rules.revenue);
    let mut touches = found.await?;
    add_new(&purchases, hits, &survivors, rules, &mut touches);
    Ok(touches)
}

/// Gives a purchase the link and the campaign parameters of the click that began its session: the
/// last one of its delivery. What it says itself stays.
pub(super) fn take_click(hit: &mut Cow<'_, Hit>, touched: &Touched) {
    let Some(delivery) = hit.delivery_id.filter(|_| hit.kind == Kind::Transaction) else {
        return;
    };
    let is_click = |(touch, _): &&(Touch, Utm)| touch.0 == delivery.0 && touch.1 != 0;
    let Some((Touch(_, link, _), utm)) = touched.values().rev().find(is_click) else {
        return;
    };
    if hit.link_id.is_none() {
        hit.to_mut().link_id = Some(LinkId(*link));
    }
    if hit.utm == Utm::default() && *utm != Utm::default() {
        hit.to_mut().utm = utm.clone();
    }
}

/// The browser of a hit, if it may have been here before.
fn own_browser(hit: &Hit) -> Option<VisitorId> {
    hit.visitor_id.filter(|_| !hit.visitor_is_new)
}

/// Adds the touches of this very batch.
fn add_new(
    purchases: &[Purchase],
    hits: &[Settled<'_>],
    survivors: &Survivors,
    rules: &ProjectionRules,
    touches: &mut [Touched],
) {
    let (mut of_contacts, mut of_visitors) = (HashMap::new(), HashMap::new());
    for (number, purchase) in purchases.iter().enumerate() {
        // Of a contact that is only named, the purchase's own browser alone counts.
        if let Some(id) = purchase.contact.filter(|_| purchase.is_proved) {
            of_contacts.entry(id).or_insert_with(Vec::new).push(number);
        }
        if let Some(id) = purchase.visitor {
            of_visitors.entry(id).or_insert_with(Vec::new).push(number);
        }
    }
    // Behind all that are stored.
    for (of, place) in hits.iter().zip(i64::MAX - hits.len() as i64..) {
        let hit = &of.hit;
        let contact = of.contact.map(|id| last_of(survivors, id));
        let of_contact = contact.and_then(|id| of_contacts.get(&id));
        let of_visitor = hit.visitor_id.and_then(|id| of_visitors.get(&id));
        let at = hit.occurred_at.unwrap_or(hit.received_at);
        for &number in of_contact.into_iter().chain(of_visitor).flatten() {
            let until = purchases[number].at;
            if at > until || at.0 < until.0 - rules.window {
                continue;
            }
            if let Some(touch) = Touch::of(hit, rules.revenue) {
                touches[number].insert((at, place), (touch, hit.utm.clone()));
            }
        }
    }
}

/// The contact that one was merged into, through any number of merges.
fn last_of(survivors: &Survivors, mut id: ContactId) -> ContactId {
    // Each merge leads to another contact, so there are no more steps than merges.
    for _ in 0..survivors.len() {
        match survivors.get(&id) {
            Some(into) => id = *into,
            None => break,
        }
    }
    id
}

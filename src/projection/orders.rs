//! One order is one transaction: what each hit earns, and where.
//!
//! An order is its number, site and currency. Told again it is kept as a hit with its reason and
//! books nothing, or the difference:
//!
//! | who tells of it again | what happens |
//! |---|---|
//! | the same browser, the same amount (a page reloaded) | `order counted before` |
//! | the same browser, another amount | `order changed`: the difference is booked where the order was counted first |
//! | the same browser, now with proof of a delivery | `order proved`: it moves from what stands apart to that delivery |
//! | another browser | an order of its own. Numbers can be guessed: it takes nothing from the first, nor can it come before it |
//! | a browser that has no id, after another without | `order counted before`: they cannot be told apart |
//! | a sender that is believed | it takes the place of all that browsers said, in the place of the browser that it names, else of the last that had proof |
//! | a browser, after such a sender | `order counted before`, whatever the amount |
//!
//! A negative amount is a refund: no transaction, and its items are taken off. A sender's adds up,
//! in the place of the order; one that is sent again needs an idempotency key. A browser's counts
//! once for an amount, only for its own order and only down to nothing; else it stands apart.
//!
//! A batch without order numbers asks the database nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::hit::{Authority, Dialect, Hit, Kind, LeastProof, Money, Proof, Sum, VisitorId};
use crate::store::figures::{Booking, Place, Sales, Touches};
use crate::store::orders::note::{self, CHANGED, PROVED, REFUNDED, REPEATED, TOO_MUCH, UNKNOWN};
use crate::store::orders::{HeldOrder, Holder, Order, OrderKey};
use crate::store::{self, Tx, Writes};

/// Orders as each holder told them.
type KnownOrders = BTreeMap<OrderKey, BTreeMap<Holder, Order>>;

/// The orders of a batch.
#[derive(Debug, Default)]
pub struct Orders {
    least: LeastProof,
    known: KnownOrders,
    /// As they were loaded, where others may change them.
    loaded: Option<KnownOrders>,
    /// Orders that have changed, or are gone.
    touched: BTreeSet<HeldOrder>,
}

/// What a hit earns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Earned {
    /// What to book, and what to take back.
    pub bookings: Vec<Booking>,
    /// Why it is not simply its amount.
    pub note: Option<&'static str>,
}

impl Earned {
    fn nothing(note: &'static str) -> Self {
        Self {
            bookings: Vec::new(),
            note: Some(note),
        }
    }

    /// Whether it is the first hit of an order.
    pub fn is_order(&self) -> bool {
        let orders: i64 = self
            .bookings
            .iter()
            .map(|booking| booking.sales.transactions)
            .sum();
        orders > 0
    }

    /// What it adds to revenue, for the column `counted_revenue`; `None` if it has nothing to do
    /// with revenue.
    pub fn counted_revenue(&self) -> Option<Money> {
        let proved = || {
            self.bookings.iter().filter(|booking| {
                booking.place.is_proved && booking.place.kind == Kind::Transaction
            })
        };
        if self.bookings.is_empty() && self.note.is_some() {
            return Some(Money(0));
        }
        proved().next()?;
        let sum: i128 = proved().map(|booking| booking.sales.revenue.0).sum();
        // Nothing but a sender that takes the place of more browsers than there are could leave 64
        // bits.
        Some(Money(i64::try_from(sum).unwrap_or(i64::MAX)))
    }
}

/// A sender that outranks any browser. Senders that relay Mapp's requests relay browsers' words,
/// too.
fn is_sender(hit: &Hit) -> bool {
    hit.authority == Authority::Authenticated || hit.is_trusted && hit.dialect != Dialect::Mapp
}

/// The order that a hit may report. Adobe's tags have no order numbers, so what a page tag makes of
/// a hit changes nothing here.
fn key_of(hit: &Hit) -> Option<OrderKey> {
    let order_id = hit.order_id.as_ref().filter(|_| hit.verdict.counts())?;
    Some(OrderKey {
        order_id: order_id.clone(),
        site: hit.site.clone(),
        currency: hit
            .currency
            .as_ref()
            .map_or_else(String::new, |currency| currency.as_str().to_owned()),
    })
}

/// Whether its browser has nothing to be recognised by.
fn is_nobodys(hit: &Hit) -> bool {
    (hit.visitor_is_new || hit.visitor_id.is_none()) && !hit.proof().is_some_and(Proof::is_signed)
}

/// Whether its order was known when it told of it.
fn is_noted(hit: &Hit) -> bool {
    let notes = hit.reason.as_deref().unwrap_or_default();
    notes.split("; ").any(|word| note::ALL.contains(&word))
}

/// Items of a hit.
fn items(hit: &Hit) -> i64 {
    i64::from(hit.quantity.unwrap_or_default())
}

fn booking(
    place: &Place,
    touches: &Touches,
    transactions: i64,
    revenue: Money,
    quantity: i64,
) -> Booking {
    Booking {
        touches: Arc::clone(touches),
        place: place.clone(),
        sales: Sales {
            transactions,
            revenue: revenue.into(),
            quantity,
        },
    }
}

/// Takes back what an order has booked.
fn taken_back(order: &Order) -> Booking {
    Booking {
        touches: Arc::clone(&order.touches),
        place: order.place.clone(),
        sales: Sales {
            transactions: -1,
            revenue: -(Sum::from(order.revenue) + Sum::from(order.refunded)),
            quantity: -order.quantity,
        },
    }
}

impl Orders {
    /// What the database knows of the orders of these hits. `least`: what counts as revenue.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn load(tx: &mut Tx, least: LeastProof, hits: &[&Hit]) -> store::Result<Self> {
        let told = tx.told_orders(&Self::keys(hits)).await?;
        let (mut exact, mut whole) = (BTreeSet::new(), BTreeSet::new());
        let again = hits.iter().filter(|_| !told.is_empty());
        for (hit, key) in again.filter_map(|hit| Some((hit, key_of(hit)?))) {
            if !told.contains(&key) {
                continue;
            }
            if is_sender(hit) {
                whole.insert(key);
                continue;
            }
            if let Some(id) = hit.visitor_id.filter(|_| !hit.visitor_is_new) {
                exact.insert((key.clone(), Holder::Visitor(id)));
            }
            exact.insert((key.clone(), Holder::Nobody));
            exact.insert((key, Holder::Sender));
        }
        exact.retain(|(key, _)| !whole.contains(key));
        let (exact, whole) = (Vec::from_iter(exact), Vec::from_iter(whole));
        let mut orders = Self {
            least,
            ..Self::default()
        };
        for ((key, holder), order) in tx.load_orders(&exact, &whole).await? {
            orders.known.entry(key).or_default().insert(holder, order);
        }
        orders.loaded = tx.is_beside().then(|| orders.known.clone());
        Ok(orders)
    }

    /// The same, with all that anybody told of the orders: for what is taken back.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn load_all(tx: &mut Tx, least: LeastProof, hits: &[&Hit]) -> store::Result<Self> {
        let mut orders = Self {
            least,
            ..Self::default()
        };
        let whole = Vec::from_iter(Self::keys(hits));
        for ((key, holder), order) in tx.load_orders(&[], &whole).await? {
            orders.known.entry(key).or_default().insert(holder, order);
        }
        Ok(orders)
    }

    /// The orders that hits name.
    pub(super) fn keys(hits: &[&Hit]) -> BTreeSet<OrderKey> {
        hits.iter().filter_map(|hit| key_of(hit)).collect()
    }

    /// Whether the database still has what was loaded for these hits, and nothing more. `told` are
    /// those that anyone has reported by now; nearly always nobody has reported any.
    ///
    /// # Errors
    /// The database refuses.
    pub(super) async fn are_as_loaded(
        &self,
        tx: &mut Tx,
        hits: &[&Hit],
        told: &BTreeSet<OrderKey>,
    ) -> store::Result<bool> {
        let Some(loaded) = &self.loaded else {
            return Ok(true);
        };
        if told.is_empty() {
            return Ok(loaded.is_empty());
        }
        let now = Self::load(tx, self.least, hits).await?;
        Ok(*loaded == now.known)
    }

    /// Whether a hit may earn something, so that it matters what led to it.
    pub fn may_earn(hit: &Hit) -> bool {
        hit.verdict.counts()
            && (hit.kind == Kind::Transaction
                || hit.revenue.unwrap_or_default().0 != 0
                || items(hit) != 0)
    }

    /// What a hit earns. Its delivery, message and kind must be settled. `touches`: what led to it.
    pub fn settle(&mut self, hit: &Hit, touches: &Touches) -> Earned {
        // Nearly all do not.
        if !Self::may_earn(hit) {
            return Earned::default();
        }
        let (amount, is_purchase) = (
            hit.revenue.unwrap_or_default(),
            hit.kind == Kind::Transaction,
        );
        let own = Place::of(hit, self.least.admits(hit.proof()));
        match key_of(hit).filter(|_| is_purchase) {
            Some(key) if amount.0 < 0 && is_sender(hit) => {
                self.refund_of_sender(&key, hit, own, touches)
            }
            Some(key) if amount.0 < 0 => self.refund(&key, hit, own, touches),
            Some(key) if is_sender(hit) => self.order_of_sender(key, hit, own, touches),
            Some(key) => self.order(key, hit, own, touches),
            None => Earned {
                bookings: vec![booking(
                    &own,
                    touches,
                    i64::from(is_purchase && amount.0 >= 0),
                    amount,
                    items(hit),
                )],
                note: None,
            },
        }
    }

    fn get(&self, key: &OrderKey, holder: Holder) -> Option<&Order> {
        self.known.get(key)?.get(&holder)
    }

    fn put(&mut self, key: &OrderKey, holder: Holder, order: Order) {
        self.touched.insert((key.clone(), holder));
        self.known
            .entry(key.clone())
            .or_default()
            .insert(holder, order);
    }

    /// The order as the browser of a hit reported it.
    fn own(&self, key: &OrderKey, visitor: Option<VisitorId>) -> Option<(Holder, Order)> {
        let holder = Holder::Visitor(visitor?);
        if let Some(order) = self.get(key, holder) {
            return Some((holder, order.clone()));
        }
        // It had no id yet when it told of the order first.
        let order = self.get(key, Holder::Nobody)?;
        (order.visitor == visitor).then(|| (Holder::Nobody, order.clone()))
    }

    /// An order that is reported for the first time.
    fn begin(
        &mut self,
        key: &OrderKey,
        holder: Holder,
        hit: &Hit,
        place: Place,
        touches: &Touches,
    ) -> Booking {
        let amount = hit.revenue.unwrap_or_default();
        let booked = booking(&place, touches, 1, amount, items(hit));
        let order = Order {
            visitor: hit.visitor_id,
            place,
            revenue: amount,
            quantity: items(hit),
            refunded: Money(0),
            last_refund: Money(0),
            counted_at: hit.received_at,
            touches: Arc::clone(touches),
        };
        self.put(key, holder, order);
        booked
    }

    /// Puts a known order at `place`, with the amount and the items of a hit if it gives them.
    fn replace(
        &mut self,
        key: &OrderKey,
        holder: Holder,
        mut order: Order,
        hit: &Hit,
        mut place: Place,
    ) -> Vec<Booking> {
        let before = taken_back(&order);
        if let Some(amount) = hit.revenue {
            order.revenue = amount;
            if !key.currency.is_empty() {
                place.currency.clone_from(&key.currency);
            }
        }
        if hit.quantity.is_some() {
            order.quantity = items(hit);
        }
        order.place = place;
        let mut after = taken_back(&order);
        after.sales.transactions = 1;
        after.sales.revenue = -after.sales.revenue;
        after.sales.quantity = -after.sales.quantity;
        self.put(key, holder, order);
        vec![before, after]
    }

    fn order(&mut self, key: OrderKey, hit: &Hit, own: Place, touches: &Touches) -> Earned {
        if self.get(&key, Holder::Sender).is_some() {
            return Earned::nothing(REPEATED);
        }
        if let Some((holder, order)) = self.own(&key, hit.visitor_id) {
            let is_changed = hit.revenue.is_some_and(|amount| amount != order.revenue)
                || hit.quantity.is_some() && items(hit) != order.quantity;
            let (place, note) = if own.is_proved && own.delivery != 0 && !order.place.is_proved {
                (own, PROVED)
            } else if is_changed {
                (order.place.clone(), CHANGED)
            } else {
                return Earned::nothing(REPEATED);
            };
            return Earned {
                bookings: self.replace(&key, holder, order, hit, place),
                note: Some(note),
            };
        }
        let holder = match hit.visitor_id {
            Some(id) if !is_nobodys(hit) => Holder::Visitor(id),
            _ if self.get(&key, Holder::Nobody).is_some() => return Earned::nothing(REPEATED),
            _ => Holder::Nobody,
        };
        Earned {
            bookings: vec![self.begin(&key, holder, hit, own, touches)],
            note: None,
        }
    }

    /// What browsers reported of an order, and among them the one that decides where it came from:
    /// the one that the sender names, else the last whose delivery was proved. The last, as nobody
    /// can know a number before the shop assigns it, or be later than the buyer.
    fn claims(&self, key: &OrderKey, hit: &Hit) -> (Vec<Holder>, Option<Order>) {
        let Some(claims) = self.known.get(key) else {
            return (Vec::new(), None);
        };
        let proved = || {
            claims
                .values()
                .filter(|order| order.place.is_proved && order.place.delivery != 0)
        };
        let named =
            proved().find(|order| order.visitor.is_some() && order.visitor == hit.visitor_id);
        let first = named.or_else(|| proved().max_by_key(|order| order.counted_at));
        (claims.keys().copied().collect(), first.cloned())
    }

    fn order_of_sender(
        &mut self,
        key: OrderKey,
        hit: &Hit,
        own: Place,
        touches: &Touches,
    ) -> Earned {
        if let Some(order) = self.get(&key, Holder::Sender).cloned() {
            let place = if order.place.delivery == 0 && own.delivery != 0 {
                own
            } else {
                order.place.clone()
            };
            let is_same = place == order.place
                && hit.revenue.is_none_or(|amount| amount == order.revenue)
                && (hit.quantity.is_none() || items(hit) == order.quantity);
            if is_same {
                return Earned::nothing(REPEATED);
            }
            return Earned {
                bookings: self.replace(&key, Holder::Sender, order, hit, place),
                note: Some(CHANGED),
            };
        }
        let (holders, first) = self.claims(&key, hit);
        let Some(counted) = first
            .clone()
            .or_else(|| self.known.get(&key)?.values().next().cloned())
        else {
            return Earned {
                bookings: vec![self.begin(&key, Holder::Sender, hit, own, touches)],
                note: None,
            };
        };
        // Everything that browsers said is taken back, and the order counted once.
        let mut bookings = Vec::new();
        for holder in holders {
            if let Some(order) = self.known.get_mut(&key).and_then(|of| of.remove(&holder)) {
                bookings.push(taken_back(&order));
                self.touched.insert((key.clone(), holder));
            }
        }
        let is_same = hit.revenue.is_none_or(|amount| amount == counted.revenue);
        let place = match first {
            Some(first) if own.delivery == 0 => first.place,
            _ => own,
        };
        let replaced = self.replace(&key, Holder::Sender, counted, hit, place);
        // Without the first half, which was taken back above.
        bookings.extend(replaced.into_iter().skip(1));
        Earned {
            bookings,
            note: Some(if is_same { REPEATED } else { CHANGED }),
        }
    }

    fn refund_of_sender(
        &mut self,
        key: &OrderKey,
        hit: &Hit,
        own: Place,
        touches: &Touches,
    ) -> Earned {
        let order = self.get(key, Holder::Sender).cloned();
        let order = order.or_else(|| self.claims(key, hit).1);
        let (mut place, touches) = order.map_or_else(
            || (own, Arc::clone(touches)),
            |order| (order.place, order.touches),
        );
        if !key.currency.is_empty() {
            place.currency.clone_from(&key.currency);
        }
        let amount = hit.revenue.unwrap_or_default();
        Earned {
            bookings: vec![booking(&place, &touches, 0, amount, -items(hit).abs())],
            note: None,
        }
    }

    fn refund(&mut self, key: &OrderKey, hit: &Hit, own: Place, touches: &Touches) -> Earned {
        let amount = hit.revenue.unwrap_or_default();
        let apart = |note| Earned {
            bookings: vec![booking(
                &Place {
                    is_proved: false,
                    ..own.clone()
                },
                touches,
                0,
                amount,
                -items(hit).abs(),
            )],
            note: Some(note),
        };
        let Some((holder, mut order)) = self.own(key, hit.visitor_id) else {
            return apart(UNKNOWN);
        };
        if order.last_refund == amount {
            return Earned::nothing(REFUNDED);
        }
        let left = order.revenue.0.saturating_add(order.refunded.0);
        if left.saturating_add(amount.0) < 0 {
            return apart(TOO_MUCH);
        }
        order.refunded = Money(order.refunded.0 + amount.0);
        order.last_refund = amount;
        // The order's own items stay: the page of the order, shown again, still tells them.
        let items = items(hit).abs().min(order.quantity.max(0));
        let bookings = vec![booking(&order.place, &order.touches, 0, amount, -items)];
        self.put(key, holder, order);
        Earned {
            bookings,
            note: None,
        }
    }

    /// The order that a hit was the first to tell of, if it still stands so.
    fn begun_by(&self, key: &OrderKey, hit: &Hit) -> Option<(Holder, Order)> {
        let mut orders = self.known.get(key)?.iter();
        let found = orders.find(|(holder, order)| {
            (**holder == Holder::Sender) == is_sender(hit)
                && order.counted_at == hit.received_at
                && order.visitor == hit.visitor_id
        });
        found.map(|(holder, order)| (*holder, order.clone()))
    }

    /// The order that a hit told of, and where it counts.
    fn told_by(&self, key: &OrderKey, hit: &Hit) -> Option<(Holder, Order)> {
        let of_sender = || Some((Holder::Sender, self.get(key, Holder::Sender)?.clone()));
        match is_sender(hit) {
            true => of_sender(),
            false => self.own(key, hit.visitor_id).or_else(of_sender),
        }
    }

    /// What a hit has earned, to be booked with the opposite sign. An order that it was the first
    /// to tell of goes, with all that changed it. `counted`: what it added to revenue; `touches`:
    /// what had led to it.
    pub fn take_back(
        &mut self,
        hit: &Hit,
        counted: Option<Money>,
        touches: &Touches,
    ) -> Vec<Booking> {
        let amount = hit.revenue.unwrap_or_default();
        let own = Place::of(hit, counted.is_some());
        let Some(key) = key_of(hit).filter(|_| hit.kind == Kind::Transaction) else {
            let orders = i64::from(hit.kind == Kind::Transaction && amount.0 >= 0);
            let amount = Money(-amount.0);
            return vec![booking(&own, touches, -orders, amount, -items(hit))];
        };
        if let Some((holder, order)) = self.begun_by(&key, hit) {
            if let Some(of) = self.known.get_mut(&key) {
                of.remove(&holder);
            }
            self.touched.insert((key, holder));
            return vec![taken_back(&order)];
        }
        let told = self.told_by(&key, hit);
        let (place, led) = match &told {
            Some((_, order)) => (order.place.clone(), Arc::clone(&order.touches)),
            None => (own.clone(), Arc::clone(touches)),
        };
        let is_told_again = is_noted(hit);
        let is_refund = amount.0 < 0 && !is_told_again;
        if is_refund && counted.is_none() {
            return vec![booking(
                &own,
                touches,
                0,
                Money(-amount.0),
                items(hit).abs(),
            )];
        }
        let back = match (is_refund, is_told_again, &told) {
            (true, ..) => amount,
            // What it changed of the order.
            (false, true, _) => counted.unwrap_or_default(),
            // A sender has told of it since, and is believed.
            (false, false, Some(_)) => return Vec::new(),
            // So long ago that the order is forgotten.
            (false, false, None) => {
                return vec![booking(&own, touches, -1, Money(-amount.0), -items(hit))];
            }
        };
        if back.0 == 0 {
            return Vec::new();
        }
        if let Some((holder, mut order)) = told {
            if is_refund && holder != Holder::Sender {
                order.refunded = Money(order.refunded.0 - back.0);
                order.last_refund = Money(0);
            } else if !is_refund {
                order.revenue = Money(order.revenue.0 - back.0);
            }
            self.put(&key, holder, order);
        }
        let items = if is_refund { items(hit).abs() } else { 0 };
        vec![booking(&place, &led, 0, Money(-back.0), items)]
    }

    /// Credits what a hit has earned to other touches.
    pub fn credit_again(&mut self, hit: &Hit, before: &Touches, after: &Touches) -> Vec<Booking> {
        let amount = hit.revenue.unwrap_or_default();
        let Some(key) = key_of(hit).filter(|_| hit.kind == Kind::Transaction) else {
            let own = Place::of(hit, true);
            let orders = i64::from(hit.kind == Kind::Transaction && amount.0 >= 0);
            let back = Money(-amount.0);
            return vec![
                booking(&own, before, -orders, back, -items(hit)),
                booking(&own, after, orders, amount, items(hit)),
            ];
        };
        // Told again it has the credits of the order.
        let Some((holder, mut order)) = self.begun_by(&key, hit) else {
            return Vec::new();
        };
        let back = taken_back(&order);
        let mut again = back.clone();
        again.touches = Arc::clone(after);
        again.sales.transactions = 1;
        again.sales.revenue = -again.sales.revenue;
        again.sales.quantity = -again.sales.quantity;
        order.touches = Arc::clone(after);
        self.put(&key, holder, order);
        vec![back, again]
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// The database refuses.
    pub(super) async fn save(&self, tx: &mut Tx, writes: &mut Writes) -> store::Result<()> {
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        for held in &self.touched {
            match self.get(&held.0, held.1) {
                Some(order) => changed.push((held, order)),
                None => gone.push(held),
            }
        }
        tx.save_orders(&changed, &gone, writes).await
    }
}

#[cfg(test)]
mod tests;

//! Figures kept as the hits come, in the transaction that writes them: of a message and of an hour.
//!
//! They are read, added to in memory and written back whole: the projection's lock lets nobody else
//! write them. What a hit *is* is counted where it stands ([`Figures::add`]); what it *earns* is
//! booked at a [`Place`] ([`Figures::book`]), which for an order that is told again is where it was
//! counted first. What nothing proves is booked apart from revenue.
//!
//! Sums of money are exact: 128 bits here, in the database the sum modulo 10^18 and a carry. Sums
//! of items are 64 bits: a message would need four thousand million hits of the largest quantity to
//! fill one.

mod clicks;
mod rows;

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId, Hit, Kind, Money, Sum};

/// Where money is booked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Campaign, 0 for none.
    pub delivery: i64,
    /// Message, 0 for none.
    pub broadlog: i64,
    /// Tracked destination, 0 for none.
    pub link: i64,
    /// Start of the hour.
    pub hour: Micros,
    /// Of the hit.
    pub kind: Kind,
    /// Empty for none.
    pub currency: String,
    /// As revenue; else apart.
    pub is_proved: bool,
}

impl Place {
    /// A hit's own.
    pub fn of(hit: &Hit, is_proved: bool) -> Self {
        Self {
            delivery: hit.delivery_id.map_or(0, |id| id.0),
            broadlog: hit.broadlog_id.map_or(0, |id| id.0),
            link: hit.link_id.map_or(0, |id| id.0),
            hour: hit.counted_at().hour(),
            kind: hit.kind,
            currency: currency(hit).to_owned(),
            is_proved,
        }
    }

    fn hour_key(&self) -> HourKey {
        (
            self.delivery,
            self.hour,
            self.kind.as_str(),
            self.link,
            self.currency.clone(),
        )
    }
}

/// The currency of a hit's amount; empty without an amount.
fn currency(hit: &Hit) -> &str {
    match (hit.revenue, &hit.currency) {
        (Some(_), Some(currency)) => currency.as_str(),
        _ => "",
    }
}

/// What is added at a place, or taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Where.
    pub place: Place,
    /// What.
    pub sales: Sales,
}

/// Orders, their money and items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sales {
    /// Orders, each once.
    pub transactions: i64,
    /// Amounts.
    pub revenue: Sum,
    /// Items.
    pub quantity: i64,
}

impl AddAssign for Sales {
    fn add_assign(&mut self, more: Self) {
        self.transactions += more.transactions;
        self.revenue += more.revenue;
        self.quantity = self.quantity.saturating_add(more.quantity);
    }
}

/// What counts and what stands apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Books {
    proved: Sales,
    apart: Sales,
}

impl Books {
    fn of(&mut self, is_proved: bool) -> &mut Sales {
        if is_proved {
            &mut self.proved
        } else {
            &mut self.apart
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Books {
    fn add_assign(&mut self, more: Self) {
        self.proved += more.proved;
        self.apart += more.apart;
    }
}

/// In 1/10,000: what a sum's carry counts.
const CARRY: i128 = 1_000_000_000_000_000_000;

/// A sum as the database has it: the rest, and how often [`CARRY`] is in it.
fn split(sum: Sum) -> (Money, i64) {
    // The carry is beyond no sum of amounts that there can be.
    (Money((sum.0 % CARRY) as i64), (sum.0 / CARRY) as i64)
}

/// The sum of a rest and a carry.
pub fn joined(rest: Money, carry: i64) -> Sum {
    Sum(i128::from(rest.0) + i128::from(carry) * CARRY)
}

/// Figures of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MessageFigures {
    delivery_id: i64,
    first_open_at: Option<Micros>,
    first_click_at: Option<Micros>,
    opens: i64,
    clicks: i64,
    pages: i64,
    books: Books,
}

/// A row of a message.
#[derive(Clone, Copy, Debug, Default)]
struct MessageRow {
    figures: MessageFigures,
    /// The database has it.
    is_stored: bool,
    /// Something was counted: times, opens, clicks or pages are others.
    is_counted: bool,
    /// Something was booked: the books are others. The books of a row that nothing is booked in are
    /// not even read.
    is_booked: bool,
}

impl MessageRow {
    fn new(delivery_id: i64) -> Self {
        Self {
            figures: MessageFigures {
                delivery_id,
                ..MessageFigures::default()
            },
            ..Self::default()
        }
    }
}

/// Figures of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HourFigures {
    hits: i64,
    new_broadlogs: i64,
    distinct_broadlogs: i64,
    machine_hits: i64,
    books: Books,
}

type MessageKey = (i64, String);
type HourKey = (i64, Micros, &'static str, i64, String);

/// What a batch of hits adds.
#[derive(Debug, Default)]
pub struct Figures {
    messages: BTreeMap<MessageKey, MessageRow>,
    hours: BTreeMap<HourKey, HourFigures>,
    /// Visitors that clicked, and when first.
    clickers: BTreeMap<clicks::Clicker, Micros>,
}

impl Figures {
    /// Counts a hit, but for what it earns. `is_order`: it is the first that tells of an order.
    pub fn add(&mut self, hit: &Hit, is_order: bool) {
        let at = hit.counted_at();
        let key = (
            hit.delivery_id.map_or(0, |id| id.0),
            at.hour(),
            hit.kind.as_str(),
            hit.link_id.map_or(0, |id| id.0),
            currency(hit).to_owned(),
        );
        if !hit.verdict.counts() {
            self.hours.entry(key).or_default().machine_hits += 1;
            return;
        }
        self.add_clicker(hit);
        let (is_new, is_first) = match hit.broadlog_id {
            Some(id) => self.add_to_message(id, hit.delivery_id, hit.kind, at, is_order),
            None => (false, false),
        };
        let hour = self.hours.entry(key).or_default();
        hour.hits += 1;
        hour.new_broadlogs += i64::from(is_new);
        hour.distinct_broadlogs += i64::from(is_first);
    }

    /// Returns whether it is the message's first hit of all, and its first of this kind.
    fn add_to_message(
        &mut self,
        id: BroadlogId,
        delivery: Option<DeliveryId>,
        kind: Kind,
        at: Micros,
        is_order: bool,
    ) -> (bool, bool) {
        let mut is_new = false;
        let row = self
            .messages
            .entry((id.0, String::new()))
            .or_insert_with(|| {
                is_new = true;
                MessageRow::new(delivery.map_or(0, |id| id.0))
            });
        row.is_counted |= matches!(kind, Kind::Open | Kind::Click | Kind::Pageview);
        let message = &mut row.figures;
        let earlier = |first: Option<Micros>| Some(first.map_or(at, |first| first.min(at)));
        let is_first = match kind {
            Kind::Open => {
                message.first_open_at = earlier(message.first_open_at);
                message.opens += 1;
                message.opens == 1
            }
            Kind::Click => {
                message.first_click_at = earlier(message.first_click_at);
                message.clicks += 1;
                message.clicks == 1
            }
            Kind::Pageview => {
                message.pages += 1;
                message.pages == 1
            }
            // Its order is booked after this.
            Kind::Transaction => {
                let books = &message.books;
                is_order && books.proved.transactions + books.apart.transactions == 0
            }
            Kind::Event | Kind::Form | Kind::Optout | Kind::Mirror => false,
        };
        (is_new, is_first)
    }

    /// Books what a hit earns, or takes back what was booked before.
    pub fn book(&mut self, booking: &Booking) {
        let Booking { place, sales } = booking;
        let hour = self.hours.entry(place.hour_key()).or_default();
        *hour.books.of(place.is_proved) += *sales;
        if place.broadlog == 0 || place.kind != Kind::Transaction {
            return;
        }
        let start = || MessageRow::new(place.delivery);
        let mut add = |currency: &str, sales: Sales| {
            if sales != Sales::default() {
                let key = (place.broadlog, currency.to_owned());
                let row = self.messages.entry(key).or_insert_with(start);
                row.is_booked = true;
                *row.figures.books.of(place.is_proved) += sales;
            }
        };
        // Orders stand in the row without a currency, money in a row for each.
        add(
            "",
            Sales {
                transactions: sales.transactions,
                ..Sales::default()
            },
        );
        add(
            &place.currency,
            Sales {
                transactions: 0,
                ..*sales
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_sum_comes_back_from_its_rest_and_its_carry(sum in -(1_i128 << 120)..(1_i128 << 120)) {
            // What 64 bits of carry hold.
            let sum = Sum(sum.clamp(-CARRY * i128::from(i64::MAX), CARRY * i128::from(i64::MAX)));
            let (rest, carry) = split(sum);
            proptest::prop_assert_eq!(joined(rest, carry), sum);
        }
    }

    #[test]
    fn a_stored_sum_of_an_earlier_version_is_read_as_it_is() {
        assert_eq!(joined(Money(i64::MAX), 0), Sum(i128::from(i64::MAX)));
    }
}

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

use std::collections::BTreeMap;
use std::ops::AddAssign;

use sqlx::Row;

use super::{Bulk, Tx};
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId, Hit, Kind, Money, Sum};
use crate::{execute_bulk, fetch_bulk};

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
pub struct MessageFigures {
    delivery_id: i64,
    first_open_at: Option<Micros>,
    first_click_at: Option<Micros>,
    opens: i64,
    clicks: i64,
    pages: i64,
    books: Books,
}

/// Figures of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourFigures {
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
    /// Rows of messages as the database has them.
    stored: BTreeMap<MessageKey, MessageFigures>,
    messages: BTreeMap<MessageKey, MessageFigures>,
    hours: BTreeMap<HourKey, HourFigures>,
}

/// Reads the books of a row, from a column on: transactions, revenue, carry, quantity, and the same
/// apart.
macro_rules! books {
    ($row:expr, $first:literal) => {
        Books {
            proved: Sales {
                transactions: $row.try_get($first)?,
                revenue: joined($row.try_get($first + 1)?, $row.try_get($first + 2)?),
                quantity: $row.try_get($first + 3)?,
            },
            apart: Sales {
                transactions: $row.try_get($first + 4)?,
                revenue: joined($row.try_get($first + 5)?, $row.try_get($first + 6)?),
                quantity: $row.try_get($first + 7)?,
            },
        }
    };
}

/// Adds the columns of books to rows.
fn with_books(bulk: Bulk, books: impl Iterator<Item = Books> + Clone) -> Bulk {
    let proved = || books.clone().map(|books| books.proved);
    let apart = || books.clone().map(|books| books.apart);
    bulk.big("transactions", proved().map(|sales| sales.transactions))
        .money("revenue", proved().map(|sales| split(sales.revenue).0))
        .big(
            "revenue_carry",
            proved().map(|sales| split(sales.revenue).1),
        )
        .big("quantity", proved().map(|sales| sales.quantity))
        .big(
            "unproved_transactions",
            apart().map(|sales| sales.transactions),
        )
        .money(
            "unproved_revenue",
            apart().map(|sales| split(sales.revenue).0),
        )
        .big(
            "unproved_carry",
            apart().map(|sales| split(sales.revenue).1),
        )
        .big("unproved_quantity", apart().map(|sales| sales.quantity))
}

impl Figures {
    /// Messages that have figures in the database, of the hits that are to be added and of the
    /// places where something is to be booked.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn load(tx: &mut Tx, hits: &[&Hit], bookings: &[Vec<Booking>]) -> sqlx::Result<Self> {
        let of_hits = hits
            .iter()
            .filter(|hit| hit.verdict.counts())
            .filter_map(|hit| hit.broadlog_id.map(|id| id.0));
        let of_places = bookings
            .iter()
            .flatten()
            .map(|booking| booking.place.broadlog);
        let mut ids: Vec<i64> = of_hits.chain(of_places.filter(|id| *id != 0)).collect();
        ids.sort_unstable();
        ids.dedup();
        let messages = fetch_bulk!(
            tx,
            Bulk::new().big("id", ids),
            "select f.broadlog_id, f.currency, f.delivery_id, f.first_open_at, f.first_click_at, f.opens, f.clicks, f.pages, f.transactions,
                    f.revenue, f.revenue_carry, f.quantity, f.unproved_transactions, f.unproved_revenue, f.unproved_carry, f.unproved_quantity
             from {rows} join broadlog_figures f on f.broadlog_id = rows.id",
            row => (
                (row.try_get(0)?, row.try_get(1)?),
                MessageFigures {
                    delivery_id: row.try_get(2)?,
                    first_open_at: row.try_get(3)?,
                    first_click_at: row.try_get(4)?,
                    opens: row.try_get(5)?,
                    clicks: row.try_get(6)?,
                    pages: row.try_get(7)?,
                    books: books!(row, 8),
                }
            )
        )?;
        let stored = BTreeMap::from_iter(messages);
        Ok(Self {
            messages: stored.clone(),
            stored,
            hours: BTreeMap::new(),
        })
    }

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
        let message = self
            .messages
            .entry((id.0, String::new()))
            .or_insert_with(|| {
                is_new = true;
                MessageFigures {
                    delivery_id: delivery.map_or(0, |id| id.0),
                    ..MessageFigures::default()
                }
            });
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
        let start = || MessageFigures {
            delivery_id: place.delivery,
            ..MessageFigures::default()
        };
        let mut add = |currency: &str, sales: Sales| {
            if sales != Sales::default() {
                let key = (place.broadlog, currency.to_owned());
                let message = self.messages.entry(key).or_insert_with(start);
                *message.books.of(place.is_proved) += sales;
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

    /// Writes everything, in the order of primary keys.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn save(mut self, tx: &mut Tx) -> sqlx::Result<()> {
        self.load_hours(tx).await?;
        // Apart, since nobody else writes here: an upsert would look each row up once more. And
        // those without money by themselves, which nearly all are: half the values.
        let rows = self.message_rows();
        execute_bulk!(
            &mut *tx,
            rows.new,
            "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, quantity)
             select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, 0, 0, 0
             from {rows} where true"
        )?;
        execute_bulk!(
            &mut *tx,
            rows.new_with_books,
            "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, revenue_carry,
                  quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
             select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, revenue_carry,
                  quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity
             from {rows} where true"
        )?;
        execute_bulk!(
            &mut *tx,
            rows.changed,
            "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id and broadlog_figures.currency = rows.currency"
        )?;
        execute_bulk!(
            &mut *tx,
            rows.changed_with_books,
            "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages, transactions = rows.transactions, revenue = rows.revenue, revenue_carry = rows.revenue_carry,
                 quantity = rows.quantity, unproved_transactions = rows.unproved_transactions, unproved_revenue = rows.unproved_revenue,
                 unproved_carry = rows.unproved_carry, unproved_quantity = rows.unproved_quantity
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id and broadlog_figures.currency = rows.currency"
        )?;
        let hours = self.hours.values();
        let counts = self
            .hour_keys()
            .big("hits", hours.clone().map(|row| row.hits))
            .big("new_broadlogs", hours.clone().map(|row| row.new_broadlogs))
            .big(
                "distinct_broadlogs",
                hours.clone().map(|row| row.distinct_broadlogs),
            )
            .big("machine_hits", hours.clone().map(|row| row.machine_hits));
        execute_bulk!(
            tx,
            with_books(counts, hours.map(|row| row.books)),
            "insert into hourly_figures
                 (delivery_id, hour, kind, link_id, currency, hits, new_broadlogs, distinct_broadlogs, machine_hits, transactions, revenue,
                  revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
             select delivery_id, hour, kind, link_id, currency, hits, new_broadlogs, distinct_broadlogs, machine_hits, transactions, revenue,
                  revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity
             from {rows} where true
             on conflict (delivery_id, hour, kind, link_id, currency) do update set
                 hits = excluded.hits, new_broadlogs = excluded.new_broadlogs, distinct_broadlogs = excluded.distinct_broadlogs,
                 machine_hits = excluded.machine_hits, transactions = excluded.transactions, revenue = excluded.revenue,
                 revenue_carry = excluded.revenue_carry, quantity = excluded.quantity, unproved_transactions = excluded.unproved_transactions,
                 unproved_revenue = excluded.unproved_revenue, unproved_carry = excluded.unproved_carry,
                 unproved_quantity = excluded.unproved_quantity"
        )?;
        Ok(())
    }

    /// Rows of messages that the database has not, and those that are different there.
    fn message_rows(&self) -> MessageRows {
        let bulk = |is_stored: bool, has_books: bool| {
            let rows: Vec<_> = self
                .messages
                .iter()
                .filter(|(key, row)| match self.stored.get(*key) {
                    Some(stored) => {
                        is_stored && stored != *row && has_books == (stored.books != row.books)
                    }
                    None => !is_stored && has_books != row.books.is_empty(),
                })
                .collect();
            let of = || rows.iter().copied();
            let bulk = Bulk::new()
                .big("broadlog_id", of().map(|(key, _)| key.0))
                .text("currency", of().map(|(key, _)| key.1.clone()))
                .big("delivery_id", of().map(|(_, row)| row.delivery_id))
                .time_or_null("first_open_at", of().map(|(_, row)| row.first_open_at))
                .time_or_null("first_click_at", of().map(|(_, row)| row.first_click_at))
                .big("opens", of().map(|(_, row)| row.opens))
                .big("clicks", of().map(|(_, row)| row.clicks))
                .big("pages", of().map(|(_, row)| row.pages));
            if has_books {
                with_books(bulk, of().map(|(_, row)| row.books))
            } else {
                bulk
            }
        };
        MessageRows {
            new: bulk(false, false),
            new_with_books: bulk(false, true),
            changed: bulk(true, false),
            changed_with_books: bulk(true, true),
        }
    }

    fn hour_keys(&self) -> Bulk {
        let keys = self.hours.keys();
        Bulk::new()
            .big("delivery_id", keys.clone().map(|key| key.0))
            .time("hour", keys.clone().map(|key| key.1))
            .text("kind", keys.clone().map(|key| key.2.to_owned()))
            .big("link_id", keys.clone().map(|key| key.3))
            .text("currency", keys.clone().map(|key| key.4.clone()))
    }

    /// Adds what the database has of the hours to what the batch has counted.
    async fn load_hours(&mut self, tx: &mut Tx) -> sqlx::Result<()> {
        let stored: Vec<(HourKey, HourFigures)> = fetch_bulk!(
            tx,
            self.hour_keys(),
            "select f.delivery_id, f.hour, f.kind, f.link_id, f.currency, f.hits, f.new_broadlogs, f.distinct_broadlogs, f.machine_hits,
                    f.transactions, f.revenue, f.revenue_carry, f.quantity, f.unproved_transactions, f.unproved_revenue, f.unproved_carry,
                    f.unproved_quantity
             from {rows} join hourly_figures f on f.delivery_id = rows.delivery_id and f.hour = rows.hour and f.kind = rows.kind
                 and f.link_id = rows.link_id and f.currency = rows.currency",
            row => (
                (
                    row.try_get(0)?,
                    row.try_get(1)?,
                    Kind::parse(row.try_get(2)?).unwrap_or(Kind::Event).as_str(),
                    row.try_get(3)?,
                    row.try_get(4)?,
                ),
                HourFigures {
                    hits: row.try_get(5)?,
                    new_broadlogs: row.try_get(6)?,
                    distinct_broadlogs: row.try_get(7)?,
                    machine_hits: row.try_get(8)?,
                    books: books!(row, 9),
                }
            )
        )?;
        for (key, stored) in stored {
            if let Some(hour) = self.hours.get_mut(&key) {
                hour.hits += stored.hits;
                hour.new_broadlogs += stored.new_broadlogs;
                hour.distinct_broadlogs += stored.distinct_broadlogs;
                hour.machine_hits += stored.machine_hits;
                hour.books += stored.books;
            }
        }
        Ok(())
    }
}

/// Rows to write.
struct MessageRows {
    new: Bulk,
    new_with_books: Bulk,
    changed: Bulk,
    changed_with_books: Bulk,
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

//! Figures kept as the hits come, in the transaction that writes them.
//!
//! | table | a row is | for |
//! |---|---|---|
//! | `broadlog_figures` | a message | who of a delivery did what |
//! | `time_figures` | a quarter of an hour of a delivery and link | a delivery's course |
//! | `delivery_figures` | a delivery and link | a delivery's totals |
//! | `site_figures`, `site_days` | a quarter of an hour of a site, a UTC day | a site's course |
//! | `revenue_figures` | a delivery, link or campaign on a day, by model | whom a purchase is credited to |
//! | `top_figures` | a page, referring host or campaign on a day | what a site is about |
//! | `visitor_sketches` | a half hour of a site | unique visitors |
//! | `clicking_visitors`, `click_figures` | who clicked | persons of a delivery and link |
//!
//! What a hit *is* is counted where it stands ([`Figures::add`]); what it *earns* is booked at a
//! [`Place`] ([`Figures::book`]), which for an order that is told again is where it was counted
//! first. What nothing proves is booked apart from revenue. Machines' hits are counted under their
//! verdict and its reason; they are in nothing else.
//!
//! Sums of money are exact: 128 bits here, in the database the sum modulo 10^18 and a carry. Sums
//! of items are 64 bits: a message would need four thousand million hits of the largest quantity to
//! fill one.

mod books;
mod changes;
mod clicks;
mod listed;
mod messages;
mod renamed;
mod repair;
mod revenue;
mod sets;
mod sites;
mod times;
mod tops;
mod visitors;

pub use books::{Sales, joined};
pub(crate) use changes::{CountedChange, CountedChanges};
pub(crate) use listed::Listed;
use messages::Messages;
pub(crate) use renamed::{Renamed, count_renamed};
pub use repair::{Repair, TimeColumns, TopDay};
use revenue::Credits;
pub use revenue::{Model, Touches};
use sets::Sets;
use sites::Nameless;
use times::{TimeKey, Times};
pub use tops::Dimension;
pub use visitors::Visitors;

use crate::model::clock::Micros;
use crate::model::hit::{Hit, Kind, Verdict};
use crate::store::{Tx, Writes};

/// Where money is booked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Campaign, 0 for none.
    pub delivery: i64,
    /// Message, 0 for none.
    pub broadlog: i64,
    /// Tracked destination, 0 for none.
    pub link: i64,
    /// Of the hit.
    pub site: String,
    /// Start of the quarter of an hour.
    pub at: Micros,
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
            site: hit.site.clone(),
            at: hit.counted_at().quarter(),
            kind: hit.kind,
            currency: currency(hit).to_owned(),
            is_proved,
        }
    }

    /// Money stands under a person's verdict: it counts only where the hit does.
    fn time_key(&self) -> TimeKey {
        TimeKey {
            delivery: self.delivery,
            at: self.at,
            kind: self.kind,
            link: self.link,
            currency: self.currency.clone(),
            site: self.site.clone(),
            verdict: Verdict::Human.as_str(),
            reason: "",
        }
    }
}

/// The currency of a hit's amount; empty without an amount.
fn currency(hit: &Hit) -> &str {
    match (hit.revenue, &hit.currency) {
        (Some(_), Some(currency)) => currency.as_str(),
        _ => "",
    }
}

/// What is added at a place, or subtracted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Where.
    pub place: Place,
    /// What.
    pub sales: Sales,
    /// What led to it, oldest first.
    pub touches: Touches,
}

/// What a batch of hits adds.
#[derive(Debug, Default)]
pub struct Figures {
    messages: Messages,
    totals: Totals,
}

/// What the hits of a transaction add to rows that all hits share. Written once and last: they are
/// few rows however many hits there are, and all servers want them.
#[derive(Debug, Default)]
pub struct Totals {
    times: Times,
    credits: Credits,
    sets: Sets,
}

impl Totals {
    /// Takes another batch's.
    pub fn merge(&mut self, more: Self) {
        for (key, count) in more.times {
            *self.times.entry(key).or_default() += count;
        }
        self.credits.merge(more.credits);
        self.sets.merge(more.sets);
    }

    /// Adds everything to the existing rows, each table in primary key order.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn save(self, tx: &mut Tx, writes: &mut Writes) -> sqlx::Result<()> {
        let sites = self.times.keys().map(|key| key.site.as_str()).collect();
        let nameless = Nameless::among(tx, sites).await?;
        self.credits.save(tx, &nameless, writes).await?;
        self.sets.save(tx, &nameless, writes).await?;
        times::save(tx, self.times, &nameless, writes).await
    }
}

impl Figures {
    /// What the database has for the messages of these hits, and for the places to be booked.
    /// Nothing may be booked elsewhere.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn load<'b>(
        tx: &mut Tx,
        hits: &[&Hit],
        bookings: impl Iterator<Item = &'b Booking>,
    ) -> sqlx::Result<Self> {
        Ok(Self {
            messages: Messages::load(tx, hits, bookings).await?,
            ..Self::default()
        })
    }

    /// Counts a hit, except for what it earns. `is_order`: it is the first of an order.
    pub fn add(&mut self, seq: i64, hit: &Hit, is_order: bool) {
        let at = hit.counted_at();
        let key = TimeKey {
            delivery: hit.delivery_id.map_or(0, |id| id.0),
            at: at.quarter(),
            kind: hit.kind,
            link: hit.link_id.map_or(0, |id| id.0),
            currency: currency(hit).to_owned(),
            site: hit.site.clone(),
            verdict: hit.verdict.as_str(),
            reason: hit.verdict_reason().map_or("", |reason| reason.as_str()),
        };
        let (mut is_new, mut is_first) = (false, false);
        if hit.verdict.counts() {
            self.add_clicker(hit);
            self.totals.sets.tops.add(hit);
            self.totals.sets.visitors.add(hit);
            if let Some(id) = hit.broadlog_id {
                let message = &mut self.messages;
                (is_new, is_first) = message.add(seq, id, hit.delivery_id, hit.kind, at, is_order);
            }
        }
        let count = self.totals.times.entry(key).or_default();
        count.hits += 1;
        count.new_broadlogs += i64::from(is_new);
        count.distinct_broadlogs += i64::from(is_first);
    }

    /// Books what a hit earns, or takes back what was booked before.
    pub fn book(&mut self, booking: &Booking) {
        let Booking { place, sales, .. } = booking;
        let count = self.totals.times.entry(place.time_key()).or_default();
        *count.books.of(place.is_proved) += *sales;
        self.messages.book(place, *sales);
        self.totals.credits.book(booking);
    }

    /// Writes the messages' own rows, in primary key order, and returns the rest. They must be sent
    /// before the next batch is loaded.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn save(self, tx: &mut Tx, writes: &mut Writes) -> sqlx::Result<Totals> {
        self.messages.save(tx, writes).await?;
        Ok(self.totals)
    }
}

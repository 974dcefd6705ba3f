//! Differences that a recount found, added to what is there.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::clicks::{self, Clickers, Clicks};
use super::listed::Listed;
use super::messages::{self, MessageRepair};
use super::sets::Sets;
use super::sites::Nameless;
use super::times::{Count, Table, TimeKey, Times};
use super::tops::Dimension;
use super::visitors::Visitors;
use crate::model::clock::Micros;
use crate::model::hit::{Kind, Reason, Verdict, VisitorId};
use crate::store::{Tx, Writes};

/// The key of `time_figures`, column by column.
pub type TimeColumns = (i64, Micros, String, i64, String, String, String, String);
/// Three counts that change together.
type Three = (i64, i64, i64);
/// A UTC day of a site, with a dimension and a kind by their words.
pub type TopDay = (Micros, String, String, String);

/// What is to be put right.
#[derive(Debug, Default)]
pub struct Repair {
    /// Counts by table; key columns that a table lacks are none.
    times: BTreeMap<Table, Times>,
    messages: BTreeMap<i64, MessageRepair>,
    sets: Sets,
    top_days: Vec<TopDay>,
    /// Clicks that are too many.
    no_clickers: Clickers,
}

impl Repair {
    /// Adds hits, new messages and first hits of messages to a quarter of an hour.
    pub(crate) fn add_times(&mut self, key: TimeColumns, more: Three) {
        self.add_to(Table::Times, key, more);
    }

    /// Adds them to a delivery and link.
    pub(crate) fn add_delivery(&mut self, key: TimeColumns, more: Three) {
        self.add_to(Table::Deliveries, key, more);
    }

    /// Adds them to a quarter of an hour of a site, or to its day.
    pub(crate) fn add_site(&mut self, is_day: bool, key: TimeColumns, more: Three) {
        let table = if is_day { Table::Days } else { Table::Sites };
        self.add_to(table, key, more);
    }

    fn add_to(&mut self, table: Table, key: TimeColumns, more: Three) {
        let (delivery, at, kind, link, currency, site, verdict, reason) = key;
        let Some(kind) = Kind::parse(&kind) else {
            return;
        };
        let key = TimeKey {
            delivery,
            at,
            kind,
            link,
            currency,
            site,
            // Earlier versions counted machines without a verdict of their own.
            verdict: Verdict::parse(&verdict).map_or("machine", Verdict::as_str),
            reason: Reason::parse(&reason).map_or("", Reason::as_str),
        };
        let count = Count {
            hits: more.0,
            new_broadlogs: more.1,
            distinct_broadlogs: more.2,
            ..Count::default()
        };
        *self.times.entry(table).or_default().entry(key).or_default() += count;
    }

    /// Adds opens, clicks and pages to a message, and sets its first open and click. `lists`: its
    /// hits as they are listed, and as they should be.
    pub(crate) fn add_message(
        &mut self,
        id: i64,
        delivery_id: i64,
        more: Three,
        firsts: (Option<Micros>, Option<Micros>),
        lists: (Listed, Listed),
    ) {
        let repair = MessageRepair {
            delivery_id,
            opens: more.0,
            clicks: more.1,
            pages: more.2,
            first_open_at: firsts.0,
            first_click_at: firsts.1,
            kept: lists.0,
            right: lists.1,
        };
        self.messages.insert(id, repair);
    }

    /// Adds clicks of somebody: delivery, visitor, link.
    pub(crate) fn add_clicker(
        &mut self,
        (delivery, visitor, link): (i64, Uuid, i64),
        first: Micros,
        count: i64,
    ) {
        let clicks = Clicks { count, first };
        let clickers = if count < 0 {
            &mut self.no_clickers
        } else {
            &mut self.sets.clickers
        };
        clickers.insert((delivery, VisitorId(visitor), link), clicks);
    }

    /// Notes a day whose top values are missing; the caller adds them.
    pub(crate) fn add_top_day(&mut self, day: TopDay) {
        self.top_days.push(day);
    }

    /// The days whose top values are missing.
    pub(crate) fn take_top_days(&mut self) -> Vec<TopDay> {
        std::mem::take(&mut self.top_days)
    }

    /// Adds a top value of a day.
    pub(crate) fn add_top(&mut self, day: &TopDay, value: String, hits: i64) {
        let (at, site, dimension, kind) = day;
        if let (Some(dimension), Some(kind)) = (Dimension::parse(dimension), Kind::parse(kind)) {
            self.sets
                .tops
                .add_value((*at, site.clone(), dimension, kind), value, hits);
        }
    }

    /// Adds visitors to a half hour of a site.
    pub(crate) fn add_visitors(&mut self, (at, site): (Micros, String), sketch: &[u8]) {
        let mut visitors = Visitors::default();
        visitors.add_sketch(sketch);
        self.sets.visitors.add_all((at, site), visitors);
    }

    /// Adds everything. The sites of a recount have names already.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn save(self, tx: &mut Tx) -> sqlx::Result<()> {
        let (nameless, mut writes) = (Nameless::default(), Writes::default());
        messages::repair(tx, &self.messages).await?;
        clicks::take_back(tx, &self.no_clickers).await?;
        self.sets.save(tx, &nameless, &mut writes).await?;
        for (table, rows) in &self.times {
            table.add(tx, rows, &mut writes).await?;
        }
        writes.send(tx).await
    }
}

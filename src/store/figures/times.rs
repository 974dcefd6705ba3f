//! Figures of a quarter of an hour, and what they add up to: a delivery's totals and a site's time.
//!
//! `time_figures` has the finest grain. A long report would read too many of its rows, so the same
//! counts stand three times more: without the time (`delivery_figures`), without delivery and link
//! (`site_figures`), and that by UTC day (`site_days`). All are added to what is there, and never
//! read: any number of servers can write them at once, each in the order of the keys.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::books::{Books, book_columns, sum_is_added};
use super::sites::Nameless;
use crate::execute_bulk;
use crate::model::clock::Micros;
use crate::model::hit::Kind;
use crate::store::{Bulk, Tx, Writes};

/// A row of `time_figures`; 0 and an empty text mean none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimeKey {
    pub(super) delivery: i64,
    /// Start of the quarter of an hour.
    pub(super) at: Micros,
    pub(super) kind: Kind,
    pub(super) link: i64,
    pub(super) currency: String,
    pub(super) site: String,
    pub(super) verdict: &'static str,
    pub(super) reason: &'static str,
}

/// What is counted in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) hits: i64,
    /// Messages whose first activity it was.
    pub(super) new_broadlogs: i64,
    /// Messages whose first hit of the kind it was.
    pub(super) distinct_broadlogs: i64,
    pub(super) books: Books,
}

impl Count {
    /// As much, to be taken away; without money.
    pub(super) fn negative(self) -> Self {
        Self {
            hits: -self.hits,
            new_broadlogs: -self.new_broadlogs,
            distinct_broadlogs: -self.distinct_broadlogs,
            books: Books::default(),
        }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, more: Self) {
        self.hits += more.hits;
        self.new_broadlogs += more.new_broadlogs;
        self.distinct_broadlogs += more.distinct_broadlogs;
        self.books += more.books;
    }
}

pub(super) type Times = BTreeMap<TimeKey, Count>;

/// Adds the counts to all four tables.
pub(super) async fn save(
    tx: &mut Tx,
    times: Times,
    nameless: &Nameless,
    writes: &mut Writes,
) -> sqlx::Result<()> {
    let times = named(times, nameless);
    for table in Table::ALL {
        table.add(tx, &table.rows(&times), writes).await?;
    }
    Ok(())
}

/// With the sites by the names that figures use for them.
fn named(times: Times, nameless: &Nameless) -> Times {
    if nameless.is_empty() {
        return times;
    }
    let mut named = Times::new();
    for (mut key, count) in times {
        key.site = nameless.name(key.site);
        *named.entry(key).or_default() += count;
    }
    named
}

/// Removes those of some rows that nothing is left of, in all four tables.
pub(super) async fn remove_empty(
    tx: &mut Tx,
    times: Times,
    nameless: &Nameless,
) -> sqlx::Result<()> {
    let times = named(times, nameless);
    for table in Table::ALL {
        let rows = table.rows(&times);
        let (table, primary, keys) = table.keys(&rows);
        let sql = format!(
            "delete from {table} where ({primary}) in (select {primary} from {{rows}})
                 and hits = 0 and new_broadlogs = 0 and distinct_broadlogs = 0
                 and transactions = 0 and revenue = 0 and revenue_carry = 0 and quantity = 0
                 and unproved_transactions = 0 and unproved_revenue = 0 and unproved_carry = 0
                 and unproved_quantity = 0"
        );
        execute_bulk!(&mut *tx, keys, &sql)?;
    }
    Ok(())
}

/// A table of these figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// The finest.
    Times,
    /// Without time and site.
    Deliveries,
    /// Without delivery and link.
    Sites,
    /// That by UTC day.
    Days,
}

impl Table {
    pub(super) const ALL: [Self; 4] = [Self::Times, Self::Deliveries, Self::Sites, Self::Days];

    /// The row of this table that a row of the finest belongs to; key columns that it lacks are
    /// none.
    fn key(self, key: &TimeKey) -> Option<TimeKey> {
        let mut key = key.clone();
        match self {
            Self::Times => {}
            Self::Deliveries if key.delivery == 0 && key.link == 0 => return None,
            Self::Deliveries => {
                key.at = Micros(0);
                key.site.clear();
            }
            Self::Sites | Self::Days => (key.delivery, key.link) = (0, 0),
        }
        if self == Self::Days {
            key.at = key.at.day();
        }
        Some(key)
    }

    /// Its rows of counts of the finest grain.
    fn rows(self, times: &Times) -> Times {
        let mut rows = Times::new();
        for (key, count) in times {
            if let Some(key) = self.key(key) {
                *rows.entry(key).or_default() += *count;
            }
        }
        rows
    }

    /// Adds counts to its rows.
    pub(super) async fn add(
        self,
        tx: &mut Tx,
        rows: &Times,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let (table, primary, keys) = self.keys(rows);
        let (rows, sql) = added(tx, table, primary, keys, rows.values());
        writes.add(tx, rows, sql).await
    }

    /// Its name, the columns of its key, and the keys of rows.
    fn keys(self, rows: &Times) -> (&'static str, &'static str, Bulk) {
        let keys = || rows.keys();
        let what = Bulk::new()
            .text("kind", keys().map(|key| key.kind.as_str().to_owned()))
            .text("verdict", keys().map(|key| key.verdict.to_owned()))
            .text("reason", keys().map(|key| key.reason.to_owned()))
            .text("currency", keys().map(|key| key.currency.clone()));
        let of_delivery = |bulk: Bulk| {
            bulk.big("delivery_id", keys().map(|key| key.delivery))
                .big("link_id", keys().map(|key| key.link))
        };
        let of_site = |bulk: Bulk| {
            bulk.time("at", keys().map(|key| key.at))
                .text("site", keys().map(|key| key.site.clone()))
        };
        let site = "at, site, kind, verdict, reason, currency";
        match self {
            Self::Times => (
                "time_figures",
                "delivery_id, at, kind, link_id, currency, site, verdict, reason",
                of_site(of_delivery(what)),
            ),
            Self::Deliveries => (
                "delivery_figures",
                "delivery_id, link_id, kind, verdict, reason, currency",
                of_delivery(what),
            ),
            Self::Sites => ("site_figures", site, of_site(what)),
            Self::Days => ("site_days", site, of_site(what)),
        }
    }
}

/// The statement that adds counts to a table's rows. `keys` are theirs, with the columns of
/// `primary`.
fn added<'c>(
    tx: &Tx,
    table: &str,
    primary: &str,
    keys: Bulk,
    counts: impl Iterator<Item = &'c Count> + Clone,
) -> (Bulk, String) {
    let rows = keys
        .big("hits", counts.clone().map(|row| row.hits))
        .big("new_broadlogs", counts.clone().map(|row| row.new_broadlogs))
        .big(
            "distinct_broadlogs",
            counts.clone().map(|row| row.distinct_broadlogs),
        );
    let rows = Books::add_columns(rows, counts.map(|row| row.books));
    let columns = format!(
        "{primary}, hits, new_broadlogs, distinct_broadlogs, {}",
        book_columns!()
    );
    let whole = [
        "hits",
        "new_broadlogs",
        "distinct_broadlogs",
        "transactions",
        "quantity",
        "unproved_transactions",
        "unproved_quantity",
    ];
    let whole = whole.map(|name| format!("{name} = {table}.{name} + excluded.{name}"));
    let sql = format!(
        "insert into {table} ({columns}) select {columns} from {{rows}} where true
         on conflict ({primary}) do update set {}, {}, {}",
        whole.join(", "),
        sum_is_added(tx, table, "revenue", "revenue_carry"),
        sum_is_added(tx, table, "unproved_revenue", "unproved_carry"),
    );
    (rows, sql)
}

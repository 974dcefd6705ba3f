//! Figures of a quarter of an hour, and what they add up to: a delivery's totals and a site's time.
//!
//! `time_figures` has the finest grain. A long report would read too many of its rows, so the same
//! counts stand twice more: without the time (`delivery_figures`), and without delivery and link
//! (`site_figures`). All are added to what is there, and never read: any number of servers can
//! write them at once, each in the order of the keys.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use super::books::{Books, book_columns, sum_is_added};
use super::sites::Nameless;
use crate::execute_bulk;
use crate::model::clock::Micros;
use crate::model::hit::Kind;
use crate::store::{Bulk, Tx};

/// A row of `time_figures`; 0 and an empty text stand for none.
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
    /// Messages whose first trace it was.
    pub(super) new_broadlogs: i64,
    /// Messages whose first hit of the kind it was.
    pub(super) distinct_broadlogs: i64,
    pub(super) books: Books,
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

/// Adds the counts to all three tables.
pub(super) async fn save(tx: &mut Tx, times: Times, nameless: &Nameless) -> sqlx::Result<()> {
    let times = if nameless.is_empty() {
        times
    } else {
        let mut named = Times::new();
        for (mut key, count) in times {
            key.site = nameless.name(key.site);
            *named.entry(key).or_default() += count;
        }
        named
    };
    let mut of_deliveries: BTreeMap<_, Count> = BTreeMap::new();
    let mut of_sites: BTreeMap<_, Count> = BTreeMap::new();
    for (key, count) in &times {
        let what = (key.kind, key.verdict, key.reason, key.currency.as_str());
        if key.delivery != 0 || key.link != 0 {
            *of_deliveries
                .entry((key.delivery, key.link, what))
                .or_default() += *count;
        }
        *of_sites
            .entry((key.at, key.site.as_str(), what))
            .or_default() += *count;
    }
    let keys = || times.keys();
    let rows = what(keys().map(|key| (key.kind, key.verdict, key.reason, key.currency.as_str())))
        .big("delivery_id", keys().map(|key| key.delivery))
        .time("at", keys().map(|key| key.at))
        .big("link_id", keys().map(|key| key.link))
        .text("site", keys().map(|key| key.site.clone()));
    let primary = "delivery_id, at, kind, link_id, currency, site, verdict, reason";
    add(tx, "time_figures", primary, rows, times.values()).await?;
    let keys = || of_deliveries.keys();
    let rows = what(keys().map(|key| key.2))
        .big("delivery_id", keys().map(|key| key.0))
        .big("link_id", keys().map(|key| key.1));
    let primary = "delivery_id, link_id, kind, verdict, reason, currency";
    add(
        tx,
        "delivery_figures",
        primary,
        rows,
        of_deliveries.values(),
    )
    .await?;
    let keys = || of_sites.keys();
    let rows = what(keys().map(|key| key.2))
        .time("at", keys().map(|key| key.0))
        .text("site", keys().map(|key| key.1.to_owned()));
    let primary = "at, site, kind, verdict, reason, currency";
    add(tx, "site_figures", primary, rows, of_sites.values()).await
}

/// The columns that all three tables have in their keys.
fn what<'k>(
    keys: impl Iterator<Item = (Kind, &'static str, &'static str, &'k str)> + Clone,
) -> Bulk {
    Bulk::new()
        .text("kind", keys.clone().map(|key| key.0.as_str().to_owned()))
        .text("verdict", keys.clone().map(|key| key.1.to_owned()))
        .text("reason", keys.clone().map(|key| key.2.to_owned()))
        .text("currency", keys.map(|key| key.3.to_owned()))
}

/// Adds counts to a table's rows. `keys` are theirs, with the columns of `primary`.
async fn add<'c>(
    tx: &mut Tx,
    table: &str,
    primary: &str,
    keys: Bulk,
    counts: impl Iterator<Item = &'c Count> + Clone,
) -> sqlx::Result<()> {
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
    execute_bulk!(tx, rows, &sql).map(|_| ())
}

//! The queries behind a report.

use std::collections::BTreeMap;

use super::{Count, HourRow, LinkRow, Report, Sales};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Kind, LinkId, Money, Verdict};
use crate::store::Store;
use crate::store::figures::joined;
use crate::{both, from_row};

/// Hits of one kind, verdict and reason: through a link (0 means none), or in a quarter of an hour.
struct HitsRow {
    kind: Kind,
    verdict: String,
    reason: String,
    hits: i64,
    broadlogs: i64,
    new_broadlogs: i64,
}

from_row!(HitsRow, row => { kind, verdict, reason, hits, new_broadlogs } {
    broadlogs: row.try_get("distinct_broadlogs")?,
});

impl HitsRow {
    fn count(&self) -> Count {
        match Verdict::parse(&self.verdict) {
            Some(verdict) if verdict.counts() => Count {
                hits: self.hits,
                broadlogs: self.broadlogs,
                machine_hits: 0,
            },
            _ => Count {
                machine_hits: self.hits,
                ..Count::default()
            },
        }
    }
}

/// What happened through a link.
struct LinkHits {
    link_id: i64,
    row: HitsRow,
}

from_row!(LinkHits, row => { link_id } { row: HitsRow::from_row(row)? });

/// What happened in a quarter of an hour.
struct TimeHits {
    at: Micros,
    row: HitsRow,
}

from_row!(TimeHits, row => { at } { row: HitsRow::from_row(row)? });

/// Orders in one currency; empty means none.
pub(super) struct SalesRow {
    currency: String,
    transactions: i64,
    revenue: Money,
    revenue_carry: i64,
    quantity: i64,
    unproved_transactions: i64,
    unproved_revenue: Money,
    unproved_carry: i64,
    unproved_quantity: i64,
}

from_row!(SalesRow, row => {
    currency, transactions, revenue, revenue_carry, quantity, unproved_transactions,
    unproved_revenue, unproved_carry, unproved_quantity,
});

/// Orders that a link led to (0 means none).
struct LinkSales {
    link_id: i64,
    sales: SalesRow,
}

from_row!(LinkSales, row => { link_id } { sales: SalesRow::from_row(row)? });

/// Orders of a quarter of an hour.
struct TimeSales {
    at: Micros,
    sales: SalesRow,
}

from_row!(TimeSales, row => { at } { sales: SalesRow::from_row(row)? });

impl SalesRow {
    pub(super) fn add_to(
        &self,
        proved: &mut BTreeMap<Option<String>, Sales>,
        unproved: &mut BTreeMap<Option<String>, Sales>,
    ) {
        let currency = Some(self.currency.clone()).filter(|currency| !currency.is_empty());
        let sales = Sales {
            transactions: self.transactions,
            amount: joined(self.revenue, self.revenue_carry),
            items: self.quantity,
        };
        add(proved, &currency, &sales);
        let sales = Sales {
            transactions: self.unproved_transactions,
            amount: joined(self.unproved_revenue, self.unproved_carry),
            items: self.unproved_quantity,
        };
        add(unproved, &currency, &sales);
    }
}

impl Report {
    /// Reads a delivery's report; `None` if there is no such delivery.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn read(store: &Store, id: DeliveryId) -> sqlx::Result<Option<Self>> {
        let Some(delivery) = store.delivery(id).await? else {
            return Ok(None);
        };
        let mut report = Self {
            text_only: count_text_only(store, id).await?,
            ..Self::empty(delivery)
        };
        let mut links = read_links(store, id).await?;
        let sql = "select link_id, kind, verdict, reason, hits, distinct_broadlogs, new_broadlogs
                   from delivery_figures where delivery_id = $1";
        let rows: Vec<LinkHits> =
            both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)?;
        for LinkHits { link_id, row } in rows {
            *report.kinds.entry(row.kind).or_default() += row.count();
            report.distinct_opens += row.new_broadlogs;
            // A purchase carries the link that led to it, and is no click on it.
            let is_click = matches!(row.kind, Kind::Click | Kind::Optout | Kind::Mirror);
            if link_id != 0 && is_click {
                let link = LinkId(link_id);
                let row_of = links.entry(link).or_insert_with(|| LinkRow::gone(link));
                row_of.count += row.count();
            }
            if row.hits != 0 {
                *report
                    .verdicts
                    .entry((row.verdict, row.reason))
                    .or_default() += row.hits;
            }
        }
        for (link, visitors) in read_clicking_visitors(store, id).await? {
            if link == 0 {
                report.clicking_persons = visitors;
            } else if let Some(row) = links.get_mut(&LinkId(link)) {
                row.clicking_persons = visitors;
            }
        }
        // Added up here and not by the database: SQLite's sum of integers fails when it leaves 64
        // bits, and ten large amounts would be enough.
        let sql = "select link_id, currency, transactions, revenue, revenue_carry, quantity,
                          unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity
                   from delivery_figures where delivery_id = $1 and kind = 'transaction'";
        let rows: Vec<LinkSales> =
            both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)?;
        for LinkSales { link_id, sales } in rows {
            sales.add_to(&mut report.sales, &mut report.unproved);
            if let Some(link) = links.get_mut(&LinkId(link_id)) {
                sales.add_to(&mut link.sales, &mut BTreeMap::new());
            }
        }
        report.links = links.into_values().collect();
        Ok(Some(report))
    }
}

/// The hours of a delivery in which something happened, oldest first.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_hours(store: &Store, id: DeliveryId) -> sqlx::Result<BTreeMap<Micros, HourRow>> {
    // sum(bigint) is numeric on Postgres.
    let sql = "select at, kind, verdict, '' as reason, cast(sum(hits) as bigint) as hits,
                      cast(sum(distinct_broadlogs) as bigint) as distinct_broadlogs,
                      cast(sum(new_broadlogs) as bigint) as new_broadlogs
               from time_figures where delivery_id = $1 group by at, kind, verdict";
    let rows: Vec<TimeHits> =
        both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)?;
    let mut hours: BTreeMap<Micros, HourRow> = BTreeMap::new();
    for TimeHits { at, row } in rows {
        let hour = hours.entry(at.hour()).or_default();
        *hour.kinds.entry(row.kind).or_default() += row.count();
        hour.new_broadlogs += row.new_broadlogs;
    }
    let sql = "select at, currency, transactions, revenue, revenue_carry, quantity,
                      unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity
               from time_figures where delivery_id = $1 and kind = 'transaction'";
    let rows: Vec<TimeSales> =
        both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)?;
    for TimeSales { at, sales } in rows {
        let hour = hours.entry(at.hour()).or_default();
        sales.add_to(&mut hour.sales, &mut hour.unproved);
    }
    Ok(hours)
}

async fn count_text_only(store: &Store, id: DeliveryId) -> sqlx::Result<i64> {
    let sql = "select count(*) from broadlogs where delivery_id = $1 and format = 'text'";
    both!(store.reader(), pool => sqlx::query_scalar(sql).bind(id).fetch_one(pool).await)
}

async fn read_links(store: &Store, id: DeliveryId) -> sqlx::Result<BTreeMap<LinkId, LinkRow>> {
    let sql = "select id, url, label, category from links where delivery_id = $1";
    let rows: Vec<LinkRow> =
        both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// How many visitors followed each link; 0 stands for all of them together.
async fn read_clicking_visitors(store: &Store, id: DeliveryId) -> sqlx::Result<Vec<(i64, i64)>> {
    let sql = "select link_id, visitors from click_figures where delivery_id = $1";
    both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)
}

fn add(all: &mut BTreeMap<Option<String>, Sales>, currency: &Option<String>, sales: &Sales) {
    if sales.is_empty() {
        return;
    }
    let sum = all.entry(currency.clone()).or_default();
    sum.transactions += sales.transactions;
    sum.amount += sales.amount;
    sum.items = sum.items.saturating_add(sales.items);
}

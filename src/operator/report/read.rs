//! The queries behind a report.

use std::collections::BTreeMap;

use super::{Count, HourRow, LinkRow, Report, Sales};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Kind, LinkId, Money};
use crate::store::Store;
use crate::store::figures::joined;
use crate::{both, from_row};

/// Hits of one kind through a link; 0 is none.
struct LinkHits {
    kind: Kind,
    link_id: i64,
    count: Count,
    new_broadlogs: i64,
}

from_row!(LinkHits, row => { kind, link_id, new_broadlogs } { count: Count::from_row(row)? });

/// Hits of one kind in an hour.
struct HourHits {
    hour: Micros,
    kind: Kind,
    count: Count,
    new_broadlogs: i64,
}

from_row!(HourHits, row => { hour, kind, new_broadlogs } { count: Count::from_row(row)? });

/// Orders of an hour in one currency; an empty one is none.
struct SalesRow {
    hour: Micros,
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
    hour, currency, transactions, revenue, revenue_carry, quantity, unproved_transactions,
    unproved_revenue, unproved_carry, unproved_quantity,
});

impl SalesRow {
    fn add_to(
        self,
        proved: &mut BTreeMap<Option<String>, Sales>,
        unproved: &mut BTreeMap<Option<String>, Sales>,
    ) {
        let currency = Some(self.currency).filter(|currency| !currency.is_empty());
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
    /// Reads a delivery's report; none where there is no such delivery.
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
        // sum(bigint) is numeric on Postgres.
        let sql = "select kind, link_id, cast(sum(hits) as bigint) as hits,
                          cast(sum(distinct_broadlogs) as bigint) as distinct_broadlogs,
                          cast(sum(machine_hits) as bigint) as machine_hits,
                          cast(sum(new_broadlogs) as bigint) as new_broadlogs
                   from hourly_figures where delivery_id = $1 group by kind, link_id";
        let rows: Vec<LinkHits> =
            both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)?;
        for row in rows {
            *report.kinds.entry(row.kind).or_default() += row.count;
            report.distinct_opens += row.new_broadlogs;
            let link = LinkId(row.link_id);
            if row.link_id != 0 {
                let row_of = links.entry(link).or_insert_with(|| LinkRow::gone(link));
                row_of.count += row.count;
            }
        }
        for (link, visitors) in read_clicking_visitors(store, id).await? {
            if link == 0 {
                report.clicking_persons = visitors;
            } else if let Some(row) = links.get_mut(&LinkId(link)) {
                row.clicking_persons = visitors;
            }
        }
        report.links = links.into_values().collect();
        for row in read_sales(store, id).await? {
            row.add_to(&mut report.sales, &mut report.unproved);
        }
        Ok(Some(report))
    }
}

/// The hours of a delivery in which something happened, oldest first.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_hours(store: &Store, id: DeliveryId) -> sqlx::Result<BTreeMap<Micros, HourRow>> {
    let sql = "select hour, kind, cast(sum(hits) as bigint) as hits,
                      cast(sum(distinct_broadlogs) as bigint) as distinct_broadlogs,
                      cast(sum(machine_hits) as bigint) as machine_hits,
                      cast(sum(new_broadlogs) as bigint) as new_broadlogs
               from hourly_figures where delivery_id = $1 group by hour, kind";
    let rows: Vec<HourHits> =
        both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)?;
    let mut hours: BTreeMap<Micros, HourRow> = BTreeMap::new();
    for row in rows {
        let hour = hours.entry(row.hour).or_default();
        *hour.kinds.entry(row.kind).or_default() += row.count;
        hour.new_broadlogs += row.new_broadlogs;
    }
    for row in read_sales(store, id).await? {
        let hour = hours.entry(row.hour).or_default();
        row.add_to(&mut hour.sales, &mut hour.unproved);
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

/// Added up here and not by the database: SQLite's sum of integers fails when it leaves 64 bits,
/// and ten large amounts would be enough.
async fn read_sales(store: &Store, id: DeliveryId) -> sqlx::Result<Vec<SalesRow>> {
    let sql = "select hour, currency, transactions, revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry,
                      unproved_quantity
               from hourly_figures where delivery_id = $1 and kind = 'transaction'";
    both!(store.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)
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

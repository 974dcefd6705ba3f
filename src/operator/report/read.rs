//! The queries behind a report.

use std::collections::BTreeMap;

use sqlx::Row;

use super::{Count, Delivery, HourRow, LinkRow, Report, Sales};
use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Kind, LinkId};
use crate::store::Store;
use crate::store::figures::joined;

/// A row of `hourly_figures` that holds orders.
struct SalesRow {
    hour: Micros,
    currency: Option<String>,
    sales: Sales,
    unproved: Sales,
}

impl Report {
    /// Reads a delivery's report; none where there is no such delivery.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn read(store: &Store, id: DeliveryId) -> sqlx::Result<Option<Self>> {
        let Some(delivery) = read_delivery(store, id).await? else {
            return Ok(None);
        };
        let mut report = Self {
            delivery,
            clicking_persons: count_clicking_persons(store, id).await?,
            ..Self::default()
        };
        let mut links = read_links(store, id).await?;
        // sum(bigint) is numeric on Postgres.
        let sql = "select kind, link_id, cast(sum(hits) as bigint), cast(sum(distinct_broadlogs) as bigint),
                          cast(sum(machine_hits) as bigint), cast(sum(new_broadlogs) as bigint)
                   from hourly_figures where delivery_id = $1 group by kind, link_id";
        let rows: Vec<(Kind, i64, Count, i64)> = both!(store.reader(), pool => sqlx::query(sql).bind(id.0).fetch_all(pool).await?.iter()
            .map(|row| Ok((
                kind(row.try_get(0)?),
                row.try_get(1)?,
                Count { hits: row.try_get(2)?, broadlogs: row.try_get(3)?, machine_hits: row.try_get(4)? },
                row.try_get(5)?,
            )))
            .collect::<sqlx::Result<_>>())?;
        for (kind, link, count, new_broadlogs) in rows {
            *report.kinds.entry(kind).or_default() += count;
            report.distinct_opens += new_broadlogs;
            if link != 0 {
                let row = links.entry(link).or_insert_with(|| LinkRow {
                    id: LinkId(link),
                    url: None,
                    label: None,
                    category: None,
                    count: Count::default(),
                });
                row.count += count;
            }
        }
        report.links = links.into_values().collect();
        for row in read_sales(store, id).await? {
            add(&mut report.sales, &row.currency, &row.sales);
            add(&mut report.unproved, &row.currency, &row.unproved);
        }
        Ok(Some(report))
    }
}

/// The hours of a delivery in which something happened, oldest first.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_hours(store: &Store, id: DeliveryId) -> sqlx::Result<BTreeMap<Micros, HourRow>> {
    let sql = "select hour, kind, cast(sum(hits) as bigint), cast(sum(distinct_broadlogs) as bigint), cast(sum(machine_hits) as bigint),
                      cast(sum(new_broadlogs) as bigint)
               from hourly_figures where delivery_id = $1 group by hour, kind";
    let rows: Vec<(Micros, Kind, Count, i64)> = both!(store.reader(), pool => sqlx::query(sql).bind(id.0).fetch_all(pool).await?.iter()
        .map(|row| Ok((
            row.try_get(0)?,
            kind(row.try_get(1)?),
            Count { hits: row.try_get(2)?, broadlogs: row.try_get(3)?, machine_hits: row.try_get(4)? },
            row.try_get(5)?,
        )))
        .collect::<sqlx::Result<_>>())?;
    let mut hours: BTreeMap<Micros, HourRow> = BTreeMap::new();
    for (hour, kind, count, new_broadlogs) in rows {
        let row = hours.entry(hour).or_default();
        *row.kinds.entry(kind).or_default() += count;
        row.new_broadlogs += new_broadlogs;
    }
    for row in read_sales(store, id).await? {
        let hour = hours.entry(row.hour).or_default();
        add(&mut hour.sales, &row.currency, &row.sales);
        add(&mut hour.unproved, &row.currency, &row.unproved);
    }
    Ok(hours)
}

async fn read_delivery(store: &Store, id: DeliveryId) -> sqlx::Result<Option<Delivery>> {
    let sql = "select label, channel, sent_at, messages,
                      (select count(*) from broadlogs where delivery_id = $1 and format = 'text')
               from deliveries where id = $1";
    both!(store.reader(), pool => match sqlx::query(sql).bind(id.0).fetch_optional(pool).await? {
        Some(row) => Ok(Some(Delivery {
            id,
            label: row.try_get(0)?,
            channel: row.try_get(1)?,
            sent_at: row.try_get(2)?,
            messages: row.try_get(3)?,
            text_only: row.try_get(4)?,
        })),
        None => Ok(None),
    })
}

async fn read_links(store: &Store, id: DeliveryId) -> sqlx::Result<BTreeMap<i64, LinkRow>> {
    let sql = "select id, url, label, category from links where delivery_id = $1";
    both!(store.reader(), pool => sqlx::query(sql).bind(id.0).fetch_all(pool).await?.iter()
        .map(|row| {
            let id = row.try_get(0)?;
            let link = LinkRow {
                id: LinkId(id),
                url: row.try_get(1)?,
                label: row.try_get(2)?,
                category: row.try_get(3)?,
                count: Count::default(),
            };
            Ok((id, link))
        })
        .collect())
}

/// Added up here and not by the database: SQLite's sum of integers fails when it leaves 64 bits,
/// and ten large amounts would be enough.
async fn read_sales(store: &Store, id: DeliveryId) -> sqlx::Result<Vec<SalesRow>> {
    let sql = "select hour, currency, transactions, revenue, revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry,
                      unproved_quantity
               from hourly_figures where delivery_id = $1 and kind = 'transaction'";
    both!(store.reader(), pool => sqlx::query(sql).bind(id.0).fetch_all(pool).await?.iter()
        .map(|row| Ok(SalesRow {
            hour: row.try_get(0)?,
            currency: Some(row.try_get::<String, _>(1)?).filter(|currency| !currency.is_empty()),
            sales: Sales {
                transactions: row.try_get(2)?,
                amount: joined(row.try_get(3)?, row.try_get(4)?),
                items: row.try_get(5)?,
            },
            unproved: Sales {
                transactions: row.try_get(6)?,
                amount: joined(row.try_get(7)?, row.try_get(8)?),
                items: row.try_get(9)?,
            },
        }))
        .collect())
}

async fn count_clicking_persons(store: &Store, id: DeliveryId) -> sqlx::Result<i64> {
    let sql = "select count(distinct visitor_id) from hits where delivery_id = $1 and kind = \
        'click' and verdict in ('human', 'suspect')";
    both!(store.reader(), pool => sqlx::query_scalar(sql).bind(id.0).fetch_one(pool).await)
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

fn kind(word: &str) -> Kind {
    Kind::parse(word).unwrap_or(Kind::Event)
}

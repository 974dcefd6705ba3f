//! The main numbers of several deliveries at once, for lists: each is the same as the report's.

use std::collections::{BTreeMap, HashMap};

use sqlx::Row as _;

use super::Sales;
use super::read::SalesRow;
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Kind, Verdict};
use crate::store::{Bulk, Either, Store};
use crate::{both, fetch_bulk};

/// The main numbers of a delivery.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Messages with any activity.
    pub distinct_opens: i64,
    /// Recipients who clicked.
    pub recipients_who_clicked: i64,
    /// Hits by machines.
    pub machine_hits: i64,
    /// Orders whose delivery is proved, by currency.
    pub sales: BTreeMap<Option<String>, Sales>,
}

struct CountRow {
    delivery: DeliveryId,
    kind: String,
    verdict: String,
    hits: i64,
    distinct_broadlogs: i64,
    new_broadlogs: i64,
}

/// Reads the numbers of some deliveries; one without any activity is not among them.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_summaries(
    store: &Store,
    ids: &[DeliveryId],
) -> sqlx::Result<HashMap<DeliveryId, Summary>> {
    let mut connection = match store.reader() {
        Either::Postgres(pool) => Either::Postgres(pool.acquire().await?),
        Either::Sqlite(pool) => Either::Sqlite(pool.acquire().await?),
    };
    let bulk = || Bulk::new().big("id", ids.iter().map(|id| id.0));
    // sum(bigint) is numeric on Postgres.
    let counts: Vec<CountRow> = fetch_bulk!(
        &mut connection,
        bulk(),
        "select f.delivery_id, f.kind, f.verdict, cast(sum(f.hits) as bigint) as hits,
                cast(sum(f.distinct_broadlogs) as bigint) as distinct_broadlogs,
                cast(sum(f.new_broadlogs) as bigint) as new_broadlogs
         from {rows} join delivery_figures f on f.delivery_id = rows.id
         group by f.delivery_id, f.kind, f.verdict",
        row => CountRow {
            delivery: row.try_get("delivery_id")?,
            kind: row.try_get("kind")?,
            verdict: row.try_get("verdict")?,
            hits: row.try_get("hits")?,
            distinct_broadlogs: row.try_get("distinct_broadlogs")?,
            new_broadlogs: row.try_get("new_broadlogs")?,
        }
    )?;
    let mut summaries: HashMap<DeliveryId, Summary> = HashMap::new();
    for row in counts {
        let summary = summaries.entry(row.delivery).or_default();
        summary.distinct_opens += row.new_broadlogs;
        if !Verdict::parse(&row.verdict).is_some_and(Verdict::counts) {
            summary.machine_hits += row.hits;
        } else if Kind::parse(&row.kind) == Some(Kind::Click) {
            summary.recipients_who_clicked += row.distinct_broadlogs;
        }
    }
    // Added up here: see `Report::read`.
    let sales: Vec<(DeliveryId, SalesRow)> = fetch_bulk!(
        &mut connection,
        bulk(),
        "select f.delivery_id, f.currency, f.transactions, f.revenue, f.revenue_carry, f.quantity,
                f.unproved_transactions, f.unproved_revenue, f.unproved_carry, f.unproved_quantity
         from {rows} join delivery_figures f on f.delivery_id = rows.id
         where f.kind = 'transaction'",
        row => (row.try_get("delivery_id")?, sqlx::FromRow::from_row(row)?)
    )?;
    for (delivery, row) in sales {
        let summary = summaries.entry(delivery).or_default();
        row.add_to(&mut summary.sales, &mut BTreeMap::new());
    }
    Ok(summaries)
}

/// How many hits people made in each of the first hours of a delivery.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_first_hours(
    store: &Store,
    id: DeliveryId,
    from: Micros,
    hours: usize,
) -> sqlx::Result<Vec<i64>> {
    let to = Micros(from.0 + hours as i64 * Micros::HOUR);
    let sql = "select at, cast(sum(hits) as bigint) from time_figures
               where delivery_id = $1 and at >= $2 and at < $3
                 and verdict in ('human', 'suspect') group by at";
    let rows: Vec<(Micros, i64)> = both!(store.reader(), pool => {
        sqlx::query_as(sql).bind(id).bind(from).bind(to).fetch_all(pool).await
    })?;
    let mut counted = vec![0; hours];
    for (at, hits) in rows {
        let hour = (at.0 - from.0) / Micros::HOUR;
        let of = usize::try_from(hour)
            .ok()
            .and_then(|hour| counted.get_mut(hour));
        if let Some(of) = of {
            *of += hits;
        }
    }
    Ok(counted)
}

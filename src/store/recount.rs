//! Figures counted once more from the hits themselves, to see whether what is kept is right, and to
//! put it right.
//!
//! The hits of one snapshot of the database are run through the code that counts them as they come,
//! into an embedded database of its own; then the tables are compared row by row with those of the
//! same snapshot. Nobody is held up by it. What is put right is added as the difference, in the
//! turn of those that write, so that hits which have come meanwhile stay counted.
//!
//! Money is left out: what an order earned depends on who was believed when it was told. So are
//! periods whose hits were removed, and the deliveries that reach into them, and half hours whose
//! sketch is about to be made anew.

mod compare;
pub(super) mod hits;
mod rows;

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::{AssertSqlSafe, FromRow, Row as _, postgres::PgRow, sqlite::SqliteRow};

use super::figures::{Figures, Repair, TopDay, Totals};
use super::maintenance::PartitionMonth;
use super::{Bulk, Store, StoreError, Tx, Writes};
use crate::model::clock::Micros;
use crate::{both, fetch_bulk};
use compare::compare;
use hits::page_after;

/// Hits a page.
const PAGE: i64 = 8_000;
/// Pages a transaction of the scratch database.
const PAGES: usize = 4;

/// What was found of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recounted {
    /// Its name.
    pub table: &'static str,
    /// Rows that were compared.
    pub rows: u64,
    /// Rows that differ, including those that only one side has.
    pub different: u64,
    /// The first of them: what is stored, and what the hits say.
    pub example: Option<String>,
}

/// What came of a recount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    /// Hits that were counted.
    pub hits: u64,
    /// Since when figures were compared: older hits were removed. `None` means from the first.
    pub since: Option<Micros>,
    /// Table by table.
    pub tables: Vec<Recounted>,
}

impl Recount {
    /// Whether everything agrees with the hits.
    pub fn is_right(&self) -> bool {
        self.tables.iter().all(|table| table.different == 0)
    }
}

impl Store {
    /// Counts all hits again and compares. `scratch`: a path for the recount's database, which must
    /// not exist yet. `repairs`: corrects what differs.
    ///
    /// # Errors
    /// A database refuses, or cannot be reached.
    pub async fn recount(&self, scratch: &Path, repairs: bool) -> Result<Recount, StoreError> {
        let url = format!("sqlite://{}", scratch.display());
        let counted = Self::open(&url, 2, std::time::Duration::from_secs(60)).await?;
        counted.migrate().await?;
        let mut snapshot = self.begin_snapshot().await?;
        let mut recount = Recount {
            hits: count_hits(&mut snapshot, &counted).await?,
            ..Recount::default()
        };
        let sql = "select max(month) from removed_months";
        let removed: Option<String> =
            both!(&mut snapshot, c => sqlx::query_scalar(sql).fetch_one(&mut **c).await)?;
        recount.since = removed.map(|month| PartitionMonth::parse(&month).plus(1).start_time());
        let bounds = Bounds {
            since: recount.since,
            cut: deliveries_before(&mut snapshot, recount.since).await?,
            stale: stale_sketches(&mut snapshot).await?,
        };
        let mut repair = Repairs {
            store: self,
            wanted: repairs,
            top_days: Vec::new(),
        };
        let mut of_counted = counted.begin_snapshot().await?;
        let (kept, right) = (&mut snapshot, &mut of_counted);
        recount.tables = vec![
            compare::<rows::TimeRow>(kept, right, &bounds, &mut repair).await?,
            compare::<rows::DeliveryRow>(kept, right, &bounds, &mut repair).await?,
            compare::<rows::SiteRow>(kept, right, &bounds, &mut repair).await?,
            compare::<rows::SiteDayRow>(kept, right, &bounds, &mut repair).await?,
            compare::<rows::MessageRow>(kept, right, &bounds, &mut repair).await?,
            compare::<rows::ClickerRow>(kept, right, &bounds, &mut repair).await?,
            compare::<rows::ClickRow>(kept, right, &bounds, &mut repair).await?,
            compare::<rows::TopRow>(kept, right, &bounds, &mut repair).await?,
            compare::<rows::SketchRow>(kept, right, &bounds, &mut repair).await?,
        ];
        repair.add_tops(&mut of_counted).await?;
        snapshot.rollback().await?;
        of_counted.rollback().await?;
        counted.close().await;
        Ok(recount)
    }
}

/// What can be compared.
#[derive(Debug)]
struct Bounds {
    since: Option<Micros>,
    /// Deliveries with figures from an earlier version.
    cut: BTreeSet<i64>,
    /// Half hours of sites whose sketches are about to be made anew.
    stale: BTreeSet<(Micros, String)>,
}

impl Bounds {
    fn holds(&self, at: Micros) -> bool {
        self.since.is_none_or(|since| at >= since)
    }

    fn holds_delivery(&self, id: i64) -> bool {
        !self.cut.contains(&id)
    }
}

async fn deliveries_before(
    snapshot: &mut Tx,
    since: Option<Micros>,
) -> sqlx::Result<BTreeSet<i64>> {
    let sql = "select distinct delivery_id from time_figures where at < $1";
    let Some(since) = since else {
        return Ok(BTreeSet::new());
    };
    let cut: Vec<i64> =
        both!(snapshot, c => sqlx::query_scalar(sql).bind(since).fetch_all(&mut **c).await)?;
    Ok(cut.into_iter().collect())
}

async fn stale_sketches(snapshot: &mut Tx) -> sqlx::Result<BTreeSet<(Micros, String)>> {
    let sql = "select at, site from stale_sketches";
    let stale: Vec<(Micros, String)> =
        both!(snapshot, c => sqlx::query_as(sql).fetch_all(&mut **c).await)?;
    Ok(stale.into_iter().collect())
}

/// Runs all hits through the figures of the scratch database.
async fn count_hits(snapshot: &mut Tx, counted: &Store) -> sqlx::Result<u64> {
    let (mut after, mut all) = (i64::MIN, 0);
    loop {
        let mut tx = counted.begin_lane().await?;
        let mut totals = Totals::default();
        let mut is_last = false;
        for _ in 0..PAGES {
            let page = page_after(snapshot, after, PAGE).await?;
            let Some(last) = page.last() else {
                is_last = true;
                break;
            };
            after = last.seq;
            all += page.len() as u64;
            let hits: Vec<_> = page.iter().map(|counted| &counted.hit).collect();
            let bookings = || page.iter().filter_map(|counted| counted.order.as_ref());
            let mut figures = Figures::load(&mut tx, &hits, bookings()).await?;
            for counted in &page {
                figures.add(counted.seq, &counted.hit, counted.order.is_some());
                if let Some(order) = &counted.order {
                    figures.book(order);
                }
            }
            let mut writes = Writes::default();
            totals.merge(figures.save(&mut tx, &mut writes).await?);
            writes.send(&mut tx).await?;
        }
        let mut writes = Writes::default();
        totals.save(&mut tx, &mut writes).await?;
        writes.send(&mut tx).await?;
        tx.commit().await?;
        if is_last {
            return Ok(all);
        }
    }
}

/// Streams a query's rows.
fn stream<'t, T>(tx: &'t mut Tx, sql: String) -> BoxStream<'t, sqlx::Result<T>>
where
    T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin + 'static,
{
    match tx {
        Tx::Postgres(c) => sqlx::query_as(AssertSqlSafe(sql)).fetch(&mut **c).boxed(),
        Tx::Sqlite(c) => sqlx::query_as(AssertSqlSafe(sql)).fetch(&mut **c).boxed(),
    }
}

/// Corrects differences, many at a time.
struct Repairs<'s> {
    store: &'s Store,
    wanted: bool,
    /// Days whose top values are missing.
    top_days: Vec<TopDay>,
}

impl Repairs<'_> {
    async fn add(&mut self, mut repair: Repair) -> sqlx::Result<()> {
        if !self.wanted {
            return Ok(());
        }
        self.top_days.append(&mut repair.take_top_days());
        let mut tx = self.store.begin_lane().await?;
        repair.save(&mut tx).await?;
        tx.commit().await
    }

    /// Which of these messages, given with the deliveries that their hits say, are another
    /// delivery's: a stranger had said the number before its sender gave it, and what was counted
    /// then is no figure of it.
    async fn messages_of_others(&self, messages: &[(i64, i64)]) -> sqlx::Result<BTreeSet<i64>> {
        if messages.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut tx = self.store.begin_snapshot().await?;
        let of_others: Vec<i64> = fetch_bulk!(
            &mut tx,
            Bulk::new()
                .big("id", messages.iter().map(|message| message.0))
                .big("delivery_id", messages.iter().map(|message| message.1)),
            "select b.id from {rows} join broadlogs b on b.id = rows.id
             where b.delivery_id <> rows.delivery_id",
            row => row.try_get::<i64, _>("id")?
        )?;
        tx.rollback().await?;
        Ok(of_others.into_iter().collect())
    }

    /// Adds the top values of days that have none.
    async fn add_tops(&mut self, counted: &mut Tx) -> sqlx::Result<()> {
        let sql = "select value, hits from top_figures
                   where day = $1 and site = $2 and dimension = $3 and kind = $4";
        for day in std::mem::take(&mut self.top_days) {
            let (at, site, dimension, kind) = &day;
            let values: Vec<(String, i64)> = both!(&mut *counted, c => {
                let query = sqlx::query_as(sql).bind(at).bind(site).bind(dimension).bind(kind);
                query.fetch_all(&mut **c).await
            })?;
            let mut repair = Repair::default();
            for (value, hits) in values {
                repair.add_top(&day, value, hits);
            }
            self.add(repair).await?;
        }
        Ok(())
    }
}

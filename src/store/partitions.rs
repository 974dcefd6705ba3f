//! Months of hits on Postgres: partitions, made and removed so that neither readers nor writers
//! wait.
//!
//! A reader's open transaction (a dump, an analyst) holds a lock on `hits`. `create table …
//! partition of` and `drop table` want that lock for themselves: they wait for the reader, and all
//! others behind them. So a partition is made as a table of its own and then attached, which any
//! reader may watch; and it is detached concurrently, which waits for readers without standing in
//! anyone's way, before it is dropped. What has to wait gives up after [`LOCK_TIMEOUT`] and is done
//! another time: what is to be removed is marked, so that whoever comes next goes on with it.
//!
//! SQLite has no partitions.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use super::lane::is_waiting;
use super::maintenance::PartitionMonth;
use super::postgres::{PgTransaction, WatchedPool};
use super::{Either, Store, Tx};
use crate::from_row;
use crate::model::clock::Micros;

/// Anyone who wants a table waits behind us for this long.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '1s'";

/// Marks a partition that is to be removed. No other table has it.
const MARK: &str = "sillage: to be removed";

/// Servers decide one at a time which month goes.
const HOUSE: i64 = 0x5111_a9e0_0002;

/// A table that held a month.
#[derive(Clone, Debug)]
struct MarkedTable {
    name: String,
    is_attached: bool,
    is_detaching: bool,
}

from_row!(MarkedTable, row => { name, is_attached, is_detaching });

impl Tx {
    /// Creates missing partitions of months.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn ensure_partitions(
        &mut self,
        months: &BTreeSet<PartitionMonth>,
    ) -> sqlx::Result<()> {
        match self {
            Either::Postgres(c) => make_partitions(c, months).await,
            Either::Sqlite(_) => Ok(()),
        }
    }
}

impl Store {
    /// Creates the partitions of this month and the next two.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn prepare_months(&self, now: Micros) -> sqlx::Result<()> {
        let Either::Postgres(pool) = &self.pools else {
            return Ok(());
        };
        let this = PartitionMonth::of(now);
        for month in (0..3).map(|months| this.plus(months)) {
            let mut tx = pool.begin().await?;
            make_partitions(&mut tx, &BTreeSet::from([month])).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// A month's table is known by its name. Where one of that name is still to be dropped, the next
/// gets a number.
async fn make_partitions(
    c: &mut PgTransaction,
    months: &BTreeSet<PartitionMonth>,
) -> sqlx::Result<()> {
    if lacking(c, months).await?.is_empty() {
        return Ok(());
    }
    // What attaching locks anyway, and readers and writers do not mind: others who make the same
    // month are waited for, and seen then.
    let sql = format!("{LOCK_TIMEOUT}; lock table only hits in share update exclusive mode");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **c).await?;
    for month in lacking(c, months).await? {
        let name = free_name(c, &month.name()).await?;
        let sql = format!(
            "create table {name} (like hits including defaults including constraints);
             alter table hits attach partition {name}
               for values from ('{} 00:00:00+00') to ('{} 00:00:00+00')",
            month.start(),
            month.plus(1).start()
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **c).await?;
    }
    Ok(())
}

/// The months without a partition.
async fn lacking(
    c: &mut PgTransaction,
    months: &BTreeSet<PartitionMonth>,
) -> sqlx::Result<Vec<PartitionMonth>> {
    let sql = "select wanted.name from unnest($1) as wanted (name) where not exists (
                 select 1 from pg_inherits i join pg_class c on c.oid = i.inhrelid
                 where i.inhparent = 'hits'::regclass and not i.inhdetachpending
                   and (c.relname = wanted.name or c.relname like wanted.name || '\\_%'))";
    let names: Vec<String> = months.iter().map(|month| month.name()).collect();
    let lacking: Vec<String> = sqlx::query_scalar(sql)
        .bind(&names)
        .fetch_all(&mut **c)
        .await?;
    let is_lacking = |month: &PartitionMonth| lacking.contains(&month.name());
    Ok(months.iter().copied().filter(is_lacking).collect())
}

async fn free_name(c: &mut PgTransaction, name: &str) -> sqlx::Result<String> {
    let sql = "select min(number) from generate_series(1, 1000) as number
               where to_regclass(case when number = 1 then $1 else $1 || '_' || number
               end) is null";
    let number: Option<i32> = sqlx::query_scalar(sql)
        .bind(name)
        .fetch_one(&mut **c)
        .await?;
    Ok(match number {
        None | Some(1) => name.to_owned(),
        Some(number) => format!("{name}_{number}"),
    })
}

/// A month that is to go, and its table.
pub(super) struct OldMonth {
    /// `2026-01`.
    pub(super) month: String,
    table: String,
}

/// Whether this is the only one deciding now, until the end of the transaction.
pub(super) async fn is_alone(c: &mut PgTransaction) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(HOUSE)
        .fetch_one(&mut **c)
        .await
}

/// Months before another one, oldest first, without those already being removed.
pub(super) async fn months_before(
    c: &mut PgTransaction,
    oldest: PartitionMonth,
) -> sqlx::Result<Vec<OldMonth>> {
    let sql = "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'hits'::regclass and not i.inhdetachpending
                 and c.relname ~ '^hits_[0-9]{4}_[0-9]{2}(_[0-9]+)?$' and c.relname < $1
                 and obj_description(c.oid, 'pg_class') is distinct from $2
               order by c.relname";
    let tables: Vec<String> = sqlx::query_scalar(sql)
        .bind(oldest.name())
        .bind(MARK)
        .fetch_all(&mut **c)
        .await?;
    let month = |table: &str| {
        let month = table["hits_".len()..].get(.."2026_01".len());
        month.unwrap_or_default().replace('_', "-")
    };
    Ok(tables
        .into_iter()
        .map(|table| OldMonth {
            month: month(&table),
            table,
        })
        .collect())
}

/// How many hits a month has; for a large one, Postgres' estimate.
pub(super) async fn count(c: &mut PgTransaction, month: &OldMonth) -> sqlx::Result<i64> {
    let known: f32 = sqlx::query_scalar("select reltuples from pg_class where oid = $1::regclass")
        .bind(&month.table)
        .fetch_one(&mut **c)
        .await?;
    if known >= 1_000.0 {
        return Ok(known as i64);
    }
    // Not looked at yet, so it is small.
    let sql = format!("select count(*) from {}", month.table);
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut **c)
        .await
}

/// Marks a month for removal.
pub(super) async fn mark(c: &mut PgTransaction, month: &OldMonth) -> sqlx::Result<()> {
    let sql = format!(
        "{LOCK_TIMEOUT}; comment on table {} is '{MARK}'",
        month.table
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **c).await?;
    Ok(())
}

/// Removes what is marked. Returns the months whose tables others still use.
pub(super) async fn remove_marked(pool: &WatchedPool) -> sqlx::Result<Vec<String>> {
    let sql = "select c.relname::text as name, i.inhrelid is not null as is_attached,
                      coalesce(i.inhdetachpending, false) as is_detaching
               from pg_class c left join pg_inherits i on i.inhrelid = c.oid
               and i.inhparent = 'hits'::regclass
               where c.relkind = 'r' and c.relname ~ '^hits_[0-9]{4}_[0-9]{2}(_[0-9]+)?$'
                 and c.relnamespace = (select relnamespace from pg_class
                 where oid = 'hits'::regclass)
                 and obj_description(c.oid, 'pg_class') = $1
               order by c.relname";
    let marked: Vec<MarkedTable> = sqlx::query_as(sql).bind(MARK).fetch_all(pool).await?;
    let mut held = Vec::new();
    for table in marked {
        if let Err(error) = remove_table(pool, &table).await {
            if !is_waiting(&error) && !is_others(&error) {
                return Err(error);
            }
            held.push(table.name["hits_".len()..].replace('_', "-"));
        }
    }
    Ok(held)
}

async fn remove_table(pool: &WatchedPool, table: &MarkedTable) -> sqlx::Result<()> {
    let name = &table.name;
    if table.is_attached {
        let how = if table.is_detaching {
            "finalize"
        } else {
            "concurrently"
        };
        // No transaction may be open around it.
        let mut connection = pool.acquire().await?;
        let c = &mut *connection;
        sqlx::raw_sql("set lock_timeout = '1s'")
            .execute(&mut *c)
            .await?;
        let sql = format!("alter table hits detach partition {name} {how}");
        let detached = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *c).await;
        sqlx::raw_sql("reset lock_timeout").execute(c).await?;
        detached?;
    }
    let mut tx = pool.begin().await?;
    let sql = format!("{LOCK_TIMEOUT}; drop table {name}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    tx.commit().await
}

/// Whether another server has just done it, or is doing it.
fn is_others(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    matches!(error.code().as_deref(), Some("42P01" | "55000"))
}

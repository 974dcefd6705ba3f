//! What is deleted after its time: months of hits, and idempotency keys. Orders: see
//! [`super::orders`].
//!
//! A machine that starts with a wrong clock must not take its data along. So the caller counts back
//! from a time that hits vouch for ([`Store::newest_hit_before`]), and months go one a day: a
//! mistake costs a month and is told, where it would have cost everything.
//!
//! Nothing here holds up what stores hits: Postgres drops months as partitions (see
//! [`super::partitions`]) and SQLite, which has one writer, deletes in portions between which
//! others have their turn.

use sqlx::{AssertSqlSafe, SqlitePool};

use super::maintenance::PartitionMonth;
use super::partitions::{self, OldMonth};
use super::postgres::{PgTransaction, WatchedPool};
use super::{Either, SqliteTransaction, Store};
use crate::both;
use crate::model::clock::Micros;

/// How long an idempotency key is kept.
const KEYS_KNOWN: i64 = 7 * Micros::DAY;

/// Rows that SQLite deletes before others get their turn: some 50 ms.
const SQLITE_PORTION: i64 = 2_000;
/// Rows that Postgres deletes per statement, which must end before it is presumed lost.
const POSTGRES_PORTION: i64 = 100_000;

/// A table whose rows are deleted when they expire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aging {
    pub(super) name: &'static str,
    /// The columns of its primary key.
    pub(super) key: &'static str,
    /// The column with a row's age.
    pub(super) time: &'static str,
}

const IDEMPOTENCY_KEYS: Aging = Aging {
    name: "idempotency_keys",
    key: "scope, key",
    time: "received_at",
};
const CLICKING_VISITORS: Aging = Aging {
    name: "clicking_visitors",
    key: "delivery_id, visitor_id, link_id",
    time: "first_at",
};
const SENT_KEYS: Aging = Aging {
    name: "sent_keys",
    key: "delivery_id, key",
    time: "created_at",
};
const REQUEST_KEYS: Aging = Aging {
    name: "request_keys",
    key: "actor, key",
    time: "begun_at",
};

/// How many months may go at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One within 24 hours.
    OneADay,
    /// All that are too old: someone asked for it.
    AtOnce,
}

/// A month of hits that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedMonth {
    /// `2026-01`.
    pub month: String,
    /// Its hits; for large partitions, Postgres' estimate.
    pub hits: i64,
}

/// What was removed, and what is too old but has to wait for another day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Oldest first.
    pub removed: Vec<RemovedMonth>,
    /// Whether older months than the ones to keep still exist.
    pub is_more: bool,
    /// Months (`2026-01`) whose tables others are still reading; they are reported as removed, and
    /// go when the readers have ended and this is called again.
    pub held: Vec<String>,
}

impl Store {
    /// When the newest hit before a time was received; `None` if there is none. On Postgres the one
    /// that was stored last.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn newest_hit_before(&self, at: Micros) -> sqlx::Result<Option<Micros>> {
        match self.reader() {
            // No index has the times in order; the rows come nearly so.
            Either::Postgres(pool) => {
                let sql =
                    "select received_at from hits where received_at < $1 order by seq desc limit 1";
                sqlx::query_scalar(sql).bind(at).fetch_optional(pool).await
            }
            Either::Sqlite(pool) => {
                let sql = "select max(received_at) from hits where received_at < $1";
                sqlx::query_scalar(sql).bind(at).fetch_one(pool).await
            }
        }
    }

    /// Removes whole months older than `keep_months` before the month of `from` (Postgres: drops
    /// partitions; SQLite: deletes rows), oldest first. `now` says when that was. 0 keeps all.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn retire(
        &self,
        from: Micros,
        now: Micros,
        keep_months: u32,
        pace: Pace,
    ) -> sqlx::Result<Retired> {
        if keep_months == 0 {
            return Ok(Retired::default());
        }
        let keep = i32::try_from(keep_months).unwrap_or(i32::MAX).min(100_000);
        let oldest = PartitionMonth::of(from).plus(-keep);
        let retired = match &self.pools {
            Either::Postgres(pool) => retire_partitions(pool, oldest, now, pace).await?,
            Either::Sqlite(pools) => retire_rows(&pools.write, oldest, now, pace).await?,
        };
        // Who clicked goes with the clicks; how many they were stays.
        if let Some(last) = retired.removed.last() {
            let end = PartitionMonth::parse(&last.month).plus(1).start_time();
            self.delete_before(CLICKING_VISITORS, end).await?;
            self.delete_before(super::verdicts::PURCHASE_TOUCHES, end)
                .await?;
        }
        Ok(retired)
    }

    /// Deletes idempotency keys that are a week old at a time.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn forget_keys(&self, at: Micros) -> sqlx::Result<()> {
        let before = Micros(at.0 - KEYS_KNOWN);
        self.delete_before(IDEMPOTENCY_KEYS, before).await?;
        self.delete_before(SENT_KEYS, before).await?;
        self.delete_before(REQUEST_KEYS, before).await
    }

    /// Deletes a table's rows from before a time, in portions. Rows that are being changed are left
    /// for the next time.
    pub(super) async fn delete_before(&self, table: Aging, before: Micros) -> sqlx::Result<()> {
        let Aging { name, key, time } = table;
        let (sql, portion) = match &self.pools {
            Either::Postgres(_) => (
                format!(
                    "delete from {name} where ctid = any (array(
                       select ctid from {name} where {time} < $1 limit $2 for update skip locked))"
                ),
                POSTGRES_PORTION,
            ),
            // These tables have no rowid.
            Either::Sqlite(_) => (
                format!(
                    "delete from {name} where ({key}) in (
                       select {key} from {name} where {time} < $1 limit $2)"
                ),
                SQLITE_PORTION,
            ),
        };
        loop {
            let mut tx = self.begin().await?;
            let deleted = both!(&mut tx, c => {
                let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(before).bind(portion);
                query.execute(&mut **c).await?.rows_affected()
            });
            tx.commit().await?;
            if (deleted as i64) < portion {
                return Ok(());
            }
        }
    }
}

/// Removes months as partitions. One server at a time decides which; it never waits for a reader.
async fn retire_partitions(
    pool: &WatchedPool,
    oldest: PartitionMonth,
    now: Micros,
    pace: Pace,
) -> sqlx::Result<Retired> {
    let mut retired = Retired::default();
    let mut tx = pool.begin().await?;
    if partitions::is_alone(&mut tx).await? {
        let sql = "select count(*) from removed_months where removed_at > $1 and removed_at <= $2";
        let removed: i64 = sqlx::query_scalar(sql)
            .bind(day_before(now))
            .bind(now)
            .fetch_one(&mut *tx)
            .await?;
        for month in partitions::months_before(&mut tx, oldest).await? {
            let hits = partitions::count(&mut tx, &month).await?;
            // An empty one costs nothing and is not told.
            if hits > 0 {
                let is_due = pace == Pace::AtOnce || (removed == 0 && retired.removed.is_empty());
                if !is_due {
                    retired.is_more = true;
                    break;
                }
                record_removed(&mut tx, &month, now, hits).await?;
                retired.removed.push(RemovedMonth {
                    month: month.month.clone(),
                    hits,
                });
            }
            partitions::mark(&mut tx, &month).await?;
        }
    }
    tx.commit().await?;
    retired.held = partitions::remove_marked(pool).await?;
    Ok(retired)
}

async fn record_removed(
    c: &mut PgTransaction,
    month: &OldMonth,
    now: Micros,
    hits: i64,
) -> sqlx::Result<()> {
    sqlx::query(RECORD_REMOVED)
        .bind(&month.month)
        .bind(now)
        .bind(hits)
        .execute(&mut **c)
        .await
        .map(|_| ())
}

/// A month may have several tables, and is deleted in portions.
const RECORD_REMOVED: &str =
    "insert into removed_months (month, removed_at, hits) values ($1, $2, $3)
    on conflict (month, removed_at) do update set hits = removed_months.hits + excluded.hits";

/// Removes months by their rows, a portion a transaction, and records each portion with it.
async fn retire_rows(
    pool: &SqlitePool,
    oldest: PartitionMonth,
    now: Micros,
    pace: Pace,
) -> sqlx::Result<Retired> {
    let mut retired = Retired::default();
    let sql = "select count(*) from removed_months where removed_at > $1 and removed_at <= $2";
    let removed: i64 = sqlx::query_scalar(sql)
        .bind(day_before(now))
        .bind(now)
        .fetch_one(pool)
        .await?;
    loop {
        let sql = "select min(received_at) from hits where received_at < $1";
        let first: Option<Micros> = sqlx::query_scalar(sql)
            .bind(oldest.start_time())
            .fetch_one(pool)
            .await?;
        let Some(first) = first else {
            return Ok(retired);
        };
        if pace == Pace::OneADay && (removed > 0 || !retired.removed.is_empty()) {
            retired.is_more = true;
            return Ok(retired);
        }
        let month = PartitionMonth::of(first);
        let name = month.start()[.."2026-01".len()].to_owned();
        let end = month.plus(1).start_time();
        let mut hits = 0;
        loop {
            let mut tx = SqliteTransaction::begin(pool).await?;
            let sql = "delete from hits where seq in (select seq from hits where received_at < $1
                       limit $2)";
            let deleted = sqlx::query(sql)
                .bind(end)
                .bind(SQLITE_PORTION)
                .execute(&mut *tx)
                .await?
                .rows_affected() as i64;
            sqlx::query(RECORD_REMOVED)
                .bind(&name)
                .bind(now)
                .bind(deleted)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            hits += deleted;
            if deleted < SQLITE_PORTION {
                break;
            }
        }
        retired.removed.push(RemovedMonth { month: name, hits });
    }
}

/// A removal in what turned out not to be the future does not count: from here to now.
fn day_before(now: Micros) -> Micros {
    Micros(now.0 - Micros::DAY)
}

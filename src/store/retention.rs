//! What is deleted after its time: months of hits, and idempotency keys. Orders: see
//! [`super::orders`].
//!
//! A machine that starts with a wrong clock must not take its data along. So the caller counts back
//! from a time that hits vouch for ([`Store::newest_hit_before`]), and months go one a day: a
//! mistake costs a month and is told, where it would have cost everything.

use sqlx::{AssertSqlSafe, Row as _};

use super::maintenance::PartitionMonth;
use super::{Either, Store, Tx};
use crate::both;
use crate::model::clock::Micros;

/// How long an idempotency key is known.
const KEYS_KNOWN: i64 = 7 * 24 * Micros::HOUR;

/// How many months may go at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One within 24 hours.
    OneADay,
    /// All that are too old: somebody asked for it.
    AtOnce,
}

/// A month of hits that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedMonth {
    /// `2026-01`.
    pub month: String,
    /// Its hits; of large partitions as Postgres' statistics know it.
    pub hits: i64,
}

/// What was removed, and what is too old and has to wait for another day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Oldest first.
    pub removed: Vec<RemovedMonth>,
    /// Whether older months than are kept are still there.
    pub is_more: bool,
}

impl Store {
    /// When the newest of the hits was received that were received before a time; none where there
    /// are none. On Postgres the one that was stored last.
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
        let mut retired = Retired::default();
        if keep_months == 0 {
            return Ok(retired);
        }
        let keep = i32::try_from(keep_months).unwrap_or(i32::MAX).min(100_000);
        let oldest = PartitionMonth::of(from).plus(-keep);
        let mut tx = self.begin_lane().await?;
        let is_due = pace == Pace::AtOnce || !tx.has_removed_within_a_day(now).await?;
        loop {
            let Some(month) = tx.month_before(oldest).await? else {
                break;
            };
            if !is_due || (pace == Pace::OneADay && !retired.removed.is_empty()) {
                retired.is_more = true;
                break;
            }
            let hits = tx.remove_month(&month).await?;
            let sql = "insert into removed_months (month, removed_at, hits) values ($1, $2, $3)";
            both!(&mut tx, c => sqlx::query(sql).bind(&month).bind(now).bind(hits).execute(&mut **c).await.map(|_| ()))?;
            retired.removed.push(RemovedMonth { month, hits });
        }
        tx.commit().await?;
        Ok(retired)
    }

    /// Forgets idempotency keys that were a week old at a time.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn forget_keys(&self, at: Micros) -> sqlx::Result<()> {
        let sql = "delete from idempotency_keys where received_at < $1";
        let mut tx = self.begin_lane().await?;
        let before = Micros(at.0 - KEYS_KNOWN);
        both!(&mut tx, c => sqlx::query(sql).bind(before).execute(&mut **c).await.map(|_| ()))?;
        tx.forget_sent_keys(before).await?;
        tx.commit().await
    }
}

impl Tx {
    async fn has_removed_within_a_day(&mut self, now: Micros) -> sqlx::Result<bool> {
        // What was removed in a future that turned out to be none does not count.
        let sql = "select count(*) from removed_months where removed_at > $1 and removed_at <= $2";
        let day_ago = Micros(now.0 - 24 * Micros::HOUR);
        let count: i64 = both!(self, c => sqlx::query_scalar(sql).bind(day_ago).bind(now).fetch_one(&mut **c).await)?;
        Ok(count > 0)
    }

    /// The oldest month before another one that has hits, as `2026-01`. On Postgres empty
    /// partitions before it are dropped on the way: nothing is lost with them.
    async fn month_before(&mut self, oldest: PartitionMonth) -> sqlx::Result<Option<String>> {
        match self {
            Either::Postgres(c) => {
                let sql = "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
                           where i.inhparent = 'hits'::regclass and c.relname ~ '^hits_[0-9]{4}_[0-9]{2}$' and c.relname < $1
                           order by c.relname";
                let names: Vec<String> = sqlx::query_scalar(sql)
                    .bind(oldest.name())
                    .fetch_all(&mut **c)
                    .await?;
                for name in names {
                    let sql = format!("select exists (select 1 from {name})");
                    if sqlx::query_scalar(AssertSqlSafe(sql))
                        .fetch_one(&mut **c)
                        .await?
                    {
                        return Ok(Some(name["hits_".len()..].replace('_', "-")));
                    }
                    sqlx::raw_sql(AssertSqlSafe(format!("drop table {name}")))
                        .execute(&mut **c)
                        .await?;
                }
                Ok(None)
            }
            Either::Sqlite(c) => {
                let at: Option<Micros> =
                    sqlx::query_scalar("select min(received_at) from hits where received_at < $1")
                        .bind(oldest.start_time())
                        .fetch_one(&mut **c)
                        .await?;
                Ok(at.map(|at| PartitionMonth::of(at).start()[.."2026-01".len()].to_owned()))
            }
        }
    }

    /// Removes the hits of a month; returns how many those were.
    async fn remove_month(&mut self, month: &str) -> sqlx::Result<i64> {
        match self {
            Either::Postgres(c) => {
                let name = format!("hits_{}", month.replace('-', "_"));
                let known = "select reltuples::bigint from pg_class where oid = $1::regclass";
                let known: i64 = sqlx::query(known)
                    .bind(&name)
                    .fetch_one(&mut **c)
                    .await?
                    .try_get(0)?;
                // Not looked at yet, so it is small.
                let hits = if known < 1_000 {
                    let sql = format!("select count(*) from {name}");
                    sqlx::query_scalar(AssertSqlSafe(sql))
                        .fetch_one(&mut **c)
                        .await?
                } else {
                    known
                };
                sqlx::raw_sql(AssertSqlSafe(format!("drop table {name}")))
                    .execute(&mut **c)
                    .await?;
                Ok(hits)
            }
            Either::Sqlite(c) => {
                let start = Micros::parse_rfc3339(&format!("{month}-01T00:00:00Z"));
                let end = PartitionMonth::of(start.unwrap_or_default()).plus(1);
                let done = sqlx::query("delete from hits where received_at < $1")
                    .bind(end.start_time())
                    .execute(&mut **c)
                    .await?;
                Ok(done.rows_affected() as i64)
            }
        }
    }
}

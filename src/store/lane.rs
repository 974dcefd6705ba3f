//! The lane: servers on one Postgres take turns at writing.

use std::time::Duration;

use super::{Either, Error, Store, Tx, WatchedPool};

/// The advisory lock under which hits, contacts and broadlogs are written: servers on one Postgres
/// take turns, so no two transactions can block each other.
const LANE: i64 = 0x5111_a9e0_0001;

/// Whether a lock could not be acquired in time.
pub(super) fn is_waiting(error: &Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("55P03"))
}

impl Store {
    /// Begins a transaction that writes hits, contacts or broadlogs: it waits its turn (see
    /// `LANE`), however long that takes. It asks again in good time, since a database that stays
    /// silent for longer is presumed lost.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn begin_lane(&self) -> sqlx::Result<Tx> {
        let Either::Postgres(pool) = &self.pools else {
            return self.begin().await;
        };
        let turn = pool.patience() / 3;
        // Bulk statements look thousands of keys up in tables of any size. The planner would at
        // times rather read a whole table for it, and plan that anew as the table grows.
        let sql = "select pg_advisory_xact_lock($1), set_config('lock_timeout', before, true),
                   set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
                   set_config('enable_seqscan', 'off', true)
                   from (select current_setting('lock_timeout') as before, set_config('lock_timeout', $2, true) offset 0) as waiting";
        loop {
            let mut tx = pool.begin().await?;
            let locked = sqlx::query(sql)
                .bind(LANE)
                .bind(turn.as_millis().max(1).to_string())
                .execute(&mut *tx)
                .await;
            match locked {
                Ok(_) => return Ok(Either::Postgres(tx)),
                Err(error) if is_waiting(&error) => {
                    tracing::warn!(waited = ?turn, "another server, or a session that one left \
                        behind, blocks writing");
                    tx.rollback().await?;
                    end_silent_lane(pool).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Ends a session that holds the lane and fell silent in the middle of a `COPY`: Postgres would
/// wait for it forever, since to it a statement is running. Twice the time is far beyond what a
/// server of ours would itself have waited.
async fn end_silent_lane(pool: &WatchedPool) -> sqlx::Result<()> {
    let sql = "select pg_terminate_backend(a.pid) from pg_locks l join pg_stat_activity a using (pid)
               where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                   and l.database = (select oid from pg_database where datname = current_database())
                   and (l.classid::bigint << 32 | l.objid::bigint) = $1
                   and a.usename = current_user and a.state = 'active' and a.wait_event = 'ClientRead'
                   and a.query_start < clock_timestamp() - make_interval(secs => $2)";
    let silence: Duration = pool.patience() * 2;
    let ended: Vec<bool> = sqlx::query_scalar(sql)
        .bind(LANE)
        .bind(silence.as_secs_f64())
        .fetch_all(pool)
        .await?;
    if ended.contains(&true) {
        tracing::warn!(
            ?silence,
            "ended a session that blocked writing and said nothing"
        );
    }
    Ok(())
}

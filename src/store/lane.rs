//! Writing beside one another: servers on one Postgres.
//!
//! A transaction that writes hits reads and decides beside all others, and writes its hits, which
//! nobody else touches. What is shared (contacts, visitors, orders, figures) it writes in its turn:
//! [`Tx::take_turn`] lets one through at a time, until it commits. Nearly always nobody else was
//! there since it began. Where somebody was, the caller reads again what it decided by; where that
//! is no longer so, the transaction has lost a race ([`lost_race`]) and is begun anew.
//!
//! Who cannot do so, because it reads and writes too much or has lost too often, takes the lane for
//! itself ([`Store::begin_lane`]).
//!
//! SQLite has one writer; none of this is needed there.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::error::{DatabaseError, ErrorKind};

use super::{Either, Error, Store, Tx, WatchedPool};
use crate::from_row;

/// The advisory lock of all that write hits, contacts or broadlogs: shared by those that take
/// turns, for itself by who cannot.
const LANE: i64 = 0x5111_a9e0_0001;

/// How often others have had their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    turn: i64,
    merges: i64,
}

from_row!(Seen, row => { turn, merges });

/// What others have done since a transaction began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// Nothing.
    Nothing,
    /// Something.
    Turns,
    /// They have merged contacts.
    Merges,
}

/// Something that a transaction decided by is no longer so.
#[derive(Debug, thiserror::Error)]
#[error("{0} changed meanwhile")]
struct LostRace(&'static str);

impl DatabaseError for LostRace {
    fn message(&self) -> &str {
        "changed meanwhile"
    }

    /// Postgres' own word for it.
    fn code(&self) -> Option<Cow<'_, str>> {
        Some("40001".into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// The error of a transaction that decided by something which is no longer so.
pub(crate) fn lost_race(what: &'static str) -> Error {
    Error::Database(Box::new(LostRace(what)))
}

/// Whether a transaction that writes beside others failed because of them, so that it is right to
/// begin it anew at once: a race, a deadlock, a key that somebody else has just made, a lock that
/// was not to be had in time.
pub fn is_race(error: &Error) -> bool {
    let Error::Database(error) = error else {
        return false;
    };
    let code = error.code().unwrap_or_default();
    ["40001", "40P01", "23505", "55P03"].contains(&code.as_ref())
}

/// Whether a lock could not be acquired in time.
pub(super) fn is_waiting(error: &Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("55P03"))
}

impl Store {
    /// Begins a transaction that writes hits, contacts or broadlogs, alone: it waits for all
    /// others, however long that takes. It asks again in good time, since a database that says
    /// nothing for longer is presumed lost.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn begin_lane(&self) -> sqlx::Result<Tx> {
        self.begin_in("pg_advisory_xact_lock").await
    }

    /// Begins a transaction that writes hits beside others. It must take its turn
    /// ([`Tx::take_turn`]) before it writes what is shared, and read nothing before that by which
    /// it decides and which it does not look at again then.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(crate) async fn begin_beside(&self) -> sqlx::Result<Tx> {
        let mut tx = self.begin_in("pg_advisory_xact_lock_shared").await?;
        if let Either::Postgres(tx) = &mut tx {
            let sql = "select turn, merges from write_turns";
            tx.seen = Some(sqlx::query_as(sql).fetch_one(&mut **tx).await?);
        }
        Ok(tx)
    }

    /// Begins a transaction that has its turn from the first, while others read and decide: for
    /// what is short.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(crate) async fn begin_turn(&self) -> sqlx::Result<Tx> {
        loop {
            let mut tx = self.begin_beside().await?;
            match tx.take_turn().await {
                Ok(_) => return Ok(tx),
                Err(error) if is_waiting(&error) => tx.rollback().await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin_in(&self, lock: &str) -> sqlx::Result<Tx> {
        let Either::Postgres(pool) = &self.pools else {
            return self.begin().await;
        };
        let turn = pool.patience() / 3;
        // What else is waited for in the transaction ends before its answer is taken for lost.
        let later = turn * 2;
        // Bulk statements look thousands of keys up in tables of any size. The planner would at
        // times rather read a whole table for it, and plan that anew as the table grows.
        let sql = format!(
            "select {lock}($1), set_config('lock_timeout', case before when '0' then $3 else before
             end, true),
                    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
                    set_config('enable_seqscan', 'off', true)
             from (select current_setting('lock_timeout') as before, set_config('lock_timeout', $2,
             true) offset 0) as waiting"
        );
        loop {
            let mut tx = pool.begin().await?;
            let locked = sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(LANE)
                .bind(turn.as_millis().max(1).to_string())
                .bind(later.as_millis().max(1).to_string())
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

    /// After a lost race: where a lock was waited for in vain, ends what a server of ours may have
    /// left behind in silence.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(crate) async fn after_race(&self, error: &Error) -> sqlx::Result<()> {
        match &self.pools {
            Either::Postgres(pool) if is_waiting(error) => end_silent_lane(pool).await,
            _ => Ok(()),
        }
    }
}

impl Tx {
    /// Whether others may write at the same time.
    pub(crate) fn is_beside(&self) -> bool {
        matches!(self, Either::Postgres(tx) if tx.seen.is_some())
    }

    /// Waits for its turn, which it has until it ends. Says what others have done since it began;
    /// nothing where it has had its turn before.
    ///
    /// # Errors
    /// The database refuses, or others took too long: see [`is_race`].
    pub(crate) async fn take_turn(&mut self) -> sqlx::Result<Meanwhile> {
        let Either::Postgres(tx) = self else {
            return Ok(Meanwhile::Nothing);
        };
        let Some(seen) = tx.seen.take() else {
            return Ok(Meanwhile::Nothing);
        };
        let sql = "update write_turns set turn = turn + 1 returning turn, merges";
        let now: Seen = sqlx::query_as(sql).fetch_one(&mut **tx).await?;
        Ok(if now.merges != seen.merges {
            Meanwhile::Merges
        } else if now.turn != seen.turn + 1 {
            Meanwhile::Turns
        } else {
            Meanwhile::Nothing
        })
    }

    /// Tells those who decide at this moment that contacts are merged.
    pub(super) async fn note_merges(&mut self) -> sqlx::Result<()> {
        if let Either::Postgres(tx) = self {
            let sql = "update write_turns set merges = merges + 1";
            sqlx::query(sql).execute(&mut **tx).await?;
        }
        Ok(())
    }
}

/// Ends a session that holds the lane and fell silent in the middle of a `COPY`: Postgres would
/// wait for it forever, since to it a statement is running. Twice the time is far beyond what a
/// server of ours would itself have waited.
async fn end_silent_lane(pool: &WatchedPool) -> sqlx::Result<()> {
    let sql = "select pg_terminate_backend(a.pid) from pg_locks l join pg_stat_activity a
               using (pid)
               where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                   and l.database = (select oid from pg_database where datname = current_database())
                   and (l.classid::bigint << 32 | l.objid::bigint) = $1
                   and a.usename = current_user and a.state = 'active'
                   and a.wait_event = 'ClientRead'
                   and a.query_start < clock_timestamp() - make_interval(secs => $2)";
    let silence: Duration = pool.patience() * 2;
    let ended: Vec<bool> = sqlx::query_scalar(sql)
        .bind(LANE)
        .bind(silence.as_secs_f64())
        .fetch_all(pool)
        .await?;
    if ended.contains(&true) {
        tracing::warn!(?silence, "ended a silent session that blocked writing");
    }
    Ok(())
}

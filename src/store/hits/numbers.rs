//! Numbers of hits, and the horizon up to which they can be read.
//!
//! Numbers come in blocks, each taken in a short transaction of its own: whoever writes hits does
//! not keep the counter until its end. So a hit may become visible before one with a lower number.
//! Who follows hits reads up to the horizon only, below which nothing can appear any more. Numbers
//! may be missing; none comes twice.
//!
//! **How it fails.** A block is open as long as the transaction that asked for it runs, and
//! Postgres itself knows that: no server has to close it. Where a server is killed, its block ends
//! when Postgres ends its session. If the block cannot be noted, the hits are not written; if they
//! are not written, the block's numbers are missing.

use crate::both;
use crate::store::{Either, Store, Tx};

/// Takes a block of $1 numbers for the transaction $2. Blocks that have ended are cleared away;
/// those that another is just clearing away are left to it, since two that wait for each other
/// would stand still.
const TAKE: &str = "with taken as (update counters set value = value + $1 where name = 'hit'
                    returning value),
      ended as (delete from hit_blocks where first in
        (select b.first from hit_blocks b where not exists (select from open_hit_blocks o
        where o.first = b.first)
         for update skip locked))
    insert into hit_blocks (first, writer) select value - $1 + 1, $2 from taken returning first";

impl Tx {
    /// Takes numbers for `count` hits, at least one, which this transaction writes; returns the
    /// first. They are used up even if it is rolled back.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn take_hit_numbers(&mut self, count: i64) -> sqlx::Result<i64> {
        let Either::Postgres(tx) = self else {
            return self.take_numbers("hit", count).await;
        };
        // First of all: the horizon must know whose the block is when it sees it.
        let writer: i64 = sqlx::query_scalar("select txid_current()")
            .fetch_one(&mut **tx)
            .await?;
        let mut aside = tx.aside().await?;
        sqlx::query_scalar(TAKE)
            .bind(count)
            .bind(writer)
            .fetch_one(&mut aside)
            .await
    }
}

impl Store {
    /// The horizon: no hit with this number or a lower one can appear any more. It never goes back.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn last_seq(&self) -> sqlx::Result<i64> {
        let sql = "select seq from hit_horizon";
        both!(self.reader(), pool => sqlx::query_scalar(sql).fetch_one(pool).await)
    }
}

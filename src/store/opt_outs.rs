//! Contacts that have unsubscribed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::Row as _;

use super::{Bulk, Store, Tx, Writes};
use crate::model::clock::Micros;
use crate::model::hit::{ContactId, DeliveryId};
use crate::{both, fetch_bulk};

/// When a contact unsubscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptOut {
    /// When it was said first.
    pub at: Micros,
    /// The delivery whose message it was said in, if known.
    pub delivery_id: Option<DeliveryId>,
}

impl Tx {
    /// Records who has unsubscribed. Those who had before keep the first time.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn insert_opt_outs(
        &mut self,
        opt_outs: &BTreeMap<ContactId, OptOut>,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let rows = Bulk::new()
            .uuid("contact_id", opt_outs.keys().map(|id| id.0))
            .time("opted_out_at", opt_outs.values().map(|opt_out| opt_out.at))
            .big_or_null(
                "delivery_id",
                opt_outs
                    .values()
                    .map(|opt_out| opt_out.delivery_id.map(|id| id.0)),
            );
        let sql = "insert into opt_outs (contact_id, opted_out_at, delivery_id)
             select contact_id, opted_out_at, delivery_id from {rows} where true
             on conflict (contact_id) do nothing";
        writes.add(self, rows, sql).await
    }

    /// Those of some contacts that have unsubscribed.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn opted_out(
        &mut self,
        contacts: impl Iterator<Item = ContactId>,
    ) -> sqlx::Result<HashSet<ContactId>> {
        let found = fetch_bulk!(
            self,
            Bulk::new().uuid("id", contacts.map(|id| id.0)),
            "select o.contact_id from {rows} join opt_outs o on o.contact_id = rows.id",
            row => ContactId(row.try_get("contact_id")?)
        )?;
        Ok(HashSet::from_iter(found))
    }
}

/// An opt-out that the old system must still be told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// The vendor's name for the message: `mautic:<tracking hash>`.
    pub message_key: String,
    /// How often that failed.
    pub attempts: i64,
}

crate::from_row!(Untold, row => { message_key, attempts });

impl Tx {
    /// Records opt-outs that the old system must be told about.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn insert_untold_opt_outs(
        &mut self,
        keys: &BTreeSet<String>,
        now: Micros,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let rows = Bulk::new()
            .text("message_key", keys.iter().cloned())
            .time("now", keys.iter().map(|_| now));
        let sql = "insert into untold_opt_outs (message_key, asked_at, next_at)
             select message_key, now, now from {rows} where true on conflict (message_key)
             do nothing";
        writes.add(self, rows, sql).await
    }
}

impl Store {
    /// Opt-outs that are due to be sent, oldest first.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn untold_opt_outs(&self, now: Micros, limit: i64) -> sqlx::Result<Vec<Untold>> {
        let sql = "select message_key, attempts from untold_opt_outs where next_at <= $1
                   order by next_at, message_key limit $2";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(now).bind(limit).fetch_all(pool).await)
    }

    /// The old system knows.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn forget_untold(&self, key: &str) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        let sql = "delete from untold_opt_outs where message_key = $1";
        both!(&mut tx, c => sqlx::query(sql).bind(key).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await
    }

    /// It did not respond; try again at `next`.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn put_off_untold(&self, key: &str, next: Micros) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        let sql = "update untold_opt_outs set attempts = attempts + 1, next_at = $2
                   where message_key = $1";
        both!(&mut tx, c => sqlx::query(sql).bind(key).bind(next).execute(&mut **c).await.map(|_| ()))?;
        tx.commit().await
    }

    /// Ends an opt-out: the person has subscribed again. False if there was none.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn end_opt_out(&self, contact: ContactId) -> sqlx::Result<bool> {
        let sql = "delete from opt_outs where contact_id = $1";
        // After what is being stored: a hit of before must not come in later.
        let mut tx = self.begin_lane().await?;
        let ended = both!(&mut tx, c => sqlx::query(sql).bind(contact).execute(&mut **c).await
            .map(|done| done.rows_affected()))?;
        tx.commit().await?;
        Ok(ended > 0)
    }
}

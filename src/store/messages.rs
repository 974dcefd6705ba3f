//! Messages: the rows that say who was sent what.

use std::collections::{BTreeSet, HashMap};

use sqlx::Row;

use super::{Bulk, Store, Tx};
use crate::clock::Micros;
use crate::hit::{BroadlogId, ContactId, DeliveryId};
use crate::{both, execute_bulk, fetch_bulk};

/// A message that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its number.
    pub id: BroadlogId,
    /// Who gets it.
    pub contact_id: ContactId,
    /// `html`, `text`: the sender's word.
    pub format: Option<String>,
}

impl Tx {
    /// When messages were made, those that there are.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn message_times(
        &mut self,
        ids: &BTreeSet<BroadlogId>,
    ) -> sqlx::Result<HashMap<BroadlogId, Micros>> {
        let times = fetch_bulk!(
            self,
            Bulk::new().big("id", ids.iter().map(|id| id.0)),
            "select b.id, b.created_at from {rows} join broadlogs b on b.id = rows.id",
            row => (BroadlogId(row.try_get(0)?), row.try_get::<Micros, _>(1)?)
        )?;
        Ok(HashMap::from_iter(times))
    }

    /// Stores new messages of a delivery, in a transaction of [`Store::begin_lane`]. Numbers that the sender chose are never given out after.
    ///
    /// # Errors
    /// The database refuses; so it does where a number is taken.
    pub async fn insert_messages(
        &mut self,
        delivery_id: DeliveryId,
        messages: Vec<NewMessage>,
        now: Micros,
    ) -> sqlx::Result<()> {
        let count = messages.len() as i64;
        if count == 0 {
            return Ok(());
        }
        execute_bulk!(
            &mut *self,
            Bulk::new()
                .big("id", messages.iter().map(|message| message.id.0))
                .big("delivery_id", messages.iter().map(|_| delivery_id.0))
                .uuid(
                    "contact_id",
                    messages.iter().map(|message| message.contact_id.0)
                )
                .time("now", messages.iter().map(|_| now))
                .text_or_null("format", messages.into_iter().map(|message| message.format)),
            "insert into broadlogs (id, delivery_id, contact_id, format, created_at) select id, delivery_id, contact_id, format, now from {rows} where true"
        )?;
        let sql = "update deliveries set messages = messages + $2 where id = $1";
        both!(self, c => sqlx::query(sql).bind(delivery_id.0).bind(count).execute(&mut **c).await.map(|_| ()))
    }
}

impl Store {
    /// The first message of a delivery.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn first_message(&self, delivery_id: DeliveryId) -> sqlx::Result<Option<BroadlogId>> {
        let sql = "select id from broadlogs where delivery_id = $1 order by id limit 1";
        let id: Option<i64> = both!(self.reader(), pool => sqlx::query_scalar(sql).bind(delivery_id.0).fetch_optional(pool).await)?;
        Ok(id.map(BroadlogId))
    }
}

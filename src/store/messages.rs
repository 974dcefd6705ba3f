//! Messages: the rows that say who was sent what.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::FromRow as _;

use super::{Bulk, Store, Tx};
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, ContactId, DeliveryId};
use crate::{both, execute_bulk, fetch_bulk};

/// A message to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewMessage {
    /// Its number.
    pub id: BroadlogId,
    /// Campaign.
    pub delivery_id: DeliveryId,
    /// Who gets it.
    pub contact_id: ContactId,
    /// `html`, `text`: the sender's word.
    pub format: Option<String>,
    /// When it was sent.
    pub created_at: Micros,
}

impl Tx {
    /// When messages were created, for those that exist.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn message_times(
        &mut self,
        ids: impl IntoIterator<Item = BroadlogId>,
    ) -> sqlx::Result<HashMap<BroadlogId, Micros>> {
        let times = fetch_bulk!(
            self,
            Bulk::new().big("id", ids.into_iter().map(|id| id.0)),
            "select b.id, b.created_at from {rows} join broadlogs b on b.id = rows.id",
            row => <(BroadlogId, Micros)>::from_row(row)?
        )?;
        Ok(HashMap::from_iter(times))
    }

    /// Numbers for new messages. Those that a vendor's unsigned link has already named are skipped:
    /// what was counted for one must not become another message's.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take_broadlog_numbers(&mut self, count: usize) -> sqlx::Result<Vec<i64>> {
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            let missing = (count - numbers.len()) as i64;
            let first = self.take_numbers("broadlog", missing).await?;
            let sql = "select distinct broadlog_id from broadlog_figures where broadlog_id >= $1 \
                and broadlog_id < $2";
            let said: Vec<i64> = both!(&mut *self, c => sqlx::query_scalar(sql)
                .bind(first)
                .bind(first + missing)
                .fetch_all(&mut **c)
                .await)?;
            let said: BTreeSet<i64> = said.into_iter().collect();
            numbers.extend((first..first + missing).filter(|number| !said.contains(number)));
        }
        Ok(numbers)
    }

    /// Removes what was counted under chosen numbers before these messages existed, as far as it
    /// was for another delivery.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn forget_figures_of_others(
        &mut self,
        chosen: &[(BroadlogId, DeliveryId)],
    ) -> sqlx::Result<()> {
        execute_bulk!(
            self,
            Bulk::new()
                .big("id", chosen.iter().map(|(id, _)| id.0))
                .big("delivery_id", chosen.iter().map(|(_, delivery)| delivery.0)),
            "delete from broadlog_figures where broadlog_id in
                 (select f.broadlog_id from {rows} join broadlog_figures f
                 on f.broadlog_id = rows.id where f.delivery_id <> rows.delivery_id)"
        )
        .map(|_| ())
    }

    /// Stores new messages, in a transaction that has its turn or is alone. Chosen numbers are
    /// never assigned afterwards.
    ///
    /// # Errors
    /// The database refuses, as it does where a number is taken.
    pub(crate) async fn insert_messages(&mut self, messages: &[NewMessage]) -> sqlx::Result<()> {
        let rows = || messages.iter();
        execute_bulk!(
            &mut *self,
            Bulk::new()
                .big("id", rows().map(|message| message.id.0))
                .big("delivery_id", rows().map(|message| message.delivery_id.0))
                .uuid("contact_id", rows().map(|message| message.contact_id.0))
                .time("created_at", rows().map(|message| message.created_at))
                .text_or_null("format", rows().map(|message| message.format.clone())),
            "insert into broadlogs (id, delivery_id, contact_id, format, created_at) select id, \
            delivery_id, contact_id, format, created_at from {rows} where true"
        )?;
        let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
        for message in messages {
            *counts.entry(message.delivery_id.0).or_default() += 1;
        }
        execute_bulk!(
            self,
            Bulk::new()
                .big("id", counts.keys().copied())
                .big("count", counts.values().copied()),
            "update deliveries set messages = deliveries.messages + rows.count from {rows} where \
            deliveries.id = rows.id"
        )
        .map(|_| ())
    }

    /// The messages that their vendors' names stand for.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn message_keys<'k>(
        &mut self,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> sqlx::Result<HashMap<String, BroadlogId>> {
        let found = fetch_bulk!(
            self,
            Bulk::new().text("key", keys.into_iter().map(str::to_owned)),
            "select k.key, k.broadlog_id from {rows} join message_keys k on k.key = rows.key",
            row => <(String, BroadlogId)>::from_row(row)?
        )?;
        Ok(HashMap::from_iter(found))
    }

    /// Records vendors' names for messages that had none.
    ///
    /// # Errors
    /// The database refuses, as it does where a name is taken.
    pub(crate) async fn insert_message_keys(
        &mut self,
        keys: &[(String, BroadlogId)],
    ) -> sqlx::Result<()> {
        execute_bulk!(
            self,
            Bulk::new()
                .text("key", keys.iter().map(|(key, _)| key.clone()))
                .big("broadlog_id", keys.iter().map(|(_, id)| id.0)),
            "insert into message_keys (key, broadlog_id) select key, broadlog_id from {rows} \
            where true"
        )
        .map(|_| ())
    }
}

impl Tx {
    /// What keys of a delivery stand for; see the table `sent_keys`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn sent_keys(
        &mut self,
        delivery_id: DeliveryId,
        keys: Vec<String>,
    ) -> sqlx::Result<HashMap<String, i64>> {
        let found = fetch_bulk!(
            self,
            Bulk::new()
                .big("delivery_id", keys.iter().map(|_| delivery_id.0))
                .text("key", keys),
            "select k.key, k.number from {rows} join sent_keys k on k.delivery_id = \
            rows.delivery_id and k.key = rows.key",
            row => <(String, i64)>::from_row(row)?
        )?;
        Ok(HashMap::from_iter(found))
    }

    /// Records what keys stand for; existing ones stay as they are.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn insert_sent_keys(
        &mut self,
        delivery_id: DeliveryId,
        keys: Vec<(String, i64)>,
        now: Micros,
    ) -> sqlx::Result<()> {
        execute_bulk!(
            self,
            Bulk::new()
                .big("delivery_id", keys.iter().map(|_| delivery_id.0))
                .big("number", keys.iter().map(|(_, number)| *number))
                .time("now", keys.iter().map(|_| now))
                .text("key", keys.into_iter().map(|(key, _)| key)),
            "insert into sent_keys (delivery_id, key, number, created_at) select delivery_id, key,
             number, now from {rows} where true
             on conflict (delivery_id, key) do nothing"
        )
        .map(|_| ())
    }
}

impl Store {
    /// The first message of a delivery.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn first_message(&self, delivery_id: DeliveryId) -> sqlx::Result<Option<BroadlogId>> {
        let sql = "select id from broadlogs where delivery_id = $1 order by id limit 1";
        both!(self.reader(), pool => sqlx::query_scalar(sql).bind(delivery_id).fetch_optional(pool).await)
    }
}

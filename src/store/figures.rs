//! Figures kept as the hits come, in the transaction that writes them: of a message and of an hour.
//!
//! They are read, added to in memory and written back whole: the projection's lock lets nobody else write them, and
//! amounts saturate here instead of failing in the database.

use std::collections::BTreeMap;

use sqlx::Row;

use super::{Bulk, Tx};
use crate::clock::Micros;
use crate::hit::{BroadlogId, DeliveryId, Hit, Kind, Money};
use crate::{execute_bulk, fetch_bulk};

/// Figures of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageFigures {
    delivery_id: i64,
    first_open_at: Option<Micros>,
    first_click_at: Option<Micros>,
    opens: i64,
    clicks: i64,
    pages: i64,
    transactions: i64,
    revenue: i64,
    quantity: i64,
}

/// Figures of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourFigures {
    hits: i64,
    new_broadlogs: i64,
    distinct_broadlogs: i64,
    machine_hits: i64,
    revenue: i64,
    quantity: i64,
}

type MessageKey = (i64, String);
type HourKey = (i64, Micros, &'static str, i64, String);

/// What a batch of hits adds.
#[derive(Debug, Default)]
pub struct Figures {
    /// Rows of messages as the database has them.
    stored: BTreeMap<MessageKey, MessageFigures>,
    messages: BTreeMap<MessageKey, MessageFigures>,
    hours: BTreeMap<HourKey, HourFigures>,
}

impl Figures {
    /// Messages that have figures in the database, for the hits that are to be added.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn load(tx: &mut Tx, hits: &[&Hit]) -> sqlx::Result<Self> {
        let mut ids: Vec<i64> = hits
            .iter()
            .filter(|hit| hit.verdict.counts())
            .filter_map(|hit| hit.broadlog_id.map(|id| id.0))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let messages = fetch_bulk!(
            tx,
            Bulk::new().big("id", ids),
            "select f.broadlog_id, f.currency, f.delivery_id, f.first_open_at, f.first_click_at, f.opens, f.clicks, f.pages, f.transactions,
                    f.revenue, f.quantity
             from {rows} join broadlog_figures f on f.broadlog_id = rows.id",
            row => (
                (row.try_get(0)?, row.try_get(1)?),
                MessageFigures {
                    delivery_id: row.try_get(2)?,
                    first_open_at: row.try_get(3)?,
                    first_click_at: row.try_get(4)?,
                    opens: row.try_get(5)?,
                    clicks: row.try_get(6)?,
                    pages: row.try_get(7)?,
                    transactions: row.try_get(8)?,
                    revenue: row.try_get::<Money, _>(9)?.0,
                    quantity: row.try_get(10)?,
                }
            )
        )?;
        let stored = BTreeMap::from_iter(messages);
        Ok(Self {
            messages: stored.clone(),
            stored,
            hours: BTreeMap::new(),
        })
    }

    /// Adds a hit.
    pub fn add(&mut self, hit: &Hit) {
        let at = hit.counted_at();
        let money = hit.revenue.unwrap_or_default().0;
        let quantity = i64::from(hit.quantity.unwrap_or_default());
        let currency = match (hit.revenue, &hit.currency) {
            (Some(_), Some(currency)) => currency.as_str().to_owned(),
            _ => String::new(),
        };
        let key = (
            hit.delivery_id.map_or(0, |id| id.0),
            at.hour(),
            hit.kind.as_str(),
            hit.link_id.map_or(0, |id| id.0),
            currency.clone(),
        );
        if !hit.verdict.counts() {
            self.hours.entry(key).or_default().machine_hits += 1;
            return;
        }
        let (is_new, is_first) = match hit.broadlog_id {
            Some(id) => {
                self.add_to_message(id, hit.delivery_id, hit.kind, at, currency, money, quantity)
            }
            None => (false, false),
        };
        let hour = self.hours.entry(key).or_default();
        hour.hits += 1;
        hour.new_broadlogs += i64::from(is_new);
        hour.distinct_broadlogs += i64::from(is_first);
        hour.revenue = hour.revenue.saturating_add(money);
        hour.quantity = hour.quantity.saturating_add(quantity);
    }

    /// Returns whether it is the message's first hit of all, and its first of this kind.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one hit, taken apart once"
    )]
    fn add_to_message(
        &mut self,
        id: BroadlogId,
        delivery: Option<DeliveryId>,
        kind: Kind,
        at: Micros,
        currency: String,
        money: i64,
        quantity: i64,
    ) -> (bool, bool) {
        let delivery_id = delivery.map_or(0, |id| id.0);
        let start = || MessageFigures {
            delivery_id,
            ..MessageFigures::default()
        };
        let mut is_new = false;
        let message = self
            .messages
            .entry((id.0, String::new()))
            .or_insert_with(|| {
                is_new = true;
                start()
            });
        let earlier = |first: Option<Micros>| Some(first.map_or(at, |first| first.min(at)));
        let is_first = match kind {
            Kind::Open => {
                message.first_open_at = earlier(message.first_open_at);
                message.opens += 1;
                message.opens == 1
            }
            Kind::Click => {
                message.first_click_at = earlier(message.first_click_at);
                message.clicks += 1;
                message.clicks == 1
            }
            Kind::Pageview => {
                message.pages += 1;
                message.pages == 1
            }
            Kind::Transaction => {
                message.transactions += 1;
                message.transactions == 1
            }
            Kind::Event | Kind::Form | Kind::Optout | Kind::Mirror => false,
        };
        if kind == Kind::Transaction && !(currency.is_empty() && money == 0 && quantity == 0) {
            let message = self.messages.entry((id.0, currency)).or_insert_with(start);
            message.revenue = message.revenue.saturating_add(money);
            message.quantity = message.quantity.saturating_add(quantity);
        }
        (is_new, is_first)
    }

    /// Writes everything, in the order of primary keys.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn save(mut self, tx: &mut Tx) -> sqlx::Result<()> {
        self.load_hours(tx).await?;
        // Apart, since nobody else writes here: an upsert would look each row up once more.
        let (changed, new) = self.message_rows();
        execute_bulk!(
            tx,
            new,
            "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, quantity)
             select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, quantity
             from {rows}"
        )?;
        execute_bulk!(
            tx,
            changed,
            "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages, transactions = rows.transactions, revenue = rows.revenue, quantity = rows.quantity
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id and broadlog_figures.currency = rows.currency"
        )?;
        let rows = self.hours.values();
        execute_bulk!(
            tx,
            self.hour_keys()
                .big("hits", rows.clone().map(|row| row.hits))
                .big("new_broadlogs", rows.clone().map(|row| row.new_broadlogs))
                .big("distinct_broadlogs", rows.clone().map(|row| row.distinct_broadlogs))
                .big("machine_hits", rows.clone().map(|row| row.machine_hits))
                .money("revenue", rows.clone().map(|row| Money(row.revenue)))
                .big("quantity", rows.clone().map(|row| row.quantity)),
            "insert into hourly_figures
                 (delivery_id, hour, kind, link_id, currency, hits, new_broadlogs, distinct_broadlogs, machine_hits, revenue, quantity)
             select delivery_id, hour, kind, link_id, currency, hits, new_broadlogs, distinct_broadlogs, machine_hits, revenue, quantity
             from {rows} where true
             on conflict (delivery_id, hour, kind, link_id, currency) do update set
                 hits = excluded.hits, new_broadlogs = excluded.new_broadlogs, distinct_broadlogs = excluded.distinct_broadlogs,
                 machine_hits = excluded.machine_hits, revenue = excluded.revenue, quantity = excluded.quantity"
        )?;
        Ok(())
    }

    /// Rows of messages that are different from the database's, and those that it has not.
    fn message_rows(&self) -> (Bulk, Bulk) {
        let bulk = |is_stored: bool| {
            let rows: Vec<_> = self
                .messages
                .iter()
                .filter(|(key, row)| match self.stored.get(*key) {
                    Some(stored) => is_stored && stored != *row,
                    None => !is_stored,
                })
                .collect();
            let rows = || rows.iter().copied();
            Bulk::new()
                .big("broadlog_id", rows().map(|(key, _)| key.0))
                .text("currency", rows().map(|(key, _)| key.1.clone()))
                .big("delivery_id", rows().map(|(_, row)| row.delivery_id))
                .time_or_null("first_open_at", rows().map(|(_, row)| row.first_open_at))
                .time_or_null("first_click_at", rows().map(|(_, row)| row.first_click_at))
                .big("opens", rows().map(|(_, row)| row.opens))
                .big("clicks", rows().map(|(_, row)| row.clicks))
                .big("pages", rows().map(|(_, row)| row.pages))
                .big("transactions", rows().map(|(_, row)| row.transactions))
                .money("revenue", rows().map(|(_, row)| Money(row.revenue)))
                .big("quantity", rows().map(|(_, row)| row.quantity))
        };
        (bulk(true), bulk(false))
    }

    fn hour_keys(&self) -> Bulk {
        let keys = self.hours.keys();
        Bulk::new()
            .big("delivery_id", keys.clone().map(|key| key.0))
            .time("hour", keys.clone().map(|key| key.1))
            .text("kind", keys.clone().map(|key| key.2.to_owned()))
            .big("link_id", keys.clone().map(|key| key.3))
            .text("currency", keys.clone().map(|key| key.4.clone()))
    }

    /// Adds what the database has of the hours to what the batch has counted.
    async fn load_hours(&mut self, tx: &mut Tx) -> sqlx::Result<()> {
        let stored: Vec<(HourKey, HourFigures)> = fetch_bulk!(
            tx,
            self.hour_keys(),
            "select f.delivery_id, f.hour, f.kind, f.link_id, f.currency, f.hits, f.new_broadlogs, f.distinct_broadlogs, f.machine_hits, f.revenue,
                    f.quantity
             from {rows} join hourly_figures f on f.delivery_id = rows.delivery_id and f.hour = rows.hour and f.kind = rows.kind
                 and f.link_id = rows.link_id and f.currency = rows.currency",
            row => (
                (
                    row.try_get(0)?,
                    row.try_get(1)?,
                    Kind::parse(row.try_get(2)?).unwrap_or(Kind::Event).as_str(),
                    row.try_get(3)?,
                    row.try_get(4)?,
                ),
                HourFigures {
                    hits: row.try_get(5)?,
                    new_broadlogs: row.try_get(6)?,
                    distinct_broadlogs: row.try_get(7)?,
                    machine_hits: row.try_get(8)?,
                    revenue: row.try_get::<Money, _>(9)?.0,
                    quantity: row.try_get(10)?,
                }
            )
        )?;
        for (key, stored) in stored {
            if let Some(hour) = self.hours.get_mut(&key) {
                hour.hits += stored.hits;
                hour.new_broadlogs += stored.new_broadlogs;
                hour.distinct_broadlogs += stored.distinct_broadlogs;
                hour.machine_hits += stored.machine_hits;
                hour.revenue = hour.revenue.saturating_add(stored.revenue);
                hour.quantity = hour.quantity.saturating_add(stored.quantity);
            }
        }
        Ok(())
    }
}

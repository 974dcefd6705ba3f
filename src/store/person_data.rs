//! Reads what tables hold of one person, for the person itself. What no index finds is read through
//! in stretches.

use sqlx::Row as _;
use uuid::Uuid;

use super::{Bulk, Store};
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, ContactId, DeliveryId, Money};
use crate::{both, fetch_bulk, from_row};

/// Messages looked at for one page.
const STRETCH: i64 = 50_000;

/// A message that was sent to a person, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentTo {
    /// Its number.
    pub id: BroadlogId,
    /// Campaign.
    pub delivery_id: DeliveryId,
    /// `html`, `text`: the sender's word.
    pub format: Option<String>,
    /// When it was made.
    pub created_at: Micros,
    /// The first open.
    pub first_open_at: Option<Micros>,
    /// The first click.
    pub first_click_at: Option<Micros>,
    /// Opens.
    pub opens: i64,
    /// Clicks.
    pub clicks: i64,
    /// Pages seen.
    pub pages: i64,
}

from_row!(SentTo, row => {
    id, delivery_id, format, created_at, first_open_at, first_click_at, opens, clicks, pages,
});

/// An order that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOrder {
    /// The shop's number.
    pub order_id: String,
    /// Of the hit.
    pub site: String,
    /// Empty for none.
    pub currency: String,
    /// How much.
    pub revenue: Money,
    /// When it was told first.
    pub counted_at: Micros,
}

from_row!(KnownOrder, row => { order_id, site, currency, revenue, counted_at });

impl Store {
    /// Unique values of a contact, by field.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn values_of(&self, id: ContactId) -> sqlx::Result<Vec<(String, String)>> {
        let sql = "select field, value from contact_keys where contact_id = $1
                   order by field, value";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)
    }

    /// All browsers of a contact.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn visitors_of(&self, id: ContactId) -> sqlx::Result<Vec<(Uuid, Micros)>> {
        let sql = "select id, changed_at from visitors where contact_id = $1 order by id";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_all(pool).await)
    }

    /// Messages in the next stretch that were sent to these contacts, and where it ends; `None`:
    /// the one before was the last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn messages_sent_to(
        &self,
        contacts: &[ContactId],
        after: i64,
    ) -> sqlx::Result<Option<(Vec<SentTo>, i64)>> {
        let sql = "select max(id) from
                   (select id from broadlogs where id > $1 order by id limit $2) as stretch";
        let until: Option<i64> = both!(self.reader(), pool => {
            sqlx::query_scalar(sql).bind(after).bind(STRETCH).fetch_one(pool).await?
        });
        let Some(until) = until else {
            return Ok(None);
        };
        let sql = "select b.id, b.delivery_id, b.format, b.created_at, f.first_open_at,
                       f.first_click_at, coalesce(f.opens, 0) as opens,
                       coalesce(f.clicks, 0) as clicks, coalesce(f.pages, 0) as pages
                   from broadlogs b left join broadlog_figures f
                     on f.broadlog_id = b.id and f.currency = ''
                   where b.id > $1 and b.id <= $2 and b.contact_id = $3 order by b.id";
        let mut messages: Vec<SentTo> = Vec::new();
        for contact in contacts {
            let found: Vec<SentTo> = both!(self.reader(), pool => {
                let query = sqlx::query_as(sql).bind(after).bind(until).bind(*contact);
                query.fetch_all(pool).await?
            });
            messages.extend(found);
        }
        Ok(Some((messages, until)))
    }

    /// Names that vendors gave messages.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn vendor_names_of(
        &self,
        messages: &[BroadlogId],
    ) -> sqlx::Result<Vec<(String, BroadlogId)>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin_snapshot().await?;
        let names = fetch_bulk!(
            &mut tx,
            Bulk::new().big("number", messages.iter().map(|id| id.0)),
            "select k.key, k.broadlog_id from message_keys k
             join {rows} on k.broadlog_id = rows.number order by k.key",
            row => (row.try_get("key")?, BroadlogId(row.try_get("broadlog_id")?))
        )?;
        tx.rollback().await?;
        Ok(names)
    }

    /// What is kept of orders.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn orders_of(&self, orders: &[(String, String)]) -> sqlx::Result<Vec<KnownOrder>> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin_snapshot().await?;
        let found = fetch_bulk!(
            &mut tx,
            Bulk::new()
                .text("number", orders.iter().map(|(order, _)| order.clone()))
                .text("place", orders.iter().map(|(_, site)| site.clone())),
            "select o.order_id, o.site, o.currency, o.revenue, o.counted_at from {rows}
             cross join orders o where o.order_id = rows.number and o.site = rows.place",
            row => sqlx::FromRow::from_row(row)?
        )?;
        tx.rollback().await?;
        Ok(found)
    }
}

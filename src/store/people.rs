//! Whom a number of a delivery's report is made of: its messages with what they left behind, those
//! that left nothing, and the browsers that clicked.
//!
//! Every query goes by an index in its order and ends after so many rows. Who is meant is looked up
//! for the rows that are told, one index look-up each.

use std::collections::HashMap;

use sqlx::Row as _;
use uuid::Uuid;

use super::{Bulk, Either, Store};
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, ContactId, DeliveryId, LinkId, VisitorId};
use crate::{both, fetch_bulk, from_row};
use serde_json::{Map, Value};
use sqlx::types::Json;

/// A message that left a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedMessage {
    /// Its number.
    pub broadlog_id: BroadlogId,
    /// Whom it went to; none: it was never imported.
    pub contact_id: Option<ContactId>,
    /// The first open.
    pub first_open_at: Option<Micros>,
    /// The first click.
    pub first_click_at: Option<Micros>,
    /// Opens by people.
    pub opens: i64,
    /// Clicks by people.
    pub clicks: i64,
    /// Pages seen.
    pub pages: i64,
    /// Orders that are proved to be the delivery's.
    pub transactions: i64,
}

from_row!(TracedMessage, row => {
    broadlog_id, contact_id, first_open_at, first_click_at, opens, clicks, pages, transactions,
});

/// A message, whether or not it left a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// Its number.
    pub id: BroadlogId,
    /// Whom it went to.
    pub contact_id: ContactId,
    /// Whether anything came of it.
    pub is_traced: bool,
}

from_row!(SentMessage, row => { id, contact_id } {
    is_traced: row.try_get::<i64, _>("traces")? > 0,
});

/// A browser that clicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clicker {
    /// Which.
    pub visitor_id: VisitorId,
    /// Whose it is, where that is known.
    pub contact_id: Option<ContactId>,
    /// What it followed; 0: no link of ours.
    pub link_id: LinkId,
    /// When first.
    pub first_at: Micros,
}

from_row!(Clicker, row => { visitor_id, contact_id, link_id, first_at });

/// What is told of a contact: the id that survives, and its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// It may have been merged.
    pub id: ContactId,
    /// By name.
    pub fields: Map<String, Value>,
}

impl Store {
    /// Messages of a delivery that left a trace, by rising numbers, from above `after` on.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn traced_messages(
        &self,
        delivery: DeliveryId,
        after: i64,
        rows: i64,
    ) -> sqlx::Result<Vec<TracedMessage>> {
        // In the order of the index, which no statistics can talk the planner out of.
        let sql = "select f.broadlog_id, f.first_open_at, f.first_click_at, f.opens, f.clicks,
                   f.pages, f.transactions,
                          (select b.contact_id from broadlogs b where b.id = f.broadlog_id)
                          as contact_id
                   from broadlog_figures f
                   where f.currency = '' and (f.delivery_id, f.broadlog_id) > ($1, $2)
                   and f.delivery_id <= $1
                   order by f.delivery_id, f.broadlog_id limit $3";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(delivery).bind(after).bind(rows).fetch_all(pool).await)
    }

    /// Messages of a delivery by rising numbers, from above `after` on.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn sent_messages(
        &self,
        delivery: DeliveryId,
        after: i64,
        rows: i64,
    ) -> sqlx::Result<Vec<SentMessage>> {
        let sql = "select b.id, b.contact_id,
                          (select count(*) from broadlog_figures f where f.broadlog_id = b.id
                          and f.currency = '') as traces
                   from broadlogs b
                   where (b.delivery_id, b.id) > ($1, $2) and b.delivery_id <= $1
                   order by b.delivery_id, b.id limit $3";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(delivery).bind(after).bind(rows).fetch_all(pool).await)
    }

    /// Browsers that clicked in a delivery, each once for each link, in the order of their ids,
    /// from behind a browser and a link on.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn clickers(
        &self,
        delivery: DeliveryId,
        after: (Uuid, i64),
        rows: i64,
    ) -> sqlx::Result<Vec<Clicker>> {
        let sql = "select c.visitor_id, c.link_id, c.first_at,
                          (select v.contact_id from visitors v where v.id = c.visitor_id)
                          as contact_id
                   from clicking_visitors c
                   where (c.delivery_id, c.visitor_id, c.link_id) > ($1, $2, $3)
                   and c.delivery_id <= $1
                   order by c.delivery_id, c.visitor_id, c.link_id limit $4";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(delivery).bind(after.0).bind(after.1).bind(rows).fetch_all(pool).await)
    }

    /// Browsers that followed a link which belongs to no delivery, in the order of their ids, from
    /// behind one on.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link_clickers(
        &self,
        link: LinkId,
        after: Uuid,
        rows: i64,
    ) -> sqlx::Result<Vec<Clicker>> {
        let sql = "select c.visitor_id, c.link_id, c.first_at,
                          (select v.contact_id from visitors v where v.id = c.visitor_id)
                          as contact_id
                   from clicking_visitors c
                   where c.delivery_id = 0 and c.link_id = $1 and c.visitor_id > $2
                   order by c.link_id, c.visitor_id limit $3";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(link).bind(after).bind(rows).fetch_all(pool).await)
    }

    /// What is known of some contacts, by the ids that are asked for.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn known_contacts(
        &self,
        ids: impl IntoIterator<Item = ContactId>,
    ) -> sqlx::Result<HashMap<ContactId, Known>> {
        let mut connection = match self.reader() {
            Either::Postgres(pool) => Either::Postgres(pool.acquire().await?),
            Either::Sqlite(pool) => Either::Sqlite(pool.acquire().await?),
        };
        let known: Vec<(ContactId, Known)> = fetch_bulk!(
            &mut connection,
            Bulk::new().uuid("id", ids.into_iter().map(|id| id.0)),
            "select rows.id as asked, s.id, s.fields from {rows} join contacts c on c.id = rows.id \
             join contacts s on s.id = coalesce(c.merged_into, c.id)",
            row => (
                ContactId(row.try_get("asked")?),
                Known {
                    id: ContactId(row.try_get("id")?),
                    fields: row.try_get::<Json<Map<String, Value>>, _>("fields")?.0,
                },
            )
        )?;
        Ok(HashMap::from_iter(known))
    }
}

//! Deliveries and links as senders make and see them. A row is also what people are told of it:
//! the JSON of the API, the command line and exports is derived here.
//!
//! Every change sets `changed_at`: that is how the servers' local copies learn of it. The number of
//! messages is no such change.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;
use sqlx::Row as _;
use utoipa::ToSchema;

use super::scan::{Part, Wanted, comparable, scan, stands_in};
use super::{Bulk, Either, Store, Tx};
use crate::model::clock::Micros;
use crate::model::draft::{NewDelivery, NewLink};
use crate::model::hit::{DeliveryId, LinkId, Utm};
use crate::model::link::LinkRecord;
use crate::model::wire;
use crate::{both, fetch_bulk, from_row};

/// A delivery as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Delivery {
    /// Campaign.
    #[serde(with = "wire::id")]
    pub id: DeliveryId,
    /// Name in reports.
    pub label: String,
    /// `email` and the like.
    pub channel: String,
    /// When it is or was sent.
    #[serde(with = "wire::option_time")]
    pub sent_at: Option<Micros>,
    /// From then on its links lead to `expiration_url`.
    #[serde(with = "wire::option_time")]
    pub expires_at: Option<Micros>,
    /// Where they lead then.
    pub expiration_url: Option<String>,
    /// Added to destinations.
    #[serde(with = "wire::utm")]
    pub utm: Utm,
    /// The system whose number it is: `adobe`, `mautic`; `None` means ours.
    #[serde(skip)]
    pub origin: Option<String>,
    /// Messages made so far.
    pub messages: i64,
    /// When it was made.
    #[serde(with = "wire::time")]
    pub created_at: Micros,
}

from_row!(Delivery, row => {
    id, label, channel, sent_at, expires_at, expiration_url, origin, messages, created_at,
} {
    utm: Utm::from_row(row)?,
});

impl Delivery {
    /// The delivery that a draft becomes under a number.
    pub fn of(id: DeliveryId, draft: NewDelivery, created_at: Micros) -> Self {
        Self {
            id,
            label: draft.label,
            channel: draft.channel.unwrap_or_else(|| "email".to_owned()),
            sent_at: draft.sent_at,
            expires_at: draft.expires_at,
            expiration_url: draft.expiration_url,
            utm: draft.utm,
            origin: None,
            messages: 0,
            created_at,
        }
    }
}

/// A link as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Link {
    /// Id in tokens.
    #[serde(with = "wire::id")]
    pub id: LinkId,
    /// Campaign; `None` if it stands alone.
    #[serde(with = "wire::option_id", skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<DeliveryId>,
    /// Name in `/r/<slug>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// Destination.
    pub url: String,
    /// Name in reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `optout`, `mirror`, or a word for reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Since when it no longer leads to its destination.
    #[serde(with = "wire::option_time", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Micros>,
    /// Where it has led since then; `None` means where its delivery's expired links lead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_url: Option<String>,
}

from_row!(Link, row => { id, delivery_id, slug, url, label, category, ended_at, end_url });

impl Link {
    /// What a server must know about it to answer a click.
    pub fn record(&self, delivery: Option<&Delivery>) -> LinkRecord {
        let mut expires_at = delivery.and_then(|delivery| delivery.expires_at);
        let mut leads_then = delivery.and_then(|delivery| delivery.expiration_url.clone());
        if self.ended_at.is_some() {
            expires_at = self.ended_at;
            leads_then = self.end_url.clone().or(leads_then);
        }
        LinkRecord {
            id: self.id,
            url: self.url.clone(),
            slug: self.slug.clone(),
            delivery_id: self.delivery_id,
            category: self.category.clone(),
            expires_at,
            expiration_url: leads_then,
            utm: delivery.map_or_else(Utm::default, |delivery| delivery.utm.clone()),
        }
    }
}

/// A value that a new row cannot have because another row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The id.
    Id,
    /// The slug.
    Slug,
}

impl Taken {
    /// The field's name in requests.
    pub fn field(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Slug => "slug",
        }
    }
}

/// Deliveries, as `d`: `select_deliveries!("from deliveries d where …")`.
macro_rules! select_deliveries {
    ($from:literal) => {
        concat!(
            "select d.id, d.label, d.channel, d.sent_at, d.expires_at, d.expiration_url,
             d.utm_source, d.utm_medium, d.utm_campaign,
                    d.utm_term, d.utm_content, d.origin, d.messages, d.created_at ",
            $from
        )
    };
}
pub(super) use select_deliveries;

/// Links, as `l`: `select_links!("from links l where …")`.
macro_rules! select_links {
    ($from:literal) => {
        concat!(
            "select l.id, l.delivery_id, l.slug, l.url, l.label, l.category, l.ended_at, \
            l.end_url ",
            $from
        )
    };
}
pub(super) use select_links;

impl Store {
    /// One delivery.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn delivery(&self, id: DeliveryId) -> sqlx::Result<Option<Delivery>> {
        let sql = select_deliveries!("from deliveries d where d.id = $1");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)
    }

    /// The first delivery made with a label.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn delivery_by_label(&self, label: &str) -> sqlx::Result<Option<Delivery>> {
        let sql = select_deliveries!(
            "from deliveries d where d.label = $1 order by d.created_at, d.id limit 1"
        );
        both!(self.reader(), pool => sqlx::query_as(sql).bind(label).fetch_optional(pool).await)
    }

    /// Deliveries by descending id; those whose name contains a text, ignoring case, or whose id it
    /// is.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn list_deliveries(
        &self,
        text: Option<&str>,
        wanted: Wanted,
    ) -> sqlx::Result<Part<Delivery>> {
        let sql =
            select_deliveries!("from deliveries d where d.id <= $1 order by d.id desc limit $2");
        let text = comparable(text);
        let read = |until: i64, rows: i64| async move {
            both!(self.reader(), pool => sqlx::query_as(sql).bind(until).bind(rows).fetch_all(pool).await)
        };
        let takes = |delivery: &Delivery| {
            text.as_ref().is_none_or(|text| {
                stands_in(text, [Some(&delivery.label)]) || delivery.id.0.to_string() == *text
            })
        };
        scan(
            wanted,
            text.is_none(),
            read,
            |delivery| delivery.id.0,
            takes,
        )
        .await
    }

    /// Deliveries by ascending id, above `after`.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn deliveries_after(
        &self,
        after: DeliveryId,
        limit: i64,
    ) -> sqlx::Result<Vec<Delivery>> {
        let sql = select_deliveries!("from deliveries d where d.id > $1 order by d.id limit $2");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(after).bind(limit).fetch_all(pool).await)
    }

    /// Links by ascending id, above `after`; of one delivery if given.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn links_after(
        &self,
        after: LinkId,
        delivery: Option<DeliveryId>,
        limit: i64,
    ) -> sqlx::Result<Vec<Link>> {
        let sql = select_links!(
            "from links l where l.id > $1 and ($2 is null or l.delivery_id = $2)
             order by l.id limit $3"
        );
        both!(self.reader(), pool => sqlx::query_as(sql).bind(after).bind(delivery).bind(limit).fetch_all(pool).await)
    }

    /// The links of a delivery, ordered by id.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn links_of(&self, delivery_id: DeliveryId) -> sqlx::Result<Vec<Link>> {
        let sql = select_links!("from links l where l.delivery_id = $1 order by l.id");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(delivery_id).fetch_all(pool).await)
    }
}

impl Tx {
    /// Those of these deliveries that exist.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn known_deliveries(
        &mut self,
        ids: &BTreeSet<DeliveryId>,
    ) -> sqlx::Result<HashSet<DeliveryId>> {
        let known: Vec<DeliveryId> = fetch_bulk!(
            self,
            Bulk::new().big("id", ids.iter().map(|id| id.0)),
            "select d.id from {rows} join deliveries d on d.id = rows.id",
            row => row.try_get::<DeliveryId, _>("id")?
        )?;
        Ok(HashSet::from_iter(known))
    }

    /// Those of these links that exist.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn known_links(&mut self, ids: &BTreeSet<LinkId>) -> sqlx::Result<HashSet<LinkId>> {
        let known: Vec<LinkId> = fetch_bulk!(
            self,
            Bulk::new().big("id", ids.iter().map(|id| id.0)),
            "select l.id from {rows} join links l on l.id = rows.id",
            row => row.try_get::<LinkId, _>("id")?
        )?;
        Ok(HashSet::from_iter(known))
    }

    /// Creates a delivery; its id may be taken.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn create_delivery(
        &mut self,
        new: &NewDelivery,
        now: Micros,
    ) -> sqlx::Result<Result<Delivery, Taken>> {
        let id = self.number("delivery", new.id.map(|id| id.0)).await?;
        let delivery = Delivery::of(DeliveryId(id), new.clone(), now);
        let made = self
            .insert_deliveries(std::slice::from_ref(&delivery), now)
            .await?;
        Ok(if made == 1 {
            Ok(delivery)
        } else {
            Err(Taken::Id)
        })
    }

    /// Creates a link; its id or its slug may be taken.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn create_link(
        &mut self,
        new: NewLink,
        now: Micros,
    ) -> sqlx::Result<Result<Link, Taken>> {
        let id = self.number("link", new.id.map(|id| id.0)).await?;
        let link = Link {
            id: LinkId(id),
            delivery_id: new.delivery_id,
            slug: new.slug,
            url: new.url,
            label: new.label,
            category: new.category,
            ended_at: None,
            end_url: None,
        };
        let made = self.insert_links(std::slice::from_ref(&link), now).await?;
        if made == 1 {
            return Ok(Ok(link));
        }
        let sql = "select count(*) from links where id = $1";
        let same_id: i64 =
            both!(self, c => sqlx::query_scalar(sql).bind(id).fetch_one(&mut **c).await)?;
        Ok(Err(if same_id > 0 { Taken::Id } else { Taken::Slug }))
    }

    /// A delivery, locked for a change until this transaction ends.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delivery_to_change(&mut self, id: DeliveryId) -> sqlx::Result<Option<Delivery>> {
        let sql = match self {
            Either::Postgres(_) => {
                select_deliveries!("from deliveries d where d.id = $1 for update")
            }
            // A transaction that writes is alone.
            Either::Sqlite(_) => select_deliveries!("from deliveries d where d.id = $1"),
        };
        both!(self, c => sqlx::query_as(sql).bind(id).fetch_optional(&mut **c).await)
    }

    /// Writes a changed delivery; its messages are counted elsewhere.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn change_delivery(&mut self, delivery: &Delivery, now: Micros) -> sqlx::Result<()> {
        let sql = "update deliveries set label = $2, channel = $3, sent_at = $4, expires_at = $5,
                   expiration_url = $6,
                   utm_source = $7, utm_medium = $8, utm_campaign = $9, utm_term = $10, utm_content = $11,
                   changed_at = $12 where id = $1";
        let utm = &delivery.utm;
        both!(self, c => sqlx::query(sql)
            .bind(delivery.id)
            .bind(&delivery.label)
            .bind(&delivery.channel)
            .bind(delivery.sent_at)
            .bind(delivery.expires_at)
            .bind(&delivery.expiration_url)
            .bind(&utm.source)
            .bind(&utm.medium)
            .bind(&utm.campaign)
            .bind(&utm.term)
            .bind(&utm.content)
            .bind(now)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Gives a link another destination.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn set_link_url(&mut self, id: LinkId, url: &str, now: Micros) -> sqlx::Result<()> {
        let sql = "update links set url = $2, changed_at = $3 where id = $1";
        both!(self, c => sqlx::query(sql).bind(id.0).bind(url).bind(now).execute(&mut **c).await.map(|_| ()))
    }

    /// The requested number, never assigned from then on, or the next one.
    async fn number(&mut self, counter: &'static str, asked: Option<i64>) -> sqlx::Result<i64> {
        match asked {
            Some(number) => self.reserve_number(counter, number).await.map(|()| number),
            None => self.take_numbers(counter, 1).await,
        }
    }
}

//! What imports read and write: rows by the thousand, looked at before they are written, so that a
//! second import of the same file changes nothing.

use std::collections::HashMap;

use sqlx::{FromRow as _, Row as _};

use super::deliveries::Link;
use super::{Bulk, Tx};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, PageTagKind};
use crate::{execute_bulk, fetch_bulk, from_row};

/// A delivery as an import may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedDelivery {
    /// Campaign.
    pub id: DeliveryId,
    /// Name in reports.
    pub label: String,
    /// When it was sent.
    pub sent_at: Option<Micros>,
    /// From then on its links lead to `expiration_url`.
    pub expires_at: Option<Micros>,
    /// Where they lead then.
    pub expiration_url: Option<String>,
    /// Whose number it is: `adobe`, `mautic`; none: ours.
    pub origin: Option<String>,
}

from_row!(ImportedDelivery, row => { id, label, sent_at, expires_at, expiration_url, origin });

/// A page tag as an import may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedPageTag {
    /// What pages send as `tagid`.
    pub identifier: String,
    /// Name in reports.
    pub label: String,
    /// Page or transaction.
    pub kind: PageTagKind,
    /// The page, for information.
    pub source_url: Option<String>,
    /// Until when it counts.
    pub valid_until: Option<Micros>,
}

from_row!(ImportedPageTag, row => { identifier, label, kind, source_url, valid_until });

impl Tx {
    /// Links that have one of these ids or slugs.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn links_named(&mut self, ids: &[i64], slugs: &[String]) -> sqlx::Result<Vec<Link>> {
        let mut links: Vec<Link> = fetch_bulk!(
            &mut *self,
            Bulk::new().big("id", ids.iter().copied()),
            "select l.id, l.delivery_id, l.slug, l.url, l.label, l.category from {rows} join \
            links l on l.id = rows.id",
            row => Link::from_row(row)?
        )?;
        let by_slug: Vec<Link> = fetch_bulk!(
            &mut *self,
            Bulk::new().text("slug", slugs.iter().cloned()),
            "select l.id, l.delivery_id, l.slug, l.url, l.label, l.category from {rows} join \
            links l on l.slug = rows.slug",
            row => Link::from_row(row)?
        )?;
        links.extend(by_slug);
        Ok(links)
    }

    /// Makes links; returns how many were made. Ids and slugs that others took in the meantime are
    /// left to them.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn insert_links(&mut self, links: &[Link], now: Micros) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            link_columns(links, now),
            "insert into links (id, delivery_id, slug, url, label, category, created_at, changed_at)
             select id, delivery_id, slug, url, label, category, now, now from {rows} where true on conflict do nothing"
        )
    }

    /// Gives links new destinations and names.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn update_links(&mut self, links: &[Link], now: Micros) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            link_columns(links, now),
            "update links set url = rows.url, label = rows.label, category = rows.category, \
            changed_at = rows.now from {rows} where links.id = rows.id"
        )
    }

    /// Deliveries that have one of these ids.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn deliveries_named(
        &mut self,
        ids: impl IntoIterator<Item = i64>,
    ) -> sqlx::Result<HashMap<i64, ImportedDelivery>> {
        let found: Vec<(i64, ImportedDelivery)> = fetch_bulk!(
            self,
            Bulk::new().big("id", ids),
            "select d.id, d.label, d.sent_at, d.expires_at, d.expiration_url, d.origin from \
            {rows} join deliveries d on d.id = rows.id",
            row => (row.try_get("id")?, ImportedDelivery::from_row(row)?)
        )?;
        Ok(found.into_iter().collect())
    }

    /// Makes deliveries; returns how many were made.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn insert_deliveries(
        &mut self,
        deliveries: &[ImportedDelivery],
        now: Micros,
    ) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            delivery_columns(deliveries, now),
            "insert into deliveries (id, label, channel, sent_at, expires_at, expiration_url, origin, messages, created_at, changed_at)
             select id, label, 'email', sent_at, expires_at, expiration_url, origin, 0, now, now from {rows} where true on conflict (id) do nothing"
        )
    }

    /// Changes deliveries.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn update_deliveries(
        &mut self,
        deliveries: &[ImportedDelivery],
        now: Micros,
    ) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            delivery_columns(deliveries, now),
            "update deliveries set label = rows.label, sent_at = rows.sent_at, expires_at = rows.expires_at, expiration_url = rows.expiration_url,
                                   origin = rows.origin, changed_at = rows.now
             from {rows} where deliveries.id = rows.id"
        )
    }

    /// Page tags that have one of these identifiers.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn page_tags_named(
        &mut self,
        identifiers: impl IntoIterator<Item = String>,
    ) -> sqlx::Result<HashMap<String, ImportedPageTag>> {
        let found: Vec<(String, ImportedPageTag)> = fetch_bulk!(
            self,
            Bulk::new().text("identifier", identifiers),
            "select t.identifier, t.label, t.kind, t.source_url, t.valid_until from {rows} join \
            page_tags t on t.identifier = rows.identifier",
            row => (row.try_get("identifier")?, ImportedPageTag::from_row(row)?)
        )?;
        Ok(found.into_iter().collect())
    }

    /// Makes page tags or changes those that are there; their folders stay.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn put_page_tags(
        &mut self,
        tags: &[ImportedPageTag],
        now: Micros,
    ) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            Bulk::new()
                .text("identifier", tags.iter().map(|tag| tag.identifier.clone()))
                .text("label", tags.iter().map(|tag| tag.label.clone()))
                .text("kind", tags.iter().map(|tag| tag.kind.as_str().to_owned()))
                .text_or_null("source_url", tags.iter().map(|tag| tag.source_url.clone()))
                .time_or_null("valid_until", tags.iter().map(|tag| tag.valid_until))
                .time("now", tags.iter().map(|_| now)),
            "insert into page_tags (identifier, label, kind, source_url, valid_until, created_at, changed_at)
             select identifier, label, kind, source_url, valid_until, now, now from {rows} where true
             on conflict (identifier) do update set label = excluded.label, kind = excluded.kind, source_url = excluded.source_url,
                                                    valid_until = excluded.valid_until, changed_at = excluded.changed_at"
        )
    }
}

fn link_columns(links: &[Link], now: Micros) -> Bulk {
    Bulk::new()
        .big("id", links.iter().map(|link| link.id.0))
        .big_or_null(
            "delivery_id",
            links.iter().map(|link| link.delivery_id.map(|id| id.0)),
        )
        .text_or_null("slug", links.iter().map(|link| link.slug.clone()))
        .text("url", links.iter().map(|link| link.url.clone()))
        .text_or_null("label", links.iter().map(|link| link.label.clone()))
        .text_or_null("category", links.iter().map(|link| link.category.clone()))
        .time("now", links.iter().map(|_| now))
}

fn delivery_columns(deliveries: &[ImportedDelivery], now: Micros) -> Bulk {
    Bulk::new()
        .big("id", deliveries.iter().map(|delivery| delivery.id.0))
        .text(
            "label",
            deliveries.iter().map(|delivery| delivery.label.clone()),
        )
        .time_or_null(
            "sent_at",
            deliveries.iter().map(|delivery| delivery.sent_at),
        )
        .time_or_null(
            "expires_at",
            deliveries.iter().map(|delivery| delivery.expires_at),
        )
        .text_or_null(
            "expiration_url",
            deliveries
                .iter()
                .map(|delivery| delivery.expiration_url.clone()),
        )
        .text_or_null(
            "origin",
            deliveries.iter().map(|delivery| delivery.origin.clone()),
        )
        .time("now", deliveries.iter().map(|_| now))
}

//! What imports read and write: rows by the thousand, looked at before they are written, so that a
//! second import of the same file changes nothing.

use std::collections::HashMap;
use std::hash::Hash;

use sqlx::FromRow as _;

use super::deliveries::{Delivery, Link, select_deliveries, select_links};
use super::page_tags::{PageTag, select_page_tags, tag_columns};
use super::{Bulk, Tx};
use crate::model::clock::Micros;
use crate::model::draft::NewPageTag;
use crate::model::hit::Utm;
use crate::{execute_bulk, fetch_bulk};

impl Tx {
    /// Links that have one of these ids or slugs.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn links_named(&mut self, ids: &[i64], slugs: &[String]) -> sqlx::Result<Vec<Link>> {
        let mut links: Vec<Link> = fetch_bulk!(
            &mut *self,
            Bulk::new().big("id", ids.iter().copied()),
            select_links!("from {rows} join links l on l.id = rows.id"),
            row => Link::from_row(row)?
        )?;
        let by_slug: Vec<Link> = fetch_bulk!(
            &mut *self,
            Bulk::new().text("slug", slugs.iter().cloned()),
            select_links!("from {rows} join links l on l.slug = rows.slug"),
            row => Link::from_row(row)?
        )?;
        links.extend(by_slug);
        Ok(links)
    }

    /// Creates links; returns how many. Ids and slugs that were taken meanwhile are left alone.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn insert_links(&mut self, links: &[Link], now: Micros) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            link_columns(links, now),
            "insert into links (id, delivery_id, slug, url, label, category, created_at, changed_at)
             select id, delivery_id, slug, url, label, category, now, now from {rows} where true
             on conflict do nothing"
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
    ) -> sqlx::Result<HashMap<i64, Delivery>> {
        let found: Vec<Delivery> = fetch_bulk!(
            self,
            Bulk::new().big("id", ids),
            select_deliveries!("from {rows} join deliveries d on d.id = rows.id"),
            row => Delivery::from_row(row)?
        )?;
        Ok(by_key(found, |delivery| delivery.id.0))
    }

    /// Creates deliveries without messages; returns how many. Ids that were taken meanwhile are
    /// left alone.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn insert_deliveries(
        &mut self,
        deliveries: &[Delivery],
        now: Micros,
    ) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            delivery_columns(deliveries, now),
            "insert into deliveries (id, label, channel, sent_at, expires_at, expiration_url,
             utm_source, utm_medium, utm_campaign,
                                     utm_term, utm_content, origin, messages, created_at, changed_at)
             select id, label, channel, sent_at, expires_at, expiration_url, utm_source, utm_medium,
             utm_campaign,
                    utm_term, utm_content, origin, 0, now, now
             from {rows} where true on conflict (id) do nothing"
        )
    }

    /// Changes what an import may change in deliveries: name, times, expiry and owner.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn update_deliveries(
        &mut self,
        deliveries: &[Delivery],
        now: Micros,
    ) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            delivery_columns(deliveries, now),
            "update deliveries set label = rows.label, sent_at = rows.sent_at,
             expires_at = rows.expires_at, expiration_url = rows.expiration_url,
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
    ) -> sqlx::Result<HashMap<String, PageTag>> {
        let found: Vec<PageTag> = fetch_bulk!(
            self,
            Bulk::new().text("identifier", identifiers),
            select_page_tags!("from {rows} join page_tags t on t.identifier = rows.identifier"),
            row => PageTag::from_row(row)?
        )?;
        Ok(by_key(found, |tag| tag.identifier.clone()))
    }

    /// Creates page tags or changes existing ones, except for their folders.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn put_page_tags(&mut self, tags: &[NewPageTag], now: Micros) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            tag_columns(tags, now),
            "insert into page_tags (identifier, label, kind, folder, source_url, valid_until,
             created_at, changed_at)
             select identifier, label, kind, folder, source_url, valid_until, now, now from {rows}
             where true
             on conflict (identifier) do update set label = excluded.label, kind = excluded.kind,
             source_url = excluded.source_url,
                                                    valid_until = excluded.valid_until, changed_at = excluded.changed_at"
        )
    }
}

fn by_key<K: Eq + Hash, R>(rows: Vec<R>, key: impl Fn(&R) -> K) -> HashMap<K, R> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
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

fn delivery_columns(deliveries: &[Delivery], now: Micros) -> Bulk {
    let mut columns = Bulk::new()
        .big("id", deliveries.iter().map(|row| row.id.0))
        .text("label", deliveries.iter().map(|row| row.label.clone()))
        .text("channel", deliveries.iter().map(|row| row.channel.clone()))
        .time_or_null("sent_at", deliveries.iter().map(|row| row.sent_at))
        .time_or_null("expires_at", deliveries.iter().map(|row| row.expires_at))
        .text_or_null(
            "expiration_url",
            deliveries.iter().map(|row| row.expiration_url.clone()),
        )
        .text_or_null("origin", deliveries.iter().map(|row| row.origin.clone()))
        .time("now", deliveries.iter().map(|_| now));
    for (slot, name) in Utm::NAMES.into_iter().enumerate() {
        let values = deliveries.iter().map(|row| row.utm.values()[slot].clone());
        columns = columns.text_or_null(name, values);
    }
    columns
}

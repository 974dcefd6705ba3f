//! Deliveries and links, by rising ids: what was sent. A CSV of links is what `import links` reads.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::cell::{Cell, write_csv};
use super::pages::Table;
use super::{Format, write_json};
use crate::model::hit::{DeliveryId, LinkId, Utm};
use crate::store::deliveries::{Delivery, Link};
use crate::store::{Result, Store};

/// Columns of a CSV of deliveries.
const DELIVERY_COLUMNS: [&str; 13] = [
    "id",
    "label",
    "channel",
    "sent_at",
    "expires_at",
    "expiration_url",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "messages",
    "created_at",
];
/// Columns of a CSV of links.
const LINK_COLUMNS: [&str; 6] = ["id", "slug", "url", "label", "category", "delivery_id"];

/// A delivery as people get it: `{id, label, channel, sent_at, expires_at, expiration_url, utm:
/// {…}, messages, created_at}`.
#[derive(Clone, Debug)]
pub struct DeliveryLine(pub Delivery);

/// The campaign parameters that there are, without `utm_` before their names.
struct UtmValues<'u>(&'u Utm);

impl Serialize for UtmValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in [
            ("source", &self.0.source),
            ("medium", &self.0.medium),
            ("campaign", &self.0.campaign),
            ("term", &self.0.term),
            ("content", &self.0.content),
        ] {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

impl Serialize for DeliveryLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let delivery = &self.0;
        let mut map = serializer.serialize_map(Some(9))?;
        map.serialize_entry("id", &Cell::Number(delivery.id.0))?;
        map.serialize_entry("label", &delivery.label)?;
        map.serialize_entry("channel", &delivery.channel)?;
        map.serialize_entry("sent_at", &Cell::time(delivery.sent_at))?;
        map.serialize_entry("expires_at", &Cell::time(delivery.expires_at))?;
        map.serialize_entry("expiration_url", &delivery.expiration_url)?;
        map.serialize_entry("utm", &UtmValues(&delivery.utm))?;
        map.serialize_entry("messages", &delivery.messages)?;
        map.serialize_entry("created_at", &Cell::Time(delivery.created_at))?;
        map.end()
    }
}

impl DeliveryLine {
    fn write_csv(&self, out: &mut Vec<u8>) {
        let delivery = &self.0;
        let cells: [Cell<'_>; DELIVERY_COLUMNS.len()] = [
            Cell::Number(delivery.id.0),
            Cell::Text(&delivery.label),
            Cell::Text(&delivery.channel),
            Cell::time(delivery.sent_at),
            Cell::time(delivery.expires_at),
            Cell::text(&delivery.expiration_url),
            Cell::text(&delivery.utm.source),
            Cell::text(&delivery.utm.medium),
            Cell::text(&delivery.utm.campaign),
            Cell::text(&delivery.utm.term),
            Cell::text(&delivery.utm.content),
            Cell::Number(delivery.messages),
            Cell::Time(delivery.created_at),
        ];
        write_csv(cells, out);
    }
}

/// A link as people get it: `{id, delivery_id?, slug?, short_url?, url, label?, category?}`.
#[derive(Clone, Debug)]
pub struct LinkLine {
    link: Link,
    short_url: Option<String>,
}

impl LinkLine {
    /// `base_url` without a slash at its end, `path` as in `paths.redirect`.
    pub fn at(link: Link, base_url: &str, path: &str) -> Self {
        let short_url = link
            .slug
            .as_ref()
            .map(|slug| format!("{base_url}{path}/{slug}"));
        Self { link, short_url }
    }

    fn write_csv(&self, out: &mut Vec<u8>) {
        let link = &self.link;
        let cells: [Cell<'_>; LINK_COLUMNS.len()] = [
            Cell::Number(link.id.0),
            Cell::text(&link.slug),
            Cell::Text(&link.url),
            Cell::text(&link.label),
            Cell::text(&link.category),
            Cell::number(link.delivery_id.map(|id| id.0)),
        ];
        write_csv(cells, out);
    }
}

impl Serialize for LinkLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let link = &self.link;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &Cell::Number(link.id.0))?;
        if let Some(id) = link.delivery_id {
            map.serialize_entry("delivery_id", &Cell::Number(id.0))?;
        }
        if let Some(slug) = &link.slug {
            map.serialize_entry("slug", slug)?;
        }
        if let Some(url) = &self.short_url {
            map.serialize_entry("short_url", url)?;
        }
        map.serialize_entry("url", &link.url)?;
        if let Some(label) = &link.label {
            map.serialize_entry("label", label)?;
        }
        if let Some(category) = &link.category {
            map.serialize_entry("category", category)?;
        }
        map.end()
    }
}

/// All deliveries.
#[derive(Debug)]
pub struct Deliveries {
    /// Where they are.
    pub store: Store,
}

impl Table for Deliveries {
    type Row = Delivery;
    type Key = DeliveryId;

    async fn rows_after(&self, after: Option<DeliveryId>, most: i64) -> Result<Vec<Delivery>> {
        let after = after.unwrap_or(DeliveryId(i64::MIN));
        self.store.deliveries_after(after, most).await
    }

    fn key(delivery: &Delivery) -> DeliveryId {
        delivery.id
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        write_csv(DELIVERY_COLUMNS.map(Cell::Text), out);
    }

    fn write_row(&self, delivery: Delivery, format: Format, out: &mut Vec<u8>) {
        let line = DeliveryLine(delivery);
        match format {
            Format::Ndjson => write_json(&line, out),
            Format::Csv => line.write_csv(out),
        }
    }
}

/// All links.
#[derive(Debug)]
pub struct Links {
    /// Where they are.
    pub store: Store,
    /// Only those of this delivery.
    pub delivery: Option<DeliveryId>,
    /// As in [`LinkLine::at`].
    pub base_url: String,
    /// As in [`LinkLine::at`].
    pub path: String,
}

impl Table for Links {
    type Row = Link;
    type Key = LinkId;

    async fn rows_after(&self, after: Option<LinkId>, most: i64) -> Result<Vec<Link>> {
        let after = after.unwrap_or(LinkId(i64::MIN));
        self.store.links_after(after, self.delivery, most).await
    }

    fn key(link: &Link) -> LinkId {
        link.id
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        write_csv(LINK_COLUMNS.map(Cell::Text), out);
    }

    fn write_row(&self, link: Link, format: Format, out: &mut Vec<u8>) {
        let line = LinkLine::at(link, &self.base_url, &self.path);
        match format {
            Format::Ndjson => write_json(&line, out),
            Format::Csv => line.write_csv(out),
        }
    }
}

//! Deliveries and links, by rising ids: what was sent. A CSV of links is what `import links` reads.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::cell::{Cell, write_csv};
use super::{Format, PAGE, write_json};
use crate::hit::{DeliveryId, LinkId, Utm};
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

/// A delivery as people get it: `{id, label, channel, sent_at, expires_at, expiration_url, utm: {…}, messages, created_at}`.
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

/// How far an export of deliveries is.
#[derive(Debug)]
pub struct DeliveryStream {
    store: Store,
    format: Format,
    /// The last one told; none: no line yet.
    after: Option<DeliveryId>,
    told: u64,
    is_done: bool,
}

impl DeliveryStream {
    /// From the lowest id on.
    pub fn new(store: Store, format: Format) -> Self {
        Self {
            store,
            format,
            after: None,
            told: 0,
            is_done: false,
        }
    }

    /// Deliveries told so far.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// The next lines; none after the last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_done {
            return Ok(None);
        }
        let mut chunk = begin(self.format, self.after.is_none(), &DELIVERY_COLUMNS);
        let after = self.after.unwrap_or(DeliveryId(i64::MIN));
        let deliveries = self.store.deliveries_after(after, PAGE).await?;
        self.told += deliveries.len() as u64;
        self.after = deliveries.last().map(|delivery| delivery.id).or(self.after);
        self.is_done = (deliveries.len() as i64) < PAGE;
        for line in deliveries.into_iter().map(DeliveryLine) {
            match self.format {
                Format::Ndjson => write_json(&line, &mut chunk),
                Format::Csv => line.write_csv(&mut chunk),
            }
        }
        Ok(Some(chunk))
    }
}

/// How far an export of links is.
#[derive(Debug)]
pub struct LinkStream {
    store: Store,
    format: Format,
    delivery: Option<DeliveryId>,
    base_url: String,
    path: String,
    /// The last one told; none: no line yet.
    after: Option<LinkId>,
    told: u64,
    is_done: bool,
}

impl LinkStream {
    /// From the lowest id on; those of one delivery where it is named. `base_url` and `path` as in [`LinkLine::at`].
    pub fn new(
        store: Store,
        format: Format,
        delivery: Option<DeliveryId>,
        base_url: String,
        path: String,
    ) -> Self {
        Self {
            store,
            format,
            delivery,
            base_url,
            path,
            after: None,
            told: 0,
            is_done: false,
        }
    }

    /// Links told so far.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// The next lines; none after the last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_done {
            return Ok(None);
        }
        let mut chunk = begin(self.format, self.after.is_none(), &LINK_COLUMNS);
        let after = self.after.unwrap_or(LinkId(i64::MIN));
        let links = self.store.links_after(after, self.delivery, PAGE).await?;
        self.told += links.len() as u64;
        self.after = links.last().map(|link| link.id).or(self.after);
        self.is_done = (links.len() as i64) < PAGE;
        for link in links {
            let line = LinkLine::at(link, &self.base_url, &self.path);
            match self.format {
                Format::Ndjson => write_json(&line, &mut chunk),
                Format::Csv => line.write_csv(&mut chunk),
            }
        }
        Ok(Some(chunk))
    }
}

fn begin(format: Format, is_first: bool, columns: &[&str]) -> Vec<u8> {
    match format {
        Format::Csv if is_first => (columns.join(",") + "\n").into_bytes(),
        _ => Vec::new(),
    }
}

//! Deliveries and links, by rising ids: what was sent. A CSV of links is what `import links` reads.

use super::cell::{Cell, write_csv};
use super::pages::Table;
use super::{Format, write_json};
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::site::Site;
use crate::operator::wire::{Delivery, Link, LinkView};
use crate::store::{Result, Store};

/// A column of a CSV: its name, and its cell of a row.
type Column<R> = (&'static str, for<'r> fn(&'r R) -> Cell<'r>);

const DELIVERY_COLUMNS: [Column<Delivery>; 13] = [
    ("id", |delivery| Cell::Number(delivery.id.0)),
    ("label", |delivery| Cell::Text(&delivery.label)),
    ("channel", |delivery| Cell::Text(&delivery.channel)),
    ("sent_at", |delivery| Cell::time(delivery.sent_at)),
    ("expires_at", |delivery| Cell::time(delivery.expires_at)),
    ("expiration_url", |delivery| {
        Cell::text(&delivery.expiration_url)
    }),
    ("utm_source", |delivery| Cell::text(&delivery.utm.source)),
    ("utm_medium", |delivery| Cell::text(&delivery.utm.medium)),
    ("utm_campaign", |delivery| {
        Cell::text(&delivery.utm.campaign)
    }),
    ("utm_term", |delivery| Cell::text(&delivery.utm.term)),
    ("utm_content", |delivery| Cell::text(&delivery.utm.content)),
    ("messages", |delivery| Cell::Number(delivery.messages)),
    ("created_at", |delivery| Cell::Time(delivery.created_at)),
];

const LINK_COLUMNS: [Column<Link>; 6] = [
    ("id", |link| Cell::Number(link.id.0)),
    ("slug", |link| Cell::text(&link.slug)),
    ("url", |link| Cell::Text(&link.url)),
    ("label", |link| Cell::text(&link.label)),
    ("category", |link| Cell::text(&link.category)),
    ("delivery_id", |link| {
        Cell::number(link.delivery_id.map(|id| id.0))
    }),
];

fn write_names<R>(columns: &[Column<R>], out: &mut Vec<u8>) {
    write_csv(columns.iter().map(|(name, _)| Cell::Text(name)), out);
}

fn write_cells<R>(columns: &[Column<R>], row: &R, out: &mut Vec<u8>) {
    write_csv(columns.iter().map(|(_, cell)| cell(row)), out);
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
        write_names(&DELIVERY_COLUMNS, out);
    }

    fn write_row(&self, delivery: Delivery, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Ndjson => write_json(&delivery, out),
            Format::Csv => write_cells(&DELIVERY_COLUMNS, &delivery, out),
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
    /// Where they are served.
    pub site: Site,
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
        write_names(&LINK_COLUMNS, out);
    }

    fn write_row(&self, link: Link, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Ndjson => {
                write_json(&LinkView::at(link, &self.site), out);
            }
            Format::Csv => write_cells(&LINK_COLUMNS, &link, out),
        }
    }
}

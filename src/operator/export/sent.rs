//! Deliveries and links, by rising ids: what was sent. A CSV of links is what `import links` reads.

use super::cell::{Cell, write_csv};
use super::pages::Table;
use super::write_json;
use crate::model::hit::{DeliveryId, LinkId, Utm};
use crate::model::site::Site;
use crate::operator::wire::{Delivery, Link, LinkView};
use crate::store::{Result, Store};

/// A CSV column: its name, and its cell for a row.
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
    (Utm::NAMES[0], utm::<0>),
    (Utm::NAMES[1], utm::<1>),
    (Utm::NAMES[2], utm::<2>),
    (Utm::NAMES[3], utm::<3>),
    (Utm::NAMES[4], utm::<4>),
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

fn utm<const SLOT: usize>(delivery: &Delivery) -> Cell<'_> {
    Cell::text(delivery.utm.values()[SLOT])
}

fn write_names<R>(columns: &[Column<R>], out: &mut Vec<u8>) {
    write_csv(columns.iter().map(|(name, _)| Cell::Text(name)), out);
}

fn write_columns<R>(columns: &[Column<R>], row: &R, out: &mut Vec<u8>) {
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
    const START: DeliveryId = DeliveryId(i64::MIN);

    async fn rows_after(&self, after: DeliveryId, most: i64) -> Result<Vec<Delivery>> {
        self.store.deliveries_after(after, most).await
    }

    fn key(delivery: &Delivery) -> DeliveryId {
        delivery.id
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        write_names(&DELIVERY_COLUMNS, out);
    }

    fn write_cells(&self, delivery: &Delivery, out: &mut Vec<u8>) {
        write_columns(&DELIVERY_COLUMNS, delivery, out);
    }

    fn write_object(&self, delivery: Delivery, out: &mut Vec<u8>) {
        write_json(&delivery, out);
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
    const START: LinkId = LinkId(i64::MIN);

    async fn rows_after(&self, after: LinkId, most: i64) -> Result<Vec<Link>> {
        self.store.links_after(after, self.delivery, most).await
    }

    fn key(link: &Link) -> LinkId {
        link.id
    }

    fn write_header(&self, out: &mut Vec<u8>) {
        write_names(&LINK_COLUMNS, out);
    }

    fn write_cells(&self, link: &Link, out: &mut Vec<u8>) {
        write_columns(&LINK_COLUMNS, link, out);
    }

    fn write_object(&self, link: Link, out: &mut Vec<u8>) {
        write_json(&LinkView::at(link, &self.site), out);
    }
}

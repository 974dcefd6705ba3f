//! Figures of a message. Nobody else counts the same message at the same time, so its rows are
//! read, added to and written back whole.

use std::collections::BTreeMap;

use sqlx::{FromRow as _, Row as _};

use super::books::{Books, Sales, book_columns};
use super::{Booking, Place};
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId, Hit, Kind};
use crate::store::{Bulk, Tx, Writes};
use crate::{execute_bulk, fetch_bulk, from_row};

/// A message and a currency; the row without one has the non-monetary counts.
type MessageKey = (i64, String);

/// Figures of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MessageFigures {
    delivery_id: i64,
    first_open_at: Option<Micros>,
    first_click_at: Option<Micros>,
    opens: i64,
    clicks: i64,
    pages: i64,
    books: Books,
}

from_row!(MessageFigures, row => {
    delivery_id, first_open_at, first_click_at, opens, clicks, pages,
} { books: Books::default() });

/// A row of a message.
#[derive(Clone, Copy, Debug, Default)]
struct MessageRow {
    figures: MessageFigures,
    /// The database has it.
    is_stored: bool,
    /// Counts changed: times, opens, clicks or pages differ.
    is_counted: bool,
    /// Bookings changed: the books differ. If nothing is booked in a row, its books are not even
    /// read.
    is_booked: bool,
}

impl MessageRow {
    fn new(delivery_id: i64) -> Self {
        Self {
            figures: MessageFigures {
                delivery_id,
                ..MessageFigures::default()
            },
            ..Self::default()
        }
    }

    fn stored(figures: MessageFigures) -> Self {
        Self {
            figures,
            is_stored: true,
            ..Self::default()
        }
    }
}

/// The messages that a batch of hits adds something to.
#[derive(Debug, Default)]
pub(super) struct Messages {
    rows: BTreeMap<MessageKey, MessageRow>,
}

impl Messages {
    /// Existing rows of the hits to be counted and of the places to be booked. Nothing may be
    /// booked elsewhere: the books of other rows are not read.
    pub(super) async fn load<'b>(
        tx: &mut Tx,
        hits: &[&Hit],
        bookings: impl Iterator<Item = &'b Booking>,
    ) -> sqlx::Result<Self> {
        let mut booked: Vec<i64> = bookings.map(|booking| booking.place.broadlog).collect();
        let mut counted = Vec::with_capacity(hits.len());
        for hit in hits.iter().filter(|hit| hit.verdict.counts()) {
            let Some(id) = hit.broadlog_id else { continue };
            match hit.kind {
                // Whether it is the message's first order stands in the books.
                Kind::Transaction => booked.push(id.0),
                _ => counted.push(id.0),
            }
        }
        for ids in [&mut booked, &mut counted] {
            ids.sort_unstable();
            ids.dedup();
        }
        booked.retain(|id| *id != 0);
        counted.retain(|id| booked.binary_search(id).is_err());
        // Nearly all messages have no money: half the columns, and no row for a currency.
        let without_money: Vec<(MessageKey, MessageRow)> = fetch_bulk!(
            &mut *tx,
            Bulk::new().big("id", counted),
            "select f.broadlog_id, f.delivery_id, f.first_open_at, f.first_click_at, f.opens, f.clicks, f.pages
             from {rows} join broadlog_figures f on f.broadlog_id = rows.id and f.currency = ''",
            row => (
                (row.try_get("broadlog_id")?, String::new()),
                MessageRow::stored(MessageFigures::from_row(row)?),
            )
        )?;
        let with_money = fetch_bulk!(
            tx,
            Bulk::new().big("id", booked),
            concat!(
                "select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, ",
                book_columns!(),
                " from {rows} join broadlog_figures f on f.broadlog_id = rows.id"
            ),
            row => (
                (row.try_get("broadlog_id")?, row.try_get("currency")?),
                MessageRow::stored(MessageFigures {
                    books: Books::from_row(row)?,
                    ..MessageFigures::from_row(row)?
                }),
            )
        )?;
        Ok(Self {
            rows: without_money.into_iter().chain(with_money).collect(),
        })
    }

    /// Counts a hit of a message. Returns whether it is the message's first hit, and its first of
    /// this kind.
    pub(super) fn add(
        &mut self,
        id: BroadlogId,
        delivery: Option<DeliveryId>,
        kind: Kind,
        at: Micros,
        is_order: bool,
    ) -> (bool, bool) {
        let mut is_new = false;
        let row = self.rows.entry((id.0, String::new())).or_insert_with(|| {
            is_new = true;
            MessageRow::new(delivery.map_or(0, |id| id.0))
        });
        row.is_counted |= matches!(kind, Kind::Open | Kind::Click | Kind::Pageview);
        let message = &mut row.figures;
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
            // Its order is booked after this.
            Kind::Transaction => {
                let books = &message.books;
                is_order && books.proved.transactions + books.apart.transactions == 0
            }
            Kind::Event | Kind::Form | Kind::Optout | Kind::Mirror => false,
        };
        (is_new, is_first)
    }

    /// Books what a purchase of a message earns.
    pub(super) fn book(&mut self, place: &Place, sales: Sales) {
        if place.broadlog == 0 || place.kind != Kind::Transaction {
            return;
        }
        let mut add = |currency: &str, sales: Sales| {
            if sales != Sales::default() {
                let key = (place.broadlog, currency.to_owned());
                let row = self.rows.entry(key);
                let row = row.or_insert_with(|| MessageRow::new(place.delivery));
                row.is_booked = true;
                *row.figures.books.of(place.is_proved) += sales;
            }
        };
        // Orders stand in the row without a currency, money in a row for each.
        add(
            "",
            Sales {
                transactions: sales.transactions,
                ..Sales::default()
            },
        );
        add(
            &place.currency,
            Sales {
                transactions: 0,
                ..sales
            },
        );
    }

    /// Writes new and changed rows, in the order of their keys. Those without money, which nearly
    /// all are, separately: half the values. And new ones apart from changed ones: an upsert would
    /// look each row up once more.
    pub(super) async fn save(&self, tx: &mut Tx, writes: &mut Writes) -> sqlx::Result<()> {
        let rows = self.rows_to_write();
        let sql = "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, quantity)
             select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, 0, 0, 0
             from {rows} where true";
        writes.add(tx, rows.new, sql).await?;
        let sql = concat!(
                "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, ",
                book_columns!(),
                ") select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, ",
                book_columns!(),
                " from {rows} where true"
            );
        writes.add(tx, rows.new_with_books, sql).await?;
        let sql = "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id and broadlog_figures.currency = rows.currency";
        writes.add(tx, rows.changed, sql).await?;
        let sql = "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages, transactions = rows.transactions, revenue = rows.revenue, revenue_carry = rows.revenue_carry,
                 quantity = rows.quantity, unproved_transactions = rows.unproved_transactions, unproved_revenue = rows.unproved_revenue,
                 unproved_carry = rows.unproved_carry, unproved_quantity = rows.unproved_quantity
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id and broadlog_figures.currency = rows.currency";
        writes.add(tx, rows.changed_with_books, sql).await?;
        Ok(())
    }

    /// Rows that the database lacks, and those that differ.
    fn rows_to_write(&self) -> RowsToWrite {
        let mut rows: [Vec<(&MessageKey, &MessageFigures)>; 4] = Default::default();
        let [new, new_with_books, changed, changed_with_books] = &mut rows;
        for (key, row) in &self.rows {
            let rows = match (row.is_stored, row.is_booked) {
                (false, _) if row.figures.books.is_empty() => &mut *new,
                (false, _) => &mut *new_with_books,
                (true, true) => &mut *changed_with_books,
                (true, false) if row.is_counted => &mut *changed,
                (true, false) => continue,
            };
            rows.push((key, &row.figures));
        }
        let bulk = |rows: &[(&MessageKey, &MessageFigures)]| {
            let of = || rows.iter().copied();
            Bulk::new()
                .big("broadlog_id", of().map(|(key, _)| key.0))
                .text("currency", of().map(|(key, _)| key.1.clone()))
                .big("delivery_id", of().map(|(_, row)| row.delivery_id))
                .time_or_null("first_open_at", of().map(|(_, row)| row.first_open_at))
                .time_or_null("first_click_at", of().map(|(_, row)| row.first_click_at))
                .big("opens", of().map(|(_, row)| row.opens))
                .big("clicks", of().map(|(_, row)| row.clicks))
                .big("pages", of().map(|(_, row)| row.pages))
        };
        let whole = |rows: &[(&MessageKey, &MessageFigures)]| {
            Books::add_columns(bulk(rows), rows.iter().map(|(_, row)| row.books))
        };
        RowsToWrite {
            new: bulk(new),
            new_with_books: whole(new_with_books),
            changed: bulk(changed),
            changed_with_books: whole(changed_with_books),
        }
    }
}

/// Rows to write.
struct RowsToWrite {
    new: Bulk,
    new_with_books: Bulk,
    changed: Bulk,
    changed_with_books: Bulk,
}

/// What to add to a message, and its new first times.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageRepair {
    pub(super) delivery_id: i64,
    pub(super) opens: i64,
    pub(super) clicks: i64,
    pub(super) pages: i64,
    pub(super) first_open_at: Option<Micros>,
    pub(super) first_click_at: Option<Micros>,
}

/// Adds what a recount found.
pub(super) async fn repair(
    tx: &mut Tx,
    messages: &BTreeMap<i64, MessageRepair>,
) -> sqlx::Result<()> {
    let of = || messages.values();
    execute_bulk!(
        tx,
        Bulk::new()
            .big("broadlog_id", messages.keys().copied())
            .big("delivery_id", of().map(|row| row.delivery_id))
            .time_or_null("first_open_at", of().map(|row| row.first_open_at))
            .time_or_null("first_click_at", of().map(|row| row.first_click_at))
            .big("opens", of().map(|row| row.opens))
            .big("clicks", of().map(|row| row.clicks))
            .big("pages", of().map(|row| row.pages)),
        "insert into broadlog_figures
             (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, quantity)
         select broadlog_id, '', delivery_id, first_open_at, first_click_at, opens, clicks, pages, 0, 0, 0
         from {rows} where true
         on conflict (broadlog_id, currency) do update set
             first_open_at = excluded.first_open_at, first_click_at = excluded.first_click_at,
             opens = broadlog_figures.opens + excluded.opens, clicks = broadlog_figures.clicks + excluded.clicks,
             pages = broadlog_figures.pages + excluded.pages"
    )
    .map(|_| ())
}

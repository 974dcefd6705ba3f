//! Figures of a message. Nobody else counts the same message at the same time, so its rows are
//! read, added to and written back whole.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{FromRow as _, Row as _};

use super::books::{Books, Sales, book_columns};
use super::listed::Listed;
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
#[derive(Clone, Debug, Default)]
struct MessageRow {
    figures: MessageFigures,
    /// The hits that it counts; only the row without a currency has them.
    listed: Listed,
    /// The database has it.
    is_stored: bool,
    /// Counts changed: times, opens, clicks, pages or the list differ.
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

    fn stored(figures: MessageFigures, listed: Option<Vec<u8>>) -> Self {
        Self {
            figures,
            listed: Listed::stored(listed),
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
            "select f.broadlog_id, f.delivery_id, f.first_open_at, f.first_click_at, f.opens,
             f.clicks, f.pages, f.hits
             from {rows} join broadlog_figures f on f.broadlog_id = rows.id and f.currency = ''",
            row => (
                (row.try_get("broadlog_id")?, String::new()),
                MessageRow::stored(MessageFigures::from_row(row)?, row.try_get("hits")?),
            )
        )?;
        let with_money = fetch_bulk!(
            tx,
            Bulk::new().big("id", booked),
            concat!(
                "select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens,
                 clicks, pages, hits, ",
                book_columns!(),
                " from {rows} join broadlog_figures f on f.broadlog_id = rows.id"
            ),
            row => (
                (row.try_get("broadlog_id")?, row.try_get("currency")?),
                MessageRow::stored(
                    MessageFigures {
                        books: Books::from_row(row)?,
                        ..MessageFigures::from_row(row)?
                    },
                    row.try_get("hits")?,
                ),
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
        seq: i64,
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
        row.is_counted = true;
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
        row.listed.push(seq, is_new || is_first);
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
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, hits, transactions, revenue, quantity)
             select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens,
             clicks, pages, hits, 0, 0, 0
             from {rows} where true";
        writes.add(tx, rows.new, sql).await?;
        let sql = concat!(
                "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, hits, ",
                book_columns!(),
                ") select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens,
                 clicks, pages, hits, ",
                book_columns!(),
                " from {rows} where true"
            );
        writes.add(tx, rows.new_with_books, sql).await?;
        let sql = "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages, hits = rows.hits
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id
             and broadlog_figures.currency = rows.currency";
        writes.add(tx, rows.changed, sql).await?;
        let sql = "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages, hits = rows.hits, transactions = rows.transactions, revenue = rows.revenue, revenue_carry = rows.revenue_carry,
                 quantity = rows.quantity, unproved_transactions = rows.unproved_transactions, unproved_revenue = rows.unproved_revenue,
                 unproved_carry = rows.unproved_carry, unproved_quantity = rows.unproved_quantity
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id
             and broadlog_figures.currency = rows.currency";
        writes.add(tx, rows.changed_with_books, sql).await?;
        Ok(())
    }

    /// Rows that the database lacks, and those that differ.
    fn rows_to_write(&self) -> RowsToWrite {
        let mut rows: [Vec<(&MessageKey, &MessageRow)>; 4] = Default::default();
        let [new, new_with_books, changed, changed_with_books] = &mut rows;
        for (key, row) in &self.rows {
            let rows = match (row.is_stored, row.is_booked) {
                (false, _) if row.figures.books.is_empty() => &mut *new,
                (false, _) => &mut *new_with_books,
                (true, true) => &mut *changed_with_books,
                (true, false) if row.is_counted => &mut *changed,
                (true, false) => continue,
            };
            rows.push((key, row));
        }
        let bulk = |rows: &[(&MessageKey, &MessageRow)]| {
            let listed = rows.iter().map(|(_, row)| row.listed.bytes());
            let of = || rows.iter().map(|(key, row)| (key, &row.figures));
            Bulk::new()
                .big("broadlog_id", of().map(|(key, _)| key.0))
                .text("currency", of().map(|(key, _)| key.1.clone()))
                .big("delivery_id", of().map(|(_, row)| row.delivery_id))
                .time_or_null("first_open_at", of().map(|(_, row)| row.first_open_at))
                .time_or_null("first_click_at", of().map(|(_, row)| row.first_click_at))
                .big("opens", of().map(|(_, row)| row.opens))
                .big("clicks", of().map(|(_, row)| row.clicks))
                .big("pages", of().map(|(_, row)| row.pages))
                .bytes("hits", listed)
        };
        let whole = |rows: &[(&MessageKey, &MessageRow)]| {
            let books = rows.iter().map(|(_, row)| row.figures.books);
            Books::add_columns(bulk(rows), books)
        };
        RowsToWrite {
            new: bulk(new),
            new_with_books: whole(new_with_books),
            changed: bulk(changed),
            changed_with_books: whole(changed_with_books),
        }
    }
}

/// The non-monetary figures of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StoredMessage {
    pub(super) delivery_id: i64,
    pub(super) first_open_at: Option<Micros>,
    pub(super) first_click_at: Option<Micros>,
    pub(super) opens: i64,
    pub(super) clicks: i64,
    pub(super) pages: i64,
    /// Orders, wherever their money is booked.
    pub(super) orders: i64,
    pub(super) listed: Listed,
}

impl Messages {
    /// What the database has of messages, as far as it has them.
    pub(super) async fn stored(
        tx: &mut Tx,
        ids: &BTreeSet<i64>,
    ) -> sqlx::Result<BTreeMap<i64, StoredMessage>> {
        let rows = fetch_bulk!(
            tx,
            Bulk::new().big("id", ids.iter().copied()),
            "select f.broadlog_id, f.delivery_id, f.first_open_at, f.first_click_at, f.opens,
             f.clicks, f.pages, f.hits,
                    f.transactions + f.unproved_transactions as orders
             from {rows} join broadlog_figures f on f.broadlog_id = rows.id and f.currency = ''",
            row => {
                let MessageFigures {
                    delivery_id, first_open_at, first_click_at, opens, clicks, pages, ..
                } = MessageFigures::from_row(row)?;
                let (orders, listed) = (row.try_get("orders")?, row.try_get("hits")?);
                let listed = Listed::stored(listed);
                let message = StoredMessage {
                    delivery_id, first_open_at, first_click_at, opens, clicks, pages, orders, listed,
                };
                (row.try_get("broadlog_id")?, message)
            }
        )?;
        Ok(rows.into_iter().collect())
    }

    /// Begins a message with what was counted of it by hits that nobody knows: opens, clicks,
    /// pages, orders.
    pub(super) fn begin(&mut self, id: i64, delivery_id: i64, counts: [i64; 4]) {
        let mut row = MessageRow::new(delivery_id);
        let figures = &mut row.figures;
        [figures.opens, figures.clicks, figures.pages, _] = counts;
        figures.books.proved.transactions = counts[3];
        row.listed = Listed::unknown();
        self.rows.insert((id, String::new()), row);
    }

    /// Counts an order, without its money.
    pub(super) fn add_order(&mut self, id: BroadlogId) {
        if let Some(row) = self.rows.get_mut(&(id.0, String::new())) {
            row.figures.books.proved.transactions += 1;
        }
    }

    /// Ends a message's list: what is counted from now on comes behind what nobody knows.
    pub(super) fn end_list(&mut self, id: i64) {
        if let Some(row) = self.rows.get_mut(&(id, String::new())) {
            row.listed.set_lacks_later();
        }
    }

    /// The figures of a message.
    pub(super) fn row(&self, id: i64) -> StoredMessage {
        let Some(row) = self.rows.get(&(id, String::new())) else {
            return StoredMessage::default();
        };
        let figures = row.figures;
        StoredMessage {
            delivery_id: figures.delivery_id,
            first_open_at: figures.first_open_at,
            first_click_at: figures.first_click_at,
            opens: figures.opens,
            clicks: figures.clicks,
            pages: figures.pages,
            orders: figures.books.proved.transactions,
            listed: row.listed.clone(),
        }
    }

    /// Puts figures in the place of those that messages have; their money stays. A message of
    /// which nothing is left goes.
    pub(super) async fn replace(
        tx: &mut Tx,
        messages: &BTreeMap<i64, StoredMessage>,
    ) -> sqlx::Result<()> {
        let is_empty = |row: &StoredMessage| row.listed == Listed::default();
        let empty = messages.iter().filter(|(_, row)| is_empty(row));
        let empty: Vec<i64> = empty.map(|(id, _)| *id).collect();
        let of = || messages.values();
        execute_bulk!(
            &mut *tx,
            Bulk::new()
                .big("broadlog_id", messages.keys().copied())
                .big("delivery_id", of().map(|row| row.delivery_id))
                .time_or_null("first_open_at", of().map(|row| row.first_open_at))
                .time_or_null("first_click_at", of().map(|row| row.first_click_at))
                .big("opens", of().map(|row| row.opens))
                .big("clicks", of().map(|row| row.clicks))
                .big("pages", of().map(|row| row.pages))
                .bytes("hits", of().map(|row| row.listed.bytes())),
            "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, hits, transactions, revenue, quantity)
             select broadlog_id, '', delivery_id, first_open_at, first_click_at, opens, clicks,
             pages, hits, 0, 0, 0
             from {rows} where true
             on conflict (broadlog_id, currency) do update set
                 first_open_at = excluded.first_open_at, first_click_at = excluded.first_click_at,
                 opens = excluded.opens, clicks = excluded.clicks, pages = excluded.pages, hits = excluded.hits"
        )?;
        execute_bulk!(
            tx,
            Bulk::new().big("id", empty),
            "delete from broadlog_figures where broadlog_id in (select rows.id from {rows})
             and currency = ''
                 and transactions = 0 and revenue = 0 and revenue_carry = 0 and quantity = 0
                 and unproved_transactions = 0 and unproved_revenue = 0 and unproved_carry = 0
                 and unproved_quantity = 0"
        )
        .map(|_| ())
    }
}

/// Rows to write.
struct RowsToWrite {
    new: Bulk,
    new_with_books: Bulk,
    changed: Bulk,
    changed_with_books: Bulk,
}

/// What to add to a message, its new first times, and its list as it was and as it should be.
#[derive(Clone, Debug)]
pub(super) struct MessageRepair {
    pub(super) delivery_id: i64,
    pub(super) opens: i64,
    pub(super) clicks: i64,
    pub(super) pages: i64,
    pub(super) first_open_at: Option<Micros>,
    pub(super) first_click_at: Option<Micros>,
    pub(super) kept: Listed,
    pub(super) right: Listed,
}

/// Adds what a recount found.
pub(super) async fn repair(
    tx: &mut Tx,
    messages: &BTreeMap<i64, MessageRepair>,
) -> sqlx::Result<()> {
    let now: BTreeMap<i64, Listed> = fetch_bulk!(
        &mut *tx,
        Bulk::new().big("id", messages.keys().copied()),
        "select f.broadlog_id, f.hits from {rows} join broadlog_figures f on f.broadlog_id = rows.id
         and f.currency = ''",
        row => (row.try_get("broadlog_id")?, Listed::stored(row.try_get("hits")?))
    )?
    .into_iter()
    .collect();
    let listed = messages.iter().map(|(id, row)| match now.get(id) {
        Some(now) => row.right.and_new(&row.kept, now).bytes(),
        None => row.right.bytes(),
    });
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
            .big("pages", of().map(|row| row.pages))
            .bytes("hits", listed),
        "insert into broadlog_figures
             (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, hits, transactions, revenue, quantity)
         select broadlog_id, '', delivery_id, first_open_at, first_click_at, opens, clicks, pages,
         hits, 0, 0, 0
         from {rows} where true
         on conflict (broadlog_id, currency) do update set
             first_open_at = excluded.first_open_at, first_click_at = excluded.first_click_at,
             opens = broadlog_figures.opens + excluded.opens, clicks = broadlog_figures.clicks + excluded.clicks,
             pages = broadlog_figures.pages + excluded.pages, hits = excluded.hits"
    )
    .map(|_| ())
}

//! Reading and writing the figures' rows.
use sqlx::Row;

use super::clicks;
use super::{
    Booking, Books, Figures, HourFigures, HourKey, MessageFigures, MessageKey, MessageRow, Sales,
    joined, split,
};
use crate::model::hit::{Hit, Kind};
use crate::store::{Bulk, Tx};
use crate::{execute_bulk, fetch_bulk};

/// Reads the books of a row, from a column on: transactions, revenue, carry, quantity, and the same
/// apart.
macro_rules! books {
    ($row:expr, $first:literal) => {
        Books {
            proved: Sales {
                transactions: $row.try_get($first)?,
                revenue: joined($row.try_get($first + 1)?, $row.try_get($first + 2)?),
                quantity: $row.try_get($first + 3)?,
            },
            apart: Sales {
                transactions: $row.try_get($first + 4)?,
                revenue: joined($row.try_get($first + 5)?, $row.try_get($first + 6)?),
                quantity: $row.try_get($first + 7)?,
            },
        }
    };
}

/// Adds the columns of books to rows.
fn with_books(bulk: Bulk, books: impl Iterator<Item = Books> + Clone) -> Bulk {
    let proved = || books.clone().map(|books| books.proved);
    let apart = || books.clone().map(|books| books.apart);
    bulk.big("transactions", proved().map(|sales| sales.transactions))
        .money("revenue", proved().map(|sales| split(sales.revenue).0))
        .big(
            "revenue_carry",
            proved().map(|sales| split(sales.revenue).1),
        )
        .big("quantity", proved().map(|sales| sales.quantity))
        .big(
            "unproved_transactions",
            apart().map(|sales| sales.transactions),
        )
        .money(
            "unproved_revenue",
            apart().map(|sales| split(sales.revenue).0),
        )
        .big(
            "unproved_carry",
            apart().map(|sales| split(sales.revenue).1),
        )
        .big("unproved_quantity", apart().map(|sales| sales.quantity))
}

impl Figures {
    /// Rows of messages that the database has, of the hits that are to be counted and of the places
    /// where something is to be booked. Nothing may be booked in others: their books are not read.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn load(
        tx: &mut Tx,
        hits: &[&Hit],
        bookings: &[Vec<Booking>],
    ) -> sqlx::Result<Self> {
        let of_places = bookings.iter().flatten();
        let mut booked: Vec<i64> = of_places.map(|booking| booking.place.broadlog).collect();
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
        let mut messages: Vec<(MessageKey, MessageFigures)> = fetch_bulk!(
            &mut *tx,
            Bulk::new().big("id", counted),
            "select f.broadlog_id, f.delivery_id, f.first_open_at, f.first_click_at, f.opens, f.clicks, f.pages
             from {rows} join broadlog_figures f on f.broadlog_id = rows.id and f.currency = ''",
            row => (
                (row.try_get(0)?, String::new()),
                MessageFigures {
                    delivery_id: row.try_get(1)?,
                    first_open_at: row.try_get(2)?,
                    first_click_at: row.try_get(3)?,
                    opens: row.try_get(4)?,
                    clicks: row.try_get(5)?,
                    pages: row.try_get(6)?,
                    books: Books::default(),
                }
            )
        )?;
        let with_books = fetch_bulk!(
            tx,
            Bulk::new().big("id", booked),
            "select f.broadlog_id, f.currency, f.delivery_id, f.first_open_at, f.first_click_at, f.opens, f.clicks, f.pages, f.transactions,
                    f.revenue, f.revenue_carry, f.quantity, f.unproved_transactions, f.unproved_revenue, f.unproved_carry, f.unproved_quantity
             from {rows} join broadlog_figures f on f.broadlog_id = rows.id",
            row => (
                (row.try_get(0)?, row.try_get(1)?),
                MessageFigures {
                    delivery_id: row.try_get(2)?,
                    first_open_at: row.try_get(3)?,
                    first_click_at: row.try_get(4)?,
                    opens: row.try_get(5)?,
                    clicks: row.try_get(6)?,
                    pages: row.try_get(7)?,
                    books: books!(row, 8),
                }
            )
        )?;
        messages.extend(with_books);
        let rows = messages.into_iter().map(|(key, figures)| {
            let row = MessageRow {
                figures,
                is_stored: true,
                ..MessageRow::default()
            };
            (key, row)
        });
        Ok(Self {
            messages: rows.collect(),
            ..Self::default()
        })
    }

    /// Writes everything, in the order of primary keys.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn save(mut self, tx: &mut Tx) -> sqlx::Result<()> {
        clicks::save(tx, &self.clickers).await?;
        self.load_hours(tx).await?;
        // Apart, since nobody else writes here: an upsert would look each row up once more. And
        // those without money by themselves, which nearly all are: half the values.
        let rows = self.message_rows();
        execute_bulk!(
            &mut *tx,
            rows.new,
            "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, quantity)
             select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, 0, 0, 0
             from {rows} where true"
        )?;
        execute_bulk!(
            &mut *tx,
            rows.new_with_books,
            "insert into broadlog_figures
                 (broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, revenue_carry,
                  quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
             select broadlog_id, currency, delivery_id, first_open_at, first_click_at, opens, clicks, pages, transactions, revenue, revenue_carry,
                  quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity
             from {rows} where true"
        )?;
        execute_bulk!(
            &mut *tx,
            rows.changed,
            "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id and broadlog_figures.currency = rows.currency"
        )?;
        execute_bulk!(
            &mut *tx,
            rows.changed_with_books,
            "update broadlog_figures set
                 first_open_at = rows.first_open_at, first_click_at = rows.first_click_at, opens = rows.opens, clicks = rows.clicks,
                 pages = rows.pages, transactions = rows.transactions, revenue = rows.revenue, revenue_carry = rows.revenue_carry,
                 quantity = rows.quantity, unproved_transactions = rows.unproved_transactions, unproved_revenue = rows.unproved_revenue,
                 unproved_carry = rows.unproved_carry, unproved_quantity = rows.unproved_quantity
             from {rows}
             where broadlog_figures.broadlog_id = rows.broadlog_id and broadlog_figures.currency = rows.currency"
        )?;
        let hours = self.hours.values();
        let counts = self
            .hour_keys()
            .big("hits", hours.clone().map(|row| row.hits))
            .big("new_broadlogs", hours.clone().map(|row| row.new_broadlogs))
            .big(
                "distinct_broadlogs",
                hours.clone().map(|row| row.distinct_broadlogs),
            )
            .big("machine_hits", hours.clone().map(|row| row.machine_hits));
        execute_bulk!(
            tx,
            with_books(counts, hours.map(|row| row.books)),
            "insert into hourly_figures
                 (delivery_id, hour, kind, link_id, currency, hits, new_broadlogs, distinct_broadlogs, machine_hits, transactions, revenue,
                  revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity)
             select delivery_id, hour, kind, link_id, currency, hits, new_broadlogs, distinct_broadlogs, machine_hits, transactions, revenue,
                  revenue_carry, quantity, unproved_transactions, unproved_revenue, unproved_carry, unproved_quantity
             from {rows} where true
             on conflict (delivery_id, hour, kind, link_id, currency) do update set
                 hits = excluded.hits, new_broadlogs = excluded.new_broadlogs, distinct_broadlogs = excluded.distinct_broadlogs,
                 machine_hits = excluded.machine_hits, transactions = excluded.transactions, revenue = excluded.revenue,
                 revenue_carry = excluded.revenue_carry, quantity = excluded.quantity, unproved_transactions = excluded.unproved_transactions,
                 unproved_revenue = excluded.unproved_revenue, unproved_carry = excluded.unproved_carry,
                 unproved_quantity = excluded.unproved_quantity"
        )?;
        Ok(())
    }

    /// Rows of messages that the database has not, and those that are different there.
    fn message_rows(&self) -> MessageRows {
        let mut rows: [Vec<(&MessageKey, &MessageFigures)>; 4] = Default::default();
        let [new, new_with_books, changed, changed_with_books] = &mut rows;
        for (key, row) in &self.messages {
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
            with_books(bulk(rows), rows.iter().map(|(_, row)| row.books))
        };
        MessageRows {
            new: bulk(new),
            new_with_books: whole(new_with_books),
            changed: bulk(changed),
            changed_with_books: whole(changed_with_books),
        }
    }

    fn hour_keys(&self) -> Bulk {
        let keys = self.hours.keys();
        Bulk::new()
            .big("delivery_id", keys.clone().map(|key| key.0))
            .time("hour", keys.clone().map(|key| key.1))
            .text("kind", keys.clone().map(|key| key.2.to_owned()))
            .big("link_id", keys.clone().map(|key| key.3))
            .text("currency", keys.clone().map(|key| key.4.clone()))
    }

    /// Adds what the database has of the hours to what the batch has counted.
    async fn load_hours(&mut self, tx: &mut Tx) -> sqlx::Result<()> {
        let stored: Vec<(HourKey, HourFigures)> = fetch_bulk!(
            tx,
            self.hour_keys(),
            "select f.delivery_id, f.hour, f.kind, f.link_id, f.currency, f.hits, f.new_broadlogs, f.distinct_broadlogs, f.machine_hits,
                    f.transactions, f.revenue, f.revenue_carry, f.quantity, f.unproved_transactions, f.unproved_revenue, f.unproved_carry,
                    f.unproved_quantity
             from {rows} join hourly_figures f on f.delivery_id = rows.delivery_id and f.hour = rows.hour and f.kind = rows.kind
                 and f.link_id = rows.link_id and f.currency = rows.currency",
            row => (
                (
                    row.try_get(0)?,
                    row.try_get(1)?,
                    Kind::parse(row.try_get(2)?).unwrap_or(Kind::Event).as_str(),
                    row.try_get(3)?,
                    row.try_get(4)?,
                ),
                HourFigures {
                    hits: row.try_get(5)?,
                    new_broadlogs: row.try_get(6)?,
                    distinct_broadlogs: row.try_get(7)?,
                    machine_hits: row.try_get(8)?,
                    books: books!(row, 9),
                }
            )
        )?;
        for (key, stored) in stored {
            if let Some(hour) = self.hours.get_mut(&key) {
                hour.hits += stored.hits;
                hour.new_broadlogs += stored.new_broadlogs;
                hour.distinct_broadlogs += stored.distinct_broadlogs;
                hour.machine_hits += stored.machine_hits;
                hour.books += stored.books;
            }
        }
        Ok(())
    }
}

/// Rows to write.
struct MessageRows {
    new: Bulk,
    new_with_books: Bulk,
    changed: Bulk,
    changed_with_books: Bulk,
}

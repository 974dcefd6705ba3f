//! Each row of the module's table, on orders in memory.

use uuid::Uuid;

use super::*;
use crate::model::clock::Micros;
use crate::model::hit::{Currency, DeliveryId, HitId, Provenance};

const HOUR: i64 = Micros::HOUR;

/// Hits in the order of their making, an hour apart.
struct Shop {
    orders: Orders,
    hour: i64,
    /// What is booked in all: orders, amount and items, by delivery and whether it is proved.
    books: BTreeMap<(i64, bool), (i64, i128, i64)>,
}

fn visitor(number: u128) -> Option<VisitorId> {
    Some(VisitorId(Uuid::from_u128(number)))
}

/// A purchase of order 1004 in the signed session of delivery 7.
fn purchase(browser: u128, amount: &str) -> Hit {
    let id = HitId(Uuid::nil());
    let mut hit = Hit::new(id, Micros(0), Kind::Transaction, Dialect::Native);
    hit.order_id = Some("1004".to_owned());
    hit.revenue = Some(amount.parse().unwrap());
    hit.currency = Currency::parse("EUR");
    hit.quantity = Some(2);
    hit.visitor_id = visitor(browser);
    hit.delivery_id = Some(DeliveryId(7));
    hit.provenance = Provenance::Session;
    hit
}

fn claimed(mut hit: Hit, delivery: i64) -> Hit {
    hit.delivery_id = Some(DeliveryId(delivery));
    hit.provenance = Provenance::Claimed;
    hit
}

fn of_sender(mut hit: Hit) -> Hit {
    hit.authority = Authority::Authenticated;
    hit.provenance = Provenance::None;
    hit.delivery_id = None;
    hit.visitor_id = None;
    hit
}

fn nobodys(mut hit: Hit) -> Hit {
    hit.visitor_is_new = true;
    claimed(hit, 7)
}

impl Shop {
    fn new() -> Self {
        Self {
            orders: Orders::default(),
            hour: 0,
            books: BTreeMap::new(),
        }
    }

    /// The note of a hit.
    fn takes(&mut self, mut hit: Hit) -> Option<&'static str> {
        self.hour += 1;
        hit.received_at = Micros(self.hour * HOUR);
        let earned = self.orders.settle(&hit, &Vec::new().into());
        for booking in &earned.bookings {
            let key = (booking.place.delivery, booking.place.is_proved);
            let books = self.books.entry(key).or_default();
            books.0 += booking.sales.transactions;
            books.1 += booking.sales.revenue.0;
            books.2 += booking.sales.quantity;
        }
        earned.note
    }

    /// `(delivery, is proved, orders, amount in units, items)` of what is not nothing.
    fn told(&self) -> Vec<(i64, bool, i64, i128, i64)> {
        self.books
            .iter()
            .filter(|(_, books)| **books != (0, 0, 0))
            .map(|((delivery, is_proved), books)| {
                (*delivery, *is_proved, books.0, books.1 / 10_000, books.2)
            })
            .collect()
    }
}

#[test]
fn a_page_shown_again_counts_once_and_another_amount_by_its_difference() {
    let mut shop = Shop::new();
    assert_eq!(shop.takes(purchase(1, "50")), None);
    for _ in 0..3 {
        assert_eq!(shop.takes(purchase(1, "50")), Some(REPEATED));
    }
    assert_eq!(shop.told(), [(7, true, 1, 50, 2)]);
    assert_eq!(shop.takes(purchase(1, "80")), Some(CHANGED));
    assert_eq!(shop.told(), [(7, true, 1, 80, 2)]);
    // Without a session by now, and without an amount.
    let mut later = purchase(1, "80");
    (later.delivery_id, later.provenance) = (None, Provenance::None);
    (later.revenue, later.quantity) = (None, None);
    assert_eq!(shop.takes(later), Some(REPEATED));
    assert_eq!(shop.told(), [(7, true, 1, 80, 2)]);
    let place = &shop.orders.known.values().next().unwrap()
        [&Holder::Visitor(VisitorId(Uuid::from_u128(1)))]
        .place;
    assert_eq!(place.at, Micros(HOUR), "where it was counted first");
}

#[test]
fn an_amount_that_comes_late_is_booked_in_its_currency() {
    let mut shop = Shop::new();
    let mut without = purchase(1, "50");
    (without.revenue, without.quantity) = (None, None);
    assert_eq!(shop.takes(without), None);
    assert_eq!(shop.told(), [(7, true, 1, 0, 0)]);
    assert_eq!(shop.takes(purchase(1, "50")), Some(CHANGED));
    assert_eq!(shop.told(), [(7, true, 1, 50, 2)]);
    let order = shop.orders.known.values().next().unwrap().values().next();
    assert_eq!(order.unwrap().place.currency, "EUR");
}

#[test]
fn whoever_guesses_a_number_changes_nothing_and_comes_before_nobody() {
    let mut shop = Shop::new();
    // Before the buyer: openly, without any id, and in a signed session of another delivery.
    shop.takes(claimed(purchase(66, "1"), 7));
    shop.takes(nobodys(purchase(67, "2")));
    let mut signed = purchase(68, "3");
    signed.delivery_id = Some(DeliveryId(8));
    shop.takes(signed);
    assert_eq!(shop.takes(purchase(1, "50")), None);
    // After.
    shop.takes(claimed(purchase(69, "4"), 7));
    assert_eq!(shop.takes(nobodys(purchase(70, "5"))), Some(REPEATED));
    let of_7: Vec<_> = shop
        .told()
        .into_iter()
        .filter(|row| row.0 == 7 && row.1)
        .collect();
    assert_eq!(of_7, [(7, true, 1, 50, 2)]);
    // Their refunds touch nothing that is proved either.
    for browser in [66, 67, 71] {
        shop.takes(purchase(browser, "-50"));
    }
    let of_7: Vec<_> = shop
        .told()
        .into_iter()
        .filter(|row| row.0 == 7 && row.1)
        .collect();
    assert_eq!(of_7, [(7, true, 1, 50, 2)]);
}

#[test]
fn an_order_moves_to_its_delivery_when_the_same_browser_proves_it() {
    let mut shop = Shop::new();
    assert_eq!(shop.takes(claimed(purchase(1, "50"), 9)), None);
    assert_eq!(shop.told(), [(9, false, 1, 50, 2)]);
    assert_eq!(shop.takes(purchase(1, "50")), Some(PROVED));
    assert_eq!(shop.told(), [(7, true, 1, 50, 2)]);
    assert_eq!(shop.takes(claimed(purchase(1, "50"), 9)), Some(REPEATED));
}

#[test]
fn a_browser_without_any_id_counts_once_and_is_known_by_the_id_it_gets() {
    let mut shop = Shop::new();
    assert_eq!(shop.takes(nobodys(purchase(1, "50"))), None);
    assert_eq!(shop.takes(nobodys(purchase(2, "70"))), Some(REPEATED));
    // The first one comes again, with the cookie of the first answer.
    assert_eq!(shop.takes(claimed(purchase(1, "60"), 7)), Some(CHANGED));
    assert_eq!(shop.told(), [(7, false, 1, 60, 2)]);
}

#[test]
fn a_sender_takes_the_place_of_what_browsers_said() {
    let mut shop = Shop::new();
    shop.takes(claimed(purchase(66, "1"), 9));
    shop.takes(purchase(1, "50"));
    assert_eq!(shop.takes(of_sender(purchase(0, "50"))), Some(REPEATED));
    assert_eq!(shop.told(), [(7, true, 1, 50, 2)], "the stranger's is gone");
    assert_eq!(shop.takes(of_sender(purchase(0, "50"))), Some(REPEATED));
    assert_eq!(shop.takes(of_sender(purchase(0, "45"))), Some(CHANGED));
    assert_eq!(shop.told(), [(7, true, 1, 45, 2)]);
    for browser in [1, 66] {
        assert_eq!(shop.takes(purchase(browser, "99")), Some(REPEATED));
    }
    assert_eq!(shop.told(), [(7, true, 1, 45, 2)]);
    let touched: Vec<_> = shop
        .orders
        .touched
        .iter()
        .map(|(_, holder)| *holder)
        .collect();
    assert_eq!(touched.len(), 3, "two are taken out, one is written");
}

#[test]
fn a_sender_that_names_a_delivery_is_believed() {
    let mut shop = Shop::new();
    shop.takes(purchase(1, "50"));
    let mut named = of_sender(purchase(0, "50"));
    named.delivery_id = Some(DeliveryId(5));
    shop.takes(named);
    assert_eq!(shop.told(), [(5, true, 1, 50, 2)]);
}

#[test]
fn refunds_add_up_and_are_no_transactions() {
    let mut shop = Shop::new();
    shop.takes(purchase(1, "50"));
    assert_eq!(shop.takes(of_sender(purchase(0, "-20"))), None);
    assert_eq!(
        shop.takes(of_sender(purchase(0, "-20"))),
        None,
        "a sender's add up"
    );
    assert_eq!(shop.told(), [(7, true, 1, 10, -2)]);

    let mut shop = Shop::new();
    shop.takes(purchase(1, "50"));
    assert_eq!(shop.takes(purchase(1, "-20")), None);
    assert_eq!(
        shop.takes(purchase(1, "-20")),
        Some(REFUNDED),
        "a page shown again"
    );
    assert_eq!(shop.takes(purchase(1, "50")), Some(REPEATED));
    assert_eq!(shop.told(), [(7, true, 1, 30, 0)]);
    assert_eq!(shop.takes(purchase(1, "-31")), Some(TOO_MUCH));
    assert_eq!(shop.takes(purchase(2, "-5")), Some(UNKNOWN));
    assert_eq!(
        shop.told(),
        [(7, false, 0, -36, -4), (7, true, 1, 30, 0)],
        "nobody takes away more than he brought"
    );
}

#[test]
fn machines_and_hits_without_a_number_know_no_orders() {
    let mut shop = Shop::new();
    let mut crawled = purchase(1, "50");
    crawled.verdict = crate::model::hit::Verdict::Bot;
    assert_eq!(shop.takes(crawled), None);
    assert_eq!(shop.told(), []);
    for _ in 0..2 {
        let mut bought = purchase(1, "50");
        bought.order_id = None;
        assert_eq!(shop.takes(bought), None);
    }
    assert_eq!(shop.told(), [(7, true, 2, 100, 4)]);
}

#[test]
fn another_currency_or_site_is_another_order() {
    let mut shop = Shop::new();
    shop.takes(purchase(1, "50"));
    let mut elsewhere = purchase(1, "50");
    elsewhere.site = "other".to_owned();
    assert_eq!(shop.takes(elsewhere), None);
    let mut swedish = purchase(1, "50");
    swedish.currency = Currency::parse("SEK");
    assert_eq!(shop.takes(swedish), None);
    assert_eq!(shop.told(), [(7, true, 3, 150, 6)]);
}

//! Figures of messages and hours: what a batch adds is added to what is there, and sums are exact.

use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{
    BroadlogId, Currency, DeliveryId, Hit, Kind, LinkId, Money, Sum, Verdict, VisitorId,
};
use crate::store::Store;
use crate::store::figures::{Booking, Figures, Place, Sales, joined};
use sqlx::Row as _;
use uuid::Uuid;

use super::rig::{Engine, on_both};
use super::{NOW, count, hit, new_store, save_figures, text};

async fn save(store: &Store, hits: &[(Hit, bool)], bookings: Vec<Booking>) {
    let mut tx = store.begin_lane().await.unwrap();
    let of: Vec<&Hit> = hits.iter().map(|(hit, _)| hit).collect();
    let mut figures = Figures::load(&mut tx, &of, bookings.iter()).await.unwrap();
    for ((hit, is_order), seq) in hits.iter().zip(1..) {
        figures.add(seq, hit, *is_order);
    }
    for booking in &bookings {
        figures.book(booking);
    }
    save_figures(&mut tx, figures).await;
    tx.commit().await.unwrap();
}

fn of_message(kind: Kind, id: i64) -> Hit {
    let mut hit = hit(kind);
    hit.delivery_id = Some(DeliveryId(5));
    hit.broadlog_id = Some(BroadlogId(id));
    hit
}

fn sale(id: i64, amount: i64, is_proved: bool) -> Booking {
    let mut hit = of_message(Kind::Transaction, id);
    hit.revenue = Some(Money(amount));
    hit.currency = Currency::parse("EUR");
    Booking {
        place: Place::of(&hit, is_proved),
        touches: Vec::new().into(),
        sales: Sales {
            transactions: 1,
            revenue: Sum::from(Money(amount)),
            quantity: 2,
        },
    }
}

/// Numbers of a query, joined by blanks.
async fn row(store: &Store, columns: &str, rest: &str) -> String {
    let names: Vec<String> = columns
        .split(' ')
        .map(|name| format!("cast({name} as text)"))
        .collect();
    let sql = format!("select {} from {rest}", names.join(" || ' ' || "));
    text(store, &sql).await.unwrap()
}

async fn hits_are_counted_where_they_stand_and_batches_add_up(engine: Engine) {
    let store = new_store(engine).await;
    save(&store, &[], Vec::new()).await;
    assert_eq!(count(&store, "time_figures").await, 0);
    let later = |mut hit: Hit| {
        hit.received_at = Micros(NOW.0 + 60 * Micros::SECOND);
        hit
    };
    for batch in 0..2 {
        let mut bot = of_message(Kind::Open, 7);
        bot.verdict = Verdict::Bot;
        let hits = [
            later(of_message(Kind::Open, 7)),
            of_message(Kind::Open, 7),
            of_message(Kind::Click, 7),
            of_message(Kind::Pageview, 8),
            bot,
        ];
        save(&store, &hits.map(|hit| (hit, false)), Vec::new()).await;
        let n = batch + 1;
        let message = row(
            &store,
            "opens clicks pages delivery_id",
            "broadlog_figures where broadlog_id = 7",
        )
        .await;
        assert_eq!(message, format!("{} {} 0 5", 2 * n, n));
        let hour = row(
            &store,
            "hits new_broadlogs distinct_broadlogs",
            "time_figures where kind = 'open' and verdict = 'human'",
        );
        assert_eq!(
            hour.await,
            format!("{} 1 1", 2 * n),
            "a message is new once"
        );
        let of_bots = "time_figures where verdict = 'bot'";
        assert_eq!(
            row(&store, "hits new_broadlogs", of_bots).await,
            format!("{n} 0")
        );
        let sql = "select first_open_at from broadlog_figures where broadlog_id = 7";
        let first: Micros =
            both!(store.reader(), pool => sqlx::query_scalar(sql).fetch_one(pool).await).unwrap();
        assert_eq!(first, NOW, "the first is the earliest");
    }
    assert_eq!(count(&store, "broadlog_figures").await, 2);
    store.close().await;
}

async fn sums_are_exact_however_large_and_go_back_to_nothing(engine: Engine) {
    let store = new_store(engine).await;
    let read = async || {
        both!(store.reader(), pool => {
            let rows = sqlx::query("select revenue, revenue_carry from time_figures
                where kind = 'transaction' union all
                select revenue, revenue_carry from broadlog_figures where currency = 'EUR'")
                .fetch_all(pool).await.unwrap();
            rows.iter().map(|row| joined(row.get(0), row.get(1))).collect::<Vec<Sum>>()
        })
    };
    let mut expected = 0_i128;
    for sign in [1, -1] {
        for _ in 0..3 {
            let sales: Vec<_> = (0..40).map(|_| sale(7, sign * Money::MAX, true)).collect();
            save(&store, &[], sales).await;
            expected += i128::from(sign * Money::MAX) * 40;
            assert_eq!(read().await, [Sum(expected), Sum(expected)]);
        }
    }
    assert_eq!(expected, 0);
    store.close().await;
}

async fn what_nothing_proves_stands_apart(engine: Engine) {
    let store = new_store(engine).await;
    let money = |name: &str| match engine {
        Engine::Postgres => format!("trunc({name}*10000)::bigint"),
        Engine::Sqlite => name.to_owned(),
    };
    let columns = format!(
        "transactions {} quantity unproved_transactions {} unproved_quantity",
        money("revenue"),
        money("unproved_revenue")
    );
    let of = |rest: &'static str| row(&store, &columns, rest);
    // What is new is inserted, what is there is changed: both ways twice over.
    for n in 1..=2 {
        let order = (of_message(Kind::Transaction, 7), true);
        let bookings = vec![
            sale(7, 100_000, true),
            sale(7, 50_000, false),
            sale(8, 10_000, false),
        ];
        save(&store, &[order], bookings).await;
        let times = |row: [i64; 6]| row.map(|number| (number * n).to_string()).join(" ");
        for (rest, expected) in [
            (
                "time_figures where kind = 'transaction' and currency = 'EUR'",
                [1, 100_000, 2, 2, 60_000, 4],
            ),
            (
                "broadlog_figures where broadlog_id = 7 and currency = 'EUR'",
                [0, 100_000, 2, 0, 50_000, 2],
            ),
            (
                "broadlog_figures where broadlog_id = 7 and currency = ''",
                [1, 0, 0, 1, 0, 0],
            ),
            (
                "broadlog_figures where broadlog_id = 8 and currency = 'EUR'",
                [0, 0, 0, 0, 10_000, 2],
            ),
        ] {
            assert_eq!(of(rest).await, times(expected), "{rest}");
        }
    }
    store.close().await;
}

/// More rows than a statement of SQLite takes, at the ends of the numbers.
async fn many_messages_and_hours_are_written_at_once(engine: Engine) {
    let store = new_store(engine).await;
    for _ in 0..2 {
        let hits: Vec<_> = (0..600)
            .map(|number| {
                let mut hit = of_message(
                    Kind::Click,
                    if number % 2 == 0 { i64::MIN } else { i64::MAX } ^ number,
                );
                hit.delivery_id = Some(DeliveryId(i64::MAX));
                hit.link_id = Some(LinkId(-number));
                hit.received_at = Micros(-Micros::HOUR * number);
                (hit, false)
            })
            .collect();
        save(&store, &hits, Vec::new()).await;
    }
    assert_eq!(
        count(&store, "time_figures where hits = 2 and new_broadlogs = 1").await,
        600
    );
    assert_eq!(
        count(&store, "broadlog_figures where clicks = 2").await,
        600
    );
    store.close().await;
}

async fn a_visitor_clicks_once_for_a_delivery_and_once_for_a_link(engine: Engine) {
    let store = new_store(engine).await;
    let click = |visitor: u128, link: Option<i64>| {
        let mut hit = of_message(Kind::Click, 7);
        hit.visitor_id = Some(VisitorId(Uuid::from_u128(visitor)));
        hit.link_id = link.map(LinkId);
        (hit, false)
    };
    let (mut bot, mut nobodys, mut open) = (click(9, None), click(1, Some(2)), click(8, None));
    bot.0.verdict = Verdict::Bot;
    nobodys.0.visitor_id = None;
    open.0.kind = Kind::Open;
    for _ in 0..2 {
        let batch = [
            click(1, Some(2)),
            click(1, Some(2)),
            click(1, Some(3)),
            click(2, Some(2)),
            click(3, None),
            bot.clone(),
            nobodys.clone(),
            open.clone(),
        ];
        save(&store, &batch, Vec::new()).await;
        for (link, visitors) in [(0, "3"), (2, "2"), (3, "1")] {
            let of = format!("click_figures where delivery_id = 5 and link_id = {link}");
            assert_eq!(row(&store, "visitors", &of).await, visitors, "{link}");
        }
    }
    save(&store, &[click(4, Some(2))], Vec::new()).await;
    let of = "click_figures where delivery_id = 5 and link_id = 0";
    assert_eq!(row(&store, "visitors", of).await, "4");
    assert_eq!(count(&store, "clicking_visitors").await, 5);
    store.close().await;
}

on_both!(
    a_visitor_clicks_once_for_a_delivery_and_once_for_a_link,
    hits_are_counted_where_they_stand_and_batches_add_up,
    sums_are_exact_however_large_and_go_back_to_nothing,
    what_nothing_proves_stands_apart,
    many_messages_and_hours_are_written_at_once,
);

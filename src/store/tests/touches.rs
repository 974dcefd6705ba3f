//! What led to a purchase, and whom its revenue is credited to.

use sqlx::Row as _;
use uuid::Uuid;

use crate::both;
use crate::identity::{Changes, Contact};
use crate::model::clock::Micros;
use crate::model::hit::{
    ContactId, DeliveryId, Hit, Kind, LeastProof, LinkId, Money, Provenance, Sum, Verdict,
    VisitorId,
};
use crate::store::figures::{Booking, Figures, Place, Sales, joined};
use crate::store::touches::{Purchase, Touch, visits};
use crate::store::{Store, Writes};

use super::rig::{Engine, on_both};
use super::{NOW, hit, insert, new_store, save_figures};

const WINDOW: i64 = 30 * Micros::DAY;

fn visitor(number: u128) -> VisitorId {
    VisitorId(Uuid::from_u128(number))
}

fn contact(number: u128) -> ContactId {
    ContactId(Uuid::from_u128(1_000 + number))
}

/// A click on a link of delivery 5.
fn click(link: i64, days_before: i64) -> Hit {
    let mut hit = hit(Kind::Click);
    hit.delivery_id = Some(DeliveryId(5));
    hit.link_id = Some(LinkId(link));
    hit.provenance = Provenance::Link;
    hit.visitor_id = Some(visitor(1));
    hit.received_at = Micros(NOW.0 - days_before * Micros::DAY);
    hit
}

async fn links(store: &Store, purchases: &[Purchase]) -> Vec<Vec<i64>> {
    let mut tx = store.begin_lane().await.unwrap();
    let found = tx.touches_of(purchases, WINDOW, LeastProof::Signed);
    let found = found.await.unwrap();
    tx.commit().await.unwrap();
    let links = |touched| visits(touched).into_iter().map(|touch| touch.1).collect();
    found.into_iter().map(links).collect()
}

fn of_contact(mut hit: Hit, number: u128) -> Hit {
    hit.contact_id = Some(contact(number));
    hit
}

fn purchase(contact: Option<ContactId>, visitor: Option<VisitorId>) -> Purchase {
    Purchase {
        contact,
        is_proved: true,
        visitor,
        at: NOW,
    }
}

async fn a_purchase_finds_what_its_person_did_in_the_window(engine: Engine) {
    let store = new_store(engine).await;
    let (mut unproved, mut bot, mut page) = (click(7, 1), click(8, 1), click(9, 1));
    unproved.provenance = Provenance::Claimed;
    bot.verdict = Verdict::Bot;
    page.kind = Kind::Pageview;
    let mut landing = page.clone();
    landing.delivery_id = None;
    landing.link_id = Some(LinkId(10));
    landing.utm.source = Some("search".to_owned());
    let (mut again, mut late) = (click(3, 3), click(6, 0));
    again.received_at.0 += 60 * Micros::SECOND;
    late.occurred_at = Some(Micros(NOW.0 - 4 * Micros::DAY));
    let hits = [
        click(1, 31),
        click(2, 29),
        click(3, 3),
        again,
        late,
        unproved,
        bot,
        page,
        landing,
        click(4, -1),
        of_contact(click(5, 2), 1),
        of_contact(click(11, 2), 4),
    ];
    insert(&store, &hits).await;
    let asked = [
        purchase(None, Some(visitor(1))),
        purchase(Some(contact(1)), Some(visitor(1))),
        purchase(Some(contact(2)), Some(visitor(2))),
        purchase(None, None),
    ];
    let expected = [vec![2, 6, 3, 10], vec![2, 6, 3, 5, 10], vec![], vec![]];
    assert_eq!(links(&store, &asked).await, expected);
    store.close().await;
}

async fn touches_of_contacts_that_were_merged_count(engine: Engine) {
    let store = new_store(engine).await;
    insert(
        &store,
        &[of_contact(click(1, 2), 1), of_contact(click(2, 1), 2)],
    )
    .await;
    let mut tx = store.begin_lane().await.unwrap();
    let data = |number| (contact(number), Contact::default());
    let changes = Changes {
        contacts: [1, 2].map(data).into_iter().collect(),
        merges: vec![(contact(1), contact(2))],
        ..Changes::default()
    };
    let mut writes = Writes::default();
    tx.save_changes(&changes, NOW, &mut writes).await.unwrap();
    writes.send(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let asked = [
        purchase(Some(contact(2)), None),
        purchase(Some(contact(1)), None),
    ];
    assert_eq!(links(&store, &asked).await, [vec![1, 2], vec![1]]);
    store.close().await;
}

async fn who_is_only_named_is_credited_for_the_browser_alone(engine: Engine) {
    let store = new_store(engine).await;
    let mut other = of_contact(click(2, 2), 1);
    other.visitor_id = Some(visitor(2));
    let hits = [click(1, 3), other, of_contact(click(3, 1), 1)];
    insert(&store, &hits).await;
    let of = |is_proved, browser| Purchase {
        is_proved,
        ..purchase(Some(contact(1)), browser)
    };
    let asked = [
        of(true, Some(visitor(1))),
        of(false, Some(visitor(1))),
        of(false, Some(visitor(9))),
        of(false, None),
    ];
    let expected = [vec![1, 2, 3], vec![1, 3], vec![], vec![]];
    assert_eq!(links(&store, &asked).await, expected);
    store.close().await;
}

async fn of_very_many_hits_the_last_are_looked_at(engine: Engine) {
    let store = new_store(engine).await;
    let hits: Vec<_> = (0..1_200)
        .map(|number| {
            let mut hit = of_contact(click(number, 29), 1);
            hit.received_at.0 += number * Micros::HOUR / 2 + number;
            hit
        })
        .collect();
    insert(&store, &hits).await;
    let found = links(&store, &[purchase(Some(contact(1)), None)])
        .await
        .remove(0);
    assert_eq!(found.len(), 51);
    assert_eq!((found[0], found[1], found[50]), (200, 1_150, 1_199));
    store.close().await;
}

async fn credits(store: &Store, model: &str) -> Vec<(i64, i64, Sum)> {
    let sql = "select link_id, transactions, revenue, revenue_carry from revenue_figures
               where model = $1 order by link_id";
    both!(store.reader(), pool => {
        let rows = sqlx::query(sql).bind(model).fetch_all(pool).await.unwrap();
        let sum = |row: &_| joined(sqlx::Row::get(row, "revenue"), sqlx::Row::get(row, "revenue_carry"));
        rows.iter().map(|row| (row.get("link_id"), row.get("transactions"), sum(row))).collect()
    })
}

async fn each_model_credits_the_whole_and_takes_it_back(engine: Engine) {
    let store = new_store(engine).await;
    let mut hit = click(9, 0);
    hit.kind = Kind::Transaction;
    let booking = |sign: i64| Booking {
        place: Place::of(&hit, true),
        sales: Sales {
            transactions: sign,
            revenue: Sum::from(Money(sign * 100)),
            quantity: sign,
        },
        touches: [1, 2, 3].map(|link| Touch(5, link, String::new())).into(),
    };
    let apart = Booking {
        place: Place::of(&hit, false),
        ..booking(1)
    };
    let save = async |bookings: &[Booking]| {
        let mut tx = store.begin_lane().await.unwrap();
        let mut figures = Figures::load(&mut tx, &[], bookings.iter()).await.unwrap();
        for booking in bookings {
            figures.book(booking);
        }
        save_figures(&mut tx, figures).await;
        tx.commit().await.unwrap();
    };
    save(&[booking(1), apart]).await;
    assert_eq!(credits(&store, "session").await, [(9, 1, Sum(100))]);
    assert_eq!(credits(&store, "first_touch").await, [(1, 1, Sum(100))]);
    assert_eq!(credits(&store, "last_touch").await, [(3, 1, Sum(100))]);
    let linear = [(1, 0, Sum(33)), (2, 0, Sum(33)), (3, 1, Sum(34))];
    assert_eq!(credits(&store, "linear").await, linear);
    save(&[booking(-1)]).await;
    for model in ["session", "first_touch", "last_touch", "linear"] {
        let left = credits(&store, model).await;
        assert!(
            left.iter().all(|row| (row.1, row.2) == (0, Sum(0))),
            "{model}: {left:?}"
        );
    }
    store.close().await;
}

on_both!(
    a_purchase_finds_what_its_person_did_in_the_window,
    touches_of_contacts_that_were_merged_count,
    who_is_only_named_is_credited_for_the_browser_alone,
    of_very_many_hits_the_last_are_looked_at,
    each_model_credits_the_whole_and_takes_it_back,
);

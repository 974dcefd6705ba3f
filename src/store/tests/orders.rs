//! Orders that count, by who told of them.

use crate::model::clock::Micros;
use crate::model::hit::{Kind, Money};
use crate::store::figures::Place;
use crate::store::orders::{HeldOrder, Holder, Order, OrderKey};
use crate::store::touches::Touch;
use crate::store::{Store, Writes};

use super::contacts::visitor;
use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, count, new_store};

fn claim(order_id: &str, holder: Holder) -> HeldOrder {
    let key = OrderKey {
        order_id: order_id.to_owned(),
        site: "shop".to_owned(),
        currency: "EUR".to_owned(),
    };
    (key, holder)
}

/// One with another value in every field.
fn order(sign: i64) -> Order {
    Order {
        visitor: Some(visitor(9)),
        place: Place {
            delivery: i64::MIN,
            broadlog: i64::MAX,
            link: -3,
            site: "shop".to_owned(),
            at: Micros(NOW.0 - Micros::HOUR),
            kind: Kind::Transaction,
            currency: "CHF".to_owned(),
            is_proved: sign > 0,
        },
        revenue: Money(sign * Money::MAX),
        quantity: sign * 5,
        refunded: Money(-6),
        last_refund: Money(-7),
        counted_at: NOW,
        touches: vec![
            Touch(i64::MAX, -4, HOSTILE[0].to_owned()),
            Touch(0, 0, String::new()),
        ]
        .into(),
    }
}

async fn save(store: &Store, changed: &[(&HeldOrder, &Order)], gone: &[&HeldOrder]) {
    let mut tx = store.begin_lane().await.unwrap();
    let mut writes = Writes::default();
    tx.save_orders(changed, gone, &mut writes).await.unwrap();
    writes.send(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn load(store: &Store, exact: &[HeldOrder], whole: &[OrderKey]) -> Vec<(HeldOrder, Order)> {
    let mut tx = store.begin_lane().await.unwrap();
    let mut orders = tx.load_orders(exact, whole).await.unwrap();
    tx.commit().await.unwrap();
    orders.sort_by(|one, other| one.0.cmp(&other.0));
    orders
}

async fn an_order_comes_back_whole_from_each_of_its_holders(engine: Engine) {
    let store = new_store(engine).await;
    let holders = [Holder::Sender, Holder::Nobody, Holder::Visitor(visitor(7))];
    let mut all = Vec::new();
    for id in HOSTILE {
        for (holder, sign) in holders.into_iter().zip([1, -1, 0]) {
            all.push((claim(id, holder), order(sign)));
        }
    }
    all[1].1.visitor = None;
    let changed: Vec<_> = all.iter().map(|(claim, order)| (claim, order)).collect();
    save(&store, &[], &[]).await;
    save(&store, &changed, &[]).await;
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let claims: Vec<HeldOrder> = all.iter().map(|(claim, _)| claim.clone()).collect();
    assert_eq!(load(&store, &claims, &[]).await, all);
    assert!(load(&store, &[], &[]).await.is_empty());
    // What anybody said of an order, and nobody of another.
    let whole = [
        claim(HOSTILE[0], Holder::Sender).0,
        claim("none", Holder::Sender).0,
    ];
    let expected: Vec<_> = all
        .iter()
        .filter(|(claim, _)| claim.0 == whole[0])
        .cloned()
        .collect();
    assert_eq!(expected.len(), 3);
    assert_eq!(load(&store, &[], &whole).await, expected);
    let mut tx = store.begin_lane().await.unwrap();
    let told = tx.told_orders(&whole.clone().into()).await.unwrap();
    assert_eq!(told, [whole[0].clone()].into());
    assert!(tx.told_orders(&[].into()).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    // Another currency and another site are another order.
    let mut other = claim(HOSTILE[0], Holder::Sender);
    other.0.currency = String::new();
    let mut elsewhere = claim(HOSTILE[0], Holder::Sender);
    elsewhere.0.site = "Shop".to_owned();
    assert!(load(&store, &[other, elsewhere], &[]).await.is_empty());
    store.close().await;
}

async fn an_order_is_changed_or_goes(engine: Engine) {
    let store = new_store(engine).await;
    let (one, other) = (claim("1", Holder::Sender), claim("2", Holder::Nobody));
    save(&store, &[(&one, &order(1)), (&other, &order(1))], &[]).await;
    let changed = Order {
        place: Place {
            link: 8,
            ..order(-1).place
        },
        ..order(-1)
    };
    save(
        &store,
        &[(&one, &changed)],
        &[&other, &claim("3", Holder::Nobody)],
    )
    .await;
    let left = load(&store, &[one.clone(), other], &[]).await;
    assert_eq!(left, [(one, changed)]);
    store.close().await;
}

async fn orders_are_forgotten_after_half_a_year_two_days_at_once(engine: Engine) {
    let store = new_store(engine).await;
    store.forget_orders(NOW).await.unwrap();
    let claims: Vec<HeldOrder> = (0..6)
        .map(|number| claim(&number.to_string(), Holder::Nobody))
        .collect();
    let orders: Vec<Order> = (0..6)
        .map(|day| Order {
            counted_at: Micros(NOW.0 + day * Micros::DAY),
            ..order(1)
        })
        .collect();
    let all: Vec<_> = claims.iter().zip(&orders).collect();
    save(&store, &all, &[]).await;
    let later = |days: i64| Micros(NOW.0 + days * Micros::DAY);
    for (at, left) in [
        (later(183), 6),
        (later(184), 5),
        (later(9_999), 3),
        (later(9_999), 1),
        (later(9_999), 0),
    ] {
        store.forget_orders(at).await.unwrap();
        assert_eq!(count(&store, "orders").await, left, "{at:?}");
    }
    store.close().await;
}

on_both!(
    an_order_comes_back_whole_from_each_of_its_holders,
    an_order_is_changed_or_goes,
    orders_are_forgotten_after_half_a_year_two_days_at_once,
);

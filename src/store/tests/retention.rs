//! What is deleted after its time.

use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Hit, Kind};
use crate::store::Store;
use crate::store::retention::{Pace, RemovedMonth, Retired};

use super::rig::{Engine, on_both};
use super::{NOW, count, hit, insert, new_store};

const DAY: i64 = 24 * Micros::HOUR;

fn at(text: &str) -> Micros {
    Micros::parse_rfc3339(text).unwrap()
}

/// Hits of these times, in this order.
async fn insert_at(store: &Store, times: &[&str]) {
    let hits: Vec<Hit> = times
        .iter()
        .map(|time| {
            let mut hit = hit(Kind::Open);
            hit.received_at = at(time);
            hit
        })
        .collect();
    insert(store, &hits).await;
}

fn month(month: &str, hits: i64) -> RemovedMonth {
    RemovedMonth {
        month: month.to_owned(),
        hits,
    }
}

async fn months_go_oldest_first_and_one_a_day(engine: Engine) {
    let store = new_store(engine).await;
    // An empty month before and between them is none.
    store
        .prepare_months(at("2025-12-15T00:00:00Z"))
        .await
        .unwrap();
    let times = [
        "2026-01-31T23:59:59.999999Z",
        "2026-02-01T00:00:00Z",
        "2026-02-10T00:00:00Z",
        "2026-04-30T23:59:59.999999Z",
        "2026-05-01T00:00:00Z",
    ];
    insert_at(&store, &times).await;
    let from = at("2026-08-20T00:00:00Z");
    let keep_all = store.retire(from, NOW, 0, Pace::AtOnce).await.unwrap();
    assert_eq!(keep_all, Retired::default());
    let first = store.retire(from, NOW, 3, Pace::OneADay).await.unwrap();
    let expected = Retired {
        removed: vec![month("2026-01", 1)],
        is_more: true,
    };
    assert_eq!(first, expected);
    let same_day = store
        .retire(from, Micros(NOW.0 + DAY - 1), 3, Pace::OneADay)
        .await
        .unwrap();
    assert_eq!(
        same_day,
        Retired {
            removed: Vec::new(),
            is_more: true
        }
    );
    let next_day = store
        .retire(from, Micros(NOW.0 + DAY), 3, Pace::OneADay)
        .await
        .unwrap();
    assert_eq!(
        next_day,
        Retired {
            removed: vec![month("2026-02", 2)],
            is_more: true
        }
    );
    // What a future that was none has removed keeps nobody from it.
    let earlier = store
        .retire(from, Micros(NOW.0 - 9 * DAY), 3, Pace::OneADay)
        .await
        .unwrap();
    assert_eq!(
        earlier,
        Retired {
            removed: vec![month("2026-04", 1)],
            is_more: false
        }
    );
    assert_eq!(count(&store, "hits").await, 1);
    let none = store
        .retire(from, NOW, u32::MAX, Pace::AtOnce)
        .await
        .unwrap();
    assert_eq!(none, Retired::default());
    store.close().await;
}

async fn all_months_go_at_once_where_somebody_asks(engine: Engine) {
    let store = new_store(engine).await;
    insert_at(
        &store,
        &[
            "2024-12-31T00:00:00Z",
            "2025-01-01T00:00:00Z",
            "2026-08-01T00:00:00Z",
        ],
    )
    .await;
    let retired = store
        .retire(at("2026-08-20T00:00:00Z"), NOW, 1, Pace::AtOnce)
        .await
        .unwrap();
    let expected = Retired {
        removed: vec![month("2024-12", 1), month("2025-01", 1)],
        is_more: false,
    };
    assert_eq!(retired, expected);
    assert_eq!(count(&store, "hits").await, 1);
    assert_eq!(count(&store, "removed_months").await, 2);
    // The numbers go on.
    assert_eq!(store.last_seq().await.unwrap(), 3);
    store.close().await;
}

async fn the_newest_hit_is_that_before_a_time(engine: Engine) {
    let store = new_store(engine).await;
    assert_eq!(store.newest_hit_before(NOW).await.unwrap(), None);
    insert_at(
        &store,
        &[
            "2026-01-01T00:00:00Z",
            "2026-02-01T00:00:00Z",
            "2099-01-01T00:00:00Z",
        ],
    )
    .await;
    let newest = async |time: &str| store.newest_hit_before(at(time)).await.unwrap();
    assert_eq!(
        newest("2026-03-01T00:00:00Z").await,
        Some(at("2026-02-01T00:00:00Z"))
    );
    assert_eq!(
        newest("2026-02-01T00:00:00Z").await,
        Some(at("2026-01-01T00:00:00Z"))
    );
    assert_eq!(newest("2026-01-01T00:00:00Z").await, None);
    store.close().await;
}

async fn keys_are_known_for_a_week(engine: Engine) {
    let store = new_store(engine).await;
    let key = ("site".to_owned(), "key");
    let mut tx = store.begin_lane().await.unwrap();
    tx.insert_idempotency_keys(std::iter::once(key), NOW)
        .await
        .unwrap();
    tx.insert_sent_keys(DeliveryId(5), vec![("key".to_owned(), 7)], NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for (later, left) in [(0, 1), (7 * DAY, 1), (7 * DAY + 1, 0)] {
        store.forget_keys(Micros(NOW.0 + later)).await.unwrap();
        assert_eq!(count(&store, "idempotency_keys").await, left, "{later}");
        assert_eq!(count(&store, "sent_keys").await, left, "{later}");
    }
    store.close().await;
}

on_both!(
    months_go_oldest_first_and_one_a_day,
    all_months_go_at_once_where_somebody_asks,
    the_newest_hit_is_that_before_a_time,
    keys_are_known_for_a_week,
);

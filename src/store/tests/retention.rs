//! What is deleted after its time.

use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Hit, Kind};
use crate::store::retention::{Pace, RemovedMonth, Retired};
use crate::store::{Either, SqliteTransaction, Store};

use super::rig::{Engine, on_both};
use uuid::Uuid;

use super::{NOW, count, hit, insert, new_store, text};

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
        ..Retired::default()
    };
    assert_eq!(first, expected);
    let same_day = store
        .retire(from, Micros(NOW.0 + Micros::DAY - 1), 3, Pace::OneADay)
        .await
        .unwrap();
    assert_eq!(
        same_day,
        Retired {
            removed: Vec::new(),
            is_more: true,
            ..Retired::default()
        }
    );
    let next_day = store
        .retire(from, Micros(NOW.0 + Micros::DAY), 3, Pace::OneADay)
        .await
        .unwrap();
    assert_eq!(
        next_day,
        Retired {
            removed: vec![month("2026-02", 2)],
            is_more: true,
            ..Retired::default()
        }
    );
    // What a future that was none has removed keeps nobody from it.
    let earlier = store
        .retire(from, Micros(NOW.0 - 9 * Micros::DAY), 3, Pace::OneADay)
        .await
        .unwrap();
    assert_eq!(
        earlier,
        Retired {
            removed: vec![month("2026-04", 1)],
            is_more: false,
            ..Retired::default()
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
        ..Retired::default()
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
    for (later, left) in [(0, 1), (7 * Micros::DAY, 1), (7 * Micros::DAY + 1, 0)] {
        store.forget_keys(Micros(NOW.0 + later)).await.unwrap();
        assert_eq!(count(&store, "idempotency_keys").await, left, "{later}");
        assert_eq!(count(&store, "sent_keys").await, left, "{later}");
    }
    store.close().await;
}

/// A dump, or an analyst who has gone for lunch.
async fn a_reader_holds_nobody_up(engine: Engine) {
    let store = new_store(engine).await;
    insert_at(&store, &["2026-01-31T00:00:00Z", "2026-08-01T00:00:00Z"]).await;
    let mut reader = store.begin().await.unwrap();
    if engine == Engine::Sqlite {
        // Readers of an embedded database stand in nobody's way; a transaction of its writer does.
        reader.commit().await.unwrap();
        reader = Either::Sqlite(
            SqliteTransaction::begin(match store.reader() {
                Either::Sqlite(pool) => pool,
                Either::Postgres(_) => unreachable!(),
            })
            .await
            .unwrap(),
        );
    }
    let sql = "select count(*) from hits";
    let seen: i64 =
        both!(&mut reader, c => sqlx::query_scalar(sql).fetch_one(&mut **c).await).unwrap();
    assert_eq!(seen, 2);

    // A month is made ahead, one within the lane, and one goes.
    store
        .prepare_months(at("2027-03-01T00:00:00Z"))
        .await
        .unwrap();
    let from = at("2026-08-20T00:00:00Z");
    let retired = store.retire(from, NOW, 3, Pace::OneADay).await.unwrap();
    assert_eq!(retired.removed, [month("2026-01", 1)]);
    let held = match engine {
        Engine::Postgres => vec!["2026-01".to_owned()],
        Engine::Sqlite => Vec::new(),
    };
    assert_eq!(retired.held, held);
    insert_at(&store, &["2026-09-01T00:00:00Z", "2026-08-01T00:00:00Z"]).await;
    assert_eq!(
        count(&store, "hits").await,
        3,
        "what goes is not read any more"
    );
    let again = store.retire(from, NOW, 3, Pace::OneADay).await.unwrap();
    assert_eq!((again.removed, again.held), (vec![], held));

    reader.commit().await.unwrap();
    let last = store.retire(from, NOW, 3, Pace::OneADay).await.unwrap();
    assert_eq!(last, Retired::default());
    if engine == Engine::Postgres {
        let sql = "select cast(count(*) as text) from pg_class where relname = 'hits_2026_01'";
        assert_eq!(text(&store, sql).await.as_deref(), Some("0"));
    }
    // The month can come back.
    insert_at(&store, &["2026-01-01T00:00:00Z"]).await;
    assert_eq!(count(&store, "hits").await, 4);
    assert_eq!(count(&store, "removed_months").await, 1);
    store.close().await;
}

/// As an operator may have: a copy of a month, or one that was taken out by hand.
async fn a_table_of_somebody_elses_stays(engine: Engine) {
    if engine == Engine::Sqlite {
        return;
    }
    let store = new_store(engine).await;
    insert_at(&store, &["2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z"]).await;
    let mut tx = store.begin().await.unwrap();
    tx.run("alter table hits detach partition hits_2026_01")
        .await
        .unwrap();
    tx.run("create table hits_2025_12 as select * from hits")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    insert_at(&store, &["2026-01-31T00:00:00Z", "2025-12-01T00:00:00Z"]).await;
    let from = at("2026-08-20T00:00:00Z");
    let retired = store.retire(from, NOW, 3, Pace::AtOnce).await.unwrap();
    let expected = [
        month("2025-12", 1),
        month("2026-01", 1),
        month("2026-02", 1),
    ];
    assert_eq!(retired.removed, expected);
    assert_eq!(count(&store, "hits_2026_01").await, 1);
    assert_eq!(count(&store, "hits_2025_12").await, 1);
    store.close().await;
}

async fn who_clicked_goes_with_the_clicks_and_how_many_stays(engine: Engine) {
    let store = new_store(engine).await;
    insert_at(&store, &["2026-01-31T00:00:00Z", "2026-08-01T00:00:00Z"]).await;
    let mut tx = store.begin().await.unwrap();
    for (visitor, time) in [
        (1_u128, "2026-01-31T00:00:00Z"),
        (2, "2026-02-01T00:00:00Z"),
    ] {
        let sql = "insert into clicking_visitors (delivery_id, link_id, visitor_id, first_at) \
            values (5, 0, $1, $2)";
        both!(&mut tx, c => sqlx::query(sql).bind(Uuid::from_u128(visitor)).bind(at(time))
            .execute(&mut **c).await.map(|_| ()))
        .unwrap();
    }
    tx.run("insert into click_figures (delivery_id, link_id, visitors) values (5, 0, 2)")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let from = at("2026-08-20T00:00:00Z");
    store.retire(from, NOW, 3, Pace::OneADay).await.unwrap();
    assert_eq!(count(&store, "clicking_visitors").await, 1);
    assert_eq!(count(&store, "click_figures where visitors = 2").await, 1);
    store.close().await;
}

async fn many_rows_go_in_portions(engine: Engine) {
    let store = new_store(engine).await;
    let old: Vec<Hit> = (0..4_500)
        .map(|_| {
            let mut hit = hit(Kind::Open);
            hit.received_at = at("2026-01-31T00:00:00Z");
            hit
        })
        .collect();
    insert(&store, &old).await;
    insert_at(&store, &["2026-02-01T00:00:00Z"]).await;
    let from = at("2026-08-20T00:00:00Z");
    let retired = store.retire(from, NOW, 3, Pace::OneADay).await.unwrap();
    assert_eq!(retired.removed, [month("2026-01", 4_500)]);
    assert_eq!(count(&store, "hits").await, 1);
    let told = text(&store, "select cast(sum(hits) as text) from removed_months").await;
    assert_eq!(told.as_deref(), Some("4500"));

    let keys =
        |from: i64| (from..from + 4_500).map(|number| ("site".to_owned(), number.to_string()));
    let keys: Vec<(String, String)> = keys(0).collect();
    let mut tx = store.begin_lane().await.unwrap();
    let all = keys
        .iter()
        .map(|(scope, key)| (scope.clone(), key.as_str()));
    tx.insert_idempotency_keys(all, NOW).await.unwrap();
    tx.commit().await.unwrap();
    store
        .forget_keys(Micros(NOW.0 + 7 * Micros::DAY + 1))
        .await
        .unwrap();
    assert_eq!(count(&store, "idempotency_keys").await, 0);
    store.close().await;
}

on_both!(
    months_go_oldest_first_and_one_a_day,
    all_months_go_at_once_where_somebody_asks,
    the_newest_hit_is_that_before_a_time,
    keys_are_known_for_a_week,
    a_reader_holds_nobody_up,
    a_table_of_somebody_elses_stays,
    who_clicked_goes_with_the_clicks_and_how_many_stays,
    many_rows_go_in_portions,
);

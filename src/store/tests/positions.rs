//! Positions of spools, quarantine, and partitions.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::clock::Micros;
use crate::model::hit::Kind;
use crate::store::maintenance::{PartitionMonth, Quarantined, SpoolPlace};
use crate::store::{Tx, Writes};
use uuid::Uuid;

use super::rig::{Engine, on_both, wait_for};
use super::{HOSTILE, NOW, count, hit, insert, new_database, new_store, open_at, texts};

async fn a_position_moves_with_its_transaction(engine: Engine) {
    let store = new_store(engine).await;
    let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    assert!(!store.was_served().await.unwrap());
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(
        tx.hold_place(one, NOW).await.unwrap(),
        SpoolPlace::default()
    );
    let place = |position, start: Option<u128>| SpoolPlace {
        position,
        start_id: start.map(Uuid::from_u128),
    };
    set_place(&mut tx, one, place(i64::MAX, Some(9))).await;
    set_place(&mut tx, other, place(-1, None)).await;
    tx.commit().await.unwrap();
    assert!(store.was_served().await.unwrap());
    let mut tx = store.begin_lane().await.unwrap();
    set_place(&mut tx, one, place(7, None)).await;
    assert_eq!(tx.hold_place(one, NOW).await.unwrap(), place(7, None));
    tx.rollback().await.unwrap();
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(
        tx.hold_place(one, NOW).await.unwrap(),
        place(i64::MAX, Some(9))
    );
    assert_eq!(tx.hold_place(other, NOW).await.unwrap(), place(-1, None));
    tx.commit().await.unwrap();
    store.close().await;
}

/// A killed server may have left a session that is just committing: whoever goes on with its spool
/// waits for that, also where the spool has no position yet.
#[tokio::test]
async fn on_postgres_a_position_is_held_until_its_transaction_ends() {
    let url = new_database(Engine::Postgres).await;
    let (left, new) = (open_at(&url).await, open_at(&url).await);
    let spool = Uuid::from_u128(1);
    for position in [7, 8] {
        let mut tx = left.begin_beside().await.unwrap();
        tx.hold_place(spool, NOW).await.unwrap();
        let next = new.clone();
        let waiting = tokio::spawn(async move {
            let mut tx = next.begin_beside().await.unwrap();
            let found = tx.hold_place(spool, NOW).await.unwrap();
            tx.rollback().await.unwrap();
            found.position
        });
        wait_for("the other waits", Duration::from_secs(20), async || {
            let locks = "pg_stat_activity where datname = current_database()
                         and wait_event_type = 'Lock'";
            waiting.is_finished() || count(&left, locks).await > 0
        })
        .await;
        let place = SpoolPlace {
            position,
            start_id: None,
        };
        set_place(&mut tx, spool, place).await;
        tx.commit().await.unwrap();
        assert_eq!(waiting.await.unwrap(), position);
    }
    left.close().await;
    new.close().await;
}

async fn the_quarantine_gives_back_what_was_put_into_it(engine: Engine) {
    let store = new_store(engine).await;
    let records: Vec<Quarantined> = (0..8_i64)
        .map(|number| Quarantined {
            id: Uuid::from_u128(100 - number as u128),
            spool_id: Uuid::from_u128(7),
            position: i64::MIN + number,
            quarantined_at: Micros(NOW.0 + number / 2),
            reason: HOSTILE[number as usize].to_owned(),
            body: (0..=255).cycle().take(number as usize * 40_000).collect(),
        })
        .collect();
    let mut tx = store.begin().await.unwrap();
    for record in &records {
        tx.quarantine(record).await.unwrap();
    }
    tx.commit().await.unwrap();
    // Newest first, those of one time in the order of ids.
    let expected: Vec<Quarantined> = [7, 6, 5, 4, 3, 2, 1, 0]
        .map(|number| records[number].clone())
        .to_vec();
    assert_eq!(store.quarantined(None, 100).await.unwrap(), expected);
    assert_eq!(store.quarantined(None, 3).await.unwrap(), expected[..3]);
    assert_eq!(
        store.quarantined(Some(records[2].id), 100).await.unwrap(),
        records[2..3]
    );
    assert_eq!(store.quarantined(Some(Uuid::nil()), 100).await.unwrap(), []);
    let mut tx = store.begin().await.unwrap();
    let error = tx.quarantine(&records[2]).await.unwrap_err();
    assert!(crate::store::is_refusal(&error), "it is there: {error:?}");
    tx.rollback().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.remove_quarantined(records[2].id).await.unwrap();
    tx.remove_quarantined(records[2].id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&store, "quarantine").await, 7);
    store.close().await;
}

#[test]
fn a_month_is_told_from_its_neighbours() {
    let of = |text: &str| PartitionMonth::of(Micros::parse_rfc3339(text).unwrap());
    let december = of("1969-12-31T23:59:59.999999Z");
    assert_eq!(december, of("1969-12-01T00:00:00Z"));
    assert_eq!(december.plus(1), of("1970-01-01T00:00:00Z"));
    assert_eq!(december.plus(-12), of("1968-12-15T00:00:00Z"));
    assert_eq!(
        of("2024-02-29T00:00:00Z").plus(0),
        of("2024-02-01T00:00:00Z")
    );
    assert!(december < december.plus(1) && december.plus(1) < december.plus(2));
}

async fn partitions_are_made_ahead_and_again_without_harm(engine: Engine) {
    let store = new_store(engine).await;
    let now = Micros::parse_rfc3339("2026-11-30T23:59:59.999999Z").unwrap();
    for _ in 0..2 {
        store.prepare_months(now).await.unwrap();
        let mut tx = store.begin_lane().await.unwrap();
        tx.ensure_partitions(&BTreeSet::new()).await.unwrap();
        tx.commit().await.unwrap();
    }
    if engine == Engine::Postgres {
        let partitions = texts(
            &store,
            "select relname::text from pg_class where relname ~ '^hits_[0-9_]+$' order by 1",
        )
        .await;
        let expected =
            ["hits_2026_11", "hits_2026_12", "hits_2027_01"].map(|name| Some(name.to_owned()));
        assert_eq!(partitions, expected);
    }
    for at in ["2026-11-01T00:00:00Z", "2027-01-31T23:59:59.999999Z"] {
        let mut hit = hit(Kind::Open);
        hit.received_at = Micros::parse_rfc3339(at).unwrap();
        insert(&store, &[hit]).await;
    }
    assert_eq!(count(&store, "hits").await, 2);
    store.close().await;
}

/// Servers that start together, and their projections.
async fn many_make_the_same_partitions_at_once(engine: Engine) {
    let store = new_store(engine).await;
    for month in 1..=6 {
        let now = Micros::parse_rfc3339(&format!("2031-{month:02}-15T00:00:00Z")).unwrap();
        let make = || store.prepare_months(now);
        let all = tokio::join!(make(), make(), make(), make());
        assert!(
            all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok(),
            "{all:?}"
        );
    }
    store.close().await;
}

on_both!(
    a_position_moves_with_its_transaction,
    the_quarantine_gives_back_what_was_put_into_it,
    partitions_are_made_ahead_and_again_without_harm,
    many_make_the_same_partitions_at_once,
);

async fn set_place(tx: &mut Tx, spool: Uuid, place: SpoolPlace) {
    let mut writes = Writes::default();
    tx.set_place(spool, place, NOW, &mut writes).await.unwrap();
    writes.send(tx).await.unwrap();
}

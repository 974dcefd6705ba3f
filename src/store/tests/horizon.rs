//! Numbers of hits in blocks, and the horizon up to which hits are read.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::both;
use crate::model::hit::{Hit, HitRow, Kind};
use crate::store::hits::HitFilter;
use crate::store::maintenance::PartitionMonth;
use crate::store::{Store, Tx};

use super::rig::{Engine, on_both, wait_for};
use super::{NOW, count, hit, insert, new_database, new_store, open_at};

/// A transaction that has taken numbers and written its hits under them, beside all others.
async fn write(store: &Store, hits: &[Hit]) -> (Tx, i64) {
    let mut tx = store.begin().await.unwrap();
    let first = tx.take_hit_numbers(hits.len() as i64).await.unwrap();
    let rows: Vec<HitRow<'_>> = (first..)
        .zip(hits)
        .map(|(seq, hit)| HitRow {
            seq,
            hit,
            contact_id: None,
            counted_revenue: None,
        })
        .collect();
    tx.insert_hits(&rows).await.unwrap();
    (tx, first)
}

fn two() -> [Hit; 2] {
    [hit(Kind::Open), hit(Kind::Open)]
}

async fn make_partition(store: &Store) {
    let mut tx = store.begin_lane().await.unwrap();
    let months = BTreeSet::from([PartitionMonth::of(NOW)]);
    tx.ensure_partitions(&months).await.unwrap();
    tx.commit().await.unwrap();
}

async fn read_up_to(store: &Store, until: i64) -> Vec<i64> {
    let page = store
        .hits_between(&HitFilter::default(), 0, until, 100)
        .await
        .unwrap();
    page.hits.iter().map(|hit| hit.seq).collect()
}

#[tokio::test]
async fn the_horizon_waits_below_the_least_block_that_is_being_written() {
    let store = new_store(Engine::Postgres).await;
    make_partition(&store).await;
    let (early, first) = write(&store, &two()).await;
    let (late, second) = write(&store, &two()).await;
    assert_eq!((first, second), (1, 3));
    late.commit().await.unwrap();
    assert_eq!(count(&store, "hits").await, 2);
    assert_eq!(store.last_seq().await.unwrap(), 0, "1 and 2 may still come");
    assert_eq!(count(&store, "readable_hits").await, 0);
    let all = HitFilter::default();
    let newest = store.hits_before(&all, i64::MAX, 9).await.unwrap();
    assert_eq!(newest.hits.len(), 0);
    early.commit().await.unwrap();
    assert_eq!(store.last_seq().await.unwrap(), 4);
    assert_eq!(count(&store, "readable_hits").await, 4);
    assert_eq!(read_up_to(&store, 4).await, [1, 2, 3, 4]);
    store.close().await;
}

/// What a killed server leaves: Postgres ends its session and with it the transaction.
#[tokio::test]
async fn a_writer_that_is_killed_holds_the_horizon_no_longer() {
    let url = new_database(Engine::Postgres).await;
    let (store, other) = (open_at(&url).await, open_at(&url).await);
    make_partition(&store).await;
    let (mut killed, _) = write(&other, &two()).await;
    assert_eq!(insert(&store, &two()).await, 3);
    assert_eq!(store.last_seq().await.unwrap(), 0);
    let crate::store::Either::Postgres(session) = &mut killed else {
        panic!("not Postgres");
    };
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut **session)
        .await
        .unwrap();
    let kill = format!("(select pg_terminate_backend({pid})) as killed");
    assert_eq!(count(&store, &kill).await, 1);
    wait_for("the horizon goes on", Duration::from_secs(10), async || {
        store.last_seq().await.unwrap() == 4
    })
    .await;
    assert_eq!(read_up_to(&store, 4).await, [3, 4], "its numbers are gone");
    assert_eq!(insert(&store, &two()).await, 5, "and come never again");
    assert_eq!(
        count(&store, "hit_blocks").await,
        1,
        "what has ended is cleared away"
    );
    drop(killed);
    other.close().await;
    store.close().await;
}

/// Transactions have other numbers in the cluster that a dump is restored into.
#[tokio::test]
async fn a_block_out_of_another_databases_dump_holds_nothing() {
    let store = new_store(Engine::Postgres).await;
    assert_eq!(insert(&store, &two()).await, 1);
    let mut tx = store.begin().await.unwrap();
    tx.run("insert into hit_blocks (first, writer) values (0, 3), (2, 1000000000000)")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.last_seq().await.unwrap(), 2);
    assert_eq!(insert(&store, &two()).await, 3);
    assert_eq!(count(&store, "hit_blocks").await, 1);
    store.close().await;
}

/// As many transactions as there are connections wait behind the one that takes numbers.
#[tokio::test]
async fn numbers_are_to_be_had_while_all_connections_are_in_use() {
    let store = new_store(Engine::Postgres).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(store.begin().await.unwrap());
    }
    assert_eq!(open[0].take_hit_numbers(1).await.unwrap(), 1);
    assert_eq!(open[1].take_hit_numbers(1).await.unwrap(), 2);
    drop(open);
    store.close().await;
}

async fn the_horizon_reaches_the_last_hit_that_is_stored(engine: Engine) {
    let store = new_store(engine).await;
    let horizon = async || {
        let sql = "select seq from hit_horizon";
        both!(store.reader(), pool => sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await)
            .unwrap()
    };
    assert_eq!(horizon().await, 0);
    insert(&store, &two()).await;
    assert_eq!((horizon().await, store.last_seq().await.unwrap()), (2, 2));
    assert_eq!(count(&store, "readable_hits").await, 2);
    store.close().await;
}

on_both!(the_horizon_reaches_the_last_hit_that_is_stored);

//! Transactions, counters, and the lane in which servers take turns.

use std::time::Duration;

use crate::model::hit::{Hit, Kind};
use crate::store::hits::HitFilter;
use crate::store::{Either, MOST_COUNTED, Meanwhile, Store};

use super::rig::{Engine, on_both, wait_for};
use super::{count, hit, insert, new_database, new_store, open_at};

async fn take(store: &Store, counter: &'static str, count: i64) -> i64 {
    let mut tx = store.begin_lane().await.unwrap();
    let first = tx.take_numbers(counter, count).await.unwrap();
    tx.commit().await.unwrap();
    first
}

async fn reserve(store: &Store, number: i64) {
    let mut tx = store.begin_lane().await.unwrap();
    tx.reserve_number("link", number).await.unwrap();
    tx.commit().await.unwrap();
}

async fn numbers_are_given_out_once_and_chosen_ones_never(engine: Engine) {
    let store = new_store(engine).await;
    assert_eq!(take(&store, "link", 1).await, 1);
    assert_eq!(take(&store, "link", 5).await, 2);
    assert_eq!(
        take(&store, "delivery", 1).await,
        1,
        "each counter has its own"
    );
    reserve(&store, 100).await;
    assert_eq!(take(&store, "link", 1).await, 101);
    // One that was passed already, negative ones, and those that no counter reaches.
    for number in [50, 0, -7, i64::MIN, MOST_COUNTED + 1, i64::MAX] {
        reserve(&store, number).await;
    }
    assert_eq!(take(&store, "link", 1).await, 102);
    reserve(&store, MOST_COUNTED).await;
    assert_eq!(take(&store, "link", 1).await, MOST_COUNTED + 1);
    assert_eq!(
        take(&store, "link", 0).await,
        MOST_COUNTED + 2,
        "none were taken"
    );
    assert_eq!(take(&store, "link", 1).await, MOST_COUNTED + 2);
    store.close().await;
}

async fn what_is_undone_or_dropped_is_not_there(engine: Engine) {
    let store = new_store(engine).await;
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.take_numbers("link", 10).await.unwrap(), 1);
    tx.rollback().await.unwrap();
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(tx.take_numbers("link", 10).await.unwrap(), 1);
    drop(tx);
    // The lane is free again as well.
    assert_eq!(take(&store, "link", 1).await, 1);
    store.close().await;
}

async fn a_savepoint_undoes_what_came_after_it(engine: Engine) {
    let store = new_store(engine).await;
    let mut tx = store.begin_lane().await.unwrap();
    tx.take_numbers("link", 1).await.unwrap();
    tx.run("savepoint part").await.unwrap();
    tx.take_numbers("link", 10).await.unwrap();
    tx.run("rollback to savepoint part").await.unwrap();
    tx.run("release savepoint part").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(take(&store, "link", 1).await, 2);
    store.close().await;
}

/// Whoever reads on to the horizon skips nothing while servers write at the same time.
async fn readers_skip_nothing_while_servers_write(engine: Engine) {
    const WRITERS: usize = 4;
    const TURNS: usize = 8;
    let url = new_database(engine).await;
    let store = open_at(&url).await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        // Each a server of its own.
        let store = open_at(&url).await;
        writers.push(tokio::spawn(async move {
            let mut written = 0;
            for turn in 0..TURNS {
                let count = [1, 9, 300][(writer + turn) % 3];
                let hits: Vec<Hit> = (0..count).map(|_| hit(Kind::Open)).collect();
                insert(&store, &hits).await;
                written += count;
            }
            store.close().await;
            written
        }));
    }
    let mut read = 0;
    let mut read_on = async || {
        let until = store.last_seq().await.unwrap();
        while read < until {
            let page = store
                .hits_between(&HitFilter::default(), read, until, 500)
                .await
                .unwrap();
            for hit in &page.hits {
                assert_eq!(hit.seq, read + 1, "nothing appears below what was read");
                read = hit.seq;
            }
            assert!(!page.hits.is_empty(), "the last number is that of a hit");
        }
        read
    };
    let mut total = 0;
    for writer in writers {
        while !writer.is_finished() {
            read_on().await;
        }
        total += writer.await.unwrap();
    }
    assert_eq!(read_on().await, total);
    assert_eq!(count(&store, "hits").await, total);
    store.close().await;
}

async fn the_lane_is_waited_for(engine: Engine) {
    let url = new_database(engine).await;
    let (one, other) = (open_at(&url).await, open_at(&url).await);
    let mut first = one.begin_lane().await.unwrap();
    first.take_numbers("hit", 1).await.unwrap();
    let second = tokio::spawn(async move {
        let seq = take(&other, "hit", 1).await;
        other.close().await;
        seq
    });
    // Readers do not wait with it.
    assert_eq!(one.last_seq().await.unwrap(), 0);
    if engine == Engine::Postgres {
        let waits = "pg_locks where locktype = 'advisory' and not granted
                     and database = (select oid from pg_database
                                     where datname = current_database())";
        wait_for("the second waits", Duration::from_secs(10), async || {
            count(&one, waits).await == 1
        })
        .await;
    }
    assert!(!second.is_finished());
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), 2);
    one.close().await;
}

/// Whoever has its turn waits for nobody who reads and decides; whoever is alone waits for all.
#[tokio::test]
async fn on_postgres_a_turn_is_had_beside_what_others_read() {
    let url = new_database(Engine::Postgres).await;
    let (one, other) = (open_at(&url).await, open_at(&url).await);
    let mut reading = one.begin_beside().await.unwrap();
    let turn = other.begin_turn().await.unwrap();
    turn.commit().await.unwrap();
    assert_eq!(reading.take_turn().await.unwrap(), Meanwhile::Turns);
    let alone = tokio::spawn(async move {
        let tx = other.begin_lane().await.unwrap();
        tx.rollback().await.unwrap();
        other.close().await;
    });
    wait_for("it waits", Duration::from_secs(20), async || {
        let waits = "pg_stat_activity where datname = current_database()
                     and wait_event = 'advisory'";
        alone.is_finished() || count(&one, waits).await > 0
    })
    .await;
    assert!(!alone.is_finished());
    reading.commit().await.unwrap();
    alone.await.unwrap();
    one.close().await;
}

/// A server vanishes while it copies rows: to Postgres a statement is running, and it would wait
/// for the rest for ever, with the lane.
#[tokio::test]
async fn on_postgres_a_session_that_fell_silent_while_it_copied_is_ended() {
    let url = new_database(Engine::Postgres).await;
    let patience = Duration::from_millis(300);
    let open = async || Store::open(&url, 2, patience).await.unwrap();
    let (gone, other) = (open().await, open().await);
    let Either::Postgres(mut lane) = gone.begin_lane().await.unwrap() else {
        unreachable!("it is Postgres")
    };
    let (connection, _) = lane.parts().unwrap();
    let copy = connection.copy_in_raw("copy untold_opt_outs from stdin");
    let copy = copy.await.unwrap();
    // It says nothing more, and does not say goodbye.
    let second = tokio::time::timeout(Duration::from_secs(30), other.begin_lane());
    let second = second.await.expect("it gets its turn").unwrap();
    second.commit().await.unwrap();
    drop(copy);
    drop(lane);
    other.close().await;
}

on_both!(
    numbers_are_given_out_once_and_chosen_ones_never,
    what_is_undone_or_dropped_is_not_there,
    a_savepoint_undoes_what_came_after_it,
    readers_skip_nothing_while_servers_write,
    the_lane_is_waited_for,
);

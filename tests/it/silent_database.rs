//! Postgres falls silent without closing a connection, as where its machine dies or another one
//! takes its place: it is noticed, on both sides.

use std::time::{Duration, Instant};

use sillage::both;
use sillage::door::{Either, Store};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::full_spool::hold_hits;
use crate::harness::{Campaign, Db, Engine, Load, Network, PostgresServer, TestServer, wait_for};

/// `database.patience` of these tests, so that they are short.
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_are_stored_once_after_a_silence_without_a_restart() {
    let url = PostgresServer::new_shared_database().await;
    let network = Network::to(&url).await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        .by_way_of(&network)
        .with("DATABASE__PATIENCE", "2s")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let load = Load::start("silent", server.address(), &mail, 8, Some(300));
    wait_for("load and rows", Duration::from_secs(20), async || {
        load.sent() > 500 && server.db().hits().await > 100
    })
    .await;

    for round in 1..=2 {
        let stored = server.db().hits().await;
        // In the middle of a transaction, which Postgres goes on with.
        let held = hold_hits(server.db()).await;
        wait_for("a statement waits", Duration::from_secs(10), async || {
            let sql = "select count(*) from pg_stat_activity where datname = current_database() \
                and application_name = 'sillage' and wait_event = 'relation'";
            server.db().number(sql).await > 0
        })
        .await;
        network.fall_silent();
        held.release().await;
        let (silent, before) = (Instant::now(), load.sent());
        server.wait_database("down", Duration::from_secs(20)).await;
        println!("round {round}: told after {:?}", silent.elapsed());
        wait_for("more load", Duration::from_secs(20), async || {
            load.sent() > before + 1_000
        })
        .await;
        assert!(
            server.db().hits().await < stored + 300,
            "nothing gets through"
        );

        network.let_new_through();
        let open = Instant::now();
        server.wait_database("up", Duration::from_secs(30)).await;
        wait_for("what had waited", Duration::from_secs(30), async || {
            server.db().hits().await > before as i64 + 1_000
        })
        .await;
        println!("round {round}: stored after {:?}", open.elapsed());
    }

    let report = load.stop().await;
    assert_eq!(report.failures(), [], "no error, no time-out");
    server.wait_drained(Duration::from_secs(30)).await;
    let comparison = report.compare(server.db()).await;
    comparison.assert_stored_once();
    assert_eq!(server.metric("sillage_hits_lost_total").await, 0.0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_use_up_the_pool() {
    let url = PostgresServer::new_shared_database().await;
    let network = Network::to(&url).await;
    let store = Store::open(&network.url(&url), 5, PATIENCE).await.unwrap();
    for _ in 0..3 {
        let mut stuck = store.begin().await.unwrap();
        let forgotten = store.begin().await.unwrap();
        // More than the pool has left: some ask, some wait for a connection.
        let asked: Vec<_> = (0..6)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    let Either::Postgres(sessions) = store.reader() else {
                        panic!("{store:?}");
                    };
                    sqlx::query("select pg_sleep(1.5)").execute(sessions).await
                })
            })
            .collect();
        let db = Db::postgres(&url);
        wait_for("they ask", Duration::from_secs(10), async || {
            db.number(
                "select count(*) from pg_stat_activity where datname = current_database() \
                and query like 'select pg_sleep%' and state = 'active'",
            )
            .await
                == 3
        })
        .await;
        network.fall_silent();
        drop(forgotten);
        // More than all buffers on the way hold.
        let text = "x".repeat(32 << 20);
        let sql = "select length($1)";
        let error =
            both!(&mut stuck, c => sqlx::query(sql).bind(&text).execute(&mut **c).await.map(drop))
                .unwrap_err();
        assert!(sillage::door::is_away(&error), "{error}");
        drop(stuck);
        for asked in asked {
            let error = asked.await.unwrap().unwrap_err();
            assert!(sillage::door::is_away(&error), "{error}");
        }
        network.let_new_through();
        wait_for("all can be had", Duration::from_secs(20), async || {
            let begun = futures_util::future::join_all((0..5).map(|_| store.begin())).await;
            begun.iter().all(Result::is_ok)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_vanishes_in_its_transaction_does_not_keep_others_from_writing() {
    let url = PostgresServer::new_shared_database().await;
    let network = Network::to(&url).await;
    let vanishing = Store::open(&network.url(&url), 2, PATIENCE).await.unwrap();
    let other = Store::open(&url, 2, PATIENCE).await.unwrap();
    let _held = vanishing.begin_lane().await.unwrap();
    network.fall_silent();
    let waited = tokio::time::timeout(Duration::from_secs(20), other.begin_lane()).await;
    waited.expect("in time").unwrap().rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_other_servers_is_not_silence() {
    let url = PostgresServer::new_shared_database().await;
    let long = Store::open(&url, 2, PATIENCE * 30).await.unwrap();
    let other = Store::open(&url, 2, PATIENCE).await.unwrap();
    let held = long.begin_lane().await.unwrap();
    let asked = Instant::now();
    let waiting = tokio::spawn(async move { other.begin_lane().await.map(drop) });
    wait_for("twice its patience", PATIENCE * 5, async || {
        asked.elapsed() > PATIENCE * 2
    })
    .await;
    assert!(!waiting.is_finished());
    held.commit().await.unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_ask_postgres_to_notice_a_lost_server_unless_someone_set_it_otherwise() {
    const NAMES: [&str; 7] = [
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
        "tcp_keepalives_count",
        "tcp_user_timeout",
        "client_connection_check_interval",
        "idle_in_transaction_session_timeout",
        "jit",
    ];
    let settings = async |url: &str| {
        let store = Store::open(url, 2, Duration::from_secs(60)).await.unwrap();
        let Either::Postgres(sessions) = store.reader() else {
            panic!("{store:?}");
        };
        let mut values: Vec<String> = Vec::new();
        for name in NAMES {
            let value = sqlx::query_scalar("select current_setting($1)").bind(name);
            values.push(value.fetch_one(sessions).await.unwrap());
        }
        values
    };
    let url = PostgresServer::new_shared_database().await;
    assert_eq!(
        settings(&url).await,
        ["15", "5", "3", "30000", "10s", "1min", "off"]
    );
    let of_url = format!("{url}?options=-c%20tcp_keepalives_idle%3D77%20-c%20tcp_user_timeout%3D0");
    assert_eq!(
        settings(&of_url).await,
        ["77", "5", "3", "0", "10s", "1min", "off"]
    );
    let sql = "do $$ begin execute format('alter database %I set \
        idle_in_transaction_session_timeout = 0', current_database()); end $$";
    Db::postgres(&url).execute(sql, "").await;
    assert_eq!(
        settings(&url).await,
        ["15", "5", "3", "30000", "10s", "0", "off"]
    );
}

/// Poolers end a connection that asks for anything else at its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_begins_with_what_every_pooler_knows() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://somebody@127.0.0.1:{port}/sillage?sslmode=disable");
    let store = Store::open(&url, 2, PATIENCE).await.unwrap();
    let asking = tokio::spawn(async move { store.begin_lane().await.map(drop) });
    let (mut pooler, _) = listener.accept().await.unwrap();
    // Its length, counting itself, and the protocol's version; then names and values, each ended by
    // a NUL.
    let length = pooler.read_u32().await.unwrap() as usize;
    let mut message = vec![0; length - 4];
    pooler.read_exact(&mut message).await.unwrap();
    asking.abort();
    let words: Vec<&str> = message[4..]
        .split(|byte| *byte == 0)
        .map(|word| std::str::from_utf8(word).unwrap())
        .collect();
    let mut names: Vec<&str> = words
        .chunks_exact(2)
        .map(|pair| pair[0])
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    let known = [
        "DateStyle",
        "TimeZone",
        "application_name",
        "client_encoding",
        "database",
        "user",
    ];
    assert_eq!(names, known);
}

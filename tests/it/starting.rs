//! The first seconds: a server takes hits at once, and the API says what it waits for until the
//! database has its tables.

use std::time::Duration;

use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::harness::{Client, Db, Engine, PostgresServer, TestServer, wait_for};

/// How long a call of the API may wait for the tables, and what a busy machine may add.
const PATIENCE: Duration = Duration::from_secs(15);

/// Keeps whoever wants to make tables waiting, until it is closed.
async fn hold_migrations(url: &str) -> PgConnection {
    let mut holding = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("begin; create table _sqlx_migrations (held integer)")
        .execute(&mut holding)
        .await
        .unwrap();
    holding
}

async fn wait_for_migration(url: &str) {
    let db = Db::postgres(url);
    wait_for("the server makes tables", PATIENCE, async || {
        let sql = "select count(*) from pg_stat_activity where datname = current_database() and \
            application_name = 'sillage' and wait_event_type = 'Lock'";
        db.number(sql).await > 0
    })
    .await;
}

fn admin(server: &TestServer) -> Client {
    let mut client = server.client().admin();
    client.patience = PATIENCE;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_call_of_the_api_waits_for_the_tables() {
    let url = PostgresServer::new_shared_database().await;
    let holding = hold_migrations(&url).await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        .start_without_database()
        .await;
    wait_for_migration(&url).await;
    assert_eq!(server.readiness().await["api"], "starting");
    // What needs no database is answered meanwhile.
    let hit = json!({ "kind": "event", "event": "started", "page_url": "https://shop.example/" });
    let taken = admin(&server).post_json("/api/v1/hits", &hit).await;
    assert_eq!(taken.status, 202, "{}", taken.text());

    let mut client = admin(&server);
    let call = tokio::spawn(async move {
        let delivery = json!({ "label": "The first" });
        client.post_json("/api/v1/deliveries", &delivery).await
    });
    // Not before the call is there, or it would find the tables.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!call.is_finished(), "it waits");
    holding.close().await.unwrap();
    let made = call.await.unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(server.readiness().await["api"], "usable");
    assert!(!server.log().contains("does not exist"), "{}", server.log());
    server.wait_drained(PATIENCE).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waited_long_enough_for_the_tables_is_told_to_come_back() {
    let url = PostgresServer::new_shared_database().await;
    let holding = hold_migrations(&url).await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        .start_without_database()
        .await;
    wait_for_migration(&url).await;
    let told = admin(&server).get("/api/v1/deliveries").await;
    assert_eq!(told.status, 503, "{}", told.text());
    let detail = told.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with("the server is starting: "), "{detail}");
    assert!(told.header("retry-after").parse::<u32>().unwrap() > 0);
    // Strangers learn nothing and wait for nothing.
    let refused = server.client().get("/api/v1/deliveries").await;
    assert_eq!(refused.status, 401);
    holding.close().await.unwrap();
    wait_for("the API", PATIENCE, async || {
        server.readiness().await["api"] == "usable"
    })
    .await;
    let listed = admin(&server).get("/api/v1/deliveries").await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_database_was_never_reached_says_that_it_is_starting() {
    let mut postgres = PostgresServer::start().await;
    let url = postgres.new_database().await;
    postgres.kill().await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        .start_without_database()
        .await;
    wait_for("the first attempt has failed", PATIENCE, async || {
        server.readiness().await["api"] == "down"
    })
    .await;
    let told = admin(&server).get("/api/v1/deliveries").await;
    let detail = told.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(told.status, 503);
    assert!(detail.starts_with("the server is starting: "), "{detail}");
    assert!(!told.header("retry-after").is_empty());
    postgres.start_again().await;
    wait_for("the API", PATIENCE, async || {
        server.readiness().await["api"] == "usable"
    })
    .await;
    let listed = admin(&server).get("/api/v1/deliveries").await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    server.finish().await;
}

/// `cargo bench -- sustained --seconds 20` runs every target that may hold a benchmark, with these
/// arguments.
#[test]
fn cargo_bench_hands_its_arguments_to_the_benchmark_alone() {
    use figment::providers::{Format as _, Toml};
    let manifest: serde_json::Value = Toml::from_str(include_str!("../../Cargo.toml")).unwrap();
    assert_eq!(manifest["lib"]["bench"], false);
    for binary in manifest["bin"].as_array().unwrap() {
        assert_eq!(binary["bench"], false, "{binary}");
    }
    for bench in manifest["bench"].as_array().unwrap() {
        assert_eq!(bench["harness"], false, "{bench}");
    }
}

//! Postgres is killed, refuses, or was never there: readers get to their pages, their hits arrive
//! later, and the operator sees it.

use std::time::{Duration, Instant};

use crate::harness::{Campaign, Engine, Load, PostgresServer, TestServer, wait_for};

const PER_SECOND: u32 = 300;
const AWAY: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_answered_and_stored_once_while_postgres_is_killed_for_thirty_seconds() {
    let (mut postgres, server) = TestServer::on_own_postgres().await;
    let mail = Campaign::make(server.db(), 1).await;
    let load = Load::start("away", server.address(), &mail, 16, Some(PER_SECOND));
    wait_for("load and rows", Duration::from_secs(20), async || {
        load.sent() > 500 && server.db().hits().await > 100
    })
    .await;

    postgres.kill().await;
    let killed = Instant::now();
    let before = load.sent();
    server.wait_database("down", Duration::from_secs(10)).await;
    wait_for("thirty seconds of load", AWAY * 2, async || {
        killed.elapsed() >= AWAY && load.sent() >= before + (PER_SECOND * 29) as usize
    })
    .await;
    postgres.start_again().await;
    let after = load.sent();
    server.wait_database("up", Duration::from_secs(20)).await;
    wait_for("more load", Duration::from_secs(20), async || {
        load.sent() > after + 500
    })
    .await;

    let report = load.stop().await;
    assert_eq!(report.failures(), [], "no error, no time-out");
    server.wait_drained(Duration::from_secs(60)).await;
    let comparison = report.compare(server.db()).await;
    println!(
        "Postgres away for 30 s: {comparison:?}, p99 {:?}, slowest {:?}",
        report.quantile(0.99),
        report.quantile(1.0)
    );
    comparison.assert_stored_once();
    assert_eq!(server.metric("sillage_hits_lost_total").await, 0.0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_starts_while_postgres_is_down_redirects_and_stores_later() {
    let (mut postgres, mut server) = TestServer::on_own_postgres().await;
    let mail = Campaign::make(server.db(), 1).await;
    // What one click has fetched is in the local copy.
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    assert_eq!(server.terminate(Duration::from_secs(30)).await, Some(0));
    postgres.kill().await;

    server.start_again().await;
    let load = Load::start("down", server.address(), &mail, 8, Some(500));
    wait_for("requests", Duration::from_secs(20), async || {
        load.sent() > 1_000
    })
    .await;
    server.wait_database("down", Duration::from_secs(10)).await;
    let unknown = server.client().get("/r/no-such-link").await;
    assert_eq!(unknown.status, 404, "a page, not an error");
    let report = load.stop().await;
    assert_eq!(report.failures(), []);

    postgres.start_again().await;
    server.wait_drained(Duration::from_secs(30)).await;
    let comparison = report.compare(server.db()).await;
    comparison.assert_stored_once();
    server.wait_database("up", Duration::from_secs(15)).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_of_a_postgres_that_dies_while_no_hits_arrive() {
    let (mut postgres, server) = TestServer::on_own_postgres().await;
    server.wait_database("up", Duration::from_secs(15)).await;

    for round in 1..=2 {
        postgres.kill().await;
        let killed = Instant::now();
        server.wait_database("down", Duration::from_secs(15)).await;
        println!("told after {:?}", killed.elapsed());
        let ready = server.client().get("/readyz").await;
        assert_eq!(ready.status, 200, "hits can be taken");
        postgres.start_again().await;
        server.wait_database("up", Duration::from_secs(15)).await;
        let log = server.log();
        for line in ["the database does not answer", "the database is back"] {
            assert_eq!(log.matches(line).count(), round, "{line}: {log}");
        }
    }
    assert_eq!(server.metric("sillage_hits_accepted_total").await, 0.0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_can_only_be_read_is_told_as_down_while_hits_wait() {
    let postgres = PostgresServer::start().await;
    let url = postgres.new_database().await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        // A refresh that would say otherwise comes often.
        .with("LINKS__REFRESH", "20ms")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let set_read_only = async |is_read_only: bool| {
        let alter = format!(
            "set transaction_read_only = off;
             do $$ begin execute format('alter database %I set default_transaction_read_only = {is_read_only}', current_database()); end $$"
        );
        server.db().execute(&alter, "").await;
        // It holds for new connections, so those that are open go; only now, or one could be made
        // before the change is there.
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name \
            = 'sillage'";
        server.db().execute(end, "").await;
    };
    set_read_only(true).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    // Before that, a reader whose connection has just ended may say that it is down, and the next one
    // that it is up.
    wait_for("a failed write", Duration::from_secs(15), async || {
        server.metric("sillage_projection_failures_total").await > 0.0
    })
    .await;
    server.wait_database("down", Duration::from_secs(15)).await;
    let failures = server.metric("sillage_projection_failures_total").await;
    wait_for("more tries", Duration::from_secs(20), async || {
        assert_eq!(server.readiness().await["database"], "down");
        server.metric("sillage_projection_failures_total").await >= failures + 3.0
    })
    .await;
    set_read_only(false).await;
    server.wait_drained(Duration::from_secs(20)).await;
    server.wait_database("up", Duration::from_secs(15)).await;
    server.finish().await;
}

//! Two servers on one Postgres: neither needs to know of the other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Campaign, Client, Engine, Load, PostgresServer, TestServer, wait_for};

/// Reads hits from cursor to cursor until `stop`, and then to the end; returns their ids as they
/// came.
async fn follow(address: SocketAddr, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut api = Client::new(address).admin();
    let (mut cursor, mut ids) = ("0".to_owned(), Vec::new());
    loop {
        let is_last = stop.load(Ordering::Acquire);
        let path = format!("/api/v1/hits?limit=1000&after={cursor}");
        let text = api.get(&path).await.text();
        let mut lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let next = lines.pop().unwrap()["cursor"].as_str().unwrap().to_owned();
        ids.extend(
            lines
                .iter()
                .map(|hit| hit["id"].as_str().unwrap().to_owned()),
        );
        if is_last && next == cursor {
            return ids;
        }
        cursor = next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_of_two_servers_are_stored_once_in_one_order() {
    let url = PostgresServer::new_shared_database().await;
    let one = TestServer::on(Engine::Postgres)
        .database(&url)
        .start()
        .await;
    let mut other = TestServer::on(Engine::Postgres)
        .database(&url)
        .start()
        .await;
    let mail = Campaign::make(one.db(), 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow(one.address(), Arc::clone(&stop)));
    let to_one = Load::start("one", one.address(), &mail, 4, None);
    let to_other = Load::start("other", other.address(), &mail, 4, None);
    wait_for("load on one", Duration::from_secs(30), async || {
        to_one.sent() > 1_000
    })
    .await;
    wait_for("load on the other", Duration::from_secs(30), async || {
        to_other.sent() > 1_000
    })
    .await;
    // One of the two dies in between, and its own spool brings what it had answered.
    other.kill().await;
    other.launch();
    other.wait_ready().await;
    let (one_sent, other_sent) = (to_one.sent(), to_other.sent());
    wait_for("load on both", Duration::from_secs(30), async || {
        to_one.sent() > one_sent + 1_000 && to_other.sent() > other_sent + 1_000
    })
    .await;
    let reports = [to_one.stop().await, to_other.stop().await];
    for (server, report) in [&one, &other].into_iter().zip(&reports) {
        server.wait_drained(Duration::from_secs(60)).await;
        let comparison = report.compare(one.db()).await;
        println!("{comparison:?}");
        comparison.assert_stored_once();
    }
    assert_eq!(reports[0].failures(), []);
    let hits = one.db().hits().await;
    stop.store(true, Ordering::Release);
    let read = reader.await.unwrap();
    let once: BTreeSet<&String> = read.iter().collect();
    assert_eq!(
        (read.len() as i64, once.len() as i64),
        (hits, hits),
        "a reader gets each hit once"
    );
    assert_eq!(
        one.db()
            .number("select count(distinct seq) from hits")
            .await,
        hits
    );
    assert_eq!(
        one.db().number("select count(distinct id) from hits").await,
        hits
    );
    // All that is stored can be read, although the numbers of a killed server's last block are
    // missing.
    assert_eq!(
        one.db().number("select count(*) from readable_hits").await,
        hits
    );
    // The figures of the shared delivery are those of both.
    assert_eq!(
        one.db()
            .number("select sum(hits)::bigint from time_figures where kind = 'click'")
            .await,
        one.db()
            .number("select count(*) from hits where kind = 'click'")
            .await
    );
    one.recount().await;
    one.finish().await;
    other.finish().await;
}

//! SIGTERM: nobody who was let in is turned away.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    ADMIN_TOKEN, Campaign, Engine, Failure, Load, Outcome, TestServer, on_both, wait_for,
};

/// `server.shutdown`.
const BUDGET: Duration = Duration::from_secs(20);

async fn every_request_that_was_taken_is_answered_and_stored_after_sigterm(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    let load = Load::start("stop", server.address(), &mail, 32, None);
    wait_for("load", Duration::from_secs(20), async || {
        load.sent() > 2_000
    })
    .await;
    let told = Instant::now();
    assert_eq!(server.terminate(BUDGET).await, Some(0));
    println!("stopped after {:?}", told.elapsed());
    let report = load.stop().await;
    // A request that the server never read ends with its connection; it must not be in the database
    // then.
    let strange: Vec<_> = report
        .failures()
        .into_iter()
        .filter(|outcome| !matches!(outcome, Outcome::Failed(Failure::Refused | Failure::Closed)))
        .collect();
    assert_eq!(strange, []);
    let spool = sillage::door::waiting::status(server.data_dir())
        .await
        .unwrap();
    assert_eq!(spool.hits, 0, "the database had time for all of it");
    let comparison = report.compare(server.db()).await;
    println!("SIGTERM on {engine:?}: {comparison:?}");
    assert_eq!(
        (
            comparison.lost,
            comparison.twice,
            comparison.stored_unanswered
        ),
        (0, 0, 0),
        "{comparison:?}"
    );
    server.start_again().await;
    server.finish().await;
}

async fn a_server_that_has_no_hits_leaves_the_database_alone_and_stops_at_once(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    // Once on a new spool, once on one that was there.
    for _ in 0..2 {
        server.wait_database("up", Duration::from_secs(10)).await;
        let told = Instant::now();
        assert_eq!(server.terminate(BUDGET).await, Some(0));
        // The projection has half of the budget where it has something to store.
        assert!(told.elapsed() < BUDGET / 4, "{:?}", told.elapsed());
        server.start_again().await;
    }
    let position = "select count(*) from spool_positions";
    assert_eq!(
        server.db().number(position).await,
        0,
        "no transaction wrote"
    );
    server.finish().await;
}

/// Their requests hold parts of the server for as long as they last, and they do not end.
async fn senders_that_hang_do_not_hold_up_the_stop(engine: Engine) {
    let mut server = TestServer::on(engine)
        .with("SERVER__SHUTDOWN", "4s")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let messages = format!("/api/v1/deliveries/{}/messages", mail.delivery);
    let mut hanging = Vec::new();
    for path in [
        messages.as_str(),
        "/api/v1/hits",
        "/form/submit",
        "/123451234512345/wt",
    ] {
        let mut sender = TcpStream::connect(server.address()).await.unwrap();
        let begun = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
             Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
        );
        sender.write_all(begun.as_bytes()).await.unwrap();
        // It is there when it is asked for its body, or answered line by line.
        let mut told = [0; 12];
        sender.read_exact(&mut told).await.unwrap();
        let is_begun = told == *b"HTTP/1.1 100" || told == *b"HTTP/1.1 200";
        assert!(is_begun, "{path}: {}", String::from_utf8_lossy(&told));
        sender.write_all(b"{").await.unwrap();
        hanging.push(sender);
    }
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    let told = Instant::now();
    assert_eq!(server.terminate(BUDGET).await, Some(0));
    assert!(told.elapsed() < BUDGET / 2, "{:?}", told.elapsed());
    let spool = sillage::door::waiting::status(server.data_dir())
        .await
        .unwrap();
    assert_eq!(spool.hits, 0, "the click is stored, and the file folded");
    drop(hanging);
    server.start_again().await;
    server.finish().await;
}

on_both!(
    senders_that_hang_do_not_hold_up_the_stop,
    every_request_that_was_taken_is_answered_and_stored_after_sigterm,
    a_server_that_has_no_hits_leaves_the_database_alone_and_stops_at_once,
);

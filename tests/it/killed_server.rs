//! kill -9 of the server at random moments: what was answered is stored, once.

use std::time::Duration;

use crate::harness::{Campaign, Engine, Load, TestServer, on_both};

const KILLS: usize = 20;

/// Times of the kills, in milliseconds after the launch: some while it starts, some in the middle
/// of the load. The seed is printed, so that a failure can be looked at again.
fn moments(engine: Engine) -> Vec<u64> {
    let mut seed = std::env::var("SILLAGE_IT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| getrandom::u64().unwrap());
    println!("SILLAGE_IT_SEED={seed} ({engine:?})");
    let mut next = || {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    (0..KILLS).map(|_| 30 + next() % 1_500).collect()
}

async fn what_was_answered_is_stored_once_after_twenty_kills(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    // The link is in the local copy before the first kill.
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    let load = Load::start("kills", server.address(), &mail, 16, Some(2_000));
    for moment in moments(engine) {
        tokio::time::sleep(Duration::from_millis(moment)).await;
        server.kill().await;
        server.launch();
    }
    server.wait_ready().await;
    let report = load.stop().await;
    server.wait_drained(Duration::from_secs(60)).await;
    let comparison = report.compare(server.db()).await;
    println!("{KILLS} kills on {engine:?}: {comparison:?}");
    assert!(
        comparison.answered > 1_000,
        "there was load: {comparison:?}"
    );
    comparison.assert_stored_once();
    assert_eq!(report.wrong(), 0, "an answer is a redirect or a pixel");
    server.recount().await;
    server.finish().await;
}
on_both!(what_was_answered_is_stored_once_after_twenty_kills);

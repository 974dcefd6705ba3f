//! Mapp's batches where a case cannot show them: what stands in the quarantine, ten thousand lines,
//! 24 MiB.

use std::time::{Duration, Instant};

use crate::harness::{Engine, TestServer, on_both};

const STORED: Duration = Duration::from_secs(60);

async fn bad_lines_are_put_aside_and_the_good_ones_are_stored(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut shop = server.client();
    let long = format!("wt?p=600,long&cp1={}", "x".repeat(70_000));
    let body = format!(
        "wt?p=600,one\nhello; drop table \
        hits\nwt?ov=1\n{{\"p\":1}}\n{long}\nwt?p=600,two\n\u{0}\u{1}\n"
    );
    let answer = shop.post("/111/batch", "text/plain", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.wait_stored(STORED).await;
    let titles = server
        .db()
        .texts("select page_title from hits order by page_title")
        .await;
    assert_eq!(titles, [Some("one".to_owned()), Some("two".to_owned())]);
    let mut reasons: Vec<_> = server
        .db()
        .texts("select reason from quarantine")
        .await
        .into_iter()
        .flatten()
        .collect();
    reasons.sort();
    assert_eq!(
        reasons,
        [
            "line is no hit",
            "line is no hit",
            "line is no hit",
            "line too long",
            "line without p"
        ]
    );
    // The line itself is there for who looks.
    let listed = server
        .command()
        .args(["quarantine", "list"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.matches("line is no hit").count(), 3, "{listed}");
    server.finish_with_quarantined(5).await;
}

async fn a_batch_of_ten_thousand_lines_is_stored_whole(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let body: String = (0..10_000)
        .map(|n| {
            format!(
                "wt?p=600,page{n},1,1024x768,24,1,0,0,1000x700,0&eid=21600000000{:08}&cp1={}\n",
                n % 700,
                "x".repeat(900)
            )
        })
        .collect();
    let mut shop = server.client();
    shop.patience = Duration::from_secs(60);
    let started = Instant::now();
    let answer = shop.post("/111/batch", "text/plain", body).await;
    println!("answered after {:?}", started.elapsed());
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.wait_stored(STORED).await;
    let of = async |sql: &str| server.db().number(sql).await;
    assert_eq!(
        of("select count(distinct page_title) from hits").await,
        10_000
    );
    assert_eq!(of("select count(distinct visitor_id) from hits").await, 700);
    server.finish().await;
}

async fn what_is_too_long_is_refused_whole(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut shop = server.client();
    shop.patience = Duration::from_secs(60);
    let long = format!("wt?p=600,a\n{}", "x".repeat(24 << 20));
    // The refusal may come before the last byte is sent.
    let answer = shop
        .request(http::Method::POST, "/111/batch", &[], long.into())
        .await;
    assert!(
        answer.is_err() || answer.is_ok_and(|answer| answer.status == 413),
        "413 or a closed connection"
    );
    assert_eq!(
        server
            .metric(r#"sillage_hits_refused_total{reason="batch too long"}"#)
            .await,
        1.0
    );
    // As much as is allowed is taken.
    let full = format!("wt?p=600,a\n{}", "\n".repeat((24 << 20) - 11));
    let mut shop = server.client();
    shop.patience = Duration::from_secs(60);
    let answer = shop.post("/111/batch", "text/plain", full).await;
    assert_eq!(answer.status, 200);
    server.wait_stored(STORED).await;
    assert_eq!(server.db().hits().await, 1);
    server.finish().await;
}

on_both!(
    bad_lines_are_put_aside_and_the_good_ones_are_stored,
    a_batch_of_ten_thousand_lines_is_stored_whole,
    what_is_too_long_is_refused_whole,
);

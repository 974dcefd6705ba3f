//! The thinnest whole way, and the harness itself.

use std::time::Duration;

use crate::harness::{Campaign, Engine, Load, TestServer, on_both};

async fn a_click_and_a_page_land_in_the_database(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut reader = server.client();
    let click = reader.get(&mail.link_path(0)).await;
    assert_eq!(click.status, 302);
    assert_eq!(click.header("location"), "https://shop.example/landing");
    let pixel = reader
        .get("/mtracking.gif?page_url=https://shop.example/landing")
        .await;
    assert_eq!((pixel.status, pixel.body.len()), (200, 43));
    server.wait_drained(Duration::from_secs(10)).await;
    assert_eq!(server.db().hits().await, 2);
    assert_eq!(
        server
            .db()
            .number(
                "select count(*) from hits where delivery_id = 4711 and broadlog_id = \
            1000 and contact_id is not null"
            )
            .await,
        2,
        "the page belongs to the click"
    );
    server.finish().await;
}

async fn the_load_counts_what_it_sent(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let load = Load::start("1", server.address(), &mail, 4, None);
    crate::harness::wait_for("200 requests", Duration::from_secs(20), async || {
        load.sent() >= 200
    })
    .await;
    let report = load.stop().await;
    assert_eq!(report.failures(), []);
    server.wait_drained(Duration::from_secs(10)).await;
    let comparison = report.compare(server.db()).await;
    assert_eq!(
        (comparison.lost, comparison.twice, comparison.unanswered),
        (0, 0, 0),
        "{comparison:?}"
    );
    assert_eq!(server.db().hits().await as usize, comparison.answered);
    server.finish().await;
}

on_both!(
    a_click_and_a_page_land_in_the_database,
    the_load_counts_what_it_sent
);

//! `--demo`: a mail and a shop to try the server with.

use std::time::Duration;

use crate::harness::{Engine, TestServer, on_both, wait_for};

async fn the_demo_is_made_once_and_leads_to_its_shop(engine: Engine) {
    let mut server = TestServer::on(engine).argument("--demo").start().await;
    let mut links = Vec::new();
    for _ in 0..2 {
        let mut page = String::new();
        wait_for(
            "the demo has its links",
            Duration::from_secs(60),
            async || {
                page = server.client().get("/demo").await.text();
                page.contains("/r/")
            },
        )
        .await;
        assert!(!page.contains("{{"), "{page}");
        let from = page.find("/r/").unwrap();
        let path = &page[from..from + page[from..].find('"').unwrap()];
        links.push(path.to_owned());
        let click = server.client().get(path).await;
        let shop = format!(
            "{}/demo/shop?utm_source=sillage&utm_medium=email&utm_campaign=demo",
            server.url()
        );
        assert_eq!(
            (click.status, click.header("location")),
            (302, shop.as_str())
        );
        server.wait_drained(Duration::from_secs(60)).await;
        server.terminate(Duration::from_secs(30)).await;
        server.start_again().await;
    }
    assert_eq!(links[0], links[1]);
    // The sample mail, and a month of letters to 208 people.
    for (table, rows) in [
        ("deliveries", 1 + 6),
        ("links", 2 + 6 * 4),
        ("broadlogs", 1 + 6 * 208),
        ("contacts", 1 + 208),
    ] {
        assert_eq!(
            server
                .db()
                .number(&format!("select count(*) from {table}"))
                .await,
            rows,
            "{table}"
        );
    }
    assert!(server.log().contains("Demo:"), "{}", server.log());
    server.finish().await;
}

on_both!(the_demo_is_made_once_and_leads_to_its_shop);

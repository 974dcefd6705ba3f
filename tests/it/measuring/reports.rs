//! Reports of deliveries.

use serde_json::{Value, json};
use sillage::door::{Clock, Micros};

use super::{DRAINING, post_hits};
use crate::harness::{Campaign, Engine, TestServer, on_both};

async fn a_report_has_the_indicators(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 4).await;
    let counted =
        "update deliveries set messages = 4; update broadlogs set format = 'text' where id = 1003";
    server.db().execute(counted, counted).await;
    // Reader 0 opens twice and clicks; the mail is forwarded and the friend clicks too. Reader 1
    // opens. Reader 2 clicks and buys twice.
    let mut reader = server.client();
    reader.get(&mail.open_path(0)).await;
    reader.get(&mail.open_path(0)).await;
    reader.get(&mail.link_path(0)).await;
    server.client().get(&mail.link_path(0)).await;
    server.client().get(&mail.open_path(1)).await;
    let mut buyer = server.client();
    buyer.get(&mail.link_path(2)).await;
    for (revenue, quantity) in [("0.1", 1), ("0.2", 2), ("99999999999999.9999", 3)] {
        let pixel = format!(
            "/mtracking.gif?page_url=paid&revenue={revenue}&currency=EUR&quantity={quantity}"
        );
        buyer.get(&pixel).await;
    }
    buyer
        .get("/mtracking.gif?page_url=paid&revenue=5&currency=SEK")
        .await;
    buyer.get("/mtracking.gif?page_url=page").await;
    server
        .client()
        .header("user-agent", "Googlebot/2.1")
        .get(&mail.link_path(3))
        .await;
    server.wait_drained(DRAINING).await;

    let mut api = server.client().admin();
    let report = api
        .get("/api/v1/deliveries/4711/report?by=hour")
        .await
        .json();
    let expected = json!({
        "delivery_id": 4711, "label": "November", "channel": "email", "sent_at": null,
        "messages": 4, "text_only_messages": 1,
        "distinct_opens": 3, "opens": 3, "estimated_distinct_opens": 4,
        "recipients_who_clicked": 2, "clicking_persons": 3, "clicks": 3, "estimated_forwards": 1,
        "raw_reactivity": 0.6667, "estimated_reactivity": 0.5,
        "visited_pages": 5, "transactions": 4, "items": 6,
        "events": 0, "forms": 0, "optouts": 0, "mirror_pages": 0,
        "machine_hits": { "click": 1 },
        "verdicts": [
            { "verdict": "bot", "reason": "user agent of a crawler", "hits": 1 },
            { "verdict": "human", "reason": null, "hits": 11 },
        ],
        "revenue": [
            { "currency": "EUR", "transactions": 3, "amount": "100000000000000.2999", "items": 6,
              "amount_per_transaction": "33333333333333.4333", "items_per_transaction": 2.0, "amount_per_message": "25000000000000.075" },
            { "currency": "SEK", "transactions": 1, "amount": "5", "items": 0,
              "amount_per_transaction": "5", "items_per_transaction": 0.0, "amount_per_message": "1.25" },
        ],
        "links": [{ "id": 815, "url": "https://shop.example/landing", "label": null, "category": null,
                    "clicks": 3, "first_clicks": 2, "clicking_persons": 3, "machine_clicks": 1 }],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&report[name], value, "{name}");
    }
    // The hour may have turned in between.
    let hours = report["hours"].as_array().unwrap();
    assert!((1..=2).contains(&hours.len()), "{hours:?}");
    let clicks: i64 = hours
        .iter()
        .filter_map(|hour| hour["hits"]["click"].as_i64())
        .sum();
    assert_eq!(clicks, 3);
    assert_eq!(api.get("/api/v1/deliveries/4712/report").await.status, 404);
    assert_eq!(
        api.get("/api/v1/deliveries/4711/report?by=moon")
            .await
            .status,
        422
    );
    assert!(
        api.get("/api/v1/deliveries/4711/report")
            .await
            .json()
            .get("hours")
            .is_none()
    );
    server.recount().await;
    server.finish().await;
}

/// Each is taken alone; together they leave 64 bits, where SQLite's own sum would fail.
async fn sums_beyond_64_bits_are_exact(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    Campaign::make(server.db(), 0).await;
    let mut api = server.client().admin();
    let now = Clock::system().now();
    let hits: Vec<Value> = (0..30)
        .map(|hours| {
            let at = Micros(now.0 - hours * Micros::HOUR).rfc3339();
            json!({ "delivery_id": 4711, "revenue": "99999999999999.9999", "currency": "EUR", "at": at })
        })
        .collect();
    post_hits(&mut api, &Value::from(hits)).await;
    server.wait_drained(DRAINING).await;
    let report = api.get("/api/v1/deliveries/4711/report?by=hour").await;
    assert_eq!(report.status, 200, "{}", report.text());
    assert_eq!(report.json()["transactions"], 30);
    assert_eq!(report.json()["hours"].as_array().unwrap().len(), 30);
    assert_eq!(
        report.json()["revenue"][0]["amount"],
        "2999999999999999.997"
    );
    // In one hour too, and what comes after is counted: nothing freezes.
    let again: Vec<Value> = (0..300)
        .map(|_| json!({ "delivery_id": 4711, "revenue": "99999999999999.9999", "currency": "SEK", "quantity": i32::MAX }))
        .collect();
    post_hits(&mut api, &Value::from(again)).await;
    server.wait_drained(DRAINING).await;
    post_hits(
        &mut api,
        &json!([{ "delivery_id": 4711, "revenue": "49.90", "currency": "SEK", "quantity": 1 }]),
    )
    .await;
    server.wait_drained(DRAINING).await;
    let report = api.get("/api/v1/deliveries/4711/report").await.json();
    assert_eq!(report["revenue"][1]["amount"], "30000000000000049.87");
    assert_eq!(report["revenue"][1]["items"], 300 * i64::from(i32::MAX) + 1);
    server.recount().await;
    server.finish().await;
}

on_both!(a_report_has_the_indicators, sums_beyond_64_bits_are_exact,);

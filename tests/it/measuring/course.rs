//! Reports of sites: hits, visitors, pages, referrers, campaigns and revenue in the course of time.

use serde_json::{Value, json};
use sillage::door::{Clock, Micros};

use super::{DRAINING, post_hits};
use crate::harness::{Campaign, Client, Engine, TestServer, on_both};

const DAY: i64 = 24 * Micros::HOUR;

async fn report(api: &mut Client, path: &str) -> Value {
    let answer = api.get(&format!("/api/v1/reports/{path}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Sums what all rows have of a kind.
fn sum(rows: &Value, hits: &str, kind: &str) -> i64 {
    let rows = rows.as_array().unwrap().iter();
    rows.filter_map(|row| row[hits][kind].as_i64()).sum()
}

async fn what_came_to_a_site_is_read_in_days_of_a_zone(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    // Six days at 23:40 UTC: the next day in Paris, already.
    let end = Micros(Clock::system().now().0 / DAY * DAY);
    let hits: Vec<Value> = (0..6_i64)
        .map(|day| {
            let at = Micros(end.0 - day * DAY - 20 * 60 * Micros::SECOND).rfc3339();
            json!({
                "at": at, "page_url": format!("https://shop.example/{}?day={day}", day % 2),
                "referrer": "https://www.search.example/?q=1", "site": "shop",
                "visitor_id": format!("00000000-0000-4000-8000-00000000000{}", day % 3),
                "utm_source": "letter", "utm_campaign": "november",
            })
        })
        .collect();
    post_hits(&mut api, &Value::from(hits)).await;
    let mut reader = server.client();
    reader
        .get("/mtracking.gif?page_url=https://other.example/")
        .await;
    let mut bot = server.client().header("user-agent", "Googlebot/2.1");
    bot.get("/mtracking.gif?page_url=https://other.example/")
        .await;
    server.wait_drained(DRAINING).await;

    let of = |zone: &str, site: &str, by: &str| {
        let from = Micros(end.0 - 6 * DAY).rfc3339();
        format!("?from={from}&zone={zone}&site={site}&by={by}")
    };
    let shop = report(&mut api, &format!("hits{}", of("UTC", "shop", "day"))).await;
    let rows = shop["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &shop["zone"]), (7, &json!("UTC")), "{shop}");
    for row in &rows[..6] {
        assert_eq!(row["hits"], json!({ "pageview": 1 }), "{shop}");
    }
    assert_eq!(rows[6]["hits"], json!({}), "a day without hits is there");
    let paris = report(
        &mut api,
        &format!("hits{}", of("Europe/Paris", "shop", "day")),
    )
    .await;
    let rows = paris["rows"].as_array().unwrap();
    assert_eq!(rows[0]["hits"], json!({}), "{paris}");
    assert_eq!(sum(&paris["rows"], "hits", "pageview"), 6);
    let all = report(&mut api, "hits?by=week").await;
    assert_eq!(sum(&all["rows"], "hits", "pageview"), 7, "{all}");
    assert_eq!(sum(&all["rows"], "machine_hits", "pageview"), 1, "{all}");
    let verdicts = all["verdicts"].as_array().unwrap();
    let bot = json!({ "verdict": "bot", "reason": "user agent of a crawler", "hits": 1 });
    assert!(verdicts.contains(&bot), "{all}");

    let visitors = report(&mut api, &format!("visitors{}", of("UTC", "shop", "day"))).await;
    assert_eq!(visitors["visitors"], 3, "each once: {visitors}");
    assert_eq!(visitors["rows"][0]["visitors"], 1);

    let pages = report(
        &mut api,
        &format!("pages?site=shop&from={}", Micros(end.0 - 6 * DAY).rfc3339()),
    )
    .await;
    let page = |number: i64| {
        json!({ "page": format!("https://shop.example/{number}"), "hits": 3, "clicks": 0,
                "pageviews": 3, "transactions": 0 })
    };
    assert_eq!(pages["rows"], json!([page(0), page(1)]), "{pages}");
    assert_eq!(pages["other_hits"], 0);
    let cut = report(&mut api, "pages?limit=1").await;
    assert_eq!(
        (cut["rows"].as_array().unwrap().len(), &cut["other_hits"]),
        (1, &json!(4))
    );
    let hosts = report(&mut api, "referrers").await;
    assert_eq!(
        hosts["rows"][0]["referrer"], "www.search.example",
        "{hosts}"
    );
    let campaigns = report(&mut api, "campaigns").await;
    assert_eq!(
        campaigns["rows"],
        json!([{ "source": "letter", "medium": null, "campaign": "november", "hits": 6,
                 "clicks": 0, "pageviews": 6, "transactions": 0 }])
    );
    server.recount().await;
    server.finish().await;
}

/// A reader clicks one mail, then another, and buys in the second's session; later the shop takes
/// part of it back.
async fn revenue_is_credited_to_what_led_to_it(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 2).await;
    let mut api = server.client().admin();
    let second = json!({ "id": 4712, "label": "December" });
    assert_eq!(
        api.post_json("/api/v1/deliveries", &second).await.status,
        201
    );
    let link = json!([{ "id": 816, "url": "https://shop.example/second" }]);
    let made = api.post_json("/api/v1/deliveries/4712/links", &link).await;
    assert!(made.status < 300, "{}", made.text());
    let sent = json!({ "contact": { "email": "reader0@example.com" } });
    let sent = api
        .post_json("/api/v1/deliveries/4712/messages", &sent)
        .await;
    let sent = sent.json();
    let second = sent["links"]["816"]
        .as_str()
        .unwrap_or_else(|| panic!("{sent}"))
        .to_owned();
    let second = second
        .split_once("/r/")
        .map(|(_, token)| format!("/r/{token}"))
        .unwrap();
    let mut buyer = server.client();
    buyer.get(&mail.link_path(0)).await;
    buyer.get(&second).await;
    let order = "/mtracking.gif?page_url=paid&currency=EUR&order_id=A1";
    buyer.get(&format!("{order}&revenue=10&quantity=2")).await;
    server.client().get(&format!("{order}2&revenue=5")).await;
    server.wait_drained(DRAINING).await;

    let credited = async |api: &mut Client, query: &str| -> Vec<(i64, i64, String)> {
        let report = report(api, &format!("revenue?{query}")).await;
        let rows = report["rows"].as_array().unwrap();
        let mut rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let id = row["delivery_id"].as_i64().or(row["link_id"].as_i64());
                let amount = row["amount"].as_str().unwrap().to_owned();
                (
                    id.unwrap_or(0),
                    row["transactions"].as_i64().unwrap(),
                    amount,
                )
            })
            .collect();
        rows.sort();
        rows
    };
    let row = |id: i64, orders: i64, amount: &str| (id, orders, amount.to_owned());
    let nobody = row(0, 1, "5");
    for (query, expected) in [
        ("", vec![nobody.clone(), row(4712, 1, "10")]),
        (
            "model=first_touch",
            vec![nobody.clone(), row(4711, 1, "10")],
        ),
        (
            "model=last_touch&by=link",
            vec![nobody.clone(), row(816, 1, "10")],
        ),
        (
            "model=linear",
            vec![nobody.clone(), row(4711, 0, "5"), row(4712, 1, "5")],
        ),
        ("model=linear&by=day", vec![row(0, 2, "15")]),
    ] {
        assert_eq!(credited(&mut api, query).await, expected, "{query}");
    }
    // The sender's word about the same order: less. What was credited is taken back.
    let corrected =
        json!([{ "order_id": "A1", "revenue": "8", "currency": "EUR", "kind": "transaction" }]);
    post_hits(&mut api, &corrected).await;
    server.wait_drained(DRAINING).await;
    for (query, expected) in [
        ("model=first_touch", vec![nobody.clone(), row(4711, 1, "8")]),
        (
            "model=linear",
            vec![nobody.clone(), row(4711, 0, "4"), row(4712, 1, "4")],
        ),
    ] {
        assert_eq!(credited(&mut api, query).await, expected, "{query}");
    }
    server.recount().await;
    server.finish().await;
}

/// Anybody can send a purchase under somebody's address. The mails that this person clicked get
/// nothing of it.
async fn nobody_gives_money_to_mails_of_somebody_that_they_only_name(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__PUBLIC", "email")
        .start()
        .await;
    Campaign::make(server.db(), 1).await;
    let mut api = server.client().admin();
    let email = json!({ "contact": { "email": "reader@example.com" } });
    let made = api
        .post_json("/api/v1/deliveries/4711/messages", &email)
        .await;
    let (_, token) = made.json()["links"]["815"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", made.text()))
        .split_once("/r/")
        .map(|(before, token)| (before.to_owned(), token.to_owned()))
        .unwrap();
    server.client().get(&format!("/r/{token}")).await;
    server.wait_drained(DRAINING).await;
    // The same browser twice, so that it is one that is known.
    let mut stranger = server.client();
    stranger
        .get("/mtracking.gif?page_url=https://shop.example/")
        .await;
    let order = "/mtracking.gif?page_url=paid&currency=EUR&order_id=A1&revenue=10";
    stranger
        .get(&format!("{order}&email=reader@example.com"))
        .await;
    server.wait_drained(DRAINING).await;
    let contacts =
        "select count(*) from hits where kind = 'transaction' and contact_id is not null";
    assert_eq!(server.db().number(contacts).await, 1, "it says who it is");
    for model in ["session", "first_touch", "last_touch", "linear"] {
        let report = report(&mut api, &format!("revenue?model={model}")).await;
        let row = &report["rows"][0];
        assert_eq!(
            (&row["delivery_id"], &row["amount"]),
            (&Value::Null, &json!("10")),
            "{model}: {report}"
        );
    }
    server.finish().await;
}

on_both!(
    nobody_gives_money_to_mails_of_somebody_that_they_only_name,
    what_came_to_a_site_is_read_in_days_of_a_zone,
    revenue_is_credited_to_what_led_to_it,
);

//! Values that name somebody or stand for money, on the surfaces that no recorded case reaches: the
//! API and the command line.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Engine, TestServer, on_both};

const PLACEHOLDERS: [&str; 9] = [
    "undefined",
    "null",
    "[object Object]",
    "{contactfield=email}",
    "{{email}}",
    "*|EMAIL|*",
    "%EMAIL%",
    "not-an-email",
    "ada news@example.com",
];

/// The answers to some lines of messages.
async fn post_messages(api: &mut Client, lines: &str) -> Vec<Value> {
    let answer = api
        .post(
            "/api/v1/deliveries/1/messages",
            "application/x-ndjson",
            lines.to_owned(),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn a_placeholder_makes_no_contact_in_the_api(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let made = json!({ "id": 1, "label": "Values" });
    assert_eq!(api.post_json("/api/v1/deliveries", &made).await.status, 201);
    let line = |email: &str| json!({ "contact": { "email": email, "firstname": "P" } }).to_string();
    let mut lines: Vec<String> = PLACEHOLDERS.iter().map(|email| line(email)).collect();
    lines.push(line("ada@example.com"));
    let answers = post_messages(&mut api, &lines.join("\n")).await;
    for (email, answer) in PLACEHOLDERS.iter().zip(&answers) {
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            error.starts_with(&format!("contact.email {email:?} is not an email address")),
            "{answer}"
        );
    }
    assert!(answers[PLACEHOLDERS.len()]["contact_id"].is_string());

    let hits: Vec<Value> = PLACEHOLDERS
        .iter()
        .map(|email| json!({ "kind": "pageview", "page_url": "login", "contact": { "email": email } }))
        .chain([json!({ "kind": "pageview", "contact": { "email": " ADA@example.com." } })])
        .collect();
    let answer = api.post_json("/api/v1/hits", &json!(hits)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["accepted"], 1);
    for (index, email) in PLACEHOLDERS.iter().enumerate() {
        let rejected = &answer["rejected"][index];
        assert_eq!(
            (&rejected["index"], &rejected["field"]),
            (&json!(index), &json!("contact.email"))
        );
        let error = rejected["error"].as_str().unwrap_or_default();
        assert!(
            error.starts_with(&format!("contact.email {email:?} is not an email address")),
            "{rejected}"
        );
    }
    server.wait_drained(Duration::from_secs(10)).await;
    let db = server.db();
    assert_eq!(db.number("select count(*) from contacts").await, 1);
    let sql = "select count(*) from hits where contact_id is not null";
    assert_eq!(db.number(sql).await, 1);
    let found = api.get("/api/v1/contacts?email=undefined").await;
    assert_eq!(found.status, 404);
    server.finish().await;
}

async fn an_order_a_key_and_an_id_that_everybody_sends_are_refused_by_name(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let nobody = "00000000-0000-0000-0000-000000000000";
    let hits = json!([
        { "kind": "transaction", "order_id": "undefined" },
        { "kind": "pageview", "idempotency_key": "null" },
        { "kind": "pageview", "idempotency_key": "{{id}}" },
        { "kind": "pageview", "visitor_id": nobody },
        { "kind": "pageview", "contact_id": nobody },
        { "kind": "transaction", "order_id": 0, "idempotency_key": "order-0" },
    ]);
    let answer = api.post_json("/api/v1/hits", &hits).await.json();
    assert_eq!(answer["accepted"], 1, "{answer}");
    let fields: Vec<&Value> = answer["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rejected| &rejected["field"])
        .collect();
    let names = [
        "order_id",
        "idempotency_key",
        "idempotency_key",
        "visitor_id",
        "contact_id",
    ];
    assert_eq!(fields, names);
    server.wait_drained(Duration::from_secs(10)).await;
    server.finish().await;
}

async fn a_contact_is_found_by_an_address_with_a_plus(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let made = json!({ "id": 1, "label": "Values" });
    assert_eq!(api.post_json("/api/v1/deliveries", &made).await.status, 201);
    let line = json!({ "contact": { "email": "Ada+News@example.com" } });
    post_messages(&mut api, &line.to_string()).await;
    for value in [
        "ada+news@example.com",
        "ADA%2Bnews%40example.com",
        "+ada+news@example.com+",
        "ada%2Bnews@example.com.",
    ] {
        let found = api.get(&format!("/api/v1/contacts?email={value}")).await;
        assert_eq!(found.status, 200, "{value}");
    }
    let found = api
        .get("/api/v1/contacts?email=ada%20news@example.com")
        .await;
    assert_eq!(found.status, 404);
    server.finish().await;
}

async fn amounts_in_the_api_are_read_as_on_a_page_and_numbers_exactly(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let hits = r#"{"kind":"transaction","order_id":"1","revenue":"1.299,00 €","quantity":"2.0"}
{"kind":"transaction","order_id":"2","revenue":12345678901234.5678,"quantity":2.0}
{"kind":"transaction","order_id":"3","revenue":"6,795"}
{"kind":"transaction","order_id":"4","quantity":1.5}
{"kind":"pageview","page_url":"https://shop.example/?a=1&amp;utm_source=x","tags":["R&amp;D"]}"#;
    let answer = api
        .post("/api/v1/hits", "application/x-ndjson", hits)
        .await
        .json();
    assert_eq!(answer["accepted"], 3, "{answer}");
    let fields = [
        &answer["rejected"][0]["field"],
        &answer["rejected"][1]["field"],
    ];
    assert_eq!(fields, ["revenue", "quantity"]);
    server.wait_drained(Duration::from_secs(10)).await;
    let stored = api.get("/api/v1/hits?format=ndjson").await.text();
    let stored: Vec<Value> = stored
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (
            &stored[0]["revenue"],
            &stored[0]["currency"],
            &stored[0]["quantity"]
        ),
        (&json!("1299"), &json!("EUR"), &json!(2))
    );
    assert_eq!(
        (&stored[1]["revenue"], &stored[1]["quantity"]),
        (&json!("12345678901234.5678"), &json!(2))
    );
    assert_eq!(
        (
            &stored[2]["page_url"],
            &stored[2]["utm_source"],
            &stored[2]["tags"]
        ),
        (
            &json!("https://shop.example/?a=1&utm_source=x"),
            &json!("x"),
            &json!(["R&D"])
        )
    );
    server.finish().await;
}

on_both!(
    a_placeholder_makes_no_contact_in_the_api,
    an_order_a_key_and_an_id_that_everybody_sends_are_refused_by_name,
    a_contact_is_found_by_an_address_with_a_plus,
    amounts_in_the_api_are_read_as_on_a_page_and_numbers_exactly,
);

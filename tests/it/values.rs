//! Values that name somebody or stand for money, on the surfaces that no recorded case reaches: the API and the command line.

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
            error.starts_with(&format!("contact.email {email:?} is no e-mail address")),
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
            error.starts_with(&format!("contact.email {email:?} is no e-mail address")),
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

on_both!(a_placeholder_makes_no_contact_in_the_api);

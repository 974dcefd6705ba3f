//! What the API measures: hits in and out, contacts and timelines, reports.

mod contacts;
mod course;
mod cursor;
mod hits;
mod orders;
mod people;
mod reports;
mod unproved;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Client;

const DRAINING: Duration = Duration::from_secs(20);
const HITS: &str = "/api/v1/hits";

/// A part of the stream: its hits and the cursor in its last line.
async fn read_hits(client: &mut Client, query: &str) -> (Vec<Value>, String) {
    let answer = client.get(&format!("{HITS}?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let mut lines: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let cursor = lines.pop().expect("a last line");
    (
        lines,
        cursor["cursor"].as_str().expect("a cursor").to_owned(),
    )
}

async fn post_hits(client: &mut Client, hits: &Value) {
    let answer = client.post_json(HITS, hits).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json()["rejected"], json!([]));
}

async fn make_delivery(client: &mut Client, id: &str) {
    let made = client
        .post_json("/api/v1/deliveries", &json!({ "id": id, "label": id }))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
}

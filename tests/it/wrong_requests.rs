//! Fifty wrong requests to the API, and what each is told: `wrong_requests.txt` holds them as
//! people read them. Each answer names what was wrong, what is allowed, and what to do.
//!
//! `SILLAGE_WRITE_SNAPSHOTS=1 cargo test --test it wrong_requests` writes the file anew; look at
//! the difference before it is committed.

use std::path::Path;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Client, Engine, TestServer, on_both};

const FILE: &str = "tests/it/wrong_requests.txt";

/// A request line, header lines where there are any, an empty line, the body.
const REQUESTS: &str = include_str!("wrong_requests_sent.txt");

struct Request<'r> {
    text: &'r str,
    method: Method,
    path: &'r str,
    headers: Vec<(&'r str, &'r str)>,
    body: &'r str,
}

impl<'r> Request<'r> {
    fn parse(text: &'r str) -> Self {
        let text = text.trim();
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        Self {
            text,
            method: method.parse().unwrap(),
            path,
            headers: lines.map(|line| line.split_once(": ").unwrap()).collect(),
            body,
        }
    }

    /// The request, and its answer's status and body.
    async fn play(&self, client: &mut Client) -> String {
        let has_token = self
            .headers
            .iter()
            .any(|(name, _)| *name == "authorization");
        let token = format!("Bearer {ADMIN_TOKEN}");
        let mut headers = self.headers.clone();
        if !has_token {
            headers.push(("authorization", &token));
        }
        headers.retain(|(_, value)| *value != "none");
        let answer = client
            .request(
                self.method.clone(),
                self.path,
                &headers,
                Bytes::from(self.body.to_owned()),
            )
            .await
            .unwrap();
        let kind = answer.header("content-type").to_owned();
        let mut told = String::new();
        for line in answer.text().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if answer.status >= 400 {
                assert_eq!(kind, "application/problem+json", "{}", self.text);
                assert_eq!(line["status"], answer.status);
            }
            told += &serde_json::to_string_pretty(&line).unwrap();
            told.push('\n');
        }
        format!("{}\n\n--> {}\n{told}", self.text, answer.status)
    }
}

async fn each_wrong_request_is_told_what_is_wrong_what_is_allowed_and_what_to_do(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut client = server.client();
    let mut admin = server.client().admin();
    for (path, body) in [
        ("deliveries", json!({"id": 7, "label": "November"})),
        ("deliveries", json!({"id": 8, "label": "December"})),
        (
            "links",
            json!({"url": "https://shop.example/", "slug": "autumn"}),
        ),
        ("page-tags", json!({"identifier": "home", "kind": "web"})),
        (
            "forms",
            json!({"id": 3, "name": "Newsletter", "fields": [{"alias": "email"}]}),
        ),
    ] {
        let made = admin.post_json(&format!("/api/v1/{path}"), &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    // A key that another request has.
    let link = Bytes::from_static(b"{\"url\": \"https://shop.example/winter\"}");
    let key = [("idempotency-key", "autumn")];
    let made = admin.request(Method::POST, "/api/v1/links", &key, link);
    assert_eq!(made.await.unwrap().status, 201);
    let line =
        r#"{"contact": {"email": "ada@example.com"}, "broadlog_id": 77, "idempotency_key": "ada"}"#;
    let messages = "/api/v1/deliveries/7/messages";
    let made = admin.post(messages, "application/x-ndjson", line).await;
    assert!(made.json()["broadlog_id"].is_number(), "{}", made.text());

    let requests: Vec<Request<'_>> = REQUESTS.split("\n====\n").map(Request::parse).collect();
    assert!(requests.len() >= 50, "{}", requests.len());
    let mut told = Vec::new();
    for request in &requests {
        told.push(request.play(&mut client).await);
    }
    let told = told.join("\n====\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("SILLAGE_WRITE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &told).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    for (told, expected) in told.split("\n====\n").zip(expected.split("\n====\n")) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
    for word in [
        "invalid type",
        "expected ",
        "there is no such",
        "serde",
        "struct ",
    ] {
        assert!(!told.contains(word), "{word}");
    }
    server.finish().await;
}

on_both!(each_wrong_request_is_told_what_is_wrong_what_is_allowed_and_what_to_do);

//! Bad input to the API: a clear 4xx that names the field, or taken and stored; never a 5xx, and
//! never a delivery, link or hit that the database refuses later.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Answer, Client, Engine, TestServer, on_both};

/// Values for every field of every request.
fn values() -> Vec<Value> {
    let texts = [
        "",
        "\0",
        "a\0b",
        "\u{fffd}\u{feff}\u{202e}\u{1b}[31m",
        "'; drop table hits; --",
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        "javascript:alert(1)",
        "https://user:secret@shop.example/",
        "https://shop.example/\r\nSet-Cookie: a=b",
        "//evil.example",
        "../../etc/passwd",
        "99999999999999999999",
        "-1",
        "1234567890123456789012345678901234567890",
        "EURO",
        "1970-01-01T00:00:00Z",
        "2200-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01T00:00:00+23:59",
        "0190a5a0-0000-7000-8000-000000000000",
    ];
    let mut values: Vec<Value> = texts.map(Value::from).to_vec();
    values.extend([
        json!("x".repeat(1 << 20)),
        json!("\u{1f4a9}".repeat(3_000)),
        json!("1,".repeat(2_000)),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(true),
        json!(null),
        json!([]),
        json!(["a\0b", 1, null]),
        json!({}),
        json!({ "a\0b": "c\0d", "email": "\0", "id": "x", "source": "a\0b" }),
        json!({ "x".repeat(100_000): { "a": ["\0"] } }),
    ]);
    values
}

/// The answer of a program that knows what is wrong.
fn assert_clear(answer: &Answer, what: &str) {
    assert!(
        (200..500).contains(&answer.status),
        "{} to {what}: {}",
        answer.status,
        answer.text()
    );
    if answer.status >= 400 {
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{what}"
        );
        let problem = answer.json();
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty()),
            "{what}: {problem}"
        );
        assert!(
            answer.body.len() < 20_000,
            "{what}: {} bytes of problem",
            answer.body.len()
        );
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

async fn made(client: &mut Client, path: &str, body: Value) -> Value {
    let answer = client.post_json(path, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn every_value_in_every_field_is_taken_or_refused_by_name(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut client = server.client().admin();
    let delivery = made(
        &mut client,
        "/api/v1/deliveries",
        json!({ "label": "November" }),
    )
    .await;
    let delivery = format!("/api/v1/deliveries/{}", delivery["id"]);
    let (links, messages) = (format!("{delivery}/links"), format!("{delivery}/messages"));
    let requests: [(&str, Value, &[&str]); 4] = [
        (
            "/api/v1/deliveries",
            json!({ "label": "a" }),
            &[
                "label",
                "id",
                "channel",
                "sent_at",
                "expires_at",
                "expiration_url",
                "utm",
                "nonsense",
            ],
        ),
        (
            &links,
            json!({ "url": "https://shop.example/" }),
            &["url", "label", "category", "id", "nonsense"],
        ),
        (
            "/api/v1/links",
            json!({ "url": "https://shop.example/" }),
            &["url", "slug", "delivery_id", "label", "category", "id"],
        ),
        (
            "/api/v1/hits",
            json!({ "kind": "pageview" }),
            &[
                "kind",
                "page_url",
                "page_title",
                "referrer",
                "contact",
                "visitor_id",
                "contact_id",
                "delivery_id",
                "broadlog_id",
                "link_id",
                "revenue",
                "currency",
                "order_id",
                "quantity",
                "tags",
                "utm_source",
                "ip",
                "user_agent",
                "at",
                "idempotency_key",
                "event",
                "site",
                "extra",
                "nonsense",
            ],
        ),
    ];
    for (path, valid, fields) in &requests {
        for field in *fields {
            for value in values() {
                let mut body = valid.clone();
                body[*field] = value.clone();
                let answer = client.post_json(path, &body).await;
                let what = format!("{path} {field} = {}", short(&value));
                assert_clear(&answer, &what);
                if answer.status == 422 {
                    let problem = answer.json();
                    let named = problem["field"]
                        .as_str()
                        .or(problem["rejected"][0]["field"].as_str());
                    assert!(
                        named.is_some_and(|named| named.starts_with(field)),
                        "{what}: {}",
                        answer.text()
                    );
                }
            }
        }
        for value in values() {
            assert_clear(&client.post_json(path, &value).await, path);
        }
    }
    let link = made(
        &mut client,
        "/api/v1/links",
        json!({ "url": "https://shop.example/" }),
    )
    .await;
    let link = format!("/api/v1/links/{}", link["id"]);
    let ada = json!({ "fields": { "email": "ada@example.com" } });
    let ada = made(&mut client, "/api/v1/contacts", ada).await;
    let ada = format!("/api/v1/contacts/{}", ada["id"].as_str().unwrap());
    let changes: [(Method, String, &[&str]); 6] = [
        (
            Method::POST,
            "/api/v1/contacts".to_owned(),
            &["fields", "id"],
        ),
        (Method::PATCH, ada, &["fields", "tags", "id"]),
        (
            Method::PATCH,
            link.clone(),
            &["url", "label", "category", "ended", "end_url", "slug", "id"],
        ),
        (Method::POST, format!("{link}/end"), &["url", "nonsense"]),
        (
            Method::PATCH,
            delivery.clone(),
            &[
                "label",
                "channel",
                "sent_at",
                "expires_at",
                "expiration_url",
                "utm",
                "id",
            ],
        ),
        (
            Method::POST,
            format!("{delivery}/end"),
            &["url", "nonsense"],
        ),
    ];
    for (method, path, fields) in changes {
        for field in fields {
            for value in values() {
                let body = json!({ *field: value.clone() }).to_string();
                let what = format!("{path} {field} = {}", short(&value));
                let answer = client
                    .request(method.clone(), &path, &[], body.into())
                    .await;
                let answer = answer.unwrap();
                assert_clear(&answer, &what);
                if answer.status == 422 {
                    let named = answer.json()["field"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned();
                    assert!(named.starts_with(field), "{what}: {}", answer.text());
                }
            }
        }
    }
    for field in ["contact", "broadlog_id", "format", "nonsense"] {
        for value in values() {
            let mut line = json!({ "contact": { "email": "a@example.com" } });
            line[field] = value.clone();
            let answer = client
                .post(
                    &messages,
                    "application/x-ndjson",
                    format!("{line}\n{{\"contact\":{{\"email\":\"b@example.com\"}}}}\n"),
                )
                .await;
            assert_eq!(answer.status, 200, "{field} = {}", short(&value));
            let lines: Vec<Value> = answer
                .text()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            assert_eq!(lines.len(), 2, "{field} = {}", short(&value));
            assert!(
                lines[0]["error"].is_string() || lines[0]["broadlog_id"].is_number(),
                "{}",
                lines[0]
            );
            assert!(
                lines[1]["broadlog_id"].is_number(),
                "{field} = {} harms its neighbour: {}",
                short(&value),
                lines[1]
            );
        }
    }
    server.wait_drained(Duration::from_secs(30)).await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
    server.finish().await;
}

async fn no_body_is_too_strange(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut client = server.client().admin();
    made(
        &mut client,
        "/api/v1/deliveries",
        json!({ "label": "a", "id": 5 }),
    )
    .await;
    let bodies: [Vec<u8>; 10] = [
        b"".to_vec(),
        b"\0".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"{\"label\":\"\xff\xc3(\"}".to_vec(),
        b"{\"label\":\"\\ud800\"}".to_vec(),
        b"{\"label\":\"a\",\"label\":\"b\"}".to_vec(),
        b"{\"label\":1e999,\"revenue\":1e999}".to_vec(),
        b"[".repeat(200_000),
        b"{\"extra\":".repeat(100_000),
        [b"[".as_slice(), &b"{},".repeat(150_000), b"{}]"].concat(),
    ];
    for path in [
        "/api/v1/deliveries",
        "/api/v1/deliveries/5/links",
        "/api/v1/links",
        "/api/v1/hits",
    ] {
        for body in &bodies {
            for content_type in ["application/json", "application/x-ndjson", "text/\u{fc}"] {
                let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
                let answer = client.post(path, content_type, body.clone()).await;
                assert!(
                    (200..500).contains(&answer.status),
                    "{} to {path} {shown:?}: {}",
                    answer.status,
                    answer.text()
                );
            }
        }
    }
    for body in &bodies {
        let answer = client
            .post(
                "/api/v1/deliveries/5/messages",
                "application/x-ndjson",
                body.clone(),
            )
            .await;
        assert_eq!(answer.status, 200);
    }
    server.wait_drained(Duration::from_secs(60)).await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
    server.finish().await;
}

async fn no_query_or_path_is_too_strange(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut client = server.client().admin();
    made(
        &mut client,
        "/api/v1/deliveries",
        json!({ "label": "a", "id": 5 }),
    )
    .await;
    let texts = [
        "",
        "%00",
        "%FF%C3(",
        "-1",
        "0",
        "99999999999999999999",
        "1.5",
        "x",
        "%27%3B--",
        "0190a5a0-0000-7000-8000-000000000000",
        "%F0%9F%92%A9",
    ];
    let long = "x".repeat(30_000);
    for text in texts.into_iter().chain([long.as_str()]) {
        for name in [
            "after",
            "limit",
            "delivery_id",
            "contact_id",
            "kind",
            "format",
            "nonsense",
        ] {
            assert_clear(
                &client.get(&format!("/api/v1/hits?{name}={text}")).await,
                name,
            );
        }
        assert_clear(
            &client
                .get(&format!("/api/v1/deliveries?after={text}&limit={text}"))
                .await,
            text,
        );
        for name in [
            "search",
            "delivery_id",
            "slug",
            "kind",
            "ended",
            "after",
            "limit",
        ] {
            let path = format!("/api/v1/links?{name}={text}");
            assert_clear(&client.get(&path).await, &path);
        }
        for name in ["search", "tag", "opted_out", "after", "limit"] {
            let path = format!("/api/v1/contacts?{name}={text}");
            assert_clear(&client.get(&path).await, &path);
        }
        for name in ["link_id", "verdict", "site", "from", "to"] {
            let path = format!("/api/v1/hits?{name}={text}");
            assert_clear(&client.get(&path).await, &path);
        }
        for name in ["what", "link", "after", "limit", "format"] {
            let path = format!("/api/v1/reports/deliveries/5/people?what=clicked&{name}={text}");
            assert_clear(&client.get(&path).await, &path);
        }
        for path in [
            format!("/api/v1/reports/deliveries/{text}/people?what=opened"),
            format!("/api/v1/deliveries?search={text}"),
            format!("/api/v1/forms?after={text}"),
            format!("/api/v1/links/{text}"),
            format!("/api/v1/links/{text}/history?after={text}"),
        ] {
            assert_clear(&client.get(&path).await, &path);
        }
        assert_clear(
            &client.get(&format!("/api/v1/contacts?email={text}")).await,
            text,
        );
        assert_clear(
            &client.get(&format!("/api/v1/contacts?{text}={text}")).await,
            text,
        );
        for path in [
            "contacts/{}",
            "contacts/{}/timeline",
            "deliveries/{}",
            "deliveries/{}/report",
            "{}x",
            "{}",
        ] {
            assert_clear(
                &client
                    .get(&format!("/api/v1/{}", path.replace("{}", text)))
                    .await,
                path,
            );
        }
        for path in ["deliveries/{}/links", "deliveries/{}/messages"] {
            let answer = client
                .post_json(
                    &format!("/api/v1/{}", path.replace("{}", text)),
                    &json!({ "url": "https://a.example/" }),
                )
                .await;
            assert_clear(&answer, path);
        }
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
    server.finish().await;
}

async fn only_the_token_opens_the_api(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    for given in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YTpi",
        "Bearer a-token-for-integration-testsx",
        "bearer \u{fc}",
        "Bearer a-token-for-integration-test",
    ] {
        let answer = server
            .client()
            .get_with("/api/v1/hits", &[("authorization", given)])
            .await;
        assert_eq!(answer.status, 401, "{given:?}");
        assert_clear(&answer, given);
    }
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  ", " bearer"] {
        let given = format!("{scheme} {ADMIN_TOKEN}");
        let mut client = server.client();
        for path in ["/api/v1/hits", "/metrics"] {
            let answer = client.get_with(path, &[("authorization", &given)]).await;
            assert_eq!(answer.status, 200, "{given:?}");
        }
    }
    server.finish().await;
}

on_both!(
    every_value_in_every_field_is_taken_or_refused_by_name,
    no_body_is_too_strange,
    no_query_or_path_is_too_strange,
    only_the_token_opens_the_api,
);

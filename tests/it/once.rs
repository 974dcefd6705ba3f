//! What makes things is done once for an `Idempotency-Key`, whatever becomes of the answer.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Engine, TestServer, on_both, wait_for};

const SOON: Duration = Duration::from_secs(20);

async fn post(api: &mut Client, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("idempotency-key", key)];
    let body = Bytes::from(body.to_string());
    let path = format!("/api/v1{path}");
    api.request(Method::POST, &path, &headers, body)
        .await
        .unwrap()
}

async fn whatever_is_made_is_made_once(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let made = post(&mut api, "/deliveries", "first", &json!({"label": "A"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let delivery = format!("/deliveries/{}/links", made.json()["id"]);
    let links = json!([{"url": "https://shop.example/1"}, {"url": "https://shop.example/2"}]);
    let form = json!({"name": "News", "fields": [{"alias": "email"}]});
    let contact = json!({"fields": {"email": "ada@example.com"}});
    for (path, body, count) in [
        ("/deliveries", json!({"label": "A"}), "deliveries"),
        (&*delivery, links, "links"),
        ("/links", json!({"url": "https://shop.example/3"}), "links"),
        (
            "/page-tags",
            json!({"identifier": "home", "kind": "web"}),
            "page_tags",
        ),
        ("/forms", form, "forms"),
        ("/contacts", contact, "contacts"),
    ] {
        // A key is the sender's, whatever the path.
        let key = format!("key-{path}");
        let first = post(&mut api, path, &key, &body).await;
        assert_eq!(first.status, 201, "{path}: {}", first.text());
        assert_eq!(first.header("idempotency-replayed"), "");
        let rows = format!("select count(*) from {count}");
        let before = server.db().number(&rows).await;
        for _ in 0..3 {
            let again = post(&mut api, path, &key, &body).await;
            assert_eq!(again.header("idempotency-replayed"), "true");
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            assert_eq!(
                again.header("content-type"),
                first.header("content-type"),
                "{path}"
            );
        }
        let other = post(&mut api, path, &key, &json!({"label": "B"})).await;
        assert_eq!(other.status, 422, "{}", other.text());
        assert_eq!(other.json()["field"], "Idempotency-Key");
        assert_eq!(server.db().number(&rows).await, before, "{path}");
    }
    server.finish().await;
}

async fn what_failed_leaves_its_key_free(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let wrong = post(&mut api, "/links", "a", &json!({"url": "shop.example"})).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let right = post(
        &mut api,
        "/links",
        "a",
        &json!({"url": "https://shop.example/"}),
    )
    .await;
    assert_eq!(right.status, 201, "{}", right.text());
    assert_eq!(right.header("idempotency-replayed"), "");
    server.finish().await;
}

async fn many_at_once_make_one(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let body = json!({"url": "https://shop.example/"});
    let requests = (0..12).map(|_| {
        let mut api = server.client().admin();
        let body = body.clone();
        async move { post(&mut api, "/links", "same", &body).await }
    });
    let answers = futures_util::future::join_all(requests).await;
    let mut made: Vec<Bytes> = Vec::new();
    for answer in answers {
        match answer.status {
            201 => made.push(answer.body),
            409 => assert_eq!(answer.json()["field"], "Idempotency-Key"),
            status => panic!("{status}: {}", answer.text()),
        }
    }
    assert!(made.iter().all(|body| *body == made[0]), "{made:?}");
    assert_eq!(server.db().number("select count(*) from links").await, 1);
    server.finish().await;
}

/// Senders give up waiting, and send again.
async fn who_hangs_up_gets_the_answer_the_next_time(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let body = json!({"url": "https://shop.example/"}).to_string();
    let token = crate::harness::ADMIN_TOKEN;
    let request = format!(
        "POST /api/v1/links HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n\
         idempotency-key: gone\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    {
        use tokio::io::AsyncWriteExt as _;
        let mut socket = tokio::net::TcpStream::connect(server.address())
            .await
            .unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        // Closed without a look at the answer.
    }
    let mut api = server.client().admin();
    let body = json!({"url": "https://shop.example/"});
    wait_for("it is answered", SOON, async || {
        post(&mut api, "/links", "gone", &body).await.status == 201
    })
    .await;
    assert_eq!(server.db().number("select count(*) from links").await, 1);
    server.finish().await;
}

/// Nobody knows whether what a killed server had begun was made: it is not done again.
async fn what_a_killed_server_had_begun_is_not_done_again(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let body = json!({"url": "https://shop.example/"});
    assert_eq!(post(&mut api, "/links", "cut", &body).await.status, 201);
    let sql = "update request_keys set status = null, body = null";
    server.db().execute(sql, sql).await;
    let told = post(&mut api, "/links", "cut", &body).await;
    assert_eq!(told.status, 409, "{}", told.text());
    assert!(
        told.text().contains("look whether it was done"),
        "{}",
        told.text()
    );
    assert_eq!(server.db().number("select count(*) from links").await, 1);
    server.finish().await;
}

on_both!(
    whatever_is_made_is_made_once,
    what_failed_leaves_its_key_free,
    many_at_once_make_one,
    who_hangs_up_gets_the_answer_the_next_time,
    what_a_killed_server_had_begun_is_not_done_again,
);

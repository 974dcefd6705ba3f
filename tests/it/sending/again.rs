//! Messages that are sent again: under keys of their own, and whole requests under an
//! `Idempotency-Key`.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{assert_problem, make_delivery, make_messages};
use crate::harness::{ADMIN_TOKEN, Answer, Client, Engine, TestServer, on_both, wait_for};

async fn send(api: &mut Client, delivery: i64, key: &str, lines: &str) -> Answer {
    let path = format!("/api/v1/deliveries/{delivery}/messages");
    api.patience = Duration::from_secs(60);
    api.request(
        Method::POST,
        &path,
        &[("idempotency-key", key)],
        Bytes::from(lines.to_owned()),
    )
    .await
    .unwrap()
}

async fn send_keyed(api: &mut Client, delivery: i64, key: &str, lines: &str) -> Vec<Value> {
    let answer = send(api, delivery, key, lines).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn messages(server: &TestServer) -> i64 {
    server.db().number("select count(*) from broadlogs").await
}

fn errors(lines: &[Value]) -> Vec<&str> {
    let errors = lines.iter().filter_map(|line| line["error"].as_str());
    errors.collect()
}

async fn a_line_with_a_key_is_one_message_however_often_it_comes(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({"label": "First"})).await;
    let other = make_delivery(&mut api, json!({"label": "Second"})).await;
    let link = json!({"url": "https://shop.example/"});
    api.post_json(&format!("/api/v1/deliveries/{delivery}/links"), &link)
        .await;
    let line = |email: &str, key: &str| {
        let line = json!({"contact": {"email": email}, "idempotency_key": key});
        format!("{line}\n")
    };
    let ada = line("A@B.de ", "ada-1");
    let first = make_messages(&mut api, delivery, &ada).await;
    assert!(first[0]["broadlog_id"].is_number(), "{first:?}");
    // In another request, twice in one, written otherwise, and after a restart.
    let again = make_messages(
        &mut api,
        delivery,
        &(ada.clone() + &line("a@b.de", "ada-1")),
    )
    .await;
    assert_eq!([&again[0], &again[1]], [&first[0], &first[0]]);
    server.kill().await;
    server.start_again().await;
    let mut api = server.client().admin();
    assert_eq!(make_messages(&mut api, delivery, &ada).await, first);
    assert_eq!(messages(&server).await, 1);
    // The key is the delivery's own, and one message's.
    let elsewhere = make_messages(&mut api, other, &ada).await;
    assert_ne!(elsewhere[0]["broadlog_id"], first[0]["broadlog_id"]);
    let twice = line("bob@x", "bob-1") + &line("eve@x", "bob-1") + &line("eve@x", "ada-1");
    let twice = make_messages(&mut api, delivery, &twice).await;
    assert!(twice[0]["broadlog_id"].is_number(), "{twice:?}");
    assert_eq!(errors(&twice).len(), 2, "{twice:?}");
    assert!(
        errors(&twice)
            .iter()
            .all(|error| error.contains("another message"))
    );
    // Without a key the same person gets a second message, as before.
    make_messages(&mut api, delivery, "{\"contact\":{\"email\":\"a@b.de\"}}").await;
    assert_eq!(messages(&server).await, 4);
    let wrong = make_messages(
        &mut api,
        delivery,
        &(line("a@b.de", " ") + &line("a@b.de", &"x".repeat(256))),
    )
    .await;
    assert_eq!(errors(&wrong).len(), 2, "{wrong:?}");
    server.finish().await;
}

async fn a_request_with_a_key_gives_the_same_answers_again(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({"label": "Many"})).await;
    let mut lines: String = (0..2_500)
        .map(|n| format!("{{\"contact\":{{\"email\":\"R{n}@x.example\"}}}}\n"))
        .collect();
    lines.push_str("[]\n{\"contact\":{\"email\":\"own@x\"},\"broadlog_id\":9000}\n");
    let first = send_keyed(&mut api, delivery, "\"letter-1\"", &lines).await;
    assert_eq!(first.len(), 2_502);
    assert_eq!(errors(&first).len(), 1);
    server.kill().await;
    server.start_again().await;
    let mut api = server.client().admin();
    // The same people, written otherwise.
    let again = send_keyed(&mut api, delivery, "letter-1", &lines.replace("R", " r")).await;
    assert_eq!(again, first);
    assert_eq!(messages(&server).await, 2_501);
    // Other lines from the start: nothing is taken. From later on: told line by line.
    let other = "{\"contact\":{\"email\":\"new@x\"}}\n";
    let refused = send(&mut api, delivery, "letter-1", other).await;
    assert_problem(&refused, 422, None);
    assert!(
        refused.text().contains("Idempotency-Key"),
        "{}",
        refused.text()
    );
    wait_for("the end is noted", Duration::from_secs(10), async || {
        let sql = "select count(*) from sent_keys where key = 'lines:letter-1'";
        server.db().number(sql).await == 1
    })
    .await;
    let longer = send_keyed(&mut api, delivery, "letter-1", &(lines.clone() + other)).await;
    assert_eq!(longer[..2_000], first[..2_000]);
    assert_eq!(
        errors(&longer).len(),
        503,
        "from the chunk with the other line on"
    );
    assert_eq!(messages(&server).await, 2_501);
    // Under another key they are another mailing.
    send_keyed(&mut api, delivery, "letter-2", other).await;
    assert_eq!(messages(&server).await, 2_502);
    server.finish().await;
}

/// The sender sees nothing of the answer, and sends all of it again.
async fn a_request_that_broke_off_is_gone_on_with(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({"label": "x"})).await;
    let line = |n: u32| format!("{{\"contact\":{{\"email\":\"r{n}@x\"}}}}\n");
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let part = line(1) + &line(2);
    let head = format!(
        "POST /api/v1/deliveries/{delivery}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \
        {ADMIN_TOKEN}\r\n\
         Idempotency-Key: broken\r\nContent-Length: 1000\r\n\r\n{part}"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
    drop(stream);
    wait_for("two are stored", Duration::from_secs(10), async || {
        messages(&server).await == 2
    })
    .await;
    let before = server
        .db()
        .texts("select cast(max(id) as text) from broadlogs")
        .await;
    let whole = part + &line(3);
    let answers = send_keyed(&mut api, delivery, "broken", &whole).await;
    assert_eq!(
        answers[1]["broadlog_id"].to_string(),
        before[0].clone().unwrap()
    );
    assert_eq!(messages(&server).await, 3);
    assert_eq!(
        send_keyed(&mut api, delivery, "broken", &whole).await,
        answers
    );
    server.finish().await;
}

/// A sender that gave up too early sends again while the first request is still being stored.
async fn two_requests_with_one_key_at_a_time_are_one(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({"label": "x"})).await;
    let lines: String = (0..3_000)
        .map(|n| format!("{{\"contact\":{{\"email\":\"r{n}@x\"}}}}\n"))
        .collect();
    let sending = (0..3).map(|_| async {
        let mut api = server.client().admin();
        send_keyed(&mut api, delivery, "k", &lines).await
    });
    let answers = futures_util::future::join_all(sending).await;
    assert_eq!(errors(&answers[0]), [""; 0]);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(messages(&server).await, 3_000);
    server.finish().await;
}

async fn hits_of_a_request_with_a_key_count_once(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let body = r#"[{"kind":"event","event":"a"},{"kind":"event","event":"a"},{"kind":"nope"}]"#;
    let mut answers = Vec::new();
    for (key, body) in [
        ("k", body),
        ("k", body),
        ("other", body),
        ("k", "{\"event\":\"b\"}"),
    ] {
        let headers = [("idempotency-key", key)];
        let answer = api
            .request(Method::POST, "/api/v1/hits", &headers, Bytes::from(body))
            .await
            .unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
        answers.push(answer.text());
    }
    assert_eq!(answers[0], answers[1]);
    server.wait_drained(Duration::from_secs(20)).await;
    // Two of the first, two under the other key, and the one that is another hit.
    assert_eq!(server.db().number("select count(*) from hits").await, 5);
    server.finish().await;
}

on_both!(
    a_line_with_a_key_is_one_message_however_often_it_comes,
    a_request_with_a_key_gives_the_same_answers_again,
    a_request_that_broke_off_is_gone_on_with,
    two_requests_with_one_key_at_a_time_are_one,
    hits_of_a_request_with_a_key_count_once,
);

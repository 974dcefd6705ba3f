//! Messages: a stream of recipients in, a stream of links out.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{make_delivery, make_messages};
use crate::harness::{ADMIN_TOKEN, Engine, TestServer, on_both};

async fn a_message_sent_again_gives_the_same_answer(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({"label": "First"})).await;
    let other = make_delivery(&mut api, json!({"label": "Second"})).await;
    let link = json!({"url": "https://shop.example/"});
    let made = api
        .post_json(&format!("/api/v1/deliveries/{delivery}/links"), &link)
        .await;
    assert!(made.json()["id"].is_number(), "{}", made.text());

    let line = "{\"contact\":{\"email\":\"ada@x\"},\"broadlog_id\":\"77\"}\n";
    let first = make_messages(&mut api, delivery, line).await;
    assert_eq!(first[0]["broadlog_id"], 77);
    // In another request, and twice in one.
    let again = make_messages(&mut api, delivery, &line.repeat(2)).await;
    assert_eq!([&again[0], &again[1]], [&first[0], &first[0]]);
    let elsewhere = make_messages(&mut api, other, line).await;
    assert!(
        elsewhere[0]["error"]
            .as_str()
            .unwrap()
            .contains("another delivery")
    );
    let someone = "{\"contact\":{\"email\":\"bob@x\"},\"broadlog_id\":77}";
    let someone = make_messages(&mut api, delivery, someone).await;
    assert!(
        someone[0]["error"]
            .as_str()
            .unwrap()
            .contains("another contact")
    );
    // A chosen number is never given out again, also within one chunk.
    let next = "{\"contact\":{\"email\":\"bob@x\"}}\n{\"contact\":{\"email\":\"eve@x\"},\"broadlog_id\":100}\n{\"contact\":{\"email\":\"bob@x\"}}";
    let next = make_messages(&mut api, delivery, next).await;
    let ids: Vec<&Value> = next.iter().map(|line| &line["broadlog_id"]).collect();
    assert_eq!(ids, [101, 100, 102]);
    assert_eq!(
        server.db().number("select count(*) from broadlogs").await,
        4
    );
    assert_eq!(
        server
            .db()
            .number("select max(messages) from deliveries")
            .await,
        4
    );
    assert_eq!(server.db().number("select count(*) from contacts").await, 3);
    server.finish().await;
}

async fn a_recipient_is_found_by_any_unique_field_and_two_of_one_person_become_one(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__UNIQUE", "email,customer_id")
        .start()
        .await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({"label": "x"})).await;
    let lines = "{\"contact\":{\"email\":\"ada@x\",\"city\":\"Ulm\"}}\n\
                 {\"contact\":{\"customer_id\":7,\"name\":\"Ada\"},\"broadlog_id\":5}\n\
                 {\"contact\":{\"customer_id\":\"7\",\"city\":\"Bonn\"}}";
    let before = make_messages(&mut api, delivery, lines).await;
    assert_ne!(before[0]["contact_id"], before[1]["contact_id"]);
    assert_eq!(before[1]["contact_id"], before[2]["contact_id"]);
    let lines = "{\"contact\":{\"email\":\"ADA@x\",\"customer_id\":7}}\n\
                 {\"contact\":{\"customer_id\":7},\"broadlog_id\":5}";
    let after = make_messages(&mut api, delivery, lines).await;
    assert_eq!(after[0]["contact_id"], before[0]["contact_id"]);
    assert_eq!(
        after[1]["contact_id"], before[0]["contact_id"],
        "the message went with its contact: {after:?}"
    );
    assert_eq!(
        server
            .db()
            .number("select count(*) from contacts where merged_into is null")
            .await,
        1
    );
    server.finish().await;
}

async fn a_thousand_recipients_answer_in_order_however_the_lines_are(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({"label": "Many"})).await;
    let mut lines = String::new();
    for number in 0..5_000 {
        match number % 1_000 {
            // Longer than a line may be, in the middle of everything.
            500 => lines.push_str(&"x".repeat(300_000)),
            501 => lines.push_str("[]"),
            _ => lines.push_str(&format!(
                "{{\"contact\":{{\"email\":\"r{number}@x\",\"n\":{number}}},\"broadlog_id\":{}}}",
                number + 1
            )),
        }
        lines.push('\n');
    }
    api.patience = Duration::from_secs(60);
    let answers = make_messages(&mut api, delivery, &lines).await;
    assert_eq!(answers.len(), 5_000);
    for (number, answer) in answers.iter().enumerate() {
        if matches!(number % 1_000, 500 | 501) {
            assert!(answer["error"].is_string(), "{number}: {answer}");
        } else {
            assert_eq!(answer["broadlog_id"], number + 1, "{answer}");
        }
    }
    assert_eq!(
        server.db().number("select count(*) from contacts").await,
        4_990
    );
    server.finish().await;
}

async fn a_sender_that_pauses_gets_its_answers(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({"label": "x"})).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /api/v1/deliveries/{delivery}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \
        {ADMIN_TOKEN}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = String::new();
    for number in 1..=3 {
        let line = format!("{{\"contact\":{{\"email\":\"r{number}@x\"}}}}\n");
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        stream.write_all(chunk.as_bytes()).await.unwrap();
        let answer = async {
            while seen.matches("\"broadlog_id\"").count() < number {
                let mut buffer = [0; 4_096];
                let read = stream.read(&mut buffer).await.unwrap();
                assert_ne!(read, 0, "the server closed: {seen}");
                seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        };
        tokio::time::timeout(Duration::from_secs(10), answer)
            .await
            .expect("the answer comes before the body ends");
    }
    drop(stream);
    server.finish().await;
}

async fn a_field_that_is_too_long_is_cut_and_told(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api, json!({ "label": "Long" })).await;
    let long = |characters: usize| "\u{e9}".repeat(characters);
    let line =
        |field: &str, value: &str| json!({ "contact": { "email": "a@x.example", field: value } });
    let lines = [
        line("firstname", &long(500)),
        line("firstname", &long(501)),
        line(&long(64), "x"),
        line(&long(65), "x"),
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let answers = make_messages(&mut api, delivery, &lines).await;
    let told: Vec<bool> = answers.iter().map(|answer| answer["cut"] == true).collect();
    assert_eq!(told, [false, true, false, true]);
    server.finish().await;
}

on_both!(
    a_field_that_is_too_long_is_cut_and_told,
    a_message_sent_again_gives_the_same_answer,
    a_recipient_is_found_by_any_unique_field_and_two_of_one_person_become_one,
    a_thousand_recipients_answer_in_order_however_the_lines_are,
    a_sender_that_pauses_gets_its_answers,
);

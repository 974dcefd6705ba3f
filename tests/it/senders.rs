//! Senders of messages that write everything before they read anything, as Python's `requests` does
//! with a file.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{ADMIN_TOKEN, Engine, TestServer, on_both, read_chunks, wait_for};

/// The answers and the lines are each several times what the sockets of both sides hold.
const RECIPIENTS: usize = 60_000;
const LONG: Duration = Duration::from_secs(60);

async fn make_delivery(server: &TestServer) -> i64 {
    let mut api = server.client().admin();
    let delivery = json!({"label": "Many"});
    let made = api.post_json("/api/v1/deliveries", &delivery).await.json();
    let id = made["id"].as_i64().unwrap();
    let links = json!([{"url": "https://shop.example/1"}, {"url": "https://shop.example/2"}]);
    let path = format!("/api/v1/deliveries/{id}/links");
    assert_eq!(api.post_json(&path, &links).await.status, 201);
    id
}

/// A request with so many recipients; each names its number, in 300 bytes.
fn request(delivery: i64, recipients: usize) -> String {
    let mut lines = String::with_capacity(recipients * 300);
    for number in 1..=recipients {
        let line =
            format!("{{\"contact\":{{\"email\":\"r{number}@x\"}},\"broadlog_id\":{number}}}");
        let _ = writeln!(lines, "{line:299}");
    }
    format!(
        "POST /api/v1/deliveries/{delivery}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \
        {ADMIN_TOKEN}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{lines}",
        lines.len()
    )
}

/// Files in the data directory that the server has open and that have no name.
fn nameless_files(server: &TestServer) -> usize {
    let files = Path::new("/proc").join(server.id().to_string()).join("fd");
    let dir = server.data_dir().to_str().unwrap();
    std::fs::read_dir(files)
        .unwrap()
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
        .filter(|file| file.starts_with(dir) && file.to_str().unwrap().ends_with("(deleted)"))
        .count()
}

async fn who_writes_everything_before_reading_gets_every_answer_in_order(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let delivery = make_delivery(&server).await;
    let request = request(delivery, RECIPIENTS);
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    tokio::time::timeout(LONG, stream.write_all(request.as_bytes()))
        .await
        .expect("the server reads on while its answer is not taken")
        .unwrap();
    let stored = format!("select messages from deliveries where id = {delivery}");
    wait_for("all are stored before any is taken", LONG, async || {
        server.db().number(&stored).await == RECIPIENTS as i64
    })
    .await;
    assert_eq!(nameless_files(&server), 1);

    let mut answer = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut answer))
        .await
        .expect("the answer ends")
        .unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    let head = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let body = read_chunks(&answer[head.unwrap() + 4..]).expect("the answer is whole");
    let mut lines = 0;
    for (index, line) in body.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(line["broadlog_id"], index + 1, "{line}");
        assert_eq!(line["links"].as_object().unwrap().len(), 2, "{line}");
        lines += 1;
    }
    assert_eq!(lines, RECIPIENTS);
    wait_for("the file is gone", LONG, async || {
        nameless_files(&server) == 0
    })
    .await;
    server.finish().await;
}

async fn a_sender_that_goes_away_leaves_nothing(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let delivery = make_delivery(&server).await;
    let request = request(delivery, RECIPIENTS);
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        // Ends when it is aborted, before the end of the body.
        let most = request.len() - 1_000;
        writer.write_all(&request.as_bytes()[..most]).await.unwrap();
        std::future::pending::<()>().await;
    });
    wait_for("answers wait in the file", LONG, async || {
        nameless_files(&server) == 1
    })
    .await;
    writing.abort();
    drop(reader);
    wait_for("the file is gone", LONG, async || {
        nameless_files(&server) == 0
    })
    .await;
    let left = std::fs::read_dir(server.data_dir()).unwrap();
    let names: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_str().unwrap().contains("tmp")),
        "{names:?}"
    );
    // The server has no part of it left that would hold it back.
    server.finish().await;
}

on_both!(
    who_writes_everything_before_reading_gets_every_answer_in_order,
    a_sender_that_goes_away_leaves_nothing,
);

//! A mailing's messages through the API: recipients streamed in, links streamed out, at constant
//! memory. The same with the mail itself is the section `render`.

use std::convert::Infallible;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sillage::both;
use tokio::net::TcpStream;

use super::Options;
use super::database::Database;
use super::postgres::{self, Cluster};
use super::rig::probe;
use super::rig::server::ADMIN_TOKEN;
use super::scoreboard::{Bar, Scoreboard};
use super::server::Server;

const SECTION: &str = "messages";
/// Recipients in one chunk of the request's body.
const CHUNK: u64 = 500;

/// Runs the section.
pub async fn measure(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    if !Cluster::is_installed() {
        board.skip(SECTION, postgres::MISSING);
        return Ok(());
    }
    board.open("messages: POST /api/v1/deliveries/{id}/messages on Postgres, three links each");
    let cluster = Cluster::start().await?;
    let database = Database::create(Some(&cluster), "messages").await?;
    let server = database.serve(&[]).await?;
    let mut peaks = Vec::new();
    for (run, recipients) in options.recipients.iter().copied().enumerate() {
        let Some(delivery) = make_delivery(&server)? else {
            board.skip(SECTION, "the server does not answer the API");
            return Ok(());
        };
        server.forget_peak()?;
        let before = server.memory()?;
        let started = Instant::now();
        let answer = stream_recipients(&server, delivery, "", run, recipients).await?;
        let lines = answer.lines;
        let took = started.elapsed().as_secs_f64();
        let after = server.memory()?;
        peaks.push(after.peak as f64 / 1e6);
        let name = |what: &str| format!("{recipients} recipients: {what}");
        println!(
            "  memory {:.0} MB before, {:.0} MB at its peak",
            before.resident as f64 / 1e6,
            after.peak as f64 / 1e6
        );
        let rate = recipients as f64 / took;
        board.add(SECTION, name("rate"), rate, "/s", Bar::AtLeast(20_000.0));
        let memory = after.peak as f64 / 1e6;
        board.add(SECTION, name("peak memory"), memory, "MB", Bar::Below(80.0));
        let stored = count_messages(&database, delivery).await?;
        let missing = recipients.abs_diff(stored) + recipients.abs_diff(lines);
        board.add(
            SECTION,
            name("missing or too many"),
            missing as f64,
            "",
            Bar::Exactly(0.0),
        );
    }
    if let [first, .., last] = peaks[..] {
        board.add(
            SECTION,
            "peak of the last above the first",
            last - first,
            "MB",
            Bar::Below(16.0),
        );
    }
    Ok(())
}

/// A delivery with three links; none where the server has no API.
pub(super) fn make_delivery(server: &Server) -> anyhow::Result<Option<i64>> {
    let token = format!("Bearer {}", ADMIN_TOKEN);
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    let post = |path: &str, body: Value| {
        probe::ask(server.address, "POST", path, &headers, &body.to_string())
    };
    let answer = post(
        "/api/v1/deliveries",
        json!({ "label": "Spring newsletter" }),
    )?;
    if answer.status == 404 {
        return Ok(None);
    }
    let made: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("POST /deliveries: {}", answer.head))?;
    let delivery = made["id"].as_i64().context("a delivery without an id")?;
    let links: Vec<Value> = (1..=3)
        .map(|n| json!({ "url": format!("https://shop.example/spring/offer-{n}") }))
        .collect();
    let answer = post(
        &format!("/api/v1/deliveries/{delivery}/links"),
        json!(links),
    )?;
    anyhow::ensure!(answer.status == 201, "POST links: {}", answer.head);
    Ok(Some(delivery))
}

/// How much an answer was.
pub(super) struct Streamed {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// Sends recipients and reads the answer at the same time.
pub(super) async fn stream_recipients(
    server: &Server,
    delivery: i64,
    query: &str,
    run: usize,
    recipients: u64,
) -> anyhow::Result<Streamed> {
    let stream = TcpStream::connect(server.address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let chunks = (0..recipients).step_by(CHUNK as usize).map(move |first| {
        let lines: String = (first..recipients.min(first + CHUNK))
            .map(|n| format!("{{\"contact\":{{\"email\":\"reader{n}@list{run}.example\",\"firstname\":\"Reader\",\"lastname\":\"{n}\"}}}}\n"))
            .collect();
        Ok::<_, Infallible>(Frame::data(Bytes::from(lines)))
    });
    let request = Request::post(format!("/api/v1/deliveries/{delivery}/messages{query}"))
        .header("host", server.address.to_string())
        .header("authorization", format!("Bearer {}", ADMIN_TOKEN))
        .header("content-type", "application/x-ndjson")
        .body(StreamBody::new(stream::iter(chunks)))?;
    let answer = sender.send_request(request).await?;
    anyhow::ensure!(answer.status() == 200, "messages: {}", answer.status());
    let mut body = answer.into_body();
    let mut streamed = Streamed { lines: 0, bytes: 0 };
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            // Counted as fast as can be: this runs beside what is measured.
            streamed.lines += memchr::memchr_iter(b'\n', &data).count() as u64;
            streamed.bytes += data.len() as u64;
        }
    }
    drop(sender);
    connection.await??;
    Ok(streamed)
}

pub(super) async fn count_messages(database: &Database, delivery: i64) -> anyhow::Result<u64> {
    let sql = "select count(*) from broadlogs where delivery_id = $1";
    let count: i64 = both!(database.store.reader(), pool => sqlx::query_scalar(sql).bind(delivery).fetch_one(pool).await)?;
    Ok(count as u64)
}

//! A mailing's messages with the finished HTML in each: a letter of 60 KB with forty links and two
//! fields, for each of 200,000 recipients, at constant memory. That is 12 GB of answers: what the
//! wire between the two takes is part of the figure.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::Options;
use super::database::Database;
use super::messages::{count_messages, make_delivery, stream_recipients};
use super::postgres::{self, Cluster};
use super::rig::probe;
use super::rig::server::ADMIN_TOKEN;
use super::scoreboard::{Bar, Scoreboard};
use super::server::Server;

const SECTION: &str = "render";
const LINKS: usize = 40;
const BYTES: usize = 60_000;

/// Runs the section.
pub async fn measure(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    if !Cluster::is_installed() {
        board.skip(SECTION, postgres::MISSING);
        return Ok(());
    }
    board.open("render: messages?render=html on Postgres, 60 KB and forty links each");
    let cluster = Cluster::start().await?;
    let database = Database::create(Some(&cluster), "render").await?;
    let server = database.serve(&[]).await?;
    let recipients = options.recipients.first().copied().unwrap_or(200_000);
    let mut peaks = Vec::new();
    // A tenth first: memory that grows with the number shows between the two.
    for (run, recipients) in [(recipients / 10).max(1), recipients]
        .into_iter()
        .enumerate()
    {
        let Some(delivery) = make_delivery(&server)? else {
            board.skip(SECTION, "the server does not answer the API");
            return Ok(());
        };
        give_content(&server, delivery)?;
        server.forget_peak()?;
        let started = Instant::now();
        let answer = stream_recipients(&server, delivery, "?render=html", run, recipients).await?;
        let took = started.elapsed().as_secs_f64();
        let peak = server.memory()?.peak as f64 / 1e6;
        peaks.push(peak);
        let name = |what: &str| format!("{recipients} recipients: {what}");
        let rate = recipients as f64 / took;
        board.add(SECTION, name("rate"), rate, "/s", Bar::AtLeast(5_000.0));
        let wire = answer.bytes as f64 / took / 1e6;
        board.add(SECTION, name("on the wire"), wire, "MB/s", Bar::None);
        board.add(SECTION, name("peak memory"), peak, "MB", Bar::Below(100.0));
        let stored = count_messages(&database, delivery).await?;
        let missing = recipients.abs_diff(stored) + recipients.abs_diff(answer.lines);
        let bar = Bar::Exactly(0.0);
        board.add(
            SECTION,
            name("missing or too many"),
            missing as f64,
            "",
            bar,
        );
    }
    if let [first, .., last] = peaks[..] {
        let grown = last - first;
        board.add(
            SECTION,
            "peak of all above a tenth's",
            grown,
            "MB",
            Bar::Below(16.0),
        );
    }
    Ok(())
}

fn give_content(server: &Server, delivery: i64) -> anyhow::Result<()> {
    let token = format!("Bearer {ADMIN_TOKEN}");
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    let path = format!("/api/v1/deliveries/{delivery}/content");
    let body = json!({ "html": letter() }).to_string();
    let answer = probe::ask(server.address, "POST", &path, &headers, &body)?;
    let content: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("POST content: {}", answer.head))?;
    let links = content["links"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(links == LINKS, "{links} links: {}", answer.head);
    Ok(())
}

/// As newsletter programs write them: tables, styles in each cell, a shape for Outlook beside each
/// fourth link.
fn letter() -> String {
    let mut html = "<!doctype html><html><body><p>Dear {{firstname}} {{lastname}},</p>".to_owned();
    for number in 0..LINKS {
        let page = format!("https://shop.example/spring/offer-{number}?a=1&amp;b={number}");
        if number % 4 == 0 {
            let _ = write!(
                html,
                "<!--[if mso]><v:roundrect href=\"{page}\"><center>Buy</center></v:roundrect>\
                <![endif]-->"
            );
        }
        let _ = write!(
            html,
            "<table><tr><td><a href=\"{page}\">Offer {number}</a></td>"
        );
        while html.len() < BYTES * (number + 1) / LINKS {
            html.push_str("<td style=\"padding:0 12px;color:#223344\">Words of an offer</td>\n");
        }
        html.push_str("</tr></table>");
    }
    html.push_str("</body></html>");
    html
}

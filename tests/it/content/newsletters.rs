//! Mails of the public: the examples of MJML, the templates of Foundation and Mailgen, installed
//! with npm below `target/` and rendered by their own programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use url::Url;

use super::{make_delivery, save};
use crate::harness::{Engine, TestServer};

const PACKAGES: [&str; 3] = ["mjml@5.4.1", "mailgen@2.0.36", "foundation-emails@2.5.1"];

fn letters() -> Vec<Value> {
    let dir = installed();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/content/letters.mjs");
    let made = Command::new("node")
        .arg(script)
        .current_dir(dir)
        .output()
        .expect("node, which tests/run installs");
    let told = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{told}");
    serde_json::from_slice(&made.stdout).unwrap()
}

fn installed() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("npm/letters");
    let mark = dir.join("installed");
    let names = PACKAGES.join(" ");
    if std::fs::read_to_string(&mark).is_ok_and(|had| had == names) {
        return dir;
    }
    std::fs::create_dir_all(&dir).unwrap();
    let installed = Command::new("npm")
        .args([
            "install",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
            ".",
        ])
        .args(PACKAGES)
        .current_dir(&dir)
        .output()
        .expect("npm, which tests/run installs");
    let told = String::from_utf8_lossy(&installed.stderr);
    assert!(installed.status.success(), "npm install {names}: {told}");
    std::fs::write(mark, names).unwrap();
    dir
}

/// A sent mail against its original: each tracked link with the address that stands in its place
/// there. Everything around the links, the open pixel apart, has to be the same bytes.
fn pair<'o>(original: &'o str, sent: &str, server: &str) -> Vec<(&'o str, String)> {
    let prefix = format!("{server}/r/");
    let start = sent
        .find(&format!("<img src=\"{server}/o/"))
        .expect("an open pixel");
    let end = start + sent[start..].find('>').unwrap() + 1;
    let sent = format!("{}{}", &sent[..start], &sent[end..]);
    let (mut pairs, mut rest) = (Vec::new(), original);
    let mut pieces = sent.split(&prefix);
    let first = pieces.next().unwrap();
    rest = rest
        .strip_prefix(first)
        .expect("the bytes before the first link");
    for piece in pieces {
        let length = piece.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
        let (token, after) = piece.split_at(length);
        // An address ends where its quotation mark does.
        let length = rest.find(['"', '\'']).unwrap();
        let (address, behind) = rest.split_at(length);
        rest = behind.strip_prefix(after).expect("the bytes behind a link");
        pairs.push((address, format!("/r/{token}")));
    }
    assert_eq!(rest, "", "the bytes at the end");
    pairs
}

/// On one database: what it is about is the HTML.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn public_mails_stay_as_they_are_and_their_links_lead_where_they_led() {
    let letters = tokio::task::spawn_blocking(letters).await.unwrap();
    assert!(letters.len() >= 40, "{} letters", letters.len());
    let server = TestServer::on(Engine::Sqlite).start().await;
    let mut api = server.client().admin();
    let mut followed = 0;
    for letter in &letters {
        let (name, html) = (&letter["name"], letter["html"].as_str().unwrap());
        let delivery = make_delivery(&mut api).await;
        let content = save(&mut api, delivery, &json!({ "html": html })).await;
        let path = format!("/api/v1/deliveries/{delivery}/messages?render=html");
        let line = "{\"contact\":{\"email\":\"ada@example.com\"}}";
        let message = api.post(&path, "application/x-ndjson", line).await.json();
        let sent = message["html"].as_str().unwrap();
        let pairs = pair(html, sent, &server.url());
        for (address, link) in &pairs {
            let click = server.client().get(link).await;
            assert_eq!(click.status, 302, "{name}: {link}");
            let page = address.replace("&amp;", "&");
            let page = Url::parse(page.trim()).unwrap();
            assert_eq!(click.header("location"), page.as_str(), "{name}");
        }
        // Nothing that leads to a page was overlooked.
        let tags = sent
            .split("<a ")
            .skip(1)
            .map(|tag| tag.split('>').next().unwrap());
        for tag in tags.filter(|tag| tag.contains("href=\"http")) {
            assert!(tag.contains(&server.url()), "{name}: <a {tag}>");
        }
        let links = content["links"].as_array().unwrap().len();
        assert!(links <= pairs.len(), "{name}");
        followed += pairs.len();
    }
    assert!(followed > 80, "{followed} links");
    server.finish().await;
}

//! Exports that cannot begin, or end before they are whole.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{DRAINING, export, post_hits, run, start, try_export};
use crate::harness::{Engine, Network, PostgresServer, TestServer, new_dir, on_both};

/// What a database says stands in the message once, with what to do.
#[test]
fn an_error_of_the_database_is_told_once_with_the_remedy() {
    let told = run(Command::new(env!("CARGO_BIN_EXE_sillage"))
        .env_clear()
        .env("SILLAGE_DATA_DIR", new_dir("data"))
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .args(["export", "hits"]));
    assert_eq!(told.code, Some(1), "{}", told.told);
    let dir = new_dir("data");
    std::fs::write(dir.join("sillage.db"), "no database".repeat(1_000)).unwrap();
    let damaged = run(Command::new(env!("CARGO_BIN_EXE_sillage"))
        .env_clear()
        .env("SILLAGE_DATA_DIR", dir)
        .args(["export", "hits"]));
    let damaged = damaged.told;
    assert_eq!(
        damaged.matches("file is not a database").count(),
        1,
        "{damaged}"
    );
    assert!(damaged.contains("backup"), "{damaged}");
    let told = told.told.trim().trim_start_matches("sillage: ");
    assert!(told.contains("database.url"), "{told}");
    let parts: Vec<&str> = told.split(": ").collect();
    let distinct: BTreeSet<&str> = parts.iter().copied().collect();
    assert_eq!(parts.len(), distinct.len(), "{told}");
}

async fn a_reader_that_has_enough_is_no_failure_and_a_full_disk_is_one(engine: Engine) {
    let server = start(engine).await;
    let mut api = server.client().admin();
    // More than a pipe holds.
    let hits = (0..3_000)
        .map(|n| json!({"kind": "event", "event": n.to_string(), "page_title": "x".repeat(200)}))
        .collect();
    post_hits(&mut api, hits).await;
    server.wait_drained(DRAINING).await;
    let mut child = server
        .command()
        .args(["export", "hits"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut first).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["seq"], 1);
    drop(output);
    let mut told = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!((code, told.as_str()), (Some(0), ""));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = server
        .command()
        .args(["export", "hits"])
        .stdout(full)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("standard output"), "{told}");
    server.finish().await;
}

/// The database is gone between two pages: what was written is right, lacks its end, and the exit
/// code says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_loses_its_database_says_that_it_is_not_whole() {
    const HITS: usize = 4_000;
    let url = PostgresServer::new_shared_database().await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        .with("SPOOL__PATIENCE", "10s")
        .start()
        .await;
    let mut api = server.client().admin();
    // Each page is more than a pipe holds: the export waits until it is read.
    let hits = (0..HITS)
        .map(|n| json!({"kind": "event", "event": n.to_string(), "page_title": "x".repeat(200)}))
        .collect();
    post_hits(&mut api, hits).await;
    server.wait_drained(DRAINING).await;
    let network = Network::to(&url).await;
    let mut child = server
        .command()
        .args(["export", "hits"])
        .env("DATABASE_URL", network.url(&url))
        .env("SILLAGE_DATABASE__PATIENCE", "1s")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    output.read_line(&mut text).unwrap();
    network.fall_silent();
    output.read_to_string(&mut text).unwrap();
    let mut told = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("the output is incomplete"), "{told}");
    let seqs: Vec<i64> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["seq"]
                .as_i64()
                .unwrap()
        })
        .collect();
    assert!(seqs.len() < HITS, "{}", seqs.len());
    assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
    // It goes on after the last line that it wrote.
    let rest = export(&server, &format!("hits --after {}", seqs.len()));
    assert_eq!(rest.lines().len(), HITS - seqs.len() + 1);
    server.finish().await;
}

async fn what_cannot_be_exported_is_told_in_one_line(engine: Engine) {
    let server = start(engine).await;
    for (arguments, code, why) in [
        ("hits --after x", 2, "not the cursor of an earlier export"),
        ("hits --after -1", 2, ""),
        ("hits --kind nope", 2, "allowed: click, open"),
        ("hits --limit 0", 2, ""),
        ("hits --format xml", 2, ""),
        ("everything", 2, ""),
        (
            "hits --contact nobody@export.example",
            1,
            "there is no contact \"nobody@export.example\"; searched by email",
        ),
    ] {
        let export = try_export(&server, arguments);
        assert_eq!(export.code, Some(code), "{arguments}: {}", export.told);
        assert!(export.told.contains(why), "{arguments}: {}", export.told);
        assert_eq!(export.text, "", "{arguments}");
    }
    // No database: none is made.
    let dir = new_dir("export").join("nothing");
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let mut command = server.command();
    command
        .args(["export", "hits"])
        .env("SILLAGE_DATA_DIR", &dir);
    if engine == Engine::Postgres {
        command.env("DATABASE_URL", nowhere);
    }
    let export = run(&mut command);
    let (code, why) = match engine {
        Engine::Sqlite => (2, "there is no database"),
        Engine::Postgres => (1, "database"),
    };
    assert_eq!(export.code, Some(code), "{}", export.told);
    assert!(export.told.contains(why), "{}", export.told);
    assert_eq!(export.told.lines().count(), 1, "{}", export.told);
    assert!(!dir.exists());
    server.finish().await;
}

on_both!(
    a_reader_that_has_enough_is_no_failure_and_a_full_disk_is_one,
    what_cannot_be_exported_is_told_in_one_line,
);

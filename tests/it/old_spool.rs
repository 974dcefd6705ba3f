//! Spools of other versions: what an older server left is stored, and what a newer one left is kept
//! for it.
//!
//! `old_spool/spool.db` was written by the last version whose formats had no number: eight hits, one
//! of each kind, and a ninth in the shape of a version before, without its last field.
//! `old_spool/hits.jsonl` is what that version's `sillage spool inspect` printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::full_spool::hold_hits;
use crate::harness::{Campaign, Engine, TestServer, new_dir, on_both};

const SOON: Duration = Duration::from_secs(30);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/old_spool")
        .join(name)
}

fn lines(text: &[u8]) -> Vec<Value> {
    std::str::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn run(file: &Path, sql: String) {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn format(file: &Path) -> i64 {
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .connect()
        .await
        .unwrap();
    let format = sqlx::query_scalar("pragma user_version")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    format
}

async fn what_an_older_version_left_is_stored(engine: Engine) {
    let dir = new_dir("old");
    std::fs::copy(fixture("spool.db"), dir.join("spool.db")).unwrap();
    let mut server = TestServer::on(engine).data_dir(&dir).be().await;
    let output = server
        .command()
        .args(["spool", "inspect"])
        .output()
        .unwrap();
    let expected = std::fs::read(fixture("hits.jsonl")).unwrap();
    assert_eq!(lines(&output.stdout), lines(&expected));

    server.start_again().await;
    server.wait_drained(SOON).await;
    assert_eq!(server.db().hits().await, 9);
    let kinds = "select count(distinct kind) from hits";
    assert_eq!(server.db().number(kinds).await, 8);
    assert!(server.log().contains("the spool's format was upgraded"));
    assert_eq!(format(&dir.join("spool.db")).await, 1);
    server.finish().await;
}

on_both!(what_an_older_version_left_is_stored);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_newer_version_left_is_put_aside_and_not_lost() {
    let mut server = TestServer::on(Engine::Postgres).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let held = hold_hits(server.db()).await;
    for _ in 0..20 {
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    }
    assert_eq!(server.terminate(Duration::from_secs(60)).await, Some(0));
    held.release().await;
    let file = server.data_dir().join("spool.db");
    run(&file, "pragma user_version = 2".to_owned()).await;
    let output = server.command().args(["spool", "status"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("has format 2"), "{error}");

    server.start_again().await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(SOON).await;
    assert_eq!(server.db().hits().await, 1);
    assert!(server.log().contains("a newer version wrote the spool"));
    assert_eq!(server.metric("sillage_hits_lost_total").await, 0.0);
    let aside = std::fs::read_dir(server.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("spool.db.format-2-"))
        .unwrap();
    let inspect = ["spool", "inspect", "--file"];
    let output = server.command().args(inspect).arg(&aside).output().unwrap();
    assert_eq!(lines(&output.stdout).len(), 20);

    // The newer version again, and the file in its place.
    assert_eq!(server.terminate(SOON).await, Some(0));
    run(&aside, "pragma user_version = 1".to_owned()).await;
    std::fs::rename(&aside, &file).unwrap();
    server.start_again().await;
    server.wait_drained(SOON).await;
    assert_eq!(server.db().hits().await, 21);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_a_newer_version_goes_into_quarantine_and_says_which() {
    let mut server = TestServer::on(Engine::Sqlite).start().await;
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    server.wait_drained(SOON).await;
    assert_eq!(server.terminate(SOON).await, Some(0));
    // Length, number, checksum, and something that nobody here knows.
    let hit = [0x81, 0xa1, b'k', 0x07];
    let mut record = vec![2];
    record.extend_from_slice(&crc32fast::hash(&hit).to_le_bytes());
    record.extend_from_slice(&hit);
    let mut frame = (record.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(&record);
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let sql = format!("insert into groups select deleted_to + 1, 1, x'{hex}' from meta");
    run(&server.data_dir().join("spool.db"), sql).await;
    server.start_again().await;
    server.wait_drained(SOON).await;
    let reasons = server.db().texts("select reason from quarantine").await;
    let reason = reasons[0].as_deref().unwrap();
    assert!(
        reason.starts_with("the record has format 2, and"),
        "{reason}"
    );
    server.finish_with_quarantined(1).await;
}

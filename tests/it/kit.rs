//! `static/kit`, `static/grafana` and `static/postgres`: each file is held against the program that it
//! is for, as far as Debian has it, and against what this server really has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::harness::{Engine, TestServer, certificate, new_dir, on_both};

fn file(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("static")
        .join(place)
}

fn read(place: &str) -> String {
    std::fs::read_to_string(file(place)).unwrap()
}

fn assert_done(output: &Output) {
    let told =
        [&output.stdout, &output.stderr].map(|told| String::from_utf8_lossy(told).into_owned());
    assert!(output.status.success(), "{}", told.join("\n"));
}

#[test]
fn nginx_takes_its_file() {
    let (pem, key) = certificate();
    let dir = new_dir("kit");
    let text = read("kit/nginx.conf")
        .replace(
            "/etc/letsencrypt/live/t.example.com/fullchain.pem",
            pem.to_str().unwrap(),
        )
        .replace(
            "/etc/letsencrypt/live/t.example.com/privkey.pem",
            key.to_str().unwrap(),
        );
    assert!(text.contains("client_max_body_size 25m;"));
    std::fs::write(dir.join("sillage.conf"), text).unwrap();
    let main = "pid nginx.pid; error_log error.log; events {} http { access_log off; \
        include sillage.conf; }";
    std::fs::write(dir.join("nginx.conf"), main).unwrap();
    let nginx = crate::rig::find_program("nginx").expect("nginx, which tests/run installs");
    let tried = Command::new(nginx)
        .arg("-t")
        .arg("-p")
        .arg(&dir)
        .args(["-c", "nginx.conf", "-e", "error.log"])
        .output()
        .unwrap();
    assert_done(&tried);
}

#[test]
fn caddy_takes_its_file() {
    let tried = Command::new("caddy")
        .args(["validate", "--adapter", "caddyfile", "--config"])
        .arg(file("kit/Caddyfile"))
        .env("HOME", new_dir("caddy"))
        .output()
        .expect("caddy, which tests/run installs");
    assert_done(&tried);
}

#[test]
fn systemd_takes_its_unit() {
    let dir = new_dir("unit");
    // The programs that it starts have to be there.
    let binary = env!("CARGO_BIN_EXE_sillage");
    let text = read("kit/sillage.service").replace("/usr/local/bin/sillage", binary);
    std::fs::write(dir.join("sillage.service"), text).unwrap();
    let tried = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(dir.join("sillage.service"))
        .output()
        .expect("systemd-analyze, from Debian's package systemd");
    assert_done(&tried);
    let told = String::from_utf8_lossy(&tried.stderr);
    assert!(!told.contains("sillage.service"), "{told}");
}

#[test]
fn compose_takes_its_file_and_what_it_sets_are_keys_of_the_configuration() {
    let tried = Command::new("docker-compose")
        .arg("--file")
        .arg(file("kit/compose.yaml"))
        .args(["config", "--quiet"])
        .env("POSTGRES_PASSWORD", "x")
        .env("SILLAGE_ADMIN_TOKEN", "a-token-for-the-compose-file")
        .output()
        .expect("docker-compose, which tests/run installs");
    assert_done(&tried);
    let text = read("kit/compose.yaml");
    let mut check = Command::new(env!("CARGO_BIN_EXE_sillage"));
    // What the tests themselves are told is no key of the configuration.
    check
        .env_clear()
        .arg("check-config")
        .env("SILLAGE_DATA_DIR", new_dir("compose"));
    for line in text.lines() {
        let line = line.trim();
        if let Some((name, value)) = line.split_once(": ")
            && name.starts_with("SILLAGE_")
        {
            let value = match value {
                "${SILLAGE_ADMIN_TOKEN}" => "a-token-for-the-compose-file",
                value => value,
            };
            check.env(name, value);
        }
    }
    assert_done(&check.output().unwrap());
}

/// Names of metrics in an expression.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("sillage_"))
        .map(str::to_owned)
        .collect()
}

/// The targets of a dashboard's panels.
fn targets(place: &str) -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read(place)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 5, "{place}");
    panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap().clone())
        .collect()
}

#[test]
fn every_metric_of_the_dashboard_is_one_of_the_manuals() {
    // Another test holds the manual's to those that the server has.
    let known = metrics(&read("docs/operating.md"));
    let mut named = BTreeSet::new();
    for target in targets("grafana/metrics.json") {
        let of = metrics(target["expr"].as_str().unwrap());
        assert!(!of.is_empty(), "{target}");
        named.extend(of);
    }
    assert!(named.len() > 10, "{named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Who may only read the views reads all of them, runs the dashboard's queries, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_have_the_views_and_nothing_else() {
    let (postgres, server) = TestServer::on_own_postgres().await;
    let mail = crate::harness::Campaign::make(server.db(), 2).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_stored(std::time::Duration::from_secs(20)).await;
    let url = server.database_url().unwrap().to_owned();
    let owner = sqlx::PgPool::connect(&url).await.unwrap();
    // Again after an upgrade is no harm.
    for _ in 0..2 {
        owner
            .execute(AssertSqlSafe(read("postgres/readers.sql")))
            .await
            .unwrap();
    }
    let mut reader = owner.acquire().await.unwrap();
    reader.execute("set role sillage_readers").await.unwrap();
    let views: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.views where table_schema = 'public' \
         and table_name <> 'open_hit_blocks'",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(views.len() >= 10, "{views:?}");
    for view in views {
        let sql = format!("select count(*) from {view}");
        let read = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).fetch_one(&mut *reader);
        assert!(read.await.is_ok(), "{view}");
    }
    for target in targets("grafana/views.json") {
        let sql = target["rawSql"].as_str().unwrap();
        let mut sql = sql.to_owned();
        while let Some(at) = sql.find("$__timeFilter(") {
            let inner = &sql[at + "$__timeFilter(".len()..];
            let column = &inner[..inner.find(')').unwrap()];
            let all = format!("$__timeFilter({column})");
            let said =
                format!("{column} between now() - interval '1 day' and now() + interval '1 day'");
            sql = sql.replace(&all, &said);
        }
        let rows = sqlx::query(AssertSqlSafe(sql.clone()))
            .fetch_all(&mut *reader)
            .await;
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    for wrong in [
        "select * from tokens",
        "select * from contacts",
        "select * from hits",
        "delete from v_human_hits",
        "insert into readable_deliveries (label) values ('x')",
    ] {
        assert!(
            sqlx::query(wrong).execute(&mut *reader).await.is_err(),
            "{wrong}"
        );
    }
    drop(reader);
    owner.close().await;
    server.finish().await;
    drop(postgres);
}

async fn the_views_say_what_the_reports_say(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = crate::harness::Campaign::make(server.db(), 3).await;
    let mut reader = server.client();
    assert_eq!(reader.get(&mail.open_path(0)).await.status, 200);
    assert_eq!(reader.get(&mail.link_path(0)).await.status, 302);
    let bought =
        "/mtracking.gif?page_url=https://shop.example/paid&revenue=12.50&currency=EUR&order_id=7";
    assert_eq!(reader.get(bought).await.status, 200);
    assert_eq!(server.client().get(&mail.link_path(1)).await.status, 302);
    let mut bot = server.client().header("user-agent", "Googlebot/2.1");
    bot.get(&mail.link_path(2)).await;
    server.wait_stored(std::time::Duration::from_secs(20)).await;
    let number = async |sql: &str| server.db().number(sql).await;
    let of = mail.delivery;
    for (column, expected) in [
        ("opens", 1),
        ("clicks", 2),
        ("transactions", 1),
        ("first_clicks", 2),
        ("machine_hits", 1),
    ] {
        let sql = format!(
            "select cast(sum({column}) as bigint) from v_delivery_daily where delivery_id = {of}"
        );
        assert_eq!(number(&sql).await, expected, "{column}");
    }
    let link = mail.link;
    for (column, expected) in [("clicks", 2), ("transactions", 1), ("machine_clicks", 1)] {
        let sql = format!(
            "select cast(sum({column}) as bigint) from v_link_daily where link_id = {link}"
        );
        assert_eq!(number(&sql).await, expected, "{column}");
    }
    let revenue = format!(
        "select cast(revenue * 100 as bigint) from v_revenue_by_delivery \
         where delivery_id = {of} and currency = 'EUR'"
    );
    assert_eq!(number(&revenue).await, 1_250);
    assert_eq!(number("select count(*) from v_human_hits").await, 4);
    let active = "select count(*) from v_contact_activity";
    assert_eq!(number(active).await, 2);
    let most = "select cast(max(clicks + purchases + opens) as bigint) from v_contact_activity";
    assert_eq!(number(most).await, 3);
    server.finish().await;
}

on_both!(the_views_say_what_the_reports_say);

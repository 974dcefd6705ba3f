//! `sillage export`: what is stored, line by line, beside the running server and without one.

mod failures;
mod hits;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::harness::{Client, Engine, PostgresServer, TestServer, new_dir, on_both};

const DRAINING: Duration = Duration::from_secs(20);

/// A server whose spool is given time: nobody here sends a hit again, and a busy disk may take
/// longer than a reader should wait.
async fn start(engine: Engine) -> TestServer {
    TestServer::on(engine)
        .with("SPOOL__PATIENCE", "10s")
        .start()
        .await
}

/// What an export said.
struct Export {
    code: Option<i32>,
    text: String,
    told: String,
}

impl Export {
    fn lines(&self) -> Vec<Value> {
        let lines = self.text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn run(command: &mut Command) -> Export {
    let output = command.output().unwrap();
    Export {
        code: output.status.code(),
        text: String::from_utf8(output.stdout).unwrap(),
        told: String::from_utf8(output.stderr).unwrap(),
    }
}

fn try_export(server: &TestServer, arguments: &str) -> Export {
    run(server
        .command()
        .arg("export")
        .args(arguments.split_whitespace()))
}

fn export(server: &TestServer, arguments: &str) -> Export {
    let export = try_export(server, arguments);
    assert_eq!(
        (export.code, export.told.as_str()),
        (Some(0), ""),
        "{arguments}"
    );
    export
}

/// An import of a text; its tally.
fn import_links(server: &TestServer, text: &str) -> Value {
    let mut child = server
        .command()
        .args(["import", "links", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn post_hits(api: &mut Client, hits: Vec<Value>) {
    let answer = api.post_json("/api/v1/hits", &Value::from(hits)).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json()["rejected"], json!([]));
}

/// Nothing but rows: Python's reader, as strict as it is, and Postgres' take it as it stands.
async fn a_csv_is_read_by_other_peoples_importers(engine: Engine) {
    let server = start(engine).await;
    let mut api = server.client().admin();
    let made = api
        .post_json(
            "/api/v1/links",
            &json!({"url": "https://a.example/?x=1,2&y=\"z\"", "slug": "a"}),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    post_hits(
        &mut api,
        vec![
            json!({"kind": "transaction", "revenue": "169.90", "currency": "EUR", "order_id": "=1", "tags": ["a", "-b"]}),
            json!({"kind": "event", "event": "two\nlines, \"quoted\"; # \
                cursor=7", "ip": "2001:db8::1", "extra": {"a": ["b,\"c\""]}}),
            json!({"kind": "pageview", "page_url": "ü\\.", "contact": {"email": "ada@export.example", "city": "a,b"}}),
        ],
    )
    .await;
    server.wait_drained(DRAINING).await;
    let python = "import csv, sys
rows = list(csv.reader(open(sys.argv[1], newline='', encoding='utf-8'), strict=True))
assert {len(row) for row in rows} == {len(rows[0])}, rows
print(len(rows))";
    let dir = new_dir("csv");
    for (table, rows) in [
        ("hits", 4),
        ("contacts", 2),
        ("deliveries", 1),
        ("links", 2),
    ] {
        let exported = export(&server, &format!("{table} --format csv"));
        let file = dir.join(table);
        std::fs::write(&file, &exported.text).unwrap();
        let read = Command::new("python3")
            .args(["-c", python])
            .arg(&file)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&read.stderr);
        assert_eq!(
            String::from_utf8_lossy(&read.stdout).trim(),
            rows.to_string(),
            "{table}: {told}"
        );
    }
    // Into columns of the types that the manual names; lists are texts in a CSV.
    let url = PostgresServer::new_shared_database().await;
    let mut there = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(
        "create table copied (seq bigint, id uuid, received_at timestamptz, occurred_at timestamptz, kind text, dialect text, site text,
         page_url text, page_title text, page_language text, referrer text, page_tag text, delivery_id bigint, broadlog_id bigint, link_id bigint,
         visitor_id uuid, contact_id uuid, revenue numeric(18, 4), currency text, order_id text, quantity integer, utm_source text,
         utm_medium text, utm_campaign text, utm_term text, utm_content text, tags text, event text, ip inet, user_agent text, verdict text,
         reason text, extra jsonb)",
    )
    .execute(&mut there)
    .await
    .unwrap();
    let exported = export(&server, "hits --format csv");
    let (names, _) = exported.text.split_once('\n').unwrap();
    // Columns may be added at the end.
    for name in names.split(',').skip(33) {
        let sql = format!("alter table copied add column {name} text");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut there)
            .await
            .unwrap();
    }
    let mut copy = there
        .copy_in_raw("copy copied from stdin (format csv, header match)")
        .await
        .unwrap();
    copy.send(exported.text.as_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 3);
    let sum: String = sqlx::query_scalar("select sum(revenue)::text from copied")
        .fetch_one(&mut there)
        .await
        .unwrap();
    assert_eq!(sum, "169.9000");
    // And our own.
    let links = export(&server, "links --format csv").text;
    assert_eq!(import_links(&server, &links)["refused"], 0);
    server.finish().await;
}

async fn contacts_are_told_as_the_api_tells_them(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__UNIQUE", "email,customer_id")
        .start()
        .await;
    let mut api = server.client().admin();
    // Two that turn out to be one, with a browser and tags; one with a name that a spreadsheet
    // would calculate.
    let visitor = "01890000-0000-7000-8000-00000000abcd";
    for hit in [
        json!({"kind": "event", "event": "a", "contact": {"email": "ada@export.example"}, "visitor_id": visitor, "tags": ["lamps", "-x"]}),
        json!({"kind": "event", "event": "b", "contact": {"customer_id": "77", "created_at": "theirs"}}),
        json!({"kind": "event", "event": "c", "contact": {"email": "ada@export.example", "customer_id": "77"}}),
        json!({"kind": "event", "event": "d", "contact": {"email": "eve@export.example", "firstname": "=1+1", "city": "Ulm, \"Donau\""}}),
    ] {
        post_hits(&mut api, vec![hit]).await;
        server.wait_drained(DRAINING).await;
    }
    let ndjson = export(&server, "contacts");
    let contacts = ndjson.lines();
    assert_eq!(contacts.len(), 2, "{}", ndjson.text);
    for contact in &contacts {
        let path = format!("/api/v1/contacts/{}", contact["id"].as_str().unwrap());
        assert_eq!(*contact, api.get(&path).await.json());
    }
    let ada = contacts
        .iter()
        .find(|contact| contact["fields"]["email"] == "ada@export.example")
        .unwrap();
    assert_eq!(ada["former_ids"].as_array().unwrap().len(), 1, "{ada}");
    assert_eq!(ada["visitor_ids"], json!([visitor]));
    assert_eq!(ada["tags"], json!(["lamps"]));

    let csv = export(&server, "contacts --format csv").text;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "id,city,fields.created_at,customer_id,email,firstname,tags,former_ids,visitor_ids,created_at,changed_at,opted_out_at"
    );
    assert_eq!(lines.len(), 3, "{csv}");
    let eve = lines.iter().find(|line| line.contains("eve@")).unwrap();
    assert!(
        eve.contains(",\"Ulm, \"\"Donau\"\"\",,,eve@export.example,\"'=1+1\",,,,"),
        "{eve}"
    );
    let ada_line = lines.iter().find(|line| line.contains("ada@")).unwrap();
    let former = ada["former_ids"][0].as_str().unwrap();
    assert!(
        ada_line.contains(&format!(
            ",,theirs,77,ada@export.example,,lamps,{former},{visitor},"
        )),
        "{ada_line}"
    );

    // More than a page: each once.
    let delivery = api
        .post_json("/api/v1/deliveries", &json!({"label": "many"}))
        .await
        .json();
    let recipients: String = (0..2_100)
        .map(|n| format!("{{\"contact\":{{\"email\":\"n{n}@export.example\"}}}}\n"))
        .collect();
    let path = format!("/api/v1/deliveries/{}/messages", delivery["id"]);
    let answer = api.post(&path, "application/x-ndjson", recipients).await;
    assert_eq!(answer.status, 200);
    let ids: BTreeSet<String> = export(&server, "contacts")
        .lines()
        .iter()
        .map(|contact| contact["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 2_102);
    assert_eq!(export(&server, "contacts").text.lines().count(), 2_102);
    server.finish().await;
}

async fn exported_links_are_read_back_as_they_were(engine: Engine) {
    let server = start(engine).await;
    let mut api = server.client().admin();
    let delivery = json!({"id": 41, "label": "-20 %, today", "sent_at": "2026-11-01T08:00:00Z", "utm": {"source": "letter"}});
    assert_eq!(
        api.post_json("/api/v1/deliveries", &delivery).await.status,
        201
    );
    let links = json!([
        {"url": "https://shop.example/?a=1,2&b={p1}", "label": "-20 %, \"today\"", "category": "=x"},
        {"url": "https://shop.example/", "label": "'=1", "category": "optout"},
    ]);
    let answer = api.post_json("/api/v1/deliveries/41/links", &links).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let mut many = "slug,url\n-start,https://shop.example/\n".to_owned();
    for n in 0..2_100 {
        many += &format!("s{n},https://shop.example/{n}\n");
    }
    assert_eq!(import_links(&server, &many)["made"], 2_101);

    let csv = export(&server, "links --format csv");
    assert_eq!(csv.text.lines().count(), 2_104);
    let again = import_links(&server, &csv.text);
    assert_eq!(again["unchanged"], 2_103, "{again}");

    let ndjson = export(&server, "links --delivery 41").lines();
    let told = api.get("/api/v1/deliveries/41").await.json();
    assert_eq!(Value::from(ndjson), told["links"]);
    let deliveries = export(&server, "deliveries").lines();
    assert_eq!(
        Value::from(deliveries),
        api.get("/api/v1/deliveries").await.json()["deliveries"]
    );
    let text = export(&server, "deliveries --format csv").text;
    assert!(
        text.contains("\n41,\"'-20 %, today\",email,2026-11-01T08:00:00Z,,,letter,,,,,0,"),
        "{text}"
    );

    // A server of its own takes them over whole.
    let other = start(engine).await;
    let mut other_api = other.client().admin();
    let answer = other_api.post_json("/api/v1/deliveries", &delivery).await;
    assert_eq!(answer.status, 201);
    assert_eq!(import_links(&other, &csv.text)["made"], 2_103);
    assert_eq!(export(&other, "links --format csv").text, csv.text);
    other.finish().await;
    server.finish().await;
}

on_both!(
    a_csv_is_read_by_other_peoples_importers,
    contacts_are_told_as_the_api_tells_them,
    exported_links_are_read_back_as_they_were,
);

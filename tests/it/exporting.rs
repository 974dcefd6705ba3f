//! `sillage export`: what is stored, line by line, beside the running server and without one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::harness::{Client, Engine, Network, PostgresServer, TestServer, new_dir, on_both};

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

async fn an_export_of_hits_is_the_apis_stream(engine: Engine) {
    let mut server = start(engine).await;
    let mut api = server.client().admin();
    let hits = (0..2_300)
        .map(|n| {
            json!({
                "kind": if n % 3 == 0 { "transaction" } else { "event" },
                "event": format!("=cmd {n}, \"quoted\""),
                "delivery_id": 1 + n % 2,
                "revenue": "-5.25",
                "currency": "EUR",
                "contact": {"email": format!("p{}@export.example", n % 7)},
                "tags": ["-vip", "a"],
            })
        })
        .collect();
    post_hits(&mut api, hits).await;
    server.wait_drained(DRAINING).await;
    let person = api
        .get("/api/v1/contacts?email=p3@export.example")
        .await
        .json();
    let person = person["id"].as_str().unwrap();
    for (arguments, query) in [
        ("", "limit=1000000".to_owned()),
        ("--limit 31", "limit=31".to_owned()),
        (
            "--after 1200 --delivery 2",
            "after=1200&delivery_id=2&limit=9999".to_owned(),
        ),
        (
            "--kind transaction",
            "kind=transaction&limit=9999".to_owned(),
        ),
        (
            "--contact P3@export.example",
            format!("contact_id={person}&limit=9999"),
        ),
        (
            "--contact 01890000-0000-7000-8000-000000000000",
            "contact_id=01890000-0000-7000-8000-000000000000".to_owned(),
        ),
    ] {
        for format in ["ndjson", "csv"] {
            let exported = export(&server, &format!("hits --format {format} {arguments}"));
            let answer = api
                .get(&format!("/api/v1/hits?{query}&format={format}"))
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(exported.text, answer.text(), "{arguments} {format}");
        }
    }
    let all = export(&server, "hits");
    assert_eq!(all.lines().len(), 2_301);
    assert_eq!(all.lines()[2_300], json!({"cursor": "2300"}));
    // Whether a server runs makes no difference.
    assert_eq!(
        server.terminate(Duration::from_secs(30)).await,
        Some(0),
        "stopped"
    );
    assert_eq!(export(&server, "hits").text, all.text);
    server.start_again().await;
    server.finish().await;
}

/// Writers, and exports one after the other, each from the cursor of the one before.
async fn exports_skip_nothing_and_repeat_nothing_while_hits_arrive(engine: Engine) {
    const WRITERS: usize = 3;
    const REQUESTS: usize = 20;
    const HITS_A_REQUEST: usize = 40;
    let server = start(engine).await;
    let writing = futures_util::future::join_all((0..WRITERS).map(|writer| {
        let server = &server;
        async move {
            let mut api = server.client().admin();
            for request in 0..REQUESTS {
                let hits = (0..HITS_A_REQUEST)
                    .map(|hit| json!({"kind": "event", "event": format!("{writer}-{request}-{hit}")}))
                    .collect();
                post_hits(&mut api, hits).await;
                server.wait_stored(DRAINING).await;
            }
        }
    }));
    let (is_written, mut seen) = (std::cell::Cell::new(false), Vec::new());
    let mut exports_with_hits = 0;
    let reading = async {
        let mut cursor = "0".to_owned();
        loop {
            let is_last = is_written.get();
            let arguments = format!("hits --after {cursor} --limit 97");
            let mut command = server.command();
            command.arg("export").args(arguments.split_whitespace());
            let exported = tokio::task::spawn_blocking(move || run(&mut command))
                .await
                .unwrap();
            assert_eq!(exported.code, Some(0), "{}", exported.told);
            let mut lines = exported.lines();
            let next = lines.pop().unwrap()["cursor"].as_str().unwrap().to_owned();
            exports_with_hits += usize::from(!lines.is_empty());
            seen.extend(
                lines
                    .iter()
                    .map(|hit| hit["event"].as_str().unwrap().to_owned()),
            );
            let end = (WRITERS * REQUESTS * HITS_A_REQUEST) as i64;
            assert!(next.parse::<i64>().unwrap() <= end, "beyond what is stored");
            if is_last && next == cursor {
                break;
            }
            cursor = next;
        }
    };
    tokio::join!(
        async {
            writing.await;
            is_written.set(true);
        },
        reading
    );
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(seen.len(), distinct.len(), "nothing twice");
    assert_eq!(
        seen.len(),
        WRITERS * REQUESTS * HITS_A_REQUEST,
        "nothing skipped"
    );
    assert!(exports_with_hits > 10, "read while hits arrived");
    server.finish().await;
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

async fn an_export_keeps_its_cursor_in_a_file(engine: Engine) {
    let server = start(engine).await;
    let mut api = server.client().admin();
    let hits = |n: usize| {
        (0..n)
            .map(|n| json!({"kind": "event", "event": n.to_string()}))
            .collect()
    };
    let file = new_dir("cursor").join("hits.cursor");
    let export_new = || {
        export(
            &server,
            &format!("hits --format csv --cursor-file {}", file.display()),
        )
    };
    let kept = || std::fs::read_to_string(&file).unwrap();
    post_hits(&mut api, hits(3)).await;
    server.wait_drained(DRAINING).await;
    assert_eq!(export_new().text.lines().count(), 4);
    assert_eq!(kept(), "3\n");
    assert_eq!(export_new().text.lines().count(), 1, "nothing new");
    post_hits(&mut api, hits(2_000)).await;
    server.wait_drained(DRAINING).await;
    // Cut short by its reader it keeps the old cursor.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let cut = server
        .command()
        .args(["export", "hits", "--cursor-file"])
        .arg(&file)
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(cut.status.code(), Some(1));
    assert_eq!(kept(), "3\n");
    assert_eq!(export_new().text.lines().count(), 2_001);
    assert_eq!(kept(), "2003\n");
    let from_start = format!("hits --after 0 --limit 5 --cursor-file {}", file.display());
    assert_eq!(export(&server, &from_start).lines().len(), 6);
    assert_eq!(kept(), "5\n");
    assert_eq!(
        std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
        1,
        "no temporary file"
    );
    std::fs::write(&file, "# cursor=7").unwrap();
    let wrong = try_export(&server, &format!("hits --cursor-file {}", file.display()));
    assert_eq!(wrong.code, Some(2), "{}", wrong.told);
    assert!(wrong.told.contains("contains no cursor"), "{}", wrong.told);
    server.finish().await;
}

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
    a_csv_is_read_by_other_peoples_importers,
    an_export_keeps_its_cursor_in_a_file,
    an_export_of_hits_is_the_apis_stream,
    exports_skip_nothing_and_repeat_nothing_while_hits_arrive,
    a_reader_that_has_enough_is_no_failure_and_a_full_disk_is_one,
    contacts_are_told_as_the_api_tells_them,
    exported_links_are_read_back_as_they_were,
    what_cannot_be_exported_is_told_in_one_line,
);

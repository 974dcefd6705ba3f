//! A person is told all that is stored of it, and is erased: nothing of it is left in the database,
//! the spool, copies and logs, however often the server is killed meanwhile. Figures stay.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Campaign, Client, Engine, TestServer, on_both, wait_for};

const SOON: Duration = Duration::from_secs(60);
const PERSONS: usize = 12;
/// Hits that a sender tells of each, beside those of their browsers.
const TOLD: usize = 20;

fn address(person: usize) -> String {
    format!("reader{person}@example.com")
}

/// Where somebody's hits come from.
fn ip(person: usize) -> String {
    format!("2001:db8:77::{person:x}a")
}

async fn fill(server: &TestServer, mail: &Campaign) -> Vec<Client> {
    let mut api = server.client().admin();
    let mut browsers = Vec::new();
    for person in 0..PERSONS {
        let email = address(person);
        let told = |number: usize| {
            json!({
                "kind": "pageview", "contact": {"email": email}, "ip": ip(person),
                "page_url": format!("https://shop.example/of/{email}?n={number}&mail={email}"),
                "referrer": format!("https://mail.example/?to={email}"),
                "user_agent": format!("Mozilla/5.0 (X11; Linux x86_64) Firefox/149.0 {email}"),
                "extra": {"shoe size": email},
            })
        };
        let hits: Vec<Value> = (0..TOLD).map(told).collect();
        let sent = api.post_json("/api/v1/hits", &json!(hits)).await;
        assert_eq!(sent.status, 202, "{}", sent.text());
        let mut browser = server.client();
        assert_eq!(browser.get(&mail.link_path(person)).await.status, 302);
        browser.get(&mail.open_path(person)).await;
        let page = format!("https%3A%2F%2Fshop.example%2F%3Fmail%3D{email}");
        let bought = format!("/mtracking.gif?page_url={page}&revenue=9&order_id=of-{email}");
        browser.get(&bought).await;
        browsers.push(browser);
    }
    // What was answered is kept for its key.
    let body = json!({"fields": {"email": "keyed@example.com"}, "tags": ["vip"]}).to_string();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "once"),
    ];
    let path = "/api/v1/contacts";
    let made = api.request(Method::POST, path, &headers, Bytes::from(body));
    assert_eq!(made.await.unwrap().status, 201);
    server.wait_drained(SOON).await;
    browsers
}

async fn erase(api: &mut Client, id: &str) -> Value {
    let path = format!("/api/v1/contacts/{id}");
    let answer = api.request(Method::DELETE, &path, &[], Bytes::new());
    let answer = answer.await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()
}

async fn wait_erased(server: &TestServer, receipt: &Value) -> Value {
    let path = format!("/api/v1/erasures/{}", receipt["id"].as_str().unwrap());
    let mut api = server.client().admin();
    wait_for("everything is erased", SOON, async || {
        let receipt = api.get(&path).await;
        receipt.status == 200 && !receipt.json()["ended_at"].is_null()
    })
    .await;
    api.get(&path).await.json()
}

/// What a person is known by, as files and columns may hold it.
fn names(person: usize, contact: Uuid, visitor: Uuid) -> Vec<Vec<u8>> {
    let mut names = vec![address(person).into_bytes(), ip(person).into_bytes()];
    for id in [contact, visitor] {
        names.push(id.to_string().into_bytes());
        names.push(id.simple().to_string().into_bytes());
        names.push(id.as_bytes().to_vec());
    }
    names
}

/// Files below a directory that hold one of the names.
fn files_with(dir: &Path, names: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, names));
            continue;
        }
        // A file of SQLite's may be gone by now.
        let Ok(bytes) = std::fs::read(&path) else {
            continue;
        };
        let holds = |name: &&Vec<u8>| memchr::memmem::find(&bytes, name).is_some();
        if let Some(name) = names.iter().find(holds) {
            found.push(format!("{}: {}", path.display(), name.escape_ascii()));
        }
    }
    found
}

/// Tables of Postgres that hold one of the names.
async fn tables_with(server: &TestServer, names: &[Vec<u8>]) -> Vec<String> {
    let db = server.db();
    let sql = "select c.relname::text from pg_class c
               join pg_namespace n on n.oid = c.relnamespace
               where c.relkind = 'r' and n.nspname = 'public'";
    let mut found = Vec::new();
    for table in db.texts(sql).await.into_iter().flatten() {
        for name in names {
            // Bytes are written in hexadecimal there.
            let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
            let text = std::str::from_utf8(name).unwrap_or(&hex);
            let sql = format!(
                "select count(*) from \"{table}\" t
                 where strpos(t::text, '{text}') + strpos(t::text, '{hex}') > 0"
            );
            if db.number(&sql).await > 0 {
                found.push(format!("{table}: {text}"));
            }
        }
    }
    found
}

async fn traces(server: &TestServer, names: &[Vec<u8>]) -> Vec<String> {
    let mut found = files_with(server.data_dir(), names);
    if server.database_url().is_some() {
        found.extend(tables_with(server, names).await);
    }
    let log = server.log();
    let holds = |name: &&Vec<u8>| memchr::memmem::find(log.as_bytes(), name).is_some();
    let logged = names.iter().find(holds);
    found.extend(logged.map(|name| format!("log: {}", name.escape_ascii())));
    found
}

async fn nothing_is_left_of_whoever_is_erased(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), PERSONS).await;
    let mut browsers = fill(&server, &mail).await;
    let mut api = server.client().admin();
    let report = format!("/api/v1/deliveries/{}/report", mail.delivery);
    let numbers = async |api: &mut Client| {
        let mut report = api.get(&report).await.json();
        report.as_object_mut().unwrap().remove("to");
        report
    };
    let before = numbers(&mut api).await;

    // All that is stored of one, and of nobody else.
    let contact = mail.messages[0].1;
    let data = api.get(&format!("/api/v1/contacts/{contact}/data")).await;
    assert_eq!(data.status, 200, "{}", data.text());
    let text = data.text();
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |table: &str| rows.iter().filter(|row| row["table"] == table).count();
    assert_eq!((of("contacts"), of("broadlogs")), (1, 1), "{text}");
    assert_eq!(of("hits"), TOLD + 3, "{text}");
    assert!(of("contact_keys") > 0 && of("visitors") > 0, "{text}");
    assert!(!text.contains(&address(1)), "{text}");

    let visitors = "select visitor_id from hits where contact_id is not null
                    and visitor_id is not null and kind = 'click' order by broadlog_id";
    let visitors: Vec<Uuid> = sillage::both!(server.db().pool(), pool => {
        sqlx::query_scalar(visitors).fetch_all(pool).await
    })
    .unwrap();
    assert_eq!(visitors.len(), PERSONS);
    let of_person = |person: usize| names(person, mail.messages[person].1, visitors[person]);
    assert!(!traces(&server, &of_person(0)).await.is_empty(), "so far");

    // All but the last two, and the server is killed in the midst of it.
    let mut receipts = Vec::new();
    for person in 0..PERSONS - 2 {
        receipts.push(erase(&mut api, &mail.messages[person].1.to_string()).await);
        if person % 4 == 1 {
            server.kill().await;
            server.start_again().await;
            server.wait_database("up", SOON).await;
            api = server.client().admin();
        }
    }
    for receipt in &receipts {
        let receipt = wait_erased(&server, receipt).await;
        assert_eq!(receipt["hits"], TOLD + 3, "{receipt}");
        assert_eq!(receipt["messages"], 1, "{receipt}");
    }
    let again = erase(&mut api, &contact.to_string()).await;
    assert_eq!(again["id"], receipts[0]["id"], "it is told again");
    let gone = api.get(&format!("/api/v1/contacts/{contact}/data")).await;
    assert_eq!(gone.status, 404, "{}", gone.text());

    // Their old mails and cookies lead on, and say nobody.
    for (person, browser) in browsers.iter_mut().enumerate().take(PERSONS - 2) {
        let mut again = server.client();
        again.cookies = browser.cookies.clone();
        assert_eq!(again.get(&mail.link_path(person)).await.status, 302);
    }
    server.wait_drained(SOON).await;
    let kept = "select count(*) from hits where contact_id is not null and kind = 'click'";
    assert_eq!(server.db().number(kept).await, 2);
    let late = "select count(*) from hits where reason like '%person erased%' and kind = 'click'";
    assert_eq!(server.db().number(late).await, 2 * (PERSONS as i64 - 2));

    for person in 0..PERSONS - 2 {
        let names = of_person(person);
        let what = format!("nothing is left of person {person}");
        wait_for(&what, SOON, async || {
            traces(&server, &names).await.is_empty()
        })
        .await;
    }
    assert!(!traces(&server, &of_person(PERSONS - 1)).await.is_empty());

    // Figures are those of before, and of the clicks since.
    let after = numbers(&mut api).await;
    for figure in ["messages", "opens", "transactions", "revenue"] {
        assert_eq!(after[figure], before[figure], "{figure}");
    }
    server.recount().await;
    server.finish().await;
}

async fn the_command_line_erases_by_address(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 2).await;
    server.client().get(&mail.link_path(0)).await;
    server.wait_drained(SOON).await;
    let run = async |arguments: &[&str]| {
        let mut command = server.command();
        command.args(arguments);
        let done = tokio::task::spawn_blocking(move || command.output());
        done.await.unwrap().unwrap()
    };
    let data = run(&["contact", "data", "READER0@example.com"]).await;
    assert!(data.status.success(), "{data:?}");
    let text = String::from_utf8(data.stdout).unwrap();
    assert!(text.contains("\"table\":\"hits\""), "{text}");
    let erased = run(&["contact", "erase", &address(0)]).await;
    assert!(erased.status.success(), "{erased:?}");
    let receipt: Value = serde_json::from_slice(&erased.stdout).unwrap();
    assert_eq!(receipt["hits"], 1, "{receipt}");
    assert!(!receipt["ended_at"].is_null(), "{receipt}");
    let again = run(&["contact", "erase", &address(0)]).await;
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    server.recount().await;
    server.finish().await;
}

on_both!(
    nothing_is_left_of_whoever_is_erased,
    the_command_line_erases_by_address,
);

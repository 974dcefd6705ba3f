//! From SQLite to Postgres: nothing is lost, nothing comes twice, and whatever was sent before leads
//! to the same people and pages.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Campaign, Client, Db, Engine, PostgresServer, TestServer, wait_for};

const WITHIN: Duration = Duration::from_secs(30);

async fn run(command: Command) -> Output {
    let mut command = command;
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// `sillage move` on the data directory of a stopped server.
async fn move_with(server: &TestServer, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = server.command();
    command.arg("move").args(arguments);
    let output = run(command).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

async fn send(api: &mut Client, method: Method, path: &str, body: &str) -> Value {
    let path = format!("/api/v1{path}");
    let answer = api
        .request(method, &path, &[], body.to_owned().into())
        .await;
    let answer = answer.unwrap();
    assert!(answer.status < 300, "{path}: {}", answer.text());
    match answer.text().as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or(Value::Null),
    }
}

/// Something in as many tables as a server fills.
async fn fill(server: &TestServer, mail: &Campaign) {
    let mut api = server.client().admin();
    let post = Method::POST;
    let delivery = json!({"label": "Sent by the API", "utm": {"source": "mail"}}).to_string();
    let delivery = send(&mut api, post.clone(), "/deliveries", &delivery).await;
    let links = format!("/deliveries/{}/links", delivery["id"]);
    let link = json!({"url": "https://shop.example/x", "label": "X"}).to_string();
    let link = send(&mut api, post.clone(), &links, &link).await;
    let messages = format!("/deliveries/{}/messages", delivery["id"]);
    let line = r#"{"contact": {"email": "grace@example.com", "firstname": "Grace"}, "idempotency_key": "g"}"#;
    send(&mut api, post.clone(), &messages, line).await;
    let short = json!({"url": "https://shop.example/a", "slug": "lamp"}).to_string();
    send(&mut api, post.clone(), "/links", &short).await;
    let change = json!({"label": "Y"}).to_string();
    let path = format!("/links/{}", link["id"]);
    send(&mut api, Method::PATCH, &path, &change).await;
    let tag = json!({"identifier": "home", "kind": "web"}).to_string();
    send(&mut api, post.clone(), "/page-tags", &tag).await;
    let form = json!({"name": "News", "fields": [{"alias": "email"}]}).to_string();
    send(&mut api, post.clone(), "/forms", &form).await;
    let hook = json!({"url": "https://crm.example.com/", "filter": {"kind": "form"}}).to_string();
    send(&mut api, post.clone(), "/webhooks", &hook).await;
    let hits = json!([
        {"kind": "transaction", "contact": {"email": "reader0@example.com"}, "revenue": "19.99",
            "currency": "EUR", "order_id": "A-1", "quantity": 2, "page_url": "https://shop.example/",
            "tags": ["buyer", "vip"], "ip": "2001:db8::7", "extra": {"colour": ["red", null, 1.5]}},
        {"kind": "transaction", "contact": {"email": "reader0@example.com"}, "revenue": "-0.0001",
            "currency": "EUR", "order_id": "A-2", "page_url": "https://shop.example/"},
        {"kind": "pageview", "page_url": "https://shop.example/old?utm_source=a&utm_campaign=ü",
            "at": "2024-02-29T23:59:59.999999Z", "idempotency_key": "once", "ip": "192.0.2.7"},
    ]);
    send(&mut api, post, "/hits", &hits.to_string()).await;
    for message in 0..mail.messages.len() {
        let mut reader = server.client();
        assert_eq!(reader.get(&mail.link_path(message)).await.status, 302);
        reader.get(&mail.open_path(message)).await;
        reader
            .get("/mtracking.gif?page_url=https%3A%2F%2Fshop.example%2Fp&page_title=P")
            .await;
    }
    server.client().get("/nothing/here").await;
    server.wait_stored(WITHIN).await;
}

/// What the API tells of everything.
async fn told(server: &TestServer, mail: &Campaign) -> BTreeMap<String, String> {
    let mut api = server.client().admin();
    let mut all = BTreeMap::new();
    for path in [
        "/hits?limit=10000".to_owned(),
        "/contacts?limit=100".to_owned(),
        "/deliveries".to_owned(),
        "/links".to_owned(),
        "/forms".to_owned(),
        "/page-tags".to_owned(),
        format!("/deliveries/{}/report", mail.delivery),
        format!("/reports/deliveries/{}/people?what=clicked", mail.delivery),
        "/reports/hits?from=2024-01-01&by=month".to_owned(),
        "/reports/revenue?from=2024-01-01&by=delivery".to_owned(),
    ] {
        let answer = api.get(&format!("/api/v1{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        // One object a line, whose members may be in another order; and a report ends now.
        let text = answer.text().replace(&server.url(), "");
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if let Some(report) = line.as_object_mut() {
                report.remove("to");
            }
            line.to_string()
        });
        all.insert(path, lines.collect::<Vec<_>>().join("\n"));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_and_what_was_sent_goes_on_as_before() {
    let mut old = TestServer::on(Engine::Sqlite).start().await;
    let mail = Campaign::make(old.db(), 5).await;
    fill(&old, &mail).await;
    let before = told(&old, &mail).await;
    let url = PostgresServer::new_shared_database().await;

    // A server that runs is left alone.
    let (code, _, said) = move_with(&old, &["--to", &url]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("stop it"), "{said}");

    // Hits that were answered and not stored: nobody else may write, and then the server is killed.
    let hits = old.db().hits().await;
    let mut reader = old.client();
    let sillage::door::Either::Sqlite(pool) = old.db().pool() else {
        panic!("SQLite")
    };
    let mut held = pool.acquire().await.unwrap();
    sqlx::raw_sql("begin immediate")
        .execute(&mut *held)
        .await
        .unwrap();
    for _ in 0..20 {
        assert_eq!(reader.get(&mail.link_path(1)).await.status, 302);
    }
    old.kill().await;
    sqlx::raw_sql("rollback").execute(&mut *held).await.unwrap();
    drop(held);
    assert_eq!(old.db().hits().await, hits, "they wait in the spool");

    let (code, output, said) = move_with(&old, &["--to", &url]).await;
    assert_eq!(code, Some(0), "{output}{said}");
    let new_db = Db::postgres(&url);
    let moved: Vec<Value> = output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        moved.iter().all(|table| table["rows"] == table["moved"]),
        "{output}"
    );
    assert_every_table_is_moved_or_named(&old, &new_db, &moved).await;
    assert_eq!(new_db.hits().await, hits);
    let filled = moved.iter().filter(|table| table["rows"] != 0).count();
    assert!(filled > 25, "{output}");

    // The one that was left takes nothing any more.
    let (code, said) = old.start_refused().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("was moved to Postgres"), "{said}");
    // And once more is no mistake.
    let (code, _, said) = move_with(&old, &["--to", &url]).await;
    assert_eq!(code, Some(0), "{said}");

    let mut new = TestServer::on(Engine::Postgres)
        .database(&url)
        .data_dir(old.data_dir())
        .start()
        .await;
    new.wait_drained(WITHIN).await;
    wait_for("the spool's hits are stored", WITHIN, async || {
        new.db().hits().await >= hits + 20
    })
    .await;
    assert_eq!(new.db().hits().await, hits + 20, "each once");
    // The same link in the same browser and in a new one, and the same person.
    let whose =
        "select count(distinct contact_id) from hits where kind = 'click' and broadlog_id = 1001";
    assert_eq!(reader_click(&mut reader, &new, &mail).await, 302);
    assert_eq!(new.client().get(&mail.link_path(1)).await.status, 302);
    assert_eq!(
        new.client().get("/r/lamp").await.header("location"),
        "https://shop.example/a"
    );
    new.wait_stored(WITHIN).await;
    assert_eq!(new.db().number(whose).await, 1);
    // A key that was used is still used, and new numbers are new.
    let mut api = new.client().admin();
    let again =
        json!({"kind": "pageview", "page_url": "https://shop.example/", "idempotency_key": "once"});
    let stored = new.db().hits().await;
    send(&mut api, Method::POST, "/hits", &again.to_string()).await;
    new.wait_stored(WITHIN).await;
    assert_eq!(new.db().hits().await, stored);
    let link = json!({"url": "https://shop.example/new"}).to_string();
    send(&mut api, Method::POST, "/links", &link).await;
    new.recount().await;
    assert!(new.terminate(WITHIN).await == Some(0));

    // What was told before the move is told after it, but for what came since.
    let fresh = PostgresServer::new_shared_database().await;
    let (code, _, said) = move_with(&old, &["--to", &fresh]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("to another target"), "{said}");
    let (code, _, said) = move_with(&old, &["--give-up"]).await;
    assert_eq!(code, Some(0), "{said}");
    let (code, _, said) = move_with(&old, &["--to", &url]).await;
    assert_eq!(code, Some(2), "{said}");
    let (code, _, said) = move_with(&old, &["--to", &fresh]).await;
    assert_eq!(code, Some(0), "{said}");
    let new = TestServer::on(Engine::Postgres)
        .database(&fresh)
        .start()
        .await;
    assert_eq!(told(&new, &mail).await, before);
    new.recount().await;
    new.finish().await;
}

async fn reader_click(reader: &mut Client, new: &TestServer, mail: &Campaign) -> u16 {
    let mut browser = new.client();
    browser.cookies = reader.cookies.clone();
    browser.get(&mail.link_path(1)).await.status
}

/// A table that a later migration makes is moved, or named here and in the program.
async fn assert_every_table_is_moved_or_named(old: &TestServer, new: &Db, moved: &[Value]) {
    const LEFT: [&str; 5] = [
        "_sqlx_migrations",
        "hit_blocks",
        "moved_tables",
        "moves",
        "write_turns",
    ];
    let sqlite = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by name";
    let postgres = "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    where c.relkind in ('r', 'p') and not c.relispartition and n.nspname = 'public' order by 1";
    let mut named: Vec<String> = LEFT.map(str::to_owned).into();
    named.extend(
        moved
            .iter()
            .map(|table| table["table"].as_str().unwrap().to_owned()),
    );
    named.sort();
    for there in [old.db().texts(sqlite).await, new.texts(postgres).await] {
        let there: Vec<String> = there.into_iter().flatten().collect();
        assert_eq!(there, named);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_goes_on_and_others_are_kept_out() {
    let mut old = TestServer::on(Engine::Sqlite).start().await;
    // Months apart, with texts that SQLite takes and Postgres does not.
    let many = "with recursive n (n) as (select 1 union all select n + 1 from n where n < 150000)
        insert into hits (seq, id, received_at, kind, dialect, site, page_title, verdict, extra)
        select n, randomblob(16), 1700000000000000 + n * 400000000, 'pageview', 'native', 'default',
               case n when 77777 then 'zero' || char(0) else 'title' end, 'human',
               case n when 99999 then '{\"a\":\"\\u0000b\"}' end from n;
        update counters set value = 150000 where name = 'hit'";
    old.db().execute("", many).await;
    assert_eq!(old.terminate(WITHIN).await, Some(0));

    // Where something is, nothing is moved to.
    let used = PostgresServer::new_shared_database().await;
    let other = TestServer::on(Engine::Postgres)
        .database(&used)
        .start()
        .await;
    Campaign::make(other.db(), 1).await;
    other.finish().await;
    let (code, _, said) = move_with(&old, &["--to", &used]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("the target is not empty: ") && said.contains("links has 1 rows"),
        "{said}"
    );
    let (code, _, said) = move_with(&old, &["--to", "sqlite:///tmp/other.db"]).await;
    assert_eq!(code, Some(2), "{said}");

    let url = PostgresServer::new_shared_database().await;
    let db = Db::postgres(&url);
    let mut kills = 0;
    for at in [1, 30_000, 70_000, 110_000] {
        let mut command = old.command();
        command.args(["move", "--to", &url]);
        command.stdout(std::process::Stdio::null());
        let mut moving = command.spawn().unwrap();
        let far = "select coalesce(max(row_count), 0) from moved_tables where name = 'hits'";
        wait_for("it has come so far", WITHIN, async || {
            db.try_number(far).await.is_ok_and(|rows| rows >= at)
        })
        .await;
        moving.kill().unwrap();
        kills += i32::from(!moving.wait().unwrap().success());
        let (code, said) = old.start_refused().await;
        assert_eq!(code, Some(1), "{said}");
    }
    assert!(kills >= 3, "{kills}");
    // Nobody begins on half of it.
    let mut half = TestServer::on(Engine::Postgres).database(&url).be().await;
    half.launch();
    half.wait_ready().await;
    wait_for("it says why it waits", WITHIN, async || {
        half.log().contains("is still being filled by sillage move")
    })
    .await;
    half.kill().await;
    let (code, output, said) = move_with(&old, &["--to", &url]).await;
    assert_eq!(code, Some(0), "{output}{said}");
    assert!(said.contains("going on with the move"), "{said}");
    assert_eq!(db.hits().await, 150_000);
    let distinct = "select count(distinct id) from hits";
    assert_eq!(db.number(distinct).await, 150_000);
    let repaired =
        "select count(*) from hits where page_title = 'zero' or extra = '{\"a\": \"b\"}'";
    assert_eq!(db.number(repaired).await, 2);
    let in_months = "select count(*) from pg_inherits where inhparent = 'hits'::regclass";
    assert!(db.number(in_months).await > 20);
}

//! Who may call what: every route with every scope and role, and what becomes of tokens.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Client, Engine, PostgresServer, TestServer, free_port, on_both, wait_for,
};

/// What people read, and what a unit test holds the routes to.
const TABLE: &str = include_str!("../../src/web/api/access.txt");

/// So many columns are scopes; the rest are roles.
const SCOPES: usize = 8;
const PASSWORD: &str = "correct horse battery";

/// A route of the table.
struct Row {
    method: Method,
    path: &'static str,
    /// One for each column.
    words: Vec<&'static str>,
}

/// The table's columns and rows.
fn table() -> (Vec<&'static str>, Vec<Row>) {
    let mut lines = TABLE.lines();
    let columns: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let read = |line: &'static str| {
        let mut words = line.split_whitespace();
        Row {
            method: words.next().unwrap().parse().unwrap(),
            path: words.next().unwrap(),
            words: words.collect(),
        }
    };
    let rows: Vec<Row> = lines.map(read).collect();
    assert!(rows.len() >= 40, "{}", rows.len());
    for row in &rows {
        assert_eq!(
            row.words.len(),
            columns.len(),
            "{} {}",
            row.method,
            row.path
        );
    }
    (columns, rows)
}

/// The secret and the number of a new token.
async fn make_token(server: &TestServer, draft: &Value) -> (String, i64) {
    let mut admin = server.client().admin();
    let made = admin.post_json("/api/v1/tokens", draft).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let text = made["token"].as_str().unwrap().to_owned();
    (text, made["id"].as_i64().unwrap())
}

fn with_token(client: Client, token: &str) -> Client {
    client.header("authorization", &format!("Bearer {token}"))
}

/// Calls a route about things that do not exist, with a body that makes nothing.
async fn call(client: &mut Client, method: &Method, path: &str) -> Answer {
    let path = path
        .replace("{id}", "987654")
        .replace("{identifier}", "no-such-tag");
    let body = match *method {
        Method::GET | Method::DELETE => Bytes::new(),
        _ => Bytes::from_static(b"{\"no-such-field\": 1}"),
    };
    let path = format!("/api/v1{path}");
    let answer = client.request(method.clone(), &path, &[], body).await;
    answer.unwrap_or_else(|failure| panic!("{method} {path}: {failure:?}"))
}

fn assert_refused(answer: &Answer, what: &str) -> Value {
    assert_eq!(answer.status, 403, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["status"], 403);
    assert!(problem["needs"].is_array(), "{what}: {problem}");
    problem
}

fn assert_let_in(answer: &Answer, what: &str) {
    let is_let_in = ![401, 403, 405].contains(&answer.status) && answer.status < 500;
    assert!(is_let_in, "{what}: {} {}", answer.status, answer.text());
}

/// One who calls with one scope, or with one role.
struct Named {
    name: &'static str,
    client: Client,
}

impl Named {
    async fn with_scope(server: &TestServer, scope: &'static str) -> Self {
        let draft = json!({"name": scope, "scopes": [scope]});
        let (token, _) = make_token(server, &draft).await;
        Self {
            name: scope,
            client: with_token(server.client(), &token),
        }
    }

    async fn with_role(server: &TestServer, console: SocketAddr, role: &'static str) -> Self {
        let draft = json!({"name": role, "role": role, "password": PASSWORD});
        let added = server
            .client()
            .admin()
            .post_json("/api/v1/users", &draft)
            .await;
        assert_eq!(added.status, 201, "{}", added.text());
        let client = Client::new(console).header("sec-fetch-site", "same-origin");
        let mut user = Self { name: role, client };
        user.sign_in().await;
        user
    }

    async fn sign_in(&mut self) {
        let draft = json!({"name": self.name, "password": PASSWORD});
        let signed = self.client.post_json("/api/v1/session", &draft).await;
        assert_eq!(signed.status, 200, "{}", signed.text());
    }
}

async fn every_route_lets_in_by_scope_and_role_or_refuses_with_the_scopes(engine: Engine) {
    let console = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let setup = TestServer::on(engine).with("CONSOLE__LISTEN", &console.to_string());
    let server = setup.start().await;
    let (columns, rows) = table();
    let (scopes, roles) = columns.split_at(SCOPES);
    assert_eq!(
        (scopes[SCOPES - 1], roles[0], roles.len()),
        ("operate", "viewer", 4)
    );
    let mut admin = server.client().admin();
    let (mut callers, mut users) = (Vec::new(), Vec::new());
    for scope in scopes {
        callers.push(Named::with_scope(&server, scope).await);
    }
    for role in roles {
        users.push(Named::with_role(&server, console, role).await);
    }
    let all = make_token(&server, &json!({"name": "all", "scopes": scopes})).await;
    let mut all = with_token(server.client(), &all.0);
    for Row {
        method,
        path,
        words,
    } in &rows
    {
        let what = format!("{method} {path}");
        assert_let_in(&call(&mut admin, method, path).await, &what);
        let mut named = Vec::new();
        for (caller, word) in callers.iter_mut().chain(&mut users).zip(words) {
            let answer = call(&mut caller.client, method, path).await;
            let what = format!("{what} with {}", caller.name);
            match *word {
                "yes" | "open" => assert_let_in(&answer, &what),
                _ => named.push(assert_refused(&answer, &what)["needs"].take()),
            }
        }
        // Each who is refused is told the same, and with all of that is let in.
        let expected: Vec<&str> = scopes
            .iter()
            .zip(words)
            .filter(|(_, word)| **word != "-")
            .map(|(scope, _)| *scope)
            .collect();
        for named in named {
            assert_eq!(named, json!(expected), "{what}");
        }
        let answer = call(&mut all, method, path).await;
        match expected.is_empty() {
            true => _ = assert_refused(&answer, &what),
            false => assert_let_in(&answer, &what),
        }
        // Nobody else learns even that.
        let answer = call(&mut server.client(), method, path).await;
        match words[0] {
            "open" => assert_let_in(&answer, &what),
            _ => assert_eq!(answer.status, 401, "{what}: {}", answer.text()),
        }
        if (method, *path) == (&Method::DELETE, "/session") {
            for user in &mut users {
                user.sign_in().await;
            }
        }
    }
    // The figures are a token's that may operate.
    for Named { name, client } in callers.iter_mut().chain(&mut users) {
        let may = ["operate", "operator", "admin"].contains(name);
        let status = client.get("/metrics").await.status;
        assert_eq!(status, if may { 200 } else { 403 }, "{name}");
    }
    // What is no route is told to whoever may call anything.
    let anybody = &mut callers[0].client;
    let nothing = anybody.get("/api/v1/nothing").await;
    assert_eq!(nothing.status, 404, "{}", nothing.text());
    let other = call(anybody, &Method::PUT, "/hits").await;
    assert_eq!(other.status, 405, "{}", other.text());
    let (head, path) = (Method::HEAD, "/api/v1/hits");
    for Named { name, client } in callers.iter_mut().chain(&mut users) {
        let answer = client.request(head.clone(), path, &[], Bytes::new()).await;
        let may = ["hits:read", "analyst", "operator", "admin"].contains(name);
        assert_eq!(
            answer.unwrap().status,
            if may { 200 } else { 403 },
            "{name}"
        );
    }
    server.finish().await;
}

async fn a_token_is_told_once_listed_and_revoked(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut admin = server.client().admin();
    let draft = json!({"name": "Shop", "scopes": ["hits:write", "links:write"]});
    let (token, id) = make_token(&server, &draft).await;
    assert!(token.starts_with("sil_") && token.len() == 47, "{token}");
    let mut shop = with_token(server.client(), &token);
    let link = shop
        .post_json("/api/v1/links", &json!({"url": "https://a.example/"}))
        .await;
    assert_eq!(link.status, 201, "{}", link.text());

    let path = format!("/api/v1/tokens/{id}");
    for text in [admin.get("/api/v1/tokens").await, admin.get(&path).await] {
        assert_eq!(text.status, 200);
        assert!(!text.text().contains(&token[10..]), "{}", text.text());
    }
    let listed = admin.get("/api/v1/tokens?revoked=false").await.json()["tokens"][0].take();
    assert_eq!(listed["name"], "Shop");
    assert_eq!(listed["prefix"], token[..10]);
    assert_eq!(listed["scopes"], json!(["links:write", "hits:write"]));
    assert_eq!(listed["created_by"], "admin");

    // Histories name it.
    let link = link.json()["id"].as_i64().unwrap();
    let change = json!({"label": "new"}).to_string();
    let link = format!("/api/v1/links/{link}");
    let changed = shop.request(Method::PATCH, &link, &[], change.into()).await;
    assert_eq!(changed.unwrap().status, 200);
    let history = admin.get(&format!("{link}/history")).await.json();
    assert!(
        history.to_string().contains(&format!("token {id} (Shop)")),
        "{history}"
    );

    let revoked = admin
        .request(Method::DELETE, &path, &[], Bytes::new())
        .await
        .unwrap();
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(revoked.json()["revoked_by"], "admin");
    let refused = shop.get("/api/v1/links").await;
    assert_eq!(refused.status, 401, "at once");
    // Which of the three it is, nobody is told.
    let unknown = format!("sil_{}", "A".repeat(43));
    let unknown = with_token(server.client(), &unknown)
        .get("/api/v1/links")
        .await;
    let (short, _) = make_token(
        &server,
        &json!({"name": "Short", "scopes": ["links:write"], "expires_at": "2999-01-01T00:00:00Z"}),
    )
    .await;
    assert_eq!(
        with_token(server.client(), &short)
            .get("/api/v1/links")
            .await
            .status,
        200
    );
    let past = match engine {
        Engine::Sqlite => "1",
        Engine::Postgres => "'2001-01-01T00:00:00Z'",
    };
    let expire = format!("update tokens set expires_at = {past} where name = 'Short'");
    server.db().execute(&expire, &expire).await;
    let mut expired = with_token(server.client(), &short);
    wait_for("the token expires", Duration::from_secs(20), async || {
        expired.get("/api/v1/links").await.status == 401
    })
    .await;
    let expired = expired.get("/api/v1/links").await;
    assert_eq!(unknown.text(), refused.text());
    assert_eq!(expired.text(), refused.text());
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    server.finish().await;
}

async fn the_command_line_makes_lists_and_revokes_tokens_of_a_running_server(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let run = async |arguments: &[&str]| {
        let mut command = server.command();
        command.arg("token").args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, said, errors) = run(&[
        "create",
        "--name",
        "cron",
        "--scope",
        "hits:read,reports:read",
    ])
    .await;
    assert_eq!(code, Some(0), "{errors}");
    let made: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(made["created_by"], "command line");
    let mut cron = with_token(server.client(), made["token"].as_str().unwrap());
    assert_eq!(cron.get("/api/v1/hits").await.status, 200, "known at once");

    let (_, said, _) = run(&["list"]).await;
    assert!(
        said.contains("\"cron\"") && !said.contains("\"token\""),
        "{said}"
    );
    let id = made["id"].to_string();
    let (code, _, errors) = run(&["revoke", &id]).await;
    assert_eq!(code, Some(0), "{errors}");
    wait_for(
        "the token is refused",
        Duration::from_secs(20),
        async || cron.get("/api/v1/hits").await.status == 401,
    )
    .await;
    for wrong in [
        &["revoke", "4711"][..],
        &["create", "--name", " ", "--scope", "operate"],
        &["create", "--name", "x", "--scope", "everything"],
        &["create", "--name", "x"],
        &[
            "create",
            "--name",
            "x",
            "--scope",
            "operate",
            "--expires-at",
            "2001-01-01T00:00:00Z",
        ],
    ] {
        let (code, said, errors) = run(wrong).await;
        assert_eq!(code, Some(2), "{wrong:?}: {said}{errors}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_revoked_on_one_server_stops_on_the_other_within_seconds() {
    let url = PostgresServer::new_shared_database().await;
    let start = || TestServer::on(Engine::Postgres).database(&url).start();
    let (one, other) = (start().await, start().await);
    let draft = json!({"name": "both", "scopes": ["hits:read"]});
    let (token, id) = make_token(&one, &draft).await;
    let mut there = with_token(other.client(), &token);
    assert_eq!(
        there.get("/api/v1/hits").await.status,
        200,
        "made on another server"
    );

    let mut admin = one.client().admin();
    let path = format!("/api/v1/tokens/{id}");
    let revoked = admin
        .request(Method::DELETE, &path, &[], Bytes::new())
        .await
        .unwrap();
    assert_eq!(revoked.status, 200);
    let began = std::time::Instant::now();
    wait_for(
        "the token is refused",
        Duration::from_secs(20),
        async || there.get("/api/v1/hits").await.status == 401,
    )
    .await;
    println!("refused on the other server after {:?}", began.elapsed());
    one.finish().await;
    other.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_of_a_token_are_taken_while_the_database_is_away_and_over_a_restart() {
    let (mut postgres, mut server) = TestServer::on_own_postgres().await;
    let draft = json!({"name": "Shop", "scopes": ["hits:write", "operate"]});
    let (token, id) = make_token(&server, &draft).await;
    let mut shop = with_token(server.client(), &token);
    let hit = json!({"kind": "pageview", "page_url": "https://shop.example/"});
    assert_eq!(shop.post_json("/api/v1/hits", &hit).await.status, 202);
    let kept = server.data_dir().join("tokens.json");
    wait_for("the copy is written", Duration::from_secs(20), async || {
        std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("Shop"))
    })
    .await;
    let text = std::fs::read_to_string(&kept).unwrap();
    assert!(!text.contains(&token[4..]), "the secret is not in it");
    postgres.kill().await;
    server.wait_database("down", Duration::from_secs(15)).await;
    assert_eq!(shop.post_json("/api/v1/hits", &hit).await.status, 202);
    assert_eq!(shop.get("/metrics").await.status, 200, "within the hour");

    assert_eq!(server.terminate(Duration::from_secs(60)).await, Some(0));
    server.start_again().await;
    let mut shop = with_token(server.client(), &token);
    let taken = shop.post_json("/api/v1/hits", &hit).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let unsure = shop.get("/metrics").await;
    assert_eq!(unsure.status, 503, "it may have been revoked meanwhile");
    assert!(!unsure.header("retry-after").is_empty());
    // Nobody can say whether there is such a token.
    let unknown = format!("sil_{}", "A".repeat(43));
    let unknown = with_token(server.client(), &unknown)
        .post_json("/api/v1/hits", &hit)
        .await;
    assert_eq!(unknown.status, 503, "{}", unknown.text());

    postgres.start_again().await;
    server.wait_drained(Duration::from_secs(60)).await;
    assert_eq!(server.db().hits().await, 3);
    wait_for(
        "the token is certain again",
        Duration::from_secs(20),
        async || shop.get("/metrics").await.status == 200,
    )
    .await;
    // The last use is written at the latest when a server stops.
    assert_eq!(server.terminate(Duration::from_secs(30)).await, Some(0));
    let used = format!("select count(*) from tokens where id = {id} and last_used_at is not null");
    assert_eq!(server.db().number(&used).await, 1);
    server.start_again().await;
    server.finish().await;
}

on_both!(
    every_route_lets_in_by_scope_and_role_or_refuses_with_the_scopes,
    a_token_is_told_once_listed_and_revoked,
    the_command_line_makes_lists_and_revokes_tokens_of_a_running_server,
);

//! The API's description holds for the API: every operation of it is answered, and what answers is in
//! it. `schemathesis`, which other people wrote, sends what the description allows and what it does
//! not, and looks at every answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use http::Method;
use serde_json::{Value, json};

use crate::changing::LISTS;
use crate::harness::{ADMIN_TOKEN, Client, Engine, TestServer, on_both};

/// Lists with tests of their own: hits are a stream, and what webhooks have takes a receiver.
const TRIED_ELSEWHERE: [&str; 3] = [
    "/hits",
    "/webhooks/{id}/failures",
    "/webhooks/{id}/attempts",
];

async fn document(client: &mut Client) -> Value {
    let answer = client.get("/api/v1/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.json()
}

/// Methods and paths.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

#[tokio::test]
async fn the_router_and_the_document_name_the_same_routes() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let mut api = server.client().admin();
    let document = document(&mut api).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let described = operations(&document);
    // The table that people read of who may call what is made of the router.
    let table = include_str!("../../src/web/api/access.txt");
    let routed: BTreeSet<(String, String)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    let missing: Vec<_> = routed.symmetric_difference(&described).collect();
    assert!(
        missing.is_empty(),
        "give each handler #[utoipa::path(method, path = \"…\", summary = \"…\", …)], and add it in \
         src/web/api.rs with .add(NEED, routes!(handler)): {missing:?}"
    );
    // Each path is one, and takes the methods that are described and no other.
    for (_, path) in &described {
        let allowed: BTreeSet<String> = described
            .iter()
            .filter(|(_, other)| other == path)
            .map(|(method, _)| method.clone())
            .collect();
        let path = path.replace("{id}", "1").replace("{identifier}", "a");
        let path = format!("/api/v1{path}");
        let answer = api.request(Method::OPTIONS, &path, &[], Default::default());
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 405, "{path}");
        let told: BTreeSet<String> = answer
            .header("allow")
            .split(',')
            .filter(|method| *method != "HEAD")
            .map(str::to_owned)
            .collect();
        assert_eq!(told, allowed, "{path}");
    }
    assert_eq!(
        server.client().get("/docs/openapi.json").await.json(),
        document
    );
    assert_eq!(
        server.client().get("/api/v1/openapi.json").await.status,
        401
    );
    server.finish().await;
}

/// A list says `next`, and takes `after` and `limit`; nothing else is paged.
#[tokio::test]
async fn every_list_is_described_and_tried_as_one() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let document = document(&mut server.client().admin()).await;
    let tried: BTreeSet<&str> = LISTS
        .iter()
        .map(|(path, _)| path.split('?').next().unwrap())
        .collect();
    let mut lists = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array();
        let names: BTreeSet<&str> = parameters
            .into_iter()
            .flatten()
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let has = |name: &str| names.contains(name);
        assert!(!has("before") && !has("offset") && !has("page"), "{path}");
        if !has("after") {
            continue;
        }
        assert!(has("limit"), "{path} has after and no limit");
        lists += 1;
        let is_tried = tried.iter().any(|tried| {
            let same = |(a, b): (&str, &str)| a == b || a.starts_with('{') && b.starts_with('{');
            tried.split('/').count() == path.split('/').count()
                && tried.split('/').zip(path.split('/')).all(same)
        });
        assert!(
            is_tried || TRIED_ELSEWHERE.contains(&path.as_str()),
            "{path} is a list: add it to LISTS in tests/it/changing/paging.rs"
        );
    }
    assert!(lists > 10, "{lists}");
    server.finish().await;
}

/// A virtual environment of Python's with schemathesis, made once: both databases are tried at the
/// same time.
fn schemathesis() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(make_schemathesis)
}

fn make_schemathesis() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schemathesis-4.32.5");
    let program = dir.join("bin/schemathesis");
    if !program.exists() {
        let run = |command: &mut Command| {
            let done = command
                .output()
                .expect("python3 with venv, which tests/run installs");
            let told = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{command:?}: {told}");
        };
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&dir));
        let package = "schemathesis==4.32.5";
        run(Command::new(dir.join("bin/pip")).args(["install", "--quiet", package]));
    }
    program
}

/// `SILLAGE_API_EXAMPLES=100` for the long run.
async fn whatever_the_description_allows_is_answered_as_it_says(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    for (path, body) in [
        ("deliveries", json!({"id": 1, "label": "November"})),
        (
            "links",
            json!({"id": 1, "url": "https://shop.example/", "slug": "autumn"}),
        ),
        ("page-tags", json!({"identifier": "home", "kind": "web"})),
        (
            "forms",
            json!({"id": 1, "name": "News", "fields": [{"alias": "email"}]}),
        ),
        (
            "contacts",
            json!({"fields": {"email": "ada@example.com"}, "tags": ["vip"]}),
        ),
    ] {
        let made = api.post_json(&format!("/api/v1/{path}"), &body).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let examples = std::env::var("SILLAGE_API_EXAMPLES").unwrap_or_else(|_| "4".to_owned());
    let url = format!("{}/api/v1/openapi.json", server.url());
    let token = format!("Authorization: Bearer {ADMIN_TOKEN}");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis");
    let program = tokio::task::spawn_blocking(schemathesis).await.unwrap();
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(own.join("schemathesis.toml"))
        .args(["run", "--checks", "all", "--no-color", "--seed", "1"])
        .args(["--max-examples", &examples, "--header", &token, &url])
        .env("SCHEMATHESIS_HOOKS", own.join("hooks.py"))
        .current_dir(server.data_dir());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap());
    let done = done.await.unwrap();
    let told = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{told}");
    if examples != "4" {
        println!("{told}");
    }
    server
        .wait_drained(std::time::Duration::from_secs(60))
        .await;
    server.finish().await;
}

on_both!(whatever_the_description_allows_is_answered_as_it_says);

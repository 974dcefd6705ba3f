//! Recorded cases: `tests/cases/<dialect>/*.json`, each a request or several and all that has to
//! come of them: the answers, the cookies and the stored hits. They are replayed over a socket
//! against the running server, on both databases.
//!
//! `cargo test --test it cases::` runs all; `SILLAGE_CASES=adobe/session cargo test --test it
//! cases::` those whose `<dialect>/<file>` holds the text. All differences of all cases are told at
//! once. Cases share the server of their setup and run in the order of their names: each uses
//! addresses and visitors of its own. Unknown keys are errors.
//!
//! # A setup: `setup.json`, `setup-<name>.json`
//! ```json
//! { "config": { "contacts.public": ["email"], "trust.senders": ["127.0.0.1/32"] },
//!   "api": [ { "path": "/api/v1/deliveries", "body": { "id": 4711, "label": "November" } },
//!            { "path": "/api/v1/deliveries/4711/messages", "lines": [ { "broadlog_id": 1000, "contact": { "email": "a@x.example" } } ],
//!              "save": { "contact": "/0/contact_id" } } ] }
//! ```
//! `config` has the keys of `config.example.toml`; `public_url` is `http://t.example` unless it is
//! given. `api` are calls (`POST` unless `method` says otherwise) with the admin token, each of
//! which must succeed; `body` is JSON or a text, `lines` NDJSON (its answer is an array of lines).
//! `save` takes values out of the answer by JSON pointers. `sql` are statements after them that
//! both databases understand. Files `setup*.json` are no cases; without any there is a bare server.
//!
//! # A case
//! ```json
//! { "source": "PROTOCOL.md, Tracked links", "setup": "anonymous", "proves": ["letter h"],
//!   "steps": [ { "request": { "path": "/r/?id=h3e8,1", "headers": [["Referer", "https://a.example/"]] },
//!                "answer": { "status": 302, "location": "https://shop.example/",
//!                            "cookies": { "visitorId": { "max_age": 31536000 }, "nlid": { "session": true } } } } ],
//!   "hits": [ { "kind": "click", "delivery_id": 4711, "visitor_id": { "same_as": "visitor" } } ] }
//! ```
//! - `source`: where the request comes from. `proves`: rows of `PROTOCOL.md`, word for word.
//!   `setup`: a name, none for `setup.json`.
//! - **step**: `request` or `raw` (a file with a whole request beside the case, sent byte for byte,
//!   without the browser's cookies), `as` (whose cookies: a name, one browser a case without it),
//!   `new_session: true` (the browser was closed before), `after_storing: true` (the hits of the
//!   steps before are in the database), `save` (pointers into the JSON answer; of a redirect's
//!   target `/location/<parameter>`; of a cookie that is set `/set-cookie/<name>`).
//! - **request**: `method` (`GET`), `path` with the raw query, byte for byte (of a whole URL the
//!   host is cut), `headers` (pairs; `Host: t.example` and a Firefox `User-Agent` are sent unless
//!   given, `["User-Agent", null]` leaves it out), `cookies` (put into the browser before), one of
//!   `body`, `body_json`, `body_base64`, `form` (pairs); `gzip: true`, `chunked: true`. Lengths and
//!   types are added.
//! - **answer**: `status`; `location`, and without it there must be none; `cookies`: **all** that
//!   are set, without it none may be (`no_cookies: true` says the same aloud): a text is the exact
//!   value, an object lists what is compared of `value, session, max_age, http_only, secure,
//!   same_site, domain, path`, `{}` any value, `{"removed": true}` one that is taken away;
//!   `headers` (null: must be absent), `gif: true` (the pixel, whole), `body`, `body_contains`,
//!   `body_json` (objects may have more than is listed).
//! - **hits**: all new rows in the order of storage, as `GET /api/v1/hits` tells them after the
//!   last step (so with people who became known later). What is listed must be equal, `extra`
//!   whole. What is **not** listed must be empty but for `id, received_at, seq, user_agent,
//!   visitor_id, proof, counted_revenue` (any value), `dialect` (the folder's name), `site`
//!   (`default`), `verdict` (`human`) and `ip` (127.0.0.1 or none). `kind` has to be listed. A hit
//!   that is somebody's has `contact` (all fields of the contact), `contact_tags` or `contact_id`.
//! - **matchers** stand for a value anywhere in `answer` and `hits`: `{"is":
//!   "uuid|present|number|time"}`, `{"contains": "…"}`, `{"starts_with": "…"}`, `{"same_as":
//!   "name"}` (the first use takes the value), `{"not": "name"}` (a value, but not that one).
//! - `{{name}}` is a saved value; a text that is nothing else keeps the value's type.
//!   `{{link:4711/1000/815}}` and `{{open:4711/1000}}` are the paths of our own signed link and
//!   open pixel of delivery, broadlog and link, sent long ago.
//!
//! # Rows: `PROTOCOL.md`
//! The facts of the dialect's protocol. Its tables with the head `| row | cases |` hold what is
//! proved: every row names cases that prove it, and every `proves` is a row.

mod compare;
mod format;
mod player;
mod rows;
mod saved;
mod send;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use self::format::{Case, Setup};
use self::player::Player;
use crate::harness::{Engine, TestServer, new_dir, on_both};

const DIALECTS: [&str; 4] = ["native", "adobe", "mapp", "mautic"];

async fn native(engine: Engine) {
    replay("native", engine).await;
}

async fn adobe(engine: Engine) {
    replay("adobe", engine).await;
}

async fn mapp(engine: Engine) {
    replay("mapp", engine).await;
}

async fn mautic(engine: Engine) {
    replay("mautic", engine).await;
}

on_both!(native, adobe, mapp, mautic);

#[test]
fn every_folder_of_cases_is_a_dialect() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(
            !entry.path().is_dir() || DIALECTS.contains(&name.as_str()),
            "{name}"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// A case with what the file says before saved values are put in.
struct CaseFile {
    name: String,
    case: Case,
    text: Value,
}

/// Names of a folder's files with this extension, in their order; none where there is no folder.
fn files(dir: &Path, extension: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(&format!(".{extension}")))
        .collect();
    names.sort();
    names
}

/// The cases of a dialect, and what is wrong with files that are none.
fn load(dialect: &str) -> (Vec<CaseFile>, Vec<String>) {
    let dir = root().join(dialect);
    let (mut cases, mut wrong) = (Vec::new(), Vec::new());
    for name in files(&dir, "json") {
        if name.starts_with("setup") {
            continue;
        }
        match read_case(&dir, &name) {
            Ok(case) => cases.push(case),
            Err(why) => wrong.push(told(dialect, &name, &why)),
        }
    }
    (cases, wrong)
}

fn read_case(dir: &Path, name: &str) -> Result<CaseFile, Vec<String>> {
    let file = dir.join(name);
    let case: Case = format::read(&file).map_err(|error| vec![error])?;
    let mut wrong = case.check(dir);
    for (index, hit) in case.hits.iter().enumerate() {
        for column in hit.keys() {
            let is_known = ["contact", "contact_tags"].contains(&column.as_str())
                || sillage::door::HIT_COLUMNS.contains(&column.as_str());
            if !is_known {
                wrong.push(format!("hits[{index}]: there is no column {column}"));
            }
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(CaseFile {
        name: name.to_owned(),
        case,
        text: format::read(&file).map_err(|error| vec![error])?,
    })
}

fn told(dialect: &str, file: &str, lines: &[impl std::fmt::Display]) -> String {
    let lines: String = lines.iter().map(|line| format!("\n    {line}")).collect();
    format!("tests/cases/{dialect}/{file}{lines}")
}

async fn replay(dialect: &str, engine: Engine) {
    let (cases, mut wrong) = load(dialect);
    let only = std::env::var("SILLAGE_CASES").unwrap_or_default();
    let mut by_setup: BTreeMap<Option<String>, Vec<CaseFile>> = BTreeMap::new();
    for file in cases {
        if format!("{dialect}/{}", file.name).contains(&only) {
            by_setup
                .entry(file.case.setup.clone())
                .or_default()
                .push(file);
        }
    }
    for (setup, cases) in by_setup {
        let file = match &setup {
            Some(name) => format!("setup-{name}.json"),
            None => "setup.json".to_owned(),
        };
        let path = root().join(dialect).join(&file);
        let read = if setup.is_none() && !path.exists() {
            Ok(Setup::default())
        } else {
            format::read(&path)
        };
        match read {
            Ok(setup) => wrong.extend(replay_with(dialect, engine, &file, setup, &cases).await),
            Err(error) => wrong.push(told(dialect, &file, &[error])),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} files differ on {engine:?}:\n\n{}\n",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// Runs the cases of one setup; returns what is wrong.
async fn replay_with(
    dialect: &str,
    engine: Engine,
    setup_file: &str,
    setup: Setup,
    cases: &[CaseFile],
) -> Vec<String> {
    let config = new_dir("cases").join("sillage.toml");
    std::fs::write(&config, toml_of(setup.config)).unwrap();
    let server = TestServer::on(engine)
        .with("CONFIG", config.to_str().unwrap())
        .start()
        .await;
    let mut player = Player::new(dialect, &server);
    if let Err(why) = player.set_up(&setup.api).await {
        return vec![told(dialect, setup_file, &[why])];
    }
    for sql in &setup.sql {
        server.db().execute(sql, sql).await;
    }
    let saved_by_setup = player.saved.clone();
    let mut wrong = Vec::new();
    for file in cases {
        player.saved.clone_from(&saved_by_setup);
        let comparison = player.play(file).await;
        if !comparison.findings.is_empty() {
            wrong.push(told(dialect, &file.name, &comparison.findings));
        }
    }
    let log = server.log();
    let troubles: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
        .collect();
    if !troubles.is_empty() {
        wrong.push(told(dialect, setup_file, &troubles));
    }
    // The differences say more than what the end of a server can.
    if wrong.is_empty() {
        server.finish().await;
    }
    wrong
}

/// The configuration of a setup.
fn toml_of(given: Map<String, Value>) -> String {
    let mut config = Map::from_iter([
        ("public_url".to_owned(), json!("http://t.example")),
        ("spool.give_way".to_owned(), json!("0s")),
        // On a busy machine a late hit would be a hit that is not there.
        ("spool.patience".to_owned(), json!("10s")),
    ]);
    config.extend(given);
    let lines = config
        .iter()
        .map(|(key, value)| format!("{key} = {}\n", toml_value(value)));
    lines.collect()
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{} = {}", json!(name), toml_value(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        plain => plain.to_string(),
    }
}

#[test]
fn unknown_keys_in_a_case_are_errors() {
    let case = |step: &str| format!(r#"{{"source":"x","steps":[{step}],"hits":[]}}"#);
    let right = r#"{"request":{"path":"/"},"answer":{"status":200}}"#;
    assert!(format::parse::<Case>(&case(right)).is_ok());
    for wrong in [
        right.replace("path", "paht"),
        right.replace("status\":200", "status\":200,\"locaton\":\"/\""),
        right.replace(
            "status\":200",
            "status\":200,\"cookies\":{\"a\":{\"maxage\":1}}",
        ),
        right.replace("\"request\"", "\"asn\":\"b\",\"request\""),
    ] {
        assert!(format::parse::<Case>(&case(&wrong)).is_err(), "{wrong}");
    }
}

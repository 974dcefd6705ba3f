//! Recorded cases: `tests/cases/<dialect>/*.json`, each a request or several and all that has to come of them: the answers, the cookies and
//! the stored hits. They are replayed over a socket against the running server, on both databases.
//!
//! `cargo test --test it cases::` runs all; `SILLAGE_CASES=adobe/session cargo test --test it cases::` those whose `<dialect>/<file>` holds the
//! text. All differences of all cases are told at once. Cases share the server of their setup and run in the order of their names:
//! each uses addresses and visitors of its own. Unknown keys are errors.
//!
//! # A setup: `setup.json`, `setup-<name>.json`
//! ```json
//! { "config": { "contacts.public": ["email"], "trust.senders": ["127.0.0.1/32"] },
//!   "api": [ { "path": "/api/v1/deliveries", "body": { "id": 4711, "label": "November" } },
//!            { "path": "/api/v1/deliveries/4711/messages", "lines": [ { "broadlog_id": 1000, "contact": { "email": "a@x.example" } } ],
//!              "save": { "contact": "/0/contact_id" } } ] }
//! ```
//! `config` has the keys of `config.example.toml`; `public_url` is `http://t.example` unless it is given. `api` are calls (`POST` unless `method`
//! says otherwise) with the admin token, each of which must succeed; `body` is JSON or a text, `lines` NDJSON (its answer is an array of
//! lines). `save` takes values out of the answer by JSON pointers. `sql` are statements after them that both
//! databases understand. Files `setup*.json` are no cases; without any there is a bare server.
//!
//! # A case
//! ```json
//! { "source": "adobe.md, Tracked links", "setup": "anonymous", "proves": ["letter h"],
//!   "steps": [ { "request": { "path": "/r/?id=h3e8,1", "headers": [["Referer", "https://a.example/"]] },
//!                "answer": { "status": 302, "location": "https://shop.example/",
//!                            "cookies": { "visitorId": { "max_age": 31536000 }, "nlid": { "session": true } } } } ],
//!   "hits": [ { "kind": "click", "delivery_id": 4711, "visitor_id": { "same_as": "visitor" } } ] }
//! ```
//! - `source`: where the request comes from. `proves`: rows of `rows.txt`, word for word. `setup`: a name, none for `setup.json`.
//! - **step**: `request` or `raw` (a file with a whole request beside the case, sent byte for byte, without the browser's cookies), `as` (whose
//!   cookies: a name, one browser a case without it), `new_session: true` (the browser was closed before), `after_storing: true` (the hits of the steps before are in the database), `save` (pointers into the JSON answer;
//!   of a redirect's target `/location/<parameter>`).
//! - **request**: `method` (`GET`), `path` with the raw query, byte for byte (of a whole URL the host is cut), `headers` (pairs; `Host: t.example`
//!   and a Firefox `User-Agent` are sent unless given, `["User-Agent", null]` leaves it out), `cookies` (put into the browser before), one of
//!   `body`, `body_json`, `body_base64`, `form` (pairs); `gzip: true`, `chunked: true`. Lengths and types are added.
//! - **answer**: `status`; `location`, and without it there must be none; `cookies`: **all** that are set, without it none may be (`no_cookies: true`
//!   says the same aloud): a text is the exact value, an object lists what is compared of `value, session, max_age, http_only, secure,
//!   same_site, domain, path`, `{}` any value, `{"removed": true}` one that is taken away; `headers` (null: must be absent), `gif: true`
//!   (the pixel, whole), `body`, `body_contains`, `body_json` (objects may have more than is listed).
//! - **hits**: all new rows in the order of storage, as `GET /api/v1/hits` tells them after the last step (so with people who became known later).
//!   What is listed must be equal, `extra` whole. What is **not** listed must be empty but for `id, received_at, seq, user_agent, visitor_id`
//!   (any value), `dialect` (the folder's name), `site` (`default`), `verdict` (`human`) and `ip` (127.0.0.1 or none). `kind` has to be listed. A
//!   hit that is somebody's has `contact` (all fields of the contact), `contact_tags` or `contact_id`.
//! - **matchers** stand for a value anywhere in `answer` and `hits`: `{"is": "uuid|present|number|time"}`, `{"contains": "…"}`,
//!   `{"starts_with": "…"}`, `{"same_as": "name"}` (the first use takes the value), `{"not": "name"}` (a value, but not that one).
//! - `{{name}}` is a saved value; a text that is nothing else keeps the value's type. `{{link:4711/1000/815}}` and `{{open:4711/1000}}` are
//!   the paths of our own signed link and open pixel of delivery, broadlog and link, sent long ago.
//!
//! # Rows: `rows.txt`
//! A line each row of the protocol's tables; `#` begins a remark. With this file every row needs a case that proves it, and every `proves` a row.

mod compare;
mod format;
mod rows;
mod send;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};
use sillage::hit::{BroadlogId, DeliveryId, LinkId};
use sillage::link::{Keys, LinkToken};

use self::compare::Comparison;
use self::format::{Call, Case, Setup, Step};
use self::send::{Jar, bytes_of, read_cookie};
use crate::harness::{Client, Engine, SIGNING_KEY, TestServer, exchange, new_dir, on_both};

const DIALECTS: [&str; 4] = ["native", "adobe", "mapp", "mautic"];
/// Longest wait for the hits of a case.
const STORED: Duration = Duration::from_secs(20);
/// Longest wait for an answer.
const ANSWERED: Duration = Duration::from_secs(20);

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
                || sillage::store::stored_hits::COLUMNS.contains(&column.as_str());
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
    let mut player = Player {
        dialect,
        api: server.client().admin(),
        server: &server,
        saved: Map::new(),
        cursor: "0".to_owned(),
    };
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

/// Plays cases to one server.
struct Player<'s> {
    dialect: &'s str,
    server: &'s TestServer,
    api: Client,
    saved: Map<String, Value>,
    /// Hits up to here have been read.
    cursor: String,
}

impl Player<'_> {
    async fn set_up(&mut self, calls: &[Call]) -> Result<(), String> {
        for (index, call) in calls.iter().enumerate() {
            let place = format!("api[{index}] {}", call.path);
            let path = fill(&json!(call.path), &self.saved)?;
            let (content_type, body) = match (&call.body, &call.lines) {
                (Some(_), Some(_)) => return Err(format!("{place}: both body and lines")),
                (None, None) => ("application/json", String::new()),
                (Some(body), None) => (
                    "application/json",
                    match fill(body, &self.saved)? {
                        Value::String(text) => text,
                        json => json.to_string(),
                    },
                ),
                (None, Some(lines)) => {
                    let mut body = String::new();
                    for line in lines {
                        body += &format!("{}\n", fill(line, &self.saved)?);
                    }
                    ("application/x-ndjson", body)
                }
            };
            let answer = self
                .api
                .request(
                    Method::from_bytes(call.method.as_bytes()).unwrap(),
                    path.as_str().unwrap_or_default(),
                    &[("content-type", content_type)],
                    body.into(),
                )
                .await
                .map_err(|failure| format!("{place}: {failure:?}"))?;
            let text = answer.text();
            let is_refused = call.lines.is_some() && text.contains("{\"error\":")
                || text.contains("\"rejected\":[{");
            if !(200..300).contains(&answer.status) || is_refused {
                return Err(format!("{place}: {} {text}", answer.status));
            }
            let is_lines = answer.header("content-type").contains("ndjson");
            let body = if is_lines {
                text.lines()
                    .map(|line| serde_json::from_str::<Value>(line).unwrap())
                    .collect()
            } else {
                serde_json::from_str(&text).unwrap_or_default()
            };
            take_saved(&call.save, &body, &mut self.saved)
                .map_err(|error| format!("{place}: {error}"))?;
        }
        self.new_hits().await;
        Ok(())
    }

    async fn play(&mut self, file: &CaseFile) -> Comparison {
        let mut comparison = Comparison::default();
        let mut jars: BTreeMap<String, Jar> = BTreeMap::new();
        for (index, step) in file.text["steps"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let place = format!("step {}", index + 1);
            let step = fill(step, &self.saved).and_then(|step| {
                serde_json::from_value::<Step>(step).map_err(|error| error.to_string())
            });
            match step {
                Ok(step) => {
                    self.take_step(&place, &step, &mut jars, &mut comparison)
                        .await
                }
                Err(error) => comparison.find(&place, "saved values", error),
            }
        }
        let got = self.new_hits().await;
        match fill(&file.text["hits"], &self.saved) {
            Ok(expected) => {
                let expected: Vec<Map<String, Value>> = serde_json::from_value(expected).unwrap();
                comparison.hits(self.dialect, &expected, &got);
            }
            Err(error) => comparison.find("hits", "saved values", error),
        }
        comparison
    }

    async fn take_step(
        &mut self,
        place: &str,
        step: &Step,
        jars: &mut BTreeMap<String, Jar>,
        comparison: &mut Comparison,
    ) {
        let jar = jars.entry(step.browser.clone()).or_default();
        if step.new_session {
            jar.end_session();
        }
        if step.after_storing {
            self.server.wait_stored(STORED).await;
        }
        let bytes = match (&step.request, &step.raw) {
            (Some(request), _) => {
                for (name, value) in &request.cookies {
                    jar.put(name, value);
                }
                bytes_of(request, jar)
            }
            (None, Some(raw)) => std::fs::read(root().join(self.dialect).join(raw)).unwrap(),
            (None, None) => return,
        };
        let answer = match exchange(self.server.address(), &bytes, ANSWERED).await {
            Ok(answer) => answer,
            Err(failure) => {
                comparison.find(place, "an answer", format_args!("{failure:?}"));
                return;
            }
        };
        let cookies: Vec<_> = answer.set_cookies().into_iter().map(read_cookie).collect();
        jar.keep(&cookies);
        let at = format!("{place} answer");
        comparison.answer(&at, &step.answer, &answer);
        comparison.cookies(&at, &step.answer.cookies, &cookies);
        if !step.save.is_empty() {
            let body = match answer.header("location").split_once('?') {
                Some((_, query)) => {
                    let query = query.split('#').next().unwrap_or_default();
                    let parameters = form_urlencoded::parse(query.as_bytes()).into_owned();
                    json!({ "location": parameters.collect::<BTreeMap<_, _>>() })
                }
                None => serde_json::from_slice(&answer.body).unwrap_or_default(),
            };
            if let Err(error) = take_saved(&step.save, &body, &mut self.saved) {
                comparison.find(&format!("{place} save"), "a value", error);
            }
        }
    }

    /// Waits until everything is stored, and reads what has been stored since the last time, each hit with its contact.
    async fn new_hits(&mut self) -> Vec<Value> {
        self.server.wait_stored(STORED).await;
        let path = format!("/api/v1/hits?limit=1000000&after={}", self.cursor);
        let answer = self.api.get(&path).await;
        let text = answer.text();
        assert_eq!(answer.status, 200, "{text}");
        let mut hits: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let end = hits.pop().expect("the last line is the cursor");
        end["cursor"].as_str().unwrap().clone_into(&mut self.cursor);
        for hit in &mut hits {
            let contact = match hit["contact_id"].as_str() {
                Some(id) => self.api.get(&format!("/api/v1/contacts/{id}")).await.json(),
                None => Value::Null,
            };
            hit["contact"] = contact["fields"].clone();
            hit["contact_tags"] = contact["tags"].clone();
        }
        hits
    }
}

fn take_saved(
    save: &BTreeMap<String, String>,
    body: &Value,
    saved: &mut Map<String, Value>,
) -> Result<(), String> {
    for (name, pointer) in save {
        let value = body
            .pointer(pointer)
            .ok_or_else(|| format!("nothing at {pointer} in {body}"))?;
        saved.insert(name.clone(), value.clone());
    }
    Ok(())
}

/// Puts saved values in.
fn fill(value: &Value, saved: &Map<String, Value>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => fill_text(text, saved)?,
        Value::Array(items) => items
            .iter()
            .map(|item| fill(item, saved))
            .collect::<Result<_, _>>()?,
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(value, saved)?)))
                .collect::<Result<_, String>>()?,
        ),
        plain => plain.clone(),
    })
}

fn fill_text(text: &str, saved: &Map<String, Value>) -> Result<Value, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled += before;
        // Braces around anything else are the request's own.
        let name = after
            .split_once("}}")
            .filter(|(name, _)| !name.is_empty() && name.bytes().all(is_of_name));
        let Some((name, after)) = name else {
            filled += "{{";
            rest = after;
            continue;
        };
        let value = match name.split_once(':') {
            Some((what, ids)) => json!(own_path(what, ids)?),
            None => saved
                .get(name)
                .ok_or_else(|| format!("nothing is saved as {name}"))?
                .clone(),
        };
        if before.is_empty() && after.is_empty() && filled.is_empty() {
            return Ok(value);
        }
        match value {
            Value::String(value) => filled += &value,
            value => filled += &value.to_string(),
        }
        rest = after;
    }
    Ok(Value::String(filled + rest))
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-:/ ".contains(&byte)
}

/// `link`, `4711/1000/815` or `open`, `4711/1000`: the path in a mail sent long ago.
fn own_path(what: &str, ids: &str) -> Result<String, String> {
    let numbers: Vec<i64> = ids.split('/').filter_map(|id| id.parse().ok()).collect();
    let (&[delivery, broadlog] | &[delivery, broadlog, _]) = numbers.as_slice() else {
        return Err(format!(
            "{what}:{ids} has other ids than delivery/broadlog[/link]"
        ));
    };
    let token = LinkToken {
        delivery_id: DeliveryId(delivery),
        broadlog_id: BroadlogId(broadlog),
        link_id: numbers.get(2).copied().map(LinkId),
        sent_minute: None,
    };
    let token = token.encode(&Keys::parse(&[SIGNING_KEY.to_owned()]).unwrap());
    match (what, numbers.len()) {
        ("link", 3) => Ok(format!("/r/{token}")),
        ("open", 2) => Ok(format!("/o/{token}.gif")),
        _ => Err(format!("{what}:{ids} is neither link:d/b/l nor open:d/b")),
    }
}

#[test]
fn saved_values_are_put_in_and_unknown_ones_are_told() {
    let saved = Map::from_iter([("id".to_owned(), json!(7)), ("url".to_owned(), json!("a"))]);
    let fill = |text: &str| fill(&json!([text]), &saved).map(|value| value[0].clone());
    assert_eq!(fill("{{id}}"), Ok(json!(7)));
    assert_eq!(fill("/x/{{id}}?u={{url}}"), Ok(json!("/x/7?u=a")));
    assert_eq!(fill("{{7*7}} {{ {x}"), Ok(json!("{{7*7}} {{ {x}")));
    assert!(fill("{{other}}").is_err());
    assert!(fill("{{link:1/2}}").is_err());
    assert!(
        fill("{{link:1/2/3}}")
            .unwrap()
            .as_str()
            .unwrap()
            .starts_with("/r/")
    );
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

//! What would become of a request that somebody pastes: an address, a line of curl, or an entry of
//! a HAR file, as browsers save it. Nothing is stored and nothing is counted.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::form::Sent;
use super::gate::Who;
use super::page::{Failure, Frame, show};
use crate::web::AdminState;
use crate::web::api::debug::{DecodeRequest, explain};

#[derive(Template)]
#[template(path = "inspector.html")]
struct InspectorPage {
    frame: Frame,
    request: String,
    told: Option<String>,
    answer: Option<Answer>,
}

/// What would be answered and stored.
struct Answer {
    status: String,
    refused: Option<String>,
    location: Option<String>,
    cookies: Vec<String>,
    hits: Vec<ExplainedHit>,
    left_out: i64,
}

struct ExplainedHit {
    kind: String,
    verdict: String,
    pairs: Vec<(String, String)>,
}

impl From<&Value> for Answer {
    fn from(told: &Value) -> Self {
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
        Self {
            status: match told["status"].as_u64() {
                Some(status) => status.to_string(),
                None => "no answer: the connection would be closed".to_owned(),
            },
            refused: text("refused"),
            location: text("location"),
            cookies: list("set_cookies")
                .iter()
                .filter_map(|line| line.as_str().map(str::to_owned))
                .collect(),
            hits: list("hits").iter().map(ExplainedHit::from).collect(),
            left_out: told["hits_left_out"].as_i64().unwrap_or(0),
        }
    }
}

impl From<&Value> for ExplainedHit {
    fn from(hit: &Value) -> Self {
        let word = |name: &str| hit[name].as_str().unwrap_or_default().to_owned();
        let mut pairs = Vec::new();
        flatten("", hit, &mut pairs);
        Self {
            kind: word("kind"),
            verdict: word("verdict"),
            pairs,
        }
    }
}

/// Values by their path: `evidence.names.0.field`.
fn flatten(path: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, value) in members {
                flatten(&below(name), value, pairs);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                flatten(&below(&index.to_string()), value, pairs);
            }
        }
        Value::String(text) => pairs.push((path.to_owned(), text.clone())),
        other => pairs.push((path.to_owned(), other.to_string())),
    }
}

/// The request of what was pasted.
fn read(text: &str) -> Result<Value, String> {
    let text = text.trim();
    if text.starts_with('{') {
        return read_har(text);
    }
    let words = words(text)?;
    match words.first().map(String::as_str) {
        Some("curl") => read_curl(&words),
        Some(url) if words.len() == 1 => Ok(json!({ "url": url })),
        Some("GET" | "POST" | "HEAD") => {
            let url = words.get(1).map(String::as_str).unwrap_or_default();
            Ok(json!({ "method": words.first(), "url": url }))
        }
        _ => Err("Paste an address, a line of curl, or an entry of a HAR file".to_owned()),
    }
}

fn read_har(text: &str) -> Result<Value, String> {
    let entry: Value =
        serde_json::from_str(text).map_err(|error| format!("This is no JSON: {error}"))?;
    let request = entry.get("request").unwrap_or(&entry);
    let headers: Vec<Value> = request["headers"]
        .as_array()
        .into_iter()
        .flatten()
        // HTTP/2's own, which HAR files hold too.
        .filter(|header| !header["name"].as_str().unwrap_or(":").starts_with(':'))
        .map(|header| json!([header["name"], header["value"]]))
        .collect();
    let mut wanted = json!({ "url": request["url"], "headers": headers });
    if let Some(method) = request["method"].as_str() {
        wanted["method"] = method.into();
    }
    if let Some(body) = request["postData"]["text"].as_str() {
        wanted["body"] = body.into();
    }
    Ok(wanted)
}

/// Options of curl that have a value and say nothing about the request.
const OF_CURL: [&str; 8] = [
    "-o",
    "--output",
    "-m",
    "--max-time",
    "--connect-timeout",
    "-w",
    "--write-out",
    "--retry",
];

fn read_curl(words: &[String]) -> Result<Value, String> {
    let mut words = words.iter().skip(1).map(String::as_str);
    let (mut url, mut method, mut body) = (None, None, None::<String>);
    let mut headers: Vec<Value> = Vec::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default().to_owned();
        match word {
            "-H" | "--header" => {
                let line = value();
                if let Some((name, value)) = line.split_once(':') {
                    headers.push(json!([name.trim(), value.trim()]));
                }
            }
            "-A" | "--user-agent" => headers.push(json!(["user-agent", value()])),
            "-b" | "--cookie" => headers.push(json!(["cookie", value()])),
            "-e" | "--referer" => headers.push(json!(["referer", value()])),
            "-X" | "--request" => method = Some(value()),
            "-I" | "--head" => method = Some("HEAD".to_owned()),
            "-d" | "--data" | "--data-raw" | "--data-binary" | "--data-ascii" => {
                let more = value();
                body = Some(match body {
                    Some(before) => format!("{before}&{more}"),
                    None => more,
                });
            }
            "--url" => url = Some(value()),
            other if OF_CURL.contains(&other) => {
                value();
            }
            other if other.starts_with('-') => {}
            other => url = Some(other.to_owned()),
        }
    }
    let url = url.ok_or("This line of curl has no address")?;
    let has_type = headers.iter().any(|header| {
        let name = header[0].as_str().unwrap_or_default();
        name.eq_ignore_ascii_case("content-type")
    });
    if body.is_some() && !has_type {
        headers.push(json!(["content-type", "application/x-www-form-urlencoded"]));
    }
    let mut wanted = json!({ "url": url, "headers": headers });
    if let Some(method) = method {
        wanted["method"] = method.into();
    }
    if let Some(body) = body {
        wanted["body"] = body.into();
    }
    Ok(wanted)
}

/// Words as a shell takes them apart: quotes, backslashes, and lines that go on.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("A quote is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') if matches!(characters.peek(), Some('"' | '\\' | '$' | '`')) => {
                            word.extend(characters.next());
                        }
                        Some(c) => word.push(c),
                        None => return Err("A quote is not closed".to_owned()),
                    }
                }
            }
            '\\' => match characters.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn page(who: &Who, request: &str, found: Option<Result<Answer, String>>) -> Response {
    let (status, answer, told) = match found {
        None => (StatusCode::OK, None, None),
        Some(Ok(answer)) => (StatusCode::OK, Some(answer), None),
        Some(Err(why)) => (StatusCode::UNPROCESSABLE_ENTITY, None, Some(why)),
    };
    let page = InspectorPage {
        frame: Frame::new(who, "Inspector", "Inspector"),
        request: request.to_owned(),
        told,
        answer,
    };
    show(status, &page)
}

/// `GET /console/inspector`
pub(super) async fn ask(Extension(who): Extension<Who>) -> Response {
    page(&who, "", None)
}

/// `POST /console/inspector`
pub(super) async fn inspect(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Sent(form): Sent,
) -> Result<Response, Failure> {
    let text = form.get("request").unwrap_or_default();
    let wanted = read(text).and_then(|wanted| {
        serde_json::from_value::<DecodeRequest>(wanted).map_err(|error| error.to_string())
    });
    let found = match wanted {
        Ok(wanted) => match explain(&app, &headers, wanted).await {
            Ok(told) => Ok(Answer::from(&told)),
            Err(problem) => Err(problem.told().1.to_owned()),
        },
        Err(why) => Err(why),
    };
    Ok(page(&who, text, Some(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_is_read() {
        for (text, expected) in [
            (
                "https://t.example/r/a?b=1",
                json!({"url": "https://t.example/r/a?b=1"}),
            ),
            ("  /r/a\n", json!({"url": "/r/a"})),
            ("GET /r/a", json!({"method": "GET", "url": "/r/a"})),
            (
                "curl -sS 'https://t.example/mtc/event' \\\n -H \"A: b \\\"c\\\"\" --data-raw 'x=1' --compressed",
                json!({"url": "https://t.example/mtc/event", "body": "x=1", "headers": [["A", "b \"c\""], ["content-type", "application/x-www-form-urlencoded"]]}),
            ),
            (
                "curl -I -A it --max-time 3 /r/a",
                json!({"url": "/r/a", "method": "HEAD", "headers": [["user-agent", "it"]]}),
            ),
            (
                r#"{"request": {"method": "POST", "url": "/r/a", "headers": [{"name": ":path", "value": "/"}, {"name": "A", "value": "b"}], "postData": {"text": "x"}}}"#,
                json!({"method": "POST", "url": "/r/a", "headers": [["A", "b"]], "body": "x"}),
            ),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        for text in ["", "two words", "curl -s", "curl 'a", "{", "'"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}

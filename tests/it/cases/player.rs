//! Plays one case after the other to a server and collects what comes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Map, Value, json};

use super::compare::Comparison;
use super::format::{Call, Step};
use super::saved::{fill, take_saved};
use super::send::{Jar, bytes_of, read_cookie};
use super::{CaseFile, root};
use crate::harness::{Client, TestServer, exchange};

/// Longest wait for the hits of a case.
const STORED: Duration = Duration::from_secs(20);
/// Longest wait for an answer.
const ANSWERED: Duration = Duration::from_secs(20);

/// Plays cases to one server.
pub(super) struct Player<'s> {
    dialect: &'s str,
    server: &'s TestServer,
    api: Client,
    pub(super) saved: Map<String, Value>,
    /// Hits up to here have been read.
    cursor: String,
}

impl<'s> Player<'s> {
    pub(super) fn new(dialect: &'s str, server: &'s TestServer) -> Self {
        Self {
            dialect,
            server,
            api: server.client().admin(),
            saved: Map::new(),
            cursor: "0".to_owned(),
        }
    }

    pub(super) async fn set_up(&mut self, calls: &[Call]) -> Result<(), String> {
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

    pub(super) async fn play(&mut self, file: &CaseFile) -> Comparison {
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
            let mut body = match answer.header("location").split_once('?') {
                Some((_, query)) => {
                    let query = query.split('#').next().unwrap_or_default();
                    let parameters = form_urlencoded::parse(query.as_bytes()).into_owned();
                    json!({ "location": parameters.collect::<BTreeMap<_, _>>() })
                }
                None => serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!({})),
            };
            if let Some(body) = body.as_object_mut() {
                let set = cookies.iter().map(|cookie| (&*cookie.name, &*cookie.value));
                body.insert(
                    "set-cookie".to_owned(),
                    json!(set.collect::<BTreeMap<_, _>>()),
                );
            }
            if let Err(error) = take_saved(&step.save, &body, &mut self.saved) {
                comparison.find(&format!("{place} save"), "a value", error);
            }
        }
    }

    /// Waits until everything is stored, and reads what has been stored since the last time, each
    /// hit with its contact.
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

//! What stands in the files. Unknown keys are errors: a mistyped expectation would hold forever.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// `setup.json`, `setup-<name>.json`: a server and what is in its database before the cases.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setup {
    /// Keys as in `config.example.toml`, with dots.
    pub config: Map<String, Value>,
    pub api: Vec<Call>,
    /// Statements that both databases understand, after the calls.
    pub sql: Vec<String>,
}

/// A call of the API.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    #[serde(default = "post")]
    pub method: String,
    pub path: String,
    /// JSON, or a text that is sent as it is.
    pub body: Option<Value>,
    /// NDJSON; the answer is then an array of its lines.
    pub lines: Option<Vec<Value>>,
    #[serde(default)]
    pub save: BTreeMap<String, String>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub source: String,
    pub setup: Option<String>,
    #[serde(default)]
    pub proves: Vec<String>,
    pub steps: Vec<Step>,
    pub hits: Vec<Map<String, Value>>,
}

/// A request and what is expected of its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub request: Option<Request>,
    /// File with a request to be sent byte for byte.
    pub raw: Option<String>,
    /// Whose cookies.
    #[serde(rename = "as", default)]
    pub browser: String,
    /// Before the request the browser was closed: session cookies are gone.
    #[serde(default)]
    pub new_session: bool,
    /// Before the request the hits of the steps before it are in the database.
    #[serde(default)]
    pub after_storing: bool,
    pub answer: Expected,
    /// Values of the answer's JSON body, by pointers; of a redirect, `/location/<parameter>`.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default = "get")]
    pub method: String,
    pub path: String,
    /// A null leaves out what would be sent without being asked for.
    #[serde(default)]
    pub headers: Vec<(String, Option<String>)>,
    #[serde(default)]
    pub cookies: BTreeMap<String, String>,
    pub body: Option<String>,
    pub body_json: Option<Value>,
    pub body_base64: Option<String>,
    /// Sent as `application/x-www-form-urlencoded`.
    pub form: Option<Vec<(String, String)>>,
    #[serde(default)]
    pub gzip: bool,
    #[serde(default)]
    pub chunked: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    pub location: Option<Value>,
    #[serde(default)]
    pub cookies: BTreeMap<String, CookieShape>,
    #[serde(default)]
    pub no_cookies: bool,
    pub body: Option<Value>,
    pub body_json: Option<Value>,
    pub body_contains: Option<String>,
    /// The pixel, whole.
    #[serde(default)]
    pub gif: bool,
}

/// A cookie that the answer sets: its value, or what is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub struct CookieShape(pub CookieAttributes);

impl TryFrom<Value> for CookieShape {
    type Error = serde_json::Error;

    fn try_from(shape: Value) -> Result<Self, Self::Error> {
        Ok(Self(if shape.is_string() {
            CookieAttributes {
                value: Some(shape),
                ..CookieAttributes::default()
            }
        } else {
            serde_json::from_value(shape)?
        }))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CookieAttributes {
    pub value: Option<Value>,
    /// It is taken away.
    pub removed: bool,
    /// True: neither `Max-Age` nor `Expires`.
    pub session: Option<bool>,
    pub max_age: Option<i64>,
    pub http_only: Option<bool>,
    pub secure: Option<bool>,
    pub same_site: Option<String>,
    /// Empty: none is said.
    pub domain: Option<String>,
    pub path: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

fn post() -> String {
    "POST".to_owned()
}

/// Reads a file; the error says where in it.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    parse(&text)
}

pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| format!("{}: {}", error.path(), error.inner()))?;
    json.end().map_err(|error| error.to_string())?;
    Ok(value)
}

impl Case {
    /// What the types cannot say.
    pub fn check(&self, dir: &Path) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.source.trim().is_empty() {
            wrong.push("source: says nothing".to_owned());
        }
        if self.steps.is_empty() {
            wrong.push("steps: none".to_owned());
        }
        for (number, step) in self.steps.iter().enumerate() {
            let number = number + 1;
            if step.request.is_some() == step.raw.is_some() {
                wrong.push(format!("step {number}: needs either request or raw"));
            }
            if let Some(raw) = &step.raw
                && !dir.join(raw).is_file()
            {
                wrong.push(format!("step {number}: there is no file {raw}"));
            }
            if let Some(request) = &step.request {
                let bodies = [
                    request.body.is_some(),
                    request.body_json.is_some(),
                    request.body_base64.is_some(),
                    request.form.is_some(),
                ];
                if bodies.into_iter().filter(|is_given| *is_given).count() > 1 {
                    wrong.push(format!("step {number}: has several bodies"));
                }
            }
            if step.answer.no_cookies && !step.answer.cookies.is_empty() {
                wrong.push(format!("step {number}: both cookies and no_cookies"));
            }
        }
        wrong
    }
}

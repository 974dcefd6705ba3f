//! From a step to the bytes on the socket, and the cookies in between.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cookie::{Cookie, Expiration};

use super::format::Request;

/// What a person's browser sends; without it a hit would count as a machine's.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// Host of the requests, and of the links that the API makes.
pub const HOST: &str = "t.example";

/// A cookie as an answer sets it.
#[derive(Clone, Debug)]
pub struct SetCookie {
    pub name: String,
    pub value: String,
    pub max_age: Option<i64>,
    pub is_session: bool,
    pub is_removed: bool,
    pub http_only: bool,
    pub secure: bool,
    pub same_site: Option<String>,
    /// Empty where none is said.
    pub domain: String,
    pub path: Option<String>,
    /// The header's value.
    pub line: String,
}

/// Reads a `Set-Cookie` header.
pub fn read_cookie(line: &str) -> SetCookie {
    let cookie = Cookie::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let max_age = cookie.max_age().map(|age| age.whole_seconds());
    let expires = match cookie.expires() {
        Some(Expiration::DateTime(at)) => Some(at.unix_timestamp()),
        _ => None,
    };
    SetCookie {
        name: cookie.name().to_owned(),
        value: cookie.value().to_owned(),
        max_age,
        is_session: max_age.is_none() && expires.is_none(),
        is_removed: max_age.is_some_and(|age| age <= 0)
            || (max_age.is_none() && expires.is_some_and(|at| at < 1_000_000_000)),
        http_only: cookie.http_only() == Some(true),
        secure: cookie.secure() == Some(true),
        same_site: cookie.same_site().map(|same_site| same_site.to_string()),
        domain: cookie.domain().unwrap_or_default().to_owned(),
        path: cookie.path().map(str::to_owned),
        line: line.to_owned(),
    }
}

/// The cookies of one browser; domains and paths are not looked at.
#[derive(Debug, Default)]
pub struct Jar(BTreeMap<String, (String, bool)>);

impl Jar {
    pub fn put(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), (value.to_owned(), false));
    }

    pub fn keep(&mut self, cookies: &[SetCookie]) {
        for cookie in cookies {
            if cookie.is_removed {
                self.0.remove(&cookie.name);
            } else {
                self.0.insert(
                    cookie.name.clone(),
                    (cookie.value.clone(), cookie.is_session),
                );
            }
        }
    }

    /// The browser is closed.
    pub fn end_session(&mut self) {
        self.0.retain(|_, (_, is_session)| !*is_session);
    }

    fn line(&self) -> Option<String> {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, (value, _))| format!("{name}={value}"))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// The request as it goes over the wire.
pub fn bytes_of(request: &Request, jar: &Jar) -> Vec<u8> {
    let mut body = body_of(request);
    let mut usual: Vec<(&str, String)> =
        vec![("Host", HOST.to_owned()), ("User-Agent", AGENT.to_owned())];
    usual.extend(jar.line().map(|line| ("Cookie", line)));
    if request.body_json.is_some() {
        usual.push(("Content-Type", "application/json".to_owned()));
    }
    if request.form.is_some() {
        usual.push((
            "Content-Type",
            "application/x-www-form-urlencoded".to_owned(),
        ));
    }
    if request.gzip {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body.unwrap_or_default()).unwrap();
        body = Some(encoder.finish().unwrap());
        usual.push(("Content-Encoding", "gzip".to_owned()));
    }
    match &mut body {
        Some(body) if request.chunked => {
            usual.push(("Transfer-Encoding", "chunked".to_owned()));
            let half = body.len() / 2;
            let mut chunks = Vec::new();
            for part in [&body[..half], &body[half..]] {
                if !part.is_empty() {
                    chunks.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                    chunks.extend_from_slice(part);
                    chunks.extend_from_slice(b"\r\n");
                }
            }
            chunks.extend_from_slice(b"0\r\n\r\n");
            *body = chunks;
        }
        Some(body) => usual.push(("Content-Length", body.len().to_string())),
        None => {}
    }
    let is_given = |name: &str| {
        request
            .headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    };
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, target(&request.path));
    for (name, value) in usual.iter().filter(|(name, _)| !is_given(name)) {
        head += &format!("{name}: {value}\r\n");
    }
    for (name, value) in &request.headers {
        if let Some(value) = value {
            head += &format!("{name}: {value}\r\n");
        }
    }
    let mut bytes = format!("{head}\r\n").into_bytes();
    bytes.extend(body.unwrap_or_default());
    bytes
}

/// A link as the API gave it, without its host.
fn target(path: &str) -> &str {
    match path
        .strip_prefix("http")
        .and_then(|rest| rest.split_once("://"))
    {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => path,
    }
}

fn body_of(request: &Request) -> Option<Vec<u8>> {
    if let Some(text) = &request.body {
        return Some(text.clone().into_bytes());
    }
    if let Some(json) = &request.body_json {
        return Some(json.to_string().into_bytes());
    }
    if let Some(text) = &request.body_base64 {
        return Some(STANDARD.decode(text).expect("body_base64 is base64"));
    }
    let form = request.form.as_ref()?;
    let text = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    Some(text.into_bytes())
}

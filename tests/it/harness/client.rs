//! A client that hides nothing: raw status, every header, and cookies as a browser keeps them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What the server said.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The `Set-Cookie` lines as they came.
    pub fn set_cookies(&self) -> Vec<&str> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens.
    Refused,
    /// The connection ended before a whole answer came.
    Closed,
    /// Nothing came within the client's patience.
    TimedOut,
}

/// One browser (or server), with one connection that it keeps.
pub struct Client {
    address: SocketAddr,
    /// Cookies by name; domains and paths are not looked at.
    pub cookies: BTreeMap<String, String>,
    /// Sent with every request.
    pub headers: HeaderMap,
    /// Longest wait for one answer.
    pub patience: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let mut headers = HeaderMap::new();
        // What a person's browser sends; without it a hit would count as a machine's.
        headers.insert(
            "user-agent",
            HeaderValue::from_static(
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
        );
        Self {
            address,
            cookies: BTreeMap::new(),
            headers,
            patience: Duration::from_secs(10),
            connection: None,
        }
    }

    /// Sets a header that every request carries from now on.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
        self
    }

    /// As the operator, with the API's token.
    pub fn admin(self) -> Self {
        let token = format!("Bearer {}", super::ADMIN_TOKEN);
        self.header("authorization", &token)
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request(Method::GET, path, headers, Bytes::new())
            .await
            .unwrap_or_else(|failure| panic!("GET {path}: {failure:?}"))
    }

    pub async fn post(&mut self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        self.request(
            Method::POST,
            path,
            &[(CONTENT_TYPE.as_str(), content_type)],
            body.into(),
        )
        .await
        .unwrap_or_else(|failure| panic!("POST {path}: {failure:?}"))
    }

    pub async fn post_json(&mut self, path: &str, body: &serde_json::Value) -> Answer {
        self.post(path, "application/json", body.to_string()).await
    }

    /// One request on the kept connection, or on a new one where that has ended.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder().method(method).uri(path);
        let all = request.headers_mut().unwrap();
        all.extend(self.headers.clone());
        all.insert(HOST, self.address.to_string().parse().unwrap());
        if !self.cookies.is_empty() {
            let pairs = self.cookies.iter().map(|(n, v)| format!("{n}={v}"));
            let line = pairs.collect::<Vec<_>>().join("; ");
            all.insert(COOKIE, line.parse().unwrap());
        }
        for (name, value) in headers {
            all.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        let request = request.body(Full::new(body)).unwrap();
        let outcome = tokio::time::timeout(self.patience, self.exchange(request)).await;
        let answer = outcome.unwrap_or(Err(Failure::TimedOut));
        match &answer {
            Ok(answer) => self.keep_cookies(answer),
            Err(_) => self.connection = None,
        }
        answer
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let connection = match self.connection.take() {
            Some(mut connection) => connection.ready().await.is_ok().then_some(connection),
            None => None,
        };
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let response = connection
            .send_request(request)
            .await
            .map_err(|_| Failure::Closed)?;
        self.connection = Some(connection);
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Failure::Closed)?;
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|_| Failure::Refused)?;
        stream.set_nodelay(true).map_err(|_| Failure::Closed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Failure::Closed)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for line in answer.set_cookies() {
            let mut parts = line.split("; ");
            let (name, value) = parts.next().unwrap().split_once('=').unwrap();
            if parts.any(|part| part == "Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Closes the browser: cookies without `Max-Age` go.
    pub fn end_session(&mut self) {
        self.cookies
            .retain(|name, _| !["broadlogId", "deliveryId"].contains(&name.as_str()));
    }

    /// Sends bytes as they are on a connection of their own and returns all that comes back until
    /// the server closes it (so the bytes should ask for `Connection: close`) or patience ends.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut answer = Vec::new();
        let exchange = async {
            // A server that has seen enough closes while we still write.
            let _ = stream.write_all(bytes).await;
            let _ = stream.read_to_end(&mut answer).await;
        };
        let _ = tokio::time::timeout(self.patience, exchange).await;
        answer
    }
}

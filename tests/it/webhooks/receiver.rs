//! A server that is told of hits: it notes what comes and answers as it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::free_port;

/// What one request said.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Received {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn seq(&self) -> i64 {
        self.json()["data"]["seq"].as_i64().unwrap()
    }
}

/// How it answers.
#[derive(Clone, Debug)]
pub enum Manner {
    /// 204.
    Takes,
    /// With these lines instead.
    Says(String),
    /// Refuses what contains the first with the second.
    Refuses(&'static str, String),
    /// Reads, and never says anything.
    Hangs,
    /// 500 and a body without end.
    Floods,
}

#[derive(Default)]
struct Notes {
    received: Vec<Received>,
    manner: Option<Manner>,
}

/// The receiver; gone when it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
    serving: Option<JoinSet<()>>,
}

impl Receiver {
    pub async fn start(manner: Manner) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut receiver = Self {
            address,
            notes: Arc::default(),
            serving: None,
        };
        receiver.set(manner);
        receiver.begin().await;
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?token=in-the-url", self.address)
    }

    pub fn set(&self, manner: Manner) {
        self.notes.lock().unwrap().manner = Some(manner);
    }

    /// What came that it took, in that order.
    pub fn received(&self) -> Vec<Received> {
        self.notes.lock().unwrap().received.clone()
    }

    pub fn count(&self) -> usize {
        self.notes.lock().unwrap().received.len()
    }

    /// Listens (again).
    pub async fn begin(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let notes = Arc::clone(&self.notes);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&notes)));
            }
        });
        self.serving = Some(serving);
    }

    /// Is gone at once, in the middle of whatever it was doing.
    pub async fn kill(&mut self) {
        if let Some(mut serving) = self.serving.take() {
            serving.shutdown().await;
        }
    }
}

async fn serve(stream: TcpStream, notes: Arc<Mutex<Notes>>) {
    let mut stream = BufReader::new(stream);
    while let Some(received) = read(&mut stream).await {
        let manner = notes.lock().unwrap().manner.clone().unwrap();
        let answer = match manner {
            Manner::Says(lines) => Some(lines),
            Manner::Refuses(word, lines) if received.body.contains(word) => Some(lines),
            Manner::Hangs => return std::future::pending().await,
            Manner::Floods => return flood(stream).await,
            Manner::Takes | Manner::Refuses(..) => None,
        };
        let text = match answer {
            Some(lines) => format!("HTTP/1.1 {lines}"),
            None => {
                notes.lock().unwrap().received.push(received);
                "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
            }
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn flood(mut stream: BufReader<TcpStream>) {
    let head = b"HTTP/1.1 500 No\r\ncontent-length: 9000000000\r\n\r\n";
    let mut written = stream.write_all(head).await;
    while written.is_ok() {
        written = stream.write_all(&[b'x'; 65_536]).await;
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
    assert!(
        line.starts_with("POST /hook?token=in-the-url HTTP/1.1"),
        "{line}"
    );
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length: usize = headers["content-length"].parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).unwrap();
    Some(Received { headers, body })
}

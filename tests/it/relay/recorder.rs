//! A tracker that keeps what reaches it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The cookies of every answer.
pub const COOKIES: [&str; 2] = [
    "wteid_111111111111111=4179528021194246163; Max-Age=15552000; Path=/; Secure; SameSite=None",
    "wtsid_111111111111111=1; Path=/; Secure; SameSite=None",
];

/// The running tracker; it ends with the test's runtime.
#[derive(Clone)]
pub struct Recorder {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    status: Arc<AtomicU16>,
}

impl Recorder {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let recorder = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
        };
        let served = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().answer(stream));
            }
        });
        recorder
    }

    /// The status of all answers from now on.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The last request's head as it came.
    pub fn last(&self) -> String {
        self.requests.lock().unwrap().last().unwrap().clone()
    }

    async fn answer(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while let Ok(read) = stream.read_line(&mut head).await
            && read > 2
        {
            let line = head.lines().last().unwrap().to_ascii_lowercase();
            if let Some(given) = line.strip_prefix("content-length: ") {
                length = given.trim().parse().unwrap();
            }
        }
        if head.is_empty() {
            return;
        }
        let mut body = vec![0; length];
        let _ = stream.read_exact(&mut body).await;
        self.requests.lock().unwrap().push(head);
        let status = self.status.load(Ordering::Relaxed);
        let cookies: String = COOKIES
            .iter()
            .map(|cookie| format!("Set-Cookie: {cookie}\r\n"))
            .collect();
        let answer = format!(
            "HTTP/1.1 {status} Status\r\n{cookies}Content-Type: image/gif\r\nContent-Length: \
            6\r\nConnection: close\r\n\r\nGIF89a"
        );
        let _ = stream.get_mut().write_all(answer.as_bytes()).await;
    }
}

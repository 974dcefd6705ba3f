//! Requests written byte by byte, as no client library would send them, and what is said to them.

use crate::harness::TestServer;

pub(super) const AGENT: &str =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A request as bytes; the connection is closed after it.
pub(super) fn request(method: &str, target: &[u8], lines: &[&[u8]], body: &[u8]) -> Vec<u8> {
    let mut bytes = [
        method.as_bytes(),
        b" ",
        target,
        b" HTTP/1.1\r\nHost: t\r\nConnection: close\r\n",
    ]
    .concat();
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    if !body.is_empty() {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn get(target: impl AsRef<[u8]>) -> Vec<u8> {
    request("GET", target.as_ref(), &[AGENT.as_bytes()], b"")
}

pub(super) fn encoded(text: &[u8]) -> String {
    form_urlencoded::byte_serialize(text).collect()
}

#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Said {
    pub(super) fn is_gif(&self) -> bool {
        self.status == 200 && self.body.len() == 43 && self.body.starts_with(b"GIF89a")
    }

    /// To the link's own page, with nothing smuggled into the head.
    pub(super) fn is_redirect(&self) -> bool {
        self.status == 302
            && self
                .head
                .contains("\r\nlocation: https://shop.example/landing")
            && !self
                .head
                .to_ascii_lowercase()
                .contains("\r\nset-cookie: a=b")
    }
}

pub(super) async fn say(server: &TestServer, bytes: &[u8]) -> Said {
    let answer = server.client().raw(bytes).await;
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer to {:?}", shown()));
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head[9..12].parse().unwrap();
    assert!(status < 500, "{status} to {:?}", shown());
    Said {
        status,
        head,
        body: answer[end + 4..].to_vec(),
    }
}

//! Just enough HTTP to look at a server: one request, one connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// An answer; its body is not decoded.
pub struct Answer {
    /// `200`
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Bytes as they came.
    pub body: Vec<u8>,
}

/// Sends a request with a body (or none) and reads until the server closes.
pub fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .context("no HTTP answer")?;
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("no HTTP status")?;
    Ok(Answer { status, head, body })
}

/// `GET` without headers.
pub fn get(address: SocketAddr, target: &str) -> anyhow::Result<Answer> {
    ask(address, "GET", target, &[], "")
}

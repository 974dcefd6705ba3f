//! One request as bytes on a socket of its own, and the answer to it: what a client library would
//! refuse to send or put right is sent as it is.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Answer, Failure};

/// Sends one request and reads one answer. The connection may be kept by the server: the answer's
/// own length ends the reading.
///
/// # Errors
/// There is no whole answer.
pub async fn exchange(
    address: SocketAddr,
    request: &[u8],
    patience: Duration,
) -> Result<Answer, Failure> {
    let is_head = request.starts_with(b"HEAD ");
    let exchange = async {
        let mut stream = TcpStream::connect(address)
            .await
            .map_err(|_| Failure::Refused)?;
        stream.set_nodelay(true).map_err(|_| Failure::Closed)?;
        // A server that has seen enough closes while we still write.
        let _ = stream.write_all(request).await;
        let mut bytes = Vec::new();
        loop {
            let read = stream.read_buf(&mut bytes).await.unwrap_or(0);
            if let Some(answer) = read_answer(&bytes, is_head, read == 0) {
                return Ok(answer);
            }
            if read == 0 {
                return Err(Failure::Closed);
            }
        }
    };
    tokio::time::timeout(patience, exchange)
        .await
        .unwrap_or(Err(Failure::TimedOut))
}

/// The answer, where it is there whole.
fn read_answer(bytes: &[u8], is_head: bool, is_end: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.trim_ascii());
    let status: u16 = std::str::from_utf8(lines.next()?.get(9..12)?)
        .ok()?
        .parse()
        .ok()?;
    if (100..200).contains(&status) {
        return read_answer(rest, is_head, is_end);
    }
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        headers.append(
            HeaderName::from_bytes(&line[..colon]).ok()?,
            HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?,
        );
    }
    let length = headers.get("content-length").map(|length| {
        let length = length.to_str().ok().and_then(|length| length.parse().ok());
        length.expect("the length of an answer is a number")
    });
    let is_chunked = headers.get("transfer-encoding").is_some();
    let body = match length {
        _ if is_head || status == 204 || status == 304 => Vec::new(),
        Some(length) => rest.get(..length)?.to_vec(),
        None if is_chunked => read_chunks(rest)?,
        None if is_end => rest.to_vec(),
        None => return None,
    };
    Some(Answer {
        status,
        headers,
        body: Bytes::from(body),
    })
}

/// The body of a chunked answer; none where it is not whole.
pub fn read_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|part| part == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

#[test]
fn an_answer_ends_where_it_says() {
    let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: \
        chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    for short in 0..whole.len() - 4 {
        assert!(
            read_answer(&whole[..short], false, false).is_none(),
            "{short}"
        );
    }
    let answer = read_answer(whole, false, false).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "abcd"));
    assert_eq!(answer.header("a"), "b");
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n";
    assert!(read_answer(head, false, true).is_none());
    assert!(read_answer(head, true, false).is_some());
}

//! What hyper does with its own options, so that a release that can do more is noticed.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The answers to what one client sends before it ends its side; the paths that were asked for are
/// their bodies.
async fn answers(builder: &Builder, input: String) -> String {
    let (mut client, server) = tokio::io::duplex(4 << 20);
    let echo = service_fn(async |request: Request<Incoming>| {
        let path = request.uri().path().to_owned();
        Ok::<_, Infallible>(Response::new(path))
    });
    let mut builder = builder.clone();
    builder.half_close(true);
    let serving = tokio::spawn(async move {
        let _ = builder.serve_connection(TokioIo::new(server), echo).await;
    });
    client.write_all(input.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut out = Vec::new();
    client.read_to_end(&mut out).await.unwrap();
    serving.await.unwrap();
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn ignoring_invalid_headers_hides_a_request_in_a_body() {
    let body = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    for name in ["Content-Length ", "Content-Length\u{b}"] {
        let input = format!(
            "GET /outer HTTP/1.1\r\nHost: a\r\n{name}: {}\r\n\r\n{body}",
            body.len()
        );
        let mut lenient = Builder::new();
        lenient.ignore_invalid_headers(true);
        assert!(answers(&lenient, input.clone()).await.ends_with("/inner"));

        let strict = answers(&Builder::new(), input).await;
        assert!(strict.starts_with("HTTP/1.1 400 ") && !strict.contains("/inner"));
    }
}

#[tokio::test]
async fn header_floods_and_long_targets_are_refused_whatever_the_limits() {
    let mut wide = Builder::new();
    wide.max_headers(1_000).max_buf_size(2 << 20);
    let flood = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1_001));
    assert!(answers(&wide, flood).await.starts_with("HTTP/1.1 431 "));

    let long = format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
    assert!(
        answers(&wide, long.clone())
            .await
            .starts_with("HTTP/1.1 414 ")
    );
    wide.max_header_size(1 << 20);
    assert!(answers(&wide, long).await.starts_with("HTTP/1.1 414 "));
}

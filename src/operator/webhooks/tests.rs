//! Requests to receivers in this process, with a resolver that can lie.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::connector::Resolve;
use super::post::{Answer, Failure, Poster};
use crate::model::clock::Micros;
use crate::model::webhook::WebhookSecret;

const NOW: Micros = Micros(1_700_000_000_000_000);

/// A resolver that says these addresses, one after another.
fn resolver(answers: &'static [&'static str]) -> (Resolve, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let resolve: Resolve = Arc::new(move |_| {
        let at = count.fetch_add(1, Ordering::SeqCst);
        let address: IpAddr = answers[at.min(answers.len() - 1)].parse().unwrap();
        Box::pin(async move { io::Result::Ok(vec![address]) })
    });
    (resolve, asked)
}

fn loopback() -> Vec<IpNet> {
    vec!["127.0.0.1/32".parse().unwrap()]
}

async fn post(poster: &Poster, url: &str) -> Answer {
    let secret = WebhookSecret::of(vec![7; 32]);
    let body = Bytes::from_static(b"{}");
    poster.send(url, "a_1", &[secret], body, NOW).await
}

/// A receiver that answers every connection with these bytes, and then closes it.
async fn receiver(answer: Vec<u8>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    (port, connections)
}

fn failed(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_name_that_resolves_anew_to_a_private_address_leads_nowhere() {
    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec();
    let (port, connections) = receiver(answer).await;
    // The first look is allowed to lead here, and everything after it lies.
    let (resolve, asked) = resolver(&["127.0.0.1", "127.0.0.2", "169.254.169.254", "::1"]);
    let poster = Poster::new(resolve, &loopback()).unwrap();
    let url = format!("http://crm.example.com:{port}/hook");
    assert_eq!(post(&poster, &url).await, Answer::Taken);
    for address in ["127.0.0.2", "169.254.169.254", "::1"] {
        let failure = failed(post(&poster, &url).await);
        let wanted = format!("{address} is not a public address");
        assert!(failure.answer.starts_with(&wanted), "{failure:?}");
        assert_eq!(failure.status, None);
    }
    // Each connection asked once: what was checked is what was connected to.
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn addresses_in_a_url_are_checked_like_names() {
    let (resolve, asked) = resolver(&["127.0.0.1"]);
    let poster = Poster::new(resolve, &[]).unwrap();
    for url in [
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://10.0.0.1:8443/",
        "http://127.0.0.1/",
    ] {
        let failure = failed(post(&poster, url).await);
        assert!(
            failure.answer.contains("is not a public address"),
            "{url}: {failure:?}"
        );
    }
    let failure = failed(post(&poster, "http://1.1.1.1/").await);
    assert!(failure.answer.contains("plain HTTP"), "{failure:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn of_an_endless_answer_only_the_beginning_is_read() {
    let mut answer =
        b"HTTP/1.1 500 No\r\nretry-after: 7\r\n\r\n\0\x1b[31m<b>broken</b>\xff".to_vec();
    answer.resize(64 << 20, b'x');
    let (port, _) = receiver(answer).await;
    let (resolve, _) = resolver(&["127.0.0.1"]);
    let poster = Poster::new(resolve, &loopback()).unwrap();
    let begun = std::time::Instant::now();
    let failure = failed(post(&poster, &format!("http://a.example:{port}/")).await);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(failure.status, Some(500));
    assert_eq!(failure.retry_after, Some(7 * Micros::SECOND));
    assert!(failure.answer.chars().count() <= 500);
    assert!(!failure.answer.contains(char::is_control), "{failure:?}");
    assert!(failure.answer.contains("broken"), "{failure:?}");
}

#[tokio::test]
async fn redirects_are_failures_and_lead_nowhere() {
    let (other, connections) = receiver(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()).await;
    let answer = format!(
        "HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:{other}/\r\ncontent-length: 0\r\n\r\n"
    );
    let (port, _) = receiver(answer.into_bytes()).await;
    let (resolve, _) = resolver(&["127.0.0.1"]);
    let poster = Poster::new(resolve, &loopback()).unwrap();
    let failure = failed(post(&poster, &format!("http://a.example:{port}/")).await);
    assert_eq!(failure.status, Some(307));
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_head_without_end_is_a_failure() {
    let mut answer = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    answer.resize(1 << 20, b'x');
    let (port, _) = receiver(answer).await;
    let (resolve, _) = resolver(&["127.0.0.1"]);
    let poster = Poster::new(resolve, &loopback()).unwrap();
    let failure = failed(post(&poster, &format!("http://a.example:{port}/")).await);
    assert_eq!(failure.status, None);
}

#[test]
fn nobody_reads_a_secret_out_of_a_debug_text() {
    let secret = WebhookSecret::of(Uuid::from_u128(7).as_bytes().to_vec());
    assert_eq!(format!("{secret:?}"), "(secret)");
}

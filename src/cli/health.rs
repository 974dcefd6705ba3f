//! `sillage health`: asks the server of this configuration how it is, for container engines and
//! supervisors.
//!
//! By default `/livez`, whether the process answers. A server that is not *ready* (spool full, disk
//! full) still redirects, and a supervisor that restarts it for that would take the readers' pages
//! away; so `/readyz` is asked only with `--ready`.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

/// Longest wait for the connection, and for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most bytes of an answer; both are far below.
const MOST_ANSWER: u64 = 16 << 10;

#[derive(Debug, Default, Args)]
pub(super) struct Health {
    /// Ask whether hits can be taken (/readyz) instead of whether the process answers (/livez)
    #[arg(long)]
    ready: bool,
}

/// Asks the server at its configured address and prints what it says; an error where that is not
/// 200. Needs no secret, and nothing but the listener: the database may be down.
pub(super) fn ask_server(asked: &Health, listen: SocketAddr) -> anyhow::Result<()> {
    let path = if asked.ready { "/readyz" } else { "/livez" };
    let address = reachable(listen);
    let answer = get(address, path).with_context(|| format!("http://{address}{path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    let body = body.trim();
    if status != "200" {
        bail!("http://{address}{path}: status {status:?} {body}");
    }
    println!("{body}");
    Ok(())
}

/// Whether a server of ours answers there: its main listener, or that of its metrics.
pub(super) fn is_sillage(listen: SocketAddr, is_metrics: bool) -> bool {
    let (path, word) = match is_metrics {
        true => ("/metrics", "sillage_"),
        false => ("/readyz", "\"spool\""),
    };
    get(reachable(listen), path).is_ok_and(|answer| answer.contains(word))
}

/// A server that listens on every address is asked on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// One request by hand: an HTTP client would be the largest dependency of the program, for two
/// lines.
fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: sillage health\r\nConnection: \
        close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(MOST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one request and returns its first line.
    fn serve(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request)
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .to_owned()
        });
        (address, server)
    }

    #[test]
    fn health_asks_for_life_and_with_ready_for_readiness() {
        for (ready, line) in [
            (false, "GET /livez HTTP/1.1"),
            (true, "GET /readyz HTTP/1.1"),
        ] {
            let (address, server) = serve("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n");
            ask_server(&Health { ready }, address).unwrap();
            assert_eq!(server.join().unwrap(), line);
        }
    }

    #[test]
    fn a_server_that_is_not_ready_is_an_error_that_says_why() {
        let (address, server) =
            serve("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"stopping\"}");
        let error = ask_server(&Health { ready: true }, address).unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        assert!(error.to_string().contains("stopping"), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn no_server_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(ask_server(&Health::default(), address).is_err());
    }

    #[test]
    fn every_address_means_the_loopback_one() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}

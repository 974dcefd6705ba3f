//! `wrk`: as many requests as a server answers, from one thread over 64 keep-alive connections.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::process::{Process, find_program};

/// What a round showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// Answers.
    pub requests: u64,
    /// Answers a second.
    pub rate: f64,
    /// Milliseconds that half of the answers took.
    pub p50: f64,
    /// Milliseconds that 99 of 100 answers took.
    pub p99: f64,
    /// Answers that are neither 2xx nor 3xx, broken connections and time-outs.
    pub failures: u64,
}

/// Runs a round against a URL.
pub async fn run(
    address: SocketAddr,
    target: &str,
    user_agent: &str,
    seconds: u64,
) -> anyhow::Result<Round> {
    let program = find_program("wrk").context("no wrk")?;
    let mut process = Process::spawn(
        "wrk",
        Command::new(program)
            .args(["-t1", "-c64", "--latency", "-H"])
            .arg(format!("User-Agent: {user_agent}"))
            .arg(format!("-d{seconds}s"))
            .arg(format!("http://{address}{target}"))
            .stdout(Stdio::piped()),
        "KILL",
    )?;
    let text = process.finish().await?;
    read(&text).with_context(|| format!("wrk said {text}"))
}

fn read(text: &str) -> Option<Round> {
    let after = |key: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(key))
            .map(str::trim)
    };
    let requests = text
        .lines()
        .find(|line| line.contains(" requests in "))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    let refused: u64 = after("Non-2xx or 3xx responses:").map_or(Some(0), |n| n.parse().ok())?;
    let broken: u64 = after("Socket errors:").map_or(0, |errors| {
        errors
            .split([' ', ','])
            .filter_map(|word| word.parse::<u64>().ok())
            .sum()
    });
    Some(Round {
        requests,
        rate: after("Requests/sec:")?.parse().ok()?,
        p50: milliseconds(after("50%")?)?,
        p99: milliseconds(after("99%")?)?,
        failures: refused + broken,
    })
}

fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 0.001)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else {
        (text.strip_suffix('s')?, 1_000.0)
    };
    Some(number.parse::<f64>().ok()? * factor)
}

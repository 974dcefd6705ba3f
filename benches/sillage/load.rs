//! A load of constant rate, whatever the server does: requests fall due by the clock, not by the
//! answers.
//!
//! 64 keep-alive connections on one thread take what is due in turn. Where all of them wait for
//! answers, requests go out late, and the time since they were due counts as waiting: a slow server
//! cannot hide behind a generator that slows down with it. Requests are rendered before the start,
//! so that the generator takes as little of the processors as it can.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 64;
/// A reader who waited so long has gone.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Rendered requests, one after the other.
#[derive(Default)]
pub struct Script {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What became of the load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answers with 200 or 302.
    pub answered: u64,
    /// Other answers, broken connections, nothing within ten seconds.
    pub failed: u64,
    /// From the moment a request was due (or sent, where its connection waited for that moment) to
    /// its answer, sorted.
    pub waits: Vec<Duration>,
    /// From the first request due to the last answer.
    pub took: Duration,
}

/// Counts while the load runs.
#[derive(Default)]
pub struct Progress {
    answered: AtomicU64,
}

impl Script {
    /// Adds a request that `write` appends.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }
}

impl Progress {
    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Outcome {
    /// The wait that a share of all requests did not exceed.
    pub fn wait(&self, share: f64) -> Duration {
        let last = self.waits.len().saturating_sub(1);
        let index = (self.waits.len() as f64 * share) as usize;
        self.waits.get(index.min(last)).copied().unwrap_or_default()
    }
}

/// Sends a script at `rate` requests a second, on a thread of its own.
pub fn send(
    address: SocketAddr,
    script: Script,
    rate: u64,
    progress: Arc<Progress>,
) -> std::thread::JoinHandle<anyhow::Result<Outcome>> {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(send_all(address, script, rate, progress))
    })
}

async fn send_all(
    address: SocketAddr,
    script: Script,
    rate: u64,
    progress: Arc<Progress>,
) -> anyhow::Result<Outcome> {
    let line = Arc::new(Line {
        script,
        next: AtomicUsize::new(0),
        start: Instant::now() + Duration::from_millis(100),
        rate,
        progress,
    });
    let mut connections = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let line = Arc::clone(&line);
        connections.spawn(async move { line.work(address).await });
    }
    let mut all = Outcome::default();
    while let Some(outcome) = connections.join_next().await {
        let outcome = outcome.context("a connection of the load")?;
        all.answered += outcome.answered;
        all.failed += outcome.failed;
        all.waits.extend(outcome.waits);
    }
    all.took = line.start.elapsed();
    all.waits.sort_unstable();
    Ok(all)
}

/// The line that connections take requests from.
struct Line {
    script: Script,
    next: AtomicUsize,
    start: Instant,
    rate: u64,
    progress: Arc<Progress>,
}

impl Line {
    async fn work(&self, address: SocketAddr) -> Outcome {
        let mut outcome = Outcome::default();
        let mut stream = None;
        let mut buffer = vec![0; 8 << 10];
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = self.script.get(index) else {
                return outcome;
            };
            let due = self.start + Duration::from_nanos(index as u64 * 1_000_000_000 / self.rate);
            let mut since = due;
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
                since = Instant::now();
            }
            let answer = exchange(address, &mut stream, request, &mut buffer);
            match tokio::time::timeout(GIVE_UP, answer).await {
                Ok(Ok(200 | 302)) => {
                    outcome.answered += 1;
                    outcome.waits.push(since.elapsed());
                    self.progress.answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Ok(_)) => outcome.failed += 1,
                _ => {
                    stream = None;
                    outcome.failed += 1;
                }
            }
        }
    }
}

/// Sends a request and reads its whole answer; returns the status.
async fn exchange(
    address: SocketAddr,
    stream: &mut Option<TcpStream>,
    request: &[u8],
    buffer: &mut [u8],
) -> anyhow::Result<u16> {
    let stream = match stream {
        Some(stream) => stream,
        None => {
            let new = TcpStream::connect(address).await?;
            new.set_nodelay(true)?;
            stream.insert(new)
        }
    };
    stream.write_all(request).await?;
    let mut length = 0;
    loop {
        let count = stream.read(&mut buffer[length..]).await?;
        anyhow::ensure!(count > 0, "the server closed the connection");
        length += count;
        if let Some((status, whole)) = read_head(&buffer[..length])?
            && length >= whole
        {
            return Ok(status);
        }
    }
}

/// The status of an answer and the length it has in all, once its head is there.
fn read_head(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    const LENGTH: &[u8] = b"content-length: ";
    let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = &bytes[..end];
    let number = |digits: &[u8]| {
        digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0, |number, byte| number * 10 + usize::from(byte - b'0'))
    };
    let status = number(head.get(9..12).context("no HTTP answer")?);
    let body = head
        .windows(LENGTH.len())
        .position(|part| part.eq_ignore_ascii_case(LENGTH))
        .map_or(0, |at| number(&head[at + LENGTH.len()..]));
    Ok(Some((status as u16, end + 4 + body)))
}

//! Mapp's batches: ten thousand lines in one request, and as many as two senders can bring; and
//! what a reader notices of it.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Options;
use super::database::{Database, Kind};
use super::postgres::{self, Cluster};
use super::rig::probe;
use super::scoreboard::{Bar, Scoreboard, median};
use super::server::Server;

const SECTION: &str = "batch";
const LINES: u64 = 10_000;
const SENDERS: usize = 2;
const TRUST: (&str, &str) = ("TRUST__SENDERS", "[\"127.0.0.1/32\"]");

/// Runs the section.
pub async fn measure(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    for kind in options.databases() {
        if kind == Kind::Postgres && !Cluster::is_installed() {
            board.skip(SECTION, postgres::MISSING);
            continue;
        }
        measure_on(kind, options, board).await?;
    }
    Ok(())
}

async fn measure_on(kind: Kind, options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    board.open(&format!(
        "batch: POST /<track id>/batch, {LINES} lines as Mapp's Node SDK sends them, {}",
        kind.name()
    ));
    let cluster = match kind {
        Kind::Postgres => Some(Cluster::start().await?),
        Kind::Sqlite => None,
    };
    let database = Database::create(cluster.as_ref(), "batch").await?;
    let mut server = database.serve(&[TRUST]).await?;
    let body = body();
    println!("  {:.1} MB a batch", body.len() as f64 / 1e6);
    let name = |what: &str| format!("{}: {what}", kind.name());
    let mut sent = 0;

    let mut sender = Sender::connect(&server).await?;
    let mut times = Vec::new();
    for _ in 0..7 {
        times.push(sender.send(&body).await?.as_secs_f64());
        sent += LINES;
        // Each is measured alone, not beside the storing of the one before.
        server.catch_up().await?;
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    board.add(
        SECTION,
        name("one batch, median"),
        median(&times),
        "s",
        Bar::Below(0.5),
    );
    board.add(
        SECTION,
        name("one batch, slowest of 7"),
        slowest,
        "s",
        Bar::Below(0.5),
    );

    server.forget_peak()?;
    let seconds = Duration::from_secs(options.seconds.unwrap_or(15));
    let started = Instant::now();
    let mut senders = Vec::new();
    for _ in 0..SENDERS {
        let (mut sender, body) = (Sender::connect(&server).await?, body.clone());
        senders.push(tokio::spawn(async move {
            let mut lines = 0;
            while started.elapsed() < seconds {
                sender.send(&body).await?;
                lines += LINES;
            }
            anyhow::Ok((lines, started.elapsed()))
        }));
    }
    let address = server.address;
    let reader = tokio::task::spawn_blocking(move || {
        let mut times = Vec::new();
        while started.elapsed() < seconds {
            let asked = Instant::now();
            probe::get(address, "/r/unknown")?;
            times.push(asked.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::Ok(times)
    });
    let (mut lines, mut took) = (0, Duration::ZERO);
    for sender in senders {
        let (own, elapsed) = sender.await??;
        lines += own;
        took = took.max(elapsed);
    }
    sent += lines;
    let mut times = reader.await??;
    times.sort_by(f64::total_cmp);
    let rate = lines as f64 / took.as_secs_f64();
    board.add(
        SECTION,
        name("sustained"),
        rate,
        "lines/s",
        Bar::AtLeast(30_000.0),
    );
    let place = times.len().saturating_sub(1) * 99 / 100;
    let p99 = times.get(place).copied().unwrap_or_default();
    board.add(
        SECTION,
        name("p99 of a redirect meanwhile"),
        p99,
        "ms",
        Bar::None,
    );
    let peak = server.memory()?.peak as f64 / 1e6;
    board.add(SECTION, name("peak memory"), peak, "MB", Bar::None);
    let caught_up = server.catch_up().await?.as_secs_f64();
    board.add(
        SECTION,
        name("stored after the last answer"),
        caught_up,
        "s",
        Bar::None,
    );
    let (all, different) = database.count_hits().await?;
    let wrong =
        sent.abs_diff(all) + sent.abs_diff(different) + database.count_quarantined().await?;
    board.add(
        SECTION,
        name("missing or too many"),
        wrong as f64,
        "",
        Bar::Exactly(0.0),
    );
    Ok(())
}

/// Lines as the recorded ones of the Node SDK, of two thousand visitors.
fn body() -> Bytes {
    let lines: String = (0..LINES)
        .map(|n| {
            let visitor = n % 2_000;
            format!(
                "wt?p=600,shop.example%2Fde%2Fschuhe%2F{n},,,,,17952799{:05},https%3A%2F%2Fwww.google.de%2Fsearch%3Fq%3Dsch%C3%B6ne%2Cschuhe%26x%3D1,,\
                 &pf=33&cs801=0.2.0&cs802=Node&X-WT-IP=203.0.113.{}&eid=216000000001234{visitor:04}&X-WT-UA=Mozilla%2F5.0%20(Windows%20NT%2010.0%3B%20Win64%3B%20x64)\
                 %20AppleWebKit%2F537.36%20(KHTML%2C%20like%20Gecko)%20Chrome%2F118.0.0.0%20Safari%2F537.36&X-WT-SEC-CH-UA=%22Chromium%22%3Bv%3D%22118%22%2C%20\
                 %22Not%3DA%3FBrand%22%3Bv%3D%2299%22&X-WT-SEC-CH-UA-MOBILE=%3F0&X-WT-SEC-CH-UA-PLATFORM=%22Windows%22\
                 &pu=https%3A%2F%2Fshop.example%2Fde%2Fschuhe%2F{n}%3Fwt_mc%3Dnews.1%26q%3Da%20b\n",
                n % 100_000,
                visitor % 250,
            )
        })
        .collect();
    lines.into()
}

/// One connection that is kept, as an SDK's.
struct Sender {
    requests: SendRequest<Full<Bytes>>,
    host: String,
}

impl Sender {
    async fn connect(server: &Server) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server.address).await?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            requests,
            host: server.address.to_string(),
        })
    }

    /// From the first byte to the answer, which says that all lines are durable.
    async fn send(&mut self, body: &Bytes) -> anyhow::Result<Duration> {
        let request = Request::post("/111111111111111/batch")
            .header("host", &self.host)
            .header("content-type", "text/plain; utf-8")
            .body(Full::new(body.clone()))?;
        let started = Instant::now();
        let answer = self.requests.send_request(request).await?;
        anyhow::ensure!(answer.status() == 200, "batch: {}", answer.status());
        answer.into_body().collect().await?;
        Ok(started.elapsed())
    }
}

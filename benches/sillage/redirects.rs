//! Redirects in a burst, against nginx in the same run: rounds of nginx, durable and fast take
//! turns, so that what else the machine does hits all three alike. After each round the database
//! catches up and every answer is counted.

use super::Options;
use super::database::{Database, Kind};
use super::mailing::Mailing;
use super::nginx::Nginx;
use super::postgres::{self, Cluster};
use super::process::find_program;
use super::rig::probe;
use super::scoreboard::{Bar, Scoreboard, median};
use super::server::Server;
use super::traffic::BROWSER;
use super::wrk::{self, Round};

const SECTION: &str = "redirects";
/// Connections of wrk: as many answers may be on the way when it stops counting.
const IN_FLIGHT: u64 = 64;

/// Runs the section.
pub async fn measure(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    if find_program("wrk").is_none() {
        board.skip(SECTION, "no wrk (Debian package wrk)");
        return Ok(());
    }
    for kind in options.databases() {
        if kind == Kind::Postgres && !Cluster::is_installed() {
            board.skip("redirects on Postgres", postgres::MISSING);
            continue;
        }
        measure_on(kind, options, board).await?;
    }
    Ok(())
}

/// One ack mode and what its rounds showed.
struct Subject {
    ack: &'static str,
    bar: f64,
    database: Database,
    server: Server,
    stored: u64,
    rounds: Vec<Round>,
    ratios: Vec<f64>,
    resident: u64,
    /// Stored twice, or not stored, by the count of rows.
    wrong: u64,
    /// By the server's own count.
    lost: u64,
}

async fn measure_on(kind: Kind, options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    let seconds = options.seconds.unwrap_or(10);
    board.open(&format!(
        "redirects on {}: wrk, one thread, 64 connections, {seconds} s, {} rounds",
        kind.name(),
        options.rounds
    ));
    let cluster = match kind {
        Kind::Postgres => Some(Cluster::start().await?),
        Kind::Sqlite => None,
    };
    let mailing = Mailing::of(1_000)?;
    let target = format!("/r/{}", mailing.token(1, Some(0)).encode(&mailing.keys));
    let mut subjects = Vec::new();
    for (ack, bar) in [("durable", 0.30), ("fast", 0.55)] {
        let database = Database::create(cluster.as_ref(), ack).await?;
        mailing.write(&database.store).await?;
        let server = database.serve(&[("SPOOL__ACK", ack)]).await?;
        // The first click fetches the link into the local copy.
        let answer = probe::ask(
            server.address,
            "GET",
            &target,
            &[("user-agent", BROWSER)],
            "",
        )?;
        anyhow::ensure!(
            answer.status == 302 && answer.head.contains("https://shop.example/spring/"),
            "no redirect: {}",
            answer.head
        );
        subjects.push(Subject {
            ack,
            bar,
            database,
            server,
            stored: 1,
            rounds: Vec::new(),
            ratios: Vec::new(),
            resident: 0,
            wrong: 0,
            lost: 0,
        });
    }
    let nginx = match find_program("nginx") {
        Some(_) => Some(Nginx::start().await?),
        None => {
            board.skip("ratio to nginx", "no nginx (Debian package nginx-light)");
            None
        }
    };
    let mut measures = Vec::new();
    for _ in 0..options.rounds {
        let measure = match &nginx {
            Some(nginx) => {
                let round = wrk::run(nginx.address, &target, BROWSER, seconds).await?;
                println!("  nginx    {}", told(&round));
                measures.push(round.rate);
                Some(round.rate)
            }
            None => None,
        };
        for subject in &mut subjects {
            subject.run(&target, seconds, measure).await?;
        }
    }
    if nginx.is_some() {
        board.add(
            SECTION,
            format!("{}: nginx", kind.name()),
            median(&measures),
            "/s",
            Bar::None,
        );
    }
    for subject in &subjects {
        subject.report(kind, board);
    }
    Ok(())
}

impl Subject {
    async fn run(
        &mut self,
        target: &str,
        seconds: u64,
        measure: Option<f64>,
    ) -> anyhow::Result<()> {
        let cpu = self.server.cpu_seconds();
        let round = wrk::run(self.server.address, target, BROWSER, seconds).await?;
        let cpu = self.server.cpu_seconds() - cpu;
        let memory = self.server.memory()?;
        let backlog = self.server.backlog()?;
        let caught_up = self.server.catch_up().await?;
        let (stored, different) = self.database.count_hits().await?;
        let new = stored - self.stored;
        // wrk does not count the answers that were on the way when it stopped, and their hits are
        // stored all the same.
        let right = round.requests..=round.requests + IN_FLIGHT;
        if !right.contains(&new) {
            self.wrong += new.abs_diff(round.requests);
        }
        self.wrong += stored - different;
        self.lost = self.server.counter("sillage_hits_lost_total")?;
        self.stored = stored;
        self.resident = self.resident.max(memory.peak);
        println!(
            "  {:<8} {}{}; {:.1} µs of processor each; memory {:.0} MB, peak {:.0} MB; backlog \
            {backlog}, caught up in {:.1} s; {} answered, {new} stored",
            self.ack,
            told(&round),
            measure.map_or(String::new(), |rate| format!(
                ", {:.3} × nginx",
                round.rate / rate
            )),
            cpu * 1e6 / round.requests as f64,
            memory.resident as f64 / 1e6,
            memory.peak as f64 / 1e6,
            caught_up.as_secs_f64(),
            round.requests,
        );
        self.ratios.extend(measure.map(|rate| round.rate / rate));
        self.rounds.push(round);
        Ok(())
    }

    fn report(&self, kind: Kind, board: &mut Scoreboard) {
        let name = |what: &str| format!("{}, ack {}: {what}", kind.name(), self.ack);
        let of =
            |pick: fn(&Round) -> f64| median(&self.rounds.iter().map(pick).collect::<Vec<_>>());
        board.add(SECTION, name("redirects"), of(|r| r.rate), "/s", Bar::None);
        if !self.ratios.is_empty() {
            board.add(
                SECTION,
                name("of nginx"),
                median(&self.ratios),
                "×",
                Bar::AtLeast(self.bar),
            );
        }
        board.add(SECTION, name("p50"), of(|r| r.p50), "ms", Bar::None);
        board.add(SECTION, name("p99"), of(|r| r.p99), "ms", Bar::Below(25.0));
        let memory = self.resident as f64 / 1e6;
        board.add(SECTION, name("peak memory"), memory, "MB", Bar::Below(80.0));
        let failures = self.rounds.iter().map(|r| r.failures).sum::<u64>() as f64;
        board.add(
            SECTION,
            name("answers but 302"),
            failures,
            "",
            Bar::Exactly(0.0),
        );
        let wrong = (self.wrong + self.lost) as f64;
        board.add(
            SECTION,
            name("hits lost or twice"),
            wrong,
            "",
            Bar::Exactly(0.0),
        );
    }
}

fn told(round: &Round) -> String {
    format!(
        "{:>7.0}/s, p50 {:.2} ms, p99 {:.2} ms",
        round.rate, round.p50, round.p99
    )
}

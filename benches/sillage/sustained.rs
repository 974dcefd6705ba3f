//! From the request to the row that everyone can see, for a minute: load, server and Postgres on
//! the same processors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Options;
use super::database::Database;
use super::load::{self, Progress, Script};
use super::mailing::Mailing;
use super::postgres::{self, Cluster};
use super::process::own_cpu_seconds;
use super::scoreboard::{Bar, Scoreboard, median};
use super::server::Server;
use super::traffic::{ORIGIN, Traffic};

const SECTION: &str = "sustained";
/// Seconds between two lines on the terminal.
const STEP: u64 = 10;

/// Runs the section.
pub async fn measure(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    if !Cluster::is_installed() {
        board.skip(SECTION, postgres::MISSING);
        return Ok(());
    }
    let (seconds, rate) = (options.seconds.unwrap_or(60), options.rate);
    board.open(&format!(
        "sustained: {rate} requests/s for {seconds} s on Postgres, ack durable, {} messages",
        options.messages
    ));
    let cluster = Cluster::start().await?;
    let database = Database::create(Some(&cluster), "sustained").await?;
    let mailing = Mailing::of(options.messages)?;
    mailing.write(&database.store).await?;
    let mut script = Script::default();
    let mut traffic = Traffic::of(&mailing);
    for _ in 0..rate * seconds {
        let request = traffic.next();
        script.add(|out| request.write(out));
    }
    let settings = [
        ("SPOOL__ACK", "durable"),
        ("TRUST__PROXIES", "127.0.0.1/32"),
        ("CORS__ORIGINS", ORIGIN),
    ];
    let mut server = database.serve(&settings).await?;
    cluster.checkpoint().await?;

    let progress = Arc::new(Progress::default());
    let started = Instant::now();
    let sending = load::send(server.address, script, rate, Arc::clone(&progress));
    let mut last = Step::look(&server, &cluster, &progress)?;
    let mut backlogs = Vec::new();
    for second in 1..=seconds {
        tokio::time::sleep_until((started + Duration::from_secs(second)).into()).await;
        if second % STEP == 0 || second == seconds {
            let step = Step::look(&server, &cluster, &progress)?;
            step.tell(&last, started);
            backlogs.push(step.backlog as f64);
            last = step;
        } else {
            backlogs.push(server.backlog()? as f64);
        }
    }
    let outcome = tokio::task::spawn_blocking(move || sending.join())
        .await?
        .map_err(|_| anyhow::anyhow!("the load panicked"))??;
    let memory = server.memory()?;
    server.catch_up().await?;
    let took = started.elapsed();
    let (stored, different) = database.count_hits().await?;
    let quarantined = database.count_quarantined().await?;

    // The first third fills caches. A moment's backlog says little: a checkpoint of Postgres holds
    // everything up for a second.
    let third = backlogs.len() / 3;
    let growth = median(&backlogs[backlogs.len() - third..]) - median(&backlogs[third..2 * third]);
    let most = backlogs.iter().copied().fold(0.0, f64::max);
    let add = |board: &mut Scoreboard, name: &str, value: f64, unit, bar| {
        board.add(SECTION, name, value, unit, bar)
    };
    let per_second = |count: u64, time: Duration| count as f64 / time.as_secs_f64();
    add(board, "offered", rate as f64, "/s", Bar::None);
    let answered = per_second(outcome.answered, outcome.took);
    add(board, "answered", answered, "/s", Bar::None);
    let during = per_second(last.stored, Duration::from_secs(seconds));
    add(board, "visible while it ran", during, "/s", Bar::None);
    let visible = per_second(stored, took);
    add(
        board,
        "until all were visible",
        visible,
        "/s",
        Bar::AtLeast(10_000.0),
    );
    // Less than a second's hits is the swing of the batches.
    let bar = Bar::Below(rate as f64);
    add(
        board,
        "backlog, last third above the middle",
        growth,
        "hits",
        bar,
    );
    add(board, "largest backlog", most, "hits", Bar::None);
    let milliseconds = |share| outcome.wait(share).as_secs_f64() * 1e3;
    add(board, "answers p50", milliseconds(0.50), "ms", Bar::None);
    add(board, "answers p99", milliseconds(0.99), "ms", Bar::None);
    add(
        board,
        "peak memory",
        memory.peak as f64 / 1e6,
        "MB",
        Bar::Below(80.0),
    );
    add(
        board,
        "requests without their answer",
        outcome.failed as f64,
        "",
        Bar::Exactly(0.0),
    );
    let lost = outcome.answered.saturating_sub(different) as f64;
    add(
        board,
        "answered and not stored",
        lost,
        "",
        Bar::Exactly(0.0),
    );
    add(
        board,
        "stored twice",
        (stored - different) as f64,
        "",
        Bar::Exactly(0.0),
    );
    add(
        board,
        "in quarantine",
        quarantined as f64,
        "",
        Bar::Exactly(0.0),
    );
    Ok(())
}

/// How far everything was at a moment.
struct Step {
    at: Instant,
    answered: u64,
    stored: u64,
    backlog: u64,
    cpu: [f64; 3],
}

impl Step {
    fn look(server: &Server, cluster: &Cluster, progress: &Progress) -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            answered: progress.answered(),
            stored: server.counter("sillage_hits_stored_total")?,
            backlog: server.backlog()?,
            cpu: [
                server.cpu_seconds(),
                cluster.cpu_seconds(),
                own_cpu_seconds(),
            ],
        })
    }

    fn tell(&self, before: &Self, started: Instant) {
        let passed = self.at.duration_since(before.at).as_secs_f64();
        let share = |index: usize| (self.cpu[index] - before.cpu[index]) / passed * 100.0;
        println!(
            "  {:>3.0} s: {:>6.0} answered/s, {:>6.0} stored/s, backlog {:>7}; processor: server \
            {:.0} %, postgres {:.0} %, load {:.0} %",
            self.at.duration_since(started).as_secs_f64(),
            (self.answered - before.answered) as f64 / passed,
            (self.stored - before.stored) as f64 / passed,
            self.backlog,
            share(0),
            share(1),
            share(2),
        );
    }
}

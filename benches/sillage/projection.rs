//! The projection alone: a full spool, nobody asks anything, and the time until the database has it
//! all.

use std::path::Path;
use std::time::{Duration, Instant};

use sillage::both;
use sillage::door::{
    Clock, Projection, ProjectionRules, Rules, Sink as _, Spool, SpoolLimits, Store, waiting,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Options;
use super::database::{Database, Kind, PATIENCE};
use super::mailing::Mailing;
use super::postgres::{self, Cluster};
use super::process::own_cpu_seconds;
use super::scoreboard::{Bar, Scoreboard};
use super::traffic::Traffic;

const SECTION: &str = "projection";
/// Hits of one commit while 64 connections send them.
const GROUP: usize = 64;

/// Runs the section.
pub async fn measure(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    for kind in options.databases() {
        if kind == Kind::Postgres && !Cluster::is_installed() {
            board.skip("projection into Postgres", postgres::MISSING);
            continue;
        }
        board.open(&format!(
            "projection into {}: {} hits of {} messages",
            kind.name(),
            options.hits,
            options.messages
        ));
        measure_into(kind, options, board).await?;
    }
    Ok(())
}

async fn measure_into(kind: Kind, options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    let cluster = match kind {
        Kind::Postgres => Some(Cluster::start().await?),
        Kind::Sqlite => None,
    };
    let database = Database::create(cluster.as_ref(), "projection").await?;
    let mailing = Mailing::of(options.messages)?;
    mailing.write(&database.store).await?;
    let filled = Instant::now();
    fill(database.dir(), Traffic::of(&mailing), options.hits).await?;
    let took = filled.elapsed().as_secs_f64();
    println!("  spool filled in {took:.1} s");
    if let Some(cluster) = &cluster {
        cluster.checkpoint().await?;
    }

    let cpu = |cluster: &Option<Cluster>| {
        let postgres = cluster.as_ref().map_or(0.0, Cluster::cpu_seconds);
        (own_cpu_seconds(), postgres)
    };
    let before = cpu(&cluster);
    let statistics = options.statistics.then(|| analyse(database.store.clone()));
    let took = project(&database.url, database.dir(), &database.store)
        .await?
        .as_secs_f64();
    if let Some(task) = statistics {
        task.abort();
    }
    let after = cpu(&cluster);
    println!(
        "  {took:.2} s; processor: projection {:.1} s, postgres {:.1} s",
        after.0 - before.0,
        after.1 - before.1
    );
    let (stored, different) = database.count_hits().await?;
    let name = |what: &str| format!("into {}{what}", kind.name());
    board.add(
        SECTION,
        name(""),
        options.hits as f64 / took,
        "hits/s",
        Bar::AtLeast(25_000.0),
    );
    let wrong = (options.hits as u64).abs_diff(different) + (stored - different);
    board.add(
        SECTION,
        name(": hits lost or twice"),
        wrong as f64,
        "",
        Bar::Exactly(0.0),
    );
    Ok(())
}

/// What a store has that is not young any more.
fn analyse(store: Store) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let sql = "analyze";
            let done: Result<(), sqlx::Error> =
                both!(store.reader(), pool => sqlx::query(sql).execute(pool).await.map(|_| ()));
            if let Err(error) = done {
                eprintln!("  no statistics: {error}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
}

fn limits() -> SpoolLimits {
    SpoolLimits {
        max_bytes: 4 << 30,
        linger: Duration::ZERO,
    }
}

/// Writes a spool as a server leaves it behind whose database is away.
pub async fn fill(dir: &Path, mut traffic: Traffic<'_>, hits: usize) -> anyhow::Result<()> {
    let clock = Clock::system();
    let mailing = traffic.mailing();
    let rules = Rules::new(mailing.keys.clone());
    let (spool, reader, writer) = Spool::open(dir, limits(), &clock).await?;
    drop(reader);
    let mut left = hits;
    while left > 0 {
        let count = left.min(GROUP);
        left -= count;
        let receipts: Vec<_> = (0..count)
            .map(|_| spool.offer(&[traffic.next().hit(mailing, &rules, &clock)]))
            .collect();
        for receipt in receipts {
            receipt.durable(Duration::from_secs(10)).await?;
        }
    }
    drop(spool);
    writer.await?;
    Ok(())
}

/// Projects what a spool holds; returns the time it took. `counts` looks how far it is.
pub async fn project(url: &str, dir: &Path, counts: &Store) -> anyhow::Result<Duration> {
    let clock = Clock::system();
    // As many connections as a server has, not the few of the preparation.
    let store = Store::open(url, 10, PATIENCE).await?;
    store.ping().await?;
    let (spool, reader, writer) = Spool::open(dir, limits(), &clock).await?;
    let last = last_group(dir).await?;
    let projection = Projection::new(
        store.clone(),
        reader,
        clock,
        ProjectionRules {
            unique: vec!["email".to_owned()],
            window: 30 * 24 * sillage::door::Micros::HOUR,
            ..ProjectionRules::default()
        },
        Duration::ZERO,
    );
    let stop = CancellationToken::new();
    let spool_id = waiting::status(dir).await?.id;
    let started = Instant::now();
    let running = tokio::spawn(projection.run(stop.clone(), Duration::ZERO));
    while position(counts, spool_id).await? < last {
        anyhow::ensure!(!running.is_finished(), "the projection ended");
        anyhow::ensure!(
            started.elapsed() < Duration::from_secs(300),
            "the projection does not end"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = started.elapsed();
    spool.close().await;
    stop.cancel();
    running.await?;
    writer.await?;
    store.close().await;
    Ok(took)
}

/// How far the database has read the spool.
async fn position(store: &Store, spool: Uuid) -> anyhow::Result<i64> {
    let sql = "select position from spool_positions where spool_id = $1";
    let position: Option<i64> = both!(store.reader(), pool => sqlx::query_scalar(sql).bind(spool).fetch_optional(pool).await)?;
    Ok(position.unwrap_or(0))
}

async fn last_group(dir: &Path) -> anyhow::Result<i64> {
    let spool =
        sqlx::SqlitePool::connect(&format!("sqlite://{}", dir.join("spool.db").display())).await?;
    let last = sqlx::query_scalar("select max(seq) from groups")
        .fetch_one(&spool)
        .await?;
    spool.close().await;
    Ok(last)
}

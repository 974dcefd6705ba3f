//! Several servers that store at once: how much more they store together than one alone, with their
//! database beside them and a round trip of 20 ms away. All have hits of the same messages.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Options;
use super::database::Database;
use super::far::far_away;
use super::mailing::Mailing;
use super::postgres::{self, Cluster};
use super::process::scratch_dir;
use super::projection::{fill, project};
use super::scoreboard::{Bar, Scoreboard};
use super::traffic::Traffic;

const SECTION: &str = "servers";

/// Runs the section.
pub async fn measure(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    if !Cluster::is_installed() {
        board.skip("several servers", postgres::MISSING);
        return Ok(());
    }
    board.open(&format!(
        "several servers: {} hits of {} messages for each",
        options.hits, options.messages
    ));
    for (servers, millis, bar) in [(2, 0, 1.3), (3, 20, 2.2)] {
        let away = Duration::from_millis(millis);
        let one = rate(options, 1, away, board).await?;
        let several = rate(options, servers, away, board).await?;
        board.add(
            SECTION,
            format!("{servers} servers, {millis} ms away: times one"),
            several / one,
            "",
            Bar::AtLeast(bar),
        );
    }
    Ok(())
}

/// Hits a second of so many servers, each with a full spool.
async fn rate(
    options: &Options,
    servers: usize,
    away: Duration,
    board: &mut Scoreboard,
) -> anyhow::Result<f64> {
    let cluster = Cluster::start().await?;
    let database = Database::create(Some(&cluster), "servers").await?;
    let mailing = Mailing::of(options.messages)?;
    mailing.write(&database.store).await?;
    let mut dirs = Vec::new();
    for server in 0..servers as u64 {
        let dir = scratch_dir("data")?;
        let traffic = Traffic::of_server(&mailing, server);
        fill(dir.path(), traffic, options.hits).await?;
        dirs.push(dir);
    }
    cluster.checkpoint().await?;
    let url = match away {
        Duration::ZERO => database.url.clone(),
        _ => far_away(&database.url, away).await?,
    };
    let started = Instant::now();
    let all = dirs.iter().map(|dir| one_of(&url, dir.path(), &database));
    futures_util::future::try_join_all(all).await?;
    let took = started.elapsed().as_secs_f64();
    let (stored, different) = database.count_hits().await?;
    let expected = (options.hits * servers) as u64;
    let name = format!("{servers} servers, {} ms away", away.as_millis());
    let rate = expected as f64 / took;
    board.add(SECTION, name.clone(), rate, "hits/s", Bar::None);
    let wrong = expected.abs_diff(different) + (stored - different);
    let name = format!("{name}: hits lost or twice");
    board.add(SECTION, name, wrong as f64, "", Bar::Exactly(0.0));
    Ok(rate)
}

async fn one_of(url: &str, dir: &Path, database: &Database) -> anyhow::Result<()> {
    project(url, dir, &database.store).await.map(|_| ())
}

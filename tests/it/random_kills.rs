//! Three servers on one Postgres, and any of the four is killed at any moment: what was answered is
//! stored once, whoever follows the hits gets each once, and the figures are those of the hits.
//!
//! A dozen kills by default; `SILLAGE_IT_MINUTES=20` goes on for as long.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::harness::{Campaign, Client, Db, Engine, Load, PostgresServer, TestServer, wait_for};

const SERVERS: usize = 3;
const KILLS: usize = 12;
const PER_SECOND: u32 = 150;

/// xorshift64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Reads hits from cursor to cursor, from whichever server answers, until `stop` and then to the
/// end; returns their ids as they came.
async fn follow(addresses: Vec<SocketAddr>, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut clients: Vec<Client> = addresses
        .into_iter()
        .map(|address| Client::new(address).admin())
        .collect();
    let (mut cursor, mut ids) = ("0".to_owned(), Vec::new());
    for turn in 0.. {
        let is_last = stop.load(Ordering::Acquire);
        let path = format!("/api/v1/hits?limit=1000&after={cursor}");
        let client = &mut clients[turn % SERVERS];
        let answer = client.request(Method::GET, &path, &[], Bytes::new()).await;
        // A page whose end is missing was cut off by a kill: it is asked for again.
        let page = answer
            .ok()
            .filter(|answer| answer.status == 200)
            .and_then(|answer| {
                let lines = answer.text();
                let lines = lines.lines().map(serde_json::from_str);
                let mut lines: Vec<Value> = lines.collect::<Result<_, _>>().ok()?;
                let next = lines.pop()?.get("cursor")?.as_str()?.to_owned();
                Some((lines, next))
            });
        let Some((hits, next)) = page else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        ids.extend(
            hits.iter()
                .map(|hit| hit["id"].as_str().unwrap().to_owned()),
        );
        if is_last && next == cursor {
            break;
        }
        cursor = next;
    }
    ids
}

/// How long stored hits stayed above the horizon, in order.
async fn watch_horizon(db: Db, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let (mut waiting, mut behind): (Vec<(i64, Instant)>, Vec<Duration>) = Default::default();
    while !stop.load(Ordering::Acquire) {
        let seen = async {
            let last = "select coalesce(max(seq), 0)::bigint from hits";
            let last = db.try_number(last).await?;
            let horizon = db.try_number("select seq::bigint from hit_horizon").await?;
            Ok::<_, sqlx::Error>((last, horizon))
        };
        // Postgres may be away.
        if let Ok((last, horizon)) = seen.await {
            if waiting.last().is_none_or(|(seq, _)| *seq < last) {
                waiting.push((last, Instant::now()));
            }
            waiting.retain(|(seq, since)| {
                let is_readable = *seq <= horizon;
                if is_readable {
                    behind.push(since.elapsed());
                }
                !is_readable
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    behind.sort_unstable();
    behind
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_and_postgres_lose_nothing_whoever_is_killed() {
    let seed = std::env::var("SILLAGE_IT_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| getrandom::u64().unwrap()).max(1);
    println!("SILLAGE_IT_SEED={seed}");
    let minutes = std::env::var("SILLAGE_IT_MINUTES")
        .ok()
        .and_then(|n| n.parse::<u64>().ok());
    let mut chance = Chance(seed);

    let mut postgres = PostgresServer::start().await;
    let url = postgres.new_database().await;
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(
            TestServer::on(Engine::Postgres)
                // On a busy machine a flush may take longer than a reader waits. What is answered
                // before it is durable is no promise, and a kill may take it along.
                .with("SPOOL__PATIENCE", "30s")
                .database(&url)
                .start()
                .await,
        );
    }
    let mail = Campaign::make(servers[0].db(), 1).await;
    for server in &servers {
        // The link is in each local copy before the first kill.
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let addresses: Vec<SocketAddr> = servers.iter().map(TestServer::address).collect();
    let reader = tokio::spawn(follow(addresses, Arc::clone(&stop)));
    let horizon = tokio::spawn(watch_horizon(Db::postgres(&url), Arc::clone(&stop)));
    let loads: Vec<Load> = ["one", "two", "three"]
        .into_iter()
        .zip(&servers)
        .map(|(name, server)| Load::start(name, server.address(), &mail, 4, Some(PER_SECOND)))
        .collect();

    let began = Instant::now();
    let mut kills = [0; SERVERS + 1];
    loop {
        let is_over = match minutes {
            Some(minutes) => began.elapsed() >= Duration::from_secs(minutes * 60),
            None => kills.iter().sum::<usize>() >= KILLS && kills.iter().all(|count| *count > 0),
        };
        if is_over {
            break;
        }
        tokio::time::sleep(Duration::from_millis(chance.below(1_500))).await;
        let which = chance.below(SERVERS as u64 + 1) as usize;
        kills[which] += 1;
        match servers.get_mut(which) {
            Some(server) => {
                server.kill().await;
                server.launch();
            }
            None => {
                postgres.kill().await;
                tokio::time::sleep(Duration::from_millis(chance.below(1_500))).await;
                postgres.start_again().await;
            }
        }
    }

    let mut reports = Vec::new();
    for (server, load) in servers.iter_mut().zip(loads) {
        server.wait_ready().await;
        reports.push(load.stop().await);
    }
    let db = Db::postgres(&url);
    let mut answered = 0;
    for (server, report) in servers.iter().zip(&reports) {
        server.wait_drained(Duration::from_secs(120)).await;
        let comparison = report.compare(&db).await;
        println!("{comparison:?}");
        comparison.assert_stored_once();
        assert_eq!(report.wrong(), 0, "an answer is a redirect or a pixel");
        answered += comparison.answered;
    }
    assert!(answered > 1_000, "there was load: {answered}");
    let hits = db.hits().await;
    // A block of numbers that a killed server took ends with its session.
    wait_for(
        "the horizon reaches all hits",
        Duration::from_secs(30),
        async || db.number("select count(*) from readable_hits").await == hits,
    )
    .await;
    stop.store(true, Ordering::Release);
    let read = reader.await.unwrap();
    let once: BTreeSet<&String> = read.iter().collect();
    let expected = (hits, hits);
    assert_eq!(
        (read.len() as i64, once.len() as i64),
        expected,
        "a reader gets each hit once"
    );
    let behind = horizon.await.unwrap();
    let share = |share: f64| behind.get((behind.len() as f64 * share) as usize);
    println!(
        "kills of each server and of Postgres {kills:?} in {:?}, {hits} hits; stored hits were above \
         the horizon for {:?} (median), {:?} (99th percentile), {:?} at most",
        began.elapsed(),
        share(0.5),
        share(0.99),
        behind.last()
    );
    servers[0].recount().await;
    for server in servers {
        server.finish().await;
    }
}

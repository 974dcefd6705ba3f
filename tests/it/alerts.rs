//! `static/alerts/sillage.rules.yml` in each fault of the real server: its alerts fire, no others
//! do, and they end after it.
//!
//! What the server's `/metrics` says before, in and after a fault is handed to Prometheus' own
//! `promtool`, each answer as that of so many minutes: nobody has to wait for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use sillage::door::{Clock, Dialect, Hit, HitId, Kind, Micros, Sink as _, Spool, SpoolLimits};
use tokio::net::TcpStream;

use crate::full_spool::hold_hits;
use crate::harness::{
    Campaign, Client, Engine, FullDisk, Load, PostgresServer, SIGNING_KEY, TestServer, new_dir,
    on_both, wait_for,
};
use crate::slow_disk::Stall;

const RULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/static/alerts/sillage.rules.yml"
);
const SOON: Duration = Duration::from_secs(30);
/// Minutes: longer than every `for` and every range of the rules.
const LONG: usize = 25;

/// What a server said of itself, minute by minute.
#[derive(Default)]
struct Story {
    /// The data directory has a disk of its own; how full the machine's is says nothing.
    has_own_disk: bool,
    minutes: usize,
    /// From which minute on, for how many, what.
    series: BTreeMap<String, Vec<(usize, usize, String)>>,
    /// Minutes, and the alerts that are to fire then.
    expected: Vec<(usize, Vec<&'static str>)>,
}

impl Story {
    /// What the server says now, said for so many minutes; in the last of them just these alerts
    /// fire.
    async fn tell(&mut self, server: &TestServer, minutes: usize, firing: &[&'static str]) {
        let mut client = server.client().admin();
        self.tell_to(&mut client, minutes, firing).await;
    }

    /// The same, asked by a client that is in already.
    async fn tell_to(&mut self, client: &mut Client, minutes: usize, firing: &[&'static str]) {
        let text = client.get("/metrics").await.text();
        for line in text.lines().filter(|line| line.starts_with("sillage_")) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let is_of_the_machine = name.starts_with("sillage_data_dir_") && !self.has_own_disk;
            if !name.contains("_bucket") && !is_of_the_machine {
                let told = (self.minutes, minutes, value.to_owned());
                self.series.entry(name.to_owned()).or_default().push(told);
            }
        }
        self.minutes += minutes;
        let mut firing = firing.to_vec();
        firing.sort_unstable();
        self.expected.push((self.minutes - 1, firing));
    }

    /// Has the rules hold.
    fn check(&self) {
        let mut test = format!("rule_files: ['{RULES}']\nevaluation_interval: 1m\ntests:\n");
        test += "  - interval: 1m\n    input_series:\n";
        for (name, told) in &self.series {
            let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
            let (mut values, mut at) = (Vec::new(), 0);
            for (from, minutes, value) in told {
                values.extend(std::iter::repeat_n("_", from - at));
                values.extend(std::iter::repeat_n(value.as_str(), *minutes));
                at = from + minutes;
            }
            let _ = writeln!(
                test,
                "      - series: '{name}{{job=\"sillage\",instance=\"one\",{labels}'\n        values: '{}'",
                values.join(" ")
            );
        }
        test += "    promql_expr_test:\n";
        for (minute, firing) in &self.expected {
            let _ = writeln!(
                test,
                "      - expr: 'group by (alertname) (ALERTS{{alertstate=\"firing\"}})'\n        eval_time: {minute}m"
            );
            if !firing.is_empty() {
                test += "        exp_samples:\n";
            }
            for alert in firing {
                let _ = writeln!(
                    test,
                    "          - labels: '{{alertname=\"{alert}\"}}'\n            value: 1"
                );
            }
        }
        let file = new_dir("alerts").join("test.yml");
        std::fs::write(&file, &test).unwrap();
        let output = Command::new("promtool")
            .args(["test", "rules"])
            .arg(&file)
            .output()
            .expect("promtool: Debian's package prometheus has it");
        assert!(
            output.status.success(),
            "{}{}\n{test}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn the_rules_are_rules() {
    let output = Command::new("promtool")
        .args(["check", "rules", RULES])
        .output()
        .expect("promtool: Debian's package prometheus has it");
    assert!(output.status.success(), "{output:?}");
}

/// Leaves a hit in the spool of a data directory, as a server that ended an hour ago.
async fn leave_old_hit(dir: &std::path::Path) {
    let then = Clock::system().now().0 - Micros::HOUR;
    let clock = Clock::fixed(Micros(then));
    let limits = SpoolLimits {
        max_bytes: 1 << 20,
        linger: Duration::ZERO,
    };
    let (spool, reader, writer) = Spool::open(dir, limits, &clock).await.unwrap();
    let now = clock.now();
    let mut hit = Hit::new(
        HitId(clock.new_id(now)),
        now,
        Kind::Pageview,
        Dialect::Native,
    );
    hit.page_url = Some("https://shop.example/".to_owned());
    spool.offer(&[hit]).durable(SOON).await.unwrap();
    drop((spool, reader));
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_never_reached_and_one_that_dies() {
    let mut postgres = PostgresServer::start().await;
    let url = postgres.new_database().await;
    postgres.kill().await;
    let dir = new_dir("data");
    leave_old_hit(&dir).await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        .data_dir(&dir)
        .start_without_database()
        .await;
    let mut story = Story::default();
    wait_for("tries fail", SOON, async || {
        server.metric("sillage_projection_failures_total").await > 0.0
    })
    .await;
    assert_eq!(server.metric("sillage_spool_backlog_hits").await, 1.0);
    let oldest = server.metric("sillage_spool_oldest_seconds").await;
    assert!((3_600.0..4_000.0).contains(&oldest), "{oldest}");
    let down = "SillageDatabaseDown";
    story.tell(&server, 1, &[]).await;
    let all = [down, "SillageHitsWait", "SillageStoringFails"];
    for firing in [&[down][..], &all] {
        let failures = server.metric("sillage_projection_failures_total").await;
        wait_for("another try fails", SOON, async || {
            server.metric("sillage_projection_failures_total").await > failures
        })
        .await;
        story.tell(&server, 4, firing).await;
    }

    postgres.start_again().await;
    server.wait_drained(SOON).await;
    server.wait_database("up", SOON).await;
    // The backlog and its age go back when they are asked for, not at the next hit.
    assert_eq!(server.metric("sillage_spool_oldest_seconds").await, 0.0);
    story.tell(&server, LONG, &[]).await;

    postgres.kill().await;
    server.wait_database("down", SOON).await;
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    assert!(server.metric("sillage_spool_backlog_hits").await >= 1.0);
    story.tell(&server, LONG, &["SillageDatabaseDown"]).await;
    postgres.start_again().await;
    server.wait_database("up", SOON).await;
    server.wait_drained(SOON).await;
    story.tell(&server, LONG, &[]).await;
    story.check();
    server.finish().await;
}

async fn a_spool_that_is_full(engine: Engine) {
    let server = TestServer::on(engine)
        .with("SPOOL__MAX_BYTES", "100000")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut story = Story::default();
    story.tell(&server, LONG, &[]).await;
    let held = hold_hits(server.db()).await;
    let load = Load::start("alerts", server.address(), &mail, 8, Some(1_000));
    wait_for("the spool is full", SOON, async || {
        server.metric("sillage_spool_taking").await == 0.0
            && server.metric("sillage_hits_lost_total").await > 0.0
    })
    .await;
    load.stop().await;
    let full = ["SillageNotTaking", "SillageSpoolFilling"];
    let and_lost = ["SillageNotTaking", "SillageSpoolFilling", "SillageHitsLost"];
    story.tell(&server, 3, &and_lost).await;
    story.tell(&server, LONG, &full).await;
    held.release().await;
    server.wait_drained(SOON).await;
    server.wait_database("up", SOON).await;
    story.tell(&server, LONG, &[]).await;
    story.check();
    server.finish().await;
}

async fn hits_that_the_database_refuses(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut story = Story::default();
    story.tell(&server, LONG, &[]).await;
    server.db().refuse_poison().await;
    let poison = "/mtracking.gif?page_title=poison";
    assert_eq!(server.client().get(poison).await.status, 200);
    server.wait_drained(SOON).await;
    story.tell(&server, 3, &["SillageHitsQuarantined"]).await;
    story.tell(&server, LONG, &[]).await;
    story.check();
    server.finish_with_quarantined(1).await;
}

on_both!(a_spool_that_is_full, hits_that_the_database_refuses);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full() {
    let Some(disk) = FullDisk::mount(48 << 20) else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let server = TestServer::on(Engine::Postgres)
        .data_dir(&disk.dir)
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut story = Story {
        has_own_disk: true,
        ..Story::default()
    };
    story.tell(&server, LONG, &[]).await;
    let held = hold_hits(server.db()).await;
    let filler = disk.dir.join("filler");
    let _ = std::fs::write(&filler, vec![0_u8; disk.free() as usize]);
    let load = Load::start("alerts", server.address(), &mail, 8, Some(1_000));
    wait_for("the disk is full", SOON * 2, async || {
        server.metric("sillage_spool_taking").await == 0.0
            && server.metric("sillage_hits_lost_total").await > 0.0
    })
    .await;
    load.stop().await;
    let full = ["SillageDiskFilling", "SillageNotTaking"];
    let and_lost = ["SillageDiskFilling", "SillageNotTaking", "SillageHitsLost"];
    story.tell(&server, 3, &and_lost).await;
    story.tell(&server, LONG, &full).await;
    std::fs::remove_file(&filler).unwrap();
    held.release().await;
    // A write has to go well before it is known to.
    wait_for("it takes hits again", SOON, async || {
        let _ = server.client().get("/mtracking.gif").await;
        server.metric("sillage_spool_taking").await == 1.0
    })
    .await;
    server.wait_drained(SOON).await;
    server.wait_database("up", SOON).await;
    story.tell(&server, LONG, &[]).await;
    story.check();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptors_that_are_used_up() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let mut inside = server.client().admin();
    let mut story = Story::default();
    story.tell_to(&mut inside, LONG, &[]).await;
    server.limit_descriptors(server.open_descriptors() + 3);
    let mut outside = Vec::new();
    for _ in 0..20 {
        outside.push(TcpStream::connect(server.address()).await.unwrap());
    }
    wait_for("accepting fails", SOON, async || {
        let text = inside.get("/metrics").await.text();
        !text.contains("sillage_accept_failures_total 0")
    })
    .await;
    story
        .tell_to(&mut inside, 3, &["SillageNoDescriptors"])
        .await;
    server.limit_descriptors(4_096);
    drop(outside);
    wait_for("others are let in", SOON, async || {
        let mut client = server.client();
        client.patience = Duration::from_secs(1);
        let answer = client.request(http::Method::GET, "/livez", &[], Default::default());
        answer.await.is_ok()
    })
    .await;
    story.tell(&server, LONG, &[]).await;
    story.check();
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_keys_of_the_others() {
    let url = PostgresServer::new_shared_database().await;
    let others = TestServer::on(Engine::Postgres)
        .database(&url)
        .start()
        .await;
    let other_key = "2:fedcba9876543210fedcba9876543210";
    let file = new_dir("configuration").join("sillage.toml");
    std::fs::write(&file, format!("[keys]\nsigning = ['{other_key}']")).unwrap();
    wait_for("the key is known", SOON, async || {
        let sql = "select count(*) from signing_keys";
        others.db().number(sql).await == 1
    })
    .await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        .with("KEYS__SIGNING", "")
        .argument("--config")
        .argument(file.to_str().unwrap())
        .start()
        .await;
    let mut story = Story::default();
    wait_for("it knows", SOON, async || {
        server.metric("sillage_keys_lacking").await == 1.0
    })
    .await;
    story.tell(&server, 5, &["SillageKeysLacking"]).await;
    std::fs::write(
        &file,
        format!("[keys]\nsigning = ['{other_key}', '{SIGNING_KEY}']"),
    )
    .unwrap();
    server.hang_up();
    wait_for("it has them", SOON, async || {
        server.metric("sillage_keys_lacking").await == 0.0
    })
    .await;
    story.tell(&server, LONG, &[]).await;
    story.check();
    server.finish().await;
    others.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stalls() {
    let server = TestServer::on(Engine::Sqlite)
        .with("SPOOL__PATIENCE", "10ms")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(SOON).await;
    let mut story = Story::default();
    story.tell(&server, LONG, &[]).await;
    let stall = Stall::begin(&server).await;
    let mut reader = server.client();
    for _ in 0..120 {
        assert_eq!(reader.get(&mail.link_path(0)).await.status, 302);
    }
    let spool = &server.readiness().await["spool"];
    assert_eq!(
        (&spool["unwritten"], &spool["backlog"]),
        (&120.into(), &0.into())
    );
    story.tell(&server, 3, &["SillageDiskSlow"]).await;
    stall.end().await;
    wait_for("the hits are stored", SOON, async || {
        server.db().hits().await == 121
    })
    .await;
    assert_eq!(server.metric("sillage_hits_lost_total").await, 0.0);
    story.tell(&server, LONG, &[]).await;
    story.check();
    server.finish().await;
}

async fn a_file_that_is_damaged(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let mut story = Story::default();
    story.tell(&server, LONG, &[]).await;
    for file in ["spool.db", "links.db"] {
        assert_eq!(server.terminate(SOON).await, Some(0));
        std::fs::write(server.data_dir().join(file), "no database").unwrap();
        server.start_again().await;
        server.wait_database("up", SOON).await;
        story.tell(&server, 3, &["SillageFileDamaged"]).await;
    }
    // As long as that process runs somebody should look.
    assert_eq!(server.terminate(SOON).await, Some(0));
    server.start_again().await;
    server.wait_database("up", SOON).await;
    story.tell(&server, LONG, &[]).await;
    story.check();
    server.finish().await;
}

on_both!(a_file_that_is_damaged);

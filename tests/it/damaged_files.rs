//! Files of the data directory that are damaged: readers get to their pages, what can be read goes
//! on, and nothing is stored twice.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::full_disk::copied;
use crate::full_spool::hold_hits;
use crate::harness::{Campaign, Engine, Load, TestServer, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// What can happen to a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Cut,
    Zeros,
    Header,
    Empty,
    Directory,
    Locked,
    NoJournal,
}

use Damage::{Cut, Directory, Empty, Header, Locked, NoJournal, Zeros};

impl Damage {
    fn strike(self, file: &Path) {
        let mut journal = file.as_os_str().to_owned();
        journal.push("-wal");
        let journal = PathBuf::from(journal);
        let open = || File::options().write(true).open(file).unwrap();
        let length = std::fs::metadata(file).unwrap().len();
        match self {
            Cut => open().set_len(length / 2 + 100).unwrap(),
            Zeros => {
                let middle = length / 2 / 4_096 * 4_096;
                let zeros = vec![0; (length - middle).min(40_960) as usize];
                open().write_all_at(&zeros, middle).unwrap();
            }
            Header => open().write_all_at(&[0xa5; 100], 0).unwrap(),
            Empty => open().set_len(0).unwrap(),
            Directory => {
                std::fs::remove_file(file).unwrap();
                std::fs::create_dir(file).unwrap();
            }
            Locked => {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o000)).unwrap();
            }
            NoJournal => std::fs::remove_file(journal).unwrap(),
        }
    }
}

fn aside(server: &TestServer, file: &str) -> usize {
    let start = format!("{file}.damaged-");
    std::fs::read_dir(server.data_dir())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
            name.starts_with(&start) && !name.ends_with("-wal") && !name.ends_with("-shm")
        })
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_link_copy_is_fetched_again() {
    let mut server = TestServer::on(Engine::Postgres).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let file = server.data_dir().join("links.db");
    for damage in [Cut, Zeros, Header, Empty, Directory, Locked] {
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
        server.wait_drained(SOON).await;
        assert_eq!(server.terminate(SOON).await, Some(0));
        damage.strike(&file);
        server.start_again().await;
        assert_eq!(
            server.client().get(&mail.link_path(0)).await.status,
            302,
            "{damage:?}"
        );
        if matches!(damage, Cut | Header | Directory) {
            assert_eq!(aside(&server, "links.db"), 1, "one is kept: {damage:?}");
        }
        wait_for("the copy is whole", SOON, async || {
            copied(&server).await == (1, 1)
        })
        .await;
    }
    // Beside the copy, the forms.
    server.wait_drained(SOON).await;
    assert_eq!(server.terminate(SOON).await, Some(0));
    let forms = server.data_dir().join("forms.json");
    let _ = std::fs::remove_file(&forms);
    std::fs::create_dir(&forms).unwrap();
    server.start_again().await;
    assert_eq!(aside(&server, "forms.json"), 1);
    server.wait_drained(SOON).await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_copy_that_is_damaged_while_it_is_used_is_fetched_again() {
    let server = TestServer::on(Engine::Postgres)
        .with("LINKS__REFRESH", "50ms")
        .start()
        .await;
    let insert = "insert into links (id, slug, url, created_at, changed_at)
                  select n, 's' || n, 'https://shop.example/' || n, now(), now() from generate_series(1, 20000) n";
    server.db().execute(insert, "").await;
    let file = server.data_dir().join("links.db");
    wait_for("the copy has them", SOON, async || {
        let journal = server.data_dir().join("links.db-wal");
        std::fs::metadata(journal).is_ok_and(|meta| meta.len() > 2_000_000)
    })
    .await;
    // As a disk that turns to dust under it: file and journal.
    Zeros.strike_all(&file);
    let mut number = 0;
    wait_for("it is put aside", SOON, async || {
        number += 97;
        let answer = server.client().get(&format!("/r/s{number}")).await;
        assert_eq!(answer.status, 302, "s{number}");
        aside(&server, "links.db") == 1
    })
    .await;
    assert_eq!(server.metric("sillage_link_copy_damaged_total").await, 1.0);
    for number in (1..20_000).step_by(999) {
        let answer = server.client().get(&format!("/r/s{number}")).await;
        assert_eq!(
            answer.header("location"),
            format!("https://shop.example/{number}")
        );
    }
    server.wait_drained(SOON).await;
    server.finish().await;
}

impl Damage {
    fn strike_all(self, file: &Path) {
        for suffix in ["", "-wal"] {
            let mut name = file.as_os_str().to_owned();
            name.push(suffix);
            let file = File::options()
                .write(true)
                .open(PathBuf::from(name))
                .unwrap();
            let length = file.metadata().unwrap().len();
            file.write_all_at(&vec![0; length as usize], 0).unwrap();
        }
    }
}

/// A spool with hits that the database has not, killed and damaged: the server serves, and what is
/// missing is not more than it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_spool_is_put_aside_and_its_hits_are_stored_once() {
    for damage in [Header, Cut, Zeros, Directory, NoJournal] {
        let mut server = TestServer::on(Engine::Postgres).start().await;
        let mail = Campaign::make(server.db(), 1).await;
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
        server.wait_drained(SOON).await;
        let held = hold_hits(server.db()).await;
        let load = Load::start("damaged", server.address(), &mail, 8, Some(1_500));
        wait_for("hits", SOON, async || load.sent() > 1_000).await;
        let report = load.stop().await;
        assert_eq!(report.failures(), []);
        if damage != NoJournal {
            // Into the file with them, or it would all be in the journal.
            assert_eq!(server.terminate(Duration::from_secs(60)).await, Some(0));
        } else {
            wait_for("the spool's own count", SOON, async || {
                let backlog = server.metric("sillage_spool_backlog_hits").await;
                tally(&server) == Some(backlog as u64)
            })
            .await;
            server.kill().await;
        }
        let file = server.data_dir().join("spool.db");
        damage.strike(&file);
        held.release().await;
        server.start_again().await;
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
        server.wait_drained(SOON).await;
        let comparison = report.compare(server.db()).await;
        let lost = server.metric("sillage_hits_lost_total").await;
        println!("{damage:?}: {comparison:?}, counted as lost {lost}");
        assert_eq!(comparison.twice, 0, "{damage:?}");
        assert_eq!(server.metric("sillage_spool_damaged_total").await, 1.0);
        assert_eq!(lost, comparison.lost as f64, "{damage:?}: {comparison:?}");
        match damage {
            Header => assert_eq!(comparison.lost, 0),
            Cut | Zeros => assert!(comparison.lost < comparison.answered, "{comparison:?}"),
            _ => assert_eq!(comparison.lost, comparison.answered, "{comparison:?}"),
        }
        if damage != NoJournal {
            let ready = server.readiness().await;
            assert_eq!(ready["spool"]["damaged"], 1);
            assert_eq!(aside(&server, "spool.db"), 1);
        }
        // A hit that the damage went through is lost, and no record.
        server.finish().await;
    }
}

/// Hits that the server noted as waiting, beside the spool.
fn tally(server: &TestServer) -> Option<u64> {
    let noted = std::fs::read(server.data_dir().join("spool.tally")).ok()?;
    let noted: serde_json::Value = serde_json::from_slice(&noted).ok()?;
    noted["hits"].as_u64()
}

/// An old copy of a spool, damaged too: all of it is stored already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recovered_and_stored_already_is_not_stored_again() {
    let mut server = TestServer::on(Engine::Postgres).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let held = hold_hits(server.db()).await;
    let load = Load::start("stored", server.address(), &mail, 8, Some(1_500));
    wait_for("hits", SOON, async || load.sent() > 500).await;
    let report = load.stop().await;
    server.kill().await;
    let file = server.data_dir().join("spool.db");
    let copies: Vec<_> = ["spool.db", "spool.db-wal"]
        .iter()
        .map(|name| (name, std::fs::read(server.data_dir().join(name)).unwrap()))
        .collect();
    held.release().await;
    server.start_again().await;
    server.wait_drained(SOON).await;
    assert_eq!(report.compare(server.db()).await.lost, 0);
    server.kill().await;
    for (name, bytes) in copies {
        std::fs::write(server.data_dir().join(name), bytes).unwrap();
    }
    Empty.strike(&file);
    server.start_again().await;
    assert_eq!(aside(&server, "spool.db"), 1);
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(SOON).await;
    let comparison = report.compare(server.db()).await;
    comparison.assert_stored_once();
    assert_eq!(server.db().hits().await, comparison.answered as i64 + 1);
    server.finish().await;
}

/// While the server runs: the reader meets it first, or the writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_is_damaged_under_a_server_is_put_aside_by_it() {
    let server = TestServer::on(Engine::Postgres).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(SOON).await;
    let held = hold_hits(server.db()).await;
    let load = Load::start("under", server.address(), &mail, 8, Some(1_000));
    wait_for("hits", SOON, async || load.sent() > 1_000).await;
    Zeros.strike_all(&server.data_dir().join("spool.db"));
    held.release().await;
    wait_for("it is put aside", SOON, async || {
        aside(&server, "spool.db") == 1
    })
    .await;
    let sent = load.sent();
    wait_for("hits are taken again", SOON, async || {
        server.client().get("/readyz").await.status == 200 && load.sent() > sent + 500
    })
    .await;
    let report = load.stop().await;
    assert_eq!(report.failures(), []);
    server.wait_drained(SOON).await;
    let comparison = report.compare(server.db()).await;
    let lost = server.metric("sillage_hits_lost_total").await as usize;
    println!("{comparison:?}, counted as lost {lost}");
    assert_eq!(comparison.twice, 0);
    assert!(comparison.lost <= lost, "{comparison:?}, counted {lost}");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_that_a_spool_is_damaged_and_shows_what_is_left() {
    let mut server = TestServer::on(Engine::Postgres).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let held = hold_hits(server.db()).await;
    for _ in 0..20 {
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    }
    assert_eq!(server.terminate(Duration::from_secs(60)).await, Some(0));
    held.release().await;
    let file = server.data_dir().join("spool.db");
    Header.strike(&file);
    let output = server.command().args(["spool", "status"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("is damaged"),
        "{error}"
    );
    let output = server
        .command()
        .args(["spool", "inspect", "--file"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success());
    let hits = String::from_utf8(output.stdout).unwrap();
    assert_eq!(hits.lines().count(), 20, "{hits}");
    server.start_again().await;
    server.wait_drained(SOON).await;
    assert_eq!(server.db().hits().await, 20);
    server.finish().await;
}

//! Two spools of one id: a data directory that was copied to another server, and an old copy that
//! was put back.

use std::path::Path;
use std::time::Duration;

use crate::harness::{
    Campaign, Engine, Load, PostgresServer, TestServer, new_dir, on_both, wait_for,
};

const MOMENT: Duration = Duration::from_secs(30);

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_on_copies_of_one_data_directory_store_every_hit_once() {
    let url = PostgresServer::new_shared_database().await;
    let set_up = || TestServer::on(Engine::Postgres).database(&url);
    let one = set_up().start().await;
    let mail = Campaign::make(one.db(), 1).await;
    assert_eq!(one.client().get(&mail.link_path(0)).await.status, 302);
    one.wait_drained(MOMENT).await;
    let dir = new_dir("copy");
    copy(one.data_dir(), &dir);
    let to_one = Load::start("one", one.address(), &mail, 2, Some(300));
    wait_for("load on one", MOMENT, async || to_one.sent() > 200).await;
    let other = set_up().data_dir(&dir).start().await;
    let to_other = Load::start("other", other.address(), &mail, 2, Some(300));
    wait_for("load on both", MOMENT, async || {
        to_other.sent() > 600 && to_one.sent() > 800
    })
    .await;
    let reports = [to_one.stop().await, to_other.stop().await];
    for (server, report) in [&one, &other].into_iter().zip(&reports) {
        server.wait_drained(MOMENT).await;
        let comparison = report.compare(one.db()).await;
        comparison.assert_stored_once();
    }
    assert_eq!(one.metric("sillage_spools_renamed_total").await, 1.0);
    assert_eq!(other.metric("sillage_spools_renamed_total").await, 0.0);
    assert!(
        one.log()
            .contains("another server stores under this spool's id")
    );
    let positions = "select count(*) from spool_positions";
    assert_eq!(one.db().number(positions).await, 2);
    one.finish().await;
    other.finish().await;
}

/// A snapshot of a machine comes up with the clock of its own time.
async fn an_old_copy_gives_no_number_out_twice_whatever_the_clock(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let hit = async |server: &TestServer| {
        assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    };
    hit(&server).await;
    server.wait_drained(MOMENT).await;
    server.terminate(MOMENT).await;
    let old = std::fs::read(server.data_dir().join("spool.db")).unwrap();
    server.set_clock(Some("2038-01-10 12:00:00"));
    server.start_again().await;
    hit(&server).await;
    server.wait_drained(MOMENT).await;
    server.terminate(MOMENT).await;
    std::fs::write(server.data_dir().join("spool.db"), old).unwrap();
    server.set_clock(None);
    for stored in 3..5 {
        server.start_again().await;
        hit(&server).await;
        server.wait_drained(MOMENT).await;
        assert_eq!(server.db().hits().await, stored);
        server.terminate(MOMENT).await;
    }
    server.start_again().await;
    server.finish().await;
}

on_both!(an_old_copy_gives_no_number_out_twice_whatever_the_clock);

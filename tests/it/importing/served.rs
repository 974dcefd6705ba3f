//! Many links while the server answers, and after it starts again without its database.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::{import, wait_redirect};
use crate::harness::{Engine, TestServer, new_dir, on_both, wait_for};

fn many_links(count: usize) -> String {
    (0..count).fold("slug,url\n".to_owned(), |mut text, n| {
        writeln!(text, "s{n},https://shop.example/{n}").unwrap();
        text
    })
}

async fn clicks_are_answered_and_stored_while_links_are_imported(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut admin = server.client().admin();
    let link = json!({"url": "https://shop.example/", "slug": "before"});
    assert_eq!(admin.post_json("/api/v1/links", &link).await.status, 201);
    let command = {
        let file: PathBuf = new_dir("import").join("links.csv");
        std::fs::write(&file, many_links(60_000)).unwrap();
        let mut command = server.command();
        command.args(["import", "links"]).arg(file);
        command.stdout(Stdio::null());
        command
    };
    let importing = tokio::task::spawn_blocking(move || {
        let mut command = command;
        command.status().unwrap().code()
    });
    let (mut clicks, mut reader) = (0, server.client());
    while !importing.is_finished() {
        assert_eq!(reader.get("/r/before").await.status, 302);
        clicks += 1;
    }
    assert_eq!(importing.await.unwrap(), Some(0));
    assert!(clicks > 20, "{clicks} clicks");
    wait_redirect(&server, "/r/s59999", "https://shop.example/59999").await;
    server.wait_drained(Duration::from_secs(30)).await;
    let sql = "select count(*) from hits where kind = 'click'";
    assert!(server.db().number(sql).await > clicks, "all are stored");
    server.finish().await;
}

on_both!(clicks_are_answered_and_stored_while_links_are_imported);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_links_resolve_after_a_restart_while_the_database_is_down() {
    const LINKS: usize = 30_000;
    let (mut postgres, mut server) = TestServer::on_own_postgres().await;
    let done = import(&server, "links", &many_links(LINKS));
    assert_eq!(done.counts(), [LINKS as u64, 0, 0, 0, 0]);
    // Nobody has clicked: they come by the refresh. Each is fetched once, so their number in the
    // copy is all there is to wait for.
    let copy = sillage_copy(&server);
    wait_for("the copy is whole", Duration::from_secs(30), async || {
        copy_count(&copy).await == LINKS as i64
    })
    .await;
    server.kill().await;
    postgres.kill().await;
    server.start_again().await;
    let mut reader = server.client();
    for n in (0..LINKS).step_by(997) {
        let answer = reader.get(&format!("/r/s{n}")).await;
        assert_eq!(
            answer.header("location"),
            format!("https://shop.example/{n}")
        );
    }
    postgres.start_again().await;
    server.wait_drained(Duration::from_secs(30)).await;
    server.finish().await;
}

fn sillage_copy(server: &TestServer) -> PathBuf {
    server.data_dir().join("links.db")
}

async fn copy_count(file: &std::path::Path) -> i64 {
    crate::harness::Db::sqlite(file)
        .number("select count(*) from links")
        .await
}

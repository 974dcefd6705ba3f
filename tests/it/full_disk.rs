//! A disk that fills up and has room again, as often as it likes: nothing is restarted, readers get
//! to the right page, and every answered hit is stored once or counted with the reason.

use std::time::Duration;

use serde_json::json;

use crate::full_spool::assert_losses_are_counted;
use crate::harness::{Campaign, Engine, FullDisk, Load, TestServer, on_both, wait_for};

/// How often a disk is filled; `SILLAGE_IT_FULL_DISKS=20` for the long run.
fn rounds() -> usize {
    std::env::var("SILLAGE_IT_FULL_DISKS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3)
}

const SOON: Duration = Duration::from_secs(30);

fn mount(bytes: u64) -> Option<FullDisk> {
    let disk = FullDisk::mount(bytes);
    if disk.is_none() {
        println!("skipped: this user may not mount a file system");
    }
    disk
}

/// Spool and link copy, and on SQLite the database beside them.
async fn a_data_directory_that_fills_up_goes_on_when_there_is_room(engine: Engine) {
    let Some(disk) = mount(64 << 20) else { return };
    let server = TestServer::on(engine).data_dir(&disk.dir).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(SOON).await;
    let load = Load::start("full-disk", server.address(), &mail, 8, Some(600));
    let mut api = server.client().admin();
    for round in 1..=rounds() {
        let lost = server.metric("sillage_hits_lost_total").await;
        wait_for("losses", Duration::from_secs(60), async || {
            disk.fill(0);
            server.metric("sillage_hits_lost_total").await > lost
        })
        .await;
        disk.make_room();
        wait_for("it takes hits again", SOON, async || {
            server.client().get("/readyz").await.status == 200
        })
        .await;
        wait_for("it stores what it takes", SOON, async || {
            let ready = server.readiness().await;
            ready["database"] == "up" && ready["spool"]["backlog"].as_u64().is_some_and(|n| n < 600)
        })
        .await;
        let link = json!({ "url": format!("https://shop.example/{round}") });
        let made = api.post_json("/api/v1/links", &link).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let path = format!("/r/{}", made.json()["slug"].as_str().unwrap());
        let answer = server.client().get(&path).await;
        assert!(answer.header("location").ends_with(&format!("/{round}")));
    }
    let report = load.stop().await;
    server.wait_drained(SOON).await;
    println!("{} rounds on {engine:?}", rounds());
    assert_losses_are_counted(&server, &report).await;
    server.finish().await;
}

/// The database alone has no room: hits wait in the spool, none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_database_without_room_is_down_and_goes_on_after() {
    let Some(disk) = mount(32 << 20) else { return };
    let file = disk.dir.join("sillage.db");
    let server = TestServer::on(Engine::Sqlite)
        .database(&format!("sqlite://{}", file.display()))
        .with("LINKS__REFRESH", "50ms")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    let load = Load::start("full-database", server.address(), &mail, 8, Some(600));
    let mut api = server.client().admin();
    let link = json!({ "url": "https://shop.example/" });
    for _ in 0..rounds() {
        wait_for("/readyz tells it", Duration::from_secs(60), async || {
            disk.fill(0);
            server.readiness().await["database"] == "down"
        })
        .await;
        let ready = server.client().get("/readyz").await;
        assert_eq!(ready.status, 200, "hits can be taken: {}", ready.text());
        let refused = api.post_json("/api/v1/links", &link).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        disk.make_room();
        wait_for("/readyz tells it", SOON, async || {
            server.readiness().await["database"] == "up"
        })
        .await;
        wait_for("the API works", SOON, async || {
            api.post_json("/api/v1/links", &link).await.status == 201
        })
        .await;
    }
    let report = load.stop().await;
    assert_eq!(report.failures(), []);
    server.wait_drained(SOON).await;
    let comparison = report.compare(server.db()).await;
    println!("{} rounds: {comparison:?}", rounds());
    comparison.assert_stored_once();
    assert_eq!(server.metric("sillage_hits_lost_total").await, 0.0);
    server.finish().await;
}

/// While the copy's file takes nothing, links that others make and change are followed all the
/// same; after, the file has all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_right_while_their_copy_has_no_room_and_none_is_missing_after() {
    let Some(disk) = mount(128 << 20) else { return };
    let mut server = TestServer::on(Engine::Postgres)
        .data_dir(&disk.dir)
        .with("LINKS__REFRESH", "50ms")
        .start()
        .await;
    let leads_to = async |server: &TestServer, slug: &str| {
        let answer = server.client().get(&format!("/r/{slug}")).await;
        answer.header("location").to_owned()
    };
    let change = async |server: &TestServer, url: &str, from: i64, to: i64| {
        let sql = format!(
            "insert into links (id, slug, url, created_at, changed_at)
             select n, 's' || n, '{url}', now(), now() from generate_series({from}, {to}) n
             on conflict (id) do update set url = excluded.url, changed_at = now()"
        );
        server.db().execute(&sql, "").await;
    };
    change(&server, "https://old.example/", 1, 3_000).await;
    wait_for("the copy has them", SOON, async || {
        leads_to(&server, "s1").await == "https://old.example/"
            && copied(&server).await == (3_000, 3_000)
    })
    .await;
    for round in 1..=rounds() as i64 {
        // Until the journal cannot grow either.
        let url = format!("https://new.example/{round}");
        let last = 10_000;
        disk.fill(0);
        change(&server, &url, 1, last).await;
        // In memory, in the file only, and in neither; some from the last page.
        for slug in ["s1".to_owned(), "s2000".to_owned(), format!("s{last}")] {
            wait_for("the click goes to the new page", SOON, async || {
                disk.fill(0);
                leads_to(&server, &slug).await == url
            })
            .await;
        }
        disk.make_room();
        wait_for("the copy has them", SOON, async || {
            copied(&server).await == (last, last)
        })
        .await;
        let sql = format!("select count(*) from links where url = '{url}'");
        assert_eq!(server.db().number(&sql).await, last);
    }
    server.wait_drained(SOON).await;
    assert_eq!(server.terminate(SOON).await, Some(0));
}

/// How many links the copy's file has, and how many with the newest of its pages.
pub async fn copied(server: &TestServer) -> (i64, i64) {
    use sqlx::{ConnectOptions as _, Row as _};
    let mut file = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(server.data_dir().join("links.db"))
        .read_only(true)
        .connect()
        .await
        .unwrap();
    let sql = "select count(*), coalesce(sum(record ->> 'url' = (select max(record ->> 'url') \
        from links)), 0) from links";
    let row = sqlx::query(sql).fetch_one(&mut file).await;
    row.map_or((0, 0), |row| (row.get(0), row.get(1)))
}

/// Nothing can be written at all: what was known yesterday redirects, and what is answered is
/// counted.
async fn a_server_starts_on_a_full_disk_and_redirects(engine: Engine) {
    for is_killed in [false, true] {
        let Some(disk) = mount(32 << 20) else { return };
        let mut server = TestServer::on(engine).data_dir(&disk.dir).start().await;
        let mail = Campaign::make(server.db(), 1).await;
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
        server.wait_drained(SOON).await;
        if is_killed {
            server.kill().await;
        } else {
            assert_eq!(server.terminate(SOON).await, Some(0));
        }
        // As a server leaves it that met a full disk before.
        std::fs::remove_file(disk.dir.join("spool.ballast")).unwrap();
        disk.fill(0);
        server.launch();
        wait_for("redirects", SOON, async || {
            let get = server.client();
            let answer = { get }
                .request(
                    http::Method::GET,
                    &mail.link_path(0),
                    &[],
                    Default::default(),
                )
                .await;
            answer.is_ok_and(|answer| answer.status == 302)
        })
        .await;
        disk.make_room();
        server.wait_ready().await;
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
        wait_for("every hit is stored or counted", SOON, async || {
            let lost = server.metric("sillage_hits_lost_total").await as i64;
            server
                .db()
                .try_number("select count(*) from hits")
                .await
                .is_ok_and(|hits| hits > 1 && hits + lost == 3)
        })
        .await;
        server.finish().await;
    }
}

on_both!(
    a_data_directory_that_fills_up_goes_on_when_there_is_room,
    a_server_starts_on_a_full_disk_and_redirects,
);

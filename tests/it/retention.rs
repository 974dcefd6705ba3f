//! `database.keep_months`, and clocks that are wrong: nobody's hits go for a machine that believes
//! it is 2038.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::harness::{Engine, PostgresServer, TestServer, on_both, wait_for};

const MOMENT: Duration = Duration::from_secs(20);

/// One start at a time: a hit is stored, the house kept, and the server stopped.
async fn serve_at(server: &mut TestServer, clock: Option<&str>) {
    server.set_clock(clock);
    server.start_again().await;
    // Before the hit: what it says of the time is not what old data is held against.
    wait_for("the house is kept", MOMENT, async || {
        server.metric("sillage_retention_from_seconds").await > 0.0
    })
    .await;
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    server.wait_drained(MOMENT).await;
    server.terminate(Duration::from_secs(30)).await;
}

/// Months that have hits, with their number.
async fn months(server: &TestServer, engine: Engine) -> Vec<String> {
    let month = match engine {
        Engine::Postgres => "to_char(received_at at time zone 'UTC', 'YYYY-MM')",
        Engine::Sqlite => "strftime('%Y-%m', received_at / 1000000, 'unixepoch')",
    };
    let sql = format!("select {month} || ' ' || count(*) from hits group by {month} order by 1");
    server
        .db()
        .texts(&sql)
        .await
        .into_iter()
        .flatten()
        .collect()
}

async fn removed(server: &TestServer) -> Vec<String> {
    let sql = "select month || ' ' || hits from removed_months order by month";
    server.db().texts(sql).await.into_iter().flatten().collect()
}

async fn a_wrong_clock_takes_no_hits_along(engine: Engine) {
    let mut server = TestServer::on(engine)
        .with("DATABASE__KEEP_MONTHS", "1")
        .be()
        .await;
    serve_at(&mut server, Some("2030-01-20 12:00:00")).await;
    serve_at(&mut server, Some("2030-02-20 12:00:00")).await;
    serve_at(&mut server, Some("2030-03-20 12:00:00")).await;
    assert_eq!(
        months(&server, engine).await,
        ["2030-01 1", "2030-02 1", "2030-03 1"]
    );
    assert_eq!(removed(&server).await, [] as [&str; 0]);

    // One month is kept before the newest hit, whatever the clock says.
    serve_at(&mut server, Some("2038-01-10 12:00:00")).await;
    assert_eq!(
        months(&server, engine).await,
        ["2030-02 1", "2030-03 1", "2038-01 1"]
    );
    assert_eq!(removed(&server).await, ["2030-01 1"]);
    let log = server.log();
    for part in [
        "the clock is far ahead",
        "hits older than database.keep_months removed",
        "2030-01",
    ] {
        assert!(log.contains(part), "{part:?} in {log}");
    }
    // Once hits say so too, a month a day goes and no more, however often it starts.
    for clock in ["2038-01-10 18:00:00", "2038-01-11 11:00:00"] {
        serve_at(&mut server, Some(clock)).await;
        assert_eq!(removed(&server).await, ["2030-01 1"], "{clock}");
    }
    assert!(
        server.log().contains("the server removes one a day"),
        "{}",
        server.log()
    );
    serve_at(&mut server, Some("2038-01-11 13:00:00")).await;
    assert_eq!(removed(&server).await, ["2030-01 1", "2030-02 1"]);
    // Right again, and then far behind.
    serve_at(&mut server, Some("2030-04-01 12:00:00")).await;
    assert_eq!(removed(&server).await, ["2030-01 1", "2030-02 1"]);
    server.set_clock(Some("1999-01-01 00:00:00"));
    server.start_again().await;
    server.wait_tables().await;
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    server.wait_drained(MOMENT).await;
    assert_eq!(
        months(&server, engine).await,
        ["1999-01 1", "2030-03 1", "2030-04 1", "2038-01 4"]
    );
    // Asked for, all of it goes at once.
    let output = server
        .command()
        .args(["retire", "--keep-months", "2"])
        .env("FAKETIME", "@2038-02-01 00:00:00")
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected = match engine {
        // Where the one that was stored last says that it is 1999, nothing is old.
        Engine::Postgres => vec![],
        Engine::Sqlite => vec![
            json!({"month": "1999-01", "hits": 1}),
            json!({"month": "2030-03", "hits": 1}),
            json!({"month": "2030-04", "hits": 1}),
        ],
    };
    assert_eq!(lines, expected);
    server.finish().await;
}

async fn an_idempotency_key_outlives_a_wrong_clock(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let hit = json!({"kind": "event", "event": "x", "idempotency_key": "order-1"});
    let send = async |server: &TestServer| {
        let answer = server
            .client()
            .admin()
            .post_json("/api/v1/hits", &hit)
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        server.wait_drained(MOMENT).await;
    };
    send(&server).await;
    server.terminate(Duration::from_secs(30)).await;
    serve_at(&mut server, Some("2038-01-10 12:00:00")).await;
    server.set_clock(None);
    server.start_again().await;
    send(&server).await;
    let sql = "select count(*) from hits where kind = 'event'";
    assert_eq!(
        server.db().number(sql).await,
        1,
        "the second is the first, sent again"
    );
    server.finish().await;
}

/// Every server's clock stamps what it changes; the others read on from there.
async fn links_go_on_changing_after_a_wrong_clock(engine: Engine) {
    let mut server = TestServer::on(engine).start().await;
    let api = async |server: &TestServer, slug: &str| {
        let link = json!({"url": "https://shop.example/", "slug": slug});
        let made = server
            .client()
            .admin()
            .post_json("/api/v1/links", &link)
            .await;
        assert_eq!(made.status, 201, "{}", made.text());
        let path = format!("/r/{slug}");
        assert_eq!(server.client().get(&path).await.status, 302);
    };
    api(&server, "before").await;
    server.wait_drained(MOMENT).await;
    server.terminate(Duration::from_secs(30)).await;
    server.set_clock(Some("2038-01-10 12:00:00"));
    server.start_again().await;
    api(&server, "meanwhile").await;
    server.wait_drained(MOMENT).await;
    // Until the copy has read on to it.
    let file = server.data_dir().join("links.db");
    let copy = crate::harness::Db::sqlite(&file);
    wait_for("the copy reads on", MOMENT, async || {
        copy.try_number("select changed_at / 31536000000000 from progress where name = 'links'")
            .await
            .is_ok_and(|years| years > 67)
    })
    .await;
    server.terminate(Duration::from_secs(30)).await;
    server.set_clock(None);
    server.start_again().await;
    // As another server, or an import, changes it.
    let change = |now: &str| {
        format!(
            "update links set url = 'https://shop.example/new', changed_at = {now} where slug = \
            'before'"
        )
    };
    server
        .db()
        .execute(
            &change("now()"),
            &change("cast(strftime('%s', 'now') as integer) * 1000000"),
        )
        .await;
    wait_for("the change is served", MOMENT, async || {
        let click = server.client().get("/r/before").await;
        click.header("location") == "https://shop.example/new"
    })
    .await;
    server.wait_drained(MOMENT).await;
    server.finish().await;
}

/// A dump of `hits`, while a month is to be made and one to be removed: nothing waits for it, and
/// the rest is done when it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_hits_holds_nobody_up() {
    let url = PostgresServer::new_shared_database().await;
    let mut server = TestServer::on(Engine::Postgres)
        .database(&url)
        .with("DATABASE__KEEP_MONTHS", "1")
        .be()
        .await;
    for clock in [
        "2030-01-20 12:00:00",
        "2030-02-20 12:00:00",
        "2030-03-20 12:00:00",
    ] {
        serve_at(&mut server, Some(clock)).await;
    }
    let mut reader = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; select count(*) from hits")
        .execute(&mut reader)
        .await
        .unwrap();

    server.set_clock(Some("2030-04-20 12:00:00"));
    server.start_again().await;
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    server.wait_drained(MOMENT).await;
    wait_for("the house is kept", MOMENT, async || {
        server.metric("sillage_retention_from_seconds").await > 0.0
    })
    .await;
    assert_eq!(removed(&server).await, ["2030-01 1"]);
    let kept = ["2030-02 1", "2030-03 1", "2030-04 1"];
    assert_eq!(months(&server, Engine::Postgres).await, kept);
    let table = async |name: &str| {
        let sql = format!("select count(*) from pg_class where relname = '{name}'");
        server.db().number(&sql).await
    };
    assert_eq!(table("hits_2030_06").await, 1, "made ahead");
    assert_eq!(table("hits_2030_01").await, 1, "the reader still has it");
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    server.wait_drained(MOMENT).await;

    sqlx::raw_sql("commit").execute(&mut reader).await.unwrap();
    wait_for("the month is gone", Duration::from_secs(120), async || {
        table("hits_2030_01").await == 0
    })
    .await;
    server.finish().await;
}

/// Somebody else's lock: readiness tells it, hits wait, and then they are stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_of_hits_that_do_not_get_into_the_database() {
    let url = PostgresServer::new_shared_database().await;
    let server = TestServer::on(Engine::Postgres)
        .database(&url)
        .start()
        .await;
    server.wait_database("up", MOMENT).await;
    let mut holding = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; lock table counters")
        .execute(&mut holding)
        .await
        .unwrap();
    assert_eq!(server.readiness().await["projection"], "idle");
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    wait_for("it is told", Duration::from_secs(90), async || {
        server.readiness().await["projection"] == "stalled"
    })
    .await;
    let ready = server.client().get("/readyz").await;
    assert_eq!(ready.status, 200, "hits can be taken");
    assert!(server.metric("sillage_projection_storing_seconds").await >= 30.0);
    sqlx::raw_sql("rollback")
        .execute(&mut holding)
        .await
        .unwrap();
    server.wait_drained(MOMENT).await;
    wait_for("it is told", MOMENT, async || {
        server.readiness().await["projection"] == "idle"
    })
    .await;
    server.finish().await;
}

on_both!(
    a_wrong_clock_takes_no_hits_along,
    an_idempotency_key_outlives_a_wrong_clock,
    links_go_on_changing_after_a_wrong_clock,
);

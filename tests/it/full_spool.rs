//! No room for hits: readers get to their pages all the same, what is lost is counted, and room is
//! used again as soon as it is there.

use std::time::Duration;

use crate::harness::{Campaign, Db, Engine, FullDisk, Load, Report, TestServer, on_both, wait_for};

/// `spool.patience`, and what a busy machine of two cores may add to it.
const PATIENCE: Duration = Duration::from_millis(250 + 750);

/// The database answers nobody who writes hits, until this is dropped.
pub async fn hold_hits(db: &Db) -> Held {
    use sillage::door::Either;
    match db.pool() {
        Either::Postgres(pool) => {
            let mut transaction = pool.begin().await.unwrap();
            sqlx::raw_sql("lock table hits in access exclusive mode")
                .execute(&mut *transaction)
                .await
                .unwrap();
            Held::Postgres(transaction)
        }
        Either::Sqlite(pool) => Held::Sqlite(pool.begin_with("begin immediate").await.unwrap()),
    }
}

pub enum Held {
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
}

impl Held {
    pub async fn release(self) {
        match self {
            Self::Postgres(transaction) => transaction.rollback().await.unwrap(),
            Self::Sqlite(transaction) => transaction.rollback().await.unwrap(),
        }
    }
}

/// Every request was answered in time, and what is missing in the database is what the server has
/// counted as lost.
pub async fn assert_losses_are_counted(server: &TestServer, report: &Report) {
    assert_eq!(report.failures(), [], "every request is answered");
    let slowest = report.quantile(1.0);
    assert!(slowest < PATIENCE, "the slowest answer took {slowest:?}");
    let comparison = report.compare(server.db()).await;
    let counted = server.metric("sillage_hits_lost_total").await as usize;
    let early = server.metric("sillage_hits_answered_early_total").await;
    println!(
        "{comparison:?}, counted as lost {counted}, answered early {early}, slowest {slowest:?}"
    );
    assert_eq!(comparison.twice, 0);
    // Also of what was answered before its outcome was known.
    assert_eq!(comparison.lost, counted, "what is counted as lost is lost");
    assert!(server.log().contains("hits lost"), "the log says so");
}

async fn a_spool_at_its_limit_answers_and_counts_and_recovers(engine: Engine) {
    let server = TestServer::on(engine)
        .with("SPOOL__MAX_BYTES", "200000")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(Duration::from_secs(10)).await;

    let held = hold_hits(server.db()).await;
    let load = Load::start("full", server.address(), &mail, 16, Some(1_000));
    wait_for("losses", Duration::from_secs(20), async || {
        server.metric("sillage_hits_lost_total").await > 1_000.0
    })
    .await;
    let ready = server.client().get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["spool"]["taking"]),
        (503, &false.into())
    );
    // A server that sends is told to come back, and nothing of what it sent is kept.
    let order = serde_json::json!({ "kind": "transaction", "order_id": "A-1", "revenue": "10.00", "currency": "EUR" });
    let mut shop = server.client().admin();
    let refused = shop.post_json("/api/v1/hits", &order).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(
        refused
            .header("retry-after")
            .parse::<u32>()
            .is_ok_and(|seconds| seconds > 0)
    );
    let batch = "wt?p=600,batch of a full spool";
    let refused = shop.post("/111/batch", "text/plain", batch).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());

    held.release().await;
    wait_for("it takes hits again", Duration::from_secs(30), async || {
        server.client().get("/readyz").await.status == 200
    })
    .await;
    // So small a spool may be full again for a moment: senders come back until they are taken,
    // once.
    let taking = Duration::from_secs(20);
    wait_for("the order is taken", taking, async || {
        shop.post_json("/api/v1/hits", &order).await.status == 202
    })
    .await;
    wait_for("the batch is taken", taking, async || {
        shop.post("/111/batch", "text/plain", batch).await.status == 200
    })
    .await;
    let lost = server.metric("sillage_hits_lost_total").await;
    let sent = load.sent();
    wait_for("more load", Duration::from_secs(20), async || {
        load.sent() > sent + 500
    })
    .await;
    let report = load.stop().await;
    server.wait_drained(Duration::from_secs(30)).await;
    assert_losses_are_counted(&server, &report).await;
    assert_eq!(
        server
            .db()
            .number("select count(*) from hits where order_id = 'A-1'")
            .await,
        1
    );
    assert_eq!(
        server
            .db()
            .number("select count(*) from hits where page_title = 'batch of a full spool'")
            .await,
        1
    );
    let after = server.metric("sillage_hits_lost_total").await;
    assert!(
        after < lost + 400.0,
        "it took hits again, and lost {} more",
        after - lost
    );
    server.finish().await;
}
on_both!(a_spool_at_its_limit_answers_and_counts_and_recovers);

async fn start_on_small_disk(disk: &FullDisk) -> TestServer {
    TestServer::on(Engine::Postgres)
        .data_dir(&disk.dir)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_the_spool_filled_empties_by_itself() {
    let Some(disk) = FullDisk::mount(32 << 20) else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let server = start_on_small_disk(&disk).await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(Duration::from_secs(10)).await;
    disk.fill(512 << 10);

    let held = hold_hits(server.db()).await;
    let load = Load::start("disk", server.address(), &mail, 16, Some(1_500));
    wait_for("losses", Duration::from_secs(30), async || {
        server.metric("sillage_hits_lost_total").await > 500.0
    })
    .await;
    // A write that just fits says for a moment that hits can be taken.
    wait_for("it tells so", Duration::from_secs(20), async || {
        server.client().get("/readyz").await.status == 503
    })
    .await;

    // The filler stays: the database takes what waits, and that alone makes room.
    held.release().await;
    let hits = server.db().hits().await;
    wait_for("hits arrive", Duration::from_secs(30), async || {
        server.db().hits().await > hits + 500
    })
    .await;
    let report = load.stop().await;
    server.wait_drained(Duration::from_secs(30)).await;
    assert_losses_are_counted(&server, &report).await;
    assert_eq!(server.client().get("/mtracking.gif").await.status, 200);
    server.wait_drained(Duration::from_secs(10)).await;
    assert_eq!(server.client().get("/readyz").await.status, 200);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_others_filled_is_used_again_when_they_make_room() {
    let Some(disk) = FullDisk::mount(32 << 20) else {
        println!("skipped: this user may not mount a file system");
        return;
    };
    let server = start_on_small_disk(&disk).await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(Duration::from_secs(10)).await;
    // The ballast goes too: nothing is left for the spool.
    let held = hold_hits(server.db()).await;
    disk.fill(0);
    let load = Load::start("others", server.address(), &mail, 16, Some(1_500));
    wait_for("losses", Duration::from_secs(60), async || {
        server.metric("sillage_hits_lost_total").await > 500.0
    })
    .await;
    disk.make_room();
    wait_for("it takes hits again", Duration::from_secs(10), async || {
        server.client().get("/readyz").await.status == 200
    })
    .await;
    held.release().await;
    let report = load.stop().await;
    server.wait_drained(Duration::from_secs(30)).await;
    assert_losses_are_counted(&server, &report).await;
    server.finish().await;
}

//! A disk that stalls: readers go on after `spool.patience`, and what becomes of their hits is told
//! as it was.
//!
//! Another connection that holds the spool's lock is such a disk: the writer waits for it, up to
//! five seconds.

use std::time::Duration;

use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::harness::{Campaign, Engine, TestServer, on_both, wait_for};

const DRAINED: Duration = Duration::from_secs(20);

/// Nothing is written into the server's spool while this is there.
pub struct Stall(SqliteConnection);

impl Stall {
    pub async fn begin(server: &TestServer) -> Self {
        let mut connection = SqliteConnectOptions::new()
            .filename(server.data_dir().join("spool.db"))
            .busy_timeout(Duration::from_secs(10))
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql("begin immediate")
            .execute(&mut connection)
            .await
            .unwrap();
        Self(connection)
    }

    pub async fn end(self) {
        self.0.close().await.unwrap();
    }
}

async fn early(server: &TestServer) -> f64 {
    server.metric("sillage_hits_answered_early_total").await
}

async fn lost(server: &TestServer) -> f64 {
    server.metric("sillage_hits_lost_total").await
}

async fn what_a_short_stall_holds_up_is_stored_and_not_lost(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    server.wait_drained(DRAINED).await;
    let stall = Stall::begin(&server).await;
    for _ in 0..3 {
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    }
    assert_eq!((early(&server).await, lost(&server).await), (3.0, 0.0));
    assert_eq!(server.db().hits().await, 1);
    assert!(server.log().contains("the disk is slow"));
    stall.end().await;
    wait_for("the hits are stored", DRAINED, async || {
        server.db().hits().await == 4
    })
    .await;
    assert_eq!(lost(&server).await, 0.0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_long_stall_refuses_is_lost_for_the_reason_it_was() {
    for ack in ["durable", "fast"] {
        let server = TestServer::on(Engine::Sqlite)
            .with("SPOOL__ACK", ack)
            .start()
            .await;
        let mail = Campaign::make(server.db(), 1).await;
        let stall = Stall::begin(&server).await;
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
        let expected = if ack == "durable" { 1.0 } else { 0.0 };
        assert_eq!((early(&server).await, lost(&server).await), (expected, 0.0));
        wait_for("the outcome", Duration::from_secs(15), async || {
            lost(&server).await > 0.0
        })
        .await;
        let disk = r#"sillage_hits_lost_total{reason="disk"}"#;
        assert_eq!(server.metric(disk).await, 1.0);
        stall.end().await;
        // Without a hit: whoever asks where to send hits would wait for ever.
        wait_for("ready", DRAINED, async || {
            server.client().get("/readyz").await.status == 200
        })
        .await;
        assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
        wait_for("the next one is stored", DRAINED, async || {
            server.db().hits().await == 1
        })
        .await;
        server.wait_drained(DRAINED).await;
        assert_eq!(lost(&server).await, 1.0);
        server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_to_send_again_is_not_stored_behind_his_back() {
    let server = TestServer::on(Engine::Sqlite).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let form = json!({ "name": "news", "fields": [{ "alias": "email", "type": "email" }] });
    let made = server
        .client()
        .admin()
        .post_json("/api/v1/forms", &form)
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].to_string();
    let stall = Stall::begin(&server).await;
    // The writer has the click in its hands; the submission waits behind it.
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    let submit = async || {
        let body = "mauticform[email]=ada@forms.example";
        let path = format!("/form/submit?formId={id}");
        let urlencoded = "application/x-www-form-urlencoded";
        server.client().post(&path, urlencoded, body).await.status
    };
    assert_eq!(submit().await, 503);
    let late = r#"sillage_hits_lost_total{reason="late"}"#;
    assert_eq!(
        (server.metric(late).await, early(&server).await),
        (1.0, 1.0)
    );
    stall.end().await;
    assert_eq!(submit().await, 200);
    server.wait_drained(DRAINED).await;
    let forms = "select count(*) from hits where kind = 'form'";
    assert_eq!(server.db().number(forms).await, 1);
    assert_eq!(lost(&server).await, 1.0);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_waits_for_what_it_answered() {
    let mut server = TestServer::on(Engine::Sqlite).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let stall = Stall::begin(&server).await;
    assert_eq!(server.client().get(&mail.link_path(0)).await.status, 302);
    assert_eq!(early(&server).await, 1.0);
    let (code, ()) = tokio::join!(server.terminate(Duration::from_secs(30)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stall.end().await;
    });
    assert_eq!(code, Some(0));
    assert!(!server.log().contains("hits lost"));
    server.start_again().await;
    server.wait_drained(DRAINED).await;
    assert_eq!(server.db().hits().await, 1);
    server.finish().await;
}

on_both!(what_a_short_stall_holds_up_is_stored_and_not_lost);

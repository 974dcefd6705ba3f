//! Mautic's mails in the figures: what cannot be told by single requests (those are in
//! `tests/cases/mautic`).

use std::time::Duration;

use crate::harness::{Campaign, Engine, TestServer, on_both};

const STORED: Duration = Duration::from_secs(10);
/// base64 of `a:2:{s:5:"email";i:4711;s:4:"stat";s:6:"ffffff";}`: a message that nobody has
/// imported, of a campaign that there is.
const UNKNOWN_OF_A_CAMPAIGN: &str =
    "YToyOntzOjU6ImVtYWlsIjtpOjQ3MTE7czo0OiJzdGF0IjtzOjY6ImZmZmZmZiI7fQ";

async fn only_imported_messages_are_opened(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let (broadlog, _) = mail.messages[0];
    let sql = format!(
        "insert into message_keys (key, broadlog_id) values ('mautic:5f9c1d2e', {broadlog})"
    );
    server.db().execute(&sql, &sql).await;
    let mut api = server.client().admin();
    let mut mailbox = server.client();
    for hash in ["5f9c1d2e", "ffffff", "deadbeef00", "a", "%00"] {
        let answer = mailbox.get(&format!("/email/{hash}.gif")).await;
        assert_eq!((answer.status, answer.body.len()), (200, 43), "{hash}");
    }
    server.wait_stored(STORED).await;
    let report = api.get("/api/v1/deliveries/4711/report").await.json();
    assert_eq!(report["opens"], 1, "{report}");
    let opens = "select count(*) from hits where kind = 'open'";
    assert_eq!(server.db().number(opens).await, 3, "all are kept");
    let elsewhere = format!(
        "{opens} and reason = 'message unknown' and delivery_id is null and broadlog_id is null"
    );
    assert_eq!(server.db().number(&elsewhere).await, 2);
    let refused = "sillage_hits_refused_total{reason=\"no tracking hash\"}";
    assert_eq!(server.metric(refused).await, 2.0);

    // A message that is not known names nobody; the campaign that it claims gets a page view and no
    // open.
    let path = format!("/mtracking.gif?page_url=a&ct={UNKNOWN_OF_A_CAMPAIGN}");
    assert_eq!(server.client().get(&path).await.status, 200);
    server.wait_stored(STORED).await;
    let claimed = "select count(*) from hits where kind = 'pageview' and delivery_id = 4711 and \
        broadlog_id is null and contact_id is null";
    assert_eq!(server.db().number(claimed).await, 1);
    let report = api.get("/api/v1/deliveries/4711/report").await.json();
    assert_eq!(report["opens"], 1, "{report}");
    server.finish().await;
}

on_both!(only_imported_messages_are_opened);

//! A record that the database refuses stands aside with the reason, and holds up nobody.

use std::time::Duration;

use crate::harness::{Engine, TestServer, on_both};

/// `sillage quarantine retry --all`, beside the running server: whether all are stored now, and how
/// many are.
fn retry_all(server: &TestServer) -> (bool, usize) {
    let output = server
        .command()
        .args(["quarantine", "retry", "--all"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let stored = told.lines().filter(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["stored"] == true
    });
    (output.status.success(), stored.count())
}

async fn a_refused_record_is_put_aside_with_the_reason_and_can_be_tried_again(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    server.db().refuse_poison().await;
    let mut reader = server.client();
    for number in 0..200 {
        let title = if number % 40 == 7 { "poison" } else { "bread" };
        let path =
            format!("/mtracking.gif?page_url=https://shop.example/{number}&page_title={title}");
        assert_eq!(reader.get(&path).await.status, 200);
    }
    server.wait_drained(Duration::from_secs(20)).await;
    assert_eq!(server.db().hits().await, 195);
    assert_eq!(
        server
            .db()
            .number("select count(distinct page_url) from hits where page_title = 'bread'")
            .await,
        195
    );
    let reasons = server.db().texts("select reason from quarantine").await;
    assert_eq!(reasons.len(), 5);
    assert!(
        reasons
            .iter()
            .flatten()
            .all(|reason| reason.contains("no_poison")),
        "{reasons:?}"
    );
    assert_eq!(server.metric("sillage_hits_quarantined_total").await, 5.0);

    // As long as the reason stands, a record stays where it is.
    assert_eq!(retry_all(&server), (false, 0));
    assert_eq!(server.db().quarantined().await, 5);
    server
        .db()
        .execute(
            "alter table hits drop constraint no_poison",
            "drop trigger no_poison",
        )
        .await;
    assert_eq!(retry_all(&server), (true, 5));
    assert_eq!(server.db().hits().await, 200);
    assert_eq!(
        server
            .db()
            .number("select count(distinct page_url) from hits")
            .await,
        200
    );
    server.finish().await;
}
/// What the database refuses may be what a record adds to figures that all share.
async fn a_record_whose_figures_are_refused_is_put_aside_alone(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let db = server.db();
    db.execute(
        "alter table top_figures add constraint no_poison check (value not like '%poison')",
        "create trigger no_poison before insert on top_figures when new.value like '%poison'
         begin select raise(abort, 'no_poison'); end",
    )
    .await;
    let mut reader = server.client();
    for number in 0..50 {
        let page = if number == 7 { "poison" } else { "bread" };
        let path = format!("/mtracking.gif?page_url=https://shop.example/{page}");
        assert_eq!(reader.get(&path).await.status, 200);
    }
    server.wait_drained(Duration::from_secs(20)).await;
    assert_eq!((db.hits().await, db.quarantined().await), (49, 1));
    let counted = "select cast(sum(hits) as bigint) from top_figures where dimension = 'page'";
    assert_eq!(db.number(counted).await, 49);
    db.execute(
        "alter table top_figures drop constraint no_poison",
        "drop trigger no_poison",
    )
    .await;
    assert_eq!(retry_all(&server), (true, 1));
    assert_eq!(db.number(counted).await, 50);
    server.recount().await;
    server.finish().await;
}

on_both!(
    a_refused_record_is_put_aside_with_the_reason_and_can_be_tried_again,
    a_record_whose_figures_are_refused_is_put_aside_alone,
);

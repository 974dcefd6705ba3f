//! One order is one transaction, however often its page is shown and whoever else says its number.

use std::time::Duration;

use serde_json::{Value, json};
use sillage::door::{Micros, Store};

use super::{DRAINING, post_hits, read_hits};
use crate::harness::{Campaign, Client, Engine, PostgresServer, TestServer, on_both};

const REPORT: &str = "/api/v1/deliveries/4711/report?by=hour";

/// The page after an order.
fn thanks(order: &str, amount: &str) -> String {
    format!(
        "/mtracking.gif?page_url=thanks&order_id={order}&revenue={amount}&currency=EUR&quantity=2"
    )
}

async fn buyer(server: &TestServer, mail: &Campaign, message: usize) -> Client {
    let mut buyer = server.client();
    assert_eq!(buyer.get(&mail.link_path(message)).await.status, 302);
    buyer
}

async fn report(server: &TestServer) -> Value {
    server.wait_drained(DRAINING).await;
    server.client().admin().get(REPORT).await.json()
}

/// Orders, amount and items as told, by currency and hour, of the message, and of the rows.
async fn assert_told(server: &TestServer, transactions: i64, amount: &str, items: i64) {
    let report = report(server).await;
    assert_eq!(report["transactions"], transactions, "{report:#}");
    assert_eq!(report["items"], items, "{report:#}");
    let entry =
        json!({"currency": "EUR", "transactions": transactions, "amount": amount, "items": items});
    for (name, value) in entry.as_object().unwrap() {
        assert_eq!(&report["revenue"][0][name], value, "{report:#}");
    }
    let hours: Vec<&Value> = report["hours"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|hour| hour["revenue"].as_array().unwrap())
        .collect();
    if transactions == 1 {
        assert_eq!(hours, [&entry], "in the hour of the first");
    }
    let db = server.db();
    let of_messages =
        |column| format!("select cast(sum({column}) as bigint) from broadlog_figures");
    assert_eq!(db.number(&of_messages("transactions")).await, transactions);
    assert_eq!(db.number(&of_messages("quantity")).await, items);
}

/// What the rows say that they added, in 1/10,000.
async fn counted(server: &TestServer) -> i64 {
    let (hits, _) = read_hits(&mut server.client().admin(), "kind=transaction").await;
    hits.iter()
        .filter_map(|hit| hit["counted_revenue"].as_str())
        .map(|amount| amount.parse::<sillage::door::Money>().unwrap().0)
        .sum()
}

async fn a_thank_you_page_shown_four_times_is_one_purchase(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut buyer = buyer(&server, &mail, 0).await;
    // Of one batch, and of another.
    buyer.get(&thanks("1003", "49.90")).await;
    buyer.get(&thanks("1003", "49.90")).await;
    server.wait_drained(DRAINING).await;
    buyer.get(&thanks("1003", "49.90")).await;
    // The browser was closed in between: no session, the same visitor.
    buyer.end_session();
    buyer.get(&thanks("1003", "49.90")).await;
    assert_told(&server, 1, "49.9", 2).await;
    let repeated =
        "select count(*) from hits where kind = 'transaction' and reason = 'order counted before'";
    assert_eq!(server.db().number(repeated).await, 3, "all are kept");
    assert_eq!(counted(&server).await, 499_000);
    assert_eq!(report(&server).await["visited_pages"], 3, "of the session");

    // Shipping was added.
    buyer.get(&thanks("1003", "54.90")).await;
    assert_told(&server, 1, "54.9", 2).await;
    assert_eq!(counted(&server).await, 549_000);
    // Another order of the same person.
    buyer.get(&mail.link_path(0)).await;
    buyer.get(&thanks("1004", "10")).await;
    assert_told(&server, 2, "64.9", 4).await;
    server.recount().await;
    server.finish().await;
}

async fn whoever_guesses_an_order_number_changes_nothing(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let claim = |amount| format!("{}&delivery_id=4711", thanks("1004", amount));
    // Before the buyer: a browser that is new, and one that is known.
    server.client().get(&claim("1")).await;
    let mut known = server.client();
    known.get("/mtracking.gif?page_url=home").await;
    known.get(&claim("2")).await;
    server.wait_drained(DRAINING).await;
    buyer(&server, &mail, 0)
        .await
        .get(&thanks("1004", "49.90"))
        .await;
    assert_told(&server, 1, "49.9", 2).await;
    // After, and with a negative amount.
    known.get(&claim("3")).await;
    known.get(&claim("-49.90")).await;
    server.client().get(&claim("4")).await;
    assert_told(&server, 1, "49.9", 2).await;
    server.recount().await;
    server.finish().await;
}

async fn a_shops_server_has_the_last_word_and_refunds_add_up(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut browser = buyer(&server, &mail, 0).await;
    browser.get(&thanks("1005", "49.90")).await;
    server.wait_drained(DRAINING).await;
    let mut api = server.client().admin();
    // The order without its campaign, as a shop knows it: it stays where the browser's session had
    // it.
    let order = |amount: &str| json!([{"kind": "transaction", "order_id": "1005", "revenue": amount, "currency": "EUR", "quantity": 2}]);
    post_hits(&mut api, &order("49.90")).await;
    assert_told(&server, 1, "49.9", 2).await;
    post_hits(&mut api, &order("45")).await;
    assert_told(&server, 1, "45", 2).await;
    browser.get(&thanks("1005", "99")).await;
    assert_told(&server, 1, "45", 2).await;
    let refund = json!([{"kind": "transaction", "order_id": "1005", "revenue": "-10", "currency": "EUR", "quantity": 1}]);
    post_hits(&mut api, &refund).await;
    assert_told(&server, 1, "35", 1).await;
    post_hits(&mut api, &refund).await;
    assert_told(&server, 1, "25", 0).await;
    assert_eq!(counted(&server).await, 250_000);
    server.recount().await;
    server.finish().await;
}

async fn an_order_from_the_quarantine_counts_once(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    server.db().refuse_poison().await;
    let mut buyer = buyer(&server, &mail, 0).await;
    for title in ["poison", "bread", "poison", "bread"] {
        buyer
            .get(&format!("{}&page_title={title}", thanks("1006", "49.90")))
            .await;
    }
    assert_told(&server, 1, "49.9", 2).await;
    server
        .db()
        .execute(
            "alter table hits drop constraint no_poison",
            "drop trigger no_poison",
        )
        .await;
    let retried = server
        .command()
        .args(["quarantine", "retry", "--all"])
        .output()
        .unwrap();
    assert!(retried.status.success());
    assert_told(&server, 1, "49.9", 2).await;
    let all = "select count(*) from hits where kind = 'transaction'";
    assert_eq!(server.db().number(all).await, 4);
    server.recount().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_told_to_two_servers_counts_once() {
    let url = PostgresServer::new_shared_database().await;
    let on = |url: String| async move {
        TestServer::on(Engine::Postgres)
            .database(&url)
            .start()
            .await
    };
    let (one, other) = (on(url.clone()).await, on(url).await);
    let mail = Campaign::make(one.db(), 1).await;
    let mut at_one = buyer(&one, &mail, 0).await;
    let mut at_other = other.client();
    at_other.cookies = at_one.cookies.clone();
    for _ in 0..20 {
        at_one.get(&thanks("1007", "49.90")).await;
        at_other.get(&thanks("1007", "49.90")).await;
    }
    other.wait_drained(DRAINING).await;
    assert_told(&one, 1, "49.9", 2).await;
    one.finish().await;
    other.finish().await;
}

async fn an_order_is_remembered_for_half_a_year(engine: Engine) {
    const DAY: i64 = 24 * Micros::HOUR;
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    for order in 0..3 {
        let order = json!([{"kind": "transaction", "order_id": order.to_string(), "revenue": 1}]);
        post_hits(&mut api, &order).await;
    }
    server.wait_drained(DRAINING).await;
    for (order, days) in [("0", 190), ("1", 100)] {
        let sql = "update orders set counted_at = counted_at - {} where order_id = '{}'";
        let of = |by: &str| sql.replacen("{}", by, 1).replacen("{}", order, 1);
        let micros = (days * DAY).to_string();
        server
            .db()
            .execute(&of(&format!("interval '{days} days'")), &of(&micros))
            .await;
    }
    let url = match server.database_url() {
        Some(url) => url.to_owned(),
        None => format!("sqlite:{}", server.data_dir().join("sillage.db").display()),
    };
    let store = Store::open(&url, 2, Duration::from_secs(10)).await.unwrap();
    let now = sillage::door::Clock::system().now();
    store.forget_orders(now).await.unwrap();
    let left = server
        .db()
        .texts("select order_id from orders order by order_id")
        .await;
    assert_eq!(left, [Some("1".to_owned()), Some("2".to_owned())]);
    store.close().await;
    server.recount().await;
    server.finish().await;
}

async fn what_comes_after_a_purchase_leaves_its_money_as_it_is(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut buyer = buyer(&server, &mail, 0).await;
    buyer.get(&thanks("1003", "49.90")).await;
    assert_told(&server, 1, "49.9", 2).await;
    // Of another batch, in which nothing is bought.
    buyer.get(&mail.link_path(0)).await;
    buyer.get("/mtracking.gif?page_url=more").await;
    assert_told(&server, 1, "49.9", 2).await;
    // And one in which something is.
    buyer.get("/mtracking.gif?page_url=more").await;
    buyer.get(&thanks("1004", "50.10")).await;
    assert_told(&server, 2, "100", 4).await;
    let counts = "select clicks * 10 + pages from broadlog_figures where currency = ''";
    assert_eq!(server.db().number(counts).await, 22);
    let rows = "select count(*) from broadlog_figures";
    assert_eq!(server.db().number(rows).await, 2, "one without a currency");
    server.recount().await;
    server.finish().await;
}

on_both!(
    what_comes_after_a_purchase_leaves_its_money_as_it_is,
    a_thank_you_page_shown_four_times_is_one_purchase,
    whoever_guesses_an_order_number_changes_nothing,
    a_shops_server_has_the_last_word_and_refunds_add_up,
    an_order_from_the_quarantine_counts_once,
    an_order_is_remembered_for_half_a_year,
);

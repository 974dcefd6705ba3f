//! What anybody can say of a delivery: amounts stand apart from revenue, numbers that nobody has
//! made are kept and never adopted, page tags are bounded.

use serde_json::{Value, json};

use super::{DRAINING, make_delivery, post_hits, read_hits};
use crate::harness::{Campaign, Engine, TestServer, on_both};

const REPORT: &str = "/api/v1/deliveries/4711/report?by=hour";

async fn report(server: &TestServer) -> Value {
    server.wait_drained(DRAINING).await;
    server.client().admin().get(REPORT).await.json()
}

/// Columns of all hits that have an amount, in the order of storage.
async fn rows(server: &TestServer) -> Vec<[Value; 3]> {
    let (hits, _) = read_hits(&mut server.client().admin(), "").await;
    hits.iter()
        .filter(|hit| !hit["revenue"].is_null())
        .map(|hit| ["delivery_id", "proof", "counted_revenue"].map(|column| hit[column].clone()))
        .collect()
}

/// All that strangers can say without a signature, on each surface that takes an amount.
async fn strangers_buy(server: &TestServer) {
    let mut stranger = server.client();
    stranger
        .get("/mtracking.gif?page_url=p&revenue=1&currency=EUR&quantity=9&delivery_id=4711")
        .await;
    let event = "page_url=p&revenue=10&currency=EUR&delivery_id=4711";
    let sent = stranger
        .post("/mtc/event", "application/x-www-form-urlencoded", event)
        .await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    // 4711 as Adobe writes it.
    stranger
        .get("/r/1?tagid=paid%7Ct&jobid=1267&amount=100&currency=EUR&article=1")
        .await;
    // An id of Adobe's, guessed: first with a message, then without one; each begins a session.
    for id in ["h3e8,1267,32f", "h0,1267,32f"] {
        let mut clicks = server.client();
        assert_eq!(clicks.get(&format!("/r/?id={id}")).await.status, 302);
        clicks
            .get("/mtracking.gif?page_url=p&revenue=1000&currency=EUR")
            .await;
        clicks
            .get("/r/1?tagid=paid&amount=10000&currency=EUR")
            .await;
    }
}

async fn what_strangers_say_of_a_delivery_stands_apart_from_its_revenue(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let mut buyer = server.client();
    buyer.get(&mail.link_path(0)).await;
    buyer
        .get("/mtracking.gif?page_url=p&revenue=49.90&currency=EUR&quantity=1")
        .await;
    strangers_buy(&server).await;
    let report = report(&server).await;
    assert_eq!(report["transactions"], 1, "{report:#}");
    assert_eq!(report["revenue"][0]["amount"], "49.9", "{report:#}");
    assert_eq!(
        report["unproved"],
        json!({ "transactions": 7, "items": 10,
                "revenue": [{ "currency": "EUR", "transactions": 7, "amount": "22111", "items": 10 }] }),
        "{report:#}"
    );
    let of_hours = |pointer| -> i64 {
        let hours = report["hours"].as_array().unwrap().iter();
        hours
            .filter_map(|hour| hour.pointer(pointer)?.as_i64())
            .sum()
    };
    assert_eq!(of_hours("/revenue/0/transactions"), 1);
    assert_eq!(of_hours("/unproved/revenue/0/transactions"), 7);
    assert_eq!(report["clicks"], 3, "clicks count, whatever they rest on");
    let proofs: Vec<Value> = rows(&server)
        .await
        .into_iter()
        .map(|row| json!(row[1..]))
        .collect();
    let unsigned = json!(["unsigned", null]);
    let claimed = json!(["claimed", null]);
    assert_eq!(
        proofs,
        [
            json!(["session", "49.9"]),
            claimed.clone(),
            claimed.clone(),
            claimed,
            unsigned.clone(),
            unsigned.clone(),
            unsigned.clone(),
            unsigned
        ]
    );
    server.recount().await;
    server.finish().await;
}

async fn the_operator_says_how_much_proof_makes_revenue(engine: Engine) {
    for (proof, proved, apart) in [("unsigned", "22000", "111"), ("claimed", "22111", "")] {
        let server = TestServer::on(engine)
            .with("REVENUE__PROOF", proof)
            .start()
            .await;
        Campaign::make(server.db(), 1).await;
        strangers_buy(&server).await;
        let report = report(&server).await;
        assert_eq!(report["revenue"][0]["amount"], proved, "{report:#}");
        let told = report["unproved"]["revenue"][0]["amount"].as_str();
        assert_eq!(told.unwrap_or_default(), apart, "{report:#}");
        server.finish().await;
    }
}

async fn a_sender_that_is_believed_names_the_delivery(engine: Engine) {
    let server = TestServer::on(engine)
        .with("TRUST__SENDERS", "127.0.0.1/32")
        .start()
        .await;
    Campaign::make(server.db(), 1).await;
    server
        .client()
        .get("/mtracking.gif?page_url=p&revenue=5&delivery_id=4711")
        .await;
    server
        .client()
        .get("/r/1?tagid=paid%7Ct&jobid=1267&amount=6")
        .await;
    post_hits(
        &mut server.client().admin(),
        &json!([{ "kind": "transaction", "revenue": 7, "delivery_id": 4711 }]),
    )
    .await;
    let report = report(&server).await;
    assert_eq!(report["revenue"][0]["amount"], "18", "{report:#}");
    assert_eq!(report["unproved"]["transactions"], 0, "{report:#}");
    let proofs: Vec<Value> = rows(&server)
        .await
        .into_iter()
        .map(|[_, proof, _]| proof)
        .collect();
    assert_eq!(proofs, ["sender", "sender", "sender"]);
    server.recount().await;
    server.finish().await;
}

async fn the_last_delivery_of_an_unsigned_click_is_no_proof(engine: Engine) {
    let server = TestServer::on(engine)
        .with("ADOBE__MODE", "permanent")
        .start()
        .await;
    let mail = Campaign::make(server.db(), 1).await;
    for (path, proof) in [
        ("/r/?id=h0,1267,32f".to_owned(), "unsigned"),
        (mail.link_path(0), "session"),
    ] {
        let mut browser = server.client();
        browser.get(&path).await;
        browser.end_session();
        browser.get("/r/1?tagid=paid%7Ct&amount=5").await;
        server.wait_drained(DRAINING).await;
        let [delivery, told, _] = rows(&server).await.pop().unwrap();
        assert_eq!((delivery, told), (json!(4711), json!(proof)));
    }
    server.recount().await;
    server.finish().await;
}

async fn numbers_that_nobody_has_made_are_kept_and_never_adopted(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    Campaign::make(server.db(), 1).await;
    let mut stranger = server.client();
    stranger
        .get("/mtracking.gif?page_url=pixel&revenue=1&delivery_id=5555")
        .await;
    // 5555 as Adobe writes it: a tag and an open.
    stranger.get("/r/1?tagid=tag&jobid=15b3&amount=1").await;
    stranger.get("/r/?id=h7d0,15b3,1").await;
    let mut api = server.client().admin();
    post_hits(
        &mut api,
        &json!([
            { "kind": "open", "delivery_id": 5555, "broadlog_id": 77, "link_id": 99 },
            { "kind": "open", "delivery_id": 4711, "broadlog_id": 77 },
            { "kind": "open", "delivery_id": 4711, "broadlog_id": 1000, "link_id": 815 },
        ]),
    )
    .await;
    server.wait_drained(DRAINING).await;
    let (hits, _) = read_hits(&mut api, "").await;
    let told: Vec<Value> = hits
        .iter()
        .map(|hit| {
            json!([
                hit["delivery_id"],
                hit["broadlog_id"],
                hit["link_id"],
                hit["reason"]
            ])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!([null, null, null, "delivery unknown"]),
            json!([null, null, null, "delivery unknown"]),
            json!([
                null,
                null,
                null,
                "unsigned link; delivery unknown; message unknown"
            ]),
            json!([
                null,
                null,
                null,
                "delivery unknown; message unknown; link unknown"
            ]),
            json!([4711, null, null, "message unknown"]),
            json!([4711, 1000, 815, null]),
        ]
    );
    assert_eq!(hits[0]["extra"], json!({"delivery_id": "5555"}));
    assert_eq!(
        hits[3]["extra"],
        json!({"delivery_id": "5555", "broadlog_id": "77", "link_id": "99"})
    );
    make_delivery(&mut api, "5555").await;
    let report = api
        .get("/api/v1/deliveries/5555/report?by=hour")
        .await
        .json();
    assert_eq!(report["hours"], json!([]), "{report:#}");
    assert_eq!(report["opens"], 0);
    let adopted = "select count(*) from hits where delivery_id = 5555";
    assert_eq!(server.db().number(adopted).await, 0);
    // From now on it is known.
    post_hits(&mut api, &json!([{ "kind": "open", "delivery_id": 5555 }])).await;
    server.wait_drained(DRAINING).await;
    assert_eq!(server.db().number(adopted).await, 1);
    server.recount().await;
    server.finish().await;
}

async fn a_message_gets_no_number_that_a_stranger_has_said(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    Campaign::make(server.db(), 0).await;
    // The next numbers of the counter, in links as Adobe's.
    let next = server
        .db()
        .number("select value from counters where name = 'broadlog'")
        .await
        + 1;
    for number in [next, next + 2] {
        let path = format!("/r/?id=h{number:x},1267,1");
        assert_eq!(server.client().get(&path).await.status, 200);
    }
    server.wait_drained(DRAINING).await;
    let mut api = server.client().admin();
    let lines: String = (0..3)
        .map(|n| format!("{{\"contact\":{{\"email\":\"r{n}@example.com\"}}}}\n"))
        .collect();
    let made = api
        .post(
            "/api/v1/deliveries/4711/messages",
            "application/x-ndjson",
            lines,
        )
        .await;
    let numbers: Vec<i64> = made
        .text()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["broadlog_id"].as_i64())
        .collect();
    assert_eq!(numbers, [next + 1, next + 3, next + 4], "{}", made.text());
    // A number that its sender chose was counted for another delivery before.
    make_delivery(&mut api, "5555").await;
    let message =
        format!("{{\"broadlog_id\":{next},\"contact\":{{\"email\":\"r@example.com\"}}}}\n");
    let path = "/api/v1/deliveries/5555/messages";
    assert_eq!(
        api.post(path, "application/x-ndjson", message).await.status,
        200
    );
    let left = format!("select count(*) from broadlog_figures where broadlog_id = {next}");
    assert_eq!(server.db().number(&left).await, 0);
    server.recount().await;
    server.finish().await;
}

/// A thousand tags a day, over two servers and a restart; the rest is counted, told once and noted.
async fn page_tags_made_on_the_fly_are_bounded_a_day(engine: Engine) {
    const MOST: usize = 1_000;
    let mut one = TestServer::on(engine).start().await;
    Campaign::make(one.db(), 0).await;
    let other = match one.database_url() {
        Some(url) => Some(TestServer::on(engine).database(url).start().await),
        None => None,
    };
    let tag = |n: usize| format!("/r/1?tagid=tag{n}%7Ct&jobid=1267&amount=1");
    for (index, server) in [Some(&one), other.as_ref()]
        .into_iter()
        .flatten()
        .enumerate()
    {
        let mut browser = server.client();
        for n in 0..MOST / 2 + 5 {
            browser.get(&tag(index * MOST + n)).await;
        }
        server.wait_drained(DRAINING).await;
    }
    one.kill().await;
    one.start_again().await;
    let mut browser = one.client();
    for n in 0..MOST / 2 {
        browser.get(&tag(2 * MOST + n)).await;
    }
    // One that was made is known.
    browser.get(&tag(0)).await;
    one.wait_drained(DRAINING).await;
    let told = match &other {
        Some(_) => MOST + 10 + MOST / 2,
        None => MOST + 5,
    };
    let db = one.db();
    let count = async |sql: &str| db.number(sql).await as usize;
    assert_eq!(count("select count(*) from page_tags").await, MOST);
    let refused = told - MOST;
    assert_eq!(
        count("select count(*) from hits where reason = 'page tag not made'").await,
        refused
    );
    assert_eq!(
        count("select count(*) from hits where kind = 'transaction'").await,
        told + 1,
        "a hit is what it describes"
    );
    assert_eq!(count("select refused from daily_limits").await, refused);
    let mut metric = one.metric("sillage_page_tags_refused_total").await as usize;
    let mut warnings = one.log().matches("no more page tags").count();
    if let Some(other) = &other {
        metric += other.metric("sillage_page_tags_refused_total").await as usize;
        warnings += other.log().matches("no more page tags").count();
    }
    assert_eq!((metric, warnings), (refused, 1));
    // The next day has a share of its own.
    db.execute(
        "update daily_limits set day = day - interval '1 day'",
        "update daily_limits set day = day - 86400000000",
    )
    .await;
    browser.get(&tag(9 * MOST)).await;
    one.wait_drained(DRAINING).await;
    assert_eq!(count("select used from daily_limits").await, 1);
    if let Some(other) = other {
        other.finish().await;
    }
    one.finish().await;
}

on_both!(
    what_strangers_say_of_a_delivery_stands_apart_from_its_revenue,
    the_operator_says_how_much_proof_makes_revenue,
    a_sender_that_is_believed_names_the_delivery,
    the_last_delivery_of_an_unsigned_click_is_no_proof,
    numbers_that_nobody_has_made_are_kept_and_never_adopted,
    a_message_gets_no_number_that_a_stranger_has_said,
    page_tags_made_on_the_fly_are_bounded_a_day,
);

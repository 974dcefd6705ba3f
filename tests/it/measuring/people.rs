//! Who is behind the numbers of a report.

use serde_json::{Value, json};

use super::{DRAINING, post_hits};
use crate::harness::{Campaign, Client, Engine, TestServer, on_both};

const PATH: &str = "/api/v1/reports/deliveries/4711/people";

/// All of a list, in parts of so many, by the cursor of the header; as JSON.
async fn whole(api: &mut Client, query: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("{PATH}?{query}&limit={limit}{after}");
        let answer = api.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let next = answer.header("x-next-cursor").to_owned();
        let part = answer.json();
        assert_eq!(part["next"].as_str().unwrap_or_default(), next);
        let people = part["people"].as_array().unwrap();
        assert!(people.len() <= limit, "{path}");
        all.extend(people.iter().cloned());
        if next.is_empty() {
            return all;
        }
        after = format!("&after={next}");
    }
}

async fn every_number_is_as_many_as_the_people_behind_it(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 7).await;
    let counted = "update deliveries set messages = 7";
    server.db().execute(counted, counted).await;
    let mut api = server.client().admin();
    let short = json!({"url": "https://shop.example/b", "slug": "b", "delivery_id": 4711});
    let short = api.post_json("/api/v1/links", &short).await.json()["id"].clone();
    // Reader 0 opens, clicks twice and forwards the mail, reader 1 opens, reader 2 clicks two links
    // and buys twice, a machine follows reader 3's link, reader 4 unsubscribes, 5 and 6 do nothing.
    let mut reader = server.client();
    for path in [mail.open_path(0), mail.link_path(0), mail.link_path(0)] {
        reader.get(&path).await;
    }
    server.client().get(&mail.link_path(0)).await;
    server.client().get(&mail.open_path(1)).await;
    let mut buyer = server.client();
    for path in ["/r/b", &mail.link_path(2)] {
        assert_eq!(buyer.get(path).await.status, 302);
    }
    for order in ["A1", "A1", "A2"] {
        let paid = format!("/mtracking.gif?page_url=paid&revenue=5&currency=EUR&order_id={order}");
        buyer.get(&paid).await;
    }
    let mut machine = server.client().header("user-agent", "Googlebot/2.1");
    machine.get(&mail.link_path(3)).await;
    machine.get("/r/b").await;
    let over = json!([{ "kind": "optout", "event": "unsubscribed", "broadlog_id": 1_004 }]);
    post_hits(&mut api, &over).await;
    server.wait_drained(DRAINING).await;

    let report = api.get("/api/v1/deliveries/4711/report").await.json();
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{report}")) as usize;
    let link = |id: &Value| {
        let mut links = report["links"].as_array().unwrap().iter();
        links.find(|link| link["id"] == *id).unwrap().clone()
    };
    let machines = report["machine_hits"].as_object().unwrap().values();
    let (first, second) = (link(&json!(815)), link(&short));
    let expected = [
        (
            "what=opened".to_owned(),
            number(&report["distinct_opens"]),
            4,
        ),
        (
            "what=clicked".to_owned(),
            number(&report["recipients_who_clicked"]),
            2,
        ),
        (
            "what=clickers".to_owned(),
            number(&report["clicking_persons"]),
            3,
        ),
        (
            "what=clicked&link=815".to_owned(),
            number(&first["clicking_persons"]),
            3,
        ),
        (
            format!("what=clicked&link={short}"),
            number(&second["clicking_persons"]),
            1,
        ),
        ("what=clicked&link=99".to_owned(), 0, 0),
        (
            "what=nothing".to_owned(),
            number(&report["messages"]) - number(&report["distinct_opens"]),
            3,
        ),
        ("what=opted_out".to_owned(), number(&report["optouts"]), 1),
        ("what=machine".to_owned(), machines.map(number).sum(), 2),
        (
            format!("what=machine&link={short}"),
            number(&second["machine_clicks"]),
            1,
        ),
        ("what=bought".to_owned(), 1, 1),
    ];
    for (query, told, exactly) in &expected {
        assert_eq!(told, exactly, "{query}: {report}");
        for limit in [1, 2, 1_000] {
            let people = whole(&mut api, query, limit).await;
            assert_eq!(
                people.len(),
                *told,
                "{query} in parts of {limit}: {people:?}"
            );
        }
        // The other formats hold the same rows.
        let lines = api.get(&format!("{PATH}?{query}&format=ndjson")).await;
        assert_eq!(lines.text().lines().count(), *told, "{query}");
        let csv = api.get(&format!("{PATH}?{query}&format=csv")).await;
        assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
        assert_eq!(csv.text().lines().count(), told + 1, "{query}");
    }
    let buyers = whole(&mut api, "what=bought", 10).await;
    assert_eq!(buyers[0]["transactions"], report["transactions"]);
    assert_eq!(buyers[0]["transactions"], 2);
    assert_eq!(buyers[0]["broadlog_id"], 1_002);
    assert_eq!(buyers[0]["contact_id"], mail.messages[2].1.to_string());
    assert_eq!(
        buyers[0]["fields"],
        json!({ "email": "reader2@example.com" })
    );
    let idle = whole(&mut api, "what=nothing", 10).await;
    let idle: Vec<_> = idle.iter().map(|one| &one["broadlog_id"]).collect();
    assert_eq!(idle, [&json!(1_003), &json!(1_005), &json!(1_006)]);
    let bots = whole(&mut api, "what=machine", 10).await;
    assert!(bots.iter().all(|bot| bot["verdict"] == "bot"), "{bots:?}");
    server.finish().await;
}

/// A page ends after so many rows, and its cursor goes on although it holds nobody.
async fn a_part_without_anybody_goes_on(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mail = Campaign::make(server.db(), 1).await;
    let rows = format!(
        "with recursive c(n) as (select 10001 union all select n + 1 from c where n < 30000)
         insert into broadlog_figures (broadlog_id, currency, delivery_id, opens, clicks, pages, transactions, revenue, quantity)
         select n, '', {}, 1, case when n = 30000 then 1 else 0 end, 0, 0, 0, 0 from c",
        mail.delivery
    );
    server.db().execute(&rows, &rows).await;
    let mut api = server.client().admin();
    let first = api.get(&format!("{PATH}?what=clicked")).await.json();
    assert_eq!(first["people"], json!([]));
    let rest = format!(
        "{PATH}?what=clicked&after={}",
        first["next"].as_str().unwrap()
    );
    let rest = api.get(&rest).await.json();
    assert_eq!(rest["people"].as_array().unwrap().len(), 1, "{rest}");
    let found = whole(&mut api, "what=clicked", 10).await;
    assert_eq!(found.len(), 1);
    // Nobody sent it from here.
    assert_eq!(
        (&found[0]["broadlog_id"], &found[0]["contact_id"]),
        (&json!(30_000), &Value::Null)
    );
    server.finish().await;
}

on_both!(
    every_number_is_as_many_as_the_people_behind_it,
    a_part_without_anybody_goes_on,
);

//! Ids that were asked for and that nothing has: operators see what a move left behind.

use std::time::Duration;

use serde_json::Value;
use sillage::door::{BroadlogId, DeliveryId, Keys, LinkId, LinkToken};

use crate::harness::{Engine, SIGNING_KEY, TestServer, on_both, wait_for};

const SOON: Duration = Duration::from_secs(30);

fn token(key: &str, link: Option<i64>) -> String {
    let keys = Keys::parse(&[key.to_owned()]).unwrap();
    let token = LinkToken {
        delivery_id: DeliveryId(7),
        broadlog_id: BroadlogId(8),
        link_id: link.map(LinkId),
        sent_minute: None,
    };
    token.encode(&keys)
}

async fn unknown_ids_are_counted_by_what_they_name(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let other = "2:fedcba9876543210fedcba9876543210";
    let mut client = server.client();
    for (path, times) in [
        ("/r/autumn".to_owned(), 3),
        // Signed by us, of a link that is gone.
        (format!("/r/{}", token(SIGNING_KEY, Some(17))), 2),
        // Two mails of another installation lead to the same link.
        (format!("/r/{}", token(other, Some(18))), 2),
        (format!("/o/{}.gif", token(other, None)), 1),
        ("/o/nothing.gif".to_owned(), 1),
        ("/r/?id=h1f,2e,3d".to_owned(), 1),
    ] {
        for _ in 0..times {
            client
                .get_with(&path, &[("referer", "https://news.example:8443/a?b=c")])
                .await;
        }
    }
    // Without a referrer the last one stays.
    client.get("/r/autumn").await;
    client
        .post(
            "/form/submit?formId=99",
            "application/x-www-form-urlencoded",
            "a=1",
        )
        .await;
    // What is explained did not happen.
    let mut api = server.client().admin();
    let decode = serde_json::json!({"url": "/r/autumn"});
    assert_eq!(
        api.post_json("/api/v1/debug/decode", &decode).await.status,
        200
    );

    let expected = [
        ("link", "autumn", 4),
        ("link", "17", 2),
        ("token", "18", 2),
        ("form", "99", 1),
        ("link", "61", 1),
        ("open", "nothing", 1),
        ("token", "0", 1),
    ];
    wait_for("they are counted", SOON, async || {
        let list = api.get("/api/v1/orphans").await.json();
        list["orphans"].as_array().unwrap().len() == expected.len()
    })
    .await;
    let told = |list: &Value| -> Vec<(String, String, i64)> {
        let orphans = list["orphans"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        orphans
            .map(|one| {
                (
                    text(&one["kind"]),
                    text(&one["id"]),
                    one["asked"].as_i64().unwrap(),
                )
            })
            .collect()
    };
    let list = api.get("/api/v1/orphans").await.json();
    let expected = expected.map(|(kind, id, asked)| (kind.to_owned(), id.to_owned(), asked));
    assert_eq!(told(&list), expected);
    let autumn = &list["orphans"][0];
    assert_eq!(autumn["referrer"], "news.example");
    assert!(autumn["first_at"].as_str() <= autumn["last_at"].as_str());
    assert_eq!(list["orphans"][3]["referrer"], Value::Null);
    let links = api.get("/api/v1/orphans?kind=link").await.json();
    assert_eq!(told(&links).len(), 3);

    // Part by part it is the same list.
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let part = api
            .get(&format!("/api/v1/orphans?limit=2{after}"))
            .await
            .json();
        all.extend(told(&part));
        match part["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(all, expected);
    server.finish().await;
}

on_both!(unknown_ids_are_counted_by_what_they_name);

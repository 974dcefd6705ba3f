//! Contacts and their timelines.

use serde_json::{Value, json};

use super::{DRAINING, post_hits, read_hits};
use crate::harness::{Engine, TestServer, on_both};

async fn former_ids_and_visitors_resolve_to_the_contact(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__UNIQUE", "[\"email\", \"customer\"]")
        .start()
        .await;
    let mut api = server.client().admin();
    let visitor = "0193f2c6-0000-7000-8000-000000000001";
    let stranger = "0193f2c6-0000-7000-8000-000000000002";
    let contact = |path: &str| format!("/api/v1/contacts{path}");
    post_hits(
        &mut api,
        &json!([
            { "page_url": "before", "visitor_id": visitor },
            { "page_url": "alone", "visitor_id": stranger },
            { "page_url": "a", "visitor_id": visitor, "contact": { "email": "Ada@Example.com", "firstname": "Ada" }, "tags": "vip" },
            { "page_url": "b", "contact": { "customer": "C-7" } },
        ]),
    )
    .await;
    server.wait_drained(DRAINING).await;
    let ada = api.get(&contact("?email=%20ADA@example.com")).await.json();
    let c7 = api.get(&contact("?customer=c-7")).await.json();
    let (ada, c7) = (
        ada["id"].as_str().unwrap().to_owned(),
        c7["id"].as_str().unwrap().to_owned(),
    );
    assert_ne!(ada, c7);
    // An authenticated call proves them to be one person.
    post_hits(&mut api, &json!({ "page_url": "both", "contact": { "email": "ada@example.com", "customer": "C-7" } })).await;
    server.wait_drained(DRAINING).await;

    let by_id = api.get(&contact(&format!("/{ada}"))).await.json();
    assert_eq!(by_id["id"], ada);
    assert_eq!(by_id["former_ids"], json!([c7]));
    assert_eq!(by_id["fields"]["firstname"], "Ada");
    assert_eq!(by_id["tags"], json!(["vip"]));
    assert_eq!(by_id["visitor_ids"], json!([visitor]));
    for other in [
        format!("/{c7}"),
        format!("/{visitor}"),
        "?customer=C-7".to_owned(),
    ] {
        assert_eq!(api.get(&contact(&other)).await.json(), by_id, "{other}");
    }
    let pages = |hits: &[Value]| -> Vec<String> {
        hits.iter()
            .map(|hit| hit["page_url"].as_str().unwrap().to_owned())
            .collect()
    };
    for id in [&ada, &c7, &visitor.to_owned()] {
        let timeline = api.get(&contact(&format!("/{id}/timeline"))).await.json();
        assert_eq!(
            pages(timeline["hits"].as_array().unwrap()),
            ["both", "b", "a", "before"]
        );
        assert_eq!(timeline["next"], Value::Null);
        let (hits, _) = read_hits(&mut api, &format!("contact_id={id}")).await;
        assert_eq!(pages(&hits), ["before", "a", "b", "both"]);
    }
    // Without a name: an answer only where it has left hits.
    let anonymous = api.get(&contact(&format!("/{stranger}"))).await.json();
    assert_eq!(
        (&anonymous["id"], &anonymous["visitor_ids"]),
        (&Value::Null, &json!([stranger]))
    );
    let timeline = api
        .get(&contact(&format!("/{stranger}/timeline")))
        .await
        .json();
    assert_eq!(pages(timeline["hits"].as_array().unwrap()), ["alone"]);
    for (nobody, status) in [
        ("/0193f2c6-0000-7000-8000-000000000003", 404),
        ("/me", 404),
        ("/me/timeline", 404),
        ("?email=%00", 404),
        ("?email=nobody@example.com", 404),
        ("?firstname=Ada", 422),
        ("?email=a&customer=b", 422),
        ("?limit=0", 422),
    ] {
        assert_eq!(api.get(&contact(nobody)).await.status, status, "{nobody}");
    }
    server.finish().await;
}

async fn a_timeline_has_titles_and_icons_and_goes_on(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let hits: Vec<Value> = (0..5)
        .map(|n| json!({ "page_url": format!("p{n}"), "contact": { "email": "a@example.com" } }))
        .chain([
            json!({ "page_url": "u", "contact": { "email": "a@example.com" }, "utm_medium": "Social", "utm_source": "facebook", "utm_campaign": "<b>Spring</b>" }),
        ])
        .collect();
    post_hits(&mut api, &Value::from(hits)).await;
    server.wait_drained(DRAINING).await;
    let id = api.get("/api/v1/contacts?email=a@example.com").await.json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/v1/contacts/{id}/timeline");
    let newest = api.get(&format!("{path}?limit=3")).await.json();
    assert_eq!(
        (&newest["hits"][0]["title"], &newest["hits"][0]["icon"]),
        (&json!("<b>Spring</b>"), &json!("facebook"))
    );
    assert_eq!(
        newest["hits"][1].get("icon"),
        None,
        "only hits with UTM values have one"
    );
    let older = api
        .get(&format!(
            "{path}?limit=3&after={}",
            newest["next"].as_str().unwrap()
        ))
        .await
        .json();
    let pages: Vec<&str> = [&newest, &older]
        .iter()
        .flat_map(|part| part["hits"].as_array().unwrap())
        .map(|hit| hit["page_url"].as_str().unwrap())
        .collect();
    assert_eq!(pages, ["u", "p4", "p3", "p2", "p1", "p0"]);
    server.finish().await;
}

async fn a_contact_that_is_made_and_merged_at_once_keeps_its_hits(engine: Engine) {
    let server = TestServer::on(engine)
        .with("CONTACTS__UNIQUE", "[\"email\", \"customer\"]")
        .start()
        .await;
    let mut api = server.client().admin();
    let (email, customer) = ("ada@x.example", "C-7");
    post_hits(
        &mut api,
        &json!([
            { "page_url": "a", "contact": { "email": email } },
            { "page_url": "b", "contact": { "customer": customer } },
            { "page_url": "both", "contact": { "email": email, "customer": customer } },
        ]),
    )
    .await;
    server.wait_drained(DRAINING).await;
    let ada = api
        .get(&format!("/api/v1/contacts?email={email}"))
        .await
        .json();
    assert_eq!(ada["former_ids"].as_array().unwrap().len(), 1, "{ada:#}");
    let path = format!("/api/v1/contacts/{}/timeline", ada["id"].as_str().unwrap());
    let timeline = api.get(&path).await.json();
    let hits = timeline["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 3, "{timeline:#}");
    server.finish().await;
}

on_both!(
    a_contact_that_is_made_and_merged_at_once_keeps_its_hits,
    former_ids_and_visitors_resolve_to_the_contact,
    a_timeline_has_titles_and_icons_and_goes_on,
);

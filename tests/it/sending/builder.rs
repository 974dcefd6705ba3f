//! A link looked at before it is made, and its QR code.

use serde_json::{Value, json};

use super::{assert_problem, make_delivery};
use crate::harness::{Engine, TestServer, on_both};

async fn a_link_is_checked_with_its_campaign_before_it_is_made(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(
        &mut api,
        json!({"label": "x", "utm": {"source": "letter", "campaign": "Spring 1"}}),
    )
    .await;
    let check = json!({"url": "https://Shop.example/ü?a=1#top", "delivery_id": delivery,
        "utm": {"source": "news", "term": "a&b"}});
    let checked = api.post_json("/api/v1/links/check", &check).await;
    assert_eq!(checked.status, 200, "{}", checked.text());
    let checked = checked.json();
    assert_eq!(checked["url"], "https://shop.example/%C3%BC?a=1#top");
    let destination = "https://shop.example/%C3%BC?a=1&utm_source=news\
        &utm_campaign=Spring%201&utm_term=a%26b#top";
    assert_eq!(checked["destination"], destination);
    let codes: Vec<_> = checked["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["spaces", "capitals"]);
    let own = json!({"url": format!("{}/r/autumn", server.url())});
    let own = api.post_json("/api/v1/links/check", &own).await.json();
    assert_eq!(own["warnings"][0]["code"], "own_host");
    assert_eq!(server.db().number("select count(*) from links").await, 0);
    for (body, field) in [
        (json!({}), "url"),
        (json!({"url": "javascript:1"}), "url"),
        (
            json!({"url": "https://x.example", "delivery_id": 999}),
            "delivery_id",
        ),
        (
            json!({"url": "https://x.example", "utm": {"sauce": "x"}}),
            "utm.sauce",
        ),
    ] {
        let answer = api.post_json("/api/v1/links/check", &body).await;
        assert_problem(&answer, 422, Some(field));
    }
    server.finish().await;
}

async fn a_short_link_has_a_qr_code(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let short = json!({"url": "https://shop.example/", "slug": "poster"});
    let short = api.post_json("/api/v1/links", &short).await.json();
    let path = format!("/api/v1/links/{}/qr", short["id"]);
    let drawing = api.get(&format!("{path}.svg")).await;
    assert_eq!(drawing.header("content-type"), "image/svg+xml");
    assert!(drawing.text().contains("<path"));
    let picture = api.get(&format!("{path}.png?size=300")).await;
    assert_eq!(picture.header("content-type"), "image/png");
    assert!(picture.body.starts_with(b"\x89PNG"));
    let delivery = make_delivery(&mut api, json!({"label": "x"})).await;
    let plain = format!("/api/v1/deliveries/{delivery}/links");
    let plain = api
        .post_json(&plain, &json!({"url": "https://shop.example/"}))
        .await
        .json();
    let no_slug = format!("/api/v1/links/{}/qr.png", plain["id"]);
    assert_problem(&api.get(&no_slug).await, 409, None);
    assert_problem(&api.get("/api/v1/links/999/qr.svg").await, 404, None);
    let large = api.get(&format!("{path}.png?size=100000")).await;
    assert_problem(&large, 422, Some("size"));
    assert_ne!(short["short_url"], Value::Null);
    server.finish().await;
}

on_both!(
    a_link_is_checked_with_its_campaign_before_it_is_made,
    a_short_link_has_a_qr_code,
);

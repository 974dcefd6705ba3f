//! Lists are paged in one way: `limit`, and `next` of one part as `after` of the following, until it
//! is null. Part by part each list is the same as in one piece.

use http::Method;
use serde_json::{Value, json};

use super::sent;
use crate::harness::{Client, Engine, TestServer, on_both, wait_for};

const SOON: std::time::Duration = std::time::Duration::from_secs(20);

/// Every list, and the name of its entries. `{delivery}`, `{link}`, `{short}` and `{contact}` are
/// ids.
pub const LISTS: &[(&str, &str)] = &[
    ("/deliveries", "deliveries"),
    ("/links", "links"),
    ("/links/{link}/history", "changes"),
    ("/page-tags", "page_tags"),
    ("/forms", "forms"),
    ("/contacts", "contacts"),
    ("/contacts/tags", "tags"),
    ("/contacts/{contact}/timeline", "hits"),
    (
        "/reports/deliveries/{delivery}/people?what=clickers",
        "people",
    ),
    ("/reports/links/{link}/people?what=clickers", "people"),
    ("/reports/links/{short}/people?what=clicked", "people"),
    ("/orphans", "orphans"),
    ("/unknown-paths", "unknown_paths"),
    ("/imports", "imports"),
    ("/tokens", "tokens"),
    ("/erasures", "erasures"),
];

async fn part(api: &mut Client, path: &str, name: &str, query: &str) -> (Vec<Value>, Value) {
    let join = if path.contains('?') { '&' } else { '?' };
    let list = sent(
        api,
        Method::GET,
        &format!("{path}{join}{query}"),
        Value::Null,
    )
    .await;
    (list[name].as_array().unwrap().clone(), list["next"].clone())
}

async fn every_list_is_paged_in_one_way(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let post = Method::POST;
    let delivery = json!({"id": 7, "label": "November"});
    sent(&mut api, post.clone(), "/deliveries", delivery).await;
    for number in 1..=3 {
        let label = json!({"label": number.to_string()});
        sent(&mut api, post.clone(), "/deliveries", label).await;
        let tag = json!({"identifier": format!("a&b {number}"), "kind": "web"});
        sent(&mut api, post.clone(), "/page-tags", tag).await;
    }
    for number in 1..=3 {
        let token = json!({"name": format!("Shop {number}"), "scopes": ["hits:write"]});
        sent(&mut api, post.clone(), "/tokens", token).await;
        let form = json!({"name": format!("Form {number}"), "fields": []});
        sent(&mut api, post.clone(), "/forms", form).await;
        let email = format!("{number}@example.com");
        let contact = json!({
            "fields": {"email": email}, "tags": [format!("tag {number}"), "all & more"],
        });
        sent(&mut api, post.clone(), "/contacts", contact).await;
        let gone = json!({"fields": {"email": format!("gone-{number}@example.com")}});
        let gone = sent(&mut api, post.clone(), "/contacts", gone).await;
        let gone = format!("/contacts/{}", gone["id"].as_str().unwrap());
        sent(&mut api, Method::DELETE, &gone, Value::Null).await;
    }
    let url = json!({"url": "https://shop.example/", "id": 70, "label": "0"});
    sent(&mut api, post.clone(), "/deliveries/7/links", url).await;
    let short = json!({"url": "https://shop.example/", "slug": "short", "id": 71});
    sent(&mut api, post.clone(), "/links", short).await;
    let slug = json!({"url": "https://shop.example/", "slug": "sent", "delivery_id": 7, "id": 72});
    sent(&mut api, post.clone(), "/links", slug).await;
    for label in ["1", "2", "3"] {
        sent(
            &mut api,
            Method::PATCH,
            "/links/72",
            json!({"label": label}),
        )
        .await;
    }
    let hits: Vec<Value> = (1..=3)
        .map(|_| json!({"kind": "pageview", "contact": {"email": "1@example.com"}}))
        .collect();
    sent(&mut api, post, "/hits", json!(hits)).await;
    for number in 1..=3 {
        let mut reader = server.client();
        for path in ["/r/short", "/r/sent", "/r/short"] {
            assert_eq!(reader.get(path).await.status, 302);
        }
        reader.get(&format!("/r/gone-{number}")).await;
        reader.get(&format!("/path-{number}/x")).await;
        let csv = format!("id,url\n{},https://shop.example/{number}\n", 100 + number);
        let file = server.data_dir().join(format!("{number}.csv"));
        std::fs::write(&file, csv).unwrap();
        let mut import = server.command();
        let done = import
            .args(["import", "links"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    server.wait_stored(SOON).await;
    for list in ["orphans", "unknown_paths"] {
        wait_for("what is unknown is counted", SOON, async || {
            let sql = format!("select count(*) from {list}");
            server.db().number(&sql).await == 3
        })
        .await;
    }
    let one = sent(
        &mut api,
        Method::GET,
        "/contacts?email=1@example.com",
        Value::Null,
    )
    .await;
    for (path, name) in LISTS {
        let path = path
            .replace("{delivery}", "7")
            .replace("{link}", "72")
            .replace("{short}", "71")
            .replace("{contact}", one["id"].as_str().unwrap());
        let (all, next) = part(&mut api, &path, name, "limit=1000").await;
        assert!(all.len() >= 3, "{path}: {all:?}");
        assert_eq!(next, Value::Null, "{path}");
        for limit in [1, 2] {
            let (mut parts, mut query) = (Vec::new(), format!("limit={limit}"));
            loop {
                let (some, next) = part(&mut api, &path, name, &query).await;
                assert!(some.len() <= limit, "{path}");
                parts.extend(some);
                let text = match &next {
                    Value::Null => break,
                    Value::String(text) => text.clone(),
                    next => next.to_string(),
                };
                let after: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
                query = format!("limit={limit}&after={after}");
            }
            assert_eq!(parts, all, "{path} by {limit}");
        }
        for wrong in ["0", "1001", "x"] {
            let join = if path.contains('?') { '&' } else { '?' };
            let path = format!("/api/v1{path}{join}limit={wrong}");
            assert_eq!(api.get(&path).await.status, 422, "{path}");
        }
    }
    let imported = sent(&mut api, Method::GET, "/imports?limit=1", Value::Null).await;
    let imported = &imported["imports"][0];
    assert_eq!(imported["outcome"], "done", "{imported}");
    assert_eq!(
        (&imported["rows"], &imported["made"]),
        (&json!(1), &json!(1))
    );
    assert!(
        imported["file"].as_str().unwrap().ends_with("3.csv"),
        "{imported}"
    );
    let tags = sent(&mut api, Method::GET, "/contacts/tags", Value::Null).await;
    assert_eq!(tags["tags"][0], json!({"tag": "all & more", "contacts": 3}));
    server.finish().await;
}

on_both!(every_list_is_paged_in_one_way);

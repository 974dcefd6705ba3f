//! Looking for deliveries and links, changing and ending them after they were sent: a click always
//! reaches a page, on every server.

mod contacts;
mod ended;
mod paging;

pub use paging::LISTS;

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Engine, PostgresServer, TestServer, on_both, wait_for};

const WITHIN: Duration = Duration::from_secs(20);

async fn send(api: &mut Client, method: Method, path: &str, body: Value) -> Answer {
    let body = match body {
        Value::Null => Bytes::new(),
        body => Bytes::from(body.to_string()),
    };
    let path = format!("/api/v1{path}");
    api.request(method, &path, &[], body).await.unwrap()
}

async fn sent(api: &mut Client, method: Method, path: &str, body: Value) -> Value {
    let answer = send(api, method, path, body).await;
    let status = answer.status;
    assert!((200..300).contains(&status), "{path}: {}", answer.text());
    answer.json()
}

async fn refused(api: &mut Client, method: Method, path: &str, body: Value) -> (u16, String) {
    let answer = send(api, method, path, body).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    (
        answer.status,
        answer.json()["detail"].as_str().unwrap().to_owned(),
    )
}

/// Where a click leads; nowhere where it is told that there is no such page.
async fn leads(server: &TestServer, path: &str) -> Option<String> {
    let click = server.client().get(path).await;
    match click.status {
        302 => Some(click.header("location").to_owned()),
        404 => None,
        status => panic!("{status}: {}", click.text()),
    }
}

/// The ids of a list's entries and its `next`.
async fn listed(api: &mut Client, path: &str, name: &str) -> (Vec<i64>, Value) {
    let list = sent(api, Method::GET, path, Value::Null).await;
    let ids = list[name].as_array().unwrap().iter();
    let ids = ids.map(|entry| entry["id"].as_i64().unwrap()).collect();
    (ids, list["next"].clone())
}

/// All of a list, page by page.
async fn whole(api: &mut Client, path: &str, name: &str) -> Vec<i64> {
    let (mut ids, mut next) = listed(api, path, name).await;
    while !next.is_null() {
        let join = if path.contains('?') { '&' } else { '?' };
        let (more, after) = listed(api, &format!("{path}{join}after={next}"), name).await;
        ids.extend(more);
        next = after;
    }
    ids
}

async fn a_sent_link_is_changed_ended_and_begun_again_with_its_history(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let (post, patch) = (Method::POST, Method::PATCH);
    let short = json!({"url": "https://shop.example/a", "slug": "lamp", "label": "Lamp"});
    let link = sent(&mut api, post.clone(), "/links", short).await;
    let path = format!("/links/{}", link["id"]);
    let page = || leads(&server, "/r/lamp?x=1");
    assert_eq!(page().await.as_deref(), Some("https://shop.example/a?x=1"));

    let edit = json!({"url": "https://shop.example/ä", "label": null});
    let changed = sent(&mut api, patch.clone(), &path, edit.clone()).await;
    assert_eq!(changed["url"], "https://shop.example/%C3%A4");
    assert_eq!(changed["label"], Value::Null);
    assert_eq!(
        page().await.as_deref(),
        Some("https://shop.example/%C3%A4?x=1")
    );
    // The same again is no change.
    assert_eq!(sent(&mut api, patch.clone(), &path, edit).await, changed);
    assert_eq!(
        sent(&mut api, patch.clone(), &path, json!({})).await,
        changed
    );

    let end = format!("{path}/end");
    let ended = sent(&mut api, post.clone(), &end, Value::Null).await;
    assert!(ended["ended_at"].is_string(), "{ended}");
    assert_eq!(page().await, None, "the fallback's page");
    let over = json!({"url": "https://shop.example/over"});
    let ended_again = sent(&mut api, post.clone(), &end, over).await;
    assert_eq!(ended_again["ended_at"], ended["ended_at"]);
    assert_eq!(page().await.as_deref(), Some("https://shop.example/over"));
    sent(&mut api, patch, &path, json!({"ended": false})).await;
    assert_eq!(
        page().await.as_deref(),
        Some("https://shop.example/%C3%A4?x=1")
    );
    assert_eq!(
        sent(&mut api, Method::GET, &path, Value::Null).await["end_url"],
        "https://shop.example/over"
    );

    let history = sent(
        &mut api,
        Method::GET,
        &format!("{path}/history"),
        Value::Null,
    )
    .await;
    let told: Vec<_> = history["changes"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 4, "{history}");
    assert!(told.iter().all(|change| change["by"] == "admin"));
    assert_eq!(
        told[3]["before"],
        json!({"url": "https://shop.example/a", "label": "Lamp"})
    );
    assert_eq!(
        told[3]["after"],
        json!({"url": "https://shop.example/%C3%A4", "label": null})
    );
    assert_eq!(told[2]["after"], json!({"ended_at": ended["ended_at"]}));
    assert_eq!(
        told[1]["after"],
        json!({"end_url": "https://shop.example/over"})
    );
    assert_eq!(told[0]["before"], json!({"ended_at": ended["ended_at"]}));
    let first = format!("{path}/history?limit=3");
    let first = sent(&mut api, Method::GET, &first, Value::Null).await;
    let rest = format!("{path}/history?after={}", first["next"].as_str().unwrap());
    let rest = sent(&mut api, Method::GET, &rest, Value::Null).await;
    assert_eq!(
        (&rest["changes"][0], &rest["next"]),
        (told[3], &Value::Null)
    );

    let (status, why) = refused(&mut api, Method::DELETE, &path, Value::Null).await;
    assert!(
        status == 409 && why.contains(&format!("POST /api/v1{end}")),
        "{why}"
    );
    server.wait_drained(WITHIN).await;
    server.finish().await;
}

async fn a_delivery_is_changed_and_ended_with_all_its_links(engine: Engine) {
    let server = TestServer::on(engine)
        .with("LINKS__FALLBACK_URL", "https://shop.example/lost")
        .start()
        .await;
    let mut api = server.client().admin();
    let (post, patch) = (Method::POST, Method::PATCH);
    let made = json!({"label": "News", "utm": {"source": "news", "medium": "email"}});
    let delivery = sent(&mut api, post.clone(), "/deliveries", made).await;
    let path = format!("/deliveries/{}", delivery["id"]);
    for slug in ["a", "b"] {
        let link = json!({"url": format!("https://shop.example/{slug}"), "slug": slug,
            "delivery_id": delivery["id"]});
        sent(&mut api, post.clone(), "/links", link).await;
    }
    let page = |slug: &'static str| {
        let server = &server;
        async move { leads(server, &format!("/r/{slug}")).await.unwrap() }
    };
    assert_eq!(
        page("a").await,
        "https://shop.example/a?utm_source=news&utm_medium=email"
    );
    let edit = json!({"label": "November", "channel": "push", "sent_at": "2026-11-01T00:00:00Z",
        "utm": {"source": "letter"}});
    let changed = sent(&mut api, patch.clone(), &path, edit).await;
    assert_eq!(changed["label"], "November");
    assert_eq!(changed["sent_at"], "2026-11-01T00:00:00Z");
    assert_eq!(page("a").await, "https://shop.example/a?utm_source=letter");

    sent(&mut api, post.clone(), &format!("{path}/end"), Value::Null).await;
    assert_eq!(page("b").await, "https://shop.example/lost");
    let over = json!({"url": "https://shop.example/over"});
    let ended = sent(&mut api, post.clone(), &format!("{path}/end"), over).await;
    assert_eq!(page("a").await, "https://shop.example/over");
    // A link that has its own page keeps it.
    let links = sent(&mut api, Method::GET, &path, Value::Null).await["links"].clone();
    let own = json!({"ended": true, "end_url": "https://shop.example/sold-out"});
    sent(
        &mut api,
        patch.clone(),
        &format!("/links/{}", links[0]["id"]),
        own,
    )
    .await;
    assert_eq!(page("a").await, "https://shop.example/sold-out");
    assert_eq!(page("b").await, "https://shop.example/over");
    let again = sent(&mut api, post, &format!("{path}/end"), Value::Null).await;
    assert_eq!(again["expires_at"], ended["expires_at"]);
    sent(&mut api, patch, &path, json!({"expires_at": null})).await;
    assert_eq!(page("b").await, "https://shop.example/b?utm_source=letter");

    let (status, why) = refused(&mut api, Method::DELETE, &path, Value::Null).await;
    assert!(
        status == 409 && why.contains(&format!("POST /api/v1{path}/end")),
        "{why}"
    );
    server.wait_drained(WITHIN).await;
    server.finish().await;
}

async fn links_are_found_by_what_stands_in_them(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let post = Method::POST;
    for (id, label) in [(5, "Autumn"), (6, "Winter")] {
        let delivery = json!({"id": id, "label": label});
        sent(&mut api, post.clone(), "/deliveries", delivery).await;
    }
    for (id, url, label, category, delivery) in [
        (11, "https://shop.example/Lampen", "Lights", None, Some(5)),
        (
            12,
            "https://shop.example/care",
            "Ödland 100%",
            None,
            Some(5),
        ),
        (
            13,
            "https://shop.example/out",
            "Out",
            Some("optout"),
            Some(6),
        ),
        (14, "https://shop.example/x_y", "Lamp", Some("mirror"), None),
        (112, "https://other.example/", "Other", None, None),
    ] {
        let link = json!({"id": id, "url": url, "label": label, "category": category,
            "delivery_id": delivery, "slug": format!("s{id}")});
        sent(&mut api, post.clone(), "/links", link).await;
    }
    sent(&mut api, post, "/links/12/end", Value::Null).await;
    for (query, expected) in [
        ("", &[112, 14, 13, 12, 11][..]),
        ("search=LAMP", &[14, 11]),
        // No text of a search is a pattern, and case does not matter in any language.
        ("search=%25", &[12]),
        ("search=x_y", &[14]),
        ("search=x-y", &[]),
        ("search=%C3%B6dland", &[12]),
        ("search=12", &[112, 12]),
        ("search=", &[112, 14, 13, 12, 11]),
        ("search=nothing", &[]),
        ("delivery_id=5", &[12, 11]),
        ("delivery_id=5&search=lamp", &[11]),
        ("delivery_id=7", &[]),
        ("slug=s13", &[13]),
        ("slug=s13&delivery_id=5", &[]),
        ("slug=s1", &[]),
        ("slug=%00", &[]),
        ("kind=optout", &[13]),
        ("kind=click", &[112, 12, 11]),
        ("ended=true", &[12]),
        ("ended=false&kind=click", &[112, 11]),
    ] {
        for limit in [1, 2, 100] {
            let path = format!("/links?{query}&limit={limit}");
            let found = whole(&mut api, &path, "links").await;
            assert_eq!(found, expected, "{path}");
        }
    }
    assert_eq!(
        whole(&mut api, "/deliveries?limit=1", "deliveries").await,
        [6, 5]
    );
    assert_eq!(
        whole(&mut api, "/deliveries?search=AUT", "deliveries").await,
        [5]
    );
    // As earlier versions called it.
    assert_eq!(
        listed(&mut api, "/deliveries?before=6", "deliveries")
            .await
            .0,
        [5]
    );
    server.finish().await;
}

on_both!(
    a_sent_link_is_changed_ended_and_begun_again_with_its_history,
    a_delivery_is_changed_and_ended_with_all_its_links,
    links_are_found_by_what_stands_in_them,
);

/// What one server changes, the other serves; also where it has served the link before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_the_other_servers() {
    let url = PostgresServer::new_shared_database().await;
    let on_it = || TestServer::on(Engine::Postgres).database(&url);
    let (one, other) = (on_it().start().await, on_it().start().await);
    let mut api = one.client().admin();
    let made = json!({"label": "News"});
    let delivery = sent(&mut api, Method::POST, "/deliveries", made).await;
    let short = json!({"url": "https://shop.example/a", "slug": "lamp",
        "delivery_id": delivery["id"]});
    let link = sent(&mut api, Method::POST, "/links", short).await;
    let path = format!("/links/{}", link["id"]);
    let reaches = async |page: Option<&str>| {
        assert_eq!(leads(&one, "/r/lamp").await.as_deref(), page, "at once");
        wait_for("the other server knows", WITHIN, async || {
            leads(&other, "/r/lamp").await.as_deref() == page
        })
        .await;
    };
    reaches(Some("https://shop.example/a")).await;
    let edit = json!({"url": "https://shop.example/b"});
    sent(&mut api, Method::PATCH, &path, edit).await;
    reaches(Some("https://shop.example/b")).await;
    // The other one changes it too, and the first serves it.
    let edit = json!({"url": "https://shop.example/c"});
    sent(&mut other.client().admin(), Method::PATCH, &path, edit).await;
    assert_eq!(
        leads(&other, "/r/lamp").await.as_deref(),
        Some("https://shop.example/c")
    );
    wait_for("the first server knows", WITHIN, async || {
        leads(&one, "/r/lamp").await.as_deref() == Some("https://shop.example/c")
    })
    .await;
    let utm = json!({"utm": {"source": "news"}});
    let of_delivery = format!("/deliveries/{}", delivery["id"]);
    sent(&mut api, Method::PATCH, &of_delivery, utm).await;
    reaches(Some("https://shop.example/c?utm_source=news")).await;
    sent(&mut api, Method::POST, &format!("{path}/end"), Value::Null).await;
    reaches(None).await;
    let edit = json!({"ended": false});
    sent(&mut api, Method::PATCH, &path, edit).await;
    reaches(Some("https://shop.example/c?utm_source=news")).await;
    for server in [&one, &other] {
        server.wait_drained(WITHIN).await;
    }
    one.finish().await;
    other.finish().await;
}

//! The HTML and the text of a mail: their links become the delivery's, and lead where they led.

mod newsletters;
mod render;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Engine, TestServer, on_both};

const HTML: &str = r#"<html><body><p>Hello {{firstname}},</p>
<a href="https://shop.example/lamp?a=1&amp;b=2#top"><img src="https://cdn.example/l.png" alt="Lamp"></a>
<!--[if mso]><v:roundrect href="https://shop.example/buy?for={{firstname}}"><center>Buy</center></v:roundrect><![endif]-->
<!--[if !mso]><!--><a href="https://shop.example/buy?for={{firstname}}">Buy</a><!--<![endif]-->
<a href="https://shop.example/lamp?a=1&amp;b=2#top">https://shop.example/lamp</a>
<a href="https://shop.example/out" data-sillage-kind="optout">Leave</a>
</body></html>"#;
const TEXT: &str = "See https://shop.example/lamp?a=1&b=2#top.\nLeave: https://shop.example/out";

async fn make_delivery(api: &mut Client) -> i64 {
    let made = api
        .post_json("/api/v1/deliveries", &json!({"label": "Letter"}))
        .await;
    made.json()["id"].as_i64().unwrap()
}

async fn post(api: &mut Client, path: &str, body: &Value) -> Answer {
    api.post_json(&format!("/api/v1{path}"), body).await
}

async fn save(api: &mut Client, delivery: i64, body: &Value) -> Value {
    let answer = post(api, &format!("/deliveries/{delivery}/content"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn ids(content: &Value) -> Vec<i64> {
    let links = content["links"].as_array().unwrap().iter();
    links.map(|link| link["id"].as_i64().unwrap()).collect()
}

fn codes(content: &Value) -> Vec<&str> {
    let warnings = content["warnings"].as_array().unwrap().iter();
    warnings
        .map(|warning| warning["code"].as_str().unwrap())
        .collect()
}

async fn a_mails_links_become_its_deliverys(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api).await;
    let content = json!({"html": HTML, "text": TEXT});
    let checked = post(&mut api, "/content/check", &content).await.json();
    let saved = save(&mut api, delivery, &content).await;
    let links: Vec<Value> = saved["links"].as_array().unwrap().clone();
    let shown: Vec<_> = links
        .iter()
        .map(|link| {
            json!([
                link["url"],
                link["label"],
                link["position"],
                link["kind"],
                link["part"]
            ])
        })
        .collect();
    let lamp = "https://shop.example/lamp?a=1&b=2#top";
    assert_eq!(
        shown,
        [
            json!([lamp, "Lamp", 1, "click", "html"]),
            json!([
                "https://shop.example/buy?for={p1}",
                "Buy",
                2,
                "click",
                "html"
            ]),
            json!([lamp, "https://shop.example/lamp", 3, "click", "html"]),
            json!(["https://shop.example/out", "Leave", 4, "optout", "html"]),
            json!([lamp, null, 5, "click", "text"]),
            json!(["https://shop.example/out", null, 6, "optout", "text"]),
        ]
    );
    assert_eq!(saved["fields"], json!(["firstname"]));
    assert_eq!(codes(&saved), ["visible_url"]);
    assert_eq!(saved["warnings"][0]["line"], 5);
    assert_eq!(saved["warnings"], checked["warnings"]);
    assert_eq!(checked["links"][3]["id"], Value::Null);
    assert_eq!(checked["links"][3]["url"], "https://shop.example/out");

    // They are links as any other.
    let path = format!("/api/v1/deliveries/{delivery}/messages");
    let line = r#"{"contact":{"email":"ada@example.com"}}"#;
    let message = api.post(&path, "application/x-ndjson", line).await.json();
    let second = message["links"][ids(&saved)[1].to_string()]
        .as_str()
        .unwrap();
    let click = server
        .client()
        .get(&format!(
            "{}?p1=Ada%20B",
            second.strip_prefix(&server.url()).unwrap()
        ))
        .await;
    assert_eq!(
        click.header("location"),
        "https://shop.example/buy?for=Ada%20B"
    );
    let listed = api
        .get(&format!("/api/v1/links?delivery_id={delivery}&kind=optout"))
        .await
        .json();
    assert_eq!(listed["links"].as_array().unwrap().len(), 2);

    let path = format!("/api/v1/deliveries/{delivery}/content");
    let shown = api.get(&path).await.json();
    assert_eq!(
        (&shown["html"], &shown["text"]),
        (&json!(HTML), &json!(TEXT))
    );
    assert_eq!(shown["links"], saved["links"]);
    server.finish().await;
}

async fn campaign_parameters_that_a_link_has_are_not_added_again(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let campaign = json!({"label": "Letter", "utm": {"source": "news", "medium": "email"}});
    let made = post(&mut api, "/deliveries", &campaign).await.json();
    let html = "<a href=\"https://shop.example/?utm_source=own&amp;a=1#top\">x</a>";
    let delivery = made["id"].as_i64().unwrap();
    save(&mut api, delivery, &json!({ "html": html })).await;
    let path = format!("/api/v1/deliveries/{delivery}/messages?render=html");
    let line = r#"{"contact":{"email":"ada@example.com"}}"#;
    let message = api.post(&path, "application/x-ndjson", line).await.json();
    let sent = message["html"].as_str().unwrap();
    let link = sent.split('"').nth(1).unwrap();
    let click = server
        .client()
        .get(link.strip_prefix(&server.url()).unwrap())
        .await;
    assert_eq!(
        click.header("location"),
        "https://shop.example/?utm_source=own&a=1&utm_medium=email#top"
    );
    server.finish().await;
}

async fn a_second_time_replaces_the_content_and_keeps_what_was_sent(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api).await;
    let letter = |urls: &[&str]| {
        let links: String = urls
            .iter()
            .map(|url| format!("<a href=\"https://shop.example/{url}\">x</a>"))
            .collect();
        json!({ "html": links })
    };
    let first = save(&mut api, delivery, &letter(&["a", "b", "a"])).await;
    let [a, b, second_a] = ids(&first).try_into().unwrap();
    let again = save(&mut api, delivery, &letter(&["a", "b", "a"])).await;
    assert_eq!(again, first, "the same again changes nothing");
    // `b` goes, `c` comes, the order changes.
    let other = save(&mut api, delivery, &letter(&["c", "a"])).await;
    let [c, still_a] = ids(&other).try_into().unwrap();
    assert_eq!(still_a, a);
    assert!(![a, b, second_a].contains(&c));
    let path = format!("/api/v1/deliveries/{delivery}/messages");
    let line = r#"{"contact":{"email":"ada@example.com"}}"#;
    let message = api.post(&path, "application/x-ndjson", line).await.json();
    assert_eq!(
        message["links"].as_object().unwrap().len(),
        4,
        "those that were sent lead on"
    );
    let back = save(&mut api, delivery, &letter(&["b", "a", "a"])).await;
    assert_eq!(ids(&back), [b, a, second_a], "taken up again");

    // What was changed by hand stays so, and is told.
    let path = format!("/api/v1/links/{a}");
    let edit = json!({"url": "https://shop.example/new", "label": "New"});
    let body = bytes::Bytes::from(edit.to_string());
    api.request(Method::PATCH, &path, &[], body).await.unwrap();
    post(&mut api, &format!("/links/{b}/end"), &json!({})).await;
    let told = save(&mut api, delivery, &letter(&["b", "a"])).await;
    assert_eq!(told["links"][1]["url"], "https://shop.example/new");
    assert_eq!(told["links"][1]["label"], "New");
    let codes: Vec<_> = codes(&told);
    assert_eq!(codes, ["no_unsubscribe", "ended_link", "changed_link"]);

    // Two at the same time make each link once.
    let third = make_delivery(&mut api).await;
    let path = format!("/deliveries/{third}/content");
    let content = letter(&["x", "y", "z"]);
    let (mut one, mut two) = (server.client().admin(), server.client().admin());
    let (one, two) = tokio::join!(
        post(&mut one, &path, &content),
        post(&mut two, &path, &content)
    );
    assert_eq!(ids(&one.json()), ids(&two.json()));
    server.finish().await;
}

async fn what_cannot_be_taken_is_told_with_its_field_and_line(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let delivery = make_delivery(&mut api).await;
    let path = format!("/deliveries/{delivery}/content");
    let long = "x".repeat(11 << 20);
    let deep = "<div>".repeat(500_000);
    for (body, field, part) in [
        (json!({}), "html", "give at least one"),
        (json!({"html": "<p>\n\u{0}"}), "html", "zero byte in line 2"),
        (json!({"html": 7}), "html", "must be a string"),
        (json!({"htm": "x"}), "htm", "did you mean html"),
        (
            json!({"html": "<a href='https://{{h}}/'>"}),
            "html",
            "personal_hosts",
        ),
        (json!({"text": "\n\nhttps://{{h}}/"}), "text", "line 3"),
        (json!({"html": long}), "html", "10485760"),
        (json!({"html": deep}), "html", "too deep"),
    ] {
        for path in [&path, "/content/check"] {
            let answer = post(&mut api, path, &body).await;
            assert_eq!(answer.status, 422, "{}", answer.text());
            assert_eq!(answer.json()["field"], field);
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(part), "{detail}");
        }
    }
    for (body, part) in [
        (&b"{\"html\":\"caf\xe9\"}"[..], "not valid UTF-8 at byte 13"),
        (b"{\"html\":\"\\ud800\"}", "not valid JSON"),
        (b"", "it is empty"),
    ] {
        let answer = api
            .post("/api/v1/content/check", "application/json", body)
            .await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let text = answer.text();
        assert!(text.contains(part), "{text}");
    }
    let content = json!({"html": "<p>x"});
    for path in ["/deliveries/999/content", "/deliveries/x/content"] {
        assert_eq!(post(&mut api, path, &content).await.status, 404);
        assert_eq!(api.get(&format!("/api/v1{path}")).await.status, 404);
    }
    let none = api.get(&format!("/api/v1{path}")).await;
    assert_eq!(none.status, 404, "nothing of it was stored");
    assert!(none.text().contains("give it one with POST"));
    server.finish().await;
}

on_both!(
    a_mails_links_become_its_deliverys,
    campaign_parameters_that_a_link_has_are_not_added_again,
    a_second_time_replaces_the_content_and_keeps_what_was_sent,
    what_cannot_be_taken_is_told_with_its_field_and_line,
);

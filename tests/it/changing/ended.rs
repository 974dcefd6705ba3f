//! Forms and page tags are ended, never deleted.

use http::Method;
use serde_json::{Value, json};

use super::{refused, sent};
use crate::harness::{Engine, TestServer, on_both};

const URLENCODED: &str = "application/x-www-form-urlencoded";

async fn a_form_that_has_ended_takes_nothing_and_says_so(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let (post, put) = (Method::POST, Method::PUT);
    let form = json!({
        "id": 3, "name": "News", "fields": [{"alias": "email", "contact_field": "email"}],
    });
    sent(&mut api, post.clone(), "/forms", form.clone()).await;
    let submit = async |path: &str| {
        let body = "mauticform[email]=ada@example.com";
        server.client().post(path, URLENCODED, body).await
    };
    let path = "/form/submit?formId=3";
    assert_eq!(submit(path).await.status, 200);
    server.wait_stored(std::time::Duration::from_secs(20)).await;
    let ended = sent(&mut api, post.clone(), "/forms/3/end", Value::Null).await;
    assert!(ended["ended_at"].is_string(), "{ended}");
    // A change of its words begins nothing anew.
    let changed = sent(&mut api, put.clone(), "/forms/3", form.clone()).await;
    assert_eq!(changed["ended_at"], ended["ended_at"]);

    let told = submit(path).await;
    assert_eq!(told.status, 410, "{}", told.text());
    assert!(
        told.text().contains("This form is closed."),
        "{}",
        told.text()
    );
    let told = submit("/form/submit/ajax?formId=3").await;
    assert_eq!(told.json()["errorMessage"], "This form is closed.");
    assert_eq!(told.json()["success"], 0);
    let mut client = server.client();
    assert_eq!(client.get("/form/3").await.status, 410);
    assert!(client.get("/form/embed/3").await.text().contains("closed"));
    let script = client.get("/form/generate.js?id=3").await.text();
    assert!(
        script.contains("closed") && !script.contains("<form"),
        "{script}"
    );

    let over = json!({"url": "https://shop.example/over"});
    let again = sent(&mut api, post.clone(), "/forms/3/end", over).await;
    assert_eq!(again["ended_at"], ended["ended_at"]);
    let led = submit(path).await;
    assert_eq!(led.header("location"), "https://shop.example/over");
    assert_eq!(
        client.get("/form/3").await.header("location"),
        "https://shop.example/over"
    );
    server.wait_stored(std::time::Duration::from_secs(20)).await;
    assert_eq!(server.db().hits().await, 1);
    let refusals = "sillage_hits_refused_total{reason=\"form ended\"}";
    assert_eq!(server.metric(refusals).await, 3.0);

    let (status, detail) = refused(&mut api, Method::DELETE, "/forms/3", Value::Null).await;
    assert_eq!(status, 409);
    assert!(detail.contains("POST /api/v1/forms/3/end"), "{detail}");
    let mut begun = form;
    begun["ended"] = false.into();
    let begun = sent(&mut api, put, "/forms/3", begun).await;
    assert_eq!(begun["ended_at"], Value::Null);
    assert_eq!(submit(path).await.status, 200);
    server.finish().await;
}

async fn a_page_tag_that_has_ended_makes_its_hits_suspect(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let post = Method::POST;
    let tag = json!({"identifier": "a/b", "kind": "web"});
    sent(&mut api, post.clone(), "/page-tags", tag).await;
    let ended = sent(&mut api, post.clone(), "/page-tags/a%2Fb/end", Value::Null).await;
    let until = ended["valid_until"].as_str().unwrap().to_owned();
    let again = sent(&mut api, post, "/page-tags/a%2Fb/end", Value::Null).await;
    assert_eq!(again["valid_until"], *until);
    let (status, detail) = refused(&mut api, Method::DELETE, "/page-tags/a%2Fb", Value::Null).await;
    assert_eq!(status, 409);
    assert!(detail.contains("/end"), "{detail}");
    server.finish().await;
}

on_both!(
    a_form_that_has_ended_takes_nothing_and_says_so,
    a_page_tag_that_has_ended_makes_its_hits_suspect,
);

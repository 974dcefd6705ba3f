//! Contacts are listed, made and changed by hand.

use http::Method;
use serde_json::{Value, json};

use super::{refused, send, sent};
use crate::harness::{Client, Engine, TestServer, on_both};

/// The emails of a list, part by part.
async fn emails(api: &mut Client, query: &str) -> Vec<String> {
    let (mut emails, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/contacts?{query}{after}");
        let part = sent(api, Method::GET, &path, Value::Null).await;
        for contact in part["contacts"].as_array().unwrap() {
            emails.push(contact["fields"]["email"].as_str().unwrap().to_owned());
        }
        match part["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return emails,
        }
    }
}

async fn contacts_are_found_made_and_changed(engine: Engine) {
    let server = TestServer::on(engine).start().await;
    let mut api = server.client().admin();
    let (post, patch) = (Method::POST, Method::PATCH);
    let mut ids = Vec::new();
    for (email, name, tags) in [
        ("ada@example.com", "Ada Lovelace", json!(["vip", "x"])),
        ("bob@example.com", "Bob", json!([])),
        ("eve@other.example", "Ève 100%", json!(["vip"])),
    ] {
        let contact = json!({"fields": {"email": email, "name": name}, "tags": tags});
        let made = send(&mut api, post.clone(), "/contacts", contact).await;
        assert_eq!(made.status, 201, "{}", made.text());
        assert_eq!(made.json()["fields"]["name"], name);
        ids.push(made.json()["id"].as_str().unwrap().to_owned());
    }
    // Who has the address is changed, not made again.
    let again = json!({"fields": {"email": " ADA@example.com", "city": "London"}});
    let again = send(&mut api, post.clone(), "/contacts", again).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(ids[0])));
    let path = format!("/contacts/{}", ids[0]);
    let edit = json!({"fields": {"name": "Ada King"}, "tags": ["-x", "new"]});
    let changed = sent(&mut api, patch.clone(), &path, edit).await;
    assert_eq!(
        changed["fields"],
        json!({"email": "ada@example.com", "name": "Ada King", "city": "London"})
    );
    assert_eq!(changed["tags"], json!(["vip", "new"]));
    for query in ["", "limit=1&", "limit=2&"] {
        for (filter, expected) in [
            (
                "",
                &["eve@other.example", "bob@example.com", "ada@example.com"][..],
            ),
            ("search=KING", &["ada@example.com"]),
            // A name is two fields of most contacts.
            ("search=london%20ada", &["ada@example.com"]),
            ("search=london%20bob", &[]),
            (
                "search=example.com",
                &["bob@example.com", "ada@example.com"],
            ),
            ("search=%C3%A8ve", &["eve@other.example"]),
            ("search=%25", &["eve@other.example"]),
            ("search=lovelace", &[]),
            ("tag=vip", &["eve@other.example", "ada@example.com"]),
            ("tag=vi", &[]),
            ("opted_out=true", &[]),
            ("opted_out=false&search=bob", &["bob@example.com"]),
        ] {
            assert_eq!(
                emails(&mut api, &format!("{query}{filter}")).await,
                expected,
                "{filter}"
            );
        }
    }
    let one = sent(
        &mut api,
        Method::GET,
        "/contacts?email=bob@example.com",
        Value::Null,
    )
    .await;
    assert_eq!(one["id"], ids[1]);

    // Nobody becomes another person, and nothing is left of what was refused.
    let taken = json!({"fields": {"email": "bob@example.com", "name": "Mallory"}});
    let (status, why) = refused(&mut api, patch.clone(), &path, taken).await;
    assert_eq!(status, 409, "{why}");
    for (fields, status) in [
        (json!({"email": "undefined"}), 422),
        (json!({"email": "nobody"}), 422),
        (json!({"name": "Nobody"}), 422),
        (json!({"email": 7}), 422),
    ] {
        let made = json!({ "fields": fields });
        let (told, why) = refused(&mut api, post.clone(), "/contacts", made).await;
        assert_eq!(told, status, "{why}");
    }
    assert_eq!(emails(&mut api, "").await.len(), 3);
    let bob = sent(
        &mut api,
        Method::GET,
        "/contacts?email=bob@example.com",
        Value::Null,
    )
    .await;
    assert_eq!(
        (&bob["id"], &bob["fields"]["name"]),
        (&json!(ids[1]), &json!("Bob"))
    );
    let kept = sent(&mut api, Method::GET, &path, Value::Null).await;
    assert_eq!(kept["fields"], changed["fields"]);
    server.finish().await;
}

on_both!(contacts_are_found_made_and_changed,);

//! Three contacts of the operator's, and what a test asks about them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sillage::both;
use sillage::door::Tags;
use sqlx::types::Json;
use uuid::Uuid;

use super::DRAINED;
use crate::harness::{Client, Engine, TestServer};

pub(super) const DELIVERY: i64 = 0x71ffa3;
/// Numbers of messages as Adobe counts them up: whoever has one knows the next.
pub(super) const TO_ADA: i64 = 0x617700;
pub(super) const TO_BOB: i64 = 0x617701;
pub(super) const TO_EVE: i64 = 0x617702;
/// Name of Ada's message at Mautic.
pub(super) const HASH: &str = "5f9c1d2e8a7b3c4d5e1001";
/// Mautic's id of a browser.
pub(super) const DEVICE: &str = "3k9x7q2m5v8b1n4c6z0a2s4";

/// Ada and Bob are contacts of the operator's, Bob without an address. Eve is one too: she tries
/// the rest.
pub(super) struct World {
    pub(super) server: TestServer,
    pub(super) links: BTreeMap<i64, String>,
}

impl World {
    pub(super) async fn make(engine: Engine) -> Self {
        let server = TestServer::on(engine)
            .with("CONTACTS__UNIQUE", "email,customer_id")
            .with("CONTACTS__PUBLIC", "email,customer_id,firstname,city")
            .start()
            .await;
        let mut api = server.client().admin();
        let mut made = async |path: &str, body: Value| {
            let answer = api.post_json(path, &body).await;
            assert!(answer.status < 300, "{path}: {}", answer.text());
            answer
        };
        made(
            "/api/v1/deliveries",
            json!({ "id": DELIVERY, "label": "November" }),
        )
        .await;
        let messages = format!("/api/v1/deliveries/{DELIVERY}/links");
        made(
            &messages,
            json!({ "id": 0x71ffa8, "url": "https://shop.example/" }),
        )
        .await;
        made("/api/v1/links", json!({ "id": 9, "slug": "0123456789abcdef012345678", "url": "https://shop.example/mautic", "delivery_id": DELIVERY })).await;
        made("/api/v1/forms", json!({
            "id": 3, "name": "Newsletter",
            "fields": [{ "alias": "email", "contact_field": "email" }, { "alias": "firstname", "contact_field": "firstname" },
                       { "alias": "vip", "contact_field": "vip" }],
        })).await;
        let mut links = BTreeMap::new();
        for (message, contact) in [
            (
                TO_ADA,
                json!({ "email": "ada@x.example", "firstname": "Ada", "vip": "no" }),
            ),
            (TO_BOB, json!({ "customer_id": "77", "firstname": "Bob" })),
            (TO_EVE, json!({ "email": "eve@x.example" })),
        ] {
            let line = json!({ "broadlog_id": message, "contact": contact });
            let path = format!("/api/v1/deliveries/{DELIVERY}/messages");
            let sent = made(&path, line).await.json();
            let url = sent["links"][(0x71ffa8).to_string()].as_str().unwrap();
            links.insert(message, url.split_once("/r/").unwrap().1.to_owned());
        }
        for contact in [
            json!({ "email": "ada@x.example" }),
            json!({ "customer_id": "77" }),
        ] {
            made(
                "/api/v1/hits",
                json!({ "kind": "event", "event": "bought", "contact": contact, "tags": "customer" }),
            )
            .await;
        }
        let sql = format!(
            "insert into message_keys (key, broadlog_id) values ('mautic:{HASH}', {TO_ADA})"
        );
        server.db().execute(&sql, &sql).await;
        server.wait_drained(DRAINED).await;
        Self { server, links }
    }

    pub(super) fn browser(&self) -> Client {
        self.server.client()
    }

    pub(super) async fn click(&self, browser: &mut Client, message: i64) {
        let path = format!("/r/{}", self.links[&message]);
        assert_eq!(browser.get(&path).await.status, 302);
    }

    /// Fields and tags of who has a unique value.
    pub(super) async fn person(&self, field: &str, value: &str) -> (Value, Vec<String>) {
        let sql = "select c.fields, c.tags from contact_keys k join contacts c on c.id = \
            k.contact_id where k.field = $1 and k.value = $2";
        let (Json(fields), Tags(tags)): (Json<Value>, Tags) =
            both!(self.server.db().pool(), pool => sqlx::query_as(sql)
            .bind(field).bind(value).fetch_one(pool).await)
            .unwrap();
        (fields, tags)
    }

    /// The hits of an event: the contact's e-mail address, `reason` and `extra`.
    pub(super) async fn told(&self, page: &str) -> (Option<String>, String, Value) {
        let mut api = self.server.client().admin();
        let hits = api
            .get("/api/v1/hits?limit=1000&format=ndjson")
            .await
            .text();
        let hit: Value = hits
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .rfind(|hit| hit["page_url"] == page || hit["event"] == page)
            .unwrap_or_else(|| panic!("{page}: {hits}"));
        let email = match hit["contact_id"].as_str() {
            Some(id) => {
                let path = format!("/api/v1/contacts/{id}");
                api.get(&path).await.json()["fields"]["email"]
                    .as_str()
                    .map(str::to_owned)
            }
            None => None,
        };
        let reason = hit["reason"].as_str().unwrap_or_default().to_owned();
        (email, reason, hit["extra"].clone())
    }

    pub(super) async fn told_visitor(&self, page: &str) -> String {
        let sql = "select visitor_id from hits where page_url = $1";
        let id: Uuid = both!(self.server.db().pool(), pool => sqlx::query_scalar(sql).bind(page).fetch_one(pool).await).unwrap();
        id.to_string()
    }
}

pub(super) async fn pixel(browser: &mut Client, page: &str, more: &str) {
    let path = format!("/mtracking.gif?page_url={page}&{more}");
    assert_eq!(browser.get(&path).await.status, 200);
}

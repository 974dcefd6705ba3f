//! Hits: every column comes back from where it was put, however many are written at once; pages,
//! filters and exports.

mod edges;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::clock::Micros;
use crate::model::hit::{
    Authority, BroadlogId, COLUMNS, ContactId, Currency, DeliveryId, Dialect, Hit, HitId, HitRow,
    Kind, LinkId, Money, Provenance, TagChange, Utm, Verdict, VisitorId,
};
use crate::operator::export::{Format, HitLine, HitStream, WantedHits};
use crate::store::Store;
use crate::store::hits::{HitFilter, StoredHit};
use crate::store::maintenance::PartitionMonth;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, count, hit, insert, new_store, text};

/// As few as go in a statement of their own, one of each size of statement, and as many as are
/// copied on Postgres.
const COUNTS: [i64; 3] = [1, 73, 300];

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0197_a8c0_0000_7000_8000_0000_0000_0000 + number)
}

/// A hit with another value in every column.
fn full() -> Hit {
    let text = |text: &str| Some(text.to_owned());
    let mut hit = Hit::new(
        HitId(id(1)),
        Micros(NOW.0 + 1),
        Kind::Transaction,
        Dialect::Mapp,
    );
    hit.site = "shop".to_owned();
    hit.page_url = text("https://shop.example/ü?x=1");
    hit.page_title = text("Ωmega \"'");
    hit.page_language = text("de-DE");
    hit.referrer = text("https://referrer.example/");
    hit.page_tag = text("basket");
    hit.delivery_id = Some(DeliveryId(i64::MAX));
    hit.broadlog_id = Some(BroadlogId(i64::MIN));
    hit.link_id = Some(LinkId(0));
    hit.provenance = Provenance::Unsigned;
    hit.visitor_id = Some(VisitorId(id(2)));
    hit.contact_id = Some(ContactId(id(3)));
    hit.revenue = Some(Money(-Money::MAX));
    hit.currency = Currency::parse("EUR");
    hit.order_id = text("A-1");
    hit.quantity = Some(i32::MIN);
    hit.utm = Utm {
        source: text("utm s"),
        medium: text("utm m"),
        campaign: text("utm c"),
        term: text("utm t"),
        content: text("utm n"),
    };
    hit.tags = vec![
        TagChange {
            name: "added, here".to_owned(),
            remove: false,
        },
        TagChange {
            name: "taken".to_owned(),
            remove: true,
        },
    ];
    hit.event = text("event");
    hit.ip = Some("2001:db8::7".parse().unwrap());
    hit.user_agent = text("agent");
    hit.verdict = Verdict::Suspect;
    hit.reason = text("page_url cut; clock");
    hit.extra = json!({"deep": [1, {"x": null}], "text": "€"})
        .as_object()
        .cloned();
    hit.occurred_at = Some(Micros(NOW.0 - 2));
    hit
}

/// What [`full`] is told as, name by name: the second list of the columns that there is, so that a
/// mistake in the first one shows.
fn told(seq: i64) -> Vec<(&'static str, Value)> {
    vec![
        ("seq", json!(seq)),
        ("id", json!(id(1))),
        ("received_at", json!("2026-11-21T18:00:00.000001Z")),
        ("occurred_at", json!("2026-11-21T17:59:59.999998Z")),
        ("kind", json!("transaction")),
        ("dialect", json!("mapp")),
        ("site", json!("shop")),
        ("page_url", json!("https://shop.example/ü?x=1")),
        ("page_title", json!("Ωmega \"'")),
        ("page_language", json!("de-DE")),
        ("referrer", json!("https://referrer.example/")),
        ("page_tag", json!("basket")),
        ("delivery_id", json!("9223372036854775807")),
        ("broadlog_id", json!("-9223372036854775808")),
        ("link_id", json!(0)),
        ("visitor_id", json!(id(2))),
        ("contact_id", json!(id(3))),
        ("revenue", json!("-99999999999999.9999")),
        ("currency", json!("EUR")),
        ("order_id", json!("A-1")),
        ("quantity", json!(-2_147_483_648_i64)),
        ("utm_source", json!("utm s")),
        ("utm_medium", json!("utm m")),
        ("utm_campaign", json!("utm c")),
        ("utm_term", json!("utm t")),
        ("utm_content", json!("utm n")),
        ("tags", json!(["added, here", "-taken"])),
        ("event", json!("event")),
        ("ip", json!("2001:db8::7")),
        ("user_agent", json!("agent")),
        ("verdict", json!("suspect")),
        ("reason", json!("page_url cut; clock")),
        ("extra", json!({"deep": [1, {"x": null}], "text": "€"})),
        ("proof", json!("unsigned")),
        ("counted_revenue", json!("0.0001")),
        // Only what changes a verdict writes these.
        ("first_verdict", Value::Null),
        ("first_reason", Value::Null),
    ]
}

/// Writes a hit so many times over.
async fn insert_copies(store: &Store, hit: &Hit, count: i64) -> i64 {
    let mut tx = store.begin_lane().await.unwrap();
    let months = BTreeSet::from([PartitionMonth::of(hit.received_at)]);
    tx.ensure_partitions(&months).await.unwrap();
    let first = tx.take_hit_numbers(count).await.unwrap();
    let rows: Vec<HitRow<'_>> = (first..first + count)
        .map(|seq| HitRow {
            seq,
            hit,
            contact_id: hit.contact_id,
            counted_revenue: Some(Money(1)),
        })
        .collect();
    tx.insert_hits(&rows).await.unwrap();
    tx.commit().await.unwrap();
    first
}

async fn read_all(store: &Store) -> Vec<StoredHit> {
    let until = store.last_seq().await.unwrap();
    let page = store
        .hits_between(&HitFilter::default(), 0, until, i64::MAX)
        .await
        .unwrap();
    assert!(page.is_last());
    page.hits
}

async fn export(store: &Store, format: Format) -> String {
    let wanted = WantedHits {
        format,
        ..WantedHits::default()
    };
    let mut stream = HitStream::open(store.clone(), wanted).await.unwrap();
    let mut told = Vec::new();
    while let Some(chunk) = stream.next_chunk().await.unwrap() {
        told.extend_from_slice(&chunk);
    }
    String::from_utf8(told).unwrap()
}

#[test]
fn the_columns_stand_in_the_order_that_people_rely_on() {
    let names: Vec<&str> = told(1).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, COLUMNS);
    let values: BTreeSet<String> = told(1).iter().map(|(_, value)| value.to_string()).collect();
    // Both of what was at first are null.
    let different = COLUMNS.len() - 1;
    assert_eq!(values.len(), different, "each has a value of its own");
}

async fn every_column_comes_back_from_where_it_was_put(engine: Engine) {
    let store = new_store(engine).await;
    for count in COUNTS {
        insert_copies(&store, &full(), count).await;
    }
    let hits = read_all(&store).await;
    assert_eq!(hits.len() as i64, COUNTS.iter().sum::<i64>());
    let expected = |hit: &StoredHit| -> Map<String, Value> {
        let pairs = told(hit.seq).into_iter();
        pairs
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    };
    for hit in &hits {
        assert_eq!(json!(HitLine(hit)), Value::Object(expected(hit)));
    }

    // The lines of an export: NDJSON, and a CSV whose header names what stands below it.
    let lines = export(&store, Format::Ndjson).await;
    for (line, hit) in lines.lines().zip(&hits) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line, Value::Object(expected(hit)));
    }
    let table = export(&store, Format::Csv).await;
    let mut lines = table.lines();
    assert_eq!(lines.next().unwrap(), COLUMNS.join(","));
    for (line, hit) in lines.zip(&hits) {
        let cells = csv_cells(line);
        assert_eq!(cells.len(), COLUMNS.len());
        for ((name, value), cell) in told(hit.seq).into_iter().zip(cells) {
            match value {
                Value::String(text) => assert_eq!(cell, text, "{name}"),
                // Lists are joined, objects are as the database writes them.
                Value::Null => assert_eq!(cell, "", "{name}"),
                Value::Array(_) => assert_eq!(cell, "added, here,-taken", "{name}"),
                value => assert_eq!(cell.parse::<Value>().unwrap(), value, "{name}"),
            }
        }
    }

    // What SQL sees under each name, past our own reader: no mistake is undone by its like there.
    for (name, value) in told(1) {
        let Value::String(value) = value else {
            continue;
        };
        if ["id", "visitor_id", "contact_id"].contains(&name) || name.ends_with("_at") {
            continue;
        }
        let seen = match (engine, name) {
            (Engine::Postgres, "ip") => "host(ip)".to_owned(),
            // On SQLite in 1/10,000.
            (Engine::Sqlite, "revenue" | "counted_revenue") => {
                format!(
                    "printf('%s', {name} / 10000) || '.' || printf('%04d', abs({name} % 10000))"
                )
            }
            _ => format!("cast({name} as text)"),
        };
        let sql = format!("select {seen} from hits where seq = 1");
        assert_eq!(super::text(&store, &sql).await.unwrap(), value, "{name}");
    }
    store.close().await;
}

/// The cells of a line as RFC 4180 has them.
fn csv_cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

async fn a_preview_is_the_row_that_will_be_read(engine: Engine) {
    let store = new_store(engine).await;
    for hit in [full(), hit(Kind::Open)] {
        let seq = insert(&store, std::slice::from_ref(&hit)).await;
        let mut preview = json!(HitLine(&StoredHit::preview(&hit)));
        preview["seq"] = json!(seq);
        let stored = read_all(&store).await.pop().unwrap();
        assert_eq!(json!(HitLine(&stored)), preview);
    }
    store.close().await;
}

async fn a_hit_without_anything_has_no_values_and_an_empty_list(engine: Engine) {
    let store = new_store(engine).await;
    for count in COUNTS {
        insert_copies(&store, &hit(Kind::Open), count).await;
    }
    let always = [
        "seq",
        "id",
        "received_at",
        "kind",
        "dialect",
        "site",
        "verdict",
        "counted_revenue",
    ];
    for stored in read_all(&store).await {
        let Value::Object(line) = json!(HitLine(&stored)) else {
            panic!("{stored:?}");
        };
        for (name, value) in line {
            match name.as_str() {
                "tags" => assert_eq!(value, json!([])),
                name if always.contains(&name) => assert_ne!(value, Value::Null, "{name}"),
                name => assert_eq!(value, Value::Null, "{name}"),
            }
        }
    }
    assert_eq!(count(&store, "hits where tags is not null").await, 0);
    store.close().await;
}

async fn no_hits_are_no_statement(engine: Engine) {
    let store = new_store(engine).await;
    let mut tx = store.begin_lane().await.unwrap();
    tx.insert_hits(&[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&store, "hits").await, 0);
    assert_eq!(store.last_seq().await.unwrap(), 0);
    assert_eq!(export(&store, Format::Ndjson).await, "{\"cursor\":\"0\"}\n");
    assert_eq!(
        export(&store, Format::Csv).await,
        COLUMNS.join(",") + "\n",
        "a header and nothing else"
    );
    store.close().await;
}

async fn the_proof_is_what_the_hit_rests_on(engine: Engine) {
    let store = new_store(engine).await;
    let mut expected = BTreeMap::new();
    let mut hits = Vec::new();
    for (provenance, authority, proof) in [
        (Provenance::Link, Authority::Public, Some("link")),
        (Provenance::Session, Authority::Public, Some("session")),
        (Provenance::Claimed, Authority::Public, Some("claimed")),
        (Provenance::Unsigned, Authority::Public, Some("unsigned")),
        (
            Provenance::Claimed,
            Authority::Authenticated,
            Some("sender"),
        ),
    ] {
        let mut hit = hit(Kind::Click);
        hit.delivery_id = Some(DeliveryId(1));
        hit.provenance = provenance;
        hit.authority = authority;
        expected.insert(hit.id.0, proof);
        hits.push(hit);
    }
    expected.insert(hits[0].id.0, Some("link"));
    let nothing = hit(Kind::Click);
    expected.insert(nothing.id.0, None);
    hits.push(nothing);
    insert(&store, &hits).await;
    for stored in read_all(&store).await {
        assert_eq!(stored.proof.as_deref(), expected[&stored.id]);
    }
    assert_eq!(
        text(&store, "select cast(count(proof) as text) from hits")
            .await
            .as_deref(),
        Some("5")
    );
    store.close().await;
}

on_both!(
    every_column_comes_back_from_where_it_was_put,
    a_preview_is_the_row_that_will_be_read,
    a_hit_without_anything_has_no_values_and_an_empty_list,
    no_hits_are_no_statement,
    the_proof_is_what_the_hit_rests_on,
);

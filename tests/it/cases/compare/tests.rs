//! Every difference is found: cases that compare nothing would all pass.

use super::*;
use crate::cases::send::read_cookie;

fn stored() -> Value {
    let mut hit: Map<String, Value> = sillage::door::HIT_COLUMNS
        .iter()
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect();
    let filled = json!({
        "id": "0197a8c0-0000-7000-8000-000000000001", "seq": 7, "received_at": "2026-11-21T00:00:00Z", "kind": "transaction",
        "dialect": "native", "site": "default", "revenue": "49.9", "tags": [], "verdict": "human", "ip": "127.0.0.1",
        "visitor_id": "0197a8c0-0000-7000-8000-000000000002",
    });
    hit.extend(filled.as_object().unwrap().clone());
    hit.insert("contact".to_owned(), Value::Null);
    Value::Object(hit)
}

fn places(expected: &[Value], got: &[Value]) -> Vec<String> {
    let expected: Vec<_> = expected
        .iter()
        .map(|hit| hit.as_object().unwrap().clone())
        .collect();
    let mut comparison = Comparison::default();
    comparison.hits("native", &expected, got);
    comparison
        .findings
        .into_iter()
        .map(|finding| finding.place)
        .collect()
}

fn with(name: &str, value: Value) -> Value {
    let mut hit = stored();
    hit[name] = value;
    hit
}

#[test]
fn a_hit_that_is_as_expected_is_no_difference() {
    let expected = json!({ "kind": "transaction", "revenue": "49.9", "visitor_id": { "is": "uuid" }, "site": "default" });
    assert_eq!(places(&[expected], &[stored()]), [""; 0]);
}

#[test]
fn every_wrong_value_is_told() {
    let expected = json!({ "kind": "open", "revenue": "1", "order_id": "7", "visitor_id": null });
    assert_eq!(
        places(&[expected], &[stored()]),
        [
            "hits[0].kind",
            "hits[0].order_id",
            "hits[0].revenue",
            "hits[0].visitor_id"
        ]
    );
}

#[test]
fn a_column_that_is_filled_without_being_listed_is_told() {
    let expected = || json!({ "kind": "transaction", "revenue": "49.9" });
    for (name, value) in [
        ("order_id", json!("7")),
        ("extra", json!({ "a": "b" })),
        ("tags", json!(["a"])),
        ("delivery_id", json!(1)),
        ("contact_id", json!("0197a8c0-0000-7000-8000-000000000003")),
        ("verdict", json!("suspect")),
        ("reason", json!("no user agent")),
        ("site", json!("other")),
        ("dialect", json!("mapp")),
        ("ip", json!("203.0.113.7")),
    ] {
        assert_eq!(
            places(&[expected()], &[with(name, value)]),
            [format!("hits[0].{name} (not listed)")]
        );
    }
    assert_eq!(
        places(&[json!({ "revenue": "49.9" })], &[stored()]),
        ["hits[0].kind"]
    );
}

#[test]
fn missing_and_additional_hits_are_told() {
    let expected = || json!({ "kind": "transaction", "revenue": "49.9" });
    assert_eq!(places(&[expected(), expected()], &[stored()]), ["hits[1]"]);
    assert_eq!(places(&[expected()], &[stored(), stored()]), ["hits[1]"]);
    assert_eq!(places(&[], &[stored()]), ["hits[0]"]);
}

#[test]
fn extra_and_contact_are_compared_whole() {
    let expected = json!({ "kind": "transaction", "revenue": "49.9", "extra": { "a": "b" }, "contact": { "email": "a@x.example" } });
    let mut hit = with("extra", json!({ "a": "b", "c": "d" }));
    hit["contact"] = json!({ "email": "a@x.example", "firstname": "Ada" });
    assert_eq!(
        places(&[expected], &[hit]),
        ["hits[0].contact.firstname", "hits[0].extra.c"]
    );
}

#[test]
fn a_name_stands_for_its_first_value() {
    let named =
        |matcher: Value| json!({ "kind": "transaction", "revenue": "49.9", "visitor_id": matcher });
    let same = || named(json!({ "same_as": "visitor" }));
    let other = || with("visitor_id", json!("0197a8c0-0000-7000-8000-00000000000f"));
    assert_eq!(places(&[same(), same()], &[stored(), stored()]), [""; 0]);
    assert_eq!(
        places(&[same(), same()], &[stored(), other()]),
        ["hits[1].visitor_id"]
    );
    let not = || named(json!({ "not": "visitor" }));
    assert_eq!(places(&[same(), not()], &[stored(), other()]), [""; 0]);
    assert_eq!(
        places(&[same(), not()], &[stored(), stored()]),
        ["hits[1].visitor_id"]
    );
    assert_eq!(places(&[not()], &[stored()]), ["hits[0].visitor_id"]);
}

#[test]
fn a_mistyped_matcher_does_not_match() {
    let expected = json!({ "kind": "transaction", "revenue": { "is": "moeny" } });
    assert_eq!(places(&[expected], &[stored()]), ["hits[0].revenue"]);
}

#[test]
fn cookies_are_compared_with_their_attributes_and_no_other_may_be_set() {
    let wanted = |json: Value| -> Vec<String> {
        let got = [
            read_cookie("visitorId=abc.d; HttpOnly; SameSite=Lax; Path=/; Max-Age=31536000"),
            read_cookie("deliveryId=; Path=/; Max-Age=0"),
        ];
        let mut comparison = Comparison::default();
        comparison.cookies("answer", &serde_json::from_value(json).unwrap(), &got);
        comparison
            .findings
            .into_iter()
            .map(|finding| finding.place.replace("answer.cookies.", ""))
            .collect()
    };
    let right = json!({
        "visitorId": { "value": { "starts_with": "abc." }, "max_age": 31_536_000, "http_only": true, "secure": false,
                       "same_site": "Lax", "domain": "", "path": "/", "session": false },
        "deliveryId": { "removed": true },
    });
    assert_eq!(wanted(right), [""; 0]);
    assert_eq!(wanted(json!({})), ["visitorId", "deliveryId"]);
    assert_eq!(
        wanted(
            json!({ "visitorId": { "max_age": 1, "secure": true }, "deliveryId": {}, "more": "x" })
        ),
        [
            "deliveryId",
            "more",
            "visitorId.max_age",
            "visitorId.secure"
        ]
    );
}

#[test]
fn an_answer_is_compared_with_what_must_be_absent_too() {
    let got = Answer {
        status: 302,
        headers: [("location", "https://a.example/"), ("x-a", "1")]
            .into_iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            })
            .collect(),
        body: "{\"a\":1,\"b\":[2]}".into(),
    };
    let places = |json: Value| -> Vec<String> {
        let mut comparison = Comparison::default();
        comparison.answer("answer", &serde_json::from_value(json).unwrap(), &got);
        comparison
            .findings
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    };
    let right = json!({ "status": 302, "location": "https://a.example/", "headers": { "X-A": "1", "X-B": null },
                        "body_json": { "b": [2] }, "body_contains": "\"a\"" });
    assert_eq!(places(right), [""; 0]);
    assert_eq!(
        places(
            json!({ "status": 200, "headers": { "X-A": null }, "body_json": { "b": [] }, "body_contains": "c", "gif": true })
        ),
        [
            "answer.status",
            "answer.headers.X-A",
            "answer.location",
            "answer.headers.content-type",
            "answer.body",
            "answer.body",
            "answer.body.b"
        ]
    );
}

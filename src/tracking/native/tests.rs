//! Whatever is sent, the hits that come of it fit the database and survive the spool.

mod answers;

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::model::clock::Micros;
use crate::model::hit::{
    BroadlogId, DeliveryId, Dialect, HitId, Limit, LinkId, Money, Provenance, Utm, VisitorId,
};
use crate::model::host_pattern::HostPattern;
use crate::model::keys::Keys;
use crate::model::link::LinkName;
use crate::model::site::Site;
use crate::tracking::decoded::{Cookies, Counted, Decoded, Readers, Reply};
use crate::tracking::landing::landing_value;
use crate::tracking::session::{BROADLOG_COOKIE, DELIVERY_COOKIE};
use crate::tracking::verdict::Lists;
use crate::tracking::visitor::VISITOR_COOKIE;

const NOW: Micros = Micros(1_795_000_000_000_000);

pub(in crate::tracking) fn rules() -> Rules {
    Rules {
        public: vec!["email".to_owned(), "firstname".to_owned()],
        ..Rules::new(Keys::parse(&[format!("1:{}", "k".repeat(32))]).unwrap())
    }
}

pub(in crate::tracking) fn link() -> LinkRecord {
    LinkRecord {
        id: LinkId(1),
        url: "https://shop.example/".to_owned(),
        slug: None,
        delivery_id: None,
        category: None,
        expires_at: None,
        expiration_url: None,
        utm: Utm::default(),
    }
}

fn assert_text(name: &str, text: &str, most: usize) {
    assert!(
        text.chars().count() <= most,
        "{name} has {} characters",
        text.chars().count()
    );
    assert!(!text.chars().any(char::is_control), "{name}: {text:?}");
}

fn assert_value(value: &Value, depth: usize) {
    assert!(depth <= 17, "too deep");
    match value {
        Value::String(text) => assert_text("extra", &text.replace('\n', " "), 4_000),
        Value::Array(values) => values
            .iter()
            .for_each(|value| assert_value(value, depth + 1)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            assert_text("name in extra", name, 4_000);
            assert_value(value, depth + 1);
        }),
        _ => {}
    }
}

/// Every string is clean and no longer than its column's promise; what stands in a B-tree stays
/// below 2,704 bytes.
pub(in crate::tracking) fn assert_fits(hit: &Hit) {
    let name = Limit::NAME.0;
    assert_text("site", &hit.site, 64);
    for (field, text, most) in [
        ("page_url", &hit.page_url, Limit::URL.0),
        ("page_title", &hit.page_title, Limit::TITLE.0),
        ("page_language", &hit.page_language, 64),
        ("referrer", &hit.referrer, Limit::URL.0),
        ("page_tag", &hit.page_tag, name),
        ("order_id", &hit.order_id, name),
        ("event", &hit.event, name),
        ("user_agent", &hit.user_agent, Limit::AGENT.0),
        ("reason", &hit.reason, 1_000),
        ("idempotency_key", &hit.idempotency_key, name),
    ] {
        if let Some(text) = text {
            assert_text(field, text, most);
            assert!(!text.is_empty(), "{field}");
        }
    }
    for (field, text) in hit.utm.pairs() {
        assert_text(field, text, name);
    }
    assert!(hit.tags.len() <= 100);
    for tag in &hit.tags {
        assert_text("tag", &tag.name, name);
    }
    for (field, value) in &hit.fields {
        assert_text("field", field, 64);
        assert_text(field, &value.replace('\n', " "), Limit::TITLE.0);
        assert!(crate::identity::normalise(value).len() <= 2_600);
    }
    assert!(
        hit.revenue
            .is_none_or(|Money(amount)| amount.abs() <= Money::MAX)
    );
    for id in [
        hit.delivery_id.map(|id| id.0),
        hit.broadlog_id.map(|id| id.0),
        hit.link_id.map(|id| id.0),
    ] {
        assert!(id.is_none_or(|id| id > 0));
    }
    if let Some(extra) = &hit.extra {
        assert!(extra.len() <= 200);
        for (name, value) in extra {
            assert_text("extra name", name, 100);
            assert_value(value, 1);
        }
    }
    // As the spool writes it.
    let record = rmp_serde::to_vec(hit).unwrap();
    assert_eq!(rmp_serde::from_slice::<Hit>(&record).unwrap(), *hit);
}

/// Strings that have broken somebody's database, and random ones.
pub(in crate::tracking) fn hostile_text() -> impl Strategy<Value = String> {
    let long = || {
        (
            prop::sample::select(vec!["a", "\u{1f4a9}", "\u{130}", "\0", " ", "%00", ","]),
            0_usize..3_000,
        )
            .prop_map(|(piece, times)| piece.repeat(times))
    };
    prop_oneof![
        3 => any::<String>(),
        1 => long(),
        2 => prop::sample::select(vec![
            "\0", "a\0b", "\u{fffd}", "\u{feff}", "\u{202e}", "'; drop table hits; \
                --", "<script>alert(1)</script>", "=cmd|' /C calc'!A0",
            "-1", "1e999", "NaN", "9223372036854775808", "99999999999999.99995", "1970-01-01T00:00:00Z", "2200-01-01T00:00:00Z",
            "9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59", "EUR", "click", "::ffff:192.0.2.1", "0190a5a0-0000-7000-8000-000000000000",
        ]).prop_map(str::to_owned),
    ]
}

fn parameter_name() -> impl Strategy<Value = String> {
    let known = [
        "page_url",
        "page_title",
        "page_language",
        "referrer",
        "tags",
        "event",
        "site",
        "order_id",
        "idempotency_key",
        "mautic_device_id",
        "_sl",
        "revenue",
        "currency",
        "quantity",
        "delivery_id",
        "utm_source",
        "utm_content",
        "email",
        "firstname",
        "kind",
        "broadlog_id",
        "link_id",
        "visitor_id",
        "contact_id",
        "ip",
        "at",
        "contact",
        "extra",
        "user_agent",
        "page_tag",
    ];
    prop_oneof![6 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => hostile_text()]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((parameter_name(), hostile_text()), 0..12)
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "cookie",
        "referer",
        "user-agent",
        "purpose",
        crate::tracking::inbound::MENDED_HEADER.as_str(),
    ]);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        hostile_text().prop_map(String::into_bytes),
        hostile_text().prop_map(|text| format!(
            "{VISITOR_COOKIE}={text}; {BROADLOG_COOKIE}=1.AAAAAAAAAAA; {DELIVERY_COOKIE}={text}"
        )
        .into_bytes()),
    ];
    prop::collection::vec((name, value), 0..6).prop_map(|lines| {
        lines
            .into_iter()
            .filter_map(|(name, value)| {
                Some((
                    HeaderName::from_static(name),
                    HeaderValue::from_bytes(&value).ok()?,
                ))
            })
            .collect()
    })
}

pub(in crate::tracking) fn inbound<'a>(
    method: &'a Method,
    query: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
) -> Inbound<'a> {
    Inbound {
        site: Site::usual(),
        method,
        target: "/",
        rest: "",
        is_repaired: false,
        query,
        headers,
        body,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_forwarded: false,
        is_trusted_sender: false,
        received_at: NOW,
        new_visitor: VisitorId(Uuid::nil()),
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => hostile_text().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
    ];
    leaf.prop_recursive(24, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((parameter_name(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_pixel_gives_one_hit_that_fits(pairs in pairs(), raw in prop::collection::vec(any::<u8>(), 0..60), headers in headers()) {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        assert_fits(&collect(&inbound(&Method::GET, &query, &headers, &raw), &rules()));
    }

    #[test]
    fn every_click_gives_a_hit_that_fits(pairs in pairs(), headers in headers(), broadlog in 0_i64.., minute in prop::option::of(0_i64..40_000_000)) {
        let token = LinkToken {
            delivery_id: DeliveryId(7),
            broadlog_id: BroadlogId(broadlog),
            link_id: Some(LinkId(1)),
            sent_minute: minute,
        };
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        assert_fits(&click(&inbound(&Method::GET, &query, &headers, &[]), &rules(), &link(), Some(&token)));
    }

    #[test]
    fn json_gives_a_hit_that_fits_or_names_the_field(fields in prop::collection::vec((parameter_name(), json_value()), 0..8)) {
        match decode_json_hit(Value::Object(fields.into_iter().collect()), NOW, &Lists::built_in()) {
            Ok(hit) => assert_fits(&hit),
            Err(error) => assert!(!error.why.is_empty()),
        }
    }

    #[test]
    fn a_contact_in_json_fits(fields in prop::collection::vec((hostile_text(), hostile_text()), 0..8)) {
        let contact: Value = Value::Object(fields.into_iter().map(|(name, value)| (name, value.into())).collect());
        if let Ok(hit) = decode_json_hit(json!({ "contact": contact }), NOW, &Lists::built_in()) {
            assert_fits(&hit);
        }
    }
}

#[test]
fn the_first_500_parameters_of_a_click_are_read() {
    let headers = HeaderMap::new();
    let utm = |before: usize| {
        let query = "&x=1".repeat(before)[1..].to_owned() + "&utm_source=news";
        let request = inbound(&Method::GET, &query, &headers, &[]);
        let hit = click(&request, &rules(), &link(), None);
        (hit.utm.source, hit.reason)
    };
    assert_eq!(utm(499).0.as_deref(), Some("news"));
    let (source, reason) = utm(500);
    assert_eq!(source, None);
    assert!(reason.unwrap().contains("parameters cut"));
}

#[test]
fn what_columns_hold_is_a_line_and_what_fields_and_extra_hold_may_be_many() {
    let hit = decode_json_hit(
        json!({
            "page_title": "a\r\nb",
            "contact": { "address": "Street 1\r\nTown" },
            "extra": { "comment\n": "one\r\ntwo", "nested": { "list": ["three\n\nfour"] } },
        }),
        NOW,
        &Lists::built_in(),
    )
    .unwrap();
    assert_eq!(hit.page_title.as_deref(), Some("a b"));
    let address = ("address".to_owned(), "Street 1\nTown".to_owned());
    assert_eq!(hit.fields, [address]);
    assert_eq!(
        Value::Object(hit.extra.unwrap()),
        json!({ "comment": "one\ntwo", "nested": { "list": ["three\n\nfour"] } })
    );
}

#[test]
fn the_name_of_a_contact_field_is_clean_in_the_note_too() {
    let hit = decode_json_hit(
        json!({ "contact": { "a\0b": "x\0y" } }),
        NOW,
        &Lists::built_in(),
    )
    .unwrap();
    assert_eq!(hit.fields, [("ab".to_owned(), "xy".to_owned())]);
    assert_eq!(hit.reason.as_deref(), Some("field repaired; ab repaired"));
}

#[test]
fn ids_of_zero_and_times_beyond_the_calendar_are_refused_by_name() {
    for (field, value) in [
        ("delivery_id", json!(0)),
        ("broadlog_id", json!(-2_147_483_649_i64)),
        ("link_id", json!("9223372036854775808")),
        ("at", json!("9999-12-31T23:59:59-23:59")),
        ("at", json!("0000-01-01T00:00:00+23:59")),
    ] {
        let error = decode_json_hit(json!({ field: value }), NOW, &Lists::built_in()).unwrap_err();
        assert_eq!(error.field, field);
    }
}

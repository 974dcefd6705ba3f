//! Payloads as Mautic, its plugins and mangled mails send them.

use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, HitId, TagChange};
use crate::tracking::native;
use crate::tracking::native::tests::{assert_fits, hostile_text, inbound, rules};
use crate::tracking::visitor::{DEVICE, foreign_visitor};

const HASH: &str = "5f9c1d2e8a7b3c4d5e6f70";

fn hit() -> Hit {
    Hit::new(
        HitId(uuid::Uuid::nil()),
        Micros(1_795_000_000_000_000),
        Kind::Pageview,
        Dialect::Native,
    )
}

/// What Mautic puts into the links of a mail.
fn written(hash: &str) -> String {
    format!(
        "a:6:{{s:6:\"source\";a:2:{{i:0;s:5:\"email\";i:1;i:7;}}s:5:\"email\";i:7;s:4:\"stat\";s:{}:\"{hash}\";s:9:\"sent_time\";i:1795000000;s:4:\"lead\";s:3:\"123\";s:7:\"channel\";a:1:{{s:5:\"email\";i:7;}}}}",
        hash.len()
    )
}

fn collect(query: &str) -> Hit {
    let headers = HeaderMap::new();
    native::collect(&inbound(&Method::GET, query, &headers, &[]), &rules())
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

#[test]
fn a_click_through_names_the_message_and_is_kept() {
    let mut hit = hit();
    take_click_through(&mut hit, &STANDARD.encode(written(HASH)), Found::InRequest);
    assert_eq!(hit.message_key(), Some("mautic:5f9c1d2e8a7b3c4d5e6f70"));
    assert_eq!(
        (hit.delivery_id, hit.provenance, hit.dialect),
        (Some(DeliveryId(7)), Provenance::Claimed, Dialect::Mautic)
    );
    assert_eq!(
        serde_json::Value::Object(hit.extra.unwrap()),
        json!({ "ct": { "source": ["email", 7], "email": 7, "stat": HASH, "sent_time": 1_795_000_000, "lead": "123", "channel": { "email": 7 } } })
    );
    assert_eq!(hit.reason, None);
}

#[test]
fn a_click_through_says_nothing_against_what_is_signed() {
    for found in [Found::InRequest, Found::InPageUrl] {
        let mut hit = hit();
        hit.broadlog_id = Some(BroadlogId(5));
        hit.delivery_id = Some(DeliveryId(6));
        hit.provenance = Provenance::Session;
        take_click_through(&mut hit, &STANDARD.encode(written(HASH)), found);
        assert_eq!(hit.foreign, None);
        assert_eq!(
            (hit.delivery_id, hit.provenance),
            (Some(DeliveryId(6)), Provenance::Session)
        );
        // The signed campaign of a session without a message is no more open to it.
        hit.broadlog_id = None;
        take_click_through(&mut hit, &STANDARD.encode(written(HASH)), found);
        assert_eq!(hit.foreign, None);
    }
}

#[test]
fn the_short_keys_of_newer_versions_are_read() {
    let mut hit = hit();
    let short = format!(
        "a:4:{{s:1:\"c\";a:1:{{s:5:\"email\";i:9;}}s:2:\"st\";s:22:\"{HASH}\";s:1:\"l\";i:5;s:2:\"ut\";a:2:{{s:2:\"us\";s:4:\"mail\";s:2:\"uc\";s:6:\"Spring\";}}}}"
    );
    take_click_through(&mut hit, &STANDARD.encode(short), Found::InRequest);
    assert!(hit.message_key().is_some());
    assert_eq!(hit.delivery_id, Some(DeliveryId(9)));
    assert_eq!(
        (hit.utm.source.as_deref(), hit.utm.campaign.as_deref()),
        (Some("mail"), Some("Spring"))
    );
    assert_eq!(hit.extra.unwrap()["ct"]["lead"], 5);
}

/// The bytes of a payload as it is read first, and whether it had to be repaired.
fn open_payload(text: &str) -> Option<(Vec<u8>, bool)> {
    let first = Payload::readings(text).into_iter().next()?;
    Some((first.bytes, first.is_repaired))
}

#[test]
fn what_mail_programs_do_to_base64_is_undone() {
    // With both characters that differ between the alphabets, and padding.
    let text = b"\xfb\xef\xbe\xff\xff\xffabcdefghijklmn";
    let plain = STANDARD.encode(text);
    let lost = plain.trim_end_matches('=');
    for (given, is_repaired) in [
        (plain.clone(), false),
        (lost.to_owned(), true),
        (plain.replace('+', " "), true),
        (plain.replace('+', "-").replace('/', "_"), true),
        (
            plain
                .replace('+', "%2B")
                .replace('/', "%2F")
                .replace('=', "%3D"),
            true,
        ),
        (format!("{}\r\n{}", &plain[..20], &plain[20..]), true),
    ] {
        let (bytes, repaired) = open_payload(&given).unwrap();
        assert_eq!(bytes, text, "{given}");
        assert_eq!(repaired, is_repaired, "{given}");
    }
    assert!(plain.contains('+') && plain.contains('/') && plain.ends_with('='));
    for mangled in ["!", "a:1:{i:0;N;}", "%%%", "YQ\u{0}", "abcde", "\u{fc}"] {
        let readings = Payload::readings(mangled);
        assert!(
            readings.iter().all(|p| p.read(MOST_IN_D).is_none()),
            "{mangled}"
        );
    }
    assert_eq!(open_payload(&"A".repeat(MOST_PAYLOAD + 1)), None);
}

#[test]
fn a_payload_ends_where_php_would_end_it() {
    for text in [
        &b"a:1:{s:4:\"stat\";s:1:\"x\";}"[..],
        b"a:1:{s:4:\"stat\";s:2:\"xy\";}",
        b"a:1:{s:4:\"stat\";s:3:\"xyz\";}",
    ] {
        let plain = STANDARD.encode(text);
        for (behind, parameters) in [
            (
                "?utm_source=a&utm_medium=b c",
                &[("utm_source", "a"), ("utm_medium", "b c")][..],
            ),
            ("&a=1&&b", &[("a", "1")]),
            ("=email@test.example", &[]),
            ("path/page.html", &[]),
            ("a", &[]),
            (")", &[]),
            (".", &[]),
            (">", &[]),
            ("\u{a0}", &[]),
            ("?=1", &[]),
        ] {
            let given = format!("{plain}{behind}");
            let readings = Payload::readings(&given);
            let contents = readings.iter().find_map(|p| p.read(MOST_IN_CT)).unwrap();
            assert_eq!(contents.entries.len(), 1, "{given}");
            assert!(contents.is_repaired, "{given}");
            let told = contents
                .behind
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            assert_eq!(told.collect::<Vec<_>>(), parameters, "{given}");
        }
        let contents = Payload::readings(&plain);
        assert!(!contents[0].read(MOST_IN_CT).unwrap().is_repaired);
        // Equals signs at the ends of lines.
        let broken = format!("{}=\r\n{}", &plain[..10], &plain[10..]);
        assert!(
            Payload::readings(&broken)
                .iter()
                .any(|p| p.read(MOST_IN_CT).is_some())
        );
    }
}

#[test]
fn an_unreadable_payload_is_noted_and_kept() {
    for (name, mangled) in [
        ("ct", "!!!"),
        ("d", "!!!"),
        ("ct", "Tzo4OiJzdGRDbGFzcyI6MDp7fQ=="),
        ("d", "czoxOiJhIjs="),
    ] {
        let hit = collect(&query(&[(name, mangled), ("page_url", "cart")]));
        assert_eq!(
            hit.reason,
            Some(format!("no user agent; {name} not readable"))
        );
        assert_eq!(hit.extra.as_ref().unwrap()[name], mangled);
        assert_eq!(hit.page_url.as_deref(), Some("cart"));
    }
}

#[test]
fn what_stands_openly_in_the_request_wins_over_its_payload() {
    let d = STANDARD.encode(
        "a:6:{s:8:\"page_url\";s:1:\"d\";s:10:\"page_title\";s:1:\"D\";s:8:\"language\";s:2:\"fr\";s:5:\"email\";s:3:\"d@x\";s:4:\"tags\";a:2:{i:0;s:1:\"a\";i:1;s:2:\"-b\";}s:1:\"d\";s:4:\"YTow\";}",
    );
    let hit = collect(&query(&[
        ("d", &d),
        ("page_url", "q"),
        ("page_language", "de"),
        ("email", "q@x"),
        ("page_title", ""),
    ]));
    assert_eq!(hit.page_url.as_deref(), Some("q"));
    assert_eq!(hit.page_title.as_deref(), Some("D"), "an empty one is none");
    assert_eq!(
        hit.page_language.as_deref(),
        Some("de"),
        "under whichever name"
    );
    assert_eq!(hit.fields, [("email".to_owned(), "q@x".to_owned())]);
    let tag = |name: &str, remove| TagChange {
        name: name.to_owned(),
        remove,
    };
    assert_eq!(hit.tags, [tag("a", false), tag("b", true)]);
    assert_eq!(hit.dialect, Dialect::Mautic);
}

#[test]
fn arrays_in_a_payload_are_flattened_and_do_not_grow() {
    let mut hit = hit();
    let name = "n".repeat(5_000);
    let entries: String = (0..900).map(|n| format!("i:{n};N;")).collect();
    let d = format!("a:1:{{s:5000:\"{name}\";a:900:{{{entries}}}}}").replace("N;", "s:1:\"x\";");
    let parameters = read_parameters(&mut hit, &STANDARD.encode(d)).unwrap();
    assert_eq!(parameters.len(), 900);
    assert!(
        parameters
            .iter()
            .all(|(name, value)| name.len() <= 110 && value == "x")
    );
    let nested = STANDARD.encode("a:1:{s:4:\"cart\";a:1:{s:4:\"item\";a:1:{i:0;s:4:\"lamp\";}}}");
    assert_eq!(
        read_parameters(&mut hit, &nested).unwrap(),
        [("cart[item][0]".to_owned(), "lamp".to_owned())]
    );
}

#[test]
fn a_click_hands_on_everything_but_the_click_through() {
    let ct = STANDARD
        .encode(written(HASH))
        .replace('+', "%2B")
        .replace('=', "%3D");
    for (query, expected) in [
        ("", ""),
        ("a=1&b=2", "a=1&b=2"),
        (&*format!("ct={ct}"), ""),
        (&*format!("a=1&ct={ct}&b=%20"), "a=1&b=%20"),
        ("ct", ""),
        ("ct=&act=1&ct2=x", "act=1&ct2=x"),
    ] {
        let mut hit = hit();
        assert_eq!(take_click(&mut hit, query), expected);
        assert_eq!(hit.message_key().is_some(), query.contains("ct=YT"));
        assert_eq!(hit.reason, None, "{query}");
        assert_eq!(hit.dialect, Dialect::Mautic);
    }
}

#[test]
fn only_what_can_be_a_hash_opens_a_message() {
    let headers = HeaderMap::new();
    let inbound = inbound(&Method::GET, "", &headers, &[]);
    for (name, is_hash) in [
        (HASH, true),
        ("5fb8e", true),
        ("abcd", false),
        ("", false),
        ("a b c d e", false),
        ("../../etc", false),
        (&*"a".repeat(64), true),
        (&*"a".repeat(65), false),
        ("h\u{e4}sh\u{e4}sh", false),
    ] {
        let hit = open(&inbound, &rules(), name);
        assert_eq!(hit.is_some(), is_hash, "{name}");
        if let Some(hit) = hit {
            assert_eq!((hit.kind, hit.dialect), (Kind::Open, Dialect::Mautic));
            assert_eq!(hit.message_key(), Some(&*format!("mautic:{name}")));
        }
    }
}

#[test]
fn mautics_browser_is_ours_from_the_first_visit_on() {
    let (old, other) = ("3k9x7q2m5v8b1n4c6z0a2s4", "aaaaaaaaaaaaaaaaaaaaaaa");
    let of = |cookie: &str, parameter: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_str(cookie).unwrap());
        let query = query(&[(DEVICE, parameter)]);
        native::collect(&inbound(&Method::GET, &query, &headers, &[]), &rules())
    };
    let known = Some(foreign_visitor("mautic", old));
    let by_cookie = of(&format!("mautic_device_id={old}; mtc_id=42"), "");
    assert_eq!(by_cookie.visitor_id, known);
    assert!(!by_cookie.visitor_is_new);
    assert_eq!(by_cookie.extra.unwrap()["mtc_id"], "42");
    assert_eq!(of("a=b", old).visitor_id, known);
    assert_eq!(of("a=b", old).dialect, Dialect::Mautic);
    assert_eq!(
        of(&format!("mautic_device_id={old}"), other).visitor_id,
        known,
        "the cookie first"
    );
    let own = rules().keys.seal(
        crate::model::keys::Purpose::Visitor,
        "0190a5a0000070008000000000000000",
    );
    let ours = of(
        &format!("visitorId={own}; mautic_device_id={old}; mtc_id=42"),
        old,
    );
    assert_eq!(
        ours.visitor_id.unwrap().0.as_u128(),
        0x0190_a5a0_0000_7000_8000_0000_0000_0000
    );
    assert_eq!((ours.extra, ours.dialect), (None, Dialect::Native));
    let forged = of("mautic_device_id=<script>; mtc_id=x", "short");
    assert_eq!(forged.visitor_id, None);
    assert_eq!(
        forged.reason.as_deref(),
        Some("no user agent; visitor id not signed by us")
    );
}

#[test]
fn fingerprints_are_fields_and_stay_with_the_hit() {
    let headers = HeaderMap::new();
    let mut rules = rules();
    rules.public = vec!["resolution".to_owned()];
    let query = query(&[("resolution", "1920x1080"), ("platform", "Win32")]);
    let hit = native::collect(&inbound(&Method::GET, &query, &headers, &[]), &rules);

    assert_eq!(
        hit.fields,
        [("resolution".to_owned(), "1920x1080".to_owned())]
    );
    assert_eq!(
        serde_json::Value::Object(hit.extra.clone().unwrap()),
        json!({ "resolution": "1920x1080", "platform": "Win32" })
    );
}

/// A text as a payload: whole, cut, changed, or no base64 at all.
fn payload() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a:1:{",
        "a:2:{",
        "a:6:{",
        "a:999999999:{",
        "i:0;",
        "i:7;",
        "s:4:\"stat\";",
        "s:5:\"abcde\";",
        "s:7:\"channel\";",
        "s:5:\"email\";",
        "s:4:\"tags\";",
        "s:8:\"page_url\";",
        "s:2:\"ct\";",
        "s:4:\"a\0\u{fffd}\";",
        "s:2:\"ut\";",
        "s:2:\"us\";",
        "N;",
        "b:1;",
        "d:1.0E+300;",
        "d:NAN;",
        "}",
        "O:1:\"A\":0:{}",
    ]);
    let pieces = prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat());
    let balanced =
        prop::collection::vec((hostile_text(), hostile_text()), 0..20).prop_map(|entries| {
            let count = entries.len();
            let body: String = entries
                .iter()
                .map(|(name, value)| {
                    format!("s:{}:\"{name}\";s:{}:\"{value}\";", name.len(), value.len())
                })
                .collect();
            format!("a:{count}:{{{body}}}")
        });
    prop_oneof![
        2 => pieces.prop_map(|text| STANDARD.encode(text)),
        2 => balanced.prop_map(|text| STANDARD.encode(text)),
        1 => "[A-Za-z0-9+/=_ -]{0,200}",
        1 => hostile_text(),
        1 => Just(STANDARD.encode("a:1:{i:0;".repeat(2_000))),
        1 => Just(STANDARD.encode(written(HASH))),
    ]
}

proptest! {
    #[test]
    fn every_payload_gives_one_hit_that_fits(d in payload(), ct in payload(), in_page in payload()) {
        let page = format!("https://shop.example/?ct={}", form_urlencoded::byte_serialize(in_page.as_bytes()).collect::<String>());
        for pairs in [vec![("d", &*d), ("ct", &*ct)], vec![("d", &d), ("page_url", &page)], vec![("page_url", &page), ("mautic_device_id", &ct)]] {
            assert_fits(&collect(&query(&pairs)));
        }
        let mut hit = hit();
        let rest = take_click(&mut hit, &query(&[("ct", &*ct), ("d", &*d)])).into_owned();
        prop_assert!(!rest.starts_with("ct="));
        assert_fits(&hit);
    }

    #[test]
    fn any_base64_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..200), how in 0..4) {
        let plain = STANDARD.encode(&bytes);
        let given = match how {
            0 => plain,
            1 => plain.trim_end_matches('=').to_owned(),
            2 => plain.replace('+', " "),
            _ => plain.replace('+', "-").replace('/', "_"),
        };
        prop_assert_eq!(open_payload(&given).map(|(bytes, _)| bytes), Some(bytes));
    }
}

//! Whatever is sent, nothing panics and what comes of it fits.

use proptest::prelude::*;

use super::*;
use crate::tracking::mapp::batch;

fn assert_text(text: &str, most: usize) {
    assert!(
        text.chars().count() <= most && !text.chars().any(char::is_control),
        "{text:?}"
    );
}

fn assert_fits(hit: &Hit) {
    assert_text(&hit.site, Limit::WORD.0);
    for (text, most) in [
        (&hit.page_url, Limit::URL.0),
        (&hit.page_title, Limit::TITLE.0),
        (&hit.page_language, Limit::WORD.0),
        (&hit.referrer, Limit::URL.0),
        (&hit.order_id, Limit::NAME.0),
        (&hit.event, Limit::NAME.0),
        (&hit.user_agent, Limit::AGENT.0),
        (&hit.reason, 1_000),
        (&hit.utm.campaign, Limit::NAME.0),
    ] {
        if let Some(text) = text {
            assert_text(text, most);
            assert!(!text.is_empty());
        }
    }
    for (name, value) in hit.extra.iter().flatten() {
        assert_text(name, 100);
        match value {
            Value::String(text) => {
                assert_text(&text.replace('\n', " "), 4_000);
            }
            Value::Array(products) => {
                assert!(products.len() <= 200);
                for value in products
                    .iter()
                    .flat_map(|product| product.as_object().unwrap().values())
                {
                    assert_text(value.as_str().unwrap(), Limit::TITLE.0);
                }
            }
            other => panic!("{other}"),
        }
    }
    for (_, value) in &hit.fields {
        assert_text(value, Limit::TITLE.0);
    }
    let mut frame = Vec::new();
    crate::queue::frame::encode_frame(hit, &mut frame);
    let read = crate::queue::frame::decode_frames(&frame)
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(*read, *hit);
}

/// Queries with known names, odd values and plain noise.
fn query() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("p".to_owned()),
        Just("ba".to_owned()),
        Just("co".to_owned()),
        Just("qn".to_owned()),
        Just("st".to_owned()),
        Just("ov".to_owned()),
        Just("cr".to_owned()),
        Just("eid".to_owned()),
        Just("mc".to_owned()),
        Just("pu".to_owned()),
        Just("X-WT-IP".to_owned()),
        Just("X-WT-UA".to_owned()),
        Just("nc".to_owned()),
        Just("uc700".to_owned()),
        "ca[0-9]{1,3}",
        "[ -~]{0,12}",
    ];
    let value = prop_oneof![
        "[0-9;,.%+-]{0,40}",
        "(%[0-9a-fA-F]{2}|[a-z;,]){0,30}",
        "\\PC{0,30}",
        Just("__1_AAAA".to_owned()),
        "__1_[A-Za-z*_-]{0,9}"
    ];
    prop::collection::vec((name, value), 0..20).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect::<Vec<_>>()
            .join("&")
    })
}

proptest! {
    #[test]
    fn every_query_becomes_a_hit_that_fits(query in query(), is_trusted: bool, cookie in "[ -~]{0,60}") {
        let hit = hit_of(&query, &[("cookie", &format!("wt3_eid={cookie}"))], is_trusted);
        assert_fits(&hit);
    }

    #[test]
    fn every_body_becomes_hits_that_fit(body: Vec<u8>, lines in prop::collection::vec(query(), 0..4), literal: bool) {
        let mut all = body;
        for line in lines {
            all.extend_from_slice(if literal { b"\\nwt?" } else { b"\nwt?" });
            all.extend_from_slice(line.as_bytes());
        }
        let asked = Asked { query: "eid=1", headers: &[], is_trusted: false };
        with(&asked, |inbound, rules| {
            let sender = Sender::of(inbound, rules);
            let defaults = batch::defaults(inbound.query);
            for line in batch::lines(&all) {
                prop_assert!(!line.is_empty() && !line.contains(&b'\n'));
                for hit in batch::line_hits(&sender, "111", &defaults, line) {
                    assert_fits(&hit);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn fields_of_p_are_as_many_as_its_commas(fields in prop::collection::vec("[^,%+&=]{0,12}", 1..400)) {
        let p = fields.iter().map(|f| form_urlencoded::byte_serialize(f.as_bytes()).collect::<String>()).collect::<Vec<_>>().join(",");
        let super::fields::Fields { known, rest, are_too_many } = super::fields::split(p.as_bytes());
        let (first, later) = fields.split_at(fields.len().min(10));
        prop_assert_eq!(known, first);
        let joined = (!later.is_empty()).then(|| later.join(","));
        prop_assert_eq!(rest.as_deref(), joined.as_deref());
        prop_assert_eq!(are_too_many, later.len() > 1);
    }

    #[test]
    fn no_target_is_a_host_that_is_not_listed(target in "(https?:)?[/\\\\@a-z.:#?%0-9]{0,60}(www\\.example\\.com)?[/\\\\@a-z.:#?]{0,20}") {
        let encoded: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
        if let Some(url) = read_target(&format!("t={encoded}"), &[HostPattern::parse("www.example.com").unwrap()]) {
            let host = url.host_str().unwrap();
            // With the root's dot it is the same host.
            prop_assert_eq!(host.strip_suffix('.').unwrap_or(host), "www.example.com");
        }
    }
}

#[test]
fn the_worst_32_kib_are_read() {
    let repeat = |part: &str| part.repeat((32 << 10) / part.len());
    for (name, query) in [
        (
            "names",
            (0..5_000).map(|n| format!("&x{n}=1")).collect::<String>(),
        ),
        (
            "overrides",
            (0..2_500).map(|n| format!("&X-WT-{n}=1")).collect(),
        ),
        ("the same", repeat("&ov=1")),
        ("the same override", repeat("&X-WT-UA=1")),
        (
            "categories",
            (0..2_000).map(|n| format!("&ca{n}=1;2;3")).collect(),
        ),
        ("products", format!("&ba={}", repeat("a;"))),
        ("fields", format!("&p={}", repeat(","))),
        ("codes", format!("&p={}", repeat("%2C"))),
        ("hidden", format!("&ov=__1_{}", repeat("AAAA"))),
    ] {
        let query = &query[..query.len().min(32 << 10)];
        assert_eq!(hit(query).dialect, Dialect::Mapp, "{name}");
    }
}

//! Requests by hand, clicks above all, and that none panics.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId, Hit, Kind, LinkId, Provenance, Utm, VisitorId};
use crate::model::keys::Keys;
use crate::model::link::LinkRecord;
use crate::model::site::Site;
use crate::tracking::{AdobeMode, Rules};

pub(super) fn rules(mode: AdobeMode) -> Rules {
    let keys = Keys::parse(&["1:0123456789abcdef0123456789abcdef".to_owned()]).unwrap();
    Rules {
        adobe_mode: mode,
        ..Rules::new(keys)
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    headers.insert("user-agent", HeaderValue::from_static(firefox));
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn inbound<'a>(target: &'a str, query: &'a str, headers: &'a HeaderMap) -> Inbound<'a> {
    Inbound {
        site: Site::usual(),
        method: &Method::GET,
        target,
        rest: "",
        is_repaired: false,
        query,
        headers,
        body: &[],
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_forwarded: false,
        is_trusted_sender: false,
        received_at: Micros(1_800_000_000_123_456),
        new_visitor: VisitorId(uuid::Uuid::nil()),
    }
}

pub(super) fn claim(query: &str) -> Option<LinkClaim> {
    match read(&inbound("/r/", query, &headers(&[]))) {
        Request::Message(claim) => Some(*claim),
        _ => None,
    }
}

fn link(url: &str) -> LinkRecord {
    LinkRecord {
        id: LinkId(7_450_536),
        url: url.to_owned(),
        slug: None,
        delivery_id: Some(DeliveryId(7_450_531)),
        category: None,
        expires_at: None,
        expiration_url: None,
        utm: Utm::default(),
    }
}

pub(super) fn tagged(mode: AdobeMode, query: &str, cookies: &str) -> Result<Hit, &'static str> {
    let mut headers = headers(&[]);
    if !cookies.is_empty() {
        headers.insert("cookie", HeaderValue::from_str(cookies).unwrap());
    }
    tag(&inbound("/r/x", query, &headers), &rules(mode))
}

#[test]
fn a_click_takes_the_links_delivery_and_says_so() {
    let claim = claim("id=h617791,2,71afa8&p1=Ada&utm_source=x").unwrap();
    let link = link("https://shop.example/{p1}");
    let hit = click(
        &inbound("/r/", "", &headers(&[])),
        &rules(AdobeMode::Session),
        &claim,
        &link,
    );
    assert_eq!(hit.kind, Kind::Click);
    assert_eq!(hit.delivery_id, link.delivery_id);
    assert_eq!(hit.broadlog_id, Some(BroadlogId(6_387_601)));
    assert_eq!(hit.provenance, Provenance::Unsigned);
    assert_eq!(
        hit.reason.as_deref(),
        Some("unsigned link; delivery of the link taken")
    );
    assert_eq!(hit.page_url.as_deref(), Some("https://shop.example/{p1}"));
    assert_eq!(hit.utm.source.as_deref(), Some("x"));
    let extra = hit.extra.unwrap();
    assert_eq!(extra["content_type"], "html");
    assert_eq!(extra["claimed_delivery"], "2");
    assert_eq!(extra["p1"], "Ada");
}

#[test]
fn what_e_holds_counts_as_parameters() {
    // p1=GHMV&utm_source=x
    let claim = claim("id=h1,2,3&p1=late&e=cDE9R0hNViZ1dG1fc291cmNlPXg&s=abc&q=1").unwrap();
    assert_eq!(claim.query, "utm_source=x&q=1");
    assert_eq!(
        claim.values.pairs().collect::<Vec<_>>(),
        [("p1".to_owned(), "GHMV")]
    );
    // With the padding that some client adds.
    let padded = super::tests::claim("id=h1,2,3&e=cDE9R0hNViZ1dG1fc291cmNlPXg%3D").unwrap();
    assert_eq!(padded.query, "utm_source=x");
}

#[test]
fn e_that_is_no_base64_is_kept_and_noted() {
    for e in ["%25%25", "a", "_w"] {
        let claim = claim(&format!("id=h1,2,3&e={e}&q=1")).unwrap();
        assert_eq!(claim.query, "q=1", "{e}");
        let hit = message(
            &inbound("/r/", "", &headers(&[])),
            &rules(AdobeMode::Session),
            &claim,
        );
        assert!(hit.reason.unwrap().contains("e unreadable"), "{e}");
        assert!(hit.extra.unwrap().contains_key("e"));
    }
}

#[test]
fn reserved_names_never_go_on_to_the_page() {
    // id=x&e=y&s=z&p2=w&k=v
    let claim =
        claim("id=h1,2,3&amp;P=1&amp;ID=2&E=&S=x&%69d=4&p77=z&e=aWQ9eCZlPXkmcz16JnAyPXcmaz12")
            .unwrap();
    assert_eq!(claim.query, "P=1");
    let claim = super::tests::claim("id=h1,2,3&e=aWQ9eCZlPXkmcz16JnAyPXcmaz12").unwrap();
    assert_eq!(claim.query, "k=v");
}

#[test]
fn the_servers_test_answers_as_documented() {
    assert_eq!(
        test_answer(
            "t.example:80'<&",
            "t.example",
            Micros(1_800_000_000_123_456)
        ),
        format!(
            "<redir status='OK' date='2027-01-15 08:00:00.123Z' build='{}' \
            host='t.example:80&#39;&lt;&amp;' localHost='t.example'/>",
            env!("CARGO_PKG_VERSION")
        )
    );
    assert!(test_answer("", "", Micros(1_800_000_000_000_000)).contains("08:00:00.000Z"));
}

#[test]
fn only_its_own_requests_are_recognised() {
    for (rest, query, is_adobe) in [
        ("/", "id=h1,2,3", true),
        ("", "ID=h1,2,3", true),
        ("/", "p1=x&id=h1", true),
        ("/", "p1=x&amp;id=h1", true),
        ("/a", "tagid=x", true),
        ("/a/b", "TAGID=x", true),
        ("/test", "", true),
        ("/autumn", "id=5", false),
        ("/", "uid=5", false),
        ("/", "", false),
        ("/autumn", "éid=5", false),
    ] {
        assert_eq!(recognises(rest, query), is_adobe, "{rest}?{query}");
    }
}

#[test]
fn two_thousand_parameters_are_cut() {
    let many: String = (0..2_000).map(|n| format!("&x{n}=1")).collect();
    let hit = tagged(AdobeMode::Anonymous, &format!("tagid=a{many}"), "").unwrap();
    assert!(hit.reason.unwrap().contains("parameters cut"));
    assert!(hit.extra.unwrap().len() <= 200);
    let claim = claim(&format!("id=h1,2,3{many}")).unwrap();
    assert_eq!(claim.query.split('&').count(), 499);
}

/// Text such as a scanner of weaknesses sends, in a form that gets far into the reading.
fn hostile() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "id=",
        "tagid=",
        "&",
        "=",
        "h",
        ",",
        "1",
        "ff",
        "%",
        "%00",
        "%ff",
        "%2C",
        "|",
        "|t|",
        "e=",
        "s=",
        "p1=",
        "rcpid=",
        "jobid=",
        "amount=",
        "article=",
        "amp;",
        "email%3D",
        "é",
        "-",
        "_w",
        "cDE9",
        "\u{fffd}",
        "3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70",
    ])
    .prop_map(str::to_owned);
    prop::collection::vec(prop_oneof![4 => words, 1 => "\\PC{0,6}"], 0..20)
        .prop_map(|parts| parts.concat())
}

fn is_clean(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c == '\u{fffd}')
}

proptest! {
    #[test]
    fn no_request_panics_and_every_hit_is_clean(
        query in hostile(), cookie in "(nlid|uuid230|nllastdelid|lastDeliveryId)=[!-:<-~]{0,40}", path in "/r/\\PC{0,9}",
    ) {
        let headers = headers(&[("cookie", cookie.as_str()), ("referer", "https://x.example/?utm_source=\u{1f600}")]);
        let request = inbound(&path, &query, &headers);
        for mode in [AdobeMode::Session, AdobeMode::Permanent, AdobeMode::Anonymous] {
            let rules = rules(mode);
            recognises(&path, &query);
            let hit = match read(&request) {
                Request::Message(claim) => {
                    click(&request, &rules, &claim, &link("https://shop.example/"));
                    message(&request, &rules, &claim)
                }
                _ => match tag(&request, &rules) {
                    Ok(hit) => hit,
                    Err(_) => continue,
                },
            };
            let extra = hit.extra.unwrap_or_default();
            prop_assert!(extra.len() <= 200);
            for (name, value) in &extra {
                prop_assert!(is_clean(name) && is_clean(&value.as_str().unwrap().replace('\n', "")));
            }
            prop_assert!(hit.page_tag.is_none_or(|tag| is_clean(&tag) && tag.chars().count() <= 255));
            if let Some(foreign) = hit.foreign {
                prop_assert!(foreign.recipient.is_none_or(|(field, value)| is_clean(&field) && is_clean(&value)));
                prop_assert!(foreign.message_key.is_none_or(|key| is_clean(&key)));
            }
        }
    }
}

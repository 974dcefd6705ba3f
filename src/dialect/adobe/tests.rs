use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::id::{Broadlog, read_id, readings};
use super::*;
use crate::clock::Micros;
use crate::dialect::{AdobeMode, Rules, foreign_visitor};
use crate::hit::{BroadlogId, DeliveryId, Hit, Kind, LinkId, Money, PageTagKind, Provenance, Utm};
use crate::link::{Keys, LinkRecord, Purpose};

fn rules(mode: AdobeMode) -> Rules {
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

fn inbound<'a>(path: &'a str, query: &'a str, headers: &'a HeaderMap) -> Inbound<'a> {
    Inbound {
        method: &Method::GET,
        path,
        query,
        headers,
        body: &[],
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_trusted_sender: false,
        received_at: Micros(1_800_000_000_123_456),
    }
}

fn claim(query: &str) -> Option<Claim> {
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

fn tagged(mode: AdobeMode, query: &str, cookies: &str) -> Result<Hit, &'static str> {
    let mut headers = headers(&[]);
    if !cookies.is_empty() {
        headers.insert("cookie", HeaderValue::from_str(cookies).unwrap());
    }
    tag(&inbound("/r/x", query, &headers), &rules(mode))
}

#[test]
fn ids_are_read_in_every_notation() {
    let id = read_id("H617791,71FFA3,71ffa8").unwrap();
    assert_eq!(id.letter, 'h');
    assert_eq!(id.broadlog, Some(Broadlog::Number(6_387_601)));
    assert_eq!(id.delivery, Some(7_471_011));
    assert_eq!(id.target, Target::Link(7_471_016));
    assert!(!id.is_repaired);
    let uuid = read_id("h3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70,a5e21a,1").unwrap();
    assert!(matches!(uuid.broadlog, Some(Broadlog::Uuid(_))));
    assert_eq!(uuid.target, Target::Open);
    let zeros = read_id("t0,000000000000000000a5e21a,2").unwrap();
    assert_eq!((zeros.broadlog, zeros.delivery), (None, Some(0xa5_e21a)));
    assert_eq!(zeros.target, Target::PushClick);
    for repaired in ["h1,2,3.", "h1%2C2%2C3", "h1,2,3)"] {
        let id = read_id(repaired).unwrap();
        assert!(id.is_repaired, "{repaired}");
        assert_eq!(id.target, Target::Link(3), "{repaired}");
    }
}

#[test]
fn an_odd_id_is_none() {
    for odd in [
        "",
        "h",
        "h1",
        "h1,2",
        "h1,2,",
        "h,2,3",
        "h1,,3",
        "h1,2,3,4",
        "1,2,3",
        "hg,2,3",
        "h1,2,x",
        "h-1,2,3",
        "h+1,2,3",
        "h1,2,3 4",
        "hé,2,3",
        "é1,2,3",
        "h1,2,11111111111111111",
        "hffffffffffffffffffffffffffffffffffffffff,2,3",
        "h3f7691e6-f0e8-4a05-a0b7-0d2f79f8be7,a,b",
        "h3f7691e6-f0e8-4a05-a0b7-0d2f79f8beXX,a,b",
    ] {
        assert_eq!(read_id(odd), None, "{odd}");
    }
}

#[test]
fn a_negative_id_is_tried_as_both() {
    let all = |id| readings(id).collect::<Vec<_>>();
    assert_eq!(all(5), [5]);
    assert_eq!(all(0x7fff_ffff), [0x7fff_ffff]);
    assert_eq!(all(0xffff_fffb), [0xffff_fffb, -5]);
    assert_eq!(all(0x1_ffff_fffb), [0x1_ffff_fffb]);
    assert_eq!(all(u64::MAX - 4), [-5]);
    let ids: Vec<_> = claim("id=h1,2,fffffffb").unwrap().link_ids().collect();
    assert_eq!(ids, [LinkId(0xffff_fffb), LinkId(-5)]);
    assert_eq!(claim("id=h1,2,1").unwrap().link_ids().count(), 0);
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
fn a_tag_is_read_whole() {
    let hit = tagged(
        AdobeMode::Session,
        "tagid=cart%7CT%7CShop%20A&jobid=71FFA3&rcpid=saccount%3D10&amount=49.90&article=2&currency=eur&colour=red&utm_term=t",
        "",
    )
    .unwrap();
    assert_eq!(hit.page_tag.as_deref(), Some("cart"));
    assert_eq!(hit.delivery_id, Some(DeliveryId(7_471_011)));
    assert_eq!(hit.provenance, Provenance::Claimed);
    assert_eq!(hit.revenue, Some(Money(499_000)));
    assert_eq!(hit.quantity, Some(2));
    assert_eq!(hit.currency.map(|c| c.as_str().to_owned()).unwrap(), "EUR");
    assert_eq!(hit.utm.term.as_deref(), Some("t"));
    let foreign = hit.foreign.unwrap();
    assert_eq!(
        foreign.recipient,
        Some(("saccount".to_owned(), "10".to_owned()))
    );
    let draft = foreign.page_tag.unwrap();
    assert_eq!(draft.kind, PageTagKind::Transaction);
    assert_eq!(draft.folder.as_deref(), Some("Shop A"));
    assert_eq!(hit.extra.unwrap()["colour"], "red");
}

#[test]
fn what_a_tag_says_wrongly_is_kept_and_noted() {
    let hit = tagged(
        AdobeMode::Anonymous,
        "tagid=a%7Cx&jobid=xyz&rcpid=nothing&amount=lots&article=1.5&currency=gold",
        "",
    )
    .unwrap();
    assert_eq!(
        hit.reason.as_deref(),
        Some(
            "tagid of no type; jobid no hex number; rcpid unreadable; amount is not a decimal number; article no number"
        )
    );
    let extra = hit.extra.unwrap();
    for (name, value) in [
        ("tagid", "a|x"),
        ("jobid", "xyz"),
        ("rcpid", "nothing"),
        ("amount", "lots"),
        ("article", "1.5"),
        ("currency", "gold"),
    ] {
        assert_eq!(extra[name], value);
    }
    assert_eq!(hit.page_tag.as_deref(), Some("a"));
    assert_eq!(tagged(AdobeMode::Anonymous, "tagid=%7Cw", ""), Err(NO_TAG));
    assert_eq!(tagged(AdobeMode::Anonymous, "tagid=", ""), Err(NO_TAG));
}

#[test]
fn the_mode_decides_which_tags_count() {
    let keys = rules(AdobeMode::Session).keys;
    let uuid = "uuid230=3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70";
    let last = format!(
        "lastDeliveryId={}",
        keys.seal(Purpose::LastDeliveryCookie, "4711")
    );
    let session = format!("deliveryId={}", keys.seal(Purpose::DeliveryCookie, "4712"));
    let known_only = |cookies: &str| {
        tagged(AdobeMode::Permanent, "tagid=a", cookies)
            .map(|hit| hit.foreign.is_some_and(|f| f.is_for_known_visitors))
    };
    use AdobeMode::{Anonymous, Permanent, Session};
    for mode in [Session, Permanent, Anonymous] {
        for (query, cookies) in [
            ("tagid=a", session.as_str()),
            ("tagid=a", "nlid=617791|71ffa3"),
            ("tagid=a&jobid=1", ""),
            ("tagid=a&rcpid=email%3Da@x.example", ""),
        ] {
            let hit = tagged(mode, query, cookies).unwrap();
            assert!(!hit.foreign.is_some_and(|f| f.is_for_known_visitors));
        }
    }
    assert_eq!(tagged(Session, "tagid=a", uuid), Err(NO_SESSION));
    assert_eq!(tagged(Session, "tagid=a", &last), Err(NO_SESSION));
    assert_eq!(known_only(""), Err(NO_VISITOR));
    assert_eq!(known_only(uuid), Ok(true));
    assert_eq!(known_only(&last), Ok(false));
    assert_eq!(
        known_only("lastDeliveryId=4711.AAAAAAAAAAA"),
        Err(NO_VISITOR)
    );
    assert!(tagged(Anonymous, "tagid=a", "").is_ok());
}

#[test]
fn a_tag_belongs_to_the_session_then_to_jobid_then_to_the_last_delivery() {
    let keys = rules(AdobeMode::Session).keys;
    let last = format!(
        "lastDeliveryId={}",
        keys.seal(Purpose::LastDeliveryCookie, "4711")
    );
    let session = format!("deliveryId={}", keys.seal(Purpose::DeliveryCookie, "4712"));
    let delivery = |query: &str, cookies: &str| {
        let hit = tagged(AdobeMode::Anonymous, query, cookies).unwrap();
        (hit.delivery_id.map(|id| id.0), hit.provenance)
    };
    let all = format!("{last}; {session}; nllastdelid=71ffa3");
    assert_eq!(
        delivery("tagid=a&jobid=10", &all),
        (Some(4712), Provenance::Session)
    );
    assert_eq!(
        delivery("tagid=a&jobid=10", &last),
        (Some(16), Provenance::Claimed)
    );
    assert_eq!(
        delivery("tagid=a", &format!("{last}; nllastdelid=71ffa3")),
        (Some(4711), Provenance::Session)
    );
    assert_eq!(
        delivery("tagid=a", "nllastdelid=71ffa3"),
        (Some(7_471_011), Provenance::Claimed)
    );
    assert_eq!(
        delivery("tagid=a", "nllastdelid=nobody"),
        (None, Provenance::None)
    );
}

#[test]
fn adobes_session_cookie_is_read_in_several_forms() {
    for value in [
        "617791|71ffa3",
        "617791%7C71ffa3",
        "h617791,71ffa3,71ffa8",
        "617791.71FFA3",
    ] {
        let hit = tagged(AdobeMode::Session, "tagid=a", &format!("nlid={value}")).unwrap();
        assert_eq!(hit.broadlog_id, Some(BroadlogId(6_387_601)), "{value}");
        assert_eq!(hit.delivery_id, Some(DeliveryId(7_471_011)), "{value}");
        assert_eq!(hit.provenance, Provenance::Unsigned);
    }
    let uuid = "nlid=3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70|71ffa3";
    let hit = tagged(AdobeMode::Session, "tagid=a", uuid).unwrap();
    assert_eq!(
        hit.message_key(),
        Some("adobe:3f7691e6-f0e8-4a05-a0b7-0d2f79f8be70")
    );
    for odd in ["nlid=1", "nlid=1|", "nlid=0|0", "nlid=x|y", "nlid=|"] {
        assert_eq!(
            tagged(AdobeMode::Session, "tagid=a", odd),
            Err(NO_SESSION),
            "{odd}"
        );
    }
}

#[test]
fn adobes_visitor_is_taken_where_ours_is_absent() {
    let uuid = "uuid230={3F7691E6-F0E8-4A05-A0B7-0D2F79F8BE70}";
    let adobes = foreign_visitor("adobe", "3f7691e6f0e84a05a0b70d2f79f8be70");
    let visitor = |cookies: &str| {
        let hit = tagged(AdobeMode::Anonymous, "tagid=a", cookies).unwrap();
        (hit.visitor_id, hit.reason)
    };
    assert_eq!(visitor(uuid), (Some(adobes), None));
    assert_eq!(
        visitor("uuid230=undefined"),
        (None, Some("uuid230 unreadable".to_owned()))
    );
    let own = uuid::Uuid::from_u128(5);
    let keys = rules(AdobeMode::Session).keys;
    let sealed = keys.seal(Purpose::Visitor, &own.simple().to_string());
    assert_eq!(
        visitor(&format!("visitorId={sealed}; {uuid}")).0.unwrap().0,
        own
    );
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
            "<redir status='OK' date='2027-01-15 08:00:00.123Z' build='{}' host='t.example:80&#39;&lt;&amp;' localHost='t.example'/>",
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

    #[test]
    fn no_id_panics(text in "[htx]?([0-9a-fA-F]{0,18}|\\PC{0,5})(,([0-9a-f]{0,18}|\\PC{0,5})){0,4}") {
        if let Some(Target::Link(link)) = read_id(&text).map(|id| id.target) {
            prop_assert!(link > 2 || link == 0);
            prop_assert!(readings(link).count() >= 1);
        }
    }

    #[test]
    fn what_is_escaped_ends_no_attribute_and_opens_no_tag(text: String, most in 0_usize..50) {
        let escaped = escaped(&text, most);
        let is_harmless = escaped.chars().all(|c| !"<>'\"".contains(c) && !c.is_control());
        prop_assert!(is_harmless);
    }
}

//! What a request comes to whole: its hit, its reply and its cookies.

use super::*;

#[test]
fn a_request_that_did_not_arrive_whole_is_noted() {
    let mut headers = HeaderMap::new();
    headers.insert(
        crate::tracking::inbound::MENDED_HEADER.as_str(),
        HeaderValue::from_static("cut"),
    );
    headers.insert(
        "user-agent",
        HeaderValue::from_static(
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
    );
    let hit = collect(&inbound(&Method::GET, "", &headers, &[]), &rules());
    assert_eq!(hit.reason.as_deref(), Some("request cut"));
}

#[test]
fn a_landing_parameter_says_no_more_than_its_click() {
    let headers = HeaderMap::new();
    let rules = rules();
    let land = |click: &Hit| {
        let query = format!("_sl={}", landing_value(&rules, click));
        collect(&inbound(&Method::GET, &query, &headers, &[]), &rules)
    };
    let mut click = Hit::new(HitId(Uuid::nil()), NOW, Kind::Click, Dialect::Native);
    click.visitor_id = Some(VisitorId(Uuid::from_u128(9)));
    click.delivery_id = Some(DeliveryId(4711));
    click.broadlog_id = Some(BroadlogId(1000));
    click.provenance = Provenance::Link;
    let ids = |hit: &Hit| (hit.broadlog_id, hit.delivery_id, hit.visitor_id);
    let signed = land(&click);
    assert_eq!(ids(&signed), ids(&click));
    assert_eq!(signed.provenance, Provenance::Session);

    click.provenance = Provenance::Unsigned;
    let unsigned = land(&click);
    assert_eq!(ids(&unsigned), ids(&click));
    assert_eq!(unsigned.provenance, Provenance::Unsigned);

    click.broadlog_id = None;
    click.provenance = Provenance::Claimed;
    for key in [
        "mautic:5f9c1d2e8a7b3c4d5e6f70",
        "adobe:0190a5a0-0000-7000-8000-000000000000",
    ] {
        click.foreign_mut().message_key = Some(key.to_owned());
        let named = land(&click);
        assert_eq!(ids(&named), ids(&click));
        assert_eq!(named.message_key(), Some(key));
        assert_eq!(named.provenance, Provenance::Unsigned);
    }

    click.foreign = None;
    click.provenance = Provenance::None;
    let short = land(&click);
    assert_eq!(ids(&short), ids(&click), "a link without a message");
    assert_eq!(short.provenance, Provenance::Session);
    // What an unsigned link began proves no more than the link did, also where it named no message.
    click.provenance = Provenance::Unsigned;
    let unsigned = land(&click);
    assert_eq!(ids(&unsigned), ids(&click));
    assert_eq!(unsigned.provenance, Provenance::Unsigned);
}

/// What a request for a link comes to once its link was found.
fn followed(request: &Inbound<'_>, rules: &Rules) -> Decoded {
    let (name, following) = read_link(request, rules).unwrap();
    assert_eq!(name, LinkName::Slug("shoes".into()));
    answer_click(request, rules, &following, &link())
}

#[test]
fn a_click_needs_the_request_and_its_link_and_nothing_else() {
    let (headers, rules) = (HeaderMap::new(), rules());
    let request = Inbound {
        rest: "shoes",
        ..inbound(&Method::GET, "utm_source=news", &headers, &[])
    };
    let page = |reply: Reply| match reply {
        Reply::Redirect(page) => page,
        reply => panic!("{reply:?}"),
    };
    let decoded = followed(&request, &rules);
    assert_eq!(page(decoded.reply), "https://shop.example/?utm_source=news");
    assert_eq!(decoded.counted, Counted::Redirect);
    let [hit] = &decoded.hits[..] else {
        panic!("one hit");
    };
    assert_eq!(hit.visitor_id, Some(request.new_visitor));
    assert!(hit.visitor_is_new);
    let visitor = decoded.cookies.visitor.unwrap();
    let session = decoded.cookies.session.unwrap();
    assert_eq!((session.message, session.delivery), (None, None));

    // Who comes again is known by that cookie.
    let cookie = format!("{VISITOR_COOKIE}={visitor}");
    let mut again = HeaderMap::new();
    again.insert("cookie", HeaderValue::from_str(&cookie).unwrap());
    let decoded = followed(
        &Inbound {
            headers: &again,
            ..request
        },
        &rules,
    );
    assert!(!decoded.hits[0].visitor_is_new);

    let head = Inbound {
        method: &Method::HEAD,
        ..request
    };
    assert_eq!(followed(&head, &rules).cookies, Cookies::default());
    let repaired = Inbound {
        rest: "shoes).",
        ..request
    };
    let reason = followed(&repaired, &rules).hits[0].reason.clone().unwrap();
    assert!(reason.ends_with("link repaired"), "{reason}");

    for (domain, hands_over) in [("other.example", true), ("shop.example", false)] {
        let mut site = Site::new("https://t.example".to_owned());
        site.cookie_domains = vec![HostPattern::parse_domain(domain).unwrap()];
        site.hands_over = true;
        let request = Inbound {
            site: &site,
            ..request
        };
        let page = page(followed(&request, &rules).reply);
        assert_eq!(page.contains("&_sl="), hands_over, "{page}");
    }
}

#[test]
fn a_script_is_told_whether_its_hit_was_kept() {
    let (headers, rules) = (HeaderMap::new(), rules());
    let request = inbound(&Method::POST, "", &headers, b"page_url=a");
    let decoded = answer_event(&request, &rules);
    let visitor = decoded.cookies.visitor.unwrap();
    for (reply, success) in [(decoded.reply, 1), (*decoded.if_lost.unwrap(), 0)] {
        let Reply::Json(StatusCode::OK, body, Readers::Sites) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(body["success"], success);
        assert_eq!(body["id"], request.new_visitor.told());
        assert_eq!(
            (&body["sid"], &body["device_id"]),
            (&json!(visitor), &json!(visitor))
        );
    }
    let unread = answer_visitor(&request, &rules, false);
    assert_eq!(unread.cookies, Cookies::default());
    assert_eq!(
        unread.reply,
        Reply::Json(StatusCode::OK, json!({}), Readers::Sites)
    );
}

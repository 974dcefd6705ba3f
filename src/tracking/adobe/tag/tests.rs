//! What a tag says, which tags count, and whose they are.

use super::*;
use crate::model::hit::{BroadlogId, Money};
use crate::model::keys::Purpose;
use crate::tracking::adobe::tests::{rules, tagged};
use crate::tracking::visitor::foreign_visitor;

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
            "tagid of no type; jobid no hex number; rcpid unreadable; amount is not a decimal \
            number; article no number"
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

//! Ids in every notation, and texts that are not ids.

use proptest::prelude::*;

use super::*;
use crate::model::hit::LinkId;
use crate::tracking::adobe::tests::claim;

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
    for repaired in [
        "h1,2,3.",
        "h1%2C2%2C3",
        "h1,2,3)",
        "h1,2,3 4",
        "h1,2,3*",
        "h1,2,3\r\n",
        "h1,2,3\u{a0}",
        "h1,2,3\u{200b}",
        "\"h1,2,3\"",
        "h1,2,3,",
        "h1,2,3%22",
        "h1,2,3 -- seen",
    ] {
        let id = read_id(repaired).unwrap();
        assert!(id.is_repaired, "{repaired}");
        assert_eq!(id.target, Target::Link(3), "{repaired}");
    }
}

#[test]
fn a_minus_sign_is_read_as_adobes_own_hex() {
    for (signed, plain) in [
        ("h-5,2,3", "hfffffffb,2,3"),
        ("h-80000000,2,3", "h80000000,2,3"),
        ("h-80000001,2,3", "hffffffff7fffffff,2,3"),
        ("h1,-5,3", "h1,fffffffb,3"),
        ("h-0,2,3", "h0,2,3"),
    ] {
        let (signed, plain) = (read_id(signed).unwrap(), read_id(plain).unwrap());
        assert_eq!(
            (signed.broadlog, signed.delivery),
            (plain.broadlog, plain.delivery)
        );
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
        "h--1,2,3",
        "h-,2,3",
        "h1,2,-3",
        "h+1,2,3",
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

proptest! {
    #[test]
    fn no_id_panics(text in "[htx]?([0-9a-fA-F]{0,18}|\\PC{0,5})(,([0-9a-f]{0,18}|\\PC{0,5})){0,4}") {
        if let Some(Target::Link(link)) = read_id(&text).map(|id| id.target) {
            prop_assert!(link > 2 || link == 0);
            prop_assert!(readings(link).count() >= 1);
        }
    }
}

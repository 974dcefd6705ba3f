//! Pages of hits: forwards and backwards, of many contacts at once, and through hits that nearly
//! all do not match.

use crate::model::hit::{ContactId, DeliveryId, Hit, Kind, VisitorId};
use crate::store::Store;
use crate::store::hits::{HitFilter, Whose};
use serde_json::{Map, json};
use uuid::Uuid;

use super::rig::{Engine, on_both};
use super::{hit, insert, new_store};

on_both!(
    a_page_ends_early_where_its_hits_are_large,
    pages_go_forwards_and_backwards_through_what_matches,
    contacts_merged_from_many_are_read_as_one,
    a_page_ends_though_nothing_matches,
);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0197_a8c0_0000_7000_8000_0000_0000_0000 + number)
}

/// The numbers of all that matches, oldest first, and how many pages it took.
async fn forwards(store: &Store, filter: &HitFilter, limit: i64) -> (Vec<i64>, u32) {
    let until = store.last_seq().await.unwrap();
    let (mut seqs, mut pages, mut after) = (Vec::new(), 0, 0);
    loop {
        let page = store.hits_between(filter, after, until, limit).await;
        let page = page.unwrap();
        seqs.extend(page.hits.iter().map(|hit| hit.seq));
        pages += 1;
        if page.is_last() {
            return (seqs, pages);
        }
        assert!(page.reached > after, "it goes on");
        after = page.reached;
    }
}

/// The same, newest first.
async fn backwards(store: &Store, filter: &HitFilter, limit: i64) -> (Vec<i64>, u32) {
    let (mut seqs, mut pages, mut before) = (Vec::new(), 0, i64::MAX);
    loop {
        let page = store.hits_before(filter, before, limit).await.unwrap();
        seqs.extend(page.hits.iter().map(|hit| hit.seq));
        pages += 1;
        if page.is_last() {
            return (seqs, pages);
        }
        assert!(page.reached < before, "it goes on");
        before = page.reached;
    }
}

async fn pages_go_forwards_and_backwards_through_what_matches(engine: Engine) {
    let store = new_store(engine).await;
    let (ada, former, visitor) = (id(10), id(11), id(12));
    let hits: Vec<Hit> = (0..60)
        .map(|number| {
            let mut hit = hit(if number % 2 == 0 {
                Kind::Click
            } else {
                Kind::Open
            });
            hit.delivery_id = (number % 3 == 0).then_some(DeliveryId(i64::MIN));
            hit.contact_id = match number % 5 {
                0 => Some(ContactId(ada)),
                1 => Some(ContactId(former)),
                _ => None,
            };
            hit.visitor_id = (number % 5 > 0).then_some(VisitorId(visitor));
            hit
        })
        .collect();
    insert(&store, &hits).await;
    let of = |whose: Option<Whose>, delivery: bool, kind: Option<Kind>| HitFilter {
        delivery: delivery.then_some(DeliveryId(i64::MIN)),
        whose,
        kind,
        ..HitFilter::default()
    };
    let contacts = |ids: &[Uuid]| {
        Some(Whose::Contacts(
            ids.iter().copied().map(ContactId).collect(),
        ))
    };
    let anonymous = || Some(Whose::Visitor(VisitorId(visitor)));
    type Matches = fn(i64) -> bool;
    let filters: [(HitFilter, Matches); 7] = [
        (of(None, false, None), |_| true),
        (of(None, true, None), |n| n % 3 == 0),
        (of(None, false, Some(Kind::Click)), |n| n % 2 == 0),
        (of(contacts(&[ada]), false, None), |n| n % 5 == 0),
        (of(contacts(&[ada, former]), true, None), |n| {
            n % 5 < 2 && n % 3 == 0
        }),
        (of(anonymous(), false, Some(Kind::Open)), |n| {
            n % 5 > 1 && n % 2 == 1
        }),
        (of(contacts(&[id(99)]), true, Some(Kind::Form)), |_| false),
    ];
    for (filter, matches) in filters {
        // Numbers begin at 1.
        let expected: Vec<i64> = (1..=60).filter(|seq| matches(seq - 1)).collect();
        let (found, _) = forwards(&store, &filter, 7).await;
        assert_eq!(found, expected, "{filter:?}");
        let (mut found, _) = backwards(&store, &filter, 7).await;
        found.reverse();
        assert_eq!(found, expected, "{filter:?}");
    }
    // Between two numbers, the first left out and the second taken.
    let page = store
        .hits_between(&HitFilter::default(), 10, 12, 100)
        .await
        .unwrap();
    let seqs: Vec<i64> = page.hits.iter().map(|hit| hit.seq).collect();
    assert_eq!((seqs, page.is_last()), (vec![11, 12], true));
    store.close().await;
}

async fn contacts_merged_from_many_are_read_as_one(engine: Engine) {
    let store = new_store(engine).await;
    let hits: Vec<Hit> = (0..600)
        .map(|number| {
            let mut hit = hit(if number % 7 == 0 {
                Kind::Click
            } else {
                Kind::Open
            });
            hit.contact_id = (number % 3 > 0).then(|| ContactId(id(number % 150)));
            // Long enough to end a page.
            hit.page_url = (number % 50 == 1).then(|| "x".repeat(200_000));
            hit
        })
        .collect();
    insert(&store, &hits).await;
    let contacts = (0..150).map(|number| ContactId(id(number))).collect();
    let mut filter = HitFilter {
        whose: Some(Whose::Contacts(contacts)),
        ..HitFilter::default()
    };
    for kind in [None, Some(Kind::Click)] {
        filter.kind = kind;
        let expected: Vec<i64> = (1..=600)
            .filter(|seq| (seq - 1) % 3 > 0 && (kind.is_none() || (seq - 1) % 7 == 0))
            .collect();
        for limit in [9, 1_000] {
            let (found, _) = forwards(&store, &filter, limit).await;
            assert_eq!(found, expected, "{limit} {kind:?}");
            let (mut found, _) = backwards(&store, &filter, limit).await;
            found.reverse();
            assert_eq!(found, expected, "{limit} {kind:?}");
        }
    }
    store.close().await;
}

async fn a_page_ends_though_nothing_matches(engine: Engine) {
    let store = new_store(engine).await;
    let ada = ContactId(id(1));
    let of = |kind| {
        let mut hit = hit(kind);
        (hit.delivery_id, hit.contact_id) = (Some(DeliveryId(1)), Some(ada));
        hit
    };
    let opens: Vec<Hit> = (0..2_000).map(|_| of(Kind::Open)).collect();
    for _ in 0..6 {
        insert(&store, &opens).await;
    }
    let last = insert(&store, &[of(Kind::Click), of(Kind::Form)]).await;
    let delivery = Some(DeliveryId(1));
    let whose = Some(Whose::Contacts(vec![ada]));
    let all = HitFilter::default();
    let with = |kind, filter: &HitFilter| HitFilter {
        kind: Some(kind),
        ..filter.clone()
    };
    for filter in [
        all.clone(),
        HitFilter {
            delivery,
            ..all.clone()
        },
        HitFilter {
            whose,
            ..all.clone()
        },
    ] {
        let clicks = with(Kind::Click, &filter);
        let (found, pages) = forwards(&store, &clicks, 10).await;
        assert_eq!((found, pages), (vec![last], 2), "{clicks:?}");
        let (found, pages) = backwards(&store, &clicks, 10).await;
        assert_eq!((found, pages), (vec![last], 2), "{clicks:?}");
    }
    // Its index knows where a rare kind stands.
    let (found, pages) = forwards(&store, &with(Kind::Form, &all), 10).await;
    assert_eq!((found, pages), (vec![last + 1], 1));
    let (found, pages) = forwards(&store, &with(Kind::Optout, &all), 10).await;
    assert_eq!((found, pages), (vec![], 1));
    store.close().await;
}

async fn a_page_ends_early_where_its_hits_are_large(engine: Engine) {
    let store = new_store(engine).await;
    let hits: Vec<Hit> = (0..9)
        .map(|_| {
            let mut hit = hit(Kind::Event);
            let text = json!("y".repeat(300_000));
            hit.extra = Some(Map::from_iter([("x".to_owned(), text)]));
            hit
        })
        .collect();
    insert(&store, &hits).await;
    let page = store
        .hits_between(&HitFilter::default(), 0, 9, 9)
        .await
        .unwrap();
    assert!((1..9).contains(&page.hits.len()), "{}", page.hits.len());
    assert!(!page.is_last());
    let (found, pages) = forwards(&store, &HitFilter::default(), 1_000).await;
    assert!(found.len() == 9 && pages > 1, "{found:?} in {pages}");
    store.close().await;
}

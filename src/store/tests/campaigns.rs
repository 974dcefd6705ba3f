//! Deliveries and links.

use std::collections::{BTreeSet, HashSet};

use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, LinkId, Utm};
use crate::operator::{NewDelivery, NewLink};
use crate::store::Store;
use crate::store::deliveries::{Delivery, Link, Taken};
use crate::store::scan::Wanted;

use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, new_store};

pub(super) async fn make_delivery(
    store: &Store,
    new: NewDelivery,
    now: Micros,
) -> Result<Delivery, Taken> {
    let mut tx = store.begin().await.unwrap();
    let made = tx.create_delivery(&new, now).await.unwrap();
    tx.commit().await.unwrap();
    made
}

pub(super) async fn make_link(store: &Store, new: NewLink, now: Micros) -> Result<Link, Taken> {
    let mut tx = store.begin().await.unwrap();
    let made = tx.create_link(new, now).await.unwrap();
    tx.commit().await.unwrap();
    made
}

pub(super) fn new_delivery(id: Option<i64>, label: &str) -> NewDelivery {
    NewDelivery {
        id: id.map(DeliveryId),
        label: label.to_owned(),
        ..NewDelivery::default()
    }
}

pub(super) fn new_link(id: Option<i64>, delivery: Option<i64>, slug: Option<&str>) -> NewLink {
    NewLink {
        id: id.map(LinkId),
        delivery_id: delivery.map(DeliveryId),
        slug: slug.map(str::to_owned),
        url: "https://shop.example/".to_owned(),
        label: None,
        category: None,
    }
}

async fn deliveries(store: &Store, before: Option<i64>, limit: i64) -> Vec<Delivery> {
    let wanted = Wanted { before, limit };
    store.list_deliveries(None, wanted).await.unwrap().rows
}

/// One with another value in every field.
pub(super) fn full_delivery(id: i64) -> NewDelivery {
    let text = |text: &str| Some(text.to_owned());
    NewDelivery {
        id: Some(DeliveryId(id)),
        label: "spring".to_owned(),
        channel: text("push"),
        sent_at: Some(Micros(-1)),
        expires_at: Some(Micros(i64::MAX)),
        expiration_url: text("https://shop.example/over"),
        utm: Utm {
            source: text("s"),
            medium: text("m"),
            campaign: text("c"),
            term: text("t"),
            content: text("n"),
        },
    }
}

async fn a_delivery_comes_back_whole(engine: Engine) {
    let store = new_store(engine).await;
    for id in [7, 0, -7, i64::MIN, i64::MAX] {
        let made = make_delivery(&store, full_delivery(id), NOW).await.unwrap();
        let expected = full_delivery(id);
        assert_eq!(
            made,
            Delivery {
                id: DeliveryId(id),
                label: expected.label,
                channel: "push".to_owned(),
                sent_at: expected.sent_at,
                expires_at: expected.expires_at,
                expiration_url: expected.expiration_url,
                utm: expected.utm,
                origin: None,
                messages: 0,
                created_at: NOW,
            }
        );
        assert_eq!(store.delivery(DeliveryId(id)).await.unwrap(), Some(made));
    }
    let made = make_delivery(&store, new_delivery(None, "plain"), NOW)
        .await
        .unwrap();
    assert_eq!(
        (made.id, made.channel.as_str()),
        (DeliveryId(8), "email"),
        "after the greatest chosen one"
    );
    assert_eq!(store.delivery(made.id).await.unwrap(), Some(made));
    assert_eq!(store.delivery(DeliveryId(99)).await.unwrap(), None);
    store.close().await;
}

async fn an_id_that_is_taken_stays_whose_it_was(engine: Engine) {
    let store = new_store(engine).await;
    let first = make_delivery(&store, new_delivery(Some(1), "first"), NOW)
        .await
        .unwrap();
    let second = make_delivery(&store, new_delivery(Some(1), "second"), NOW).await;
    assert_eq!(second, Err(Taken::Id));
    assert_eq!(store.delivery(first.id).await.unwrap(), Some(first));
    store.close().await;
}

async fn deliveries_are_found_by_label_and_read_both_ways(engine: Engine) {
    let store = new_store(engine).await;
    for (number, label) in HOSTILE.into_iter().enumerate() {
        let number = number as i64;
        make_delivery(
            &store,
            new_delivery(Some(10 - number), label),
            Micros(NOW.0 + number),
        )
        .await
        .unwrap();
        make_delivery(
            &store,
            new_delivery(Some(100 + number), label),
            Micros(NOW.0 - 1),
        )
        .await
        .unwrap();
        let found = store.delivery_by_label(label).await.unwrap().unwrap();
        assert_eq!(
            (found.id.0, found.label.as_str()),
            (100 + number, label),
            "the first that was made"
        );
    }
    assert_eq!(store.delivery_by_label("no such").await.unwrap(), None);
    assert_eq!(
        store.delivery_by_label("null").await.unwrap(),
        None,
        "case counts"
    );
    let ids = |deliveries: Vec<Delivery>| {
        deliveries
            .iter()
            .map(|delivery| delivery.id.0)
            .collect::<Vec<_>>()
    };
    let all: Vec<i64> = (3..=10).chain(100..108).collect();
    let rising = store
        .deliveries_after(DeliveryId(i64::MIN), 100)
        .await
        .unwrap();
    assert_eq!(ids(rising), all);
    let mut falling = ids(deliveries(&store, None, 100).await);
    falling.reverse();
    assert_eq!(falling, all);
    assert_eq!(ids(deliveries(&store, Some(100), 2).await), [10, 9]);
    assert_eq!(
        ids(store.deliveries_after(DeliveryId(10), 2).await.unwrap()),
        [100, 101]
    );
    assert_eq!(
        ids(store.deliveries_after(DeliveryId(107), 2).await.unwrap()),
        [0; 0]
    );
    assert_eq!(ids(deliveries(&store, None, 0).await), [0; 0]);
    store.close().await;
}

async fn links_are_theirs_who_took_the_id_or_the_slug(engine: Engine) {
    let store = new_store(engine).await;
    make_delivery(&store, new_delivery(Some(5), "d"), NOW)
        .await
        .unwrap();
    let mut new = new_link(Some(7), Some(5), Some("Slug"));
    new.label = Some("label".to_owned());
    new.category = Some("optout".to_owned());
    let made = make_link(&store, new.clone(), NOW).await.unwrap();
    assert_eq!(
        made,
        Link {
            id: LinkId(7),
            delivery_id: Some(DeliveryId(5)),
            slug: new.slug,
            url: new.url,
            label: new.label,
            category: new.category,
            ended_at: None,
            end_url: None,
        }
    );
    assert_eq!(store.links_of(DeliveryId(5)).await.unwrap(), [made]);
    let taken = make_link(&store, new_link(Some(7), None, Some("other")), NOW).await;
    assert_eq!(taken, Err(Taken::Id));
    let taken = make_link(&store, new_link(Some(8), None, Some("Slug")), NOW).await;
    assert_eq!(taken, Err(Taken::Slug));
    assert_eq!((Taken::Id.field(), Taken::Slug.field()), ("id", "slug"));
    // Case counts; links without a slug do not take it from each other.
    for slug in [Some("slug"), None, None] {
        make_link(&store, new_link(None, None, slug), NOW)
            .await
            .unwrap();
    }
    // A delivery that is not there.
    let mut tx = store.begin().await.unwrap();
    let refused = tx.create_link(new_link(None, Some(99), None), NOW).await;
    assert!(crate::store::is_refusal(&refused.unwrap_err()));
    tx.rollback().await.unwrap();
    store.close().await;
}

async fn links_are_read_in_the_order_of_ids(engine: Engine) {
    let store = new_store(engine).await;
    make_delivery(&store, new_delivery(Some(5), "d"), NOW)
        .await
        .unwrap();
    for id in [i64::MAX, 3, -3, 2] {
        make_link(&store, new_link(Some(id), (id > 0).then_some(5), None), NOW)
            .await
            .unwrap();
    }
    let ids = |links: Vec<Link>| links.iter().map(|link| link.id.0).collect::<Vec<_>>();
    let least = LinkId(i64::MIN);
    assert_eq!(
        ids(store.links_after(least, None, 10).await.unwrap()),
        [-3, 2, 3, i64::MAX]
    );
    assert_eq!(
        ids(store.links_after(LinkId(-3), None, 2).await.unwrap()),
        [2, 3]
    );
    let of = Some(DeliveryId(5));
    assert_eq!(
        ids(store.links_after(least, of, 10).await.unwrap()),
        [2, 3, i64::MAX]
    );
    assert_eq!(
        ids(store.links_of(DeliveryId(5)).await.unwrap()),
        [2, 3, i64::MAX]
    );
    assert_eq!(ids(store.links_of(DeliveryId(6)).await.unwrap()), [0; 0]);
    store.close().await;
}

async fn what_is_known_is_told_of_any_number_of_ids(engine: Engine) {
    let store = new_store(engine).await;
    make_delivery(&store, new_delivery(Some(5), "d"), NOW)
        .await
        .unwrap();
    make_link(&store, new_link(Some(7), None, None), NOW)
        .await
        .unwrap();
    let mut tx = store.begin_lane().await.unwrap();
    let none = tx.known_deliveries(&BTreeSet::new()).await.unwrap();
    assert!(none.is_empty() && tx.known_links(&BTreeSet::new()).await.unwrap().is_empty());
    // More than one statement's worth on SQLite.
    let ids: BTreeSet<DeliveryId> = (0..600).map(DeliveryId).collect();
    assert_eq!(
        tx.known_deliveries(&ids).await.unwrap(),
        HashSet::from([DeliveryId(5)])
    );
    let ids: BTreeSet<LinkId> = (0..600).map(LinkId).collect();
    assert_eq!(
        tx.known_links(&ids).await.unwrap(),
        HashSet::from([LinkId(7)])
    );
    tx.set_link_url(LinkId(7), "https://b.example/?q=%20'", NOW)
        .await
        .unwrap();
    tx.set_link_url(LinkId(8), "https://c.example/", NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let links = store.links_after(LinkId(0), None, 10).await.unwrap();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].url, "https://b.example/?q=%20'");
    store.close().await;
}

on_both!(
    a_delivery_comes_back_whole,
    an_id_that_is_taken_stays_whose_it_was,
    deliveries_are_found_by_label_and_read_both_ways,
    links_are_theirs_who_took_the_id_or_the_slug,
    links_are_read_in_the_order_of_ids,
    what_is_known_is_told_of_any_number_of_ids,
);

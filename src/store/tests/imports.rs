//! What imports read and write, by the thousand.

use std::collections::HashMap;

use crate::model::clock::Micros;
use crate::model::draft::NewPageTag;
use crate::model::hit::{DeliveryId, LinkId, PageTagKind, Utm};
use crate::store::deliveries::{Delivery, Link};
use crate::store::page_tags::PageTag;

use super::campaigns::{make_delivery, new_delivery};
use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, count, new_store};

fn link(id: i64, slug: Option<&str>, url: &str) -> Link {
    Link {
        id: LinkId(id),
        delivery_id: (id % 2 == 0).then_some(DeliveryId(5)),
        slug: slug.map(str::to_owned),
        url: url.to_owned(),
        label: Some(url.to_owned()),
        category: (id % 3 == 0).then(|| "optout".to_owned()),
        ended_at: None,
        end_url: None,
    }
}

fn delivery(id: i64, label: &str) -> Delivery {
    Delivery {
        id: DeliveryId(id),
        label: label.to_owned(),
        sent_at: Some(Micros(id.wrapping_mul(7) % 1_000)),
        expires_at: (id % 2 == 0).then_some(NOW),
        expiration_url: (id % 3 == 0).then(|| label.to_owned()),
        channel: format!("channel of {id}"),
        utm: Utm {
            source: Some(label.to_owned()),
            term: Some("term".to_owned()),
            ..Utm::default()
        },
        origin: Some("adobe".to_owned()),
        messages: 0,
        created_at: NOW,
    }
}

fn tag(identifier: &str, kind: PageTagKind) -> NewPageTag {
    NewPageTag {
        identifier: identifier.to_owned(),
        label: Some(format!("label of {identifier}")),
        kind,
        folder: Some("made".to_owned()),
        source_url: (kind == PageTagKind::Web).then(|| "https://shop.example/".to_owned()),
        valid_until: (kind == PageTagKind::Transaction).then_some(NOW),
    }
}

async fn links_are_made_once_and_changed_where_they_are(engine: Engine) {
    let store = new_store(engine).await;
    make_delivery(&store, new_delivery(Some(5), "d"), NOW)
        .await
        .unwrap();
    let links: Vec<Link> = (0..600)
        .map(|id| {
            link(
                id,
                HOSTILE.get(id as usize).copied(),
                &format!("https://{id}.example/"),
            )
        })
        .collect();
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(tx.insert_links(&[], NOW).await.unwrap(), 0);
    assert_eq!(tx.insert_links(&links, NOW).await.unwrap(), 600);
    // The ids and a slug are taken.
    let again = [
        link(7, None, "https://a.example/"),
        link(1_001, Some(HOSTILE[0]), "https://b.example/"),
        link(1_002, None, "https://c.example/"),
    ];
    assert_eq!(tx.insert_links(&again, NOW).await.unwrap(), 1);
    let named = tx
        .links_named(
            &[7, 1_001, 1_002],
            &[HOSTILE[1].to_owned(), "none".to_owned()],
        )
        .await
        .unwrap();
    assert_eq!(
        named,
        [links[7].clone(), again[2].clone(), links[1].clone()]
    );
    assert!(tx.links_named(&[], &[]).await.unwrap().is_empty());
    let mut changed = [
        link(7, Some("its slug stays"), "https://new.example/"),
        link(9_999, None, "https://none.example/"),
    ];
    changed[0].label = None;
    assert_eq!(
        tx.update_links(&changed, Micros(NOW.0 + 1)).await.unwrap(),
        1
    );
    let named = tx.links_named(&[7], &[]).await.unwrap();
    let expected = Link {
        slug: links[7].slug.clone(),
        ..changed[0].clone()
    };
    assert_eq!(named, [expected]);
    tx.commit().await.unwrap();
    assert_eq!(count(&store, "links").await, 601);
    store.close().await;
}

async fn deliveries_are_made_once_and_changed_where_they_are(engine: Engine) {
    let store = new_store(engine).await;
    let deliveries: Vec<_> = HOSTILE
        .into_iter()
        .zip([i64::MIN, -1, 0, 1, 2, 3, 4, i64::MAX])
        .map(|(label, id)| delivery(id, label))
        .collect();
    let all: HashMap<i64, _> = deliveries
        .iter()
        .map(|one| (one.id.0, one.clone()))
        .collect();
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(tx.insert_deliveries(&[], NOW).await.unwrap(), 0);
    assert_eq!(tx.insert_deliveries(&deliveries, NOW).await.unwrap(), 8);
    assert_eq!(
        tx.insert_deliveries(&[delivery(1, "again"), delivery(9, "new")], NOW)
            .await
            .unwrap(),
        1
    );
    assert_eq!(tx.deliveries_named(all.keys().copied()).await.unwrap(), all);
    let mut changed = delivery(1, "changed");
    changed.origin = None;
    assert_eq!(
        tx.update_deliveries(&[changed.clone(), delivery(10, "none")], NOW)
            .await
            .unwrap(),
        1
    );
    // An import does not change these.
    changed.utm = all[&1].utm.clone();
    assert_eq!(
        tx.deliveries_named([1, 10]).await.unwrap(),
        HashMap::from([(1, changed)])
    );
    assert!(tx.deliveries_named([]).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    assert_eq!(
        store.delivery(DeliveryId(9)).await.unwrap(),
        Some(delivery(9, "new"))
    );
    store.close().await;
}

async fn page_tags_are_made_or_replaced_and_keep_their_folder(engine: Engine) {
    let store = new_store(engine).await;
    let tags: Vec<_> = HOSTILE
        .into_iter()
        .map(|identifier| tag(identifier, PageTagKind::Web))
        .collect();
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(tx.put_page_tags(&[], NOW).await.unwrap(), 0);
    assert_eq!(tx.put_page_tags(&tags, NOW).await.unwrap(), 8);
    tx.run("update page_tags set folder = 'kept'")
        .await
        .unwrap();
    let changed = tag(HOSTILE[0], PageTagKind::Transaction);
    tx.put_page_tags(std::slice::from_ref(&changed), Micros(NOW.0 + 1))
        .await
        .unwrap();
    let mut all: HashMap<_, _> = tags
        .into_iter()
        .map(|tag| (tag.identifier.clone(), PageTag::of(tag, NOW)))
        .collect();
    all.insert(changed.identifier.clone(), PageTag::of(changed, NOW));
    for tag in all.values_mut() {
        tag.folder = Some("kept".to_owned());
    }
    let asked = HOSTILE.into_iter().chain(["none"]).map(str::to_owned);
    assert_eq!(tx.page_tags_named(asked).await.unwrap(), all);
    assert!(tx.page_tags_named([]).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    assert_eq!(count(&store, "page_tags where folder = 'kept'").await, 8);
    store.close().await;
}

on_both!(
    links_are_made_once_and_changed_where_they_are,
    deliveries_are_made_once_and_changed_where_they_are,
    page_tags_are_made_or_replaced_and_keep_their_folder,
);

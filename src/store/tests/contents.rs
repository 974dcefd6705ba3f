//! The content of a delivery's mail.

use crate::content::{Edit, LinkKind, Part, Place, Put, Source, Value};
use crate::model::hit::{DeliveryId, LinkId};
use crate::store::contents::{Content, ContentLink, Edits};

use super::campaigns::{make_delivery, new_delivery};
use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, new_store};

async fn a_content_comes_back_as_it_was_stored(engine: Engine) {
    let store = new_store(engine).await;
    let hostile = HOSTILE.concat();
    let of = |id| new_delivery(Some(id), "Letter");
    make_delivery(&store, of(4), NOW).await.unwrap();
    make_delivery(&store, of(5), NOW).await.unwrap();
    let link = |id, is_former| ContentLink {
        id: LinkId(id),
        part: Part::Text,
        url: hostile.clone(),
        kind: LinkKind::Mirror,
        is_former,
    };
    let edit = |put| Edit {
        start: 1,
        end: 2,
        put,
    };
    let full = Content {
        delivery_id: DeliveryId(4),
        source: Source {
            html: Some(format!("<p>{hostile}\r\n\t")),
            text: Some(hostile.clone()),
        },
        edits: Edits {
            html: vec![
                edit(Put::Fixed(hostile.clone())),
                edit(Put::Link {
                    link: 0,
                    values: vec![
                        Value::Field(hostile.clone()),
                        Value::Foreign("*|A|*".to_owned()),
                    ],
                }),
                edit(Put::Pixel),
                edit(Put::Unsubscribe),
            ],
            text: vec![edit(Put::Field {
                name: "ä".to_owned(),
                place: Place::Opaque,
            })],
        },
        links: vec![link(i64::MAX, false), link(7, true)],
        changed_at: NOW,
    };
    let bare = Content {
        delivery_id: DeliveryId(5),
        source: Source {
            html: None,
            text: Some(String::new()),
        },
        edits: Edits::default(),
        links: Vec::new(),
        changed_at: NOW,
    };
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.content_links(DeliveryId(4)).await.unwrap(), []);
    for content in [&bare, &full] {
        tx.save_content(content).await.unwrap();
    }
    assert_eq!(tx.content_links(DeliveryId(4)).await.unwrap(), full.links);
    tx.commit().await.unwrap();
    for content in [&bare, &full] {
        let found = store.content(content.delivery_id).await.unwrap();
        assert_eq!(found.as_ref(), Some(content));
    }
    assert_eq!(full.current().count(), 1);
    assert_eq!(store.content(DeliveryId(6)).await.unwrap(), None);
    // Another one in its place.
    let other = Content {
        delivery_id: DeliveryId(4),
        ..bare
    };
    let mut tx = store.begin().await.unwrap();
    tx.save_content(&other).await.unwrap();
    tx.commit().await.unwrap();
    let found = store.content(DeliveryId(4)).await.unwrap();
    assert_eq!(found, Some(other));
}

on_both!(a_content_comes_back_as_it_was_stored);

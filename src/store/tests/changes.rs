//! Links as the servers' local copies read them: in the order of changes, from a point on.

use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::link::LinkRecord;
use crate::store::deliveries::Delivery;
use crate::store::{ChangePoint, ChangedAt, Store};

use super::campaigns::{full_delivery, make_delivery, make_link, new_delivery, new_link};
use super::rig::{Engine, on_both};
use super::{NOW, new_store};

fn at(offset: i64) -> Micros {
    Micros(NOW.0 + offset)
}

fn ids(links: &[LinkRecord]) -> Vec<i64> {
    links.iter().map(|link| link.id.0).collect()
}

async fn make_some(store: &Store) {
    make_delivery(store, full_delivery(5), NOW).await.unwrap();
    for (id, delivery, offset) in [
        (4, Some(5), 2),
        (9, None, 1),
        (2, Some(5), 1),
        (-3, None, 2),
    ] {
        make_link(store, new_link(Some(id), delivery, None), at(offset))
            .await
            .unwrap();
    }
}

/// Changes a delivery as an import does.
async fn touch(store: &Store, id: i64, now: Micros) {
    let changed = Delivery::of(DeliveryId(id), new_delivery(Some(id), "new"), NOW);
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(tx.update_deliveries(&[changed], now).await.unwrap(), 1);
    tx.commit().await.unwrap();
}

async fn links_come_in_the_order_of_changes_and_each_once(engine: Engine) {
    let store = new_store(engine).await;
    assert_eq!(
        store.links_changed(ChangePoint::START, 10).await.unwrap(),
        []
    );
    make_some(&store).await;
    let (mut seen, mut point) = (Vec::new(), ChangePoint::START);
    loop {
        let some = store.links_changed(point, 3).await.unwrap();
        let Some((last, _)) = some.last() else { break };
        point = *last;
        seen.extend(some.iter().map(|(_, link)| link.id.0));
    }
    assert_eq!(seen, [2, 9, -3, 4]);
    assert_eq!(point, ChangePoint { at: at(2), id: 4 });
    let mut tx = store.begin().await.unwrap();
    tx.set_link_url(LinkId(9), "https://new.example/", at(3))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let changed = store.links_changed(point, 3).await.unwrap();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].0, ChangePoint { at: at(3), id: 9 });
    assert_eq!(changed[0].1.url, "https://new.example/");
    store.close().await;
}

async fn a_record_holds_what_an_answer_needs(engine: Engine) {
    let store = new_store(engine).await;
    let delivery = make_delivery(&store, full_delivery(5), NOW).await.unwrap();
    let mut new = new_link(Some(7), Some(5), Some("slug"));
    new.category = Some("mirror".to_owned());
    let link = make_link(&store, new, NOW).await.unwrap();
    let alone = make_link(&store, new_link(Some(8), None, None), NOW)
        .await
        .unwrap();
    let record = link.record(Some(&delivery));
    assert_eq!(
        store.link_by_id(LinkId(7)).await.unwrap(),
        Some(record.clone())
    );
    assert_eq!(store.link_by_slug("slug").await.unwrap(), Some(record));
    assert_eq!(
        store.link_by_id(LinkId(8)).await.unwrap(),
        Some(alone.record(None))
    );
    for none in ["SLUG", "", "%", "slu_"] {
        assert_eq!(store.link_by_slug(none).await.unwrap(), None, "{none}");
    }
    assert_eq!(store.link_by_id(LinkId(9)).await.unwrap(), None);
    store.close().await;
}

async fn changes_at_one_time_are_told_by_number(engine: Engine) {
    let store = new_store(engine).await;
    make_some(&store).await;
    assert_eq!(
        ids(&store.links_changed_at(at(1), None, 10).await.unwrap()),
        [2, 9]
    );
    assert_eq!(
        ids(&store
            .links_changed_at(at(1), Some(LinkId(2)), 10)
            .await
            .unwrap()),
        [9]
    );
    assert_eq!(
        ids(&store.links_changed_at(at(2), None, 1).await.unwrap()),
        [-3]
    );
    assert_eq!(
        ids(&store.links_changed_at(at(3), None, 10).await.unwrap()),
        [0; 0]
    );
    let mut changes = store.link_changes(at(1), at(2)).await.unwrap();
    changes.sort_by_key(|change| change.at);
    let expected = [
        ChangedAt {
            at: at(1),
            rows: 2,
            greatest: 9,
        },
        ChangedAt {
            at: at(2),
            rows: 2,
            greatest: 4,
        },
    ];
    assert_eq!(changes, expected);
    assert_eq!(
        store.link_changes(at(2), at(2)).await.unwrap(),
        expected[1..]
    );
    assert_eq!(store.link_changes(at(3), at(9)).await.unwrap(), []);
    store.close().await;
}

/// A delivery that is new has no links yet; those of one that was changed are read again.
async fn only_deliveries_that_were_changed_later_are_told(engine: Engine) {
    let store = new_store(engine).await;
    make_some(&store).await;
    make_delivery(&store, new_delivery(Some(6), "without links"), at(1))
        .await
        .unwrap();
    let from = ChangePoint::START;
    assert_eq!(store.deliveries_changed(from, 10).await.unwrap(), []);
    assert_eq!(store.delivery_changes(NOW, at(9)).await.unwrap(), []);
    assert_eq!(
        store.links_of_changed(NOW, at(9), None, 10).await.unwrap(),
        []
    );
    touch(&store, 5, at(4)).await;
    touch(&store, 6, at(4)).await;
    let points = [5, 6].map(|id| ChangePoint { at: at(4), id });
    assert_eq!(store.deliveries_changed(from, 10).await.unwrap(), points);
    assert_eq!(
        store.deliveries_changed(from, 1).await.unwrap(),
        points[..1]
    );
    assert_eq!(
        store.deliveries_changed(points[0], 10).await.unwrap(),
        points[1..]
    );
    let changed = ChangedAt {
        at: at(4),
        rows: 2,
        greatest: 6,
    };
    assert_eq!(
        store.delivery_changes(at(4), at(4)).await.unwrap(),
        [changed]
    );
    let links = store
        .links_of_changed(at(4), at(4), None, 10)
        .await
        .unwrap();
    assert_eq!(ids(&links), [2, 4]);
    assert_eq!(links[0].expires_at, None, "as the delivery is now");
    let links = store
        .links_of_changed(NOW, at(9), Some(LinkId(2)), 10)
        .await
        .unwrap();
    assert_eq!(ids(&links), [4]);
    assert_eq!(
        store
            .links_of_changed(at(5), at(9), None, 10)
            .await
            .unwrap(),
        []
    );
    store.close().await;
}

on_both!(
    links_come_in_the_order_of_changes_and_each_once,
    a_record_holds_what_an_answer_needs,
    changes_at_one_time_are_told_by_number,
    only_deliveries_that_were_changed_later_are_told,
);

//! Messages and the keys under which they were sent.

use std::collections::HashMap;

use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId, Hit, Kind};
use crate::store::Store;
use crate::store::figures::Figures;
use crate::store::messages::NewMessage;

use super::campaigns::{make_delivery, new_delivery};
use super::contacts::contact;
use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, count, hit, new_store, save_figures, text};

fn messages(ids: impl IntoIterator<Item = i64>) -> Vec<NewMessage> {
    ids.into_iter()
        .map(|id| NewMessage {
            id: BroadlogId(id),
            delivery_id: DeliveryId(5),
            contact_id: contact(1),
            created_at: NOW,
            format: (id % 2 == 0).then(|| "text".to_owned()),
        })
        .collect()
}

async fn insert(store: &Store, ids: impl IntoIterator<Item = i64>) -> sqlx::Result<()> {
    let mut tx = store.begin_lane().await?;
    match tx.insert_messages(&messages(ids)).await {
        Ok(()) => tx.commit().await,
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

/// Counts an open of each of these messages for a delivery.
async fn open(store: &Store, delivery: i64, ids: &[i64]) {
    let hits: Vec<Hit> = ids
        .iter()
        .map(|id| {
            let mut hit = hit(Kind::Open);
            hit.delivery_id = Some(DeliveryId(delivery));
            hit.broadlog_id = Some(BroadlogId(*id));
            hit
        })
        .collect();
    let hits: Vec<&Hit> = hits.iter().collect();
    let mut tx = store.begin_lane().await.unwrap();
    let mut figures = Figures::load(&mut tx, &hits, std::iter::empty())
        .await
        .unwrap();
    (1..)
        .zip(&hits)
        .for_each(|(seq, hit)| figures.add(seq, hit, false));
    save_figures(&mut tx, figures).await;
    tx.commit().await.unwrap();
}

async fn messages_are_stored_and_counted_at_their_delivery(engine: Engine) {
    let store = new_store(engine).await;
    make_delivery(&store, new_delivery(Some(5), "d"), NOW)
        .await
        .unwrap();
    assert_eq!(store.first_message(DeliveryId(5)).await.unwrap(), None);
    insert(&store, []).await.unwrap();
    insert(&store, (100..700).chain([i64::MIN, i64::MAX]))
        .await
        .unwrap();
    assert_eq!(
        store
            .delivery(DeliveryId(5))
            .await
            .unwrap()
            .unwrap()
            .messages,
        602
    );
    assert_eq!(
        store.first_message(DeliveryId(5)).await.unwrap(),
        Some(BroadlogId(i64::MIN))
    );
    assert_eq!(store.first_message(DeliveryId(6)).await.unwrap(), None);
    assert_eq!(count(&store, "broadlogs where format = 'text'").await, 301);
    let mut tx = store.begin_lane().await.unwrap();
    let ids = [99, 100, i64::MAX].map(BroadlogId);
    let times = tx.message_times(ids).await.unwrap();
    assert_eq!(
        times,
        HashMap::from([100, i64::MAX].map(|id| (BroadlogId(id), NOW)))
    );
    assert!(tx.message_times([]).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    store.close().await;
}

async fn a_number_that_is_taken_refuses_all_of_them(engine: Engine) {
    let store = new_store(engine).await;
    make_delivery(&store, new_delivery(Some(5), "d"), NOW)
        .await
        .unwrap();
    insert(&store, [7]).await.unwrap();
    let error = insert(&store, [6, 7, 8]).await.unwrap_err();
    assert!(crate::store::is_refusal(&error), "{error:?}");
    assert_eq!(count(&store, "broadlogs").await, 1);
    assert_eq!(
        store
            .delivery(DeliveryId(5))
            .await
            .unwrap()
            .unwrap()
            .messages,
        1
    );
    store.close().await;
}

/// What an unsigned link has said already must not become another message's.
async fn numbers_that_somebody_said_are_not_given_out(engine: Engine) {
    let store = new_store(engine).await;
    open(&store, 5, &[1, 2, 5]).await;
    let mut tx = store.begin_lane().await.unwrap();
    assert_eq!(tx.take_broadlog_numbers(0).await.unwrap(), [0; 0]);
    assert_eq!(tx.take_broadlog_numbers(4).await.unwrap(), [3, 4, 6, 7]);
    assert_eq!(tx.take_broadlog_numbers(2).await.unwrap(), [8, 9]);
    tx.commit().await.unwrap();
    store.close().await;
}

async fn figures_of_a_message_are_forgotten_where_they_were_anothers(engine: Engine) {
    let store = new_store(engine).await;
    open(&store, 5, &[1, 2]).await;
    open(&store, 6, &[3]).await;
    let mut tx = store.begin_lane().await.unwrap();
    tx.forget_figures_of_others(&[]).await.unwrap();
    let chosen = [1, 3, 4].map(|id| (BroadlogId(id), DeliveryId(5)));
    tx.forget_figures_of_others(&chosen).await.unwrap();
    tx.commit().await.unwrap();
    let left = super::texts(
        &store,
        "select cast(broadlog_id as text) from broadlog_figures order by broadlog_id",
    );
    assert_eq!(left.await, ["1", "2"].map(|id| Some(id.to_owned())));
    store.close().await;
}

async fn a_key_stands_for_what_it_was_first(engine: Engine) {
    let store = new_store(engine).await;
    let mut tx = store.begin_lane().await.unwrap();
    let keys = |keys: &[(&str, i64)]| {
        keys.iter()
            .map(|(key, number)| ((*key).to_owned(), *number))
            .collect::<Vec<_>>()
    };
    let all: Vec<_> = HOSTILE
        .into_iter()
        .zip([i64::MIN, -1, 0, 1, 2, 3, 4, i64::MAX])
        .collect();
    tx.insert_sent_keys(DeliveryId(5), Vec::new(), NOW)
        .await
        .unwrap();
    tx.insert_sent_keys(DeliveryId(5), keys(&all), NOW)
        .await
        .unwrap();
    let again = keys(&[(HOSTILE[0], 99), ("new", 100)]);
    tx.insert_sent_keys(DeliveryId(5), again, Micros(NOW.0 + 2))
        .await
        .unwrap();
    tx.insert_sent_keys(DeliveryId(6), keys(&[("new", 7)]), NOW)
        .await
        .unwrap();
    let asked: Vec<String> = HOSTILE
        .into_iter()
        .chain(["new", "none", "NEW"])
        .map(str::to_owned)
        .collect();
    let mut expected: HashMap<_, _> = keys(&all).into_iter().collect();
    expected.insert("new".to_owned(), 100);
    assert_eq!(
        tx.sent_keys(DeliveryId(5), asked.clone()).await.unwrap(),
        expected
    );
    assert!(
        tx.sent_keys(DeliveryId(5), Vec::new())
            .await
            .unwrap()
            .is_empty()
    );
    tx.commit().await.unwrap();
    let week = 7 * Micros::DAY;
    let left = HashMap::from([("new".to_owned(), 100)]);
    for (later, expected) in [(week, expected), (week + 1, left)] {
        store.forget_keys(Micros(NOW.0 + later)).await.unwrap();
        let mut tx = store.begin_lane().await.unwrap();
        let known = tx.sent_keys(DeliveryId(5), asked.clone()).await.unwrap();
        assert_eq!(known, expected, "{later}");
        tx.commit().await.unwrap();
    }
    let made = text(&store, "select cast(count(*) as text) from sent_keys").await;
    assert_eq!(made.as_deref(), Some("1"));
    store.close().await;
}

async fn messages_of_several_deliveries_are_stored_with_their_vendors_names(engine: Engine) {
    let store = new_store(engine).await;
    for id in [5, 6] {
        make_delivery(&store, new_delivery(Some(id), "d"), NOW)
            .await
            .unwrap();
    }
    let message = |id: i64| NewMessage {
        id: BroadlogId(id),
        delivery_id: DeliveryId(5 + id.rem_euclid(2)),
        contact_id: contact(1),
        format: None,
        created_at: Micros(-id),
    };
    let key = |id: i64| (format!("adobe:{id}"), BroadlogId(id));
    let all: Vec<_> = (1..=600).map(message).collect();
    let keys: Vec<_> = (1..=600).map(key).collect();
    let mut tx = store.begin_lane().await.unwrap();
    tx.insert_message_keys(&[]).await.unwrap();
    tx.insert_messages(&all).await.unwrap();
    tx.insert_message_keys(&keys).await.unwrap();
    let times = tx.message_times([BroadlogId(600)]).await.unwrap();
    assert_eq!(times[&BroadlogId(600)], Micros(-600));
    let asked = ["adobe:1", "adobe:600", "ADOBE:1", "", "adobe:601"];
    let found = tx.message_keys(asked).await.unwrap();
    assert_eq!(found, [key(1), key(600)].into());
    tx.commit().await.unwrap();
    let mut tx = store.begin_lane().await.unwrap();
    let error = tx
        .insert_message_keys(&[key(601), key(600)])
        .await
        .unwrap_err();
    assert!(crate::store::is_refusal(&error), "{error:?}");
    tx.rollback().await.unwrap();
    assert_eq!(count(&store, "broadlogs").await, 600);
    assert_eq!(count(&store, "message_keys").await, 600);
    let counts = super::texts(
        &store,
        "select cast(messages as text) from deliveries order by id",
    );
    assert_eq!(
        counts.await,
        ["300", "300"].map(|count| Some(count.to_owned()))
    );
    store.close().await;
}

on_both!(
    messages_of_several_deliveries_are_stored_with_their_vendors_names,
    messages_are_stored_and_counted_at_their_delivery,
    a_number_that_is_taken_refuses_all_of_them,
    numbers_that_somebody_said_are_not_given_out,
    figures_of_a_message_are_forgotten_where_they_were_anothers,
    a_key_stands_for_what_it_was_first,
);

//! What identity reads and writes: messages, visitors, unique values, contacts, idempotency keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::identity::{Binding, Changes, Contact, Lookup};
use crate::model::hit::{BroadlogId, ContactId, DeliveryId, Kind, VisitorId};
use crate::store::messages::NewMessage;
use crate::store::{Store, Writes};
use uuid::Uuid;

use super::campaigns::{make_delivery, new_delivery};
use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, count, hit, insert, new_store, text};

pub(super) fn contact(number: u128) -> ContactId {
    ContactId(Uuid::from_u128(number))
}

pub(super) fn visitor(number: u128) -> VisitorId {
    VisitorId(Uuid::from_u128(number))
}

pub(super) fn proved(number: u128) -> Binding {
    Binding {
        contact: contact(number),
        is_proved: true,
    }
}

pub(super) fn data(fields: &[(&str, &str)], tags: &[&str]) -> Contact {
    Contact {
        fields: fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        made_by: None,
    }
}

fn key(field: &str, value: &str) -> (String, String) {
    (field.to_owned(), value.to_owned())
}

/// Writes changes, and the contacts in them.
pub(super) async fn save(
    store: &Store,
    mut changes: Changes,
    contacts: &[(ContactId, Contact)],
    later: i64,
) {
    changes.contacts = contacts.iter().cloned().collect();
    let now = crate::model::clock::Micros(NOW.0 + later);
    let mut tx = store.begin_lane().await.unwrap();
    let mut writes = Writes::default();
    tx.save_changes(&changes, now, &mut writes).await.unwrap();
    writes.send(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn load(store: &Store, ids: &[ContactId]) -> HashMap<ContactId, Contact> {
    let mut tx = store.begin_lane().await.unwrap();
    let ids = ids.iter().copied().collect();
    let contacts = tx.load_contacts(&ids).await.unwrap();
    tx.commit().await.unwrap();
    contacts
}

async fn a_contact_comes_back_to_the_letter_and_can_be_changed(engine: Engine) {
    let store = new_store(engine).await;
    let mut full = data(&[], &HOSTILE);
    for (number, value) in HOSTILE.into_iter().enumerate() {
        full.fields
            .insert(format!("field {number} {value}"), value.to_owned());
    }
    full.made_by = Some(visitor(0));
    let written = [(contact(1), full), (contact(2), data(&[], &[]))];
    save(&store, Changes::default(), &written, 0).await;
    let ids = [contact(1), contact(2), contact(3)];
    assert_eq!(load(&store, &ids).await, written.iter().cloned().collect());
    let changed = [(contact(1), data(&[("email", "ada@x.example")], &["a"]))];
    save(&store, Changes::default(), &changed, 5).await;
    assert_eq!(
        load(&store, &ids[..1]).await,
        changed.iter().cloned().collect()
    );
    let record = store.contact(contact(1)).await.unwrap().unwrap();
    assert_eq!((record.created_at, record.changed_at.0), (NOW, NOW.0 + 5));
    assert!(load(&store, &[]).await.is_empty());
    store.close().await;
}

async fn many_contacts_are_written_and_read_at_once(engine: Engine) {
    let store = new_store(engine).await;
    let contacts: Vec<_> = (0..700)
        .map(|number| (contact(number), data(&[("n", &number.to_string())], &["t"])))
        .collect();
    let changes = Changes {
        keys: (0..700)
            .map(|n| (key("email", &n.to_string()), contact(n)))
            .collect(),
        visitors: (0..700).map(|n| (visitor(n), proved(n))).collect(),
        ..Changes::default()
    };
    save(&store, changes, &contacts, 0).await;
    let ids: Vec<_> = contacts.iter().map(|(id, _)| *id).collect();
    assert_eq!(load(&store, &ids).await, contacts.into_iter().collect());
    let lookup = Lookup {
        keys: (0..900).map(|n| key("email", &n.to_string())).collect(),
        visitors: (0..900).map(visitor).collect(),
        ids: (0..900).map(contact).collect(),
        ..Lookup::default()
    };
    let mut tx = store.begin_lane().await.unwrap();
    let known = tx.load_known(&lookup).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        (known.keys.len(), known.visitors.len(), known.ids.len()),
        (700, 700, 700)
    );
    assert!(
        known
            .visitors
            .iter()
            .all(|(id, of)| id.0 == of.contact.0 && of.is_proved)
    );
    store.close().await;
}

async fn a_unique_value_stays_with_the_first_and_a_visitor_goes_with_the_last(engine: Engine) {
    let store = new_store(engine).await;
    let both = [(contact(1), data(&[], &[])), (contact(2), data(&[], &[]))];
    for (owner, is_proved) in [(1, true), (2, false)] {
        let changes = Changes {
            keys: BTreeMap::from([(key("email", "ada@x.example"), contact(owner))]),
            visitors: BTreeMap::from([(
                visitor(9),
                Binding {
                    contact: contact(owner),
                    is_proved,
                },
            )]),
            ..Changes::default()
        };
        save(&store, changes, &both, 0).await;
    }
    let lookup = Lookup {
        visitors: vec![visitor(8), visitor(9)],
        keys: BTreeSet::from([
            key("email", "ada@x.example"),
            key("email", "ADA@x.example"),
            key("phone", "ada@x.example"),
        ]),
        ..Lookup::default()
    };
    let mut tx = store.begin_lane().await.unwrap();
    let known = tx.load_known(&lookup).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        known.keys,
        HashMap::from([(key("email", "ada@x.example"), contact(1))])
    );
    let binding = Binding {
        contact: contact(2),
        is_proved: false,
    };
    assert_eq!(known.visitors, HashMap::from([(visitor(9), binding)]));
    assert_eq!(
        store
            .contact_by_key("email", "ada@x.example")
            .await
            .unwrap(),
        Some(contact(1))
    );
    assert_eq!(
        store
            .contact_by_key("email", "ADA@x.example")
            .await
            .unwrap(),
        None
    );
    store.close().await;
}

/// Everything that named the one that went names the one that is left, a chain of merges long.
async fn a_merged_contact_is_followed_wherever_it_is_named(engine: Engine) {
    let store = new_store(engine).await;
    make_delivery(&store, new_delivery(Some(5), "d"), NOW)
        .await
        .unwrap();
    let contacts: Vec<_> = (1..=3)
        .map(|number| (contact(number), data(&[], &[])))
        .collect();
    let changes = Changes {
        keys: (1..=3)
            .map(|n| (key("email", &n.to_string()), contact(n)))
            .collect(),
        visitors: (1..=3).map(|n| (visitor(n), proved(n))).collect(),
        ..Changes::default()
    };
    save(&store, changes, &contacts, 0).await;
    let mut tx = store.begin_lane().await.unwrap();
    let message = NewMessage {
        id: BroadlogId(7),
        delivery_id: DeliveryId(5),
        contact_id: contact(1),
        format: None,
        created_at: NOW,
    };
    tx.insert_messages(&[message]).await.unwrap();
    let keys = [("adobe:x".to_owned(), BroadlogId(7))];
    tx.insert_message_keys(&keys).await.unwrap();
    tx.commit().await.unwrap();
    let merges = |merges: &[(u128, u128)]| Changes {
        merges: merges
            .iter()
            .map(|(from, into)| (contact(*from), contact(*into)))
            .collect(),
        ..Changes::default()
    };
    save(&store, merges(&[(1, 2)]), &[], 1).await;
    save(&store, merges(&[(2, 3)]), &[], 2).await;
    let lookup = Lookup {
        broadlogs: vec![BroadlogId(6)],
        message_keys: BTreeSet::from(["adobe:x", "adobe:y"]),
        visitors: (1..=3).map(visitor).collect(),
        keys: (1..=3).map(|n| key("email", &n.to_string())).collect(),
        ids: (1..=4).map(contact).collect(),
    };
    let mut tx = store.begin_lane().await.unwrap();
    let known = tx.load_known(&lookup).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        known.message_keys,
        HashMap::from([("adobe:x".to_owned(), BroadlogId(7))])
    );
    assert_eq!(
        known.broadlogs,
        HashMap::from([(BroadlogId(7), (contact(3), DeliveryId(5)))])
    );
    assert!(
        known.visitors.len() == 3 && known.visitors.values().all(|of| of.contact == contact(3))
    );
    assert!(known.keys.len() == 3 && known.keys.values().all(|of| *of == contact(3)));
    assert_eq!(
        known.ids,
        (1..=3).map(|n| (contact(n), contact(3))).collect()
    );
    let record = store.contact(contact(3)).await.unwrap().unwrap();
    assert_eq!(record.former_ids, [contact(1), contact(2)]);
    store.close().await;
}

async fn earlier_anonymous_hits_get_their_person_once(engine: Engine) {
    let store = new_store(engine).await;
    let mut hits = Vec::new();
    for (of, owner) in [
        (1, None),
        (1, None),
        (2, None),
        (1, Some(contact(8))),
        (3, None),
    ] {
        let mut hit = hit(Kind::Pageview);
        hit.visitor_id = Some(visitor(of));
        hit.contact_id = owner;
        hits.push(hit);
    }
    insert(&store, &hits).await;
    let mut tx = store.begin_lane().await.unwrap();
    let completed = BTreeMap::from([(visitor(1), contact(1)), (visitor(2), contact(2))]);
    let none = BTreeMap::new();
    // A second time does no harm.
    for completed in [&none, &completed, &completed] {
        let mut writes = Writes::default();
        tx.complete_history(completed, &mut writes).await.unwrap();
        writes.send(&mut tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    let nobody = text(
        &store,
        "select cast(max(seq) as text) from hits where contact_id is null",
    )
    .await;
    assert_eq!(nobody.as_deref(), Some("5"));
    let completed = "hits where contact_id is not null";
    assert_eq!(count(&store, completed).await, 4);
    store.close().await;
}

async fn an_idempotency_key_is_taken_once_in_its_scope(engine: Engine) {
    let store = new_store(engine).await;
    let keys = |scope: &'static str, keys: &[&'static str]| -> Vec<(&'static str, &'static str)> {
        keys.iter().map(|key| (scope, *key)).collect()
    };
    let owned = |keys: &[(&'static str, &'static str)]| -> Vec<(String, &'static str)> {
        keys.iter()
            .map(|(scope, key)| ((*scope).to_owned(), *key))
            .collect()
    };
    let hostile = keys("site", &HOSTILE);
    let mut tx = store.begin_lane().await.unwrap();
    let taken = tx.idempotency_keys(std::iter::empty()).await.unwrap();
    assert!(taken.is_empty());
    tx.insert_idempotency_keys(std::iter::empty(), NOW)
        .await
        .unwrap();
    let taken = tx.idempotency_keys(hostile.iter().copied()).await.unwrap();
    assert!(taken.is_empty());
    tx.insert_idempotency_keys(owned(&hostile).into_iter(), NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut some = keys("site", &["new", HOSTILE[0], HOSTILE[6]]);
    some.extend(keys("other", &[HOSTILE[0]]));
    let mut tx = store.begin_lane().await.unwrap();
    let taken = tx.idempotency_keys(some.iter().copied()).await.unwrap();
    let expected = [key("site", HOSTILE[0]), key("site", HOSTILE[6])];
    assert_eq!(taken, expected.into());
    let error = tx
        .insert_idempotency_keys(owned(&some).into_iter(), NOW)
        .await
        .unwrap_err();
    assert!(crate::store::is_refusal(&error), "{error:?}");
    tx.rollback().await.unwrap();
    let many: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    let of_many = || many.iter().map(|key| ("many".to_owned(), key.as_str()));
    let mut tx = store.begin_lane().await.unwrap();
    tx.insert_idempotency_keys(of_many(), NOW).await.unwrap();
    let asked = many.iter().map(|key| ("many", key.as_str()));
    assert_eq!(tx.idempotency_keys(asked).await.unwrap().len(), 600);
    tx.rollback().await.unwrap();
    assert_eq!(
        count(&store, "idempotency_keys").await,
        HOSTILE.len() as i64
    );
    store.close().await;
}

on_both!(
    a_contact_comes_back_to_the_letter_and_can_be_changed,
    many_contacts_are_written_and_read_at_once,
    a_unique_value_stays_with_the_first_and_a_visitor_goes_with_the_last,
    a_merged_contact_is_followed_wherever_it_is_named,
    earlier_anonymous_hits_get_their_person_once,
    an_idempotency_key_is_taken_once_in_its_scope,
);

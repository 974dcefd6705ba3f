//! Contacts as the API and exports show them.

use std::collections::BTreeMap;

use crate::identity::Changes;
use crate::model::hit::{ContactId, Kind};
use crate::store::hits::Whose;
use crate::store::persons::{ContactRecord, Person};
use serde_json::json;
use uuid::Uuid;

use super::contacts::{contact, data, proved, save, visitor};
use super::rig::{Engine, on_both};
use super::{HOSTILE, hit, insert, new_store};

async fn any_id_that_stood_for_a_person_finds_it(engine: Engine) {
    let store = new_store(engine).await;
    let changes = Changes {
        visitors: BTreeMap::from([(visitor(11), proved(1)), (visitor(12), proved(2))]),
        merges: vec![(contact(1), contact(2))],
        ..Changes::default()
    };
    let both = [(contact(1), data(&[], &[])), (contact(2), data(&[], &[]))];
    save(&store, changes, &both, 0).await;
    let mut anonymous = hit(Kind::Open);
    anonymous.visitor_id = Some(visitor(13));
    insert(&store, &[anonymous]).await;
    for id in [1, 2, 11, 12] {
        let found = store.find_person(Uuid::from_u128(id)).await.unwrap();
        assert_eq!(found, Some(Person::Contact(contact(2))), "{id}");
    }
    let nobody_yet = Person::Anonymous(visitor(13));
    assert_eq!(
        store.find_person(visitor(13).0).await.unwrap(),
        Some(nobody_yet)
    );
    assert_eq!(store.find_person(visitor(14).0).await.unwrap(), None);
    assert_eq!(
        store.hits_of(nobody_yet).await.unwrap(),
        Whose::Visitor(visitor(13))
    );
    let hits = store.hits_of(Person::Contact(contact(2))).await.unwrap();
    assert_eq!(hits, Whose::Contacts(vec![contact(2), contact(1)]));
    assert_eq!(store.contact(contact(3)).await.unwrap(), None);
    store.close().await;
}

/// One by one and a page at a time they are the same.
async fn contacts_are_read_by_rising_ids_without_those_that_were_merged(engine: Engine) {
    let store = new_store(engine).await;
    let contacts: Vec<_> = (1..=250)
        .map(|number| {
            (
                contact(number),
                data(&[("n", &number.to_string())], &["a", "b,c"]),
            )
        })
        .collect();
    let changes = Changes {
        visitors: (1..=250)
            .flat_map(|n| [(visitor(n), proved(n)), (visitor(1_000 + n), proved(n))])
            .collect(),
        merges: vec![
            (contact(2), contact(1)),
            (contact(4), contact(1)),
            (contact(1), contact(250)),
        ],
        ..Changes::default()
    };
    save(&store, changes, &contacts, 0).await;
    let (mut read, mut after) = (Vec::<ContactRecord>::new(), ContactId(Uuid::nil()));
    loop {
        let page = store.contacts_after(after, 101).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id;
        read.extend(page);
    }
    let expected: Vec<u128> = (1..=250).filter(|n| ![1, 2, 4].contains(n)).collect();
    assert_eq!(
        read.iter()
            .map(|record| record.id.0.as_u128())
            .collect::<Vec<_>>(),
        expected
    );
    for record in &read {
        assert_eq!(
            store.contact(record.id).await.unwrap().as_ref(),
            Some(record)
        );
    }
    let last = read.pop().unwrap();
    assert_eq!(last.former_ids, [1, 2, 4].map(contact));
    assert_eq!(last.visitor_ids.len(), 8);
    assert_eq!(last.fields["n"], json!("250"));
    store.close().await;
}

async fn the_names_of_all_fields_are_sorted_byte_by_byte(engine: Engine) {
    let store = new_store(engine).await;
    assert_eq!(store.contact_fields().await.unwrap(), [""; 0]);
    let mut names: Vec<&str> = HOSTILE.into_iter().chain(["b", "a", "B", "_"]).collect();
    let fields: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
    let some = [
        (contact(1), data(&fields[..6], &[])),
        (contact(2), data(&fields, &[])),
        (contact(3), data(&[("merged", "x")], &[])),
    ];
    let changes = Changes {
        merges: vec![(contact(3), contact(2))],
        ..Changes::default()
    };
    save(&store, changes, &some, 0).await;
    names.sort_unstable();
    assert_eq!(store.contact_fields().await.unwrap(), names);
    store.close().await;
}

async fn of_very_many_visitors_the_latest_are_told(engine: Engine) {
    let store = new_store(engine).await;
    for part in 0..3 {
        let changes = Changes {
            visitors: (0..500)
                .map(|n| (visitor(part * 500 + n + 1), proved(1)))
                .collect(),
            ..Changes::default()
        };
        save(
            &store,
            changes,
            &[(contact(1), data(&[], &[]))],
            part as i64,
        )
        .await;
    }
    let record = store.contact(contact(1)).await.unwrap().unwrap();
    let expected: Vec<_> = (1_001..=1_500).chain(501..=1_000).map(visitor).collect();
    assert_eq!(record.visitor_ids, expected);
    let page = store
        .contacts_after(ContactId(Uuid::nil()), 1)
        .await
        .unwrap();
    assert_eq!(page, [record]);
    store.close().await;
}

async fn a_page_of_large_contacts_ends_early(engine: Engine) {
    let store = new_store(engine).await;
    let large = "x".repeat(400_000);
    let some: Vec<_> = (1..=7)
        .map(|n| (contact(n), data(&[("large", &large)], &[])))
        .collect();
    save(&store, Changes::default(), &some, 0).await;
    let page = store
        .contacts_after(ContactId(Uuid::nil()), 7)
        .await
        .unwrap();
    assert!((1..7).contains(&page.len()), "{}", page.len());
    store.close().await;
}

on_both!(
    any_id_that_stood_for_a_person_finds_it,
    contacts_are_read_by_rising_ids_without_those_that_were_merged,
    the_names_of_all_fields_are_sorted_byte_by_byte,
    of_very_many_visitors_the_latest_are_told,
    a_page_of_large_contacts_ends_early,
);

//! Keys that links were signed with.

use crate::model::clock::Micros;
use crate::model::keys::KeyPrint;
use crate::store::signing_keys::SigningKey;

use super::rig::{Engine, on_both};
use super::{NOW, new_store};

fn print(number: u8, print: &str) -> KeyPrint {
    KeyPrint {
        number,
        print: print.to_owned(),
    }
}

async fn keys_are_noted_given_up_and_taken_back(engine: Engine) {
    let store = new_store(engine).await;
    assert_eq!(store.signing_keys().await.unwrap(), []);
    let (one, two, other) = (print(0, "aa"), print(15, "bb"), print(0, "cc"));
    let later = Micros(NOW.0 + 1);
    let mut tx = store.begin().await.unwrap();
    for (key, at) in [(&two, NOW), (&other, later), (&one, NOW), (&one, later)] {
        tx.note_signing_key(key, at).await.unwrap();
    }
    tx.give_up_key(Some(&one), later).await.unwrap();
    tx.give_up_key(Some(&print(3, "never noted")), later)
        .await
        .unwrap();
    tx.give_up_key(None, NOW).await.unwrap();
    tx.give_up_key(None, later).await.unwrap();
    tx.commit().await.unwrap();
    let key = |print: Option<KeyPrint>, first_signed_at, given_up_at| SigningKey {
        print,
        first_signed_at,
        given_up_at,
    };
    let mut expected = vec![
        // Those of a time before keys were noted.
        key(None, NOW, Some(later)),
        key(Some(one.clone()), NOW, Some(later)),
        key(Some(other), later, None),
        key(Some(print(3, "never noted")), later, Some(later)),
        key(Some(two), NOW, None),
    ];
    assert_eq!(store.signing_keys().await.unwrap(), expected);
    let mut tx = store.begin().await.unwrap();
    tx.note_signing_key(&one, Micros(NOW.0 + 9)).await.unwrap();
    tx.commit().await.unwrap();
    expected[1].given_up_at = None;
    assert_eq!(store.signing_keys().await.unwrap(), expected);
    store.close().await;
}

on_both!(keys_are_noted_given_up_and_taken_back);

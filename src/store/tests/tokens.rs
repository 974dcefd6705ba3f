//! Tokens of the API.

use crate::model::access::{Scope, Scopes, SecretPrint, TokenId};
use crate::model::clock::Micros;
use crate::store::Store;
use crate::store::scan::Wanted;
use crate::store::tokens::{Token, UsableToken};

use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, new_store};

const LATER: Micros = Micros(NOW.0 + 60_000_000);
const SCOPES: Scopes = Scopes::of(&[Scope::HitsWrite, Scope::Operate]);

async fn make(store: &Store, name: &str, expires_at: Option<Micros>) -> Token {
    let mut tx = store.begin().await.unwrap();
    let token = Token {
        id: TokenId(tx.take_numbers("token", 1).await.unwrap()),
        name: name.to_owned(),
        prefix: "sil_abcdef".to_owned(),
        scopes: SCOPES,
        created_at: NOW,
        created_by: name.to_owned(),
        expires_at,
        last_used_at: None,
        revoked_at: None,
        revoked_by: None,
    };
    tx.create_token(&token, SecretPrint::of(name))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    token
}

async fn names(store: &Store, now: Micros) -> Vec<String> {
    let usable = store.usable_tokens(now).await.unwrap();
    usable.into_iter().map(|token| token.name).collect()
}

async fn a_token_is_found_by_its_print_until_it_is_revoked(engine: Engine) {
    let store = new_store(engine).await;
    for name in HOSTILE {
        let token = make(&store, name, None).await;
        let expected = UsableToken {
            id: token.id,
            name: name.to_owned(),
            print: SecretPrint::of(name),
            scopes: SCOPES,
            expires_at: None,
        };
        let found = store.usable_token(SecretPrint::of(name)).await.unwrap();
        assert_eq!(found, Some(expected), "{name}");
        assert_eq!(store.token(token.id).await.unwrap(), Some(token));
    }
    assert_eq!(names(&store, NOW).await, HOSTILE);
    let nobody = SecretPrint::of("nobody's");
    assert_eq!(store.usable_token(nobody).await.unwrap(), None);

    for (by, at) in [("one", NOW), ("another", LATER)] {
        let mut tx = store.begin().await.unwrap();
        tx.revoke_token(TokenId(1), by, at).await.unwrap();
        tx.commit().await.unwrap();
    }
    let revoked = store.token(TokenId(1)).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(NOW), "the first time counts");
    assert_eq!(revoked.revoked_by.as_deref(), Some("one"));
    let print = SecretPrint::of(HOSTILE[0]);
    assert_eq!(store.usable_token(print).await.unwrap(), None);
    assert_eq!(names(&store, NOW).await, HOSTILE[1..]);
}

async fn an_expired_token_is_not_among_those_in_use(engine: Engine) {
    let store = new_store(engine).await;
    make(&store, "short", Some(LATER)).await;
    make(&store, "long", None).await;
    assert_eq!(names(&store, NOW).await, ["short", "long"]);
    assert_eq!(names(&store, LATER).await, ["long"]);
}

async fn tokens_are_listed_by_falling_ids(engine: Engine) {
    let store = new_store(engine).await;
    for name in ["a", "b", "c"] {
        make(&store, name, None).await;
    }
    let mut tx = store.begin().await.unwrap();
    tx.revoke_token(TokenId(2), "admin", NOW).await.unwrap();
    tx.commit().await.unwrap();
    let list = async |is_revoked, before, limit| {
        let part = store.tokens(is_revoked, Wanted { before, limit });
        let part = part.await.unwrap();
        let ids: Vec<i64> = part.rows.iter().map(|token| token.id.0).collect();
        (ids, part.next)
    };
    assert_eq!(list(None, None, 2).await, (vec![3, 2], Some(2)));
    assert_eq!(list(None, Some(2), 2).await, (vec![1], None));
    assert_eq!(list(Some(true), None, 9).await, (vec![2], None));
    assert_eq!(list(Some(false), None, 9).await, (vec![3, 1], None));
}

async fn the_latest_use_of_a_token_is_kept(engine: Engine) {
    let store = new_store(engine).await;
    let id = make(&store, "a", None).await.id;
    for (at, kept) in [(LATER, LATER), (NOW, LATER)] {
        store
            .note_token_uses(&[(id, at), (TokenId(77), at)])
            .await
            .unwrap();
        let token = store.token(id).await.unwrap().unwrap();
        assert_eq!(token.last_used_at, Some(kept));
    }
    store.note_token_uses(&[]).await.unwrap();
}

on_both!(
    a_token_is_found_by_its_print_until_it_is_revoked,
    an_expired_token_is_not_among_those_in_use,
    tokens_are_listed_by_falling_ids,
    the_latest_use_of_a_token_is_kept,
);

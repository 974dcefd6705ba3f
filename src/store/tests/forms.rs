//! Forms.

use crate::model::clock::Micros;
use crate::model::form::{Choice, FieldKind, Form, FormField, FormId};
use crate::store::Store;
use crate::store::deliveries::Taken;
use crate::store::forms::StoredForm;

use super::rig::{Engine, on_both};
use super::{HOSTILE, NOW, new_store};

fn form(name: &str) -> Form {
    Form {
        name: name.to_owned(),
        alias: "newsletter".to_owned(),
        fields: vec![FormField {
            alias: "mail".to_owned(),
            label: name.to_owned(),
            kind: FieldKind::Email,
            required: true,
            required_if: None,
            options: HOSTILE.map(Choice::from).to_vec(),
            placeholder: Some(name.to_owned()),
            default: None,
            contact_field: Some("email".to_owned()),
        }],
        return_url: Some("https://shop.example/".to_owned()),
        allowed_hosts: vec!["*.shop.example".to_owned()],
        submit_label: Some(name.to_owned()),
        success_message: None,
        error_message: Some(name.to_owned()),
        ended_at: None,
        end_url: None,
    }
}

async fn make(store: &Store, id: Option<i64>, name: &str) -> Result<StoredForm, Taken> {
    let mut tx = store.begin().await.unwrap();
    let made = tx
        .create_form(id.map(FormId), form(name), NOW)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    made
}

async fn a_form_comes_back_whole_under_a_number_of_its_own(engine: Engine) {
    let store = new_store(engine).await;
    assert_eq!(store.forms().await.unwrap(), []);
    let mut made = Vec::new();
    for (id, number) in [(None, 1), (Some(7), 7), (None, 8)] {
        let stored = make(&store, id, HOSTILE[number as usize % 8])
            .await
            .unwrap();
        assert_eq!(stored.id, FormId(number));
        assert_eq!(stored.form, form(HOSTILE[number as usize % 8]));
        made.push(stored);
    }
    assert_eq!(make(&store, Some(7), "other").await, Err(Taken::Id));
    assert_eq!(store.forms().await.unwrap(), made);
    assert_eq!(
        store.form(FormId(7)).await.unwrap().as_ref(),
        Some(&made[1])
    );
    assert_eq!(store.form(FormId(9)).await.unwrap(), None);
    store.close().await;
}

async fn a_changed_form_keeps_when_it_was_made(engine: Engine) {
    let store = new_store(engine).await;
    let made = make(&store, None, "a").await.unwrap();
    let later = Micros(NOW.0 + 1);
    let mut tx = store.begin().await.unwrap();
    let changed = tx.change_form(made.id, form("b"), later).await.unwrap();
    let expected = StoredForm {
        form: form("b"),
        changed_at: later,
        ..made
    };
    assert_eq!(changed.as_ref(), Some(&expected));
    assert_eq!(
        tx.change_form(FormId(99), form("c"), later).await.unwrap(),
        None
    );
    tx.commit().await.unwrap();
    assert_eq!(store.forms().await.unwrap(), [expected]);
    store.close().await;
}

/// Somebody wrote one by hand: the others are served all the same.
async fn a_definition_that_cannot_be_read_hides_no_other(engine: Engine) {
    let store = new_store(engine).await;
    let made = make(&store, None, "a").await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.run(
        "insert into forms (id, definition, created_at, changed_at)
            select 2, '[\"none\"]', created_at, created_at from forms",
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.forms().await.unwrap(), [made]);
    assert_eq!(store.form(FormId(2)).await.unwrap(), None);
    store.close().await;
}

on_both!(
    a_form_comes_back_whole_under_a_number_of_its_own,
    a_changed_form_keeps_when_it_was_made,
    a_definition_that_cannot_be_read_hides_no_other,
);

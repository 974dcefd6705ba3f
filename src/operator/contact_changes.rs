//! Makes contacts and changes them by hand. Whose a value is, is decided as for everything that an
//! authenticated sender says; but nobody is merged, and nobody becomes another person.

use super::contacts::{Effect, Entry, EntryError, NewContact, Teller, decide};
use crate::model::clock::Clock;
use crate::model::hit::{ContactId, Limit, TagChange, clean};
use crate::store::{self, Store};

/// What is to be set of a contact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContactDraft {
    /// By name; an empty value changes nothing.
    pub fields: Vec<(String, String)>,
    /// To add, or with a `-` before them to take away.
    pub tags: Vec<String>,
}

/// A contact that was made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedContact {
    /// Its id.
    pub id: ContactId,
    /// Nobody had its values before.
    pub is_new: bool,
}

/// Why a contact is not made or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// A unique field's value cannot be one.
    #[error("{why}")]
    Field {
        /// Its name.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing names the contact.
    #[error("contains no unique field with a value; give {0}")]
    Nobody(String),
    /// Its unique values are others'.
    #[error(
        "contains a unique value of another contact, or another than this contact has; change that \
        contact, or make a new one with POST /api/v1/contacts"
    )]
    Others,
}

/// Makes the contact that these fields name or, where there is one, changes it. `id` names it
/// beside them.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn save_contact(
    store: &Store,
    clock: &Clock,
    unique: &[String],
    id: Option<ContactId>,
    draft: ContactDraft,
) -> store::Result<Result<SavedContact, ContactError>> {
    let tags = draft.tags.iter().filter_map(|tag| {
        let tag = tag.trim();
        let (name, remove) = match tag.strip_prefix('-') {
            Some(name) => (name, true),
            None => (tag, false),
        };
        let (name, _) = clean(name, Limit::NAME);
        (!name.is_empty()).then(|| TagChange {
            name: name.into_owned(),
            remove,
        })
    });
    let contact = NewContact::new(id, draft.fields).with_tag_changes(tags.collect());
    let entry = Entry {
        contact: &contact,
        lasting_field: None,
        message: None,
    };
    let mut tx = store.begin_turn().await?;
    let now = clock.now();
    let nothing = |_| Ok(());
    let decided = decide(
        &mut tx,
        clock,
        unique,
        Teller::Archive,
        &[entry],
        now,
        nothing,
    )
    .await?;
    let outcome = match decided.outcomes.first() {
        Some(Ok(_)) if decided.merges_anybody() => Err(ContactError::Others),
        Some(Ok(kept)) if id.is_none_or(|id| id == kept.contact_id) => Ok(SavedContact {
            id: kept.contact_id,
            is_new: kept.effect == Effect::Made,
        }),
        Some(Err(EntryError::Field(error))) => Err(ContactError::Field {
            field: error.field.clone(),
            why: error.why(),
        }),
        Some(Err(EntryError::Nobody(_))) => Err(ContactError::Nobody(unique.join(" or "))),
        _ => Err(ContactError::Others),
    };
    match outcome {
        Ok(_) => {
            decided.write(&mut tx, now).await?;
            tx.commit().await?;
        }
        Err(_) => tx.rollback().await?,
    }
    Ok(outcome)
}

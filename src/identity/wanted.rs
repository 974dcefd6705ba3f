//! What has to be known before hits can be resolved: everything that they name somebody by.

use std::collections::{BTreeSet, HashSet};

use super::{Key, Known, UniqueValue};
use crate::model::hit::{BroadlogId, ContactId, Hit, VisitorId};

/// What must be looked up before hits can be resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Messages.
    pub broadlogs: BTreeSet<BroadlogId>,
    /// Messages by their vendors' names.
    pub message_keys: BTreeSet<String>,
    /// Visitors.
    pub visitors: BTreeSet<VisitorId>,
    /// Unique values.
    pub keys: BTreeSet<Key>,
    /// Contacts named by id.
    pub ids: BTreeSet<ContactId>,
}

/// What must be known to resolve these hits.
pub fn wanted<'h>(unique: &[String], hits: impl Iterator<Item = &'h Hit>) -> Wanted {
    let mut wanted = Wanted::default();
    for hit in hits {
        wanted.broadlogs.extend(hit.broadlog_id);
        wanted
            .visitors
            .extend(hit.visitor_id.filter(|_| !hit.visitor_is_new));
        wanted.ids.extend(hit.contact_id);
        if !hit.fields.is_empty() {
            wanted.keys.extend(unique_keys(unique, hit));
        }
        if let Some(foreign) = &hit.foreign {
            wanted.message_keys.extend(foreign.message_key.clone());
            wanted.keys.extend(recipient_key(unique, hit));
        }
    }
    wanted
}

/// The contacts whose data these hits may change.
pub fn wanted_contacts<'h>(
    unique: &[String],
    known: &Known,
    hits: impl Iterator<Item = &'h Hit> + Clone,
) -> BTreeSet<ContactId> {
    // A contact that is named by its id is vouched for, also where nothing of it changes.
    let changes =
        |hit: &Hit| !hit.fields.is_empty() || !hit.tags.is_empty() || hit.contact_id.is_some();
    // Another of these hits may be the one that says whose the visitor is.
    let visitors: HashSet<VisitorId> = hits
        .clone()
        .filter(|hit| changes(hit))
        .filter_map(|hit| hit.visitor_id)
        .collect();
    let mut wanted = BTreeSet::new();
    for hit in
        hits.filter(|hit| changes(hit) || hit.visitor_id.is_some_and(|id| visitors.contains(&id)))
    {
        wanted.extend(hit.contact_id.and_then(|id| known.ids.get(&id)));
        wanted.extend(
            hit.broadlog_id
                .or_else(|| known.message_keys.get(hit.message_key()?).copied())
                .and_then(|id| known.broadlogs.get(&id))
                .map(|(contact, _)| contact),
        );
        wanted.extend(recipient_key(unique, hit).and_then(|key| known.keys.get(&key)));
        wanted.extend(
            hit.visitor_id
                .and_then(|id| known.visitors.get(&id))
                .map(|binding| binding.contact),
        );
        wanted.extend(unique_keys(unique, hit).filter_map(|key| known.keys.get(&key)));
    }
    wanted
}

/// The unique fields that a hit names, in the order of their strength.
pub(super) fn unique_keys<'h>(
    unique: &'h [String],
    hit: &'h Hit,
) -> impl Iterator<Item = Key> + 'h {
    unique.iter().filter_map(move |field| {
        let (_, value) = hit.fields.iter().find(|(name, _)| name == field)?;
        Some(UniqueValue::read(field, value).ok()?.into_key(field))
    })
}

/// The unique value by which a page tag names its recipient.
pub(super) fn recipient_key(unique: &[String], hit: &Hit) -> Option<Key> {
    let (field, value) = hit.foreign.as_ref()?.recipient.as_ref()?;
    let value = unique
        .contains(field)
        .then(|| UniqueValue::read(field, value))?;
    Some(value.ok()?.into_key(field))
}

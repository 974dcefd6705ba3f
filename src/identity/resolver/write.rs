//! What evidence changes about the contact that it names: fields, tags, and merges.

use std::borrow::Cow;

use uuid::Uuid;

use super::{Field, Leftover, Named, Resolver};
use crate::identity::known::{Known, UniqueKey};
use crate::identity::rights::Change;
use crate::identity::unique::normalise;
use crate::model::hit::{ContactId, TagChange};

/// Most fields and tags of a contact.
const MOST_FIELDS: usize = 500;
const MOST_TAGS: usize = 1_000;

/// Notes about what may not be written.
const FIELD_NOT_PROVED: &str = "field not proved";
const UNIQUE_NOT_PROVED: &str = "unique value not proved";
const UNIQUE_OF_ANOTHER: &str = "unique value of somebody else";
const TAG_NOT_PROVED: &str = "tag not proved";
const CONTACT_FULL: &str = "contact full";

impl<N: FnMut() -> Uuid> Resolver<'_, N> {
    /// Writes fields and tags, as far as the rights allow; the rest is left over.
    pub(super) fn write<'e>(
        &mut self,
        Named {
            contact: id,
            standing,
        }: Named,
        tags: &[TagChange],
        fields: Vec<Field<'e>>,
        left: &mut Vec<Leftover<'e>>,
    ) {
        if fields.is_empty() && tags.is_empty() {
            return;
        }
        let Some(contact) = self.known.contacts.get_mut(&id) else {
            // A row that somebody has deleted by hand.
            left.push(Leftover::note("contact gone"));
            left.extend(fields.into_iter().map(Field::left_over));
            return;
        };
        let mut is_changed = false;
        for mut field in fields {
            let had = contact.fields.get(field.name).map(String::as_str);
            let had = had.filter(|had| !had.is_empty());
            let change = match field.key.take() {
                None => plain_change(&field, had),
                Some(key) => {
                    let owner = self.known.keys.get(&key).copied();
                    let change = unique_change(&key, owner, id, had);
                    if owner.is_none() && change.is_ok_and(|change| standing.allows(change.change))
                    {
                        self.known.keys.insert(key.clone(), id);
                        self.changes.keys.insert(key, id);
                    }
                    change
                }
            };
            let why = match change {
                Err(why) => Some(why),
                Ok(change) if change.is_same => None,
                Ok(change) if !standing.allows(change.change) => Some(change.refusal),
                Ok(_)
                    if contact.fields.len() >= MOST_FIELDS
                        && !contact.fields.contains_key(field.name) =>
                {
                    Some(CONTACT_FULL)
                }
                Ok(_) => {
                    let value = field.value.into_owned();
                    contact.fields.insert(field.name.to_owned(), value);
                    is_changed = true;
                    continue;
                }
            };
            if let Some(why) = why {
                left.push(Leftover {
                    note: Some(Cow::Borrowed(why)),
                    ..field.left_over()
                });
            }
        }
        let mut refused_tag = None;
        for tag in tags {
            let place = contact.tags.iter().position(|had| *had == tag.name);
            match (place, tag.remove) {
                (Some(_), false) | (None, true) => {}
                (Some(place), true) if standing.allows(Change::RemoveTag) => {
                    contact.tags.remove(place);
                    is_changed = true;
                }
                (None, false) if contact.tags.len() >= MOST_TAGS => {
                    refused_tag = Some(CONTACT_FULL);
                }
                (None, false) if standing.allows(Change::AddTag) => {
                    contact.tags.push(tag.name.clone());
                    is_changed = true;
                }
                _ => refused_tag = Some(TAG_NOT_PROVED),
            }
        }
        if is_changed {
            self.touched.insert(id);
        }
        // The tags themselves stand in the hit's own column.
        left.extend(refused_tag.map(Leftover::note));
    }

    /// Merges `from` into `into`: fills empty fields, joins tags, and redirects everything that
    /// pointed at `from`.
    pub(super) fn merge(&mut self, from: ContactId, into: ContactId) {
        let gone = self.known.contacts.remove(&from).unwrap_or_default();
        // One that is new gets its row all the same: hits and messages have its id.
        if self.touched.contains(&from) {
            self.changes.contacts.insert(from, gone.clone());
        }
        let kept = self.known.contacts.entry(into).or_default();
        for (name, value) in gone.fields {
            kept.fields.entry(name).or_insert(value);
        }
        for tag in gone.tags {
            if !kept.tags.contains(&tag) {
                kept.tags.push(tag);
            }
        }
        let Known {
            broadlogs,
            visitors,
            keys,
            ids,
            ..
        } = &mut self.known;
        let changes = &mut self.changes;
        let of_known = keys
            .values_mut()
            .chain(visitors.values_mut().map(|binding| &mut binding.contact))
            .chain(ids.values_mut())
            .chain(broadlogs.values_mut().map(|(receiver, _)| receiver));
        let of_changes = (changes.keys.values_mut())
            .chain(changes.visitors.values_mut().map(|b| &mut b.contact))
            .chain(changes.completed.values_mut());
        for owner in of_known.chain(of_changes) {
            if *owner == from {
                *owner = into;
            }
        }
        self.touched.insert(into);
        changes.merges.push((from, into));
    }
}

/// What kind of change writing a field would be.
#[derive(Clone, Copy)]
struct Write {
    change: Change,
    /// The value is there already, perhaps in another spelling.
    is_same: bool,
    /// The note if it is not allowed.
    refusal: &'static str,
}

fn plain_change(field: &Field<'_>, had: Option<&str>) -> Result<Write, &'static str> {
    Ok(Write {
        change: match had {
            Some(_) => Change::Overwrite,
            None => Change::Fill,
        },
        is_same: had == Some(&*field.value),
        refusal: FIELD_NOT_PROVED,
    })
}

/// The same for a unique field: `owner` has the value, `id` should get it.
fn unique_change(
    key: &UniqueKey,
    owner: Option<ContactId>,
    id: ContactId,
    had: Option<&str>,
) -> Result<Write, &'static str> {
    let is_same = had.is_some_and(|had| normalise(had) == key.1);
    let change = match (owner, had) {
        // Never taken over.
        (Some(owner), _) if owner != id => return Err(UNIQUE_OF_ANOTHER),
        (Some(_), None) => Change::Fill,
        (None, None) => Change::AddUnique,
        (_, Some(_)) => Change::ReplaceUnique,
    };
    Ok(Write {
        change,
        is_same,
        refusal: UNIQUE_NOT_PROVED,
    })
}

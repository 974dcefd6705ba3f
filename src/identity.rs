//! Identity: which contact a hit belongs to, and what the hit changes about contacts.
//!
//! A pure function over what is [`Known`]: the projection loads it, calls [`Resolver::resolve`] hit by hit in order of arrival, and writes the
//! [`Changes`]. Evidence, strongest first: a contact named by an authenticated sender; the signed message in the link; the recipient that a page
//! tag names; a unique field in the hit, where the configuration lets the public name it; the session of an earlier click, or the unsigned
//! message of a vendor's link; what is known of the visitor.
//!
//! Promises: an anonymous visitor makes no contact; a person's fields are never overwritten by another's (a browser known as A that names B's
//! value becomes B from that hit on); only an authenticated call merges two contacts.

mod unique;
mod wanted;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

pub use unique::{
    NoName, UniqueError, UniqueValue, check_fields, is_address, is_address_field, is_placeholder,
    is_unfilled, normalise, refusal,
};
pub use wanted::{Wanted, wanted, wanted_contacts};

use self::wanted::{recipient_key, unique_keys};
use crate::hit::{Authority, BroadlogId, ContactId, DeliveryId, Hit, Provenance, VisitorId};

/// Field and normalised value of a unique field.
pub type Key = (String, String);

/// A contact's own data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Fields by name.
    pub fields: BTreeMap<String, String>,
    /// Tags, each once.
    pub tags: Vec<String>,
}

/// What the database knows of the hits' evidence. Contacts are surviving ones only.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Messages and their receivers.
    pub broadlogs: HashMap<BroadlogId, (ContactId, DeliveryId)>,
    /// Messages by their vendors' names.
    pub message_keys: HashMap<String, BroadlogId>,
    /// Visitors whose person is known.
    pub visitors: HashMap<VisitorId, ContactId>,
    /// Unique values and their owners.
    pub keys: HashMap<Key, ContactId>,
    /// Contacts named by id, former ids included, and the survivor of each.
    pub ids: HashMap<ContactId, ContactId>,
    /// Data of the contacts that hits may change.
    pub contacts: HashMap<ContactId, Contact>,
}

/// What resolving changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Contacts whose data is new or different.
    pub contacts: BTreeSet<ContactId>,
    /// Unique values that got an owner.
    pub keys: BTreeMap<Key, ContactId>,
    /// Visitors that got a person or another one.
    pub visitors: BTreeMap<VisitorId, ContactId>,
    /// Visitors whose earlier anonymous hits now have a person.
    pub completed: BTreeMap<VisitorId, ContactId>,
    /// Contacts that went into another one, in order.
    pub merges: Vec<(ContactId, ContactId)>,
}

/// Resolves hits in order.
pub struct Resolver<'u, N> {
    unique: &'u [String],
    known: Known,
    changes: Changes,
    new_id: N,
}

impl<'u, N: FnMut() -> Uuid> Resolver<'u, N> {
    /// Starts with what is known. `new_id` makes ids of contacts.
    pub fn new(unique: &'u [String], known: Known, new_id: N) -> Self {
        Self {
            unique,
            known,
            changes: Changes::default(),
            new_id,
        }
    }

    /// What was changed, and the data of the contacts in it.
    pub fn finish(self) -> (Changes, HashMap<ContactId, Contact>) {
        (self.changes, self.known.contacts)
    }

    /// The receiver and the delivery of a message.
    pub fn message(&self, id: BroadlogId) -> Option<(ContactId, DeliveryId)> {
        self.known.broadlogs.get(&id).copied()
    }

    /// Makes a new message known to what is resolved after it.
    pub fn note_message(&mut self, id: BroadlogId, contact: ContactId, delivery: DeliveryId) {
        self.known.broadlogs.insert(id, (contact, delivery));
    }

    /// The message that a vendor's name stands for.
    pub fn message_named(&self, key: &str) -> Option<BroadlogId> {
        self.known.message_keys.get(key).copied()
    }

    /// Makes a vendor's name of a message known to what is resolved after it.
    pub fn note_message_name(&mut self, key: String, id: BroadlogId) {
        self.known.message_keys.insert(key, id);
    }

    /// The contacts that have the unique values of a hit, each once.
    pub fn owners(&self, hit: &Hit) -> Vec<ContactId> {
        let mut owners: Vec<ContactId> = unique_keys(self.unique, hit)
            .filter_map(|key| self.known.keys.get(&key).copied())
            .collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// A contact's data as they are by now.
    pub fn contact(&self, id: ContactId) -> Option<&Contact> {
        self.known.contacts.get(&id)
    }

    /// Whether a hit names this contact, by its id or by a unique value.
    pub fn is_named(&self, hit: &Hit, contact: ContactId) -> bool {
        hit.contact_id.and_then(|id| self.known.ids.get(&id)) == Some(&contact)
            || unique_keys(self.unique, hit).any(|key| self.known.keys.get(&key) == Some(&contact))
    }

    /// Finds the contact of a hit and applies the hit's fields and tags to it. Changes the hit itself (and so copies it) only where
    /// the delivery of a known message is missing, fields have no person to go to, or a unique field has a value that names nobody.
    pub fn resolve(&mut self, hit: &mut Cow<'_, Hit>) -> Option<ContactId> {
        unique::set_aside(self.unique, hit);
        let before = hit
            .visitor_id
            .and_then(|id| self.known.visitors.get(&id))
            .copied();
        if hit.foreign.is_some() {
            self.find_message(hit, before);
        }
        let message = hit
            .broadlog_id
            .and_then(|id| self.known.broadlogs.get(&id))
            .copied();
        if let (None, Some((_, delivery))) = (hit.delivery_id, message) {
            hit.to_mut().delivery_id = Some(delivery);
        }
        let message = message.map(|(contact, _)| contact);
        let by_link = message.filter(|_| hit.provenance == Provenance::Link);
        let by_session = message
            .filter(|_| matches!(hit.provenance, Provenance::Session | Provenance::Unsigned));
        let keys: Vec<Key> = if hit.fields.is_empty() {
            Vec::new()
        } else {
            unique_keys(self.unique, hit).collect()
        };
        let contact = match hit.authority {
            Authority::Authenticated => {
                self.named_by_authority(hit, &keys, by_link.or(by_session).or(before))
            }
            Authority::Public if by_link.is_some() => by_link,
            Authority::Public => self
                .recipient(hit)
                .or_else(|| self.named_by_public(&keys, by_session.or(before))),
        };
        let Some(contact) = contact else {
            // No person to give the fields to: they stay with the hit.
            if !hit.fields.is_empty() {
                let hit = hit.to_mut();
                for (name, value) in std::mem::take(&mut hit.fields) {
                    hit.keep(&name, &value);
                }
            }
            return None;
        };
        self.apply(contact, hit);
        // What can be guessed names nobody in a browser that has a name.
        let is_proved = before.is_none() || hit.provenance != Provenance::Unsigned;
        if let Some(visitor) = hit
            .visitor_id
            .filter(|_| before != Some(contact) && is_proved && hit.verdict.counts())
        {
            self.known.visitors.insert(visitor, contact);
            self.changes.visitors.insert(visitor, contact);
            if before.is_none() && !hit.visitor_is_new {
                self.changes.completed.insert(visitor, contact);
            }
        }
        Some(contact)
    }

    /// Puts the broadlog in the place of its vendor's name. The delivery is then the message's own.
    fn find_message(&self, hit: &mut Cow<'_, Hit>, before: Option<ContactId>) {
        let Some(key) = hit.message_key().filter(|_| hit.broadlog_id.is_none()) else {
            return;
        };
        match self.known.message_keys.get(key).copied() {
            Some(id) => {
                let message = self.message(id);
                let is_from_page = hit.foreign.as_ref().is_some_and(|f| f.is_from_page);
                let hit = hit.to_mut();
                if is_from_page && before.is_some() && before != message.map(|(to, _)| to) {
                    hit.note("message of somebody else");
                    return;
                }
                hit.broadlog_id = Some(id);
                if !matches!(hit.provenance, Provenance::Link | Provenance::Session) {
                    hit.provenance = Provenance::Unsigned;
                    hit.delivery_id = message.map(|(_, of)| of).or(hit.delivery_id);
                }
            }
            None => hit.to_mut().note("message unknown"),
        }
    }

    /// The contact that a page tag names.
    fn recipient(&self, hit: &mut Cow<'_, Hit>) -> Option<ContactId> {
        let named = hit.foreign.as_ref()?.recipient.is_some();
        let found = recipient_key(self.unique, hit).and_then(|key| self.known.keys.get(&key));
        if named && found.is_none() {
            hit.to_mut().note("recipient unknown");
        }
        found.copied()
    }

    fn named_by_authority(
        &mut self,
        hit: &mut Cow<'_, Hit>,
        keys: &[Key],
        otherwise: Option<ContactId>,
    ) -> Option<ContactId> {
        let by_id = hit
            .contact_id
            .and_then(|id| self.known.ids.get(&id))
            .copied();
        if hit.contact_id.is_some() && by_id.is_none() {
            hit.to_mut().note("contact id unknown");
        }
        let mut found: Vec<ContactId> = Vec::new();
        for id in by_id.into_iter().chain(
            keys.iter()
                .filter_map(|key| self.known.keys.get(key).copied()),
        ) {
            if !found.contains(&id) {
                found.push(id);
            }
        }
        match found.split_first() {
            Some((&first, others)) => {
                for &other in others {
                    self.merge(other, first);
                }
                Some(first)
            }
            None => self.owner_of_new(keys, otherwise),
        }
    }

    fn named_by_public(&mut self, keys: &[Key], otherwise: Option<ContactId>) -> Option<ContactId> {
        match keys.iter().find_map(|key| self.known.keys.get(key)) {
            Some(&owner) => Some(owner),
            None => self.owner_of_new(keys, otherwise),
        }
    }

    /// Who gets values that nobody has: the person so far where the field is empty, else a new one.
    fn owner_of_new(&mut self, keys: &[Key], so_far: Option<ContactId>) -> Option<ContactId> {
        if keys.is_empty() {
            return so_far;
        }
        let has_room = |contact: &Contact| {
            keys.iter()
                .all(|(field, _)| contact.fields.get(field).is_none_or(String::is_empty))
        };
        if let Some(id) = so_far.filter(|id| self.known.contacts.get(id).is_some_and(has_room)) {
            return Some(id);
        }
        let id = ContactId((self.new_id)());
        self.known.contacts.insert(id, Contact::default());
        self.changes.contacts.insert(id);
        Some(id)
    }

    fn apply(&mut self, id: ContactId, hit: &Hit) {
        if hit.fields.is_empty() && hit.tags.is_empty() {
            return;
        }
        let Some(contact) = self.known.contacts.get_mut(&id) else {
            return;
        };
        let mut is_changed = false;
        for (name, value) in &hit.fields {
            if self.unique.contains(name) {
                let key = (name.clone(), normalise(value));
                let is_empty = contact.fields.get(name).is_none_or(String::is_empty);
                match self.known.keys.get(&key) {
                    // Somebody else's: never taken over.
                    Some(owner) if *owner != id => continue,
                    Some(_) => {}
                    // A public hit does not change who somebody is.
                    None if !is_empty && hit.authority == Authority::Public => continue,
                    None => {
                        self.known.keys.insert(key.clone(), id);
                        self.changes.keys.insert(key, id);
                    }
                }
                // The same value in another spelling is no change.
                if contact
                    .fields
                    .get(name)
                    .is_some_and(|had| normalise(had) == normalise(value))
                {
                    continue;
                }
            }
            if contact.fields.get(name) != Some(value)
                && (contact.fields.len() < 500 || contact.fields.contains_key(name))
            {
                contact.fields.insert(name.clone(), value.clone());
                is_changed = true;
            }
        }
        for tag in &hit.tags {
            let place = contact.tags.iter().position(|had| *had == tag.name);
            match (place, tag.remove) {
                (Some(place), true) => {
                    contact.tags.remove(place);
                    is_changed = true;
                }
                (None, false) if contact.tags.len() < 1_000 => {
                    contact.tags.push(tag.name.clone());
                    is_changed = true;
                }
                _ => {}
            }
        }
        if is_changed {
            self.changes.contacts.insert(id);
        }
    }

    /// `from` goes into `into`: empty fields are filled, tags joined, everything that pointed at it points on.
    fn merge(&mut self, from: ContactId, into: ContactId) {
        let gone = self.known.contacts.remove(&from).unwrap_or_default();
        let kept = self.known.contacts.entry(into).or_default();
        for (name, value) in gone.fields {
            kept.fields.entry(name).or_insert(value);
        }
        for tag in gone.tags {
            if !kept.tags.contains(&tag) {
                kept.tags.push(tag);
            }
        }
        for owner in self
            .known
            .keys
            .values_mut()
            .chain(self.known.visitors.values_mut())
            .chain(self.known.ids.values_mut())
        {
            if *owner == from {
                *owner = into;
            }
        }
        for (owner, _) in self.known.broadlogs.values_mut() {
            if *owner == from {
                *owner = into;
            }
        }
        let changes = &mut self.changes;
        for owner in changes
            .keys
            .values_mut()
            .chain(changes.visitors.values_mut())
            .chain(changes.completed.values_mut())
        {
            if *owner == from {
                *owner = into;
            }
        }
        changes.contacts.insert(into);
        changes.merges.push((from, into));
    }
}

#[cfg(test)]
mod tests;

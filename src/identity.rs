//! Identity: which contact a hit belongs to, and what the hit changes about contacts.
//!
//! A pure function over what is [`Known`]: the projection loads it, calls [`Resolver::resolve`] hit
//! by hit in order of arrival, and writes the [`Changes`]. Whose a hit is, in this order: a contact
//! named by an authenticated sender; the signed message in the link; the recipient that a page tag
//! names; a unique field in the hit, where the configuration lets the public name it; the session
//! of an earlier click, or the unsigned message of a vendor's link; what is known of the visitor.
//! What the hit may then change is another question: [`rights`] answers it in one table, by the
//! strongest [`Evidence`] that names this very person.
//!
//! Promises: an anonymous visitor makes no contact; nobody writes into another's record, and what
//! is not proved never changes what is (a browser known as A that names B's value becomes B from
//! that hit on, and stays a claim); only an authenticated call merges two contacts. What a hit may
//! not write stays with it, in `extra` with a note.

pub mod rights;
mod unique;
mod wanted;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

pub use rights::{Change, Evidence, May};
pub use unique::{
    NoName, UniqueError, UniqueValue, check_fields, is_address, is_address_field, is_placeholder,
    is_unfilled, normalise, refusal,
};
pub use wanted::{Wanted, wanted, wanted_contacts};

use self::wanted::{recipient_key, unique_keys};
use crate::model::hit::{
    Authority, BroadlogId, ContactId, DeliveryId, Hit, Kind, Provenance, VisitorId,
};

/// Field and normalised value of a unique field.
pub type Key = (String, String);

/// A contact's own data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Fields by name.
    pub fields: BTreeMap<String, String>,
    /// Tags, each once.
    pub tags: Vec<String>,
    /// The visitor whose public hit made the contact, as long as nothing signed or authenticated
    /// has named it; the nil UUID where there was none.
    pub made_by: Option<VisitorId>,
}

/// Whose a visitor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The person.
    pub contact: ContactId,
    /// Something signed or authenticated said so. A claim never becomes a proof by being
    /// remembered.
    pub is_proved: bool,
}

/// Most fields and tags of a contact.
const MOST_FIELDS: usize = 500;
const MOST_TAGS: usize = 1_000;
/// Stands for the maker of a contact whose first hit had no visitor: nobody is it.
const NO_VISITOR: VisitorId = VisitorId(Uuid::nil());

/// Notes of what a hit may not write.
const FIELD_NOT_PROVED: &str = "field not proved";
const UNIQUE_NOT_PROVED: &str = "unique value not proved";
const UNIQUE_OF_ANOTHER: &str = "unique value of somebody else";
const TAG_NOT_PROVED: &str = "tag not proved";
const CONTACT_FULL: &str = "contact full";

/// What the database knows of the hits' evidence. Contacts are surviving ones only.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Messages and their receivers.
    pub broadlogs: HashMap<BroadlogId, (ContactId, DeliveryId)>,
    /// Messages by their vendors' names.
    pub message_keys: HashMap<String, BroadlogId>,
    /// Visitors whose person is known.
    pub visitors: HashMap<VisitorId, Binding>,
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
    pub visitors: BTreeMap<VisitorId, Binding>,
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

    /// Finds the contact of a hit and applies the hit's fields and tags to it, as far as its
    /// evidence goes. Changes the hit itself (and so copies it) only where the delivery of a known
    /// message is missing, a unique field has a value that names nobody, fields have no person to
    /// go to, or the hit may not write them.
    pub fn resolve(&mut self, hit: &mut Cow<'_, Hit>) -> Option<ContactId> {
        unique::set_aside(self.unique, hit);
        let before = hit.visitor_id.and_then(|id| self.binding(id));
        if hit.foreign.is_some() {
            self.find_message(hit, before.map(|binding| binding.contact));
        }
        let message = hit
            .broadlog_id
            .and_then(|id| self.known.broadlogs.get(&id))
            .copied();
        if let (None, Some((_, delivery))) = (hit.delivery_id, message) {
            hit.to_mut().delivery_id = Some(delivery);
        }
        let by_message = message.and_then(|(contact, _)| match hit.provenance {
            Provenance::Link => Some((contact, Evidence::Link)),
            Provenance::Session => Some((contact, Evidence::Session)),
            Provenance::Unsigned => Some((contact, Evidence::Unsigned)),
            Provenance::None | Provenance::Claimed => None,
        });
        let by_visitor = before.map(|binding| match binding.is_proved {
            true => (binding.contact, Evidence::Visitor),
            false => (binding.contact, Evidence::Claim),
        });
        let keys: Vec<Key> = if hit.fields.is_empty() {
            Vec::new()
        } else {
            unique_keys(self.unique, hit).collect()
        };
        let found = match hit.authority {
            Authority::Authenticated => self.named_by_authority(hit, &keys, by_message, by_visitor),
            Authority::Public => self.named_by_public(hit, &keys, by_message, by_visitor),
        };
        let Some((contact, evidence)) = found else {
            // No person to give the fields to: they stay with the hit.
            if !hit.fields.is_empty() {
                let hit = hit.to_mut();
                for (name, value) in std::mem::take(&mut hit.fields) {
                    hit.keep(&name, &value);
                }
            }
            return None;
        };
        self.apply(contact, evidence, hit);
        self.bind(contact, evidence, before, hit);
        Some(contact)
    }

    /// Whose a visitor is. An id that was derived from a vendor's proves nothing, whatever the
    /// database or an old cookie says of it.
    fn binding(&self, visitor: VisitorId) -> Option<Binding> {
        let binding = *self.known.visitors.get(&visitor)?;
        Some(Binding {
            is_proved: binding.is_proved && !visitor.is_derived(),
            ..binding
        })
    }

    /// Gives the hit's visitor its person, as far as the evidence goes.
    fn bind(&mut self, contact: ContactId, evidence: Evidence, before: Option<Binding>, hit: &Hit) {
        let Some(visitor) = hit.visitor_id.filter(|_| hit.verdict.counts()) else {
            return;
        };
        let can_be_proved = hit.visitor_can_be_proved();
        let may = match before {
            None => evidence.may(Change::Bind),
            Some(before) if before.contact != contact => evidence.may(Change::TakeOver),
            // A claim that is proved now.
            Some(before) if !before.is_proved && can_be_proved => {
                match evidence.may(Change::Bind) {
                    May::Yes => May::Yes,
                    May::AsClaim | May::No => return,
                }
            }
            Some(_) => return,
        };
        if may == May::No {
            return;
        }
        let binding = Binding {
            contact,
            is_proved: may == May::Yes && can_be_proved,
        };
        self.known.visitors.insert(visitor, binding);
        self.changes.visitors.insert(visitor, binding);
        if before.is_none() && !hit.visitor_is_new && evidence.allows(Change::Complete) {
            self.changes.completed.insert(visitor, contact);
        }
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

    /// The person whom an authenticated sender names, and by what.
    fn named_by_authority(
        &mut self,
        hit: &mut Cow<'_, Hit>,
        keys: &[Key],
        by_message: Option<(ContactId, Evidence)>,
        by_visitor: Option<(ContactId, Evidence)>,
    ) -> Option<(ContactId, Evidence)> {
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
        if let Some((&first, others)) = found.split_first() {
            let evidence = match by_id {
                Some(_) => Evidence::SenderById,
                None => Evidence::SenderByField,
            };
            if evidence.allows(Change::Merge) {
                for &other in others {
                    self.merge(other, first);
                }
            }
            self.vouch(first);
            return Some((first, evidence));
        }
        let by_message = by_message.map(|(contact, _)| (contact, Evidence::SenderByMessage));
        let by_visitor = by_visitor.map(|(contact, evidence)| {
            let evidence = match evidence {
                Evidence::Visitor => Evidence::SenderByVisitor,
                _ => Evidence::SenderByClaim,
            };
            (contact, evidence.min(self.as_maker(contact, hit)))
        });
        if keys.is_empty() {
            return by_message.or(by_visitor);
        }
        let with_room =
            [by_message, by_visitor]
                .into_iter()
                .flatten()
                .find(|(contact, evidence)| {
                    evidence.allows(Change::AddUnique) && self.has_room(*contact, keys)
                });
        if let Some((contact, evidence)) = with_room {
            self.vouch(contact);
            return Some((contact, evidence));
        }
        Some((self.make(None), Evidence::SenderByField))
    }

    /// The person of a public hit, and the strongest evidence that names this very person.
    fn named_by_public(
        &mut self,
        hit: &mut Cow<'_, Hit>,
        keys: &[Key],
        by_message: Option<(ContactId, Evidence)>,
        by_visitor: Option<(ContactId, Evidence)>,
    ) -> Option<(ContactId, Evidence)> {
        let by_field = match hit.kind {
            Kind::Form => Evidence::FormField,
            _ => Evidence::PublicField,
        };
        let by_link = by_message.filter(|(_, evidence)| *evidence == Evidence::Link);
        let named = by_link
            .or_else(|| Some((self.recipient(hit)?, Evidence::Recipient)))
            .or_else(|| {
                let owner = keys.iter().find_map(|key| self.known.keys.get(key))?;
                Some((*owner, by_field))
            })
            .or_else(|| by_message.or(by_visitor).filter(|_| keys.is_empty()));
        // All that names the person says what may be written: a name that is given openly takes
        // nothing from a session that proves it.
        let standing = |contact: ContactId| {
            [by_message, by_visitor]
                .into_iter()
                .flatten()
                .filter_map(move |(other, evidence)| (other == contact).then_some(evidence))
                .chain([self.as_maker(contact, hit)])
                .min()
                .unwrap_or(Evidence::Nobody)
        };
        if let Some((contact, evidence)) = named {
            return Some((contact, evidence.min(standing(contact))));
        }
        if keys.is_empty() {
            return None;
        }
        let so_far = [by_message, by_visitor]
            .into_iter()
            .flatten()
            .map(|(contact, _)| (contact, standing(contact)))
            .find(|(contact, evidence)| {
                evidence.allows(Change::AddUnique) && self.has_room(*contact, keys)
            });
        if so_far.is_some() || !by_field.allows(Change::Make) {
            return so_far;
        }
        let maker = hit.visitor_id.unwrap_or(NO_VISITOR);
        Some((self.make(Some(maker)), Evidence::Maker))
    }

    /// [`Evidence::Maker`] where the hit's visitor made the contact and nothing has proved it
    /// since.
    fn as_maker(&self, contact: ContactId, hit: &Hit) -> Evidence {
        let maker = self.known.contacts.get(&contact).and_then(|c| c.made_by);
        match maker {
            Some(maker) if maker != NO_VISITOR && hit.visitor_id == Some(maker) => Evidence::Maker,
            _ => Evidence::Nobody,
        }
    }

    /// Whether a contact has none of the fields that these values are of.
    fn has_room(&self, contact: ContactId, keys: &[Key]) -> bool {
        self.known.contacts.get(&contact).is_some_and(|contact| {
            keys.iter()
                .all(|(field, _)| contact.fields.get(field).is_none_or(String::is_empty))
        })
    }

    fn make(&mut self, made_by: Option<VisitorId>) -> ContactId {
        let id = ContactId((self.new_id)());
        let contact = Contact {
            made_by,
            ..Contact::default()
        };
        self.known.contacts.insert(id, contact);
        self.changes.contacts.insert(id);
        id
    }

    /// An authenticated sender knows the person: from now on it is more than what its first visitor
    /// said.
    fn vouch(&mut self, id: ContactId) {
        if let Some(contact) = self.known.contacts.get_mut(&id)
            && contact.made_by.take().is_some()
        {
            self.changes.contacts.insert(id);
        }
    }

    fn apply(&mut self, id: ContactId, evidence: Evidence, hit: &mut Cow<'_, Hit>) {
        if hit.fields.is_empty() && hit.tags.is_empty() {
            return;
        }
        let Some(contact) = self.known.contacts.get_mut(&id) else {
            // A row that somebody has deleted by hand.
            let hit = hit.to_mut();
            hit.note("contact gone");
            for (name, value) in std::mem::take(&mut hit.fields) {
                hit.keep(&name, &value);
            }
            return;
        };
        let mut is_changed = false;
        let mut refused: Vec<(usize, &'static str)> = Vec::new();
        for (place, (name, value)) in hit.fields.iter().enumerate() {
            let had = contact
                .fields
                .get(name)
                .map(String::as_str)
                .filter(|had| !had.is_empty());
            if self.unique.contains(name) {
                let key = (name.clone(), normalise(value));
                let owner = self.known.keys.get(&key).copied();
                // The same value in another spelling is no change.
                let is_same = had.is_some_and(|had| normalise(had) == key.1);
                let change = match (owner, had) {
                    // Somebody else's: never taken over.
                    (Some(owner), _) if owner != id => {
                        refused.push((place, UNIQUE_OF_ANOTHER));
                        continue;
                    }
                    (Some(_), _) if is_same => continue,
                    (Some(_), None) => Change::Fill,
                    (None, None) => Change::AddUnique,
                    (_, Some(_)) => Change::ReplaceUnique,
                };
                if !evidence.allows(change) {
                    if !is_same {
                        refused.push((place, UNIQUE_NOT_PROVED));
                    }
                    continue;
                }
                if owner.is_none() {
                    self.known.keys.insert(key.clone(), id);
                    self.changes.keys.insert(key, id);
                }
                if is_same {
                    continue;
                }
            } else {
                let change = match had {
                    Some(had) if had == value => continue,
                    Some(_) => Change::Overwrite,
                    None => Change::Fill,
                };
                if !evidence.allows(change) {
                    refused.push((place, FIELD_NOT_PROVED));
                    continue;
                }
            }
            if contact.fields.len() >= MOST_FIELDS && !contact.fields.contains_key(name) {
                refused.push((place, CONTACT_FULL));
                continue;
            }
            contact.fields.insert(name.clone(), value.clone());
            is_changed = true;
        }
        let mut refused_tag = None;
        for tag in &hit.tags {
            let place = contact.tags.iter().position(|had| *had == tag.name);
            match (place, tag.remove) {
                (Some(_), false) | (None, true) => {}
                (Some(place), true) if evidence.allows(Change::RemoveTag) => {
                    contact.tags.remove(place);
                    is_changed = true;
                }
                (None, false) if contact.tags.len() >= MOST_TAGS => {
                    refused_tag = Some(CONTACT_FULL);
                }
                (None, false) if evidence.allows(Change::AddTag) => {
                    contact.tags.push(tag.name.clone());
                    is_changed = true;
                }
                _ => refused_tag = Some(TAG_NOT_PROVED),
            }
        }
        if is_changed {
            self.changes.contacts.insert(id);
        }
        if !refused.is_empty() || refused_tag.is_some() {
            let hit = hit.to_mut();
            let fields = std::mem::take(&mut hit.fields);
            for (place, why) in refused {
                let (name, value) = &fields[place];
                hit.note(why);
                hit.keep(name, value);
            }
            hit.fields = fields;
            // The tags stand in the hit's own column.
            if let Some(why) = refused_tag {
                hit.note(why);
            }
        }
    }

    /// `from` goes into `into`: empty fields are filled, tags joined, everything that pointed at it
    /// points on.
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
            .chain(self.known.visitors.values_mut().map(|b| &mut b.contact))
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
            .chain(changes.visitors.values_mut().map(|b| &mut b.contact))
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

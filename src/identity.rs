//! Identity: which contact a hit belongs to, and what the hit changes about contacts.
//!
//! A pure function over what is [`Known`]: the projection loads it, calls [`Resolver::resolve`] hit by hit in order of arrival, and writes the
//! [`Changes`]. Evidence, strongest first: a contact named by an authenticated sender; the signed message in the link; a unique field
//! in the hit, where the configuration lets the public name it; the signed session of an earlier click; what is known of the visitor.
//!
//! Promises: an anonymous visitor makes no contact; a person's fields are never overwritten by another's (a browser known as A that names B's
//! value becomes B from that hit on); only an authenticated call merges two contacts.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::hit::{Authority, BroadlogId, ContactId, DeliveryId, Hit, Provenance, VisitorId};

/// Field and normalised value of a unique field.
pub type Key = (String, String);

/// The form in which a unique value is compared: trimmed, lower case.
pub fn normalise(value: &str) -> String {
    value.trim().to_lowercase()
}

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
    /// Visitors whose person is known.
    pub visitors: HashMap<VisitorId, ContactId>,
    /// Unique values and their owners.
    pub keys: HashMap<Key, ContactId>,
    /// Contacts named by id, former ids included, and the survivor of each.
    pub ids: HashMap<ContactId, ContactId>,
    /// Data of the contacts that hits may change.
    pub contacts: HashMap<ContactId, Contact>,
}

/// What must be looked up before hits can be resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Messages.
    pub broadlogs: BTreeSet<BroadlogId>,
    /// Visitors.
    pub visitors: BTreeSet<VisitorId>,
    /// Unique values.
    pub keys: BTreeSet<Key>,
    /// Contacts named by id.
    pub ids: BTreeSet<ContactId>,
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

fn unique_keys<'h>(unique: &'h [String], hit: &'h Hit) -> impl Iterator<Item = Key> + 'h {
    unique.iter().filter_map(move |field| {
        let (_, value) = hit.fields.iter().find(|(name, _)| name == field)?;
        let value = normalise(value);
        (!value.is_empty()).then(|| (field.clone(), value))
    })
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
    }
    wanted
}

/// The contacts whose data these hits may change.
pub fn wanted_contacts<'h>(
    unique: &[String],
    known: &Known,
    hits: impl Iterator<Item = &'h Hit>,
) -> BTreeSet<ContactId> {
    let mut wanted = BTreeSet::new();
    for hit in hits.filter(|hit| !hit.fields.is_empty() || !hit.tags.is_empty()) {
        wanted.extend(hit.contact_id.and_then(|id| known.ids.get(&id)));
        wanted.extend(
            hit.broadlog_id
                .and_then(|id| known.broadlogs.get(&id))
                .map(|(contact, _)| contact),
        );
        wanted.extend(hit.visitor_id.and_then(|id| known.visitors.get(&id)));
        wanted.extend(unique_keys(unique, hit).filter_map(|key| known.keys.get(&key)));
    }
    wanted
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

    /// Finds the contact of a hit and applies the hit's fields and tags to it. Changes the hit itself (and so copies it) only where
    /// the delivery of a known message is missing or fields have no person to go to.
    pub fn resolve(&mut self, hit: &mut Cow<'_, Hit>) -> Option<ContactId> {
        let message = hit
            .broadlog_id
            .and_then(|id| self.known.broadlogs.get(&id))
            .copied();
        if let (None, Some((_, delivery))) = (hit.delivery_id, message) {
            hit.to_mut().delivery_id = Some(delivery);
        }
        let message = message.map(|(contact, _)| contact);
        let by_link = message.filter(|_| hit.provenance == Provenance::Link);
        let by_session = message.filter(|_| hit.provenance == Provenance::Session);
        let before = hit
            .visitor_id
            .and_then(|id| self.known.visitors.get(&id))
            .copied();
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
            Authority::Public => self.named_by_public(&keys, by_session.or(before)),
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
        if let Some(visitor) = hit
            .visitor_id
            .filter(|_| before != Some(contact) && hit.verdict.counts())
        {
            self.known.visitors.insert(visitor, contact);
            self.changes.visitors.insert(visitor, contact);
            if before.is_none() && !hit.visitor_is_new {
                self.changes.completed.insert(visitor, contact);
            }
        }
        Some(contact)
    }

    fn named_by_authority(&mut self, hit: &mut Cow<'_, Hit>,
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
mod tests {
    use super::*;
    use crate::clock::Micros;
    use crate::hit::{Dialect, HitId, Kind, TagChange, Verdict};

    fn id(n: u128) -> ContactId {
        ContactId(Uuid::from_u128(n))
    }

    fn visitor(n: u128) -> Option<VisitorId> {
        Some(VisitorId(Uuid::from_u128(n)))
    }

    fn hit(fields: &[(&str, &str)]) -> Cow<'static, Hit> {
        Cow::Owned(owned(fields))
    }

    fn owned(fields: &[(&str, &str)]) -> Hit {
        let mut hit = Hit::new(
            HitId(Uuid::nil()),
            Micros(0),
            Kind::Pageview,
            Dialect::Native,
        );
        hit.fields = fields
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        hit
    }

    fn person(n: u128, email: &str, known: &mut Known) {
        known.keys.insert(("email".into(), email.into()), id(n));
        known.ids.insert(id(n), id(n));
        known.contacts.insert(
            id(n),
            Contact {
                fields: BTreeMap::from([("email".into(), email.into())]),
                tags: vec![],
            },
        );
    }

    fn unique() -> Vec<String> {
        vec!["email".into(), "customer_id".into()]
    }

    fn resolver(known: Known, unique: &[String]) -> Resolver<'_, impl FnMut() -> Uuid> {
        let mut next = 1_000;
        Resolver::new(unique, known, move || {
            next += 1;
            Uuid::from_u128(next)
        })
    }

    #[test]
    fn a_browser_known_as_a_that_names_b_becomes_b_and_a_stays_as_it_was() {
        let (mut known, unique) = (Known::default(), unique());
        person(1, "a@x", &mut known);
        person(2, "b@x", &mut known);
        known.visitors.insert(VisitorId(Uuid::from_u128(9)), id(1));
        let mut resolver = resolver(known, &unique);
        let mut named = hit(&[("email", " B@x "), ("firstname", "Bea")]);
        named.to_mut().visitor_id = visitor(9);
        assert_eq!(resolver.resolve(&mut named), Some(id(2)));
        let mut later = hit(&[]);
        later.to_mut().visitor_id = visitor(9);
        assert_eq!(resolver.resolve(&mut later), Some(id(2)));
        let (changes, contacts) = resolver.finish();
        assert_eq!(
            contacts[&id(1)].fields,
            BTreeMap::from([("email".into(), "a@x".into())])
        );
        assert_eq!(contacts[&id(2)].fields["firstname"], "Bea");
        assert_eq!(changes.visitors.len(), 1);
        assert!(changes.completed.is_empty() && changes.keys.is_empty());
    }

    #[test]
    fn a_value_nobody_has_goes_to_a_only_where_the_field_is_empty() {
        let (mut known, unique) = (Known::default(), unique());
        person(1, "a@x", &mut known);
        known.visitors.insert(VisitorId(Uuid::from_u128(9)), id(1));
        let mut resolver = resolver(known, &unique);
        let mut added = hit(&[("customer_id", "7")]);
        added.to_mut().visitor_id = visitor(9);
        assert_eq!(resolver.resolve(&mut added), Some(id(1)));
        let mut other = hit(&[("email", "new@x")]);
        other.to_mut().visitor_id = visitor(9);
        assert_eq!(resolver.resolve(&mut other), Some(id(1_001)));
    }

    #[test]
    fn an_anonymous_visitor_makes_no_contact_and_is_completed_when_named() {
        let unique = unique();
        let mut resolver = resolver(Known::default(), &unique);
        let mut anonymous = hit(&[("firstname", "X")]);
        anonymous.to_mut().visitor_id = visitor(9);
        assert_eq!(resolver.resolve(&mut anonymous), None);
        assert_eq!(anonymous.extra.as_ref().unwrap()["firstname"], "X");
        let mut named = hit(&[("email", "n@x")]);
        named.to_mut().visitor_id = visitor(9);
        named.to_mut().tags = vec![TagChange {
            name: "t".into(),
            remove: false,
        }];
        let contact = resolver.resolve(&mut named).unwrap();
        let (changes, contacts) = resolver.finish();
        assert_eq!(changes.completed[&VisitorId(Uuid::from_u128(9))], contact);
        assert_eq!(contacts.len(), 1);
        assert_eq!(contacts[&contact].tags, ["t"]);
    }

    #[test]
    fn the_signed_link_wins_over_a_named_field_and_that_over_the_session() {
        let (mut known, unique) = (Known::default(), unique());
        person(1, "a@x", &mut known);
        person(2, "b@x", &mut known);
        known
            .broadlogs
            .insert(BroadlogId(5), (id(1), DeliveryId(3)));
        let mut resolver = resolver(known, &unique);
        for (provenance, expected) in [
            (Provenance::Link, 1),
            (Provenance::Session, 2),
            (Provenance::Claimed, 2),
        ] {
            let mut named = hit(&[("email", "b@x")]);
            named.to_mut().broadlog_id = Some(BroadlogId(5));
            named.to_mut().provenance = provenance;
            assert_eq!(
                resolver.resolve(&mut named),
                Some(id(expected)),
                "{provenance:?}"
            );
            assert_eq!(named.delivery_id, Some(DeliveryId(3)));
        }
        let mut claimed = hit(&[]);
        claimed.to_mut().broadlog_id = Some(BroadlogId(5));
        claimed.to_mut().provenance = Provenance::Claimed;
        assert_eq!(resolver.resolve(&mut claimed), None);
    }

    #[test]
    fn only_an_authenticated_call_merges() {
        let (mut known, unique) = (Known::default(), unique());
        person(1, "a@x", &mut known);
        person(2, "b@x", &mut known);
        known.keys.insert(("customer_id".into(), "7".into()), id(2));
        known.visitors.insert(VisitorId(Uuid::from_u128(9)), id(2));
        let mut resolver = resolver(known, &unique);
        let mut public = hit(&[("email", "a@x"), ("customer_id", "7")]);
        assert_eq!(resolver.resolve(&mut public), Some(id(1)));
        let mut authenticated = hit(&[("email", "a@x"), ("customer_id", "7")]);
        authenticated.to_mut().authority = Authority::Authenticated;
        assert_eq!(resolver.resolve(&mut authenticated), Some(id(1)));
        let mut later = hit(&[]);
        later.to_mut().visitor_id = visitor(9);
        assert_eq!(resolver.resolve(&mut later), Some(id(1)));
        assert_eq!(resolver.finish().0.merges, [(id(2), id(1))]);
    }

    #[test]
    fn a_bot_binds_no_visitor() {
        let (mut known, unique) = (Known::default(), unique());
        person(1, "a@x", &mut known);
        known
            .broadlogs
            .insert(BroadlogId(5), (id(1), DeliveryId(3)));
        let mut resolver = resolver(known, &unique);
        let mut click = hit(&[]);
        click.to_mut().broadlog_id = Some(BroadlogId(5));
        click.to_mut().provenance = Provenance::Link;
        click.to_mut().visitor_id = visitor(9);
        click.to_mut().verdict = Verdict::Bot;
        assert_eq!(resolver.resolve(&mut click), Some(id(1)));
        assert!(resolver.finish().0.visitors.is_empty());
    }
}

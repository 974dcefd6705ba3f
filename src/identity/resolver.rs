//! The resolver decides whose a piece of evidence is, and what it changes about people.

mod named;
mod write;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use self::named::{Named, Names, keys_in_order};
use super::draft::Draft;
use super::evidence::{Browser, Evidence, Field, Finding, Leftover, NamedMessage};
use super::known::{Binding, Changes, Contact, Known, UniqueKey};
use super::rights::{Change, May, Standing};
use crate::model::hit::{Authority, BroadlogId, ContactId, DeliveryId, Provenance, VisitorId};

/// Resolves evidence in order. What it learns holds for everything resolved after it.
pub(crate) struct Resolver<'u, N> {
    unique: &'u [String],
    known: Known,
    changes: Changes,
    /// Contacts that are new or have different data.
    touched: BTreeSet<ContactId>,
    /// What browsers sent before their person was known, in order.
    said: HashMap<VisitorId, Vec<Draft>>,
    new_id: N,
}

impl<'u, N: FnMut() -> Uuid> Resolver<'u, N> {
    /// Starts with what is known. `new_id` makes ids of contacts.
    pub(crate) fn new(unique: &'u [String], known: Known, new_id: N) -> Self {
        Self {
            unique,
            known,
            changes: Changes::default(),
            touched: BTreeSet::new(),
            said: HashMap::new(),
            new_id,
        }
    }

    /// What is to be changed as far as it is decided, contacts' data apart.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What is to be changed.
    pub(crate) fn finish(mut self) -> Changes {
        for id in self.touched {
            if let Some(contact) = self.known.contacts.remove(&id) {
                self.changes.contacts.insert(id, contact);
            }
        }
        self.changes
    }

    /// The recipient and the delivery of a message.
    pub(crate) fn message(&self, id: BroadlogId) -> Option<(ContactId, DeliveryId)> {
        self.known.broadlogs.get(&id).copied()
    }

    /// Makes a new message known to everything resolved after it.
    pub(crate) fn note_message(
        &mut self,
        id: BroadlogId,
        contact: ContactId,
        delivery: DeliveryId,
    ) {
        self.known.broadlogs.insert(id, (contact, delivery));
    }

    /// The contacts that have the unique values of some evidence, each once.
    pub(crate) fn owners(&self, evidence: &Evidence<'_>) -> Vec<ContactId> {
        let mut owners: Vec<ContactId> = evidence
            .keys(self.unique)
            .filter_map(|key| self.known.keys.get(&key).copied())
            .collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// A contact's current data.
    pub(crate) fn contact(&self, id: ContactId) -> Option<&Contact> {
        self.known.contacts.get(&id)
    }

    /// Whether evidence identifies this contact, by its id or by a unique value.
    pub(crate) fn names(&self, evidence: &Evidence<'_>, contact: ContactId) -> bool {
        let by_id = evidence.contact_id.and_then(|id| self.known.ids.get(&id));
        by_id == Some(&contact)
            || evidence
                .keys(self.unique)
                .any(|key| self.known.keys.get(&key) == Some(&contact))
    }

    /// Finds the contact that evidence is about, and records the changes it makes, as far as it has
    /// the right to.
    pub(crate) fn resolve<'e>(&mut self, evidence: &Evidence<'e>) -> Finding<'e> {
        let mut finding = Finding::default();
        let left = &mut finding.leftovers;
        let fields = Evidence::read_fields(evidence.fields, self.unique, left);
        let page_fields = Evidence::read_fields(evidence.page_fields, self.unique, left);
        let recipient = self.recipient(evidence, left);
        let before = evidence
            .browser
            .and_then(|browser| self.binding(browser.visitor_id));
        if let Some(name) = evidence.message_key {
            finding.message = self.find_message(evidence, name, before, left);
        }
        let (broadlog_id, provenance) = match finding.message {
            Some(message) => (Some(message.id), message.provenance),
            None => (evidence.broadlog_id, evidence.provenance),
        };
        let message = broadlog_id.and_then(|id| self.message(id));
        finding.delivery = message.map(|(_, delivery)| delivery);
        let names = Names {
            by_message: message.and_then(|(contact, _)| {
                let standing = match provenance {
                    Provenance::Link => Standing::Link,
                    Provenance::Session => Standing::Session,
                    Provenance::Unsigned => Standing::Unsigned,
                    Provenance::None | Provenance::Claimed => return None,
                };
                Some(Named { contact, standing })
            }),
            by_browser: before.map(|binding| Named {
                contact: binding.contact,
                standing: match binding.is_proved {
                    true => Standing::Visitor,
                    false => Standing::ClaimedVisitor,
                },
            }),
            recipient,
        };
        let keys: Vec<&UniqueKey> = match fields.is_empty() {
            true => Vec::new(),
            false => keys_in_order(self.unique, &fields),
        };
        let named = match evidence.authority {
            Authority::Authenticated => self.named_by_sender(evidence, &keys, &names, left),
            Authority::Public => self.named_by_public(evidence, &keys, &names, left),
        };
        let named_by_page = match named {
            Some(_) => None,
            None => self.named_by_page(evidence, &page_fields),
        };
        let Some(named) = named.or(named_by_page) else {
            // No person to give them to, yet.
            let fields = fields.into_iter().chain(page_fields).collect::<Vec<_>>();
            self.keep_draft(evidence, &fields);
            left.extend(fields.into_iter().map(Field::left_over));
            return finding;
        };
        self.write(named, evidence.tags, fields, left);
        let by_page = named_by_page.unwrap_or(Named {
            standing: Standing::PageField,
            ..named
        });
        self.write(by_page, &[], page_fields, left);
        if let Some(browser) = evidence.browser {
            self.bind(named, before, browser);
        }
        finding.contact = Some(named.contact);
        finding.is_proved = named.standing.allows(Change::Overwrite);
        finding
    }

    /// Visitors that were identified for the first time, and their persons.
    pub(crate) fn completed(&self) -> &BTreeMap<VisitorId, ContactId> {
        &self.changes.completed
    }

    /// Takes over what others have found out meanwhile: persons of visitors that were nobody's.
    /// What those said here is said of the person.
    pub(crate) fn take_over(&mut self, named: BTreeMap<VisitorId, Binding>) {
        for (visitor, binding) in named {
            self.known.visitors.insert(visitor, binding);
            self.changes.completed.insert(visitor, binding.contact);
        }
    }

    /// Adds contacts whose data may change after all.
    pub(crate) fn add_contacts(&mut self, contacts: HashMap<ContactId, Contact>) {
        for (id, contact) in contacts {
            self.known.contacts.entry(id).or_insert(contact);
        }
    }

    /// Writes what visitors sent before they were first identified: `earlier` comes from stored
    /// hits.
    pub(crate) fn write_drafts(&mut self, mut earlier: HashMap<VisitorId, Vec<Draft>>) {
        let completed = std::mem::take(&mut self.changes.completed);
        for (&visitor, &contact) in &completed {
            let earlier = earlier.remove(&visitor).unwrap_or_default();
            let since = self.said.remove(&visitor).unwrap_or_default();
            for draft in earlier.into_iter().chain(since) {
                self.write_draft(visitor, contact, draft);
            }
        }
        self.changes.completed = completed;
    }

    fn write_draft(&mut self, visitor: VisitorId, contact: ContactId, draft: Draft) {
        let Some(data) = self.known.contacts.get(&contact) else {
            return;
        };
        let standing = match self.binding(visitor) {
            Some(binding) if binding.is_proved => Standing::Visitor,
            _ if data.made_by == Some(visitor) => Standing::Maker,
            _ => Standing::ClaimedVisitor,
        };
        let draft = draft.for_contact(data);
        let named = Named { contact, standing };
        let fields = draft.fields.iter().map(|(name, value)| Field {
            name,
            value: Cow::Borrowed(value),
            key: None,
        });
        // What is refused stands with the hits that said it.
        let mut left = Vec::new();
        self.write(named, &draft.tags, fields.collect(), &mut left);
    }

    /// Keeps what a browser sends until its person is known.
    fn keep_draft(&mut self, evidence: &Evidence<'_>, fields: &[Field<'_>]) {
        let Some(browser) = evidence.browser.filter(|browser| browser.counts) else {
            return;
        };
        let plain = fields.iter().filter(|field| field.key.is_none());
        let draft = Draft {
            fields: plain
                .map(|field| (field.name.to_owned(), field.value.to_string()))
                .collect(),
            tags: evidence.tags.to_vec(),
        };
        if !draft.is_empty() {
            self.said.entry(browser.visitor_id).or_default().push(draft);
        }
    }

    /// Whose a visitor is. An id derived from a vendor's proves nothing, whatever the database or
    /// an old cookie says.
    fn binding(&self, visitor: VisitorId) -> Option<Binding> {
        let binding = *self.known.visitors.get(&visitor)?;
        Some(Binding {
            is_proved: binding.is_proved && !visitor.is_derived(),
            ..binding
        })
    }

    /// Binds a browser to its person, as far as the rights allow.
    fn bind(&mut self, named: Named, before: Option<Binding>, browser: Browser) {
        if !browser.counts {
            return;
        }
        let Named { contact, standing } = named;
        let may = match before {
            None => standing.may(Change::Bind),
            Some(before) if before.contact != contact => standing.may(Change::TakeOver),
            // A claim that is proved now.
            Some(before) if !before.is_proved && browser.can_be_proved => {
                match standing.may(Change::Bind) {
                    May::Yes => May::Yes,
                    May::AsClaim | May::No => return,
                }
            }
            Some(_) => return,
        };
        if may == May::No {
            return;
        }
        let visitor = browser.visitor_id;
        let binding = Binding {
            contact,
            is_proved: may == May::Yes && browser.can_be_proved,
        };
        self.known.visitors.insert(visitor, binding);
        self.changes.visitors.insert(visitor, binding);
        if before.is_none() && !browser.is_new && standing.allows(Change::Complete) {
            self.changes.completed.insert(visitor, contact);
        }
    }

    /// The message that a vendor's name stands for.
    fn find_message(
        &self,
        evidence: &Evidence<'_>,
        name: &str,
        before: Option<Binding>,
        left: &mut Vec<Leftover<'_>>,
    ) -> Option<NamedMessage> {
        let Some(&id) = self.known.message_keys.get(name) else {
            left.push(Leftover::note("message unknown"));
            return None;
        };
        let receiver = self.message(id).map(|(receiver, _)| receiver);
        if evidence.is_from_page && before.is_some_and(|before| Some(before.contact) != receiver) {
            left.push(Leftover::note("message of somebody else"));
            return None;
        }
        let provenance = match evidence.provenance {
            signed @ (Provenance::Link | Provenance::Session) => signed,
            _ => Provenance::Unsigned,
        };
        Some(NamedMessage { id, provenance })
    }
}

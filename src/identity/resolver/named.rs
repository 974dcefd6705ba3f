//! Who a piece of evidence is about: all that may name a person, and which of it decides.

use std::borrow::Cow;

use uuid::Uuid;

use super::{Evidence, Field, Leftover, Resolver};
use crate::identity::known::{Contact, UniqueKey};
use crate::identity::rights::{Change, Standing};
use crate::identity::unique::read_key;
use crate::model::hit::{ContactId, VisitorId};

/// Maker of a contact whose first hit had no visitor: matches nobody.
const NO_VISITOR: VisitorId = VisitorId(Uuid::nil());

/// Who a piece of evidence may be about, and how well that is proved.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) contact: ContactId,
    pub(super) standing: Standing,
}

/// Everyone that a piece of evidence identifies, other than by its fields and ids.
pub(super) struct Names {
    pub(super) by_message: Option<Named>,
    pub(super) by_browser: Option<Named>,
    /// The recipient that a page tag names; the inner `None` means that no contact has the value.
    pub(super) recipient: Option<Option<ContactId>>,
}

impl Names {
    fn of_message_or_browser(&self) -> impl Iterator<Item = Named> + Clone + use<> {
        [self.by_message, self.by_browser].into_iter().flatten()
    }
}

impl<N: FnMut() -> Uuid> Resolver<'_, N> {
    /// The recipient that a page tag names; the outer `None` if it names none.
    pub(super) fn recipient<'e>(
        &self,
        evidence: &Evidence<'e>,
        left: &mut Vec<Leftover<'e>>,
    ) -> Option<Option<ContactId>> {
        let (field, value) = evidence.recipient?;
        if !self.unique.iter().any(|unique| unique == field) {
            return Some(None);
        }
        match read_key(field, value) {
            Ok(key) => Some(self.known.keys.get(&key).copied()),
            Err(why) => {
                left.push(Leftover {
                    note: Some(Cow::Owned(format!("recipient's {field} {}", why.note()))),
                    field: Some((field, Cow::Borrowed(value))),
                });
                None
            }
        }
    }

    /// The person that an authenticated sender identifies, and by what.
    pub(super) fn named_by_sender(
        &mut self,
        evidence: &Evidence<'_>,
        keys: &[&UniqueKey],
        names: &Names,
        left: &mut Vec<Leftover<'_>>,
    ) -> Option<Named> {
        let by_id = evidence
            .contact_id
            .and_then(|id| self.known.ids.get(&id).copied());
        if evidence.contact_id.is_some() && by_id.is_none() {
            left.push(Leftover::note("contact id unknown"));
        }
        let of_keys = keys.iter().filter_map(|key| self.known.keys.get(*key));
        let mut found: Vec<ContactId> = Vec::new();
        for id in by_id.into_iter().chain(of_keys.copied()) {
            if !found.contains(&id) {
                found.push(id);
            }
        }
        if let Some((&first, others)) = found.split_first() {
            let standing = match by_id {
                Some(_) => Standing::SenderById,
                None => Standing::SenderByField,
            };
            if standing.allows(Change::Merge) {
                for &other in others {
                    self.merge(other, first);
                }
            }
            return Some(self.vouched(first, standing));
        }
        let by_message = names.by_message.map(|named| Named {
            standing: Standing::SenderByMessage,
            ..named
        });
        let by_browser = names.by_browser.map(|Named { contact, standing }| {
            let standing = match standing {
                Standing::Visitor => Standing::SenderByVisitor,
                _ => Standing::SenderByClaimedVisitor,
            };
            Named {
                contact,
                standing: standing.min(self.as_maker(contact, evidence)),
            }
        });
        if keys.is_empty() {
            return by_message.or(by_browser);
        }
        let with_room = [by_message, by_browser]
            .into_iter()
            .flatten()
            .find(|named| {
                named.standing.allows(Change::AddUnique) && self.has_room(named.contact, keys)
            });
        if let Some(Named { contact, standing }) = with_room {
            return Some(self.vouched(contact, standing));
        }
        Some(Named {
            contact: self.make(None),
            standing: Standing::SenderByField,
        })
    }

    /// The person of a public hit, with the strongest standing of anything in it that identifies
    /// the same person.
    pub(super) fn named_by_public(
        &mut self,
        evidence: &Evidence<'_>,
        keys: &[&UniqueKey],
        names: &Names,
        left: &mut Vec<Leftover<'_>>,
    ) -> Option<Named> {
        let by_field = match evidence.is_form {
            true => Standing::FormField,
            false => Standing::PublicField,
        };
        let by_link = names
            .by_message
            .filter(|named| named.standing == Standing::Link);
        if names.recipient == Some(None)
            && let Some((field, value)) = evidence.recipient
        {
            let note = by_link.is_none().then_some("recipient unknown");
            left.push(Leftover {
                note: note.map(Cow::Borrowed),
                field: Some(("rcpid", Cow::Owned(format!("{field}={value}")))),
            });
        }
        let named = by_link
            .or_else(|| {
                let contact = names.recipient.flatten()?;
                let standing = Standing::Recipient;
                Some(Named { contact, standing })
            })
            .or_else(|| {
                let owner = keys.iter().find_map(|key| self.known.keys.get(*key))?;
                Some(Named {
                    contact: *owner,
                    standing: by_field,
                })
            })
            .or_else(|| {
                let named = names.by_message.or(names.by_browser);
                named.filter(|_| keys.is_empty())
            });
        // All that names the person says what may be written: a name that is given openly takes
        // nothing from a session that proves it.
        let strongest = |contact: ContactId| {
            names
                .of_message_or_browser()
                .filter_map(|other| (other.contact == contact).then_some(other.standing))
                .chain([self.as_maker(contact, evidence)])
                .min()
                .unwrap_or(Standing::Nobody)
        };
        if let Some(Named { contact, standing }) = named {
            let standing = standing.min(strongest(contact));
            return Some(Named { contact, standing });
        }
        if keys.is_empty() {
            return None;
        }
        let so_far = names
            .of_message_or_browser()
            .map(|Named { contact, .. }| Named {
                contact,
                standing: strongest(contact),
            })
            .find(|named| {
                named.standing.allows(Change::AddUnique) && self.has_room(named.contact, keys)
            });
        if so_far.is_some() || !by_field.allows(Change::Make) {
            return so_far;
        }
        let maker = evidence.browser.map(|browser| browser.visitor_id);
        Some(Named {
            contact: self.make(Some(maker.unwrap_or(NO_VISITOR))),
            standing: Standing::Maker,
        })
    }

    /// The person that the URL of the viewed page identifies, if nothing else identifies anyone.
    pub(super) fn named_by_page(
        &mut self,
        evidence: &Evidence<'_>,
        fields: &[Field<'_>],
    ) -> Option<Named> {
        let keys = keys_in_order(self.unique, fields);
        let standing = Standing::PageField;
        if let Some(owner) = keys.iter().find_map(|key| self.known.keys.get(*key)) {
            let contact = *owner;
            return Some(Named { contact, standing });
        }
        if keys.is_empty() || !standing.allows(Change::Make) {
            return None;
        }
        let maker = evidence.browser.map(|browser| browser.visitor_id);
        Some(Named {
            contact: self.make(Some(maker.unwrap_or(NO_VISITOR))),
            standing: Standing::Maker,
        })
    }

    /// [`Standing::Maker`] if the visitor created the contact and nothing has proved it since.
    fn as_maker(&self, contact: ContactId, evidence: &Evidence<'_>) -> Standing {
        let maker = self.contact(contact).and_then(|contact| contact.made_by);
        let visitor = evidence.browser.map(|browser| browser.visitor_id);
        match maker {
            Some(maker) if maker != NO_VISITOR && visitor == Some(maker) => Standing::Maker,
            _ => Standing::Nobody,
        }
    }

    /// Whether a contact has a value in none of the fields that these keys are of.
    fn has_room(&self, contact: ContactId, keys: &[&UniqueKey]) -> bool {
        self.contact(contact).is_some_and(|contact| {
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
        self.touched.insert(id);
        id
    }

    /// An authenticated sender knows the person: from now on it is more than what its first visitor
    /// claimed.
    fn vouched(&mut self, contact: ContactId, standing: Standing) -> Named {
        if let Some(data) = self.known.contacts.get_mut(&contact)
            && data.made_by.take().is_some()
        {
            self.touched.insert(contact);
        }
        Named { contact, standing }
    }
}

/// The unique values of fields, in the order in which unique fields are configured.
pub(super) fn keys_in_order<'f>(unique: &[String], fields: &'f [Field<'_>]) -> Vec<&'f UniqueKey> {
    unique
        .iter()
        .filter_map(|name| fields.iter().find(|field| field.name == name)?.key.as_ref())
        .collect()
}

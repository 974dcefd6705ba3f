//! Evidence: what a hit, a recipient or a row of an import says about a person. It borrows from its
//! source, so a hit becomes evidence without a copy.

use std::borrow::Cow;

use super::known::{Known, UniqueKey};
use super::unique::{read_key, tidied};
use crate::model::hit::{
    Authority, BroadlogId, ContactId, DeliveryId, Hit, Kind, Provenance, TagChange, VisitorId,
};

/// What a request or record says about a person: what identifies them, how well that is proved, and
/// what should change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'e> {
    /// Who says it.
    pub authority: Authority,
    /// The contact's id. Only an authenticated sender can give one.
    pub contact_id: Option<ContactId>,
    /// Fields to set; the unique ones among them also name the contact.
    pub fields: &'e [(String, String)],
    /// Fields in the URL of the viewed page: anyone may have made that URL.
    pub page_fields: &'e [(String, String)],
    /// A person typed the fields into a form.
    pub is_form: bool,
    /// Tags to add and to take away.
    pub tags: &'e [TagChange],
    /// The message it came through.
    pub broadlog_id: Option<BroadlogId>,
    /// What the message proves.
    pub provenance: Provenance,
    /// The message by its vendor's name, if it has no number.
    pub message_key: Option<&'e str>,
    /// `message_key` came from a page URL, which may have been passed on.
    pub is_from_page: bool,
    /// A unique field and its value that identify an existing contact, and set nothing.
    pub recipient: Option<(&'e str, &'e str)>,
    /// The browser that it came from.
    pub browser: Option<Browser>,
}

/// A browser or an installation of an app, as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Browser {
    /// Its id.
    pub visitor_id: VisitorId,
    /// The id was made for this very hit: it has no history.
    pub is_new: bool,
    /// A proof for this hit may become one for the visitor: nobody else can have the id.
    pub can_be_proved: bool,
    /// The hit counts, so it may decide whose the visitor is.
    pub counts: bool,
}

impl<'e> Evidence<'e> {
    /// What an authenticated sender says about a contact.
    pub(crate) fn of_sender(
        contact_id: Option<ContactId>,
        fields: &'e [(String, String)],
        tags: &'e [TagChange],
    ) -> Self {
        Self {
            authority: Authority::Authenticated,
            contact_id,
            fields,
            page_fields: &[],
            is_form: false,
            tags,
            broadlog_id: None,
            provenance: Provenance::None,
            message_key: None,
            is_from_page: false,
            recipient: None,
            browser: None,
        }
    }

    /// The same, by one unique field alone, if its value belongs to a known contact.
    pub(crate) fn by_field_alone(self, field: &str, known: &Known) -> Self {
        let mut fields = self.fields.chunks(1);
        let alone = fields.find(|alone| {
            alone.iter().all(|(name, value)| {
                let is_known = |key| known.keys.contains_key(&key);
                name == field && read_key(name, value).is_ok_and(is_known)
            })
        });
        Self {
            fields: alone.unwrap_or(self.fields),
            ..self
        }
    }

    /// The unique values it gives, in the order in which unique fields are configured: the first
    /// identifies the person.
    pub(super) fn keys(self, unique: &[String]) -> impl Iterator<Item = UniqueKey> {
        keys_of(self.fields, unique)
    }

    /// The same in the URL of the viewed page.
    pub(super) fn page_keys(self, unique: &[String]) -> impl Iterator<Item = UniqueKey> {
        keys_of(self.page_fields, unique)
    }

    /// The unique value that identifies its recipient.
    pub(super) fn recipient_key(self, unique: &[String]) -> Option<UniqueKey> {
        let (field, value) = self.recipient?;
        let is_unique = unique.iter().any(|unique| unique == field);
        is_unique.then(|| read_key(field, value).ok()).flatten()
    }

    /// Fields as the resolver takes them; those that identify nobody are left over.
    pub(super) fn read_fields(
        fields: &'e [(String, String)],
        unique: &[String],
        leftovers: &mut Vec<Leftover<'e>>,
    ) -> Vec<Field<'e>> {
        let mut read = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            if !unique.contains(name) {
                read.push(Field {
                    name,
                    value: Cow::Borrowed(value),
                    key: None,
                });
                continue;
            }
            match read_key(name, value) {
                Ok(key) => read.push(Field {
                    name,
                    value: tidied(value),
                    key: Some(key),
                }),
                Err(why) => leftovers.push(Leftover {
                    note: Some(Cow::Owned(format!("{name} {}", why.note()))),
                    field: Some((name, Cow::Borrowed(value))),
                }),
            }
        }
        read
    }
}

impl<'e> From<&'e Hit> for Evidence<'e> {
    fn from(hit: &'e Hit) -> Self {
        let foreign = hit.foreign.as_deref();
        let recipient = foreign.and_then(|foreign| foreign.recipient.as_ref());
        Self {
            authority: hit.authority,
            contact_id: hit.contact_id,
            fields: &hit.fields,
            page_fields: foreign.map_or(&[], |foreign| foreign.page_fields.as_slice()),
            is_form: hit.kind == Kind::Form,
            tags: &hit.tags,
            broadlog_id: hit.broadlog_id,
            provenance: hit.provenance,
            message_key: hit.message_key().filter(|_| hit.broadlog_id.is_none()),
            is_from_page: foreign.is_some_and(|foreign| foreign.is_from_page),
            recipient: recipient.map(|(field, value)| (field.as_str(), value.as_str())),
            browser: hit.visitor_id.map(|visitor_id| Browser {
                visitor_id,
                is_new: hit.visitor_is_new,
                can_be_proved: hit.visitor_can_be_proved(),
                counts: hit.verdict.counts(),
            }),
        }
    }
}

fn keys_of(fields: &[(String, String)], unique: &[String]) -> impl Iterator<Item = UniqueKey> {
    // Nearly every hit has no fields at all.
    let unique = if fields.is_empty() { &[] } else { unique };
    unique.iter().filter_map(move |field| {
        let mut of_field = fields.iter().filter(move |(name, _)| name == field);
        of_field.find_map(|(_, value)| read_key(field, value).ok())
    })
}

/// A field that may be written.
#[derive(Clone, Debug)]
pub(super) struct Field<'e> {
    /// Its name.
    pub name: &'e str,
    /// Its value, cleaned up.
    pub value: Cow<'e, str>,
    /// The key, if the field is unique.
    pub key: Option<UniqueKey>,
}

impl<'e> Field<'e> {
    /// Leaves the field with the hit or record that sent it.
    pub(super) fn left_over(self) -> Leftover<'e> {
        Leftover {
            note: None,
            field: Some((self.name, self.value)),
        }
    }
}

/// What the resolver finds out about evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finding<'e> {
    /// The person; `None` if nobody is identified.
    pub contact: Option<ContactId>,
    /// The evidence may change what is known of the person: it is more than a name that anyone can
    /// give.
    pub is_proved: bool,
    /// The message that its vendor's name stands for.
    pub message: Option<NamedMessage>,
    /// The delivery of the message, if the message is known.
    pub delivery: Option<DeliveryId>,
    /// What was not accepted, in order.
    pub leftovers: Vec<Leftover<'e>>,
}

/// A message that was found by its vendor's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedMessage {
    /// Its number.
    pub id: BroadlogId,
    /// What it proves.
    pub provenance: Provenance,
}

/// Something that was sent but not accepted: it stays with the hit or record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leftover<'e> {
    /// Why, in the words of a hit's `reason`.
    pub note: Option<Cow<'static, str>>,
    /// The field and its value, where it is one.
    pub field: Option<(&'e str, Cow<'e, str>)>,
}

impl Leftover<'_> {
    pub(super) fn note(note: &'static str) -> Self {
        Self {
            note: Some(Cow::Borrowed(note)),
            field: None,
        }
    }
}

//! What a browser said of its person before anybody knew whose it is: fields and tags that wait for
//! the person.
//!
//! They are no record of their own. The hits that said them have them (fields among `extra`, tags
//! in their column), so they live as long as those do, and go when those go. When a visitor gets
//! its first person, they are read from its anonymous hits and written by the table of who may
//! write ([`super::rights`]), as if the visitor said them now. They fill what is empty and never
//! change what the person has: somebody else may have had the browser then.

use crate::identity::known::Contact;
use crate::model::hit::TagChange;

/// Fields and tags of one hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Fields, none of them unique.
    pub fields: Vec<(String, String)>,
    /// Tags to add and to remove.
    pub tags: Vec<TagChange>,
}

impl Draft {
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.tags.is_empty()
    }

    /// Drops the fields that the contact already has.
    pub(super) fn for_contact(mut self, contact: &Contact) -> Self {
        let has = |name: &str| {
            let had = contact.fields.get(name);
            had.is_some_and(|value| !value.is_empty())
        };
        self.fields.retain(|(name, _)| !has(name));
        self
    }
}

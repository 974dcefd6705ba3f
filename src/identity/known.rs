//! What the database has about people, and the changes to it.

use std::collections::{BTreeMap, HashMap};

use crate::model::hit::{BroadlogId, ContactId, DeliveryId, VisitorId};

/// A unique field and its value, in the form in which values are compared.
pub(crate) type UniqueKey = (String, String);

/// A contact's own data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contact {
    /// Fields by name.
    pub fields: BTreeMap<String, String>,
    /// Tags, each once.
    pub tags: Vec<String>,
    /// The visitor whose public hit created the contact, until something signed or authenticated
    /// identifies it; the nil UUID if there was none.
    pub made_by: Option<VisitorId>,
}

/// Whose a visitor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The person.
    pub contact: ContactId,
    /// Something signed or authenticated said so. A claim never becomes a proof by being
    /// remembered.
    pub is_proved: bool,
}

/// What the database knows about everyone that some evidence identifies. Surviving contacts only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Messages and their receivers.
    pub broadlogs: HashMap<BroadlogId, (ContactId, DeliveryId)>,
    /// Messages by their vendors' names.
    pub message_keys: HashMap<String, BroadlogId>,
    /// Visitors whose person is known.
    pub visitors: HashMap<VisitorId, Binding>,
    /// Unique values and their owners.
    pub keys: HashMap<UniqueKey, ContactId>,
    /// Contacts named by id, former ids included, and the survivor of each.
    pub ids: HashMap<ContactId, ContactId>,
    /// Data of the contacts that may change.
    pub contacts: HashMap<ContactId, Contact>,
}

/// What resolving changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Contacts that are new or have different data.
    pub contacts: BTreeMap<ContactId, Contact>,
    /// Unique values that got an owner.
    pub keys: BTreeMap<UniqueKey, ContactId>,
    /// Visitors that got a person or another one.
    pub visitors: BTreeMap<VisitorId, Binding>,
    /// Visitors whose earlier anonymous hits now have a person.
    pub completed: BTreeMap<VisitorId, ContactId>,
    /// Contacts that were merged into another one, in order.
    pub merges: Vec<(ContactId, ContactId)>,
}

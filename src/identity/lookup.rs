//! What must be looked up before evidence can be resolved: every value by which it identifies
//! somebody.

use std::collections::{BTreeSet, HashSet};

use super::evidence::Evidence;
use super::known::{Known, UniqueKey};
use crate::model::hit::{BroadlogId, ContactId, VisitorId};

/// What to look up. Everything occurs once, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lookup<'e> {
    /// Messages.
    pub broadlogs: Vec<BroadlogId>,
    /// Messages by their vendors' names.
    pub message_keys: BTreeSet<&'e str>,
    /// Visitors.
    pub visitors: Vec<VisitorId>,
    /// Unique values.
    pub keys: BTreeSet<UniqueKey>,
    /// Contacts named by id.
    pub ids: BTreeSet<ContactId>,
}

impl<'e> Lookup<'e> {
    /// What must be known to resolve this evidence.
    pub(crate) fn of(unique: &[String], evidence: impl Iterator<Item = Evidence<'e>>) -> Self {
        let mut lookup = Self::default();
        for evidence in evidence {
            lookup.broadlogs.extend(evidence.broadlog_id);
            let browser = evidence.browser.filter(|browser| !browser.is_new);
            lookup
                .visitors
                .extend(browser.map(|browser| browser.visitor_id));
            lookup.ids.extend(evidence.contact_id);
            lookup.message_keys.extend(evidence.message_key);
            lookup.keys.extend(evidence.keys(unique));
            lookup.keys.extend(evidence.page_keys(unique));
            lookup.keys.extend(evidence.recipient_key(unique));
        }
        // Nearly every hit has these two, and a list that is sorted once costs less than a tree.
        lookup.visitors.sort_unstable();
        lookup.visitors.dedup();
        lookup.add_messages([]);
        lookup
    }

    /// Messages that are to be looked up too.
    pub(crate) fn add_messages(&mut self, ids: impl IntoIterator<Item = BroadlogId>) {
        self.broadlogs.extend(ids);
        self.broadlogs.sort_unstable();
        self.broadlogs.dedup();
    }
}

/// The contacts whose data this evidence may change.
pub(crate) fn contacts_to_load<'e>(
    unique: &[String],
    known: &Known,
    evidence: impl Iterator<Item = Evidence<'e>> + Clone,
) -> BTreeSet<ContactId> {
    // A contact that is named by its id is vouched for, also where nothing of it changes.
    let changes = |evidence: &Evidence<'_>| {
        !evidence.fields.is_empty()
            || !evidence.page_fields.is_empty()
            || !evidence.tags.is_empty()
            || evidence.contact_id.is_some()
    };
    // Something else of the batch may be what says whose the visitor is.
    let visitors: HashSet<VisitorId> = evidence
        .clone()
        .filter(changes)
        .filter_map(|evidence| Some(evidence.browser?.visitor_id))
        .collect();
    let is_of_these = |evidence: &Evidence<'_>| {
        let of = |visitors: &HashSet<VisitorId>| {
            let browser = evidence.browser;
            browser.is_some_and(|browser| visitors.contains(&browser.visitor_id))
        };
        changes(evidence) || !visitors.is_empty() && of(&visitors)
    };
    let mut ids = BTreeSet::new();
    for evidence in evidence.filter(is_of_these) {
        ids.extend(evidence.contact_id.and_then(|id| known.ids.get(&id)));
        ids.extend(
            evidence
                .broadlog_id
                .or_else(|| known.message_keys.get(evidence.message_key?).copied())
                .and_then(|id| known.broadlogs.get(&id))
                .map(|(contact, _)| contact),
        );
        ids.extend(
            evidence
                .recipient_key(unique)
                .and_then(|key| known.keys.get(&key)),
        );
        ids.extend(
            evidence
                .browser
                .and_then(|browser| known.visitors.get(&browser.visitor_id))
                .map(|binding| binding.contact),
        );
        ids.extend(
            evidence
                .keys(unique)
                .chain(evidence.page_keys(unique))
                .filter_map(|key| known.keys.get(&key).copied()),
        );
    }
    ids
}

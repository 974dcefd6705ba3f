//! Late hits of erased persons: those that waited in a spool while the person was erased, and those
//! that come for years by links in old mails and by browsers that kept their cookie. They are
//! counted as nobody's; nothing of the person is stored again.
//!
//! Who comes again under his own name after the erasure, by a form or in a sender's call, is new.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::identity::{Evidence, Lookup};
use crate::model::hit::Hit;
use crate::store::erasures::{KnownMarks, MarkKind, Marks};
use crate::store::{self, Tx};

/// Hits, those of erased persons without their person.
pub(super) async fn without_erased<'h>(
    tx: &mut Tx,
    marks: &Marks,
    unique: &[String],
    hits: &'h [Box<Hit>],
) -> store::Result<Vec<Cow<'h, Hit>>> {
    let plain = || hits.iter().map(|hit| Cow::Borrowed(hit.as_ref()));
    if hits.is_empty() {
        return Ok(Vec::new());
    }
    let known = marks.of(tx).await?;
    if known.is_empty() {
        return Ok(plain().collect());
    }
    let found = find_messages(tx, &known, unique, hits).await?;
    let all = plain().map(|hit| {
        let lookup = lookup(unique, &hit);
        let is_found = lookup.broadlogs.iter().any(|id| found.ids.contains(&id.0))
            || lookup
                .message_keys
                .iter()
                .any(|key| found.names.contains(*key));
        match is_found || is_marked(&known, &lookup, &hit) {
            true => Cow::Owned(erase(&hit, unique)),
            false => hit,
        }
    });
    let all: Vec<Cow<'h, Hit>> = all.collect();
    let erased = all.iter().filter(|hit| matches!(hit, Cow::Owned(_)));
    metrics::counter!("sillage_hits_erased_total").increment(erased.count() as u64);
    Ok(all)
}

/// A hit without its person.
pub(super) fn erase(hit: &Hit, unique: &[String]) -> Hit {
    // What it says itself is all that is known of the person here.
    let lookup = lookup(unique, hit);
    let values: Vec<String> = lookup.keys.iter().map(|(_, value)| value.clone()).collect();
    drop(lookup);
    let mut hit = hit.clone();
    hit.erase_person(&values);
    hit
}

fn lookup<'h>(unique: &[String], hit: &'h Hit) -> Lookup<'h> {
    Lookup::of(unique, std::iter::once(Evidence::from(hit)))
}

/// Whether a hit names somebody erased.
pub(super) fn is_of_erased(known: &KnownMarks, unique: &[String], hit: &Hit) -> bool {
    is_marked(known, &lookup(unique, hit), hit)
}

fn is_marked(known: &KnownMarks, lookup: &Lookup<'_>, hit: &Hit) -> bool {
    let at = hit.received_at;
    let names = |kind, name: &[u8]| known.names(kind, name, at);
    let mut visitors = lookup.visitors.iter();
    let mut broadlogs = lookup.broadlogs.iter();
    let mut contacts = lookup.ids.iter();
    let mut message_keys = lookup.message_keys.iter();
    let mut values = lookup.keys.iter();
    visitors.any(|id| names(MarkKind::Visitor, id.0.as_bytes()))
        || broadlogs.any(|id| names(MarkKind::Message, &id.0.to_be_bytes()))
        || contacts.any(|id| names(MarkKind::Contact, id.0.as_bytes()))
        || message_keys.any(|key| names(MarkKind::MessageKey, key.as_bytes()))
        || values.any(|(field, value)| known.names_value(field, value, at))
}

/// Messages that are yet to be found by an erasure, but whose contact is gone.
#[derive(Default)]
struct FoundMessages {
    ids: HashSet<i64>,
    names: HashSet<String>,
}

async fn find_messages(
    tx: &mut Tx,
    known: &KnownMarks,
    unique: &[String],
    hits: &[Box<Hit>],
) -> store::Result<FoundMessages> {
    if !known.is_open {
        return Ok(FoundMessages::default());
    }
    let lookup = Lookup::of(unique, hits.iter().map(|hit| Evidence::from(hit.as_ref())));
    let names = lookup.message_keys.iter().map(|key| (*key).to_owned());
    let (ids, names) = tx
        .messages_being_erased(lookup.broadlogs.iter().copied(), names)
        .await?;
    Ok(FoundMessages {
        ids: ids.into_iter().collect(),
        names: names.into_iter().collect(),
    })
}

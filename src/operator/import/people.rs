//! People and the messages that were sent to them. Who is whom is decided by [`crate::identity`],
//! as for everything an authenticated sender says; but an import never merges two contacts: a row
//! that names both is refused.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::ImportRules;
use super::draft::{Drafts, MAUTIC_ID, NewContact, Origin, Outcome, SentMessage, Stored};
use super::links::{Deliveries, reserve};
use crate::identity::{Resolver, check_fields, normalise, wanted, wanted_contacts};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{BroadlogId, ContactId, Hit, TagChange};
use crate::operator::messages::evidence;
use crate::store::imports::ImportedMessage;
use crate::store::{self, Tx};

pub(super) async fn store_messages(
    tx: &mut Tx,
    clock: &Clock,
    drafts: Drafts<'_, SentMessage>,
    origin: Option<Origin>,
    rules: &ImportRules,
    now: Micros,
) -> store::Result<Stored> {
    if drafts.is_empty() {
        return Ok(Some((Vec::new(), 0)));
    }
    let unique = rules.unique.as_slice();
    let mut people: Vec<Hit> = drafts
        .iter()
        .map(|(_, draft)| evidence(draft.fields.clone()))
        .collect();
    let mut want = wanted(unique, people.iter());
    want.broadlogs = drafts.iter().filter_map(|(_, draft)| draft.id).collect();
    want.message_keys = drafts
        .iter()
        .filter_map(|(_, draft)| draft.key.clone())
        .collect();
    let mut known = tx.load_known(&want).await?;
    // Mautic's number outlives a change of address: who is known by it keeps the address of today.
    if unique.iter().any(|field| field == MAUTIC_ID) {
        for person in &mut people {
            let number = person.fields.iter().find(|(name, _)| name == MAUTIC_ID);
            let key = number.map(|(name, value)| (name.clone(), normalise(value)));
            if key.is_some_and(|key| known.keys.contains_key(&key)) {
                person.fields.retain(|(name, _)| name == MAUTIC_ID);
            }
        }
    }
    let ids = wanted_contacts(unique, &known, people.iter());
    known.contacts = tx.load_contacts(&ids).await?;
    let of = drafts.iter().map(|(_, draft)| draft.delivery_id);
    let mut deliveries = Deliveries::load(tx, of, origin, rules).await?;
    reserve(
        tx,
        "broadlog",
        drafts.iter().filter_map(|(_, draft)| Some(draft.id?.0)),
    )
    .await?;
    let unnumbered: BTreeSet<&String> = drafts
        .iter()
        .filter(|(_, draft)| draft.id.is_none())
        .filter_map(|(_, draft)| draft.key.as_ref())
        .filter(|key| !known.message_keys.contains_key(*key))
        .collect();
    let mut next = match unnumbered.len() as i64 {
        0 => 0,
        count => tx.take_numbers("broadlog", count).await?,
    };

    let mut resolver = Resolver::new(unique, known, || clock.new_id(now));
    let (mut messages, mut keys) = (Vec::new(), Vec::new());
    let mut told = Vec::with_capacity(drafts.len());
    for ((index, draft), person) in drafts.into_iter().zip(&people) {
        let outcome = match find_message(&resolver, draft, person) {
            Err(reason) => Outcome::Refused(reason),
            Ok(Found::Same) => Outcome::Unchanged,
            Ok(Found::WithoutName(id)) => {
                note_name(&mut resolver, &mut keys, draft, id);
                Outcome::Changed
            }
            Ok(Found::New) => {
                let named = match deliveries.need(draft.delivery_id) {
                    Err(reason) => Err(reason),
                    Ok(_) => find_contact(&mut resolver, unique, person),
                };
                match named {
                    Err(reason) => Outcome::Refused(reason),
                    Ok(contact_id) => {
                        let id = draft.id.unwrap_or(BroadlogId(next));
                        next += i64::from(draft.id.is_none());
                        resolver.note_message(id, contact_id, draft.delivery_id);
                        note_name(&mut resolver, &mut keys, draft, id);
                        messages.push(ImportedMessage {
                            id,
                            delivery_id: draft.delivery_id,
                            contact_id,
                            created_at: draft.sent_at.unwrap_or(now),
                        });
                        Outcome::Made
                    }
                }
            }
        };
        told.push((index, outcome));
    }
    let (changes, data) = resolver.finish();
    let Some(made) = deliveries.save(tx, now).await? else {
        return Ok(None);
    };
    tx.save_changes(&changes, &data, now).await?;
    tx.import_messages(&messages, &keys).await?;
    Ok(Some((told, made)))
}

enum Found {
    /// Stored as the row says.
    Same,
    /// Stored, but not under the vendor's name.
    WithoutName(BroadlogId),
    New,
}

fn find_message<N: FnMut() -> uuid::Uuid>(
    resolver: &Resolver<'_, N>,
    draft: &SentMessage,
    person: &Hit,
) -> Result<Found, String> {
    let by_name = draft
        .key
        .as_deref()
        .and_then(|key| resolver.message_named(key));
    if let (Some(id), Some(other)) = (draft.id, by_name)
        && id != other
    {
        return Err(format!("the message's name belongs to broadlog {other}"));
    }
    let Some(id) = draft.id.or(by_name) else {
        return Ok(Found::New);
    };
    let Some((contact, delivery)) = resolver.message(id) else {
        return Ok(Found::New);
    };
    if delivery != draft.delivery_id {
        return Err(format!(
            "broadlog {id} exists already and belongs to delivery {delivery}"
        ));
    }
    // A name is a secret that cannot be another message's by chance; a number can.
    if by_name.is_none() && !resolver.is_named(person, contact) {
        return Err(format!(
            "broadlog {id} exists already and belongs to another contact"
        ));
    }
    Ok(if draft.key.is_some() && by_name.is_none() {
        Found::WithoutName(id)
    } else {
        Found::Same
    })
}

fn note_name<N: FnMut() -> uuid::Uuid>(
    resolver: &mut Resolver<'_, N>,
    keys: &mut Vec<(String, BroadlogId)>,
    draft: &SentMessage,
    id: BroadlogId,
) {
    if let Some(key) = &draft.key {
        resolver.note_message_name(key.clone(), id);
        keys.push((key.clone(), id));
    }
}

fn find_contact<N: FnMut() -> uuid::Uuid>(
    resolver: &mut Resolver<'_, N>,
    unique: &[String],
    person: &Hit,
) -> Result<ContactId, String> {
    check_fields(unique, &person.fields).map_err(|error| error.to_string())?;
    if resolver.owners(person).len() > 1 {
        return Err("its unique fields belong to more than one contact".to_owned());
    }
    resolver
        .resolve(&mut Cow::Borrowed(person))
        .ok_or_else(|| format!("names nobody: {} is empty", unique.join(", ")))
}

pub(super) async fn store_contacts(
    tx: &mut Tx,
    clock: &Clock,
    drafts: Drafts<'_, NewContact>,
    rules: &ImportRules,
    now: Micros,
) -> store::Result<Stored> {
    if drafts.is_empty() {
        return Ok(Some((Vec::new(), 0)));
    }
    let unique = rules.unique.as_slice();
    let people: Vec<Hit> = drafts
        .iter()
        .map(|(_, draft)| {
            let mut person = evidence(draft.fields.clone());
            person.tags = draft
                .tags
                .iter()
                .map(|name| TagChange {
                    name: name.clone(),
                    remove: false,
                })
                .collect();
            person
        })
        .collect();
    let mut known = tx.load_known(&wanted(unique, people.iter())).await?;
    let ids = wanted_contacts(unique, &known, people.iter());
    known.contacts = tx.load_contacts(&ids).await?;
    let mut resolver = Resolver::new(unique, known, || clock.new_id(now));
    let mut told = Vec::with_capacity(drafts.len());
    for ((index, _), person) in drafts.into_iter().zip(&people) {
        let owner = resolver.owners(person).first().copied();
        let before = owner.and_then(|id| resolver.contact(id)).cloned();
        told.push((
            index,
            match find_contact(&mut resolver, unique, person) {
                Err(reason) => Outcome::Refused(reason),
                Ok(_) if owner.is_none() => Outcome::Made,
                Ok(id) if resolver.contact(id) == before.as_ref() => Outcome::Unchanged,
                Ok(_) => Outcome::Changed,
            },
        ));
    }
    let (changes, data) = resolver.finish();
    tx.save_changes(&changes, &data, now).await?;
    Ok(Some((told, 0)))
}

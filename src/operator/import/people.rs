//! People and the messages that were sent to them, decided as everywhere in
//! [`crate::operator::contacts`]: a row that names two contacts is refused, and a message that is
//! there stays as it is.

use super::ImportRules;
use super::draft::{Drafts, MAUTIC_ID, Origin, RowOutcome, SentMessage, Stored};
use super::links::Deliveries;
use crate::model::clock::{Clock, Micros};
use crate::operator::contacts::{
    Effect, Entry, EntryError, Kept, Message, NewContact, Teller, decide,
};
use crate::store::{self, Tx};

pub(super) async fn store_people(
    tx: &mut Tx,
    clock: &Clock,
    messages: Drafts<'_, SentMessage>,
    contacts: Drafts<'_, NewContact>,
    origin: Option<Origin>,
    rules: &ImportRules,
    now: Micros,
) -> store::Result<Stored> {
    if messages.is_empty() && contacts.is_empty() {
        return Ok(Some((Vec::new(), 0)));
    }
    let of = messages.iter().map(|(_, draft)| draft.delivery_id);
    let mut deliveries = Deliveries::load(tx, of, origin, rules, now).await?;
    let of_messages = messages.iter().map(|(row, draft)| (*row, draft.entry()));
    let of_contacts = contacts.iter().map(|(row, contact)| {
        let entry = Entry {
            contact,
            lasting_field: None,
            message: None,
        };
        (*row, entry)
    });
    let (rows, entries): (Vec<usize>, Vec<Entry<'_>>) = of_messages.chain(of_contacts).unzip();
    let need = |id| deliveries.need(id).map(|_| ());
    let decided = decide(
        tx,
        clock,
        &rules.unique,
        Teller::Archive,
        &entries,
        now,
        need,
    )
    .await?;
    let Some(made) = deliveries.save(tx).await? else {
        return Ok(None);
    };
    decided.write(tx, now).await?;
    let told = rows.into_iter().zip(decided.outcomes.iter().map(outcome));
    Ok(Some((told.collect(), made)))
}

impl SentMessage {
    fn entry(&self) -> Entry<'_> {
        Entry {
            contact: &self.contact,
            // Mautic's number outlives a change of address: who is known by it keeps the address
            // of today.
            lasting_field: Some(MAUTIC_ID),
            message: Some(Message {
                id: self.id,
                name: self.key.as_deref(),
                delivery_id: self.delivery_id,
                format: None,
                sent_at: self.sent_at,
                wanted: &[],
            }),
        }
    }
}

fn outcome(decided: &Result<Kept, EntryError>) -> RowOutcome {
    match decided.as_ref().map(|kept| kept.effect) {
        Ok(Effect::Made) => RowOutcome::Made,
        Ok(Effect::Changed) => RowOutcome::Changed,
        Ok(Effect::Nothing) => RowOutcome::Unchanged,
        Err(error) => RowOutcome::Refused(error.to_string()),
    }
}

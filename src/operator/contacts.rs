//! Contacts by the thousand, with the messages that were sent to them: a sender's request and a
//! file of another system come to the same, in one transaction of the lane.
//!
//! - **Whose**: [`crate::identity`] decides, as for everything that an authenticated sender says.
//! - **Which message**: one has a number, a name, or neither. A name stands for the number that the
//!   message was given: a sender's idempotency key within its delivery, or the name that a vendor
//!   gave the message. What has the number or the name of a message already is that message, and
//!   has to be of the same delivery and for the same contact.
//! - **What is new**: a message without a number gets one.
//!
//! Who tells makes three differences, see [`Teller`].

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::identity::{
    Changes, Evidence, Lookup, Resolver, UniqueError, check_fields, contacts_to_load,
};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{BroadlogId, ContactId, DeliveryId, Limit, TagChange, clean, clean_lines};
use crate::store::messages::NewMessage;
use crate::store::{self, MOST_COUNTED, Tx, Writes};

/// A contact as a sender or another system gives it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NewContact {
    id: Option<ContactId>,
    fields: Vec<(String, String)>,
    tags: Vec<TagChange>,
    /// A name or a value was longer than allowed.
    is_cut: bool,
}

impl NewContact {
    /// A contact with its fields, the unique ones of which identify it; so does `id`. Texts are
    /// cleaned and cut as for hits; empty ones are left out.
    pub(crate) fn new(id: Option<ContactId>, fields: Vec<(String, String)>) -> Self {
        let mut is_cut = false;
        let mut fit = |text: String, limit, clean: Cleaning| {
            let (fitting, note) = fit(text, limit, clean);
            is_cut |= note == Some("cut");
            fitting
        };
        let fields = fields
            .into_iter()
            .filter_map(|(name, value)| {
                let name = fit(name, Limit::WORD, clean);
                // A field of a contact may have many lines, as in a hit.
                let value = fit(value, Limit::TITLE, clean_lines);
                (!name.is_empty() && !value.is_empty()).then_some((name, value))
            })
            .collect();
        Self {
            id,
            fields,
            tags: Vec::new(),
            is_cut,
        }
    }

    /// Whether a name or a value was longer than allowed.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// With tags to be added.
    pub(crate) fn with_tags(self, tags: impl Iterator<Item = String>) -> Self {
        let tags = tags.map(|name| TagChange {
            name,
            remove: false,
        });
        Self {
            tags: tags.collect(),
            ..self
        }
    }

    /// With tags to be added and taken away.
    pub(crate) fn with_tag_changes(self, tags: Vec<TagChange>) -> Self {
        Self { tags, ..self }
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence::of_sender(self.id, &self.fields, &self.tags)
    }
}

/// The text as it fits, and what was done to it.
fn fit(text: String, limit: Limit, clean: Cleaning) -> (String, Option<&'static str>) {
    match clean(&text, limit) {
        // Nearly always: nothing to do, nothing to copy.
        (Cow::Borrowed(cleaned), note) if cleaned.len() == text.len() => (text, note),
        (cleaned, note) => (cleaned.into_owned(), note),
    }
}

/// [`clean`] or [`clean_lines`].
type Cleaning = for<'t> fn(&'t str, Limit) -> (Cow<'t, str>, Option<&'static str>);

/// The source of contacts and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Teller {
    /// A sender, in an authenticated call about a delivery: what it says holds from now on. Two
    /// contacts that it names as one are merged, and a message that is sent again brings its
    /// contact's news.
    Sender(DeliveryId),
    /// A file of another system, about what was: it merges nobody, leaves a message that is there
    /// as it is, and trusts a message's name. A vendor's name is a secret that cannot be another
    /// message's by chance, whoever has the address by now.
    Archive,
}

/// A contact, and the message that was sent to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'e> {
    /// Who it is.
    pub contact: &'e NewContact,
    /// A unique field that takes precedence: if its value belongs to a known contact, it alone
    /// identifies the contact, and nothing else about it changes.
    pub lasting_field: Option<&'e str>,
    /// What it was sent.
    pub message: Option<Message<'e>>,
}

/// A message of an [`Entry`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'e> {
    /// Its number, if it has one.
    pub id: Option<BroadlogId>,
    /// Its name, if it has one; see the module.
    pub name: Option<&'e str>,
    /// Campaign.
    pub delivery_id: DeliveryId,
    /// `html`, `text`: the sender's word.
    pub format: Option<&'e str>,
    /// When it was sent; `None` means now.
    pub sent_at: Option<Micros>,
    /// Fields of its contact whose values it needs.
    pub wanted: &'e [String],
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The contact.
    pub contact_id: ContactId,
    /// The message and when it was made.
    pub message: Option<(BroadlogId, Micros)>,
    /// The values of the wanted fields, as the contact has them by now.
    pub values: Box<[String]>,
    /// Whether anything changed.
    pub effect: Effect,
}

/// What an entry changed: its message, else its contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Made,
    Changed,
    Nothing,
}

/// Why an entry is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error(transparent)]
    Field(#[from] UniqueError),
    /// Nothing in it identifies a contact.
    #[error("identifies nobody: {0} is empty")]
    Nobody(String),
    #[error("its unique fields belong to more than one contact")]
    SeveralContacts,
    /// The delivery is not available.
    #[error("{0}")]
    Delivery(String),
    #[error("broadlog {id} already exists and belongs to delivery {delivery}")]
    OtherDelivery {
        id: BroadlogId,
        delivery: DeliveryId,
    },
    #[error("broadlog {id} already exists and belongs to another contact")]
    OtherContact {
        id: BroadlogId,
        /// The name led to it.
        is_by_name: bool,
    },
    #[error("the message's name belongs to broadlog {0}")]
    OtherMessage(BroadlogId),
}

/// What to write for some entries.
#[derive(Debug)]
pub(crate) struct Decided {
    /// The outcome of each entry, in their order.
    pub outcomes: Vec<Result<Kept, EntryError>>,
    teller: Teller,
    changes: Changes,
    messages: Vec<NewMessage>,
    /// Chosen numbers among them.
    chosen: Vec<(BroadlogId, DeliveryId)>,
    names: Vec<(String, BroadlogId)>,
}

/// Decides the outcome of entries, in a transaction that has its turn or is alone. `need_delivery`
/// is called with the delivery of each new message.
///
/// # Errors
/// The database refuses or cannot be reached.
pub(crate) async fn decide(
    tx: &mut Tx,
    clock: &Clock,
    unique: &[String],
    teller: Teller,
    entries: &[Entry<'_>],
    now: Micros,
    need_delivery: impl FnMut(DeliveryId) -> Result<(), String>,
) -> store::Result<Decided> {
    let messages = || entries.iter().filter_map(|entry| entry.message);
    let mut evidence: Vec<Evidence<'_>> = entries
        .iter()
        .map(|entry| entry.contact.evidence())
        .collect();
    let names = known_names(tx, teller, messages().filter_map(|message| message.name)).await?;
    let mut lookup = Lookup::of(unique, evidence.iter().copied());
    lookup.add_messages(messages().filter_map(|message| message.id));
    lookup.add_messages(names.values().copied());
    let mut known = tx.load_known(&lookup).await?;
    for (entry, evidence) in entries.iter().zip(&mut evidence) {
        if let Some(field) = entry.lasting_field {
            *evidence = evidence.by_field_alone(field, &known);
        }
    }
    let ids = contacts_to_load(unique, &known, evidence.iter().copied());
    known.contacts = tx.load_contacts(&ids).await?;
    let times = tx.message_times(known.broadlogs.keys().copied()).await?;
    // Chosen numbers first: the counter must not give out what these very entries take.
    let chosen = messages().filter_map(|message| message.id);
    let new_ids = chosen.filter(|id| !known.broadlogs.contains_key(id));
    let counted = new_ids.filter(|id| (1..=MOST_COUNTED).contains(&id.0));
    if let Some(most) = counted.max() {
        tx.reserve_number("broadlog", most.0).await?;
    }
    // One that is refused leaves a gap.
    let mut seen = HashSet::new();
    let unnumbered = messages().filter(|message| match message.name {
        _ if message.id.is_some() => false,
        Some(name) => !names.contains_key(name) && seen.insert(name),
        None => true,
    });
    let numbers = match unnumbered.count() {
        0 => Vec::new(),
        count => tx.take_broadlog_numbers(count).await?,
    };

    let mut deciding = Deciding {
        resolver: Resolver::new(unique, known, || clock.new_id(now)),
        unique,
        need_delivery,
        now,
        names,
        times,
        numbers: numbers.into_iter(),
        decided: Decided {
            outcomes: Vec::with_capacity(entries.len()),
            teller,
            changes: Changes::default(),
            messages: Vec::new(),
            chosen: Vec::new(),
            names: Vec::new(),
        },
    };
    for (entry, evidence) in entries.iter().zip(evidence) {
        let outcome = match entry.message {
            Some(message) => deciding.take_message(message, evidence),
            None => deciding.take_contact(evidence),
        };
        deciding.decided.outcomes.push(outcome);
    }
    Ok(Decided {
        changes: deciding.resolver.finish(),
        ..deciding.decided
    })
}

impl Decided {
    /// Whether two contacts would become one.
    pub(crate) fn merges_anybody(&self) -> bool {
        !self.changes.merges.is_empty()
    }

    /// Writes it, in the same transaction.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn write(&self, tx: &mut Tx, now: Micros) -> store::Result<()> {
        tx.forget_figures_of_others(&self.chosen).await?;
        let mut writes = Writes::default();
        tx.save_changes(&self.changes, now, &mut writes).await?;
        writes.send(tx).await?;
        tx.insert_messages(&self.messages).await?;
        match self.teller {
            Teller::Sender(delivery_id) => {
                let keys = self.names.iter().map(|(name, id)| (name.clone(), id.0));
                tx.insert_sent_keys(delivery_id, keys.collect(), now).await
            }
            Teller::Archive => tx.insert_message_keys(&self.names).await,
        }
    }
}

/// What names stand for.
async fn known_names<'e>(
    tx: &mut Tx,
    teller: Teller,
    names: impl Iterator<Item = &'e str>,
) -> store::Result<HashMap<String, BroadlogId>> {
    // Each once: a row that is looked up twice comes twice.
    let names = names.collect::<HashSet<_>>().into_iter();
    match teller {
        Teller::Sender(delivery_id) => {
            let names = names.map(str::to_owned).collect();
            let numbers = tx.sent_keys(delivery_id, names).await?;
            let ids = numbers.into_iter().map(|(name, id)| (name, BroadlogId(id)));
            Ok(ids.collect())
        }
        Teller::Archive => tx.message_keys(names).await,
    }
}

/// What decides the outcome of entries, so far.
struct Deciding<'b, N, D> {
    resolver: Resolver<'b, N>,
    unique: &'b [String],
    need_delivery: D,
    now: Micros,
    names: HashMap<String, BroadlogId>,
    /// When existing messages were created.
    times: HashMap<BroadlogId, Micros>,
    numbers: std::vec::IntoIter<i64>,
    decided: Decided,
}

impl<N: FnMut() -> Uuid, D: FnMut(DeliveryId) -> Result<(), String>> Deciding<'_, N, D> {
    fn is_archive(&self) -> bool {
        self.decided.teller == Teller::Archive
    }

    fn take_message(
        &mut self,
        message: Message<'_>,
        evidence: Evidence<'_>,
    ) -> Result<Kept, EntryError> {
        let by_name = message.name.and_then(|name| self.names.get(name)).copied();
        if let (Some(id), Some(other)) = (message.id, by_name)
            && id != other
        {
            return Err(EntryError::OtherMessage(other));
        }
        let number = message.id.or(by_name);
        let found = number.and_then(|id| Some((id, self.resolver.message(id)?)));
        if found.is_none() {
            (self.need_delivery)(message.delivery_id).map_err(EntryError::Delivery)?;
        }
        if found.is_none() || !self.is_archive() {
            check_fields(self.unique, evidence.fields)?;
        }
        // Before anything is changed: a mistaken entry leaves no trace.
        if let Some((id, (receiver, delivery))) = found {
            if delivery != message.delivery_id {
                return Err(EntryError::OtherDelivery { id, delivery });
            }
            let is_trusted = by_name.is_some() && self.is_archive();
            if !is_trusted && !self.resolver.names(&evidence, receiver) {
                let is_by_name = by_name.is_some();
                return Err(EntryError::OtherContact { id, is_by_name });
            }
        }
        let contact_id = match found {
            Some((_, (receiver, _))) if self.is_archive() => receiver,
            _ => self.find_contact(&evidence)?,
        };
        let numbered = number.or_else(|| self.numbers.next().map(BroadlogId));
        // There are as many as can be needed.
        let id = numbered.unwrap_or(BroadlogId(0));
        if found.is_none() {
            self.add(id, message, contact_id);
            if number.is_some() {
                self.decided.chosen.push((id, message.delivery_id));
            }
        }
        let new_name = message.name.filter(|_| by_name.is_none());
        if let Some(name) = new_name {
            self.names.insert(name.to_owned(), id);
            self.decided.names.push((name.to_owned(), id));
        }
        Ok(Kept {
            contact_id,
            message: Some((id, self.times.get(&id).copied().unwrap_or(self.now))),
            values: self.values_of(contact_id, message.wanted),
            effect: match (found, new_name) {
                (None, _) => Effect::Made,
                (Some(_), Some(_)) => Effect::Changed,
                (Some(_), None) => Effect::Nothing,
            },
        })
    }

    /// A field that the contact does not have is empty.
    fn values_of(&self, contact_id: ContactId, wanted: &[String]) -> Box<[String]> {
        let contact = self.resolver.contact(contact_id);
        let value = |name: &String| contact.and_then(|contact| contact.fields.get(name).cloned());
        wanted
            .iter()
            .map(|name| value(name).unwrap_or_default())
            .collect()
    }

    fn add(&mut self, id: BroadlogId, message: Message<'_>, contact_id: ContactId) {
        let created_at = message.sent_at.unwrap_or(self.now);
        self.resolver
            .note_message(id, contact_id, message.delivery_id);
        self.times.insert(id, created_at);
        self.decided.messages.push(NewMessage {
            id,
            delivery_id: message.delivery_id,
            contact_id,
            format: message.format.map(str::to_owned),
            created_at,
        });
    }

    fn take_contact(&mut self, evidence: Evidence<'_>) -> Result<Kept, EntryError> {
        check_fields(self.unique, evidence.fields)?;
        let owner = self.resolver.owners(&evidence).first().copied();
        let before = owner.and_then(|id| self.resolver.contact(id)).cloned();
        let contact_id = self.find_contact(&evidence)?;
        Ok(Kept {
            contact_id,
            message: None,
            values: Box::default(),
            effect: match owner {
                None => Effect::Made,
                Some(_) if self.resolver.contact(contact_id) == before.as_ref() => Effect::Nothing,
                Some(_) => Effect::Changed,
            },
        })
    }

    /// The contact that is identified; created if its values are new.
    fn find_contact(&mut self, evidence: &Evidence<'_>) -> Result<ContactId, EntryError> {
        if self.is_archive() && self.resolver.owners(evidence).len() > 1 {
            return Err(EntryError::SeveralContacts);
        }
        let contact = self.resolver.resolve(evidence).contact;
        contact.ok_or_else(|| EntryError::Nobody(self.unique.join(", ")))
    }
}

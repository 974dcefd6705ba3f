//! Messages: one line a recipient in, the message's number, its contact and the minute of sending
//! out.
//!
//! What becomes of a line is decided in `operator::contacts`, as for an import. A line with a
//! `broadlog_id` may be sent again: the same delivery, contact and number give the same answer, to
//! the letter. So may one with an `idempotency_key`, or one of a request with a key, within a week:
//! the key is the message's name, and stands for the number that the line was given.

use serde::{Deserialize, Serialize};

use super::contacts::{Entry, EntryError, Kept, Message, NewContact, Teller, decide};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{BroadlogId, ContactId, DeliveryId, Limit, clean};
use crate::store::{self, Store, Tx};

/// A recipient as the sender gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    contact: NewContact,
    broadlog_id: Option<BroadlogId>,
    format: Option<String>,
    key: Option<String>,
}

impl Recipient {
    /// A recipient with the contact's fields, of which the unique ones name it; so does
    /// `contact_id`. Texts are cleaned and cut as for hits.
    pub fn new(
        contact_id: Option<ContactId>,
        fields: Vec<(String, String)>,
        broadlog_id: Option<BroadlogId>,
        format: Option<&str>,
    ) -> Self {
        Self {
            contact: NewContact::new(contact_id, fields),
            broadlog_id,
            format: format
                .map(|format| clean(format, Limit::WORD).0.into_owned())
                .filter(|format| !format.is_empty()),
            key: None,
        }
    }

    /// With the sender's name for the message, its own within a delivery.
    pub fn with_key(self, key: Option<String>) -> Self {
        Self { key, ..self }
    }

    fn entry<'e>(
        &'e self,
        name: Option<&'e str>,
        delivery_id: DeliveryId,
        wanted: &'e [String],
    ) -> Entry<'e> {
        Entry {
            contact: &self.contact,
            lasting_field: None,
            message: Some(Message {
                id: self.broadlog_id,
                name,
                delivery_id,
                format: self.format.as_deref(),
                sent_at: None,
                wanted,
            }),
        }
    }
}

/// A message that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its number.
    pub broadlog_id: BroadlogId,
    /// Who gets it.
    pub contact_id: ContactId,
    /// When it was made.
    pub created_at: Micros,
    /// The contact has unsubscribed.
    #[serde(default)]
    pub has_opted_out: bool,
    /// A field of its contact was longer than allowed.
    #[serde(default)]
    pub is_cut: bool,
    /// The values of the fields that were wanted, in their order.
    #[serde(default)]
    pub values: Box<[String]>,
}

impl Sent {
    /// The minute in the message's links: the delivery's, if it is in the future, else the
    /// message's creation time.
    pub fn sent_minute(&self, delivery_sent_at: Option<Micros>) -> i64 {
        delivery_sent_at
            .map_or(self.created_at, |at| at.max(self.created_at))
            .minutes()
    }
}

/// Why a line creates no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MessageError {
    /// It cannot be read.
    #[error("{0}")]
    Line(String),
    /// Nothing in it identifies the contact.
    #[error("contact identifies nobody; give one of the unique fields ({0})")]
    Nobody(String),
    /// The number belongs to another delivery.
    #[error("broadlog_id belongs to another delivery: leave it out, or choose another")]
    OtherDelivery,
    /// The number belongs to another contact.
    #[error("broadlog_id belongs to another contact: leave it out, or choose another")]
    OtherContact,
    /// The line's key belongs to another message.
    #[error(
        "idempotency_key belongs to another message of this delivery: each key stands for one \
        message; choose another"
    )]
    OtherMessage,
    /// The request's key belongs to another request.
    #[error(
        "Idempotency-Key was used for other lines within the last week: send the same lines in \
        the same order, or choose another key"
    )]
    OtherRequest,
    /// The database does not respond.
    #[error("not stored: the database does not answer; send again")]
    Database,
}

/// The position of lines in a request that has a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyedLines<'k> {
    /// The request's key.
    pub key: &'k str,
    /// Lines before these.
    pub before: u64,
}

impl KeyedLines<'_> {
    fn of_line(self, index: usize) -> String {
        format!("request:{}:{}", self.key, self.before + index as u64)
    }

    fn of_end(self) -> String {
        format!("lines:{}", self.key)
    }
}

/// What a line became.
pub type MessageOutcome = Result<Sent, MessageError>;

/// What every message of a request has in common.
#[derive(Clone, Debug)]
pub struct Mailing {
    /// Its campaign.
    pub delivery_id: DeliveryId,
    /// Fields of the contacts whose values are to be told.
    pub wanted: Vec<String>,
}

/// Stores one chunk of recipients in a transaction of its own; the outcomes are in the order of the
/// lines. Where `request` says that they are others than those its key stands for, nothing is
/// stored and every outcome is [`MessageError::OtherRequest`].
///
/// # Errors
/// The database refuses or cannot be reached; nothing of the chunk is stored then, unless it was
/// the answer to the commit that got lost.
pub async fn store_messages(
    store: &Store,
    clock: &Clock,
    unique: &[String],
    mailing: &Mailing,
    lines: &[Result<Recipient, MessageError>],
    request: Option<KeyedLines<'_>>,
) -> store::Result<Vec<MessageOutcome>> {
    let delivery_id = mailing.delivery_id;
    let now = clock.now();
    let names = names_of(lines, request);
    let recipients = lines.iter().zip(&names).filter_map(|(line, name)| {
        let recipient = line.as_ref().ok()?;
        Some(recipient.entry(name.as_deref(), delivery_id, &mailing.wanted))
    });
    let entries: Vec<Entry<'_>> = recipients.collect();
    let other_request = || vec![Err(MessageError::OtherRequest); lines.len()];

    let mut tx = store.begin_turn().await?;
    if is_past_its_end(&mut tx, delivery_id, lines, request).await? {
        tx.rollback().await?;
        return Ok(other_request());
    }
    let teller = Teller::Sender(delivery_id);
    let decided = decide(&mut tx, clock, unique, teller, &entries, now, |_| Ok(())).await?;
    let mut decided_lines = decided.outcomes.iter();
    let mut outcomes: Vec<MessageOutcome> = lines
        .iter()
        .map(|line| {
            let recipient = line.as_ref().map_err(Clone::clone)?;
            // As many as there are recipients.
            let decided = decided_lines.next().ok_or(MessageError::Database)?;
            match decided {
                Ok(kept) => sent(kept, recipient),
                Err(error) => Err(told(error, recipient)),
            }
        })
        .collect();
    if outcomes.contains(&Err(MessageError::OtherRequest)) {
        tx.rollback().await?;
        return Ok(other_request());
    }
    decided.write(&mut tx, now).await?;
    let contacts = outcomes.iter().flatten().map(|sent| sent.contact_id);
    let opted_out = tx.opted_out(contacts).await?;
    for sent in outcomes.iter_mut().flatten() {
        sent.has_opted_out = opted_out.contains(&sent.contact_id);
    }
    tx.commit().await?;
    Ok(outcomes)
}

fn sent(kept: &Kept, recipient: &Recipient) -> MessageOutcome {
    let (broadlog_id, created_at) = kept.message.ok_or(MessageError::Database)?;
    Ok(Sent {
        broadlog_id,
        contact_id: kept.contact_id,
        created_at,
        has_opted_out: false,
        is_cut: recipient.contact.is_cut(),
        values: kept.values.clone(),
    })
}

/// Why a recipient's message is not stored, in the sender's words.
fn told(error: &EntryError, recipient: &Recipient) -> MessageError {
    match error {
        EntryError::Field(error) => MessageError::Line(format!("contact.{error}")),
        EntryError::Nobody(unique) => MessageError::Nobody(unique.clone()),
        EntryError::OtherDelivery { .. } => MessageError::OtherDelivery,
        EntryError::OtherContact {
            is_by_name: false, ..
        } => MessageError::OtherContact,
        EntryError::OtherContact { .. } | EntryError::OtherMessage(_) => match recipient.key {
            Some(_) => MessageError::OtherMessage,
            None => MessageError::OtherRequest,
        },
        EntryError::SeveralContacts | EntryError::Delivery(_) => {
            MessageError::Line(error.to_string())
        }
    }
}

/// Whether a request goes beyond the end of an earlier one with its key.
async fn is_past_its_end(
    tx: &mut Tx,
    delivery_id: DeliveryId,
    lines: &[Result<Recipient, MessageError>],
    request: Option<KeyedLines<'_>>,
) -> store::Result<bool> {
    let Some(request) = request else {
        return Ok(false);
    };
    let end = request.of_end();
    let ends = tx.sent_keys(delivery_id, vec![end.clone()]).await?;
    let whole = ends.get(&end);
    Ok(whole.is_some_and(|whole| {
        request.before + lines.len() as u64 > u64::try_from(*whole).unwrap_or_default()
    }))
}

/// Records that a request with a key ended after so many lines: more lines under its key are
/// another request.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn note_end(
    store: &Store,
    clock: &Clock,
    delivery_id: DeliveryId,
    request: KeyedLines<'_>,
) -> store::Result<()> {
    let lines = i64::try_from(request.before).unwrap_or(i64::MAX);
    let mut tx = store.begin().await?;
    tx.insert_sent_keys(delivery_id, vec![(request.of_end(), lines)], clock.now())
        .await?;
    tx.commit().await
}

/// Names of the lines' messages: the line's own key, else its position in the request. A message
/// with a number is named by that.
fn names_of(
    lines: &[Result<Recipient, MessageError>],
    request: Option<KeyedLines<'_>>,
) -> Vec<Option<String>> {
    let names = lines.iter().enumerate().map(|(index, line)| {
        let recipient = line.as_ref().ok()?;
        match (&recipient.key, request, recipient.broadlog_id) {
            (Some(key), ..) => Some(format!("message:{key}")),
            (None, Some(request), None) => Some(request.of_line(index)),
            _ => None,
        }
    });
    names.collect()
}

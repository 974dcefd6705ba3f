//! Messages: one line a recipient in, the message's number, its contact and the minute of sending
//! out.
//!
//! A contact is found and changed by the rules of [`crate::identity`], as for a hit of an
//! authenticated sender, so there is one place that says who is whom. A line with a `broadlog_id`
//! may be sent again: the same delivery, contact and number give the same answer, to the letter. So
//! may one with an `idempotency_key`, or one of a request with a key, within a week: the key stands
//! for the number that the line was given.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::identity::{Resolver, check_fields, wanted, wanted_contacts};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{
    Authority, BroadlogId, ContactId, DeliveryId, Dialect, Hit, HitId, Kind, Limit, clean,
    clean_lines,
};
use crate::store::messages::NewMessage;
use crate::store::{self, MOST_COUNTED, Store};

/// A recipient as the sender gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipient {
    // The form that identity reads; only what names and describes the contact is filled in.
    evidence: Hit,
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
        let mut evidence = evidence(fields);
        evidence.contact_id = contact_id;
        Self {
            evidence,
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
}

/// What an authenticated sender says of a contact, in the form that identity reads.
pub(crate) fn evidence(fields: Vec<(String, String)>) -> Hit {
    let mut evidence = Hit::new(
        HitId(uuid::Uuid::nil()),
        Micros(0),
        Kind::Event,
        Dialect::Native,
    );
    evidence.authority = Authority::Authenticated;
    evidence.fields = fields
        .into_iter()
        .filter_map(|(name, value)| {
            let name = fit(name, Limit::WORD, clean);
            // A field of a contact may have many lines, as in a hit.
            let value = fit(value, Limit::TITLE, clean_lines);
            (!name.is_empty() && !value.is_empty()).then_some((name, value))
        })
        .collect();
    evidence
}

fn fit(text: String, limit: Limit, clean: Cleaning) -> String {
    match clean(&text, limit).0 {
        // Nearly always: nothing to do, nothing to copy.
        Cow::Borrowed(cleaned) if cleaned.len() == text.len() => text,
        cleaned => cleaned.into_owned(),
    }
}

/// [`clean`] or [`clean_lines`].
type Cleaning = for<'t> fn(&'t str, Limit) -> (Cow<'t, str>, Option<&'static str>);

/// A message that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its number.
    pub broadlog_id: BroadlogId,
    /// Who gets it.
    pub contact_id: ContactId,
    /// When it was made.
    pub created_at: Micros,
}

impl Sent {
    /// The minute in the message's links: that of the delivery where it lies ahead, else that in
    /// which the message was made.
    pub fn sent_minute(&self, delivery_sent_at: Option<Micros>) -> i64 {
        delivery_sent_at
            .map_or(self.created_at, |at| at.max(self.created_at))
            .minutes()
    }
}

/// Why a line makes no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum MessageError {
    /// It cannot be read.
    #[error("{0}")]
    Line(String),
    /// Nothing in it says who the contact is.
    #[error("contact names nobody: it needs one of the unique fields ({0})")]
    Nobody(String),
    /// The number is another delivery's.
    #[error("broadlog_id belongs to another delivery: leave it out, or choose another")]
    OtherDelivery,
    /// The number is another contact's.
    #[error("broadlog_id belongs to another contact: leave it out, or choose another")]
    OtherContact,
    /// The line's key is another message's.
    #[error(
        "idempotency_key belongs to another message of this delivery: a key names one message, \
        choose another"
    )]
    OtherMessage,
    /// The request's key is another request's.
    #[error(
        "Idempotency-Key was given to other lines within the last week: send the same lines in \
        the same order, or choose another key"
    )]
    OtherRequest,
    /// The database does not answer.
    #[error("not stored: the database does not answer; send again")]
    Database,
}

/// Where lines stand in a request that has a key.
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
pub type Outcome = Result<Sent, MessageError>;

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
    delivery_id: DeliveryId,
    lines: &[Result<Recipient, MessageError>],
    request: Option<KeyedLines<'_>>,
) -> store::Result<Vec<Outcome>> {
    let now = clock.now();
    let recipients = || lines.iter().flatten();
    let mut want = wanted(unique, recipients().map(|r| &r.evidence));
    want.broadlogs = recipients().filter_map(|r| r.broadlog_id).collect();
    let keys = keys_of(lines, request);

    let mut tx = store.begin_lane().await?;
    let asked_keys = keys
        .values()
        .cloned()
        .chain(request.map(KeyedLines::of_end));
    let numbers = tx.sent_keys(delivery_id, asked_keys.collect()).await?;
    if let Some(request) = request
        && let Some(whole) = numbers.get(&request.of_end())
        && request.before + lines.len() as u64 > u64::try_from(*whole).unwrap_or_default()
    {
        tx.rollback().await?;
        return Ok(vec![Err(MessageError::OtherRequest); lines.len()]);
    }
    let numbered = keys.values().filter_map(|key| numbers.get(key));
    want.broadlogs
        .extend(numbered.map(|number| BroadlogId(*number)));
    let mut known = tx.load_known(&want).await?;
    let mut times = tx.message_times(&want.broadlogs).await?;
    let ids = wanted_contacts(unique, &known, recipients().map(|r| &r.evidence));
    known.contacts = tx.load_contacts(&ids).await?;

    let mut resolver = Resolver::new(unique, known, || clock.new_id(now));
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(lines.len());
    let mut rows: Vec<NewMessage> = Vec::with_capacity(lines.len());
    // Which lines wait for a number.
    let mut unnumbered: Vec<(usize, usize)> = Vec::new();
    // Lines whose key an earlier line of this very chunk has, and that line.
    let (mut repeated, mut firsts) = (Vec::<(usize, usize)>::new(), HashMap::<&str, usize>::new());
    for (index, line) in lines.iter().enumerate() {
        let recipient = match line {
            Ok(recipient) => recipient,
            Err(error) => {
                outcomes.push(Err(error.clone()));
                continue;
            }
        };
        let key = keys.get(&index).map(String::as_str);
        let by_key = key
            .and_then(|key| numbers.get(key))
            .map(|number| BroadlogId(*number));
        let asked = recipient.broadlog_id.or(by_key);
        let first = key
            .filter(|_| by_key.is_none())
            .and_then(|key| firsts.get(key))
            .and_then(|first| Some((*first, *outcomes[*first].as_ref().ok()?)));
        let other = match (key, recipient.key.is_some()) {
            (Some(_), false) => Some(MessageError::OtherRequest),
            (Some(_), true) => Some(MessageError::OtherMessage),
            (None, _) => None,
        };
        let is_other = (by_key.is_some() && asked != by_key)
            || first.is_some_and(|(_, sent)| {
                !resolver.is_named(&recipient.evidence, sent.contact_id)
                    || asked.is_some_and(|id| id != sent.broadlog_id)
            });
        let resolved = if is_other {
            Err(MessageError::OtherMessage)
        } else {
            resolve(&mut resolver, unique, delivery_id, recipient, asked)
        };
        let contact_id = match resolved {
            Ok(contact_id) => contact_id,
            Err(MessageError::OtherContact | MessageError::OtherMessage)
                if by_key.is_some() || is_other =>
            {
                outcomes.push(Err(other.unwrap_or(MessageError::OtherContact)));
                continue;
            }
            Err(error) => {
                outcomes.push(Err(error));
                continue;
            }
        };
        if let Some((first, sent)) = first {
            repeated.push((index, first));
            outcomes.push(Ok(sent));
            continue;
        }
        if let Some(key) = key {
            firsts.insert(key, index);
        }
        let made_at = asked.and_then(|id| times.get(&id)).copied();
        let broadlog_id = asked.unwrap_or(BroadlogId(0));
        outcomes.push(Ok(Sent {
            broadlog_id,
            contact_id,
            created_at: made_at.unwrap_or(now),
        }));
        if made_at.is_some() {
            continue;
        }
        match asked {
            Some(id) => {
                resolver.note_message(id, contact_id, delivery_id);
                times.insert(id, now);
            }
            None => unnumbered.push((index, rows.len())),
        }
        rows.push(NewMessage {
            id: broadlog_id,
            contact_id,
            format: recipient.format.clone(),
        });
    }
    // Chosen numbers first: the counter must not give out what this very chunk takes.
    let chosen = rows.iter().map(|row| row.id.0);
    let of_others: Vec<(BroadlogId, DeliveryId)> = rows
        .iter()
        .map(|row| (row.id, delivery_id))
        .filter(|(id, _)| id.0 != 0)
        .collect();
    tx.forget_figures_of_others(&of_others).await?;
    if let Some(most) = chosen.filter(|id| (1..=MOST_COUNTED).contains(id)).max() {
        tx.reserve_number("broadlog", most).await?;
    }
    if !unnumbered.is_empty() {
        let numbers = tx.take_broadlog_numbers(unnumbered.len()).await?;
        for ((line, row), number) in unnumbered.into_iter().zip(numbers) {
            rows[row].id = BroadlogId(number);
            if let Ok(sent) = &mut outcomes[line] {
                sent.broadlog_id = BroadlogId(number);
            }
        }
    }
    if outcomes.contains(&Err(MessageError::OtherRequest)) {
        tx.rollback().await?;
        return Ok(vec![Err(MessageError::OtherRequest); lines.len()]);
    }
    for (line, first) in repeated {
        outcomes[line] = outcomes[first].clone();
    }
    let new_keys = firsts.into_iter().filter_map(|(key, line)| {
        let number = outcomes[line].as_ref().ok()?.broadlog_id.0;
        (!numbers.contains_key(key)).then(|| (key.to_owned(), number))
    });
    tx.insert_sent_keys(delivery_id, new_keys.collect(), now)
        .await?;
    let (changes, data) = resolver.finish();
    tx.save_changes(&changes, &data, now).await?;
    tx.insert_messages(delivery_id, rows, now).await?;
    tx.commit().await?;
    Ok(outcomes)
}

/// Notes that a request with a key came to its end with so many lines: more lines under its key are
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

/// The keys of lines, by their index: the line's own, else that of its place in the request. One
/// with a number is named by it.
fn keys_of(
    lines: &[Result<Recipient, MessageError>],
    request: Option<KeyedLines<'_>>,
) -> HashMap<usize, String> {
    let keys = lines.iter().enumerate().filter_map(|(index, line)| {
        let recipient = line.as_ref().ok()?;
        let key = match (&recipient.key, request, recipient.broadlog_id) {
            (Some(key), ..) => format!("message:{key}"),
            (None, Some(request), None) => request.of_line(index),
            _ => return None,
        };
        Some((index, key))
    });
    keys.collect()
}

fn resolve<N: FnMut() -> uuid::Uuid>(
    resolver: &mut Resolver<'_, N>,
    unique: &[String],
    delivery_id: DeliveryId,
    recipient: &Recipient,
    asked: Option<BroadlogId>,
) -> Result<ContactId, MessageError> {
    if let Err(error) = check_fields(unique, &recipient.evidence.fields) {
        return Err(MessageError::Line(format!("contact.{error}")));
    }
    if let Some((contact, delivery)) = asked.and_then(|id| resolver.message(id)) {
        if delivery != delivery_id {
            return Err(MessageError::OtherDelivery);
        }
        // Before anything is changed: a mistaken line leaves no trace.
        if !resolver.is_named(&recipient.evidence, contact) {
            return Err(MessageError::OtherContact);
        }
    }
    resolver
        .resolve(&mut Cow::Borrowed(&recipient.evidence))
        .ok_or_else(|| MessageError::Nobody(unique.join(", ")))
}

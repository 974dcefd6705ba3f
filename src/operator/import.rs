//! Imports: what another system has sent, so that its links, messages and people go on here.
//!
//! ```text
//!  CSV ──► table ──► columns ──► adobe | mautic | own ──► links | people ──► store
//!          rows      by name     a row's draft            thousands in a transaction
//! ```
//!
//! Promises: the same file again changes nothing and doubles nothing; a row changes only what it
//! names, and what belongs to something else is refused; every refused row is told with its number
//! and the reason, and the others go on; memory does not grow with the file. An import works beside
//! a running server: its transactions are short, and they wait their turn where hits are written
//! too.

mod adobe;
mod columns;
mod draft;
mod links;
mod mautic;
mod own;
mod people;
mod table;
mod template;

use std::io::Read;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::model::clock::{Clock, Micros};
use crate::model::hit::{Limit, clean};
use crate::model::host_pattern::HostPattern;
use crate::model::retry::Backoff;
use crate::store::import_runs::ImportedRows;
use crate::store::{self, Store};

pub use columns::ColumnError;
pub use table::{Place, TableError};

use columns::Header;
use draft::{Draft, Origin, ReadRow, RowOutcome, Stored};
use table::Table;

/// Rows of a transaction.
const BATCH: usize = 4_000;
/// Rows per transaction, which holds up the projection.
const LANE_BATCH: usize = 2_000;
/// Batches that may wait for the database.
const AHEAD: usize = 2;
/// How often a batch is retried while the database is down or busy.
const TRIES: u32 = 30;
/// SQLite has one writer at a time, and a waiting one polls only now and then: pauses this long to
/// give the server its turn.
const TURN: Duration = Duration::from_millis(20);

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Adobe's `nms:trackingUrl`: links and page tags.
    AdobeUrls,
    /// Adobe's `nms:delivery`.
    AdobeDeliveries,
    /// Adobe's `nms:broadLogRcp`: who was sent what.
    AdobeBroadlogs,
    /// Mautic's `page_redirects`.
    MauticRedirects,
    /// Mautic's `email_stats`: who was sent what.
    MauticEmailStats,
    /// Mautic's `leads`.
    MauticContacts,
    /// Our own form.
    Links,
}

impl Source {
    /// The system whose numbers the file has; `None` means ours.
    fn origin(self) -> Option<Origin> {
        match self {
            Self::AdobeUrls | Self::AdobeDeliveries | Self::AdobeBroadlogs => Some(Origin::Adobe),
            Self::MauticRedirects | Self::MauticEmailStats | Self::MauticContacts => {
                Some(Origin::Mautic)
            }
            Self::Links => None,
        }
    }

    /// As the command line calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AdobeUrls => "adobe-urls",
            Self::AdobeDeliveries => "adobe-deliveries",
            Self::AdobeBroadlogs => "adobe-broadlogs",
            Self::MauticRedirects => "mautic-redirects",
            Self::MauticEmailStats => "mautic-email-stats",
            Self::MauticContacts => "mautic-contacts",
            Self::Links => "links",
        }
    }

    /// Whether its rows are written where the projection writes too.
    fn is_people(self) -> bool {
        matches!(
            self,
            Self::AdobeBroadlogs | Self::MauticEmailStats | Self::MauticContacts
        )
    }
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportRules {
    /// Fields whose value identifies one contact.
    pub unique: Vec<String>,
    /// Hosts that a destination with a personal host may lead to; the redirect checks against them.
    pub personal_hosts: Vec<HostPattern>,
    /// The file's name, for the record of the import.
    pub file: String,
    /// Whether deliveries that were created here may become the other system's if they have the
    /// same number.
    pub adopt: bool,
}

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Rows read, without the header.
    pub rows: u64,
    /// New here.
    pub made: u64,
    /// Here before, but different.
    pub changed: u64,
    /// Here before, the same.
    pub unchanged: u64,
    /// Nothing to import: URLs of opens, unpublished redirects, failed messages.
    pub ignored: u64,
    /// Refused; each was reported with its reason.
    pub refused: u64,
    /// Deliveries created because rows name them.
    pub deliveries_made: u64,
}

impl Tally {
    /// As the database records it.
    fn rows(&self) -> ImportedRows {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        ImportedRows {
            rows: number(self.rows),
            made: number(self.made),
            changed: number(self.changed),
            unchanged: number(self.unchanged),
            ignored: number(self.ignored),
            refused: number(self.refused),
            deliveries_made: number(self.deliveries_made),
        }
    }
}

/// Who looks on.
pub trait Watcher {
    /// A row is not taken.
    ///
    /// # Errors
    /// The watcher cannot take it down: the import ends.
    fn refused(&mut self, place: Place, reason: &str) -> std::io::Result<()>;

    /// So far it is.
    fn progress(&mut self, tally: &Tally);
}

/// Why an import ends before the file does. Everything before that is imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is no table.
    #[error("the file {0}")]
    Table(#[from] TableError),
    /// A column is missing.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// Refused rows cannot be reported.
    #[error("cannot write the refused rows: {0}")]
    Report(std::io::Error),
    /// Another writer keeps taking the same numbers or slugs, or somebody inserted rows by hand
    /// with numbers that the counters do not know.
    #[error(
        "numbers or slugs for these rows keep being taken by others: another import is running, \
        or rows \
        were inserted by hand above the table counters"
    )]
    Outrun,
    /// The database refuses, or was down for too long.
    #[error(
        "the database: {0} (earlier rows are imported; import the same file again to continue, \
        nothing is duplicated)"
    )]
    Database(#[from] store::Error),
}

type Batch = Vec<(Place, Result<Draft, String>)>;

/// Reads a file and stores its rows; the database has a record of it.
///
/// # Errors
/// The file is no table, lacks a column, or the database fails for longer than half a minute.
pub async fn import(
    store: &Store,
    clock: &Clock,
    source: Source,
    rules: &ImportRules,
    input: impl Read + Send + 'static,
    watcher: &mut impl Watcher,
) -> Result<Tally, ImportError> {
    let (file, _) = clean(&rules.file, Limit::NAME);
    let begin = || store.begin_import(source.as_str(), &file, clock.now());
    let id = patiently(begin).await?;
    let mut tally = Tally::default();
    let done = run(
        store,
        clock,
        (source, id),
        rules,
        input,
        watcher,
        &mut tally,
    )
    .await;
    let error = done.as_ref().err().map(ToString::to_string);
    let rows = tally.rows();
    let end = || store.end_import(id, &rows, error.as_deref(), clock.now());
    match done {
        Ok(()) => {
            patiently(end).await?;
            Ok(tally)
        }
        // Where the database is away, this is told nowhere: the record stays as it is.
        Err(error) => {
            let _ = end().await;
            Err(error)
        }
    }
}

/// Calls until the database answers.
async fn patiently<T, F: Future<Output = store::Result<T>>>(
    call: impl Fn() -> F,
) -> store::Result<T> {
    let (mut tries, mut backoff) = (0, Backoff::default());
    loop {
        match call().await {
            Err(error) if tries < TRIES && !store::is_refusal(&error) => {
                tries += 1;
                tokio::time::sleep(backoff.pause()).await;
            }
            done => return done,
        }
    }
}

async fn run(
    store: &Store,
    clock: &Clock,
    (source, id): (Source, i64),
    rules: &ImportRules,
    input: impl Read + Send + 'static,
    watcher: &mut impl Watcher,
    tally: &mut Tally,
) -> Result<(), ImportError> {
    // A thread of its own: reading may wait for a pipe, and parsing goes on while the database
    // works. It ends when nobody listens.
    let (sender, mut batches) = mpsc::channel(AHEAD);
    let reading = rules.clone();
    std::thread::spawn(move || {
        if let Err(error) = read_batches(input, source, &reading, &sender) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    while let Some(batch) = batches.recv().await {
        let batch = batch?;
        let (outcomes, deliveries_made) = store_batch(store, clock, source, rules, &batch).await?;
        tally.deliveries_made += deliveries_made;
        let mut outcomes = outcomes.into_iter().peekable();
        for (index, (place, draft)) in batch.iter().enumerate() {
            tally.rows += 1;
            let outcome = outcomes.next_if(|(row, _)| *row == index);
            let refused = match (draft, outcome.map(|(_, outcome)| outcome)) {
                (Err(reason), _) => Some(reason.clone()),
                (Ok(_), Some(RowOutcome::Refused(reason))) => Some(reason),
                (Ok(_), Some(RowOutcome::Made)) => {
                    tally.made += 1;
                    None
                }
                (Ok(_), Some(RowOutcome::Changed)) => {
                    tally.changed += 1;
                    None
                }
                (Ok(_), Some(RowOutcome::Unchanged)) => {
                    tally.unchanged += 1;
                    None
                }
                (Ok(_), None) => {
                    tally.ignored += 1;
                    None
                }
            };
            if let Some(reason) = refused {
                tally.refused += 1;
                watcher
                    .refused(*place, &reason)
                    .map_err(ImportError::Report)?;
            }
        }
        watcher.progress(tally);
        // Where that fails, the next batch says it.
        let _ = store.tell_import(id, &tally.rows(), clock.now()).await;
        if !store.is_postgres() {
            tokio::time::sleep(TURN).await;
        }
    }
    Ok(())
}

fn read_batches(
    input: impl Read,
    source: Source,
    rules: &ImportRules,
    sender: &mpsc::Sender<Result<Batch, ImportError>>,
) -> Result<(), ImportError> {
    let (mut table, names) = Table::open(input)?;
    let header = Header::new(names);
    let read: ReadRow = match source {
        Source::AdobeUrls => adobe::read_urls(&header, &rules.personal_hosts)?,
        Source::AdobeDeliveries => adobe::read_deliveries(&header)?,
        Source::AdobeBroadlogs => adobe::read_broadlogs(&header, &rules.unique)?,
        Source::MauticRedirects => mautic::read_redirects(&header)?,
        Source::MauticEmailStats => mautic::read_email_stats(&header)?,
        Source::MauticContacts => mautic::read_contacts(&header)?,
        Source::Links => own::read_links(&header)?,
    };
    let size = if source.is_people() {
        LANE_BATCH
    } else {
        BATCH
    };
    let mut batch = Vec::with_capacity(size);
    while let Some((place, fields)) = table.read_row()? {
        batch.push((place, fields.and_then(|row| read(&row))));
        if batch.len() == size {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(size));
            if sender.blocking_send(Ok(full)).is_err() {
                return Ok(());
            }
        }
    }
    if !batch.is_empty() {
        let _ = sender.blocking_send(Ok(batch));
    }
    Ok(())
}

/// Stores a batch, retrying while the database is down or busy.
async fn store_batch(
    store: &Store,
    clock: &Clock,
    source: Source,
    rules: &ImportRules,
    batch: &Batch,
) -> Result<(Vec<(usize, RowOutcome)>, u64), ImportError> {
    let (mut tries, mut backoff) = (0, Backoff::default());
    loop {
        let now = clock.now();
        match try_batch(store, clock, now, source, rules, batch).await {
            Ok(Some(stored)) => return Ok(stored),
            Ok(None) if tries < TRIES => tries += 1,
            Ok(None) => return Err(ImportError::Outrun),
            Err(error) if tries == TRIES || store::is_refusal(&error) => return Err(error.into()),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

async fn try_batch(
    store: &Store,
    clock: &Clock,
    now: Micros,
    source: Source,
    rules: &ImportRules,
    batch: &Batch,
) -> store::Result<Stored> {
    let (mut links, mut tags, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
    let (mut messages, mut contacts) = (Vec::new(), Vec::new());
    for (index, (_, draft)) in batch.iter().enumerate() {
        match draft {
            Ok(Draft::Link(link)) => links.push((index, link)),
            Ok(Draft::PageTag(tag)) => tags.push((index, tag)),
            Ok(Draft::Delivery(delivery)) => deliveries.push((index, delivery)),
            Ok(Draft::Message(message)) => messages.push((index, message)),
            Ok(Draft::Contact(contact)) => contacts.push((index, contact)),
            Ok(Draft::Ignored) | Err(_) => {}
        }
    }
    let mut tx = if source.is_people() {
        store.begin_lane().await?
    } else {
        store.begin().await?
    };
    let (mut outcomes, mut deliveries_made) = (Vec::new(), 0);
    let origin = source.origin();
    for stored in [
        links::store_deliveries(&mut tx, deliveries, origin, rules, now).await?,
        links::store_links(&mut tx, links, origin, rules, now).await?,
        links::store_page_tags(&mut tx, tags, now).await?,
        people::store_people(&mut tx, clock, messages, contacts, origin, rules, now).await?,
    ] {
        let Some((told, made)) = stored else {
            tx.rollback().await?;
            return Ok(None);
        };
        outcomes.extend(told);
        deliveries_made += made;
    }
    tx.commit().await?;
    outcomes.sort_by_key(|(index, _)| *index);
    Ok(Some((outcomes, deliveries_made)))
}

//! `POST /deliveries/{id}/messages`: a line a recipient in, a line with the tracked links out, for
//! a million recipients in constant memory.
//!
//! Four stations work at the same time, with one chunk in flight between each two: reading (and
//! parsing) the body, storing a chunk in one transaction, holding what the sender does not take
//! yet, and writing the answers. A sender may read while it writes, as curl does, or write
//! everything first: see [`outbox`].
//!
//! With an `Idempotency-Key` the same lines give the same answers again for a week, also where the
//! first answer broke off: what was stored is told, what was not is made. Other lines under the key
//! are refused: 422 where they begin in the first chunk, so that answer waits for it; an error in
//! place of each line where they begin later.
//!
//! With `?render=html,text` each line has the finished mail too, made of the delivery's content:
//! see [`render`]. It is made as it is written, so what waits is no larger for it.
//!
//! A line that cannot be read, or whose message cannot be made, answers `{"error": …}` in its
//! place; the others go on. When the database does not answer, a chunk is tried for [`PATIENCE`];
//! then its lines and all after it answer an error, to be sent again.

mod lines;
mod outbox;
mod recipient;
mod render;
mod stationery;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use self::lines::Lines;
use self::outbox::{Outbox, Outcomes};
use self::render::Rendering;
use self::stationery::Stationery;
use super::access::Caller;
use super::deliveries::no_delivery;
use super::idempotency::request_key;
use super::json::{ApiQuery, PathText};
use super::openapi::shapes::{MadeMessage, MessageLine};
use crate::model::access::{Need, Scope};
use crate::model::clock::Clock;
use crate::model::wire::Id;
use crate::operator::messages::{
    KeyedLines, Mailing, MessageError, Recipient, note_end, store_messages,
};
use crate::store::Store;
use crate::web::AdminState;
use crate::web::error::Problem;

/// Lines per transaction. More amortise its round trips better; fewer are answered sooner and hold
/// the lane for less long.
const CHUNK_LINES: usize = 1_000;
/// Bytes of lines per transaction: memory stays constant however long they are.
const CHUNK_BYTES: usize = 1 << 20;
/// A sender that pauses this long gets the answers to what it has sent so far.
const LINGER: Duration = Duration::from_millis(20);
/// How long a chunk is retried while the database does not respond.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a mail with fields needs.
const READ_FIELDS: Need = Need::All(&[Scope::MessagesWrite, Scope::ContactsRead]);

type Chunk = Vec<Result<Recipient, MessageError>>;

/// `POST /deliveries/{id}/messages`
#[utoipa::path(
    post,
    path = "/deliveries/{id}/messages",
    summary = "Makes messages: a line for each recipient",
    params(("id" = Id, Path), Rendering),
    request_body(content_type = "application/x-ndjson", content = MessageLine),
    responses((status = 200, description = "A line for each recipient, in order: the message or `error`", content_type = "application/x-ndjson", body = MadeMessage)),
)]
pub(super) async fn create_messages(
    State(app): State<Arc<AdminState>>,
    Extension(caller): Extension<Caller>,
    id: PathText,
    ApiQuery(rendering): ApiQuery<Rendering>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = request_key(&headers)?;
    let is_keyed = key.is_some();
    let delivery_id = id.id("delivery")?.into();
    let database = |error| Problem::database(&error);
    let delivery = app
        .store
        .delivery(delivery_id)
        .await
        .map_err(database)?
        .ok_or_else(|| no_delivery(delivery_id))?;
    let site = app.site_of(&headers);
    let (mail, wanted) = rendering.prepare(&app.store, delivery_id, site).await?;
    // A mail tells what its reader's contact has, whoever said that.
    if !wanted.is_empty()
        && let Err(refused) = caller.check(READ_FIELDS)
    {
        return Ok(*refused);
    }
    // After the content: links that it names are there by then.
    let links = app.store.links_of(delivery_id).await.map_err(database)?;
    let stationery = Stationery::new(app.keys.clone(), &delivery, &links, site).with_mail(mail);

    let (to_store, chunks) = mpsc::channel(1);
    let (to_hold, outcomes) = mpsc::channel(1);
    let (to_write, held) = mpsc::channel(1);
    let storing = Storing {
        store: app.store.clone(),
        clock: app.clock.clone(),
        unique: app.contacts.unique.clone(),
        mailing: Mailing {
            delivery_id,
            wanted,
        },
        key,
    };
    let reading = tokio::spawn(read_chunks(body, to_store));
    tokio::spawn(async move {
        let lines = storing.run(chunks, to_hold).await;
        if let (Some(lines), Ok(true)) = (lines, reading.await) {
            storing.note_end(lines).await;
        }
    });
    tokio::spawn(Outbox::new(app.data_dir.clone()).run(outcomes, to_write));
    let mut held = held;
    let first = if is_keyed { held.recv().await } else { None };
    if let Some(Ok(outcomes)) = &first
        && let Some(Err(error @ MessageError::OtherRequest)) = outcomes.first()
    {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            error.to_string(),
        ));
    }
    let writing = Writing {
        first,
        held,
        outcomes: Outcomes::new(),
        written: 0,
        stationery,
    };
    let answers = stream::unfold(writing, async |mut writing| {
        let bytes = writing.next().await?;
        Some((bytes, writing))
    });
    Ok((
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(answers),
    )
        .into_response())
}

/// The station at the end.
struct Writing {
    /// A chunk that was waited for before the answer began.
    first: Option<io::Result<Outcomes>>,
    held: mpsc::Receiver<io::Result<Outcomes>>,
    /// The chunk that is being written.
    outcomes: Outcomes,
    /// How many lines of it are.
    written: usize,
    stationery: Stationery,
}

impl Writing {
    /// The next part of the answer.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.written == self.outcomes.len() {
            let more = match self.first.take() {
                Some(first) => first,
                None => self.held.recv().await?,
            };
            self.written = 0;
            match more {
                Ok(outcomes) => self.outcomes = outcomes,
                Err(error) => {
                    self.outcomes = Outcomes::new();
                    return Some(Err(error));
                }
            }
        }
        let rest = &self.outcomes[self.written..];
        let part = &rest[..rest.len().min(self.stationery.lines_at_once())];
        self.written += part.len();
        Some(Ok(Bytes::from(self.stationery.write(part))))
    }
}

/// Cuts the body into chunks. Ends with the body, or when nobody wants the answers any more.
/// Returns whether the body was complete.
async fn read_chunks(mut body: Body, chunks: mpsc::Sender<Chunk>) -> bool {
    let mut lines = Lines::default();
    let (mut chunk, mut bytes) = (Chunk::with_capacity(CHUNK_LINES), 0);
    let is_whole = loop {
        while let Some(line) = lines.next_line() {
            bytes += line.map_or(0, <[u8]>::len);
            chunk.extend(recipient::read(line));
            if chunk.len() >= CHUNK_LINES || bytes >= CHUNK_BYTES {
                bytes = 0;
                let full = std::mem::replace(&mut chunk, Chunk::with_capacity(CHUNK_LINES));
                if chunks.send(full).await.is_err() {
                    return false;
                }
            }
        }
        let frame = if chunk.is_empty() {
            body.frame().await
        } else {
            match tokio::time::timeout(LINGER, body.frame()).await {
                Ok(frame) => frame,
                Err(_) => {
                    bytes = 0;
                    if chunks.send(std::mem::take(&mut chunk)).await.is_err() {
                        return false;
                    }
                    continue;
                }
            }
        };
        match frame {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    lines.feed(data);
                }
            }
            // The connection broke: a line that ends here may not be whole.
            Some(Err(_)) => break false,
            None => {
                if let Some(line) = lines.last_line() {
                    chunk.extend(recipient::read(line));
                }
                break true;
            }
        }
    };
    if !chunk.is_empty() {
        // Nobody to answer to is no concern of this station.
        let _ = chunks.send(chunk).await;
    }
    is_whole
}

/// The station in the middle.
struct Storing {
    store: Store,
    clock: Clock,
    unique: Vec<String>,
    mailing: Mailing,
    /// The request's `Idempotency-Key`.
    key: Option<String>,
}

impl Storing {
    /// Stores chunk by chunk; the number of lines where all of them are stored.
    async fn run(
        &self,
        mut chunks: mpsc::Receiver<Chunk>,
        outcomes: mpsc::Sender<Outcomes>,
    ) -> Option<u64> {
        // Once it is said, it holds for all lines after it.
        let mut stopped = None;
        let mut lines = 0;
        while let Some(chunk) = chunks.recv().await {
            let before = lines;
            lines += chunk.len() as u64;
            let stored = match stopped {
                None => self.store_with_patience(&chunk, before).await,
                Some(_) => None,
            };
            let of_chunk = match stored {
                Some(stored) => stored,
                None => {
                    let error = stopped.get_or_insert(MessageError::Database);
                    let of_line = |line: Result<_, _>| Err(line.err().unwrap_or(error.clone()));
                    chunk.into_iter().map(of_line).collect()
                }
            };
            if of_chunk.first() == Some(&Err(MessageError::OtherRequest)) {
                stopped = Some(MessageError::OtherRequest);
            }
            if outcomes.send(of_chunk).await.is_err() {
                return None;
            }
        }
        stopped.is_none().then_some(lines)
    }

    fn keyed(&self, before: u64) -> Option<KeyedLines<'_>> {
        let key = self.key.as_deref()?;
        Some(KeyedLines { key, before })
    }

    /// If it fails, a longer request under the same key is taken for the rest of this one.
    async fn note_end(&self, lines: u64) {
        let Some(request) = self.keyed(lines) else {
            return;
        };
        let delivery_id = self.mailing.delivery_id;
        if let Err(error) = note_end(&self.store, &self.clock, delivery_id, request).await {
            tracing::warn!(%error, %delivery_id, "cannot record the end of a \
                request with an idempotency key");
        }
    }

    async fn store_with_patience(&self, chunk: &Chunk, before: u64) -> Option<Outcomes> {
        let delivery_id = self.mailing.delivery_id;
        let started = Instant::now();
        loop {
            let stored = store_messages(
                &self.store,
                &self.clock,
                &self.unique,
                &self.mailing,
                chunk,
                self.keyed(before),
            );
            match stored.await {
                Ok(outcomes) => return Some(outcomes),
                Err(error) if started.elapsed() > PATIENCE => {
                    tracing::error!(%error, %delivery_id, "messages could not \
                        be stored");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, %delivery_id, "messages could not \
                        be stored; trying again");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        }
    }
}

//! `POST /deliveries/{id}/messages`: a line a recipient in, a line with the tracked links out, for a million recipients in constant memory.
//!
//! Four stations work at the same time, with one chunk in flight between each two: reading (and parsing) the body, storing a chunk in one
//! transaction, holding what the sender does not take yet, and writing the answers. A sender may read while it writes, as curl does, or write
//! everything first: see [`outbox`].
//!
//! A line that cannot be read, or whose message cannot be made, answers `{"error": …}` in its place; the others go on. When the database does
//! not answer, a chunk is tried for [`PATIENCE`]; then its lines and all after it answer an error, to be sent again.

mod lines;
mod outbox;
mod recipient;
mod stationery;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;

use self::lines::Lines;
use self::outbox::{Outbox, Outcomes};
use self::stationery::Stationery;
use super::json::PathText;
use crate::clock::Clock;
use crate::hit::DeliveryId;
use crate::sending::messages::{MessageError, Recipient, store_messages};
use crate::store::Store;
use crate::web::App;
use crate::web::error::Problem;

/// Lines a transaction. More amortise its round trips better; fewer are answered sooner and hold the lane for less long.
const CHUNK_LINES: usize = 1_000;
/// Bytes of lines a transaction: memory stays constant however long they are.
const CHUNK_BYTES: usize = 1 << 20;
/// A sender that pauses for so long gets the answers to what it has sent.
const LINGER: Duration = Duration::from_millis(20);
/// How long a chunk is tried while the database does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

type Chunk = Vec<Result<Recipient, MessageError>>;

/// `POST /deliveries/{id}/messages`
pub(super) async fn create_messages(
    State(app): State<Arc<App>>,
    id: PathText,
    body: Body,
) -> Result<Response, Problem> {
    let delivery_id = id.id("delivery")?.into();
    let database = |error| Problem::database(&error);
    let delivery = app
        .store
        .delivery(delivery_id)
        .await
        .map_err(database)?
        .ok_or_else(|| Problem::not_found("delivery"))?;
    let links = app.store.links_of(delivery_id).await.map_err(database)?;
    let stationery = Stationery::new(
        app.rules.keys.clone(),
        &delivery,
        &links,
        &app.base_url,
        &app.paths.redirect,
    );

    let (to_store, chunks) = mpsc::channel(1);
    let (to_hold, outcomes) = mpsc::channel(1);
    let (to_write, held) = mpsc::channel(1);
    // Not the whole app: a sender that hangs must not hold the server's parts when it stops.
    let storing = Storing {
        store: app.store.clone(),
        clock: app.clock.clone(),
        unique: app.rules.unique.clone(),
        delivery_id,
    };
    tokio::spawn(read_chunks(body, to_store));
    tokio::spawn(storing.run(chunks, to_hold));
    tokio::spawn(Outbox::new(app.data_dir.clone()).run(outcomes, to_write));
    let answers = stream::unfold((held, stationery), async |(mut held, stationery)| {
        let outcomes: io::Result<Outcomes> = held.recv().await?;
        let bytes = outcomes.map(|outcomes| Bytes::from(stationery.write(&outcomes)));
        Some((bytes, (held, stationery)))
    });
    Ok((
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(answers),
    )
        .into_response())
}

/// Cuts the body into chunks. Ends with the body, or when nobody wants the answers any more.
async fn read_chunks(mut body: Body, chunks: mpsc::Sender<Chunk>) {
    let mut lines = Lines::default();
    let (mut chunk, mut bytes) = (Chunk::with_capacity(CHUNK_LINES), 0);
    loop {
        while let Some(line) = lines.next_line() {
            bytes += line.map_or(0, <[u8]>::len);
            chunk.extend(recipient::read(line));
            if chunk.len() >= CHUNK_LINES || bytes >= CHUNK_BYTES {
                bytes = 0;
                let full = std::mem::replace(&mut chunk, Chunk::with_capacity(CHUNK_LINES));
                if chunks.send(full).await.is_err() {
                    return;
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
                        return;
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
            Some(Err(_)) => break,
            None => {
                if let Some(line) = lines.last_line() {
                    chunk.extend(recipient::read(line));
                }
                break;
            }
        }
    }
    if !chunk.is_empty() {
        // Nobody to answer to is no concern of this station.
        let _ = chunks.send(chunk).await;
    }
}

/// The station in the middle.
struct Storing {
    store: Store,
    clock: Clock,
    unique: Vec<String>,
    delivery_id: DeliveryId,
}

impl Storing {
    async fn run(self, mut chunks: mpsc::Receiver<Chunk>, outcomes: mpsc::Sender<Outcomes>) {
        let mut is_down = false;
        while let Some(chunk) = chunks.recv().await {
            let stored = if is_down {
                None
            } else {
                self.store_with_patience(&chunk).await
            };
            is_down = stored.is_none();
            let of_chunk = stored.unwrap_or_else(|| {
                chunk
                    .into_iter()
                    .map(|line| Err(line.err().unwrap_or(MessageError::Database)))
                    .collect()
            });
            if outcomes.send(of_chunk).await.is_err() {
                return;
            }
        }
    }

    async fn store_with_patience(&self, chunk: &Chunk) -> Option<Outcomes> {
        let started = Instant::now();
        loop {
            let stored = store_messages(
                &self.store,
                &self.clock,
                &self.unique,
                self.delivery_id,
                chunk,
            );
            match stored.await {
                Ok(outcomes) => return Some(outcomes),
                Err(error) if started.elapsed() > PATIENCE => {
                    tracing::error!(%error, delivery_id = %self.delivery_id, "messages are not stored");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, delivery_id = %self.delivery_id, "messages are not stored; trying again");
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        }
    }
}

//! Whether this server has the keys that links were signed with, by it or by the others on its
//! database.
//!
//! Every server records the fingerprint of the key it signs with, in the data directory and in the
//! database. **A server that has all recorded keys may start**, also with a new key on top or on a
//! new database. If a key is missing, its links are 404:
//!
//! - Keys that a server generated (`signing.keys`): the server does not start. The file was lost or
//!   truncated, or this is a second server that was not given the keys of the others. If Postgres
//!   is down at startup, the record in the directory decides; a difference found later in the
//!   database is reported as below.
//! - Keys in the configuration: somebody chose them, and a server that stopped would also break the
//!   links that it can verify. It runs, the log says once an hour what is missing, `/readyz` says
//!   `"keys": "lacking"`, and `sillage_keys_lacking` counts them.
//!
//! `sillage keys give-up` confirms that links of missing keys may stop working.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::sync::watch;

use super::secrets::FoundKeys;
use crate::model::clock::Clock;
use crate::model::keys::{KeyPrint, Keys};
use crate::server::data_dir::ServerNote;
use crate::store::{self, Store};

/// How long a start without other information waits for Postgres.
const ASKING: Duration = Duration::from_secs(5);
/// How often missing keys are reported again.
const TOLD_EVERY: Duration = Duration::from_secs(3_600);

const REMEDY: &str = "Give this server the file again, from a backup or from another server (or \
    its lines as keys.signing). \
                      If those links may die, run `sillage keys give-up`, then start again";

/// The known keys that a server lacks.
pub fn lacking(keys: Option<&Keys>, known: impl IntoIterator<Item = KeyPrint>) -> Vec<KeyPrint> {
    let here = keys.map(Keys::prints).unwrap_or_default();
    known
        .into_iter()
        .filter(|known| !here.contains(known))
        .collect()
}

/// `key 1 (0123456789abcdef)`, or several.
fn named(keys: &[KeyPrint]) -> String {
    let names: Vec<String> = keys.iter().map(KeyPrint::to_string).collect();
    let word = if keys.len() == 1 { "key" } else { "keys" };
    format!("{word} {}", names.join(", "))
}

/// Compares the keys with the note in the data directory.
///
/// # Errors
/// Keys that are not configured are missing: that costs links.
pub(super) fn check_note(
    found: &FoundKeys,
    note: Option<&ServerNote>,
    dir: &Path,
) -> anyhow::Result<()> {
    if !found.is_generated {
        return Ok(());
    }
    let file = found.file.display();
    let known = note.map(|note| note.keys.clone()).unwrap_or_default();
    let lacking = lacking(found.keys.as_ref(), known);
    match &found.keys {
        None if !lacking.is_empty() => bail!(
            "{file} is missing, and links were signed with {} from here: all of them would be a \
            404. {REMEDY}",
            named(&lacking)
        ),
        // Of a version that noted nothing.
        None if note.is_none() && dir.join("spool.db").exists() => bail!(
            "{file} is missing, but there is a spool, so a server has signed links from here: all \
            of them would be a 404. {REMEDY}"
        ),
        Some(_) if !lacking.is_empty() => bail!(
            "{file} lacks {}, which links were signed with: all of them would be a 404. {REMEDY}",
            named(&lacking)
        ),
        _ => Ok(()),
    }
}

/// Compares the keys with those the database knows, if it responds.
///
/// # Errors
/// Keys that are not configured are missing.
pub(super) async fn check_database(
    found: &FoundKeys,
    note: Option<&ServerNote>,
    store: &Store,
) -> anyhow::Result<()> {
    let is_settled = store.is_postgres() && note.is_some_and(|note| note.is_confirmed);
    if !found.is_generated || is_settled {
        return Ok(());
    }
    let asked = async {
        let known = match store.signing_keys().await {
            Ok(known) => known,
            // No such table yet.
            Err(error) if !store::is_away(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let was_served = known.is_empty() && store.was_served().await.unwrap_or(false);
        Ok((known, was_served))
    };
    let Ok(Ok((known, was_served))) = tokio::time::timeout(ASKING, asked).await else {
        return Ok(());
    };
    let file = found.file.display();
    let others = "If other servers run on this database, every server needs the same keys: copy \
        their signing.keys, or set keys.signing for all";
    let known = known
        .into_iter()
        .filter(|key| key.given_up_at.is_none())
        .filter_map(|key| key.print);
    let lacking = lacking(found.keys.as_ref(), known);
    if !lacking.is_empty() {
        bail!(
            "{file} {} {}, which links on this database were signed with: this server would \
            answer 404 to all of them. {others}. {REMEDY}",
            if found.keys.is_some() {
                "lacks"
            } else {
                "is missing, and with it"
            },
            named(&lacking)
        );
    }
    if found.keys.is_none() && was_served {
        bail!(
            "{file} is missing, and a server has stored hits in this database before: links that \
            it signed would be a 404. {others}. {REMEDY}"
        );
    }
    Ok(())
}

/// Whether this server has all keys: what `/readyz` reports.
#[derive(Debug, Default)]
pub(super) struct KeyState(AtomicU8);

const WORDS: [&str; 3] = ["unchecked", "ok", "lacking"];

impl KeyState {
    pub(super) fn word(&self) -> &'static str {
        WORDS[usize::from(self.0.load(Ordering::Relaxed))]
    }

    fn set(&self, lacks: bool) {
        self.0.store(1 + u8::from(lacks), Ordering::Relaxed);
    }
}

/// Records this server's key in the database and checks whether others' are known here, as long as
/// the server runs.
pub(super) struct KeyWatch {
    store: Store,
    keys: watch::Receiver<Keys>,
    dir: PathBuf,
    clock: Clock,
    state: Arc<KeyState>,
    note: ServerNote,
    told: Option<(Vec<KeyPrint>, Instant)>,
}

impl KeyWatch {
    /// Starts with the directory's note.
    pub(super) fn new(
        store: Store,
        keys: watch::Receiver<Keys>,
        dir: &Path,
        clock: Clock,
        state: Arc<KeyState>,
        note: ServerNote,
    ) -> Self {
        let mut watch = Self {
            store,
            keys,
            dir: dir.to_owned(),
            clock,
            state,
            note,
            told: None,
        };
        // A series from the start on, for alerts.
        metrics::gauge!("sillage_keys_lacking").set(0.0);
        let missing = lacking(Some(&watch.keys.borrow()), watch.note.keys.clone());
        if !missing.is_empty() {
            watch.tell(missing);
        }
        watch
    }

    /// Checks every `every` until dropped.
    pub(super) async fn run(mut self, every: Duration) {
        loop {
            // Where the database is away others tell it, and what was known last holds.
            if let Err(error) = self.check().await {
                tracing::debug!(%error, "cannot check the signing keys now");
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn check(&mut self) -> store::Result<()> {
        // A reload may have put another key on top.
        let keys = self.keys.borrow().clone();
        let prints = keys.prints();
        let Some(own) = prints.first() else {
            return Ok(());
        };
        let (given_up, known): (Vec<_>, Vec<_>) = self
            .store
            .signing_keys()
            .await?
            .into_iter()
            .partition(|key| key.given_up_at.is_some());
        let mut known: BTreeSet<_> = known.into_iter().filter_map(|key| key.print).collect();
        if !known.contains(own) {
            let mut tx = self.store.begin().await?;
            tx.note_signing_key(own, self.clock.now()).await?;
            tx.commit().await?;
        }
        let mut note = self.note.clone();
        note.keys.retain(|key| {
            key == own || !given_up.iter().any(|gone| gone.print.as_ref() == Some(key))
        });
        if !note.keys.contains(own) {
            note.keys.push(own.clone());
        }
        known.extend(note.keys.iter().cloned());
        let missing = lacking(Some(&keys), known);
        note.is_confirmed = missing.is_empty();
        if note != self.note {
            match note.write(&self.dir) {
                Ok(()) => self.note = note,
                Err(error) => tracing::warn!(%error, "cannot write server.json"),
            }
        }
        self.tell(missing);
        Ok(())
    }

    /// Logs what is missing: when that changes, and once an hour.
    fn tell(&mut self, missing: Vec<KeyPrint>) {
        self.state.set(!missing.is_empty());
        metrics::gauge!("sillage_keys_lacking").set(missing.len() as f64);
        match &self.told {
            Some((told, at)) if *told == missing && at.elapsed() < TOLD_EVERY => return,
            Some(_) if missing.is_empty() => {
                tracing::info!("this server has all keys that links are signed with");
            }
            _ => {}
        }
        if missing.is_empty() {
            self.told = None;
            return;
        }
        tracing::error!(
            missing = named(&missing),
            "this server does not have all keys that links are signed with, so it answers 404 to \
            those links. \
            Every server needs the keys of all: \
             add them to keys.signing or signing.keys, here or where the key is wrong, and \
             restart. If the links may die, run `sillage keys give-up` on a server that has the \
             right keys"
        );
        self.told = Some((missing, Instant::now()));
    }
}

//! The local copy of the forms: what a submission needs before it can be answered, without the
//! database.
//!
//! Forms are few, so all of them are in memory, and in `forms.json` in the data directory for a
//! start while the database is down; what is damaged or in its place is put aside, and what could
//! not be written is written later. Refreshed from the database every few seconds; a form made
//! through this server's own API is there at once. One that another server made a moment ago is
//! asked of the database within the patience of an answer; that it is unknown is remembered for two
//! seconds.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use crate::model::clock::Clock;
use crate::model::form::{Form, FormId};
use crate::sqlite::{keep_newest_aside, put_aside};
use crate::store::{self, Store};

/// Ids remembered as unknown.
const UNKNOWN: u64 = 1_000;
/// Submissions that may query the database at once.
const ASKING: usize = 2;

type Forms = HashMap<FormId, Arc<Form>>;

/// The copy; cheap to clone.
#[derive(Clone)]
pub struct FormCopy(Arc<Inner>);

struct Inner {
    forms: RwLock<Forms>,
    unknown: Cache<FormId, ()>,
    file: PathBuf,
    store: Store,
    asking: Semaphore,
    patience: Duration,
    /// Held while the forms change: a refresh must not overwrite what was created meanwhile.
    changing: Mutex<()>,
    /// The file lacks something that memory has.
    is_unsaved: AtomicBool,
}

impl FormCopy {
    /// Opens the copy in a directory. An unreadable file does not prevent the start: the database
    /// has everything.
    pub async fn open(dir: &Path, store: Store, patience: Duration, clock: &Clock) -> Self {
        let file = dir.join("forms.json");
        let read = match tokio::fs::read(&file).await {
            Ok(text) => {
                serde_json::from_slice::<Vec<(FormId, Form)>>(&text).map_err(io::Error::from)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let forms = read.unwrap_or_else(|error| {
            tracing::error!(%error, "the local form copy is damaged: it is set aside and fetched \
                again");
            if let Err(error) = put_aside(&file, clock.now()) {
                tracing::error!(%error, "cannot set the local form copy aside");
            }
            keep_newest_aside(&file);
            Vec::new()
        });
        Self(Arc::new(Inner {
            forms: RwLock::new(
                forms
                    .into_iter()
                    .map(|(id, form)| (id, Arc::new(form)))
                    .collect(),
            ),
            unknown: Cache::builder()
                .max_capacity(UNKNOWN)
                .time_to_live(Duration::from_secs(2))
                .build(),
            file,
            store,
            asking: Semaphore::new(ASKING),
            patience,
            changing: Mutex::new(()),
            is_unsaved: AtomicBool::new(false),
        }))
    }

    fn known(&self, id: FormId) -> Option<Arc<Form>> {
        let forms = self.0.forms.read().unwrap_or_else(PoisonError::into_inner);
        forms.get(&id).cloned()
    }

    /// The form with an id, if one is known.
    pub async fn get(&self, id: FormId) -> Option<Arc<Form>> {
        if let Some(form) = self.known(id) {
            return Some(form);
        }
        if self.0.unknown.contains_key(&id) {
            return None;
        }
        let asked = async {
            let _permit = self.0.asking.acquire().await.ok()?;
            self.0.store.form(id).await.ok()?
        };
        let found = tokio::time::timeout(self.0.patience, asked)
            .await
            .ok()
            .flatten();
        if found.is_none() {
            self.0.unknown.insert(id, ());
        }
        // The next refresh puts it into the copy.
        found.map(|found| Arc::new(found.form))
    }

    /// Adds a form to the copy; it is served from then on.
    pub async fn put(&self, id: FormId, form: Form) {
        let _changing = self.0.changing.lock().await;
        self.0
            .forms
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::new(form));
        self.0.unknown.invalidate(&id);
        self.save().await;
    }

    /// Fetches all forms.
    ///
    /// # Errors
    /// The database fails.
    pub async fn refresh(&self) -> store::Result<()> {
        let _changing = self.0.changing.lock().await;
        let forms: Forms = self
            .0
            .store
            .forms()
            .await?
            .into_iter()
            .map(|stored| (stored.id, Arc::new(stored.form)))
            .collect();
        let is_changed = {
            let mut known = self.0.forms.write().unwrap_or_else(PoisonError::into_inner);
            let is_changed = *known != forms;
            *known = forms;
            is_changed
        };
        if is_changed || self.0.is_unsaved.load(Ordering::Relaxed) {
            self.save().await;
        }
        Ok(())
    }

    /// Writes the file. If that fails, memory still has the forms.
    async fn save(&self) {
        let text = {
            let forms = self.0.forms.read().unwrap_or_else(PoisonError::into_inner);
            let mut forms: Vec<(FormId, &Form)> =
                forms.iter().map(|(id, form)| (*id, &**form)).collect();
            forms.sort_by_key(|(id, _)| *id);
            serde_json::to_vec(&forms)
        };
        let written = match text {
            Ok(text) => self.replace_file(&text).await,
            Err(error) => Err(error.into()),
        };
        let was_unsaved = self.0.is_unsaved.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written
            && !was_unsaved
        {
            tracing::warn!(%error, "cannot write the local form copy; the next refreshes try \
                again");
        }
    }

    /// All or nothing: a power cut leaves either the old or the new file.
    async fn replace_file(&self, text: &[u8]) -> io::Result<()> {
        use tokio::io::AsyncWriteExt as _;

        let new = self.0.file.with_extension("json.new");
        let mut file = tokio::fs::File::create(&new).await?;
        file.write_all(text).await?;
        file.sync_all().await?;
        tokio::fs::rename(&new, &self.0.file).await
    }

    /// Refreshes every `every` until dropped.
    pub async fn run(self, every: Duration) {
        let mut is_failing = false;
        loop {
            match self.refresh().await {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%error, "cannot refresh forms; serving them from the local \
                        copy");
                }
                Err(_) => {}
            }
            tokio::time::sleep(every).await;
        }
    }
}

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
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use super::kept_file::KeptFile;
use crate::model::clock::Clock;
use crate::model::form::{Form, FormId};
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
    file: KeptFile,
    store: Store,
    asking: Semaphore,
    patience: Duration,
    /// Held while the forms change: a refresh must not overwrite what was created meanwhile.
    changing: Mutex<()>,
}

impl FormCopy {
    /// Opens the copy in a directory. An unreadable file does not prevent the start: the database
    /// has everything.
    pub async fn open(dir: &Path, store: Store, patience: Duration, clock: &Clock) -> Self {
        let (file, forms) = KeptFile::open(dir.join("forms.json"), "form copy", clock).await;
        let forms: Vec<(FormId, Form)> = forms;
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
        if is_changed || self.0.file.is_unsaved() {
            self.save().await;
        }
        Ok(())
    }

    /// Writes the file.
    async fn save(&self) {
        let mut forms: Vec<(FormId, Arc<Form>)> = {
            let forms = self.0.forms.read().unwrap_or_else(PoisonError::into_inner);
            let forms = forms.iter();
            forms.map(|(id, form)| (*id, Arc::clone(form))).collect()
        };
        forms.sort_by_key(|(id, _)| *id);
        let forms: Vec<(FormId, &Form)> = forms.iter().map(|(id, form)| (*id, &**form)).collect();
        self.0.file.save(&forms).await;
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

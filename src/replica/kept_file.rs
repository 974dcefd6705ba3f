//! What a copy keeps in the data directory for a start while the database is away: a JSON file that
//! is replaced whole.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::clock::Clock;
use crate::sqlite::{keep_newest_aside, put_aside};

/// The file of a copy.
pub(super) struct KeptFile {
    path: PathBuf,
    /// What it is, for the log: `form copy`.
    name: &'static str,
    /// It lacks something that memory has.
    is_unsaved: AtomicBool,
}

impl KeptFile {
    /// Reads the file, or what is usual where there is none. A damaged one is set aside: the
    /// database has everything.
    pub(super) async fn open<T: DeserializeOwned + Default>(
        path: PathBuf,
        name: &'static str,
        clock: &Clock,
    ) -> (Self, T) {
        let read = match tokio::fs::read(&path).await {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(error) => Err(error),
        };
        let read = read.unwrap_or_else(|error| {
            tracing::error!(
                %error,
                "the local {name} is damaged: it is set aside and fetched again"
            );
            if let Err(error) = put_aside(&path, clock.now()) {
                tracing::error!(%error, "cannot set the local {name} aside");
            }
            keep_newest_aside(&path);
            T::default()
        });
        let is_unsaved = AtomicBool::new(false);
        let file = Self {
            path,
            name,
            is_unsaved,
        };
        (file, read)
    }

    /// Whether it is to be written even though nothing has changed.
    pub(super) fn is_unsaved(&self) -> bool {
        self.is_unsaved.load(Ordering::Relaxed)
    }

    /// Writes the file. If that fails, memory still has everything.
    pub(super) async fn save(&self, contents: &impl Serialize) {
        let written = match serde_json::to_vec(contents) {
            Ok(text) => self.replace(&text).await,
            Err(error) => Err(error.into()),
        };
        let was_unsaved = self.is_unsaved.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written
            && !was_unsaved
        {
            let name = self.name;
            tracing::warn!(%error, "cannot write the local {name}; the next refreshes try again");
        }
    }

    /// All or nothing: a power cut leaves either the old or the new file.
    async fn replace(&self, text: &[u8]) -> io::Result<()> {
        use tokio::io::AsyncWriteExt as _;

        let new = self.path.with_extension("json.new");
        let mut file = tokio::fs::File::create(&new).await?;
        file.write_all(text).await?;
        file.sync_all().await?;
        tokio::fs::rename(&new, &self.path).await
    }
}

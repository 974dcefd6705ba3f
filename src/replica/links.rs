//! The local copy of the links: what a click needs before it can be answered, without the database.
//!
//! Memory in front of a SQLite table in the data directory (`links.db`, see `links/file.rs`),
//! refreshed from the database every few seconds (`links/refresh.rs`); a link made through this
//! server's own API is there at once. After a restart with the database down, redirects go on from
//! the file. A link that is in neither is asked of the database within the patience of a click, at
//! most a few at a time; that it is unknown is remembered for two seconds, so guessing names does
//! not reach the database.
//!
//! While the file cannot be written (its disk is full), what it says may be of yesterday: then
//! memory is told of every change, and what is not in memory is asked of the database first.

mod file;
mod refresh;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use crate::model::clock::Clock;
use crate::model::link::{LinkName, LinkRecord};
use crate::store::{self, ChangePoint, Store};

use file::CopyFile;
use refresh::Progress;

/// Links kept in memory, about 0.5 KB each.
const IN_MEMORY: u64 = 20_000;
/// Names remembered as unknown.
const UNKNOWN: u64 = 10_000;
/// Clicks that may query the database at once.
const ASKING: usize = 4;

/// The copy; cheap to clone.
#[derive(Clone)]
pub struct LinkCopy(Arc<Inner>);

struct Inner {
    file: CopyFile,
    memory: Cache<LinkName, Arc<LinkRecord>>,
    unknown: Cache<LinkName, ()>,
    store: Store,
    asking: Semaphore,
    patience: Duration,
    clock: Clock,
    /// Incremented before and after each write to the file: odd during a write.
    writes: AtomicU64,
    progress: Mutex<Option<Progress>>,
    /// The file lacks changes that memory has.
    is_behind: AtomicBool,
}

impl LinkCopy {
    /// Opens or creates the copy in a directory. An unusable file does not prevent the start.
    pub async fn open(dir: &Path, store: Store, patience: Duration, clock: Clock) -> Self {
        let file = CopyFile::open(dir, clock.clone()).await;
        Self(Arc::new(Inner {
            file,
            memory: Cache::new(IN_MEMORY),
            unknown: Cache::builder()
                .max_capacity(UNKNOWN)
                .time_to_live(Duration::from_secs(2))
                .build(),
            store,
            asking: Semaphore::new(ASKING),
            patience,
            clock,
            writes: AtomicU64::new(0),
            progress: Mutex::new(None),
            is_behind: AtomicBool::new(false),
        }))
    }

    /// The link with a name, if one is known.
    pub async fn get(&self, name: LinkName) -> Option<Arc<LinkRecord>> {
        if let Some(link) = self.0.memory.get(&name) {
            return Some(link);
        }
        if self.0.unknown.contains_key(&name) {
            return None;
        }
        let writes = self.0.writes.load(Ordering::Acquire);
        let found = if self.0.is_behind.load(Ordering::Acquire) {
            match self.ask(&name).await {
                Some(link) => Some(link),
                None => self.0.file.link(&name).await,
            }
        } else {
            match self.0.file.link(&name).await {
                Some(link) => Some(link),
                None => self.ask(&name).await,
            }
        };
        match found {
            Some(link) => {
                let link = Arc::new(link);
                // What was read while the file was written may be of yesterday: good for this
                // click, not to be kept.
                if writes.is_multiple_of(2) && writes == self.0.writes.load(Ordering::Acquire) {
                    self.remember(&link);
                }
                Some(link)
            }
            None => {
                self.0.unknown.insert(name, ());
                None
            }
        }
    }

    fn remember(&self, link: &Arc<LinkRecord>) {
        self.0
            .memory
            .insert(LinkName::Id(link.id), Arc::clone(link));
        if let Some(slug) = &link.slug {
            self.0
                .memory
                .insert(LinkName::Slug(slug.as_str().into()), Arc::clone(link));
        }
    }

    async fn ask(&self, name: &LinkName) -> Option<LinkRecord> {
        let asked = async {
            let _permit = self.0.asking.acquire().await.ok()?;
            match name {
                LinkName::Id(id) => self.0.store.link_by_id(*id).await.ok()?,
                LinkName::Slug(slug) => self.0.store.link_by_slug(slug).await.ok()?,
            }
        };
        let writes = self.0.writes.load(Ordering::Acquire);
        let link = tokio::time::timeout(self.0.patience, asked).await.ok()??;
        // What the database said before something else was written may be of yesterday: good for
        // this click, not to be kept.
        if writes.is_multiple_of(2) && writes == self.0.writes.load(Ordering::Acquire) {
            // Where the file does not take it, memory has it, and the file says so itself.
            let _ = self.put(std::slice::from_ref(&link)).await;
        }
        Some(link)
    }

    /// Adds links to the copy; they are served from then on.
    ///
    /// # Errors
    /// The file cannot be written; memory has the links all the same.
    pub async fn put(&self, links: &[LinkRecord]) -> store::Result<()> {
        for link in links {
            self.remember(&Arc::new(link.clone()));
        }
        self.write(links, None).await
    }

    /// Closes the file, on shutdown.
    pub async fn close(&self) {
        self.0.file.close().await;
    }

    /// Writes links to the file, and updates those in memory: a million links that nobody clicks
    /// must not evict those that are clicked.
    async fn write(
        &self,
        links: &[LinkRecord],
        reached: Option<(&'static str, ChangePoint)>,
    ) -> store::Result<()> {
        let rows: Vec<_> = links
            .iter()
            .map(|link| {
                (
                    link.id.0,
                    &link.slug,
                    serde_json::to_string(link).unwrap_or_default(),
                )
            })
            .collect();
        let json = serde_json::to_string(&rows).unwrap_or_default();
        self.0.writes.fetch_add(1, Ordering::AcqRel);
        let written = self.0.file.write(json, reached).await;
        self.tell_memory(links);
        self.0.writes.fetch_add(1, Ordering::AcqRel);
        written
    }

    fn tell_memory(&self, links: &[LinkRecord]) {
        for link in links {
            let id = LinkName::Id(link.id);
            let slug = link
                .slug
                .as_ref()
                .map(|slug| LinkName::Slug(slug.as_str().into()));
            for name in [Some(id), slug].into_iter().flatten() {
                self.0.unknown.invalidate(&name);
                if self.0.memory.contains_key(&name) {
                    self.0.memory.insert(name, Arc::new(link.clone()));
                }
            }
        }
    }
}

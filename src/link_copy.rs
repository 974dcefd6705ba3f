//! The local copy of the links: what a click needs before it can be answered, without the database.
//!
//! Memory in front of a SQLite table in the data directory (`links.db`), refreshed from the database every few seconds (`link_copy/refresh.rs`);
//! a link made through this server's own API is there at once. After a restart with the database down, redirects go on from the file. A link that is in
//! neither is asked of the database within the patience of a click, at most a few at a time; that it is unknown is remembered for two seconds,
//! so guessing names does not reach the database.

mod refresh;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool};
use tokio::sync::{Mutex, Semaphore};

use crate::clock::Clock;
use crate::hit::LinkId;
use crate::link::LinkRecord;
use crate::store::Store;

use refresh::Progress;

/// Links kept in memory, about 0.5 KB each.
const IN_MEMORY: u64 = 20_000;
/// Names remembered as unknown.
const UNKNOWN: u64 = 10_000;
/// Clicks that may ask the database at once.
const ASKING: usize = 4;

const SCHEMA: &str = "
    create table if not exists links (id integer primary key, slug text unique, record text not null) strict;
    create table if not exists progress (name text primary key, changed_at integer not null, id integer not null) strict;
";

/// What a link is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LinkName {
    /// Id in a token.
    Id(LinkId),
    /// Name of a standalone link.
    Slug(Box<str>),
}

/// The copy; cheap to clone.
#[derive(Clone)]
pub struct LinkCopy(Arc<Inner>);

struct Inner {
    file: SqlitePool,
    memory: Cache<LinkName, Arc<LinkRecord>>,
    unknown: Cache<LinkName, ()>,
    store: Store,
    asking: Semaphore,
    patience: Duration,
    clock: Clock,
    /// Goes up before and after each writing of the file: odd while it is written.
    writes: AtomicU64,
    progress: Mutex<Option<Progress>>,
}

impl LinkCopy {
    /// Opens or creates the copy in a directory.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub async fn open(
        dir: &Path,
        store: Store,
        patience: Duration,
        clock: Clock,
    ) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(dir.join("links.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A copy: what a power cut takes is fetched again.
            .synchronous(SqliteSynchronous::Normal)
            .pragma("cache_size", "-2000")
            // Slugs are random, so a page of them touches as many pages of the file: each is written back once for many.
            .pragma("wal_autocheckpoint", "16000");
        let file = SqlitePoolOptions::new()
            // One for the refresh, the others for clicks on links that are not in memory.
            .max_connections(4)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(SCHEMA).execute(&file).await?;
        Ok(Self(Arc::new(Inner {
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
        })))
    }

    /// The link of a name, where one is known.
    pub async fn get(&self, name: LinkName) -> Option<Arc<LinkRecord>> {
        if let Some(link) = self.0.memory.get(&name) {
            return Some(link);
        }
        if self.0.unknown.contains_key(&name) {
            return None;
        }
        let writes = self.0.writes.load(Ordering::Acquire);
        let found = match self.get_from_file(&name).await {
            Some(link) => Some(link),
            None => self.ask(&name).await,
        };
        match found {
            Some(link) => {
                let link = Arc::new(link);
                // What was read while the file was written may be of yesterday: good for this click, not to be kept.
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

    async fn get_from_file(&self, name: &LinkName) -> Option<LinkRecord> {
        let query = match name {
            LinkName::Id(id) => sqlx::query("select record from links where id = $1").bind(id.0),
            LinkName::Slug(slug) => {
                sqlx::query("select record from links where slug = $1").bind(slug.to_string())
            }
        };
        match query.fetch_optional(&self.0.file).await {
            Ok(row) => serde_json::from_str(row?.try_get(0).ok()?).ok(),
            Err(error) => {
                tracing::warn!(%error, "the local link copy cannot be read");
                None
            }
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
        let link = tokio::time::timeout(self.0.patience, asked).await.ok()??;
        if let Err(error) = self.put(std::slice::from_ref(&link)).await {
            tracing::warn!(%error, "the local link copy cannot be written");
        }
        Some(link)
    }

    /// Takes links into the copy; they are served from then on.
    ///
    /// # Errors
    /// The file cannot be written; memory has the links all the same.
    pub async fn put(&self, links: &[LinkRecord]) -> sqlx::Result<()> {
        for link in links {
            self.remember(&Arc::new(link.clone()));
        }
        self.write(links, None).await
    }

    /// Writes links into the file and says new values to memory where it holds old ones: a million links that nobody clicks are not to drive
    /// out those that are clicked.
    async fn write(&self, links: &[LinkRecord], progress: Option<&Progress>) -> sqlx::Result<()> {
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
        let written = self.write_file(json, progress).await;
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
        self.0.writes.fetch_add(1, Ordering::AcqRel);
        written
    }

    async fn write_file(&self, json: String, progress: Option<&Progress>) -> sqlx::Result<()> {
        let mut tx = self.0.file.begin_with("begin immediate").await?;
        sqlx::query(
            "insert or replace into links (id, slug, record) select value ->> 0, value ->> 1, value ->> 2 from json_each($1)",
        )
        .bind(json)
        .execute(&mut *tx)
        .await?;
        for (name, point) in progress.into_iter().flat_map(Progress::points) {
            sqlx::query(
                "insert or replace into progress (name, changed_at, id) values ($1, $2, $3)",
            )
            .bind(name)
            .bind(point.at.0)
            .bind(point.id)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await
    }
}

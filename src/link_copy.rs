//! The local copy of the links: what a click needs before it can be answered, without the database.
//!
//! Memory in front of a SQLite table in the data directory (`links.db`), refreshed from the database every few seconds; a link made through this
//! server's own API is there at once. After a restart with the database down, redirects go on from the file. A link that is in
//! neither is asked of the database within the patience of a click, at most a few at a time; that it is unknown is remembered for two seconds,
//! so guessing names does not reach the database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool};
use tokio::sync::{Semaphore, watch};

use crate::clock::{Clock, Micros};
use crate::hit::LinkId;
use crate::link::LinkRecord;
use crate::store::Store;

/// Links kept in memory, about 0.5 KB each.
const IN_MEMORY: u64 = 20_000;
/// Names remembered as unknown.
const UNKNOWN: u64 = 10_000;
/// Clocks of servers differ and transactions commit late: each refresh looks back so far.
const LOOK_BACK: i64 = 60 * Micros::SECOND;
/// Links a round trip of the refresh.
const PAGE: i64 = 5_000;
/// Clicks that may ask the database at once.
const ASKING: usize = 4;

const SCHEMA: &str = "
    create table if not exists links (id integer primary key, slug text unique, record text not null) strict;
    create table if not exists meta (refreshed_at integer not null) strict;
    insert into meta (refreshed_at) select 0 where not exists (select 1 from meta);
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
            .pragma("cache_size", "-2000");
        let file = SqlitePoolOptions::new()
            .max_connections(2)
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
        let found = match self.get_from_file(&name).await {
            Some(link) => Some(link),
            None => self.ask(&name).await,
        };
        match found {
            Some(link) => {
                let link = Arc::new(link);
                self.remember(&link);
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
            // New values for links that are in memory, and for new ones while there is room.
            self.remember(&Arc::new(link.clone()));
            self.0.unknown.invalidate(&LinkName::Id(link.id));
            if let Some(slug) = &link.slug {
                self.0
                    .unknown
                    .invalidate(&LinkName::Slug(slug.as_str().into()));
            }
        }
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
        sqlx::query(
            "insert or replace into links (id, slug, record) select value ->> 0, value ->> 1, value ->> 2 from json_each($1)",
        )
        .bind(json)
        .execute(&self.0.file)
        .await?;
        Ok(())
    }

    /// Fetches what changed since the last time; returns how many links that were.
    ///
    /// # Errors
    /// The database or the file fails.
    pub async fn refresh(&self) -> sqlx::Result<usize> {
        let started = self.0.clock.now();
        let last: i64 = sqlx::query_scalar("select refreshed_at from meta")
            .fetch_one(&self.0.file)
            .await?;
        let since = Micros((last - LOOK_BACK).max(0));
        let (mut after, mut count) = (LinkId(i64::MIN), 0);
        loop {
            let links = self.0.store.links_changed(since, after, PAGE).await?;
            let Some(end) = links.last() else { break };
            after = end.id;
            count += links.len();
            self.put(&links).await?;
            if links.len() < PAGE as usize {
                break;
            }
        }
        sqlx::query("update meta set refreshed_at = $1")
            .bind(started.0)
            .execute(&self.0.file)
            .await?;
        Ok(count)
    }

    /// Refreshes every `every` until `stop` is true.
    pub async fn run(self, every: Duration, mut stop: watch::Receiver<bool>) {
        let mut is_failing = false;
        loop {
            match self.refresh().await {
                Ok(_) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%error, "links cannot be refreshed; the local copy serves");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

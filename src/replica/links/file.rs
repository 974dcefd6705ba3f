//! The copy's file: what of the links outlives a restart. It is a cache, so nothing that happens to
//! it ends the server.
//!
//! **Damaged**, or anything else in its place: it is put aside and a new one fetched from the
//! database. Found at the start or while it is read; the next refresh makes the new one. **No room
//! for it** or its journal: at the start it is read as the last stop left it, without a journal;
//! later it keeps what it has, and the refresh writes the rest when there is room. In all of this
//! memory and the database answer what the file cannot.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{FromRow as _, Row, SqlitePool};

use crate::model::clock::Clock;
use crate::model::link::{LinkName, LinkRecord};
use crate::sqlite::{
    SqliteTransaction, Trouble, is_to_be_replaced, keep_newest_aside, put_aside, trouble,
};
use crate::store::ChangePoint;

const SCHEMA: &str = "
    create table if not exists links (id integer primary key, slug text unique, record text not null) strict;
    create table if not exists progress (name text primary key, changed_at integer not null, id integer not null) strict;
";
/// How long clicks that read a damaged file may delay setting it aside.
const CLOSING: Duration = Duration::from_secs(2);

pub(super) struct CopyFile {
    path: PathBuf,
    clock: Clock,
    opened: RwLock<Opened>,
    is_damaged: AtomicBool,
    /// The last read or write failed: logged once.
    is_failing: AtomicBool,
}

#[derive(Clone)]
enum Opened {
    Whole(SqlitePool),
    /// Without a journal, for lack of space.
    ToRead(SqlitePool),
    No,
}

impl CopyFile {
    /// Opens or creates it, whatever is there.
    pub(super) async fn open(dir: &Path, clock: Clock) -> Self {
        let file = Self {
            path: dir.join("links.db"),
            clock,
            opened: RwLock::new(Opened::No),
            is_damaged: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
        };
        let mut opened = file.try_open().await;
        if let Err(error) = &opened
            && is_to_be_replaced(error, &file.path)
        {
            file.put_aside(error);
            opened = file.try_open().await;
        }
        let opened = match opened {
            Ok(pool) => Opened::Whole(pool),
            Err(error) => {
                file.note(Some(&error));
                file.open_to_read().await
            }
        };
        file.set(opened);
        file
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .pragma("cache_size", "-2000")
    }

    async fn try_open(&self) -> sqlx::Result<SqlitePool> {
        let options = self
            .options()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A copy: what a power cut takes is fetched again.
            .synchronous(SqliteSynchronous::Normal)
            // Slugs are random, so a page of them touches as many pages of the file: each is
            // written back once for many.
            .pragma("wal_autocheckpoint", "16000");
        let pool = SqlitePoolOptions::new()
            // One for the refresh, the others for clicks on links that are not in memory.
            .max_connections(4)
            .connect_with(options)
            .await?;
        let made = sqlx::raw_sql(SCHEMA).execute(&pool).await;
        // Tables of another shape are as good as none.
        let read = match made {
            Ok(_) => read_points(&pool).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = read {
            pool.close().await;
            return Err(error);
        }
        Ok(pool)
    }

    /// SQLite's journal index needs space even to read; a file that was closed cleanly can be read
    /// without.
    async fn open_to_read(&self) -> Opened {
        let options = self.options().read_only(true).immutable(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await;
        match pool {
            Ok(pool) => Opened::ToRead(pool),
            Err(_) => Opened::No,
        }
    }

    fn get(&self) -> Opened {
        self.opened
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, opened: Opened) -> Opened {
        let mut place = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, opened)
    }

    fn put_aside(&self, why: &sqlx::Error) {
        match put_aside(&self.path, self.clock.now()) {
            Ok(Some(aside)) => {
                tracing::error!(%why, aside = %aside.display(), "the local link copy is damaged: \
                    it is set aside and fetched again");
                metrics::counter!("sillage_link_copy_damaged_total").increment(1);
                keep_newest_aside(&self.path);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%why, %error, "the local link copy is damaged and cannot be set \
                    aside; links are read from the database");
            }
        }
    }

    /// Replaces an unusable file, if that is possible now. True if it is a new one, with nothing in
    /// it.
    pub(super) async fn mend(&self) -> bool {
        let is_damaged = self.is_damaged.swap(false, Ordering::AcqRel);
        let opened = self.get();
        match opened {
            Opened::Whole(pool) if is_damaged => {
                self.set(Opened::No);
                let _ = tokio::time::timeout(CLOSING, pool.close()).await;
                self.put_aside(&sqlx::Error::Protocol("found when reading".to_owned()));
            }
            Opened::Whole(_) => return false,
            Opened::ToRead(_) | Opened::No => {}
        }
        let was_there = std::fs::metadata(&self.path).is_ok_and(|meta| meta.len() > 0);
        let opened = match self.try_open().await {
            Err(error) if is_to_be_replaced(&error, &self.path) => {
                self.put_aside(&error);
                self.try_open().await.map(|pool| (pool, true))
            }
            opened => opened.map(|pool| (pool, !was_there)),
        };
        match opened {
            Ok((pool, is_new)) => {
                if let Opened::ToRead(before) = self.set(Opened::Whole(pool)) {
                    tokio::spawn(async move { before.close().await });
                }
                is_new
            }
            Err(error) => {
                self.note(Some(&error));
                false
            }
        }
    }

    /// Checkpoints the journal: a file closed cleanly can be read where there is no space for a
    /// journal.
    pub(super) async fn close(&self) {
        if let Opened::Whole(pool) | Opened::ToRead(pool) = self.set(Opened::No) {
            let _ = tokio::time::timeout(CLOSING, pool.close()).await;
        }
    }

    /// Records how it went, and logs it if that is news.
    fn note(&self, error: Option<&sqlx::Error>) {
        let Some(error) = error else {
            if self.is_failing.load(Ordering::Relaxed)
                && self.is_failing.swap(false, Ordering::Relaxed)
            {
                tracing::info!("the local link copy can be used again");
            }
            return;
        };
        if trouble(error) == Trouble::Damage {
            self.is_damaged.store(true, Ordering::Release);
        }
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the local link copy cannot be used; memory and the database \
                serve links until it can");
        }
    }

    /// The link with a name, if the file has it.
    pub(super) async fn link(&self, name: &LinkName) -> Option<LinkRecord> {
        if self.is_damaged.load(Ordering::Acquire) {
            return None;
        }
        let (Opened::Whole(pool) | Opened::ToRead(pool)) = self.get() else {
            return None;
        };
        let query = match name {
            LinkName::Id(id) => sqlx::query("select record from links where id = $1").bind(id.0),
            LinkName::Slug(slug) => {
                sqlx::query("select record from links where slug = $1").bind(slug.to_string())
            }
        };
        match query.fetch_optional(&pool).await {
            Ok(row) => serde_json::from_str(row?.try_get("record").ok()?).ok(),
            Err(sqlx::Error::PoolClosed) => None,
            Err(error) => {
                self.note(Some(&error));
                None
            }
        }
    }

    /// Its progress, by name.
    pub(super) async fn points(&self) -> sqlx::Result<Vec<(String, ChangePoint)>> {
        let (Opened::Whole(pool) | Opened::ToRead(pool)) = self.get() else {
            return Ok(Vec::new());
        };
        let points = read_points(&pool).await;
        if let Err(error) = &points {
            self.note(Some(error));
        }
        points
    }

    /// Writes links, as an array of id, slug and record each, and its progress with them.
    pub(super) async fn write(
        &self,
        links: String,
        reached: Option<(&'static str, ChangePoint)>,
    ) -> sqlx::Result<()> {
        let Opened::Whole(pool) = self.get() else {
            return Err(sqlx::Error::PoolClosed);
        };
        let written = try_write(&pool, links, reached).await;
        self.note(written.as_ref().err());
        written
    }
}

async fn read_points(pool: &SqlitePool) -> sqlx::Result<Vec<(String, ChangePoint)>> {
    let rows = sqlx::query("select name, changed_at, id from progress")
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("name")?, ChangePoint::from_row(row)?)))
        .collect()
}

async fn try_write(
    pool: &SqlitePool,
    links: String,
    reached: Option<(&'static str, ChangePoint)>,
) -> sqlx::Result<()> {
    let mut tx = SqliteTransaction::begin(pool).await?;
    sqlx::query(
        "insert or replace into links (id, slug, record) select value ->> 0, value ->> 1, value \
        ->> 2 from json_each($1)",
    )
    .bind(links)
    .execute(&mut *tx)
    .await?;
    if let Some((name, point)) = reached {
        sqlx::query("insert or replace into progress (name, changed_at, id) values ($1, $2, $3)")
            .bind(name)
            .bind(point.at.0)
            .bind(point.id)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

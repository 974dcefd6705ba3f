//! A new database of either kind, with its tables, and the data directory of the server that uses
//! it.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use sillage::both;
use sillage::door::Store;
use tempfile::TempDir;

use super::postgres::Cluster;
use super::process::scratch_dir;
use super::server::Server;

/// How long a statement may take: preparations write millions of rows in one.
pub const PATIENCE: Duration = Duration::from_secs(3_600);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The embedded one.
    Sqlite,
    /// A throw-away cluster.
    Postgres,
}

impl Kind {
    /// As it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "Postgres",
        }
    }
}

/// The database of one server.
pub struct Database {
    /// For `--database-url`.
    pub url: String,
    /// To prepare and to count.
    pub store: Store,
    dir: TempDir,
}

impl Database {
    /// Makes one with all tables. `name` is for Postgres, where several share the cluster.
    pub async fn create(cluster: Option<&Cluster>, name: &str) -> anyhow::Result<Self> {
        let dir = scratch_dir("data")?;
        let url = match cluster {
            Some(cluster) => cluster.create(name).await?,
            None => format!("sqlite://{}", dir.path().join("sillage.db").display()),
        };
        let store = Store::open(&url, 4, PATIENCE).await?;
        store.migrate().await?;
        Ok(Self { url, store, dir })
    }

    /// The server's data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a server on it. `settings`: see [`Server::start`].
    pub async fn serve(&self, settings: &[(&str, &str)]) -> anyhow::Result<Server> {
        let mut all = vec![("DATABASE_URL", self.url.as_str())];
        all.extend_from_slice(settings);
        Server::start(self.dir(), &all).await
    }

    /// Hits, and how many of them are different.
    pub async fn count_hits(&self) -> anyhow::Result<(u64, u64)> {
        let sql = "select count(*), count(distinct id) from hits";
        let (all, different): (i64, i64) =
            both!(self.store.reader(), pool => sqlx::query_as(sql).fetch_one(pool).await)?;
        Ok((all as u64, different as u64))
    }

    /// Records that the database refused.
    pub async fn count_quarantined(&self) -> anyhow::Result<u64> {
        let sql = "select count(*) from quarantine";
        let count: i64 =
            both!(self.store.reader(), pool => sqlx::query_scalar(sql).fetch_one(pool).await)?;
        Ok(count as u64)
    }
}

//! The cluster of a run, with the settings that `initdb` gives it.

use anyhow::bail;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::process::cpu_seconds;
use super::rig;
use super::rig::postgres::{PostgresServer, Settings};

pub use super::rig::postgres::MISSING;

/// The cluster; it goes with this value, its directory with the run.
pub struct Cluster {
    server: PostgresServer,
}

impl Cluster {
    /// Whether the programs are installed.
    pub fn is_installed() -> bool {
        rig::postgres_programs().is_some()
    }

    /// Makes and starts a cluster.
    pub async fn start() -> anyhow::Result<Self> {
        if !Self::is_installed() {
            bail!(MISSING);
        }
        let server = PostgresServer::start_with(Settings::USUAL).await;
        Ok(Self { server })
    }

    /// Makes a database; returns its URL.
    pub async fn create(&self, name: &str) -> anyhow::Result<String> {
        self.run(format!("create database {name}")).await?;
        Ok(self.server.url(name))
    }

    /// Writes out what the preparation left in memory, so that every measurement begins alike.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        self.run("checkpoint".to_owned()).await
    }

    /// Seconds of processor of the whole cluster.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.server.id())
    }

    async fn run(&self, sql: String) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&self.server.url("postgres")).await?;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }
}

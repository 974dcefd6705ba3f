//! A throw-away Postgres with the settings that `initdb` gives it: fsync and synchronous commit are
//! on.

use std::time::{Duration, Instant};

use anyhow::bail;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use super::process::{Farewell, Process, scratch_dir};
use super::rig;

/// What is missing where there is no Postgres.
pub const MISSING: &str =
    "no Postgres server under /usr/lib/postgresql (Debian package postgresql)";

/// The cluster; it and its directory go with this value.
pub struct Cluster {
    process: Process,
    port: u16,
    _dir: TempDir,
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
        let dir = scratch_dir("postgres")?;
        if let Some((user, group)) = rig::postgres_user() {
            std::os::unix::fs::chown(dir.path(), Some(user), Some(group))?;
        }
        let command = |name: &str| rig::postgres_command(name, dir.path());
        let data = dir.path().join("data");
        let made = command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--pgdata"])
            .arg(&data)
            .output()?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        let port = rig::free_port();
        let log = std::fs::File::create(dir.path().join("log"))?;
        let process = Process::spawn(
            "postgres",
            command("postgres")
                .arg("-D")
                .arg(&data)
                .args(["-p", &port.to_string(), "-k"])
                .arg(dir.path())
                .args(["-c", "listen_addresses=127.0.0.1"])
                .stdout(log.try_clone()?)
                .stderr(log),
            // Immediate shutdown: nobody needs this data again.
            Farewell::Signal("QUIT"),
        )?;
        let mut cluster = Self {
            process,
            port,
            _dir: dir,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while cluster.connect().await.is_err() {
            cluster.process.check()?;
            if Instant::now() > deadline {
                bail!("postgres does not answer");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(cluster)
    }

    /// Makes a database; returns its URL.
    pub async fn create(&self, name: &str) -> anyhow::Result<String> {
        self.run(format!("create database {name}")).await?;
        Ok(self.url(name))
    }

    /// Writes out what the preparation left in memory, so that every measurement begins alike.
    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        self.run("checkpoint".to_owned()).await
    }

    /// Seconds of processor of the whole cluster.
    pub fn cpu_seconds(&self) -> f64 {
        self.process.cpu_seconds()
    }

    async fn run(&self, sql: String) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.url("postgres")).await
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

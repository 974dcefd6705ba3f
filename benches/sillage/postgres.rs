//! A throw-away Postgres with the settings that `initdb` gives it: fsync and synchronous commit are
//! on.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use super::process::{Farewell, Process, free_address, is_root, scratch_dir};

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
        programs().is_some()
    }

    /// Makes and starts a cluster.
    pub async fn start() -> anyhow::Result<Self> {
        let programs = programs().context(MISSING)?;
        let dir = scratch_dir("postgres")?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(dir.path(), Some(user), Some(group))?;
        }
        let command = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command.current_dir(dir.path());
            if let Some((user, group)) = owner {
                command.uid(user).gid(group);
            }
            command
        };
        let data = dir.path().join("data");
        let made = command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--pgdata"])
            .arg(&data)
            .output()?;
        if !made.status.success() {
            bail!("initdb: {}", String::from_utf8_lossy(&made.stderr));
        }
        let port = free_address()?.port();
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

/// The directory of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(Result::ok)
        .map(|version| version.path())
        .filter(|path| path.join("bin/initdb").is_file())
        .max_by_key(|path| {
            path.file_name()
                .and_then(|name| name.to_str()?.parse::<u32>().ok())
        })
        .map(|path| path.join("bin"))
}

/// Postgres refuses root: then it runs as the package's own user. Returns the numbers of user and
/// group.
fn owner() -> anyhow::Result<Option<(u32, u32)>> {
    if !is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let numbers = users
        .lines()
        .find_map(|line| line.strip_prefix("postgres:"))
        .and_then(|rest| {
            let mut fields = rest.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
    numbers
        .map(Some)
        .context("no user postgres (Debian package postgresql)")
}

//! A throw-away Postgres: one for a whole run, and more for tests that break theirs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::need::{need, wait_for};
use super::scratch::{self, Process};

/// How a cluster is made and run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Arguments of `initdb`.
    initdb: &'static [&'static str],
    /// Parameters of the server.
    parameters: &'static [&'static str],
}

impl Settings {
    /// For tests: made without waiting for the disk, small, and for many connections.
    pub const TESTS: Self = Self {
        initdb: &["--locale=C", "--no-sync"],
        parameters: &[
            "fsync=on",
            "full_page_writes=on",
            "shared_buffers=64MB",
            "max_connections=200",
        ],
    };
    /// As `initdb` makes it, whose fsync and synchronous commit are on.
    pub const USUAL: Self = Self {
        initdb: &["--locale=C.UTF-8"],
        parameters: &[],
    };
}

/// What is missing where there is no Postgres.
pub const MISSING: &str =
    "no Postgres server under /usr/lib/postgresql (Debian package postgresql)";

/// A cluster with its data directory and its port, running or not.
pub struct PostgresServer {
    dir: PathBuf,
    port: u16,
    settings: Settings,
    process: Option<Process>,
}

impl PostgresServer {
    /// Makes a cluster for a test and starts it.
    pub async fn start() -> Self {
        Self::start_with(Settings::TESTS).await
    }

    /// Makes a cluster and starts it.
    pub async fn start_with(settings: Settings) -> Self {
        tokio::task::spawn_blocking(move || Self::start_blocking(settings))
            .await
            .unwrap()
    }

    fn start_blocking(settings: Settings) -> Self {
        need("Postgres");
        let dir = scratch::new_dir("postgres");
        if let Some((uid, gid)) = super::postgres_user() {
            std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).unwrap();
        }
        let made = program("initdb", &dir)
            .args(["--pgdata=data", "--username=sillage", "--auth=trust"])
            .arg("--encoding=UTF8")
            .args(settings.initdb)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut server = Self {
            dir,
            port: super::free_port(),
            settings,
            process: None,
        };
        server.launch();
        server.await_answer();
        server
    }

    /// The URL of a new, empty database on the cluster that all tests share.
    pub async fn new_shared_database() -> String {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        let shared = tokio::task::spawn_blocking(|| {
            SHARED.get_or_init(|| Self::start_blocking(Settings::TESTS))
        })
        .await
        .unwrap();
        shared.new_database().await
    }

    /// The URL of a new, empty database.
    pub async fn new_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("it_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    /// The URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://sillage@127.0.0.1:{}/{database}", self.port)
    }

    /// Its postmaster's number.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// kill -9 of the postmaster and everything it started, as a power cut would.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        let mut ids = children_of(process.id());
        ids.push(process.id());
        scratch::send_signal("KILL", &ids);
        wait_for("Postgres dies", Duration::from_secs(10), async || {
            process.ended().is_some()
        })
        .await;
    }

    /// Starts it again after [`Self::kill`], on the same data and port.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.launch();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            assert!(Instant::now() < deadline, "{}", self.log());
            if self
                .process
                .as_mut()
                .is_none_or(|process| process.ended().is_some())
            {
                // Children of the killed one still held its memory.
                self.launch();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn launch(&mut self) {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.dir.join("log"))
            .unwrap();
        let mut command = program("postgres", &self.dir);
        command
            .args(["-D", "data", "-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(self.settings.parameters.iter().flat_map(|of| ["-c", of]))
            .stderr(log)
            .stdout(Stdio::null());
        self.process = Some(Process::start(&mut command, "QUIT"));
    }

    fn await_answer(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.answers() {
            assert!(Instant::now() < deadline, "{}", self.log());
            let process = self.process.as_mut().unwrap();
            assert!(process.ended().is_none(), "{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        program("pg_isready", &self.dir)
            .args(["-h", "127.0.0.1", "-d", "postgres", "-p"])
            .arg(self.port.to_string())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        format!("Postgres does not answer; its log:\n{log}")
    }
}

/// A program of Postgres that speaks English.
fn program(name: &str, dir: &Path) -> Command {
    let mut command = super::postgres_command(name, dir);
    command.env("LC_ALL", "C");
    command
}

fn children_of(id: u32) -> Vec<u32> {
    let text =
        std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

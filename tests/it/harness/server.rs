//! The server as a child process: the real binary, killed and started again as often as a test
//! likes.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Client, Db, Engine, Network, PostgresServer, Process, wait_for};
use crate::rig::server::{Progress, STARTING};
use crate::rig::{self, figure, scratch};

/// How many migrations there are.
fn migrations() -> i64 {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
    std::fs::read_dir(dir).unwrap().count() as i64
}

/// How a server is to be started.
pub struct Setup {
    engine: Engine,
    dir: Option<PathBuf>,
    database_url: Option<String>,
    /// The same by the way that the server takes, where that is another than the test's.
    way_url: Option<String>,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    descriptors: Option<(u32, u32)>,
}

impl Setup {
    /// Runs it with a soft and a hard limit of file descriptors.
    pub fn descriptors(mut self, soft: u32, hard: u32) -> Self {
        self.descriptors = Some((soft, hard));
        self
    }

    /// Sets a key of the configuration by its variable, without `SILLAGE_`: `("SPOOL__ACK",
    /// "fast")`.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((format!("SILLAGE_{name}"), value.to_owned()));
        self
    }

    /// Uses a database of the test's own.
    pub fn database(mut self, url: &str) -> Self {
        self.database_url = Some(url.to_owned());
        self
    }

    /// Lets the server reach the database set before by a network; the test itself goes straight
    /// there.
    pub fn by_way_of(mut self, network: &Network) -> Self {
        self.way_url = self.database_url.as_deref().map(|url| network.url(url));
        self
    }

    /// Uses a data directory of the test's own.
    pub fn data_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Adds an argument of the command line, such as `--demo`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it and waits until it is ready, its tables are there and it knows that its database
    /// is up.
    pub async fn start(self) -> TestServer {
        let server = self.start_without_database().await;
        server.wait_tables().await;
        server.wait_database("up", STARTING).await;
        server
    }

    /// Starts it and waits until it is ready; the database may be away.
    pub async fn start_without_database(self) -> TestServer {
        let mut server = self.be().await;
        server.start_again().await;
        server
    }

    /// The server, not started yet.
    pub async fn be(self) -> TestServer {
        let database_url = match (self.engine, self.database_url) {
            (Engine::Sqlite, url) => url.filter(|url| url.starts_with("sqlite:")),
            (Engine::Postgres, Some(url)) => Some(url),
            (Engine::Postgres, None) => Some(PostgresServer::new_shared_database().await),
        };
        let inherits = self.dir.is_some();
        let dir = self.dir.unwrap_or_else(|| scratch::new_dir("data"));
        let db = match &database_url {
            Some(url) if url.starts_with("sqlite:") => {
                Db::sqlite(Path::new(url.trim_start_matches("sqlite://")))
            }
            Some(url) => Db::postgres(url),
            None => Db::sqlite(&dir.join("sillage.db")),
        };
        TestServer {
            address: SocketAddr::from(([127, 0, 0, 1], rig::free_port())),
            log: scratch::new_dir("log").join("log"),
            dir,
            database_url: self.way_url.or(database_url),
            db,
            env: self.env,
            arguments: self.arguments,
            descriptors: self.descriptors,
            inherits,
            process: None,
        }
    }
}

/// A server, running or not, with its data directory and its port.
pub struct TestServer {
    address: SocketAddr,
    dir: PathBuf,
    log: PathBuf,
    database_url: Option<String>,
    db: Db,
    env: Vec<(String, String)>,
    arguments: Vec<String>,
    descriptors: Option<(u32, u32)>,
    /// An earlier process may have left hits in the spool.
    inherits: bool,
    process: Option<Process>,
}

impl TestServer {
    /// A server to be, on one of the two databases; Postgres is the cluster that all tests share
    /// unless the test says otherwise.
    pub fn on(engine: Engine) -> Setup {
        Setup {
            engine,
            dir: None,
            database_url: None,
            way_url: None,
            env: Vec::new(),
            arguments: Vec::new(),
            descriptors: None,
        }
    }

    /// A running server with a cluster of its own, for tests that break it.
    pub async fn on_own_postgres() -> (PostgresServer, Self) {
        let postgres = PostgresServer::start().await;
        let url = postgres.new_database().await;
        let setup = Self::on(Engine::Postgres).database(&url);
        (postgres, setup.start().await)
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process' number.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    pub fn data_dir(&self) -> &Path {
        &self.dir
    }

    /// `postgres://…`, or none on SQLite.
    pub fn database_url(&self) -> Option<&str> {
        self.database_url.as_deref()
    }

    /// The database, past the server.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// A new browser without cookies.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Everything logged so far, over all restarts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Starts the process (again) on the same data directory, database and port, and returns at
    /// once.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.inherits |= self.log.exists();
        let log = File::options()
            .append(true)
            .create(true)
            .open(&self.log)
            .unwrap();
        let mut command = self.command();
        if let Some((soft, hard)) = self.descriptors {
            let mut limited = Command::new("/bin/sh");
            let script = format!("ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$@\"");
            limited
                .args(["-c", &script, "sh"])
                .arg(command.get_program());
            limited.env_clear();
            for (name, value) in command.get_envs() {
                limited.env(name, value.unwrap_or_default());
            }
            command = limited;
        }
        command
            .arg("serve")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.process = Some(Process::start(&mut command, "KILL"));
    }

    /// From its next start on the server's clock begins there, such as `2038-01-02 03:04:05` UTC;
    /// none is the machine's own. Time passes as fast as ever.
    pub fn set_clock(&mut self, at: Option<&str>) {
        const NAMES: [&str; 4] = [
            "LD_PRELOAD",
            "FAKETIME",
            "FAKETIME_DONT_FAKE_MONOTONIC",
            "TZ",
        ];
        self.env.retain(|(name, _)| !NAMES.contains(&name.as_str()));
        let Some(at) = at else { return };
        super::need("libfaketime");
        let library = std::fs::read_dir("/usr/lib")
            .unwrap()
            .map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"))
            .find(|library| library.exists())
            .expect("Debian's package libfaketime");
        let values = [library.to_str().unwrap(), &format!("@{at}"), "1", "UTC"];
        for (name, value) in NAMES.into_iter().zip(values) {
            self.env.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Takes a process for this server's that a test has started in a way of its own.
    pub fn adopt(&mut self, process: Process) {
        assert!(self.process.is_none(), "it runs");
        self.process = Some(process);
    }

    /// Waits until its tables are there.
    pub async fn wait_tables(&self) {
        wait_for("the tables are made", STARTING, async || {
            self.db()
                .try_number("select count(*) from _sqlx_migrations where success")
                .await
                .is_ok_and(|made| made == migrations())
        })
        .await;
    }

    /// The binary with this server's configuration, for other commands than `serve`.
    pub fn command(&self) -> Command {
        let mut command =
            rig::server::command(env!("CARGO_BIN_EXE_sillage"), self.address, &self.dir);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(url) = &self.database_url {
            command.env("DATABASE_URL", url);
        }
        command
    }

    /// [`Self::launch`], and waits until it takes hits.
    pub async fn start_again(&mut self) {
        self.launch();
        self.wait_ready().await;
    }

    /// [`Self::launch`] where the start is refused: the exit code, once it has ended, and what it
    /// said.
    pub async fn start_refused(&mut self) -> (Option<i32>, String) {
        let before = self.log().len();
        self.launch();
        let code = self.wait_end(STARTING).await;
        (code, self.log().split_off(before))
    }

    /// Waits until `/readyz` says 200.
    pub async fn wait_ready(&mut self) {
        let process = self.process.as_mut().expect("launched");
        let ready = rig::server::wait_ready(process, self.address).await;
        ready.unwrap_or_else(|error| panic!("{error}:\n{}", self.log()));
    }

    /// What `/readyz` says, whatever its status.
    pub async fn readiness(&self) -> serde_json::Value {
        self.client().get("/readyz").await.json()
    }

    /// Waits until `/readyz` says so of the database: `up` or `down`.
    pub async fn wait_database(&self, state: &str, within: Duration) {
        wait_for(&format!("/readyz tells {state}"), within, async || {
            self.readiness().await["database"] == state
        })
        .await;
    }

    /// Waits until the database has every hit that the spool had, also those that were answered
    /// before the disk had them.
    pub async fn wait_drained(&self, within: Duration) {
        wait_for("the spool is empty", within, async || {
            let spool = &self.readiness().await["spool"];
            spool["unwritten"] == 0 && spool["backlog"] == 0
        })
        .await;
    }

    /// Waits until every hit is stored or put aside. Sooner than [`Self::wait_drained`], by the
    /// quarter of a second that the spool takes its time to forget them; but not where the process
    /// has found hits of an earlier one in the spool, which it counts as stored and not as taken.
    pub async fn wait_stored(&self, within: Duration) {
        if self.inherits {
            return self.wait_drained(within).await;
        }
        let mut client = self.client().admin();
        wait_for("every hit is stored", within, async || {
            let text = client.get("/metrics").await.text();
            Progress::read(&text).is_done()
        })
        .await;
    }

    /// A figure of `/metrics`, with its labels or summed over them; 0 where it has not been counted
    /// yet.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = self.client().admin().get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        figure(&answer.text(), name)
    }

    /// kill -9.
    pub async fn kill(&mut self) {
        self.process.as_ref().expect("it runs").signal("KILL");
        self.wait_end(Duration::from_secs(10)).await;
    }

    /// How many file descriptors it has open.
    pub fn open_descriptors(&self) -> u64 {
        let dir = std::fs::read_dir(format!("/proc/{}/fd", self.id()));
        dir.unwrap().count() as u64
    }

    /// Sets how many it may have open from now on.
    pub fn limit_descriptors(&self, current: u64) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(4_096),
        };
        prlimit(Pid::from_raw(self.id() as i32), Resource::Nofile, limit).unwrap();
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.process.as_ref().expect("it runs").signal("HUP");
    }

    /// SIGTERM, and the exit code.
    pub async fn terminate(&mut self, within: Duration) -> Option<i32> {
        self.process.as_ref().expect("it runs").signal("TERM");
        self.wait_end(within).await
    }

    async fn wait_end(&mut self, within: Duration) -> Option<i32> {
        let mut process = self.process.take().expect("it runs");
        let mut code = None;
        wait_for("the server ends", within, async || {
            let status = process.ended();
            code = status.and_then(|status| status.code());
            status.is_some()
        })
        .await;
        code
    }

    /// Counts all figures again from the hits: they must not differ.
    pub async fn recount(&self) {
        let mut command = self.command();
        command.arg("recount");
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{errors}");
    }

    /// Ends a test: a graceful stop, after which the spool is empty and nothing was put aside.
    pub async fn finish(self) {
        self.finish_with_quarantined(0).await;
    }

    /// [`Self::finish`] where so many records are expected in the quarantine.
    pub async fn finish_with_quarantined(mut self, expected: i64) {
        assert_eq!(self.terminate(Duration::from_secs(30)).await, Some(0));
        let spool = sillage::door::waiting::status(&self.dir).await.unwrap();
        assert_eq!((spool.groups, spool.hits), (0, 0), "the spool is empty");
        assert_eq!(self.db.quarantined().await, expected, "in quarantine");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the server's last lines:\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

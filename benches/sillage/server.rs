//! The server under test: the program as it is shipped, in a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::process::{Memory, Process, free_address};
use super::rig::need::try_wait_for;
use super::rig::server::Progress;
use super::rig::{self, probe};

/// Longest wait for the database.
const CATCHING_UP: Duration = Duration::from_secs(180);

/// A running server.
pub struct Server {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    metrics: SocketAddr,
    /// From the start of the process to the first `200` of `/readyz`.
    pub started_in: Duration,
}

impl Server {
    /// Starts a server on a data directory and waits until it takes hits. `settings` are keys of
    /// the configuration as its environment names them, without `SILLAGE_`.
    pub async fn start(dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (address, metrics) = (free_address(), free_address());
        let mut command = rig::server::command(env!("CARGO_BIN_EXE_sillage"), address, dir);
        command
            .arg("serve")
            .env("SILLAGE_METRICS__LISTEN", metrics.to_string())
            .env("SILLAGE_LOG__LEVEL", "warn");
        for (key, value) in settings {
            command.env(format!("SILLAGE_{key}"), value);
        }
        let started = Instant::now();
        let mut process = Process::spawn("sillage", &mut command, "KILL")?;
        rig::server::wait_ready(process.inner(), address).await?;
        Ok(Self {
            process,
            address,
            metrics,
            started_in: started.elapsed(),
        })
    }

    /// What the process uses now, and used at most.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        self.process.memory()
    }

    /// Starts the peak of its memory anew.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        self.process.forget_peak()
    }

    /// Seconds of processor.
    pub fn cpu_seconds(&self) -> f64 {
        self.process.cpu_seconds()
    }

    /// Hits on disk that the database has not yet.
    pub fn backlog(&self) -> anyhow::Result<u64> {
        let body = probe::get(self.address, "/readyz")?.body;
        let state: serde_json::Value = serde_json::from_slice(&body)?;
        state["spool"]["backlog"]
            .as_u64()
            .context("/readyz tells no backlog")
    }

    /// A counter of `/metrics`, over all labels; one that was never counted up is 0.
    pub fn counter(&self, name: &str) -> anyhow::Result<u64> {
        Ok(rig::figure(&self.figures()?, name) as u64)
    }

    fn figures(&self) -> anyhow::Result<String> {
        let body = probe::get(self.metrics, "/metrics")?.body;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Waits until the database has every hit; returns how long that took.
    pub async fn catch_up(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        try_wait_for("every hit is stored", CATCHING_UP, async || {
            self.process.check()?;
            Ok(Progress::read(&self.figures()?).is_done())
        })
        .await?;
        Ok(started.elapsed())
    }
}

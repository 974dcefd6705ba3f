//! The server under test: the program as it is shipped, in a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::mailing;
use super::probe;
use super::process::{Memory, Process, free_address};
use super::rig;

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
        let mut command = Command::new(env!("CARGO_BIN_EXE_sillage"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SILLAGE_") || name == "DATABASE_URL" {
                command.env_remove(name);
            }
        }
        command
            .args(["serve", "--listen", &address.to_string()])
            .arg("--data-dir")
            .arg(dir)
            .env("SILLAGE_METRICS__LISTEN", metrics.to_string())
            .env("SILLAGE_KEYS__SIGNING", mailing::SIGNING_KEY)
            .env("SILLAGE_ADMIN_TOKEN", mailing::ADMIN_TOKEN)
            .env("SILLAGE_LOG__LEVEL", "warn");
        for (key, value) in settings {
            command.env(format!("SILLAGE_{key}"), value);
        }
        let started = Instant::now();
        let mut process = Process::spawn("sillage", &mut command, "KILL")?;
        let deadline = started + Duration::from_secs(30);
        while !probe::get(address, "/readyz").is_ok_and(|answer| answer.status == 200) {
            process.check()?;
            if Instant::now() > deadline {
                bail!("the server does not get ready");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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
        let body = probe::get(self.metrics, "/metrics")?.body;
        Ok(rig::figure(&String::from_utf8_lossy(&body), name) as u64)
    }

    /// Waits until the database has every hit; returns how long that took.
    pub async fn catch_up(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            // The backlog is what is on disk, so it is 0 for a moment too before a hit gets there:
            // what was taken decides.
            let taken = self.counter("sillage_hits_accepted_total")?;
            let stored = self.counter("sillage_hits_stored_total")?
                + self.counter("sillage_hits_quarantined_total")?
                + self.counter("sillage_hits_duplicate_total")?;
            if stored >= taken {
                return Ok(started.elapsed());
            }
            self.process.check()?;
            if started.elapsed() > Duration::from_secs(180) {
                bail!(
                    "{taken} hits were taken, and after three minutes {stored} of them are stored"
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

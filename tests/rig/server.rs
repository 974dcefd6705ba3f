//! The server as a process: how it is called, when it is ready, and what it has stored.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::need::try_wait_for;
use super::scratch::Process;
use super::{figure, probe};

/// The token of every server's API.
pub const ADMIN_TOKEN: &str = "a-token-for-integration-tests";
/// What every server signs with.
pub const SIGNING_KEY: &str = "1:0123456789abcdef0123456789abcdef";
/// Longest start.
pub const STARTING: Duration = Duration::from_secs(30);

/// The program (`CARGO_BIN_EXE_sillage`) with what every server is given, and nothing of the run's
/// own environment.
pub fn command(program: &str, listen: SocketAddr, data_dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("SILLAGE_LISTEN", listen.to_string())
        .env("SILLAGE_DATA_DIR", data_dir)
        .env("SILLAGE_ADMIN_TOKEN", ADMIN_TOKEN)
        .env("SILLAGE_KEYS__SIGNING", SIGNING_KEY)
        // On the main listener, with the token: one port less to find.
        .env("SILLAGE_METRICS__LISTEN", "")
        // The same: the API is on the main listener.
        .env("SILLAGE_CONSOLE__LISTEN", "");
    command
}

/// Waits until `/readyz` says 200; an error where the process ends before.
///
/// # Errors
/// It has ended, or does not get ready within [`STARTING`].
pub async fn wait_ready(process: &mut Process, address: SocketAddr) -> anyhow::Result<()> {
    try_wait_for("the server is ready", STARTING, async || {
        if let Some(status) = process.ended() {
            anyhow::bail!("the server ended with {status}");
        }
        let asked = tokio::task::spawn_blocking(move || probe::get(address, "/readyz"));
        Ok(asked.await?.is_ok_and(|answer| answer.status == 200))
    })
    .await
}

/// How far a server's hits have come, as `/metrics` tells it.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Hits that were taken.
    pub taken: f64,
    /// Those of them that have come to their end.
    pub ended: f64,
}

impl Progress {
    /// Reads `/metrics`. The backlog does not tell it: that is what is on disk, so it is 0 for a
    /// moment too before a hit gets there.
    pub fn read(metrics: &str) -> Self {
        let ends = [
            "stored_total",
            "quarantined_total",
            "duplicate_total",
            // Of visitors that only the database could know.
            "refused_total{reason=\"visitor unknown\"}",
        ];
        let hits = |name: &str| figure(metrics, &format!("sillage_hits_{name}"));
        Self {
            taken: hits("accepted_total"),
            ended: ends.into_iter().map(hits).sum(),
        }
    }

    /// Whether every hit has come to its end.
    pub fn is_done(self) -> bool {
        self.ended >= self.taken
    }
}

//! What `/readyz` and `/metrics` report about the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::known_keys::KeyState;
use super::telemetry;
use crate::projection::{DatabaseHealth, Health};
use crate::queue::local::Spool;
use crate::web::{Readiness, ServerState, Tables};

/// A transaction of hits takes a second at most, and waits for those of other servers.
const STALLED: Duration = Duration::from_secs(30);

/// Where it is asked.
pub(super) struct State {
    pub(super) data_dir: PathBuf,
    pub(super) spool: Spool,
    pub(super) health: DatabaseHealth,
    pub(super) tables: watch::Receiver<Tables>,
    pub(super) keys: Arc<KeyState>,
    /// The server is shutting down.
    pub(super) stopping: CancellationToken,
}

impl State {
    /// Sets gauges: read now, they are neither as old as the last hit nor as the database's last
    /// response.
    fn measure(&self) {
        let is = |name: &'static str, value: f64| metrics::gauge!(name).set(value);
        let queue = self.spool.status();
        is("sillage_spool_backlog_hits", queue.backlog as f64);
        is("sillage_spool_oldest_seconds", queue.oldest.as_secs_f64());
        is("sillage_spool_bytes", queue.bytes as f64);
        is("sillage_spool_limit_bytes", queue.limit as f64);
        is("sillage_spool_taking", f64::from(u8::from(queue.is_taking)));
        let storing = self.health.storing_for().unwrap_or_default();
        is("sillage_projection_storing_seconds", storing.as_secs_f64());
        let is_up = self.health.now() == Health::Up;
        is("sillage_database_up", f64::from(u8::from(is_up)));
        // Without privileges, as far as a server without them can use it.
        if let Ok(disk) = rustix::fs::statvfs(&self.data_dir) {
            let bytes = |blocks: u64| blocks as f64 * disk.f_frsize as f64;
            is("sillage_data_dir_free_bytes", bytes(disk.f_bavail));
            is("sillage_data_dir_size_bytes", bytes(disk.f_blocks));
        }
    }
}

impl ServerState for State {
    fn read(&self) -> Readiness {
        let health = self.health.now();
        let queue = self.spool.status();
        Readiness {
            unwritten: queue.unwritten,
            is_taking: queue.is_taking,
            is_stopping: self.stopping.is_cancelled(),
            backlog: queue.backlog,
            bytes: queue.bytes,
            damaged: queue.damaged,
            database: match health {
                Health::Up => "up",
                Health::Down => "down",
                Health::Unknown => "unknown",
            },
            projection: match self.health.storing_for() {
                None => "idle",
                Some(time) if time < STALLED => "storing",
                Some(_) => "stalled",
            },
            api: match (*self.tables.borrow(), health) {
                (Tables::Awaited, _) => "starting",
                (Tables::Missing, _) | (_, Health::Down) => "down",
                (Tables::There, _) => "usable",
            },
            keys: self.keys.word(),
        }
    }

    fn metrics(&self) -> String {
        self.measure();
        telemetry::prometheus()
            .map(|recorder| recorder.render())
            .unwrap_or_default()
    }
}

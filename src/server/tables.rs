//! The database's tables, created or upgraded at startup, as soon as the database answers. Tasks
//! that need them wait for them.

use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::projection::DatabaseHealth;
use crate::store::Store;
use crate::web::Tables;

/// How long to leave a database alone between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Creates the tables, and signals when they are there.
pub(super) struct TableMaker {
    store: Store,
    health: DatabaseHealth,
    told: watch::Sender<Tables>,
}

impl TableMaker {
    pub(super) fn new(store: Store, health: DatabaseHealth) -> Self {
        Self {
            store,
            health,
            told: watch::Sender::new(Tables::Awaited),
        }
    }

    /// Where it is told.
    pub(super) fn watch(&self) -> watch::Receiver<Tables> {
        self.told.subscribe()
    }

    /// Someone else creates them (`database.migrate = false`): they count as there.
    pub(super) fn assume(&self) {
        self.told.send_replace(Tables::There);
    }

    /// Creates the tables of an embedded database at once; true if they are there. If its disk is
    /// full, or it is damaged, it counts as down, and readers still get to their pages.
    ///
    /// # Errors
    /// Another version made the database, or it refuses for another reason of its own.
    pub(super) async fn make_now(&self) -> anyhow::Result<bool> {
        match self.store.migrate().await {
            Ok(()) => {
                self.health.wrote();
                self.told.send_replace(Tables::There);
                Ok(true)
            }
            Err(error) if error.is_away() => {
                self.health.could_not_write(&error);
                Ok(false)
            }
            Err(error) => Err(error).context("embedded database"),
        }
    }

    /// Tries until the tables are there or `stop` is signalled. An attempt in progress is not
    /// interrupted.
    pub(super) async fn make_when_up(self, stop: CancellationToken) {
        loop {
            match self.store.migrate().await {
                Ok(()) => {
                    self.health.wrote();
                    self.told.send_replace(Tables::There);
                    return;
                }
                Err(error) => {
                    self.health.could_not_write(&error);
                    self.told.send_replace(Tables::Missing);
                }
            }
            let pause = tokio::time::sleep(PAUSE);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }
}

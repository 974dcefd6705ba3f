//! The tasks that a server runs besides answering requests (refreshing its copies, housekeeping,
//! reloading its configuration), and how they end: they get one signal, and the server waits for
//! them.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::web::Tables;

/// A server's background tasks.
pub(super) struct Background {
    tasks: JoinSet<()>,
    stop: CancellationToken,
    tables: watch::Receiver<Tables>,
}

impl Background {
    /// None yet. `stop` ends them.
    pub(super) fn new(stop: CancellationToken, tables: watch::Receiver<Tables>) -> Self {
        Self {
            tasks: JoinSet::new(),
            stop,
            tables,
        }
    }

    /// Runs a task until it ends or the stop is signalled; then it is dropped at its next await.
    pub(super) fn run(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// The same, begun once the tables are there.
    pub(super) fn run_with_tables(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let tables = self.tables.clone();
        self.run(async move {
            if are_there(tables).await {
                task.await;
            }
        });
    }

    /// Runs a task that watches for the stop itself.
    pub(super) fn run_to_its_end(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for all of them once the stop is signalled; false if that takes longer than `budget`.
    pub(super) async fn ended(&mut self, budget: Duration) -> bool {
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(budget, ended).await.is_ok()
    }
}

/// Waits for the tables; false if nobody is left to create them.
pub(super) async fn are_there(mut tables: watch::Receiver<Tables>) -> bool {
    tables
        .wait_for(|tables| *tables == Tables::There)
        .await
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const BUDGET: Duration = Duration::from_secs(20);

    /// A task that waits forever; the flag says whether it was started.
    fn endless(is_begun: &Arc<AtomicBool>) -> impl Future<Output = ()> + Send + 'static {
        let is_begun = Arc::clone(is_begun);
        async move {
            is_begun.store(true, Ordering::SeqCst);
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn the_stop_ends_what_waits_for_tables_and_what_was_begun() {
        let stop = CancellationToken::new();
        let (told, tables) = watch::channel(Tables::Awaited);
        let mut background = Background::new(stop.clone(), tables);
        let (first, second) = (Arc::default(), Arc::default());
        background.run(endless(&first));
        background.run_with_tables(endless(&second));
        told.send_replace(Tables::Missing);
        while !first.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert!(!second.load(Ordering::SeqCst), "there are no tables");
        stop.cancel();
        assert!(background.ended(BUDGET).await);
    }

    #[tokio::test]
    async fn what_needs_tables_begins_when_they_are_there() {
        let stop = CancellationToken::new();
        let (told, tables) = watch::channel(Tables::Awaited);
        let mut background = Background::new(stop, tables);
        let is_begun = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&is_begun);
        background.run_with_tables(async move { begun.store(true, Ordering::SeqCst) });
        told.send_replace(Tables::There);
        assert!(background.ended(BUDGET).await, "it ends without a stop");
        assert!(is_begun.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn what_looks_for_the_stop_itself_is_waited_for() {
        let stop = CancellationToken::new();
        let (_told, tables) = watch::channel(Tables::Awaited);
        let mut background = Background::new(stop.clone(), tables);
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        background.run_to_its_end(async {
            let _ = finished.await;
        });
        stop.cancel();
        assert!(!background.ended(Duration::ZERO).await, "it goes on");
        drop(finish);
        assert!(background.ended(BUDGET).await);
    }
}

//! The running server: built, started, served, and stopped in order.
//!
//! [`run`] takes its outside world as arguments (configuration, listeners, clock, shutdown), so
//! tests run it as it is.
//!
//! **Shutdown is explicit.** On a stop, the server accepts no new connections and finishes the
//! requests in progress. Then it closes the spool: from then on no hit is taken, even if something
//! still holds a part of the server, and the hits taken so far are written. Then the background
//! tasks are told to end, the projection stores as much as time allows, and the spool's writer
//! folds its file.

mod accept;
mod answering;
mod background;
mod build;
pub mod data_dir;
mod database;
mod demo;
mod descriptors;

mod keep_house;
mod known_keys;
mod readiness;
mod reload;
mod scrub;
mod secrets;
mod tables;
pub mod telemetry;
mod tell_opt_outs;
mod welcome;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::model::clock::Clock;
use crate::model::keys::Keys;
use crate::operator::webhooks::{self, Sender};
use crate::projection::{DatabaseHealth, Projection};
use crate::queue::local::{Spool, SpoolReader};
use crate::replica::links::LinkCopy;
use crate::server::data_dir::DataDir;
use crate::store::{self, Store};
use crate::web::{Door, Tables, Web};

use answering::Answering;
use background::Background;
use build::Server;
use keep_house::Housekeeper;

pub use answering::lists_of;
pub use database::{open_store, open_store_that_exists, open_store_to_read};
pub use descriptors::make_room;
pub use known_keys::lacking;
pub use secrets::FoundKeys;

/// A server's sockets, bound by the caller.
pub struct Listeners {
    /// Tracking, and the API as far as it is public.
    pub public: TcpListener,
    /// The operators' own.
    pub console: Option<TcpListener>,
    /// Prometheus.
    pub metrics: Option<TcpListener>,
}

/// The world around a server.
pub struct Outside {
    /// Times and ids.
    pub clock: Clock,
    /// Configurations to switch to while running, as far as possible.
    pub configurations: mpsc::Receiver<Config>,
}

/// Runs a server until `shutdown` completes and everything is safe on disk.
///
/// # Errors
/// The data directory, the spool or the embedded database cannot be used, or keys that links were
/// signed with are missing. Postgres being away is no error.
pub async fn run(
    mut config: Config,
    listeners: Listeners,
    outside: Outside,
    is_demo: bool,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    // Port 0 is a port that the system chose: the public URL needs to know which.
    config.listen = listeners.public.local_addr()?;
    let server = Server::build(config, outside.clock, is_demo).await?;
    let console = listeners.console.as_ref().map(TcpListener::local_addr);
    let console = console.transpose()?;
    let running = server
        .start(outside.configurations, listeners.metrics, console)
        .await?;
    let (public, console) = (listeners.public, listeners.console);
    running.serve(public, console, shutdown).await;
    running.stop().await;
    Ok(())
}

/// A server at work.
struct Running {
    config: Config,
    web: Web,
    spool: Spool,
    writing: JoinHandle<()>,
    projecting: JoinHandle<()>,
    links: LinkCopy,
    store: Store,
    background: Background,
    metrics: Option<JoinHandle<()>>,
    /// Signalled as soon as the server is told to stop.
    stopping: CancellationToken,
    /// Signalled when all requests in progress are answered: ends the background tasks.
    answered: CancellationToken,
    _taken: DataDir,
}

impl Server {
    /// Starts everything except serving.
    ///
    /// # Errors
    /// The tables of the embedded database cannot be made.
    async fn start(
        self,
        configurations: mpsc::Receiver<Config>,
        metrics: Option<TcpListener>,
        console: Option<SocketAddr>,
    ) -> anyhow::Result<Running> {
        let config = self.config;
        let answered = CancellationToken::new();
        let tables = self.tables.watch();
        let mut background = Background::new(answered.clone(), tables.clone());
        if !config.database.migrate {
            self.tables.assume();
        } else if self.store.is_postgres() || !self.tables.make_now().await? {
            background.run_to_its_end(self.tables.make_when_up(answered.clone()));
        }
        let drain = config.server.shutdown / 2;
        let projecting = project(self.projection, tables.clone(), answered.clone(), drain);
        let projecting = tokio::spawn(projecting);

        let every = config.links.refresh;
        let told = tell_health(self.health);
        background.run_with_tables(self.links.clone().run(every, told));
        background.run_with_tables(self.forms.run(every));
        background.run_with_tables(self.tokens.clone().run(every));
        background.run_to_its_end(self.tokens.note_uses(answered.clone()));
        background.run_with_tables(self.key_watch.run(every));
        let keep_months = config.database.keep_months;
        let clock = self.clock.clone();
        let housekeeper = Housekeeper::new(self.store.clone(), self.clock, keep_months);
        background.run_with_tables(housekeeper.run());
        background.run_with_tables(self.settler.run());
        background.run_with_tables(self.eraser.run());
        background.run_with_tables(scrub::run(self.store.clone(), self.spool.clone()));
        let unknown_paths = self.answering.unknown_paths.clone();
        background.run_to_its_end(unknown_paths.run(self.store.clone(), answered.clone()));
        if self.admin.demo.is_some() {
            background.run_with_tables(welcome::open_demo(Arc::clone(&self.admin)));
        }
        let metrics =
            metrics.map(|listener| tokio::spawn(accept::serve_metrics(listener, self.state)));

        let web = Web::new(Arc::clone(&self.admin));
        let answering = web.clone();
        let admin = move || answering.admin();
        background.run_with_tables(tell_opt_outs::run(self.store.clone(), clock.clone(), admin));
        background.run_to_its_end(send_webhooks(
            Sender::new(self.store.clone(), clock, self.sender_id, answered.clone()),
            tables,
            web.clone(),
        ));
        let serve_by = serve_by(web.clone(), self.answering, self.signing);
        background.run(reload::follow(config.clone(), configurations, serve_by));
        tracing::info!(
            address = %config.listen,
            public_url = self.admin.default_site().base_url,
            database = if self.store.is_postgres() { "postgres" } else { "sqlite" },
            "serving"
        );
        if config.api.public.is_none() {
            tracing::warn!(
                "api.public is not set: the API, the manual and /metrics answer on the public \
                listener. From the next version on they answer on console.listen alone unless \
                api.public = true; set it to say which you want"
            );
        }
        self.welcome.tell(&self.admin, console);
        Ok(Running {
            config,
            web,
            spool: self.spool,
            writing: self.writing,
            projecting,
            links: self.links,
            store: self.store,
            background,
            metrics,
            stopping: self.stopping,
            answered,
            _taken: self.taken,
        })
    }
}

impl Running {
    /// Serves until `shutdown` completes, and then finishes the requests in progress.
    async fn serve(
        &self,
        public: TcpListener,
        console: Option<TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) {
        let stopping = async {
            shutdown.await;
            self.stopping.cancel();
            tracing::info!("stopping");
        };
        let limits = &self.config.server;
        let serve_console = async {
            if let Some(listener) = console {
                let stopping = self.stopping.cancelled();
                accept::serve(listener, self.web.clone(), Door::Console, limits, stopping).await;
            }
        };
        let serve_public = accept::serve(public, self.web.clone(), Door::Public, limits, stopping);
        tokio::join!(serve_public, serve_console);
    }

    /// First all hits go to disk, then the database gets what time allows.
    async fn stop(mut self) {
        let budget = self.config.server.shutdown;
        let closed = tokio::time::timeout(budget / 2, self.spool.close()).await;
        if closed.is_err() {
            tracing::warn!("the disk did not accept all hits within half of the budget");
        }
        self.answered.cancel();
        finish("projection", self.projecting, budget).await;
        finish("spool", self.writing, budget).await;
        if !self.background.ended(budget).await {
            tracing::warn!("background tasks did not stop within the budget");
        }
        if let Some(metrics) = self.metrics {
            metrics.abort();
        }
        self.links.close().await;
        self.store.close().await;
        tracing::info!("stopped");
    }
}

/// Runs the projection once the tables are there, unless the server stops before.
async fn project(
    projection: Projection<SpoolReader>,
    tables: watch::Receiver<Tables>,
    stop: CancellationToken,
    drain: Duration,
) {
    let are_there = background::are_there(tables);
    if stop.run_until_cancelled(are_there).await == Some(true) {
        projection.run(stop, drain).await;
    }
}

/// Sends webhooks once the tables are there, unless the server stops before.
async fn send_webhooks(sender: Sender, tables: watch::Receiver<Tables>, web: Web) {
    let stop = sender.stop().clone();
    let are_there = background::are_there(tables);
    if stop.run_until_cancelled(are_there).await == Some(true) {
        webhooks::send(sender, || web.admin().webhooks.allow_networks.clone()).await;
    }
}

/// Reports to the database's health what the refresh of the links has learned about it.
fn tell_health(health: DatabaseHealth) -> impl Fn(Result<(), &store::Error>) + Send {
    move |answer| match answer {
        Ok(()) => health.answered(),
        Err(error) if store::is_away(error) => health.did_not_answer(error),
        // It answers, if not what it was asked for.
        Err(_) => {}
    }
}

/// Makes the server respond by another configuration.
fn serve_by(
    web: Web,
    answering: Answering,
    signing: watch::Sender<Keys>,
) -> impl Fn(&Config) -> anyhow::Result<()> + Send {
    move |config| {
        let (keys, token) = answering::secrets_again(config, &config.data_dir)?;
        web.replace(Arc::new(answering.by(config, &keys, token)?));
        signing.send_replace(keys);
        Ok(())
    }
}

/// Waits for a task on shutdown; beyond the budget it is abandoned: everything answered is on disk
/// already.
async fn finish(name: &str, mut task: JoinHandle<()>, budget: Duration) {
    if tokio::time::timeout(budget, &mut task).await.is_err() {
        tracing::warn!(
            name,
            "did not stop within the budget; the next start continues from the disk"
        );
        task.abort();
    }
}

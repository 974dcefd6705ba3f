//! The running server: puts the parts together, serves, and takes them down in order.
//!
//! [`run`] takes its outside world as arguments (configuration, listeners, clock, shutdown), so
//! tests run it as it is.

mod accept;
mod answering;
pub mod data_dir;
mod demo;
mod descriptors;

mod keep_house;
mod known_keys;
mod reload;
mod secrets;
pub mod telemetry;
mod welcome;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{Ack, Config};
use crate::model::clock::Clock;
use crate::model::keys::Keys;
use crate::projection::{DatabaseHealth, Health, Projection};
use crate::queue::local::{Spool, SpoolLimits};
use crate::replica::forms::FormCopy;
use crate::replica::links::LinkCopy;
use crate::server::data_dir::{DataDir, EMBEDDED, ServerNote};
use crate::store::{self, Store, StoreError};
use crate::web::{Readiness, ServerState, Tables, Web};

use answering::Answering;
use keep_house::Housekeeper;
use known_keys::{KeyState, KeyWatch};
use welcome::Welcome;

pub use descriptors::make_room;
pub use known_keys::lacking;
pub use secrets::FoundKeys;

/// In fast mode the writer waits so long for company: fewer flushes, and nobody waits for them.
const FAST_LINGER: Duration = Duration::from_millis(5);

/// The sockets of a server, bound by the caller.
pub struct Listeners {
    /// Tracking and API.
    pub public: TcpListener,
    /// Prometheus.
    pub metrics: Option<TcpListener>,
}

/// The world around a server.
pub struct Outside {
    /// Times and ids.
    pub clock: Clock,
    /// Configurations that the running server is to go on with, as far as it can.
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
    let Outside {
        clock,
        configurations,
    } = outside;
    // Port 0 is a port that the system chose: the public URL needs to know which.
    config.listen = listeners.public.local_addr()?;
    let configured = config.clone();
    telemetry::prometheus();
    let dir = config.data_dir.as_path();
    let _taken = DataDir::take(dir)?;
    let noted = ServerNote::read(dir);
    let found = FoundKeys::find(&config)?;
    // Before anything is made: a start that is refused leaves nothing behind.
    known_keys::check_note(&found, noted.as_ref(), dir)?;
    let store = open_store(&config).await?;
    if let Some(file) = config
        .database_url
        .as_ref()
        .and_then(|url| store::sqlite_file(&url.0))
    {
        data_dir::warn_of_readers(file);
    }
    known_keys::check_database(&found, noted.as_ref(), &store).await?;
    let keys = found.or_make()?;
    let (admin_token, is_token_new) = secrets::load_or_make_token(&config)?;
    let (stop, stopped) = watch::channel(false);

    let limits = SpoolLimits {
        max_bytes: config.spool.max_bytes,
        linger: if config.spool.ack == Ack::Fast {
            FAST_LINGER
        } else {
            Duration::ZERO
        },
    };
    let (spool, reader, writer) = Spool::open(dir, limits, &clock).await?;
    let links = LinkCopy::open(dir, store.clone(), config.spool.patience, clock.clone()).await;
    let forms = FormCopy::open(dir, store.clone(), config.spool.patience, &clock).await;
    let projection = Projection::new(
        store.clone(),
        reader,
        clock.clone(),
        config.contacts.unique.clone(),
        config.revenue.proof,
        config.spool.give_way,
    );
    let health = projection.health();
    // Tables first, wherever the database is by then; what needs them waits.
    let (made, tables) = watch::channel(Tables::Awaited);
    let state = Arc::new(State {
        data_dir: dir.to_owned(),
        spool: spool.clone(),
        health: health.clone(),
        tables: tables.clone(),
        keys: Arc::default(),
        is_stopping: AtomicBool::new(false),
    });

    let welcome = Welcome {
        database: if store.is_postgres() {
            "Postgres".to_owned()
        } else {
            match &config.database_url {
                Some(url) => url.0.clone(),
                None => format!("SQLite in {}", dir.join(EMBEDDED).display()),
            }
        },
        is_token_new,
    };
    let answering = Answering {
        spool: spool.clone(),
        links: links.clone(),
        forms: forms.clone(),
        store: store.clone(),
        clock: clock.clone(),
        state: Arc::<State>::clone(&state),
        tables: tables.clone(),
        demo: is_demo.then(Arc::default),
    };
    let app = Arc::new(answering.by(&config, &keys, admin_token));

    let note = note_of(&config, &keys, noted.clone());
    // A full disk is no reason not to serve.
    if noted.as_ref() != Some(&note)
        && let Err(error) = note.write(dir)
    {
        tracing::warn!(%error, "server.json cannot be written");
    }
    let (signing, signed_by) = watch::channel(keys);
    let watch_keys = KeyWatch::new(
        store.clone(),
        signed_by,
        dir,
        clock.clone(),
        Arc::clone(&state.keys),
        note,
    );

    if !config.database.migrate {
        made.send_replace(Tables::There);
    } else {
        let at_once = if store.is_postgres() {
            None
        } else {
            match store.migrate().await {
                // Its disk is full, or it is damaged: so it is down, and readers get to their pages
                // all the same.
                Err(error) if error.is_away() => {
                    health.could_not_write(&error);
                    None
                }
                migrated => Some(migrated.context("embedded database")?),
            }
        };
        if at_once.is_some() {
            health.wrote();
            made.send_replace(Tables::There);
        } else {
            let (store, health, stopped) = (store.clone(), health.clone(), stopped.clone());
            tokio::spawn(migrate_when_up(store, health, made, stopped));
        }
    }
    let drain = config.server.shutdown / 2;
    let projecting = tokio::spawn(after(
        tables.clone(),
        stopped.clone(),
        projection.run(stopped.clone(), drain),
    ));
    let refreshing = tokio::spawn(after(
        tables.clone(),
        stopped.clone(),
        links
            .clone()
            .run(config.links.refresh, stopped.clone(), move |answer| {
                match answer {
                    Ok(()) => health.answered(),
                    Err(error) if store::is_away(error) => health.did_not_answer(error),
                    // It answers, if not what it was asked for.
                    Err(_) => {}
                }
            }),
    ));
    let refreshing_forms = tokio::spawn(after(
        tables.clone(),
        stopped.clone(),
        forms.run(config.links.refresh, stopped.clone()),
    ));
    let keeping = tokio::spawn(after(
        tables.clone(),
        stopped.clone(),
        Housekeeper::new(store.clone(), clock.clone(), config.database.keep_months)
            .run(stopped.clone()),
    ));

    let watching_keys = tokio::spawn(after(
        tables.clone(),
        stopped.clone(),
        watch_keys.run(config.links.refresh, stopped.clone()),
    ));

    let opening_demo = is_demo.then(|| {
        let opening = welcome::open_demo(Arc::clone(&app));
        tokio::spawn(after(tables.clone(), stopped.clone(), opening))
    });

    let measured = Arc::downgrade(&state);
    let metrics_task = listeners
        .metrics
        .map(|listener| tokio::spawn(accept::serve_metrics(listener, measured)));
    let address = listeners.public.local_addr()?;
    tracing::info!(%address, public_url = app.base_url, database = if store.is_postgres() { "postgres" } else { "sqlite" }, "serving");
    welcome.tell(&app);
    let web = Web::new(Arc::clone(&app));
    let reloading = {
        let web = web.clone();
        tokio::spawn(reload::follow(configured, configurations, move |config| {
            let (keys, token) = answering::secrets_again(config, &config.data_dir)?;
            web.replace(Arc::new(answering.by(config, &keys, token)));
            signing.send_replace(keys);
            Ok(())
        }))
    };
    let serving = accept::serve(listeners.public, web, &config.server, async {
        shutdown.await;
        state.is_stopping.store(true, Ordering::Relaxed);
        tracing::info!("stopping");
    });
    serving.await;

    // First the disk has all hits, then the database gets what time allows.
    if tokio::time::timeout(drain, spool.close()).await.is_err() {
        tracing::warn!("the disk did not take all hits within half of the budget");
    }
    stop.send_replace(true);
    drop((app, state));
    for task in [
        refreshing,
        refreshing_forms,
        keeping,
        watching_keys,
        reloading,
    ]
    .into_iter()
    .chain(opening_demo)
    {
        task.abort();
    }
    let budget = config.server.shutdown;
    finish("projection", projecting, budget).await;
    finish("spool", writer, budget).await;
    if let Some(task) = metrics_task {
        task.abort();
    }
    links.close().await;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for a task on the way out; what takes longer than the budget is left: everything answered
/// is on disk already.
async fn finish(name: &str, mut task: JoinHandle<()>, budget: Duration) {
    if tokio::time::timeout(budget, &mut task).await.is_err() {
        tracing::warn!(
            name,
            "did not end within the budget; the next start goes on from the disk"
        );
        task.abort();
    }
}

/// Runs a task once the tables are there, unless the server stops before.
async fn after(
    mut tables: watch::Receiver<Tables>,
    mut stop: watch::Receiver<bool>,
    task: impl Future<Output = ()>,
) {
    let is_ready = tokio::select! {
        there = tables.wait_for(|tables| *tables == Tables::There) => there.is_ok(),
        _ = stop.wait_for(|stop| *stop) => false,
    };
    if is_ready {
        task.await;
    }
}

async fn migrate_when_up(
    store: Store,
    health: DatabaseHealth,
    made: watch::Sender<Tables>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        match store.migrate().await {
            Ok(()) => {
                health.wrote();
                made.send_replace(Tables::There);
                return;
            }
            Err(error) => {
                health.could_not_write(&error);
                made.send_replace(Tables::Missing);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// The store that the configuration names.
///
/// # Errors
/// The URL is malformed or the embedded database cannot be opened.
pub async fn open_store(config: &Config) -> anyhow::Result<Store> {
    Store::open(
        &database_url(config),
        config.database.max_connections,
        config.database.patience,
    )
    .await
    .context("database")
}

/// The same where there is one already: makes no file.
///
/// # Errors
/// The URL is malformed, there is no embedded database, or it cannot be opened.
pub async fn open_store_that_exists(config: &Config) -> Result<Store, StoreError> {
    Store::open_that_exists(
        &database_url(config),
        config.database.max_connections,
        config.database.patience,
    )
    .await
}

/// Connections to the database of a configuration, to read only: nothing is made and nothing
/// brought up to date.
///
/// # Errors
/// The URL is malformed or there is no embedded database.
pub fn open_store_to_read(config: &Config) -> Result<Store, StoreError> {
    Store::open_to_read(
        &database_url(config),
        config.database.max_connections,
        config.database.patience,
    )
}

fn database_url(config: &Config) -> String {
    match &config.database_url {
        Some(url) => url.0.clone(),
        None => format!("sqlite://{}", config.data_dir.join(EMBEDDED).display()),
    }
}

/// What this server says of itself to its next start and to commands beside it.
fn note_of(config: &Config, keys: &Keys, noted: Option<ServerNote>) -> ServerNote {
    let mut note = noted.unwrap_or_default();
    note.public_url = config.base_url();
    note.redirect.clone_from(&config.paths.redirect);
    if let Some(own) = keys.prints().into_iter().next()
        && !note.keys.contains(&own)
    {
        note.keys.push(own);
        note.is_confirmed = false;
    }
    note
}

struct State {
    data_dir: PathBuf,
    spool: Spool,
    health: DatabaseHealth,
    tables: watch::Receiver<Tables>,
    keys: Arc<KeyState>,
    is_stopping: AtomicBool,
}

impl State {
    /// Sets what is a state and no event: asked for now, it is neither as old as the last hit nor
    /// what it was when the database went.
    fn measure(&self) {
        let is = |name: &'static str, value: f64| metrics::gauge!(name).set(value);
        let queue = self.spool.status();
        is("sillage_spool_backlog_hits", queue.backlog as f64);
        is("sillage_spool_oldest_seconds", queue.oldest.as_secs_f64());
        is("sillage_spool_bytes", queue.bytes as f64);
        is("sillage_spool_limit_bytes", queue.limit as f64);
        is("sillage_spool_taking", f64::from(u8::from(queue.is_taking)));
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
            is_stopping: self.is_stopping.load(Ordering::Relaxed),
            backlog: queue.backlog,
            bytes: queue.bytes,
            damaged: queue.damaged,
            database: match health {
                Health::Up => "up",
                Health::Down => "down",
                Health::Unknown => "unknown",
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

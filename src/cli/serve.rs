//! `sillage serve`: binds the listeners and runs the server until a signal ends it.

use std::io::ErrorKind;
use std::net::SocketAddr;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::health;
use crate::config::{Config, Problems};
use crate::model::clock::Clock;
use crate::server::{self, Listeners, Outside};

#[derive(Debug, Default, Args)]
pub(super) struct Serve {
    /// Serve a sample mail and a shop page at /demo, with a delivery made for them
    #[arg(long)]
    demo: bool,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT. SIGHUP calls `load` and serves by what it returns.
    pub(super) async fn execute(
        self,
        mut config: Config,
        load: impl Fn() -> Result<Config, Problems> + Send + 'static,
    ) -> anyhow::Result<()> {
        // First of all: from here on no signal kills.
        let (mut terminate, mut interrupt, hangup) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        for doubt in config.doubts() {
            tracing::warn!("{doubt}");
        }
        server::make_room(&mut config);
        let most = config.server.max_connections;
        let listeners = bind(&config).await?;
        let (loaded, configurations) = mpsc::channel(1);
        let load = move || {
            let mut config = load()?;
            // As at the start, where it was told.
            config.server.max_connections = config.server.max_connections.min(most);
            Ok(config)
        };
        tokio::spawn(load_at_hangups(hangup, load, loaded));
        let outside = Outside {
            clock: Clock::system(),
            configurations,
        };
        server::run(config, listeners, outside, self.demo, async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
    }
}

async fn load_at_hangups(
    mut hangup: Signal,
    load: impl Fn() -> Result<Config, Problems>,
    loaded: mpsc::Sender<Config>,
) {
    while hangup.recv().await.is_some() {
        match load() {
            Ok(config) => {
                if loaded.send(config).await.is_err() {
                    return;
                }
            }
            Err(problems) => {
                for problem in &problems.0 {
                    tracing::error!("SIGHUP: {problem}");
                }
                tracing::error!("SIGHUP: the configuration was not changed");
            }
        }
    }
}

/// All listeners, or everything that is wrong with them at once.
async fn bind(config: &Config) -> anyhow::Result<Listeners> {
    let public = bind_one("listen", "--listen", config.listen).await;
    let metrics = bind_if_any(
        "metrics.listen",
        "SILLAGE_METRICS__LISTEN",
        config.metrics.listen,
    );
    let metrics = metrics.await;
    let console = bind_if_any(
        "console.listen",
        "SILLAGE_CONSOLE__LISTEN",
        config.console.listen,
    );
    let console = match console.await {
        // Nobody asked for it, and what it carries is elsewhere too.
        Err(wrong) if !config.console.is_chosen() && config.api.is_public() => {
            tracing::warn!("serving without the operators' listener: {wrong}");
            Ok(None)
        }
        console => console,
    };
    match (public, metrics, console) {
        (Ok(public), Ok(metrics), Ok(console)) => Ok(Listeners {
            public,
            console,
            metrics,
        }),
        (public, metrics, console) => {
            let wrong = [public.err(), metrics.err(), console.err()];
            let wrong: Vec<String> = wrong.into_iter().flatten().collect();
            Err(anyhow::anyhow!(wrong.join("\nsillage: ")))
        }
    }
}

async fn bind_if_any(
    key: &str,
    other: &str,
    address: Option<SocketAddr>,
) -> Result<Option<TcpListener>, String> {
    match address {
        Some(address) => bind_one(key, other, address).await.map(Some),
        None => Ok(None),
    }
}

/// A listener; an error says which key or flag to change.
async fn bind_one(key: &str, other: &str, address: SocketAddr) -> Result<TcpListener, String> {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    let why = match error.kind() {
        ErrorKind::AddrInUse => {
            let is_metrics = key == "metrics.listen";
            let asked = move || health::is_sillage(address, is_metrics);
            let by = tokio::task::spawn_blocking(asked).await;
            let by = match by {
                Ok(true) => "another sillage",
                _ => "another program",
            };
            format!("{by} is already listening there; stop it, or give")
        }
        ErrorKind::AddrNotAvailable => "this machine has no such address; give".to_owned(),
        ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE; give".to_owned()
        }
        _ => format!("{error}; give"),
    };
    let none = match key {
        "listen" => "",
        _ => ", or \"\" for none",
    };
    Err(format!(
        "{key} = \"{address}\": {why} another address with {key} in the configuration or \
        {other}{none}"
    ))
}

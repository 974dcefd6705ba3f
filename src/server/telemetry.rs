//! Log lines and the Prometheus recorder.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::config::{Log, LogFormat};

/// Starts logging on standard error; standard output is for what commands answer. A second call in
/// one process does nothing.
pub fn start_logging(log: &Log) {
    let (filter, handle) = reload::Layer::new(filter(&log.level));
    let _ = FILTER.set(handle);
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match log.format {
        LogFormat::Text => {
            let mut lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
            // Colours are for people; a file or a journal would keep their codes.
            if !std::io::stderr().is_terminal() {
                lines.set_ansi(false);
            }
            registry.with(lines).try_init()
        }
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
}

/// The log filter; set when logging first starts.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Switches logging to `level`.
pub fn set_level(level: &str) {
    if let Some(handle) = FILTER.get()
        && let Err(error) = handle.reload(filter(level))
    {
        tracing::warn!(%error, "cannot change the log level");
    }
}

fn filter(level: &str) -> Targets {
    // sqlx logs every statement at debug, with its text; the database's own log is the place for
    // that.
    let plain: String = level.chars().filter(|c| !c.is_whitespace()).collect();
    format!("sqlx=warn,hyper=warn,{plain}")
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO))
}

/// The process's Prometheus recorder; installed by the first call.
pub fn prometheus() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
                .and_then(|builder| builder.install_recorder());
            match builder {
                Ok(handle) => Some(handle),
                Err(error) => {
                    tracing::warn!(%error, "no metrics");
                    None
                }
            }
        })
        .as_ref()
}

//! SIGHUP: the server reads its file again. New values for trust, origins, keys and similar
//! settings apply from the next request on.
//!
//! Only settings that answer requests can change while the server runs. Addresses, directories,
//! limits and the database stay as they were at startup; if their values change, the log says that
//! they need a restart. A file with a mistake changes nothing.

use serde_json::Value as Json;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::server::telemetry;

/// Sections and keys that take effect with the next request. `log.level` is handled by the log
/// itself.
const RELOADED: [&str; 18] = [
    "admin_token",
    "adobe",
    "api",
    "console.user_header",
    "contacts.public",
    "cookies",
    "cors",
    "debug",
    "keys",
    "links.fallback_url",
    "links.landing_parameter",
    "links.personal_hosts",
    "log.level",
    "mapp",
    "trust",
    "upstream",
    "verdict",
    "webhooks",
];

/// Applies new configurations as they come. `serve_by` makes the server respond by one.
pub(super) async fn follow(
    mut now: Config,
    mut loaded: mpsc::Receiver<Config>,
    serve_by: impl Fn(&Config) -> anyhow::Result<()>,
) {
    while let Some(mut new) = loaded.recv().await {
        if new.listen.port() == 0 {
            // The port that the system chose.
            new.listen = now.listen;
        }
        let merged = merge(&now, &new);
        if !merged.waiting.is_empty() {
            tracing::warn!(
                keys = merged.waiting.join(", "),
                "SIGHUP: these keys have new values that take effect only after a restart"
            );
        }
        // Also where no key has changed: data_dir/signing.keys may have.
        match serve_by(&merged.config) {
            Ok(()) => {
                telemetry::set_level(&merged.config.log.level);
                let keys = merged.changed.join(", ");
                tracing::info!(changed = keys, "SIGHUP: the configuration was reloaded");
                now = merged.config;
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "SIGHUP: the configuration was not changed"
                );
            }
        }
    }
}

struct Merged {
    config: Config,
    /// Keys whose value changed.
    changed: Vec<String>,
    /// Keys that need a restart to change.
    waiting: Vec<String>,
}

/// What takes effect of a new configuration.
fn merge(now: &Config, new: &Config) -> Merged {
    let text = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let (mut merged, new) = (text(now), text(new));
    let (mut changed, mut waiting) = (Vec::new(), Vec::new());
    for key in keys(&new) {
        let pointer = format!("/{}", key.replace('.', "/"));
        let (Some(old), Some(new)) = (merged.pointer_mut(&pointer), new.pointer(&pointer)) else {
            continue;
        };
        if old == new {
            continue;
        }
        let is_reloaded = RELOADED.iter().any(|reloaded| {
            key.strip_prefix(reloaded)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if is_reloaded {
            old.clone_from(new);
            changed.push(key);
        } else {
            waiting.push(key);
        }
    }
    Merged {
        config: serde_json::from_value(merged).unwrap_or_else(|_| now.clone()),
        changed,
        waiting,
    }
}

fn keys(config: &Json) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in config.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => keys.push(name.clone()),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn every_name_is_a_key_or_a_section() {
        let config = serde_json::to_value(Config::default()).unwrap();
        for name in RELOADED {
            let pointer = format!("/{}", name.replace('.', "/"));
            assert!(config.pointer(&pointer).is_some(), "{name}");
        }
    }

    #[test]
    fn what_a_running_server_cannot_change_waits() {
        let now = Config::default();
        let mut new = now.clone();
        new.cors.origins.push("https://shop.example".to_owned());
        new.keys.signing.push(Secret("1:secret".to_owned()));
        new.spool.max_bytes = 70_000;
        new.listen.set_port(1);
        let merged = merge(&now, &new);
        assert_eq!(merged.changed, ["cors.origins", "keys.signing"]);
        assert_eq!(merged.waiting, ["listen", "spool.max_bytes"]);
        assert_eq!(merged.config.spool, now.spool);
        assert_eq!(merged.config.keys, new.keys);
        assert_eq!(merge(&now, &now).config, now);
    }
}

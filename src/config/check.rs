//! Checks that types cannot express: values that would be accepted and then ignored, that shadow
//! each other, or that make no sense.
//!
//! A mistake names its key and its value, says what is wrong and what is allowed. `config/load.rs`
//! adds the place: the file with its line, the variable or the flag.

mod lists;
mod paths;
mod urls;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value as Json;

pub(super) use self::lists::meant_host;

use super::words::{allowed, did_you_mean, nearest};
use super::{Config, Secret};

/// Something wrong with one key.
pub(super) struct Mistake {
    pub(super) key: &'static str,
    /// The key it conflicts with; its position is reported if this key was not given.
    pub(super) with: Option<&'static str>,
    /// The item of a list.
    pub(super) item: Option<usize>,
    /// The value as it would be written in a file; `None` for secrets.
    pub(super) value: Option<String>,
    /// What is wrong and what is allowed.
    pub(super) text: String,
}

/// Crates that write log lines.
const LOGGING: [&str; 7] = [
    "axum",
    "hyper",
    "hyper_util",
    "rustls",
    "sillage",
    "sqlx",
    "tower",
];

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// All that is wrong.
pub(super) fn check(config: &Config) -> Vec<Mistake> {
    let mut found = Found::default();
    check_addresses(config, &mut found);
    urls::check_urls(config, &mut found);
    urls::check_upstream(config, &mut found);
    urls::check_places(config, &mut found);
    check_user_header(config, &mut found);
    check_secrets(config, &mut found);
    lists::check_networks(config, &mut found);
    lists::check_names(config, &mut found);
    paths::check_paths(config, &mut found);
    check_sizes(config, &mut found);
    if let Some(text) = wrong_level(&config.log.level) {
        found.say("log.level", &config.log.level, text);
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Mistake>);

impl Found {
    fn add(&mut self, key: &'static str, value: Option<String>, text: String) -> &mut Mistake {
        self.0.push(Mistake {
            key,
            with: None,
            item: None,
            value,
            text,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn say(&mut self, key: &'static str, value: &str, text: impl Into<String>) -> &mut Mistake {
        self.add(key, Some(Json::from(value).to_string()), text.into())
    }

    /// An item of a list.
    fn item(&mut self, key: &'static str, item: usize, value: &str, text: impl Into<String>) {
        self.say(key, value, text).item = Some(item);
    }

    /// A value that must not appear in a log.
    fn secret(&mut self, key: &'static str, item: Option<usize>, text: impl Into<String>) {
        self.add(key, None, text.into()).item = item;
    }

    fn number(&mut self, key: &'static str, value: u64, least: u64, most: u64) {
        if !(least..=most).contains(&value) {
            let text = format!("is out of range; give {least} to {most}");
            self.add(key, Some(value.to_string()), text);
        }
    }

    fn duration(&mut self, key: &'static str, value: Duration, least: Duration, most: Duration) {
        if !(least..=most).contains(&value) {
            let shown = |value| humantime_serde::re::humantime::format_duration(value).to_string();
            let text = format!(
                "is out of range; give \"{}\" to \"{}\"",
                shown(least),
                shown(most)
            );
            self.say(key, &shown(value), text);
        }
    }
}

fn check_addresses(config: &Config, found: &mut Found) {
    if let Some(metrics) = config.metrics.listen
        && meet(config.listen, metrics)
    {
        let text = format!(
            "uses the same port as listen ({}); give it another port, or \"\" for none",
            config.listen
        );
        found.say("metrics.listen", &metrics.to_string(), text).with = Some("listen");
    }
    let Some(console) = config.console.listen.filter(|_| config.console.is_chosen()) else {
        return;
    };
    let others = [
        ("listen", Some(config.listen)),
        ("metrics.listen", config.metrics.listen),
    ];
    for (key, other) in others {
        if let Some(other) = other
            && meet(other, console)
        {
            let text = format!(
                "uses the same port as {key} ({other}); give it another port, or \"\" for none"
            );
            found.say("console.listen", &console.to_string(), text).with = Some(key);
        }
    }
}

/// Whether two listeners conflict.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    // 0: the system chooses.
    let both = |one: IpAddr, other: IpAddr| {
        one == other
            || one.is_unspecified() && (one.is_ipv6() || other.is_ipv4())
            || other.is_unspecified() && (other.is_ipv6() || one.is_ipv4())
    };
    one.port() != 0 && one.port() == other.port() && both(one.ip(), other.ip())
}

/// Headers that mean something else to us.
const OTHER_HEADERS: [&str; 4] = ["authorization", "cookie", "host", "x-forwarded-for"];

fn check_user_header(config: &Config, found: &mut Found) {
    let Some(header) = &config.console.user_header else {
        return;
    };
    let text = match http::HeaderName::from_bytes(header.as_bytes()) {
        Err(_) => "is not the name of a header",
        Ok(name) if OTHER_HEADERS.contains(&name.as_str()) => "names something else in a request",
        Ok(_) => return,
    };
    let text = format!("{text}; {}", allowed("console.user_header"));
    found.say("console.user_header", header, text);
}

fn check_secrets(config: &Config, found: &mut Found) {
    for (key, secret) in [
        ("admin_token", &config.admin_token),
        ("debug.key", &config.debug.key),
    ] {
        let Some(Secret(text)) = secret else { continue };
        let wrong = if text.chars().count() < 16 {
            "has fewer than 16 characters"
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            "contains spaces or letters that a header cannot carry, so no request could match it"
        } else {
            continue;
        };
        found.secret(key, None, format!("{wrong}; {}", allowed(key)));
    }
    let mut numbers = BTreeSet::new();
    for (index, Secret(text)) in config.keys.signing.iter().enumerate() {
        let number = text
            .split_once(':')
            .and_then(|(number, _)| number.trim().parse::<u8>().ok())
            .filter(|number| *number < 16);
        let wrong = match (number, text.split_once(':')) {
            (Some(number), _) if !numbers.insert(number) => {
                format!(
                    "has the same number, {number}, as another key; each number belongs to one \
                    secret, forever"
                )
            }
            (Some(_), Some((_, secret))) if secret.len() < 32 => {
                "has a secret of fewer than 32 characters".to_owned()
            }
            (Some(_), _) => continue,
            (None, _) => "is not \"<number 0-15>:<secret>\"".to_owned(),
        };
        let text = format!("entry {}: {wrong}; {}", index + 1, allowed("keys.signing"));
        found.secret("keys.signing", Some(index), text);
    }
    for (index, Secret(text)) in config.mapp.secrets.iter().enumerate() {
        let is_site = |site: &str| {
            !site.is_empty()
                && site
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        let wrong = match text.split_once(':') {
            Some((site, _)) if !is_site(site) => {
                "does not begin with a track id (letters, digits, _ and -)"
            }
            Some((_, secret)) if secret.len() < 16 => "has a secret of fewer than 16 characters",
            Some(_) => continue,
            None => "is not \"<track id>:<secret>\"",
        };
        let text = format!("entry {}: {wrong}; {}", index + 1, allowed("mapp.secrets"));
        found.secret("mapp.secrets", Some(index), text);
    }
}

fn check_sizes(config: &Config, found: &mut Found) {
    let (ms, seconds) = (Duration::from_millis, Duration::from_secs);
    let hour = seconds(3_600);
    let Config {
        spool,
        database,
        server,
        links,
        revenue,
        ..
    } = config;
    found.duration("spool.patience", spool.patience, ms(1), seconds(60));
    found.number("spool.max_bytes", spool.max_bytes, 1 << 16, 1 << 50);
    found.duration("spool.give_way", spool.give_way, Duration::ZERO, hour);
    let connections = u64::from(database.max_connections);
    found.number("database.max_connections", connections, 2, 10_000);
    found.duration("database.patience", database.patience, seconds(1), hour);
    let months = u64::from(database.keep_months);
    found.number("database.keep_months", months, 0, 1_200);
    let days = u64::from(revenue.window_days);
    found.number("revenue.window_days", days, 1, 365);
    found.duration("links.refresh", links.refresh, ms(10), hour);
    let connections = server.max_connections as u64;
    found.number("server.max_connections", connections, 2, 1_000_000);
    let bytes = server.max_body_bytes as u64;
    found.number("server.max_body_bytes", bytes, 1 << 10, 1 << 30);
    found.duration("server.read_timeout", server.read_timeout, ms(100), hour);
    found.duration("server.shutdown", server.shutdown, seconds(1), hour);
}

/// The filter takes any word for a module name and turns everything else off, so each word is
/// checked here.
fn wrong_level(filter: &str) -> Option<String> {
    let allowed = allowed("log.level");
    let level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let mut has_general = false;
    for directive in filter.split(',').map(str::trim) {
        match directive.rsplit_once('=') {
            None if level(directive) => has_general = true,
            None => {
                let near = nearest(directive, LEVELS.into_iter());
                return Some(format!("{directive:?} is not a log level{near}; {allowed}"));
            }
            Some((_, word)) if !level(word) && word != "off" => {
                let near = nearest(word, LEVELS.into_iter());
                return Some(format!("{word:?} is not a log level{near}; {allowed}"));
            }
            Some((target, _)) => {
                let name = target.split([':', '[']).next().unwrap_or_default();
                if !LOGGING.contains(&name) {
                    let near = nearest(name, LOGGING.into_iter());
                    return Some(format!(
                        "{name:?} is not a log target{near} (targets: {}); {allowed}",
                        LOGGING.join(", ")
                    ));
                }
            }
        }
    }
    let plain: String = filter.chars().filter(|c| !c.is_whitespace()).collect();
    if let Err(error) = plain.parse::<tracing_subscriber::filter::Targets>() {
        return Some(format!("is not a valid filter ({error}); {allowed}"));
    }
    (!has_general).then(|| {
        let meant = did_you_mean(Some(format!("info,{filter}")));
        format!("sets no default level, so everything else would be silent{meant}; {allowed}")
    })
}

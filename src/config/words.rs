//! What each key accepts, in words, and the nearest valid word to an invalid one.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::hint;

/// Keys whose values never appear in a message or listing.
pub(super) const SECRETS: [&str; 5] = [
    "admin_token",
    "database_url",
    "debug.key",
    "keys.signing",
    "mapp.secrets",
];

const A_DURATION: &str = "give a duration such as \"250ms\", \"2s\" or \"5m\"";
const A_NETWORK: &str = "give a list of networks such as [\"10.0.0.0/8\", \"192.0.2.7/32\"]";
const A_PATH: &str =
    "give a path such as \"/x/y.js\": a slash, then letters, digits, dots, _ and -";
const A_HOST: &str = "give a list of hosts such as [\"www.example.com\", \"*.example.com\"]";
const A_FIELD: &str = "give a list of names such as [\"email\", \"customer_id\"], each of at most \
    64 letters, digits, _ and -";
const A_NUMBER: &str = "give a whole number";
const BYTES: &str = "give a whole number of bytes, such as 67108864";
const TRUE_OR_FALSE: &str = "give true or false";

/// What a key takes.
const ALLOWED: [(&str, &str); 53] = [
    (
        "listen",
        "give an address and a port such as \"127.0.0.1:8080\" or \"[::]:8080\" (names are not \
        looked up)",
    ),
    ("public_url", "give a URL such as \"https://t.example.com\""),
    ("data_dir", "give a directory such as \"/var/lib/sillage\""),
    (
        "database_url",
        "give \"postgres://user:password@host/database\" or \"sqlite:///path/to/the/file\"",
    ),
    (
        "admin_token",
        "give at least 16 letters, digits and symbols; `openssl rand -hex 24` makes some",
    ),
    ("trust.proxies", A_NETWORK),
    ("trust.senders", A_NETWORK),
    (
        "cors.origins",
        "give a list such as [\"https://shop.example\", \"https://*.shop.example\"] or [\"*\"]",
    ),
    (
        "cookies.domains",
        "give a list of domains such as [\".example.com\"]",
    ),
    ("contacts.unique", A_FIELD),
    ("contacts.public", A_FIELD),
    (
        "revenue.proof",
        "give \"signed\", \"unsigned\" or \"claimed\"",
    ),
    ("revenue.window_days", A_NUMBER),
    ("spool.ack", "give \"durable\" or \"fast\""),
    ("spool.patience", A_DURATION),
    ("spool.max_bytes", BYTES),
    ("spool.give_way", A_DURATION),
    ("database.migrate", TRUE_OR_FALSE),
    ("database.max_connections", A_NUMBER),
    ("database.patience", A_DURATION),
    ("database.keep_months", A_NUMBER),
    ("paths.script", A_PATH),
    ("paths.pixel", A_PATH),
    ("paths.event", A_PATH),
    ("paths.redirect", A_PATH),
    (
        "links.fallback_url",
        "give the URL of a page such as \"https://www.example.com/link-not-found\"",
    ),
    ("links.landing_parameter", TRUE_OR_FALSE),
    ("links.refresh", A_DURATION),
    ("links.personal_hosts", A_HOST),
    (
        "adobe.mode",
        "give \"session\", \"permanent\" or \"anonymous\"",
    ),
    ("mapp.path", A_PATH),
    ("mapp.third_party_cookies", TRUE_OR_FALSE),
    ("mapp.redirect_hosts", A_HOST),
    (
        "mapp.secrets",
        "give a list such as [\"<track id>:<at least 16 characters>\"]",
    ),
    (
        "upstream.url",
        "give the URL of the old system under its own name, such as \"https://old.example.net\"",
    ),
    (
        "upstream.host",
        "give a host name such as \"old.example.net\"",
    ),
    ("upstream.timeout", A_DURATION),
    ("upstream.max_body_bytes", BYTES),
    ("upstream.max_requests", A_NUMBER),
    (
        "verdict.agents",
        "give a file with a verdict and a word a line, such as \"/etc/sillage/agents\"",
    ),
    (
        "verdict.networks",
        "give a file with a verdict and a network a line, such as \"/etc/sillage/networks\"",
    ),
    (
        "debug.key",
        "give at least 16 letters, digits and symbols; `openssl rand -hex 24` makes some",
    ),
    ("webhooks.allow_networks", A_NETWORK),
    (
        "metrics.listen",
        "give an address and a port such as \"127.0.0.1:9090\", or \"\" for none",
    ),
    (
        "console.listen",
        "give an address and a port such as \"127.0.0.1:8081\", or \"\" for none",
    ),
    (
        "console.user_header",
        "give the name of a header such as \"X-Remote-User\"",
    ),
    ("api.public", TRUE_OR_FALSE),
    (
        "keys.signing",
        "give a list such as [\"2:<at least 32 characters>\", \"1:<at least 32 characters>\"]",
    ),
    ("server.max_connections", A_NUMBER),
    ("server.max_body_bytes", BYTES),
    ("server.read_timeout", A_DURATION),
    ("server.shutdown", A_DURATION),
    ("log.format", "give \"text\" or \"json\""),
];
const LOG_LEVEL: &str = "give \"error\", \"warn\", \"info\", \"debug\" or \"trace\", alone or \
    with modules of their own such as \"info,sillage::projection=debug\"";

/// What a key accepts, as the end of a message.
pub(super) fn allowed(key: &str) -> &'static str {
    if key == "log.level" {
        return LOG_LEVEL;
    }
    let found = ALLOWED.iter().find(|(name, _)| *name == key);
    found.map_or(
        "see config.example.toml for the allowed values",
        |(_, allowed)| allowed,
    )
}

/// ` (did you mean "…"?)` if one of the words is similar.
pub(super) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> String {
    did_you_mean(hint::nearest(word, words))
}

/// ` (did you mean "…"?)`, or nothing; the file's spelling is quoted.
pub(super) fn did_you_mean(meant: Option<impl fmt::Debug>) -> String {
    hint::did_you_mean(meant.map(|meant| format!("{meant:?}")))
}

/// Duplicate items of a list, with their positions.
pub(super) struct Duplicates;

impl Duplicates {
    pub(super) fn of(list: &[String]) -> impl Iterator<Item = (usize, &str)> {
        let mut seen = BTreeSet::new();
        list.iter()
            .enumerate()
            .filter(move |(_, item)| !seen.insert(item.as_str()))
            .map(|(index, item)| (index, item.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_key_says_what_it_takes() {
        let defaults = serde_json::to_value(Config::default()).unwrap();
        for (name, value) in defaults.as_object().unwrap() {
            let keys: Vec<String> = match value.as_object() {
                Some(section) => section.keys().map(|key| format!("{name}.{key}")).collect(),
                None => vec![name.clone()],
            };
            for key in keys {
                assert!(allowed(&key).starts_with("give "), "{key}");
            }
        }
        for (key, _) in ALLOWED {
            let pointer = format!("/{}", key.replace('.', "/"));
            assert!(defaults.pointer(&pointer).is_some(), "{key}");
        }
    }
}

//! `config.example.toml` is the documentation of the configuration; here it is held to the code.

use std::collections::BTreeSet;

use figment::providers::{Format, Toml};
use serde_json::Value;

use super::{Config, Flags};

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The example with the lines of keys that have no default: `#key = value`; prose has a space after
/// its `#`.
fn with_optional_keys() -> String {
    let is_key = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_lowercase());
    let lines = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix('#').filter(is_key).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn load(text: &str) -> Config {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::load(Some(file.path()), [], &Flags::default()).unwrap()
}

/// `section.key` for every key of a document.
fn keys(document: &Value, prefix: &str, only: fn(&Value) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, value) in document.as_object().unwrap() {
        match value {
            Value::Object(_) => found.extend(keys(value, &format!("{prefix}{name}."), only)),
            value if only(value) => _ = found.insert(format!("{prefix}{name}")),
            _ => {}
        }
    }
    found
}

fn keys_of(text: &str) -> BTreeSet<String> {
    keys(&Toml::from_str::<Value>(text).unwrap(), "", |_| true)
}

fn defaults() -> Value {
    serde_json::to_value(Config::default()).unwrap()
}

#[test]
fn the_example_is_the_default() {
    assert_eq!(load(EXAMPLE), Config::default());
}

#[test]
fn the_example_gives_every_key_that_has_a_default() {
    let with_default = keys(&defaults(), "", |value| !value.is_null());
    assert_eq!(keys_of(EXAMPLE), with_default);
}

#[test]
fn keys_without_a_default_stand_in_the_example_as_comments_that_are_valid() {
    let text = with_optional_keys();
    assert_eq!(keys_of(&text), keys(&defaults(), "", |_| true));
    let config = load(&text);
    let without = keys(&serde_json::to_value(config).unwrap(), "", Value::is_null);
    assert_eq!(without, BTreeSet::new());
}

/// A sample environment value for a key that differs from its default.
fn other_than_default(key: &str, default: &Value) -> String {
    let secret = ":0123456789abcdef0123456789abcdef";
    let own = match key {
        "listen" | "console.listen" | "metrics.listen" => "127.0.0.1:7777",
        "public_url" | "links.fallback_url" | "upstream.url" => "https://a.example/b",
        "upstream.host" => "a.example",
        "console.user_header" => "X-A",
        "database_url" => "postgres://a@b/c",
        "verdict.agents" | "verdict.networks" => "/etc/a",
        "data_dir" | "admin_token" | "debug.key" => "12345678901234567890",
        "trust.proxies" | "trust.senders" | "webhooks.allow_networks" => "10.0.0.0/8,::1/128",
        "cors.origins" => "https://a.example,http://[::1]",
        "cookies.domains" => ".a.example,b.example",
        "links.personal_hosts" | "mapp.redirect_hosts" => "a.example,*.b.example",
        "keys.signing" => &format!("1{secret},2{secret}")[..],
        "mapp.secrets" => &format!("111{secret},222{secret}")[..],
        "spool.ack" => "fast",
        "adobe.mode" => "permanent",
        "revenue.proof" => "unsigned",
        "log.format" => "json",
        "api.public" => return "false".to_owned(),
        "log.level" => "info,sillage::projection=debug",
        _ if key.starts_with("paths.") || key == "mapp.path" => "/0",
        _ => match default {
            Value::Bool(is_so) => return (!is_so).to_string(),
            Value::Number(number) => return (number.as_u64().unwrap() + 7).to_string(),
            Value::Array(_) => "a,b_c",
            // Durations.
            _ => "7s",
        },
    };
    own.to_owned()
}

#[test]
fn every_key_can_be_given_in_the_environment() {
    let defaults = defaults();
    for key in keys_of(&with_optional_keys()) {
        let pointer = format!("/{}", key.replace('.', "/"));
        let default = defaults.pointer(&pointer).unwrap();
        let text = other_than_default(&key, default);
        let name = format!("SILLAGE_{}", key.to_uppercase().replace('.', "__"));
        let given = [(name.clone(), text.clone())];
        let config = Config::load(None, given, &Flags::default())
            .unwrap_or_else(|problems| panic!("{name}={text}: {problems}"));
        // The same in a file, with a list's items apart.
        let value = match default {
            _ if key == "api.public" => text.clone(),
            Value::Array(_) => serde_json::json!(text.split(',').collect::<Vec<_>>()).to_string(),
            Value::Bool(_) | Value::Number(_) => text.clone(),
            _ => serde_json::json!(text).to_string(),
        };
        assert_eq!(config, load(&format!("{key} = {value}")), "{name}={text}");
        let mut told = serde_json::to_value(config).unwrap();
        let got = told.pointer_mut(&pointer).unwrap().take();
        assert_ne!(got, *default, "{name}={text}");
        // And nothing else.
        let mut rest = defaults.clone();
        rest.pointer_mut(&pointer).unwrap().take();
        assert_eq!(told, rest, "{name}={text}");
    }
}

#[test]
fn every_key_is_explained() {
    let text = with_optional_keys();
    let mut before = "";
    for line in text.lines() {
        let is_key_or_section =
            line.starts_with('[') || line.starts_with(|c: char| c.is_ascii_lowercase());
        assert!(
            !is_key_or_section || before.starts_with("# "),
            "{line:?} has no comment above it"
        );
        before = line;
    }
}

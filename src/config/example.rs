//! `config.example.toml` is the documentation of the configuration; here it is held to the code.

use std::collections::BTreeSet;

use figment::providers::{Format, Toml};
use serde_json::Value;

use super::{Config, Flags};

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The example with the lines of keys that have no default: `#key = value`, where prose has a space after its `#`.
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

/// `section.key` of everything in a document that is no section.
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

//! From file, environment and flags to a [`Config`], with every problem told at once.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile};

use super::Config;

/// What the command line overrides.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--listen`
    pub listen: Option<String>,
    /// `--public-url`
    pub public_url: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--database-url`
    pub database_url: Option<String>,
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

const PREFIX: &str = "SILLAGE_";
/// Read by the command line itself.
const NOT_KEYS: [&str; 1] = ["SILLAGE_CONFIG"];

impl Config {
    /// Reads a configuration. `env` is the environment as pairs of name and value.
    ///
    /// # Errors
    /// A named file is missing or is no TOML, a key is unknown, or a value is out of its range: all of it at once.
    pub fn load(
        path: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut given: Vec<(String, String, Value)> = Vec::new();
        if let Some(path) = path {
            match std::fs::read_to_string(path) {
                Err(error) => problems.push(format!("{}: {error}", path.display())),
                Ok(text) => match read_toml(&text) {
                    Ok(dict) => leaves(dict, "", &path.display().to_string(), &mut given),
                    Err(error) => problems.push(format!("{}: {error}", path.display())),
                },
            }
        }
        let default_values = serde_json::to_value(Self::default()).unwrap_or_default();
        for (name, value) in env {
            let key = match name.strip_prefix(PREFIX) {
                Some(key) if !NOT_KEYS.contains(&name.as_str()) => {
                    key.to_ascii_lowercase().replace("__", ".")
                }
                None if name == "DATABASE_URL" => "database_url".to_owned(),
                _ => continue,
            };
            if let Some(value) = environment_value(&default_values, &key, value) {
                given.push((key, name, value));
            }
        }
        let path_text = |path: &PathBuf| path.display().to_string();
        for (key, value) in [
            ("listen", flags.listen.clone()),
            ("public_url", flags.public_url.clone()),
            ("data_dir", flags.data_dir.as_ref().map(path_text)),
            ("database_url", flags.database_url.clone()),
        ] {
            if let Some(value) = value {
                given.push((
                    key.to_owned(),
                    format!("--{}", key.replace('_', "-")),
                    Value::from(value),
                ));
            }
        }
        let defaults = Figment::from(Serialized::defaults(Self::default()));
        let mut all = defaults.clone();
        for (key, source, value) in given {
            // Each key alone against the defaults: so every mistake is found, not only the first.
            match defaults
                .clone()
                .merge(Serialized::from(
                    nested(&key, value.clone()),
                    Profile::Default,
                ))
                .extract::<Self>()
            {
                Ok(_) => all = all.merge(Serialized::from(nested(&key, value), Profile::Default)),
                Err(error) => problems.push(explain(&source, &key, &error)),
            }
        }
        match all.extract::<Self>() {
            Ok(config) => {
                problems.extend(config.check());
                if problems.is_empty() {
                    Ok(config)
                } else {
                    Err(Problems(problems))
                }
            }
            Err(error) => {
                problems.push(error.to_string());
                Err(Problems(problems))
            }
        }
    }
}

fn explain(source: &str, key: &str, error: &figment::Error) -> String {
    use figment::error::Kind;
    match &error.kind {
        Kind::UnknownField(..) => format!("{source}: unknown key {key:?}"),
        kind => format!("{source}: {key}: {kind}"),
    }
}

/// Settings for which an empty text is a value of its own: none.
const MAY_BE_EMPTY: [&str; 2] = ["metrics.listen", "mapp.path"];

/// What a variable says; none where it is empty, as it is when a container's or a build's own variable is not set. What a key holds by default
/// decides how the text is read: a password of digits stays a text.
fn environment_value(defaults: &serde_json::Value, key: &str, text: String) -> Option<Value> {
    use serde_json::Value as Json;
    let default = defaults.pointer(&format!("/{}", key.replace('.', "/")));
    if text.is_empty() {
        let is_setting = default.is_some_and(|default| !default.is_object());
        // A name that is no key's stays a mistake.
        return (!is_setting || MAY_BE_EMPTY.contains(&key)).then(|| Value::from(text));
    }
    Some(match default {
        Some(Json::Array(_)) => Value::from(list(&text)),
        Some(Json::Number(_)) => match text.parse::<i64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(text),
        },
        Some(Json::Bool(_)) => match text.parse::<bool>() {
            Ok(truth) => Value::from(truth),
            Err(_) => Value::from(text),
        },
        _ => Value::from(text),
    })
}

/// A list: with commas, or as it would stand in the file; `[]` is the empty one.
fn list(text: &str) -> Vec<String> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if inner.is_some()
        && let Ok(items) = serde_json::from_str(text)
    {
        return items;
    }
    inner
        .unwrap_or(text)
        .split(',')
        .map(|item| item.trim().trim_matches('"').to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

fn nested(key: &str, value: Value) -> Dict {
    let mut parts = key.rsplit('.');
    let last = parts.next().unwrap_or_default().to_owned();
    let leaf = Dict::from([(last, value)]);
    parts.fold(leaf, |inner, part| {
        Dict::from([(part.to_owned(), Value::from(inner))])
    })
}

fn leaves(dict: Dict, prefix: &str, source: &str, given: &mut Vec<(String, String, Value)>) {
    for (name, value) in dict {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => leaves(inner, &key, source, given),
            value => given.push((key, source.to_owned(), value)),
        }
    }
}

fn read_toml(text: &str) -> Result<Dict, String> {
    <Toml as Format>::from_str::<Dict>(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, Problems> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let env: Vec<_> = env
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        Config::load(Some(file.path()), env, &Flags::default())
    }

    #[test]
    fn the_environment_wins_over_the_file_and_reaches_every_section() {
        let config = load(
            "listen = '127.0.0.1:1'\n[spool]\nack = 'fast'\npatience = '1s'",
            &[
                ("SILLAGE_LISTEN", "127.0.0.1:2"),
                ("SILLAGE_SPOOL__MAX_BYTES", "70000"),
                ("SILLAGE_TRUST__PROXIES", "10.0.0.0/8,::1/128"),
                ("DATABASE_URL", "postgres://x"),
                ("SILLAGE_CONFIG", "x"),
                ("HOME", "/"),
            ],
        )
        .unwrap();
        assert_eq!(config.listen.port(), 2);
        assert_eq!(
            (config.spool.ack, config.spool.max_bytes),
            (super::super::Ack::Fast, 70_000)
        );
        assert_eq!(config.spool.patience, std::time::Duration::from_secs(1));
        assert_eq!(config.trust.proxies.len(), 2);
        assert!(!format!("{config:?}").contains("postgres"));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let problems = load(
            "lisen = 'x'\n[spool]\nack = 'never'\nsize = 1\n[paths]\npixel = 'x'",
            &[("SILLAGE_NOPE", "1")],
        )
        .unwrap_err()
        .0;
        for part in [
            "lisen",
            "spool.ack",
            "spool.size",
            "SILLAGE_NOPE",
            "paths.pixel",
        ] {
            assert!(
                problems.iter().any(|p| p.contains(part)),
                "{part} in {problems:?}"
            );
        }
        assert_eq!(problems.len(), 5, "{problems:?}");
    }

    #[test]
    fn an_empty_variable_is_as_if_not_given() {
        let file =
            "listen = '127.0.0.1:1'\n[contacts]\nunique = ['customer_id']\n[mapp]\npath = '/x'";
        let plain = load(file, &[]).unwrap();
        for name in [
            "DATABASE_URL",
            "SILLAGE_CONFIG",
            "SILLAGE_LISTEN",
            "SILLAGE_PUBLIC_URL",
            "SILLAGE_DATA_DIR",
            "SILLAGE_ADMIN_TOKEN",
            "SILLAGE_CONTACTS__UNIQUE",
            "SILLAGE_SPOOL__PATIENCE",
            "SILLAGE_SPOOL__MAX_BYTES",
            "SILLAGE_LINKS__FALLBACK_URL",
            "SILLAGE_LINKS__LANDING_PARAMETER",
        ] {
            assert_eq!(load(file, &[(name, "")]).as_ref(), Ok(&plain), "{name}");
        }
        // These have an empty value of their own; of a list it is [].
        let none = load(
            file,
            &[
                ("SILLAGE_METRICS__LISTEN", ""),
                ("SILLAGE_MAPP__PATH", ""),
                ("SILLAGE_CONTACTS__UNIQUE", "[]"),
            ],
        )
        .unwrap();
        assert_eq!((none.metrics.listen, none.mapp.path.as_str()), (None, ""));
        assert_eq!(none.contacts.unique, Vec::<String>::new());
        for wrong in ["SILLAGE_NOPE", "SILLAGE_SPOOL", "SILLAGE_SPOOL__NOPE"] {
            assert!(load(file, &[(wrong, "")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_written_with_commas_or_as_in_the_file() {
        for (text, items) in [
            ("a", &["a"][..]),
            ("a, b,,c ", &["a", "b", "c"]),
            ("[a,\"b\"]", &["a", "b"]),
            ("[\"a,b\", \"c\"]", &["a,b", "c"]),
            ("http://[::1]", &["http://[::1]"]),
            ("[]", &[]),
        ] {
            assert_eq!(list(text), items, "{text}");
        }
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        assert!(
            Config::load(
                Some(Path::new("/nonexistent/x.toml")),
                [],
                &Flags::default()
            )
            .is_err()
        );
    }
}

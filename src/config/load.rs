//! From file, environment and flags to a [`Config`], with every problem reported at once.

mod file;
mod forms;
mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::Serialized;
use figment::value::{Dict, Value};
use figment::{Figment, Profile};

use super::Config;
use super::check::{Mistake, check};
use file::read_file;
use forms::{keep_items, wrong_type};
use known::{Known, is_of_a_service};

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

/// Already handled by the command line.
const NOT_KEYS: [&str; 1] = ["SILLAGE_CONFIG"];

/// A value and where it was given.
struct Given {
    key: String,
    place: Place,
    value: Value,
}

/// Where a value was given.
enum Place {
    /// A file, the line of the key, and the lines of a list's items.
    File(String, usize, Vec<usize>),
    /// The name of a variable or a flag.
    Name(String),
}

impl Place {
    fn told(&self, item: Option<usize>) -> String {
        match self {
            Self::File(file, line, items) => {
                let line = item.and_then(|item| items.get(item)).unwrap_or(line);
                format!("{file}:{line}")
            }
            Self::Name(name) => name.clone(),
        }
    }
}

impl Config {
    /// Reads a configuration. `env` is the environment as pairs of name and value.
    ///
    /// # Errors
    /// A named file is missing or is no TOML, a key is unknown, or a value is out of its range: all
    /// of it at once.
    pub fn load(
        path: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Self, Problems> {
        let mut problems: Vec<(usize, String)> = Vec::new();
        let mut given: Vec<Given> = Vec::new();
        if let Some(path) = path {
            match read_file(path) {
                Ok(found) => given = found,
                Err(problem) => problems.push((0, problem)),
            }
        }
        let known = Known::new();
        let mut urls = BTreeMap::new();
        for (name, value) in env {
            if let Some(problem) = known.wrong_case(&name) {
                problems.push((usize::MAX, problem));
                continue;
            }
            if matches!(name.as_str(), "DATABASE_URL" | "SILLAGE_DATABASE_URL") && !value.is_empty()
            {
                urls.insert(name.clone(), value.clone());
            }
            let key = match name.strip_prefix(PREFIX) {
                Some(key)
                    if !NOT_KEYS.contains(&name.as_str()) && !is_of_a_service(key, &value) =>
                {
                    key.to_ascii_lowercase().replace("__", ".")
                }
                None if name == "DATABASE_URL" => "database_url".to_owned(),
                _ => continue,
            };
            if let Some(value) = environment_value(&known.defaults, &key, value) {
                let place = Place::Name(name);
                given.push(Given { key, place, value });
            }
        }
        // Which one would win is the environment's order, which nobody sees.
        if urls.values().collect::<BTreeSet<_>>().len() > 1 {
            problems.push((
                usize::MAX,
                "DATABASE_URL and SILLAGE_DATABASE_URL name different databases; set only one of \
                them"
                    .to_owned(),
            ));
        }
        let path_text = |path: &PathBuf| path.display().to_string();
        for (key, value) in [
            ("listen", flags.listen.clone()),
            ("public_url", flags.public_url.clone()),
            ("data_dir", flags.data_dir.as_ref().map(path_text)),
            ("database_url", flags.database_url.clone()),
        ] {
            if let Some(value) = value {
                given.push(Given {
                    key: key.to_owned(),
                    place: Place::Name(format!("--{}", key.replace('_', "-"))),
                    value: Value::from(value),
                });
            }
        }
        let defaults = Figment::from(Serialized::defaults(Self::default()));
        let with = |figment: Figment, key: &str, value: &Value| {
            figment.merge(Serialized::from(
                nested(key, value.clone()),
                Profile::Default,
            ))
        };
        // Each key alone against the defaults: so every mistake is found, not only the first.
        let is_taken =
            |key: &str, value: &Value| with(defaults.clone(), key, value).extract::<Self>().is_ok();
        let mut all = defaults.clone();
        for (number, given) in given.iter_mut().enumerate() {
            let Given { key, place, value } = given;
            if let Some(problem) = known.problem(key, place, value) {
                problems.extend(problem.map(|problem| (number, problem)));
                continue;
            }
            if !is_taken(key, value) {
                let wrong = wrong_type(key, place, value, &known, is_taken);
                problems.extend(wrong.into_iter().map(|problem| (number, problem)));
                // What is right in a list is looked at further.
                if !keep_items(key, place, value, is_taken) {
                    continue;
                }
            }
            all = with(all, key, value);
        }
        match all.extract::<Self>() {
            Ok(config) => problems.extend(check(&config).iter().map(|wrong| told(wrong, &given))),
            Err(error) => problems.push((usize::MAX, error.to_string())),
        }
        // In the order of the file, then of the variables and flags.
        problems.sort_by_key(|(number, _)| *number);
        match all.extract::<Self>() {
            Ok(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems(
                problems.into_iter().map(|(_, problem)| problem).collect(),
            )),
        }
    }
}

/// A mistake, with where its key was last set and the rank of that place.
fn told(wrong: &Mistake, given: &[Given]) -> (usize, String) {
    let find = |key: &str| given.iter().rposition(|given| given.key == key);
    let own = find(wrong.key).map(|number| (number, wrong.item));
    let found = own.or_else(|| Some((find(wrong.with?)?, None)));
    let place = found.and_then(|(number, item)| Some(given.get(number)?.place.told(item)));
    let place = place.unwrap_or_else(|| "default".to_owned());
    let value = match &wrong.value {
        Some(value) => format!(" = {value}"),
        None => String::new(),
    };
    let number = found.map_or(usize::MAX, |(number, _)| number);
    (
        number,
        format!("{place}: {}{value}: {}", wrong.key, wrong.text),
    )
}

/// Settings for which an empty string is a valid value: none.
const MAY_BE_EMPTY: [&str; 3] = ["console.listen", "metrics.listen", "mapp.path"];

/// Keys without a default that are true or false.
const TRUE_OR_FALSE: [&str; 1] = ["api.public"];

/// What a variable says; `None` if it is empty, as it is when a container's or a build's own
/// variable is not set. What a key holds by default decides how the text is read: a password of
/// digits stays a text.
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
        _ if TRUE_OR_FALSE.contains(&key) || default.is_some_and(Json::is_boolean) => {
            match text.parse::<bool>() {
                Ok(truth) => Value::from(truth),
                Err(_) => Value::from(text),
            }
        }
        _ => Value::from(text),
    })
}

/// A list: comma-separated, or as written in the file; `[]` is the empty list.
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

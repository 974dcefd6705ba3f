//! From file, environment and flags to a [`Config`], with every problem told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile};
use toml_edit::{ImDocument, TableLike};

use super::Config;
use super::check::{Mistake, check};
use super::words::{SECRETS, allowed, did_you_mean, nearest, nearest_word};

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
    /// A variable's or a flag's name.
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
    /// A named file is missing or is no TOML, a key is unknown, or a value is out of its range: all of it at once.
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
                "DATABASE_URL and SILLAGE_DATABASE_URL name different databases; give one of them"
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

/// Leaves the right items in a list; false where there are none.
fn keep_items(
    key: &str,
    place: &mut Place,
    value: &mut Value,
    is_taken: impl Fn(&str, &Value) -> bool,
) -> bool {
    let is_right: Vec<bool> = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| is_taken(key, &Value::from(vec![item.clone()])))
        .collect();
    let right = value.as_array().into_iter().flatten().zip(&is_right);
    let right: Vec<Value> = right
        .filter(|(_, is_right)| **is_right)
        .map(|(item, _)| item.clone())
        .collect();
    if let Place::File(_, _, lines) = place {
        let mut each = is_right.iter();
        lines.retain(|_| *each.next().unwrap_or(&true));
    }
    let has_some = !right.is_empty();
    *value = Value::from(right);
    has_some && is_taken(key, value)
}

/// The keys there are.
struct Known {
    defaults: serde_json::Value,
    keys: BTreeSet<String>,
    sections: BTreeSet<String>,
}

impl Known {
    fn new() -> Self {
        let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
        let (mut keys, mut sections) = (BTreeSet::new(), BTreeSet::new());
        for (name, value) in defaults.as_object().into_iter().flatten() {
            match value.as_object() {
                Some(section) => {
                    keys.extend(section.keys().map(|key| format!("{name}.{key}")));
                    sections.insert(name.clone());
                }
                None => _ = keys.insert(name.clone()),
            }
        }
        Self {
            defaults,
            keys,
            sections,
        }
    }

    /// What is wrong with a variable that would be a key's, were it written in capitals.
    fn wrong_case(&self, name: &str) -> Option<String> {
        let upper = name.to_uppercase();
        let key = upper
            .strip_prefix(PREFIX)?
            .to_lowercase()
            .replace("__", ".");
        (name != upper && self.keys.contains(&key)).then(|| {
            format!("{name}: variables are written in capital letters (did you mean {upper:?}?)")
        })
    }

    fn is_list(&self, key: &str) -> bool {
        let pointer = format!("/{}", key.replace('.', "/"));
        self.defaults
            .pointer(&pointer)
            .is_some_and(serde_json::Value::is_array)
    }

    /// What is wrong with a key itself: nothing to do (an empty section), or one line.
    fn problem(&self, key: &str, place: &Place, value: &Value) -> Option<Option<String>> {
        if self.keys.contains(key) {
            return None;
        }
        if self.sections.contains(key) {
            let is_empty = value.as_dict().is_some_and(Dict::is_empty);
            return Some((!is_empty).then(|| {
                format!(
                    "{}: {key} is a section; write [{key}] on a line of its own, and its keys below it",
                    place.told(None)
                )
            }));
        }
        let (what, near) = match place {
            Place::File(..) => (format!("there is no key {key:?}"), self.nearest(key)),
            Place::Name(_) => {
                let near = self.nearest(key);
                let variable = |key: &str| key.to_uppercase().replace('.', "__");
                let near = near.map(|key| format!("{PREFIX}{}", variable(&key)));
                ("there is no such variable".to_owned(), near)
            }
        };
        let near = did_you_mean(near);
        Some(Some(format!(
            "{}: {what}{near}; config.example.toml has all of them",
            place.told(None)
        )))
    }

    /// The key that was meant: one that is nearly the same, or of the same name in another section.
    fn nearest(&self, key: &str) -> Option<String> {
        let last = |key: &str| key.rsplit(['.', '_']).next().unwrap_or_default().to_owned();
        let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let near = nearest_word(key, self.keys.iter().map(String::as_str));
        let same = |pick: &dyn Fn(&str) -> String| {
            let mut same = self.keys.iter().filter(|known| pick(known) == pick(key));
            let first = same.next();
            first.filter(|_| same.next().is_none()).cloned()
        };
        let is_address = ["addr", "address", "bind", "host", "port"].contains(&key);
        near.map(str::to_owned)
            .or_else(|| same(&name))
            .or_else(|| same(&last))
            .or_else(|| is_address.then(|| "listen".to_owned()))
    }
}

/// Kubernetes tells every container of its services in variables. Those of a service named sillage are no mistakes of its operator's.
fn is_of_a_service(key: &str, value: &str) -> bool {
    let is_address = value.starts_with("tcp://") || value.starts_with("udp://");
    key.contains("SERVICE_HOST")
        || key.contains("SERVICE_PORT")
        || key.contains("PORT_") && (key.contains("_TCP") || key.contains("_UDP"))
        || key.ends_with("PORT") && is_address
}

/// A value of the wrong type or form. Of a list each item that is, where single ones are.
fn wrong_type(
    key: &str,
    place: &Place,
    value: &Value,
    known: &Known,
    is_taken: impl Fn(&str, &Value) -> bool,
) -> Vec<String> {
    let line = |item: Option<usize>, value: &Value| {
        let is_list = item.is_none() && known.is_list(key);
        let near = match value.as_str() {
            Some(_) if SECRETS.contains(&key) => String::new(),
            Some(text) if is_list => did_you_mean(Some([text])),
            Some(text) => meant(key, text),
            None => String::new(),
        };
        let shown = match SECRETS.contains(&key) {
            true => String::new(),
            false => format!(" = {}", serde_json::to_value(value).unwrap_or_default()),
        };
        let place = place.told(item);
        format!(
            "{place}: {key}{shown}: cannot be taken{near}; {}",
            allowed(key)
        )
    };
    let items: Vec<String> = value
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, item)| !is_taken(key, &Value::from(vec![(*item).clone()])))
        .map(|(index, item)| line(Some(index), item))
        .collect();
    if items.is_empty() {
        vec![line(None, value)]
    } else {
        items
    }
}

/// What a text of the wrong form was meant to be.
fn meant(key: &str, text: &str) -> String {
    let meant = match key {
        "spool.ack" => return nearest(text, ["durable", "fast"].into_iter()),
        "log.format" => return nearest(text, ["text", "json"].into_iter()),
        "adobe.mode" => {
            return nearest(text, ["session", "permanent", "anonymous"].into_iter());
        }
        "listen" | "metrics.listen" => {
            let port = text.rsplit(':').next().unwrap_or(text);
            let host = match text.strip_suffix(port).unwrap_or_default() {
                "localhost:" => "127.0.0.1",
                "" | ":" | "*:" => "0.0.0.0",
                _ => return String::new(),
            };
            port.parse::<u16>()
                .ok()
                .map(|port| format!("{host}:{port}"))
        }
        "trust.proxies" | "trust.senders" => text
            .parse::<std::net::IpAddr>()
            .ok()
            .map(|address| ipnet::IpNet::from(address).to_string()),
        _ if text.parse::<u64>().is_ok() && allowed(key).contains("duration") => {
            Some(format!("{text}s"))
        }
        _ => None,
    };
    did_you_mean(meant)
}

/// A mistake with the place where its key was given last, and that place's number.
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

/// The values of a file, with their lines.
fn read_file(path: &Path) -> Result<Vec<Given>, String> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => format!("{file}: is no UTF-8 text"),
        _ => format!("{file}: cannot be read: {error}"),
    })?;
    let line_at = |at: usize| {
        text.get(..at)
            .map_or(1, |before| before.matches('\n').count() + 1)
    };
    let document = ImDocument::parse(text.as_str()).map_err(|error| {
        // Not the line itself: it may hold a password.
        let line = error.span().map_or(1, |span| line_at(span.start));
        let why = error.message().trim().replace('\n', ", ");
        format!("{file}:{line}: is no TOML: {why}; nothing else of the file was looked at")
    })?;
    let dict =
        <Toml as Format>::from_str::<Dict>(&text).map_err(|error| format!("{file}: {error}"))?;
    let mut lines = Lines::default();
    note_lines(document.as_table(), "", &line_at, &mut lines);
    let mut found = Vec::new();
    leaves(dict, "", &mut |key, value| {
        let (line, items) = lines.get(&key).cloned().unwrap_or((1, Vec::new()));
        let place = Place::File(file.clone(), line, items);
        found.push(Given { key, place, value });
    });
    found.sort_by_key(|given| match &given.place {
        Place::File(_, line, _) => *line,
        Place::Name(_) => 0,
    });
    Ok(found)
}

/// The line of each key, and the lines of the items of its list.
type Lines = BTreeMap<String, (usize, Vec<usize>)>;

fn note_lines(
    table: &dyn TableLike,
    prefix: &str,
    line_at: &impl Fn(usize) -> usize,
    lines: &mut Lines,
) {
    for (name, item) in table.iter() {
        let key = join(prefix, name);
        let span = table
            .get_key_value(name)
            .and_then(|(key, item)| key.span().or(item.span()));
        let line = span.map_or(1, |span| line_at(span.start));
        let items = item.as_array().into_iter().flatten();
        let items = items.filter_map(|value| Some(line_at(value.span()?.start)));
        lines.insert(key.clone(), (line, items.collect()));
        if let Some(inner) = item.as_table_like() {
            note_lines(inner, &key, line_at, lines);
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
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

fn leaves(dict: Dict, prefix: &str, each: &mut impl FnMut(String, Value)) {
    for (name, value) in dict {
        let key = join(prefix, &name);
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => leaves(inner, &key, each),
            value => each(key, value),
        }
    }
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

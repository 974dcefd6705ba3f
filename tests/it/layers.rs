//! Who may know whom in `src/`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A source file of the crate, without its comments and its tests.
struct Source {
    /// `web/redirect.rs`
    path: String,
    /// First part of the path: `web`.
    module: String,
    /// Modules of the crate that it names, two parts deep: `store`, `queue`, `queue::local`.
    knows: BTreeSet<String>,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut dirs = vec![root.clone()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 40, "the sources are found");
    // The door for benchmarks and tests is a list of names from everywhere, and no part of the
    // program.
    files.retain(|file| !file.ends_with("src/door.rs"));
    files.into_iter().map(|file| read(&root, &file)).collect()
}

fn read(root: &Path, file: &Path) -> Source {
    let path = file
        .strip_prefix(root)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let text = std::fs::read_to_string(file).unwrap();
    let (code, _) = text
        .split_once("\n#[cfg(test)]\nmod tests")
        .unwrap_or((&text, ""));
    let code: String = code
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .flat_map(|line| [line, "\n"])
        .collect();
    let knows = code
        .match_indices("crate::")
        .flat_map(|(at, word)| {
            let named: String = code[at + word.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || ['_', ':'].contains(c))
                .collect();
            let mut parts = named.split("::");
            let room = parts.next().unwrap_or_default().to_owned();
            let inner = parts.next().map(|inner| format!("{room}::{inner}"));
            [Some(room), inner]
        })
        .flatten()
        .collect();
    let module = path.split(['/', '.']).next().unwrap().to_owned();
    Source {
        path,
        module,
        knows,
        code,
    }
}

impl Source {
    /// Whether a word stands in the code, and not only as a part of another.
    fn names(&self, word: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            !self.code[..at].ends_with(is_part)
                && !self.code[at + word.len()..].starts_with(is_part)
        })
    }

    /// Types of the configuration that the code names, however it brings them in.
    fn sections(&self) -> BTreeSet<&str> {
        let mut named = BTreeSet::new();
        for (at, word) in self.code.match_indices("config::") {
            let rest = &self.code[at + word.len()..];
            let list = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default(),
                None => rest
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap_or_default(),
            };
            named.extend(
                list.split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty()),
            );
        }
        named.remove("self");
        named
    }

    fn uses(&self, library: &str) -> bool {
        // `sqlx::query`, `use sqlx::…`; not `my_sqlx::`.
        self.code
            .match_indices(&format!("{library}::"))
            .any(|(at, _)| !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    }
}

/// What the rest of the house may know of the configuration: its sections, and types in them.
const SECTIONS: [&str; 23] = [
    "Ack",
    "Adobe",
    "Api",
    "Console",
    "Contacts",
    "Cookies",
    "Cors",
    "Database",
    "Debug",
    "KeyRing",
    "Links",
    "Log",
    "LogFormat",
    "Mapp",
    "Metrics",
    "Paths",
    "Revenue",
    "Secret",
    "Server",
    "Spool",
    "Trust",
    "Upstream",
    "Webhooks",
];

fn is_pure(module: &str) -> bool {
    ["model", "content", "tracking", "identity"].contains(&module)
}

#[test]
fn the_words_of_a_hit_know_no_web_framework_no_database_and_no_runtime() {
    for source in sources().iter().filter(|source| is_pure(&source.module)) {
        for library in ["axum", "sqlx", "tokio"] {
            assert!(!source.uses(library), "{} uses {library}", source.path);
        }
        // One stands on the other, and nothing leads back.
        let may_know: &[&str] = match source.module.as_str() {
            "model" => &["model"],
            "content" => &["model", "content"],
            "identity" => &["model", "identity"],
            _ => &["model", "identity", "tracking"],
        };
        for known in &source.knows {
            let room = known.split("::").next().unwrap();
            assert!(may_know.contains(&room), "{} knows {known}", source.path);
        }
    }
}

#[test]
fn only_the_operators_side_of_the_web_knows_the_store() {
    for source in sources().iter().filter(|source| source.module == "web") {
        let is_operators = ["web/admin", "web/api", "web/demo", "web/console"]
            .iter()
            .any(|place| source.path.starts_with(place));
        if is_operators {
            continue;
        }
        for module in ["store", "operator", "queue::local", "projection"] {
            assert!(
                !source.knows.contains(module),
                "{} knows {module}",
                source.path
            );
        }
    }
}

/// Types hold it first: handlers get a `TrackingState`, which has no store and no way to one.
#[test]
fn what_answers_tracking_requests_cannot_name_the_operators_side() {
    let sources = sources();
    let tracking: Vec<_> = sources
        .iter()
        .filter(|source| source.path.starts_with("web/tracking"))
        .collect();
    assert!(tracking.len() > 8, "the handlers are found");
    for source in tracking {
        for word in ["AdminState", "Store", "admin"] {
            assert!(!source.names(word), "{} names {word}", source.path);
        }
    }
}

#[test]
fn only_the_server_knows_the_web() {
    for source in sources() {
        if !["server", "web"].contains(&source.module.as_str()) {
            assert!(
                !source.knows.contains("web"),
                "{} knows the web",
                source.path
            );
        }
    }
}

#[test]
fn only_the_projection_joins_queue_and_store() {
    for source in sources() {
        let allowed: &[&str] = match source.module.as_str() {
            "queue" => &["model", "queue", "sqlite"],
            _ => {
                let joins = source.knows.contains("queue::local") && source.knows.contains("store");
                assert!(
                    !joins || ["projection", "server", "cli"].contains(&source.module.as_str()),
                    "{} joins queue and store",
                    source.path
                );
                continue;
            }
        };
        for known in &source.knows {
            assert!(
                allowed.contains(&known.split("::").next().unwrap()),
                "{} knows {known}",
                source.path
            );
        }
    }
}

/// The others know the two ends: a second kind of queue can come in beside the first.
#[test]
fn only_the_server_names_a_kind_of_queue() {
    for source in sources() {
        if !["server", "queue"].contains(&source.module.as_str()) {
            assert!(
                !source.knows.contains("queue::local"),
                "{} names a kind of queue",
                source.path
            );
        }
    }
}

#[test]
fn sql_stays_where_the_databases_are() {
    for source in sources() {
        if ![
            "queue/local",
            "store",
            "operator/report",
            "operator/site_report",
            "replica",
            "sqlite",
        ]
        .iter()
        .any(|place| source.path.starts_with(place))
        {
            assert!(!source.uses("sqlx"), "{} uses sqlx", source.path);
        }
    }
}

#[test]
fn nothing_knows_the_server_and_only_the_server_reads_the_configuration() {
    for source in sources() {
        let is_top = ["server", "cli", "main", "lib"].contains(&source.module.as_str());
        if is_top {
            continue;
        }
        for module in ["server", "cli"] {
            assert!(
                !source.knows.contains(module),
                "{} knows {module}",
                source.path
            );
        }
        if source.module != "config" {
            for section in source.sections() {
                assert!(
                    SECTIONS.contains(&section),
                    "{} knows {section} of the configuration, which is no section",
                    source.path
                );
            }
        }
    }
}

#[test]
fn a_request_becomes_an_inbound_in_one_place() {
    let places: Vec<_> = sources()
        .iter()
        .flat_map(|source| {
            let built = source.code.matches("Inbound {").count();
            std::iter::repeat_n(source.path.clone(), built)
        })
        .collect();
    assert_eq!(places, ["web/tracking/head.rs"]);
}

#[test]
fn one_reader_takes_bodies_and_one_answer_says_405() {
    for source in sources().iter().filter(|source| source.module == "web") {
        // Recipients are read line by line as they come; what a request was answered is no request's
        // body.
        let reads = [
            ".frame()",
            "to_bytes(",
            "Bytes::from_request",
            "into_data_stream(",
        ];
        let may_read = [
            "web/body",
            "web/api/messages",
            "web/api/debug",
            "web/api/once",
        ];
        if !may_read.iter().any(|place| source.path.starts_with(place)) {
            for read in reads {
                assert!(!source.code.contains(read), "{} reads a body", source.path);
            }
        }
        if source.path.starts_with("web/tracking") {
            let says = source.code.contains("METHOD_NOT_ALLOWED");
            assert!(!says, "{} says 405 itself", source.path);
        }
    }
}

/// What dialects share lies beside them. Only native reads another's payloads, in its own pixel.
#[test]
fn no_dialect_knows_another_but_native_mautic() {
    let dialects = ["adobe", "mapp", "mautic", "native"];
    for source in sources() {
        let Some(inner) = source.path.strip_prefix("tracking/") else {
            continue;
        };
        let own = inner.split(['/', '.']).next().unwrap();
        // Of what is no dialect, the reading of paths asks three of them whether one is theirs.
        let may_know: &[&str] = match own {
            "native" => &["native", "mautic"],
            "route" => &["adobe", "mapp", "mautic"],
            own => &[own],
        };
        for dialect in dialects.iter().filter(|name| !may_know.contains(name)) {
            let path = format!("{dialect}::");
            let item = |list: &str| {
                list.split([',', '{', '}', ';'])
                    .any(|i| i.trim() == *dialect)
            };
            let knows = source.code.contains(&path)
                || source
                    .code
                    .split("\nuse ")
                    .skip(1)
                    .any(|list| item(list.split(';').next().unwrap_or_default()));
            assert!(!knows, "{} knows {dialect}", source.path);
        }
    }
}

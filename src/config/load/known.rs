//! The known keys, and which one a misspelt name probably means.

use std::collections::BTreeSet;

use figment::value::{Dict, Value};

use super::{PREFIX, Place};
use crate::config::Config;
use crate::config::words::did_you_mean;
use crate::model::hint;

/// The keys there are.
pub(super) struct Known {
    pub(super) defaults: serde_json::Value,
    keys: BTreeSet<String>,
    sections: BTreeSet<String>,
}

impl Known {
    pub(super) fn new() -> Self {
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

    /// What is wrong with a variable that would set a key if it were in upper case.
    pub(super) fn wrong_case(&self, name: &str) -> Option<String> {
        let upper = name.to_uppercase();
        let key = upper
            .strip_prefix(PREFIX)?
            .to_lowercase()
            .replace("__", ".");
        (name != upper && self.keys.contains(&key))
            .then(|| format!("{name}: variable names are upper case (did you mean {upper:?}?)"))
    }

    pub(super) fn is_list(&self, key: &str) -> bool {
        let pointer = format!("/{}", key.replace('.', "/"));
        self.defaults
            .pointer(&pointer)
            .is_some_and(serde_json::Value::is_array)
    }

    /// What is wrong with the key itself: nothing (an empty section), or one line.
    pub(super) fn problem(
        &self,
        key: &str,
        place: &Place,
        value: &Value,
    ) -> Option<Option<String>> {
        if self.keys.contains(key) {
            return None;
        }
        if self.sections.contains(key) {
            let is_empty = value.as_dict().is_some_and(Dict::is_empty);
            return Some((!is_empty).then(|| {
                format!(
                    "{}: {key} is a section; write [{key}] on a line of its own, and its keys \
                    below it",
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
            "{}: {what}{near}; config.example.toml lists them all",
            place.told(None)
        )))
    }

    /// The key that was probably meant: a similar one, or one of the same name in another section.
    fn nearest(&self, key: &str) -> Option<String> {
        let last = |key: &str| key.rsplit(['.', '_']).next().unwrap_or_default().to_owned();
        let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let near = hint::nearest(key, self.keys.iter().map(String::as_str));
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

/// Kubernetes injects variables for every service into every container. Those of a service named
/// sillage are not the operator's mistakes.
pub(super) fn is_of_a_service(key: &str, value: &str) -> bool {
    let is_address = value.starts_with("tcp://") || value.starts_with("udp://");
    key.contains("SERVICE_HOST")
        || key.contains("SERVICE_PORT")
        || key.contains("PORT_") && (key.contains("_TCP") || key.contains("_UDP"))
        || key.ends_with("PORT") && is_address
}

//! What no column holds, kept in `extra` under the name it came with. No value takes another's
//! place.

use serde_json::Value;

use super::Hit;
use crate::model::text::{Limit, clean};

/// Most entries.
const MOST: usize = 200;
const MOST_NAME: Limit = Limit(100);
const MOST_VALUE: Limit = Limit(4_000);
/// Suffixes for a name that already has another value.
const AGAIN: [&str; 3] = [" again", " again 2", " again 3"];

impl Hit {
    /// Keeps a text that no column holds, with its line breaks, up to 4,000 characters of it; see
    /// [`Self::keep_value`].
    pub fn keep(&mut self, name: &str, text: &str) {
        if self.has_room() {
            let text = self.take_lines("extra", text, MOST_VALUE);
            self.keep_value(name, Value::String(text.unwrap_or_default()));
        }
    }

    /// Keeps a value that its column cannot hold, and notes why.
    pub fn refuse(&mut self, name: &str, value: &str, why: &str) {
        self.note(&format!("{name} {why}"));
        self.keep(name, value);
    }

    /// Keeps a value that is clean. At most 200 entries, each name up to 100 characters.
    ///
    /// It takes no other's place: where the name has another value it becomes `<name> again`,
    /// `<name> again 2` or `<name> again 3`.
    pub fn keep_value(&mut self, name: &str, value: Value) {
        if !self.has_room() {
            return;
        }
        let Some(name) = self.take("extra name", name, MOST_NAME) else {
            self.note("extra without a name");
            return;
        };
        let extra = self.extra.get_or_insert_default();
        let Some(had) = extra.get(&name) else {
            extra.insert(name, value);
            return;
        };
        if *had == value {
            return;
        }
        for suffix in AGAIN {
            let (start, _) = clean(&name, Limit(MOST_NAME.0 - suffix.len()));
            let again = format!("{start}{suffix}");
            match extra.get(&again) {
                None => {
                    extra.insert(again, value);
                    return;
                }
                Some(had) if *had == value => return,
                Some(_) => {}
            }
        }
        self.note("a name of extra given too often");
    }

    fn has_room(&mut self) -> bool {
        let is_full = self.extra.as_ref().is_some_and(|extra| extra.len() >= MOST);
        if is_full {
            self.note("extra cut");
        }
        !is_full
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{Dialect, HitId, Kind};

    fn kept(pairs: &[(&str, &str)]) -> Hit {
        let id = HitId(Uuid::nil());
        let mut hit = Hit::new(id, Micros(0), Kind::Pageview, Dialect::Native);
        for (name, value) in pairs {
            hit.keep(name, value);
        }
        hit
    }

    #[test]
    fn a_name_given_again_takes_no_value_away() {
        let hit = kept(&[
            ("a", "1"),
            ("a", "2"),
            ("a", "1"),
            ("a", "3"),
            ("a", "2"),
            ("a", "4"),
        ]);
        let expected =
            serde_json::json!({"a": "1", "a again": "2", "a again 2": "3", "a again 3": "4"});
        assert_eq!(Value::Object(hit.extra.unwrap()), expected);
        assert_eq!(hit.reason, None);
        let hit = kept(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4"), ("a", "5")]);
        assert_eq!(hit.extra.unwrap().len(), 4);
        assert_eq!(
            hit.reason.as_deref(),
            Some("a name of extra given too often")
        );
    }

    #[test]
    fn names_that_are_alike_when_they_are_cut_keep_both_their_values() {
        let long = "x".repeat(100);
        let hit = kept(&[(&format!("{long}a"), "1"), (&format!("{long}b"), "2")]);
        let extra = hit.extra.unwrap();
        assert_eq!(extra[&long], "1");
        assert_eq!(extra[&format!("{} again", &long[..94])], "2");
        assert_eq!(hit.reason.as_deref(), Some("extra name cut"));
    }
}

//! The hits of a body: one object, an array, or a line each. Each is read by itself, so a wrong one
//! does not spoil the others.

use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::identity::check_fields;
use crate::model::clock::{Clock, Micros};
use crate::model::hint::{did_you_mean, nearest, one_of};
use crate::model::hit::{Hit, HitId};
use crate::tracking::native::{FieldError, decode_json_hit};
use crate::tracking::verdict::Lists;
use crate::web::api::idempotency::hit_key;
use crate::web::api::json::{no_json, why_no_json};
use crate::web::error::Problem;

/// Most hits of a request: a body of `{}` has eight million in 24 MB, and each takes most of a
/// kilobyte of memory.
const MOST_HITS: usize = 100_000;
/// Longest error of a hit, in characters: a name in it is the sender's and may be of any length.
const MOST_ERROR: usize = 300;

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RejectedHit)]
pub(super) struct Rejected {
    /// Place in the array, or among the lines that are not empty, from 0.
    index: usize,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = HitNote)]
pub(super) struct Note {
    index: usize,
    /// As it stands in the hit's `reason`, and what is only told here.
    note: String,
}

/// The hits of a body.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) hits: Vec<Hit>,
    pub(super) rejected: Vec<Rejected>,
    pub(super) notes: Vec<Note>,
}

/// What hits are read with.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) is_lines: bool,
    pub(super) now: Micros,
    pub(super) clock: Clock,
    /// Names of the fields that name a contact.
    pub(super) unique: Vec<String>,
    /// Agents that hits are judged by.
    pub(super) lists: Arc<Lists>,
    /// The request's `Idempotency-Key`.
    pub(super) key: Option<String>,
}

impl Reading {
    /// Reads all of them; a wrong one is told by its index.
    pub(super) fn read_hits(&self, body: &[u8]) -> Result<Read, Problem> {
        let items = split(body, self.is_lines)?;
        if items.len() > MOST_HITS {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "{} hits are too many for one request: send at most {MOST_HITS}",
                    items.len()
                ),
            ));
        }
        let mut read = Read::default();
        read.hits.reserve(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let cut = |text: String| text.chars().take(MOST_ERROR).collect();
            match item.and_then(|item| self.read_hit(index, item)) {
                Ok((hit, note)) => {
                    if let Some(note) = note {
                        let note = cut(note);
                        read.notes.push(Note { index, note });
                    }
                    read.hits.push(hit);
                }
                Err(Wrong::Field(error)) => read.rejected.push(Rejected {
                    index,
                    error: cut(error.to_string()),
                    field: Some(cut(error.field)),
                }),
                Err(Wrong::Json(error)) => read.rejected.push(Rejected {
                    index,
                    error: cut(error),
                    field: None,
                }),
            }
        }
        Ok(read)
    }

    /// A hit, and what is to be said of it.
    fn read_hit(&self, index: usize, item: &RawValue) -> Result<(Hit, Option<String>), Wrong> {
        let text = item.get();
        let mut value: Value =
            serde_json::from_str(text).map_err(|error| Wrong::json(text.as_bytes(), &error))?;
        if let Some(revenue) = value.get_mut("revenue")
            && revenue.is_f64()
            && let Some(digits) = digits_of_revenue(item)
        {
            *revenue = Value::from(digits);
        }
        let contact = value.get("contact").and_then(Value::as_object);
        let names_nobody = contact.is_some_and(|fields| {
            !fields
                .keys()
                .any(|name| name == "id" || self.unique.contains(name))
        });
        let mut hit = decode_json_hit(value, self.now, &self.lists).map_err(Wrong::Field)?;
        check_fields(&self.unique, &hit.fields).map_err(|error| {
            Wrong::Field(FieldError {
                why: error.why(),
                field: format!("contact.{}", error.field),
            })
        })?;
        let mut note = hit.reason.clone();
        if names_nobody && !hit.fields.is_empty() {
            let told = self.who_is_meant(&hit)?;
            note = match (note, told) {
                (Some(note), Some(told)) => Some(format!("{note}; {told}")),
                (note, told) => note.or(told),
            };
        }
        hit.id = HitId(self.clock.new_id(self.now));
        if let (None, Some(key)) = (&hit.idempotency_key, &self.key) {
            hit.idempotency_key = Some(hit_key(key, index, text));
        }
        Ok((hit, note))
    }

    /// Of a contact without a unique field: fields that belong to nobody would be lost in silence.
    /// What names the person beside it is enough, and a name that is only mistyped is told.
    fn who_is_meant(&self, hit: &Hit) -> Result<Option<String>, Wrong> {
        let unique: Vec<&str> = self.unique.iter().map(String::as_str).collect();
        let meant = hit
            .fields
            .iter()
            .find_map(|(name, _)| Some((name, nearest(name, unique.iter().copied())?)));
        let is_named =
            hit.contact_id.is_some() || hit.visitor_id.is_some() || hit.broadlog_id.is_some();
        if is_named {
            return Ok(meant.map(|(name, meant)| {
                let hint = did_you_mean(Some(format!("contact.{meant}")));
                format!("contact.{name} identifies nobody{hint}")
            }));
        }
        let hint = did_you_mean(meant.map(|(name, meant)| format!("{meant} rather than {name}")));
        Err(Wrong::Field(FieldError {
            field: "contact".to_owned(),
            why: format!(
                "identifies nobody; give it {} or id, or give the hit a visitor_id, contact_id \
                or broadlog_id{hint}",
                one_of(&unique)
            ),
        }))
    }
}

/// Why one hit is not taken.
#[derive(Debug)]
enum Wrong {
    Json(String),
    Field(FieldError),
}

impl Wrong {
    fn json(text: &[u8], error: &serde_json::Error) -> Self {
        Self::Json(format!("is not valid JSON: {}", why_no_json(text, error)))
    }
}

type Item<'b> = Result<&'b RawValue, Wrong>;

/// The texts of the hits in a body, unread: a tree of a whole body would take ten times its size.
fn split(body: &[u8], is_lines: bool) -> Result<Vec<Item<'_>>, Problem> {
    let body = body
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(body)
        .trim_ascii();
    if is_lines {
        return Ok(split_lines(body));
    }
    match body.first() {
        Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_slice(body).map_err(|error| no_json(body, &error))?;
            Ok(items.into_iter().map(Ok).collect())
        }
        Some(b'{') => match serde_json::from_slice::<&RawValue>(body) {
            Ok(one) => Ok(vec![Ok(one)]),
            Err(error) => {
                // A whole object in the first line and something after it: lines, whatever the
                // content type says.
                let lines = split_lines(body);
                if lines.len() > 1 && lines.first().is_some_and(Result::is_ok) {
                    Ok(lines)
                } else {
                    Err(no_json(body, &error))
                }
            }
        },
        Some(_) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "the body is not valid JSON: it starts with neither { nor [; send a hit, an array of \
            hits, or one hit per line",
        )),
        None => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "the body is not valid JSON: it is empty; send a hit, an array of hits, or one hit \
            per line",
        )),
    }
}

fn split_lines(body: &[u8]) -> Vec<Item<'_>> {
    body.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|error| Wrong::json(line, &error)))
        .collect()
}

/// An amount given as a number, as it was written: read as a float, 12345678901234.5678 would lose
/// its last places. None for a form with an exponent, which is no way to write money.
fn digits_of_revenue(item: &RawValue) -> Option<&str> {
    #[derive(Deserialize)]
    struct Amount<'b> {
        #[serde(borrow)]
        revenue: &'b RawValue,
    }
    let amount: Amount<'_> = serde_json::from_str(item.get()).ok()?;
    let digits = amount.revenue.get();
    (!digits.contains(['e', 'E'])).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(is_lines: bool) -> Reading {
        Reading {
            is_lines,
            now: Micros(0),
            clock: Clock::fixed(Micros(0)),
            unique: vec!["email".to_owned()],
            lists: Lists::built_in(),
            key: None,
        }
    }

    fn read(body: &str, is_lines: bool) -> Result<(Vec<Hit>, Vec<Rejected>), Problem> {
        let read = reading(is_lines).read_hits(body.as_bytes())?;
        Ok((read.hits, read.rejected))
    }

    fn counts(body: &str, is_lines: bool) -> (usize, Vec<usize>) {
        let (hits, rejected) = read(body, is_lines).unwrap();
        (
            hits.len(),
            rejected.iter().map(|rejected| rejected.index).collect(),
        )
    }

    #[test]
    fn the_first_character_tells_an_object_from_an_array_and_lines() {
        let hit = r#"{"kind":"pageview","page_url":"a"}"#;
        assert_eq!(counts(hit, false), (1, vec![]));
        assert_eq!(counts(&format!(" [{hit},{hit}]"), false), (2, vec![]));
        assert_eq!(counts(&format!("{hit}\n\r\n{hit}\r\n"), false), (2, vec![]));
        assert_eq!(counts(&format!("{hit}\n{hit}"), true), (2, vec![]));
        assert_eq!(counts("{\n\"kind\":\n\"open\"}", false), (1, vec![]));
        assert_eq!(counts("[]", false), (0, vec![]));
    }

    #[test]
    fn a_bad_hit_is_told_by_its_index_and_the_others_are_taken() {
        assert_eq!(
            counts(
                r#"[{"kind":"open"},{"kind":"nope"},7,{"kind":"open"}]"#,
                false
            ),
            (2, vec![1, 2])
        );
        assert_eq!(
            counts(
                "{\"kind\":\"open\"}\n\n{broken\n[]\n{\"kind\":\"open\"}",
                true
            ),
            (2, vec![1, 2])
        );
        let (_, rejected) = read(r#"{"revenue":"much"}"#, false).unwrap();
        assert_eq!(rejected[0].field.as_deref(), Some("revenue"));
        let name = "x".repeat(10_000);
        let (_, rejected) = read(&format!(r#"{{"contact":{{"{name}":[]}}}}"#), false).unwrap();
        assert_eq!(rejected[0].error.len(), MOST_ERROR);
    }

    #[test]
    fn a_contact_that_names_nobody_is_refused_unless_the_hit_names_the_person() {
        for (hit, is_taken, is_told) in [
            (r#"{"contact":{"email":"a@x"}}"#, true, false),
            (r#"{"contact":{"email":""}}"#, true, false),
            (r#"{"contact":{}}"#, true, false),
            (r#"{"contact":{"mail":"a@x"}}"#, false, false),
            (r#"{"contact":{"firstname":"Ada"}}"#, false, false),
            (
                r#"{"contact":{"firstname":"Ada"},"broadlog_id":7}"#,
                true,
                false,
            ),
            (r#"{"contact":{"Email":"a@x"},"broadlog_id":7}"#, true, true),
        ] {
            let read = reading(false).read_hits(hit.as_bytes()).unwrap();
            assert_eq!(read.hits.len() == 1, is_taken, "{hit}");
            assert_eq!(read.notes.len() == 1, is_told, "{hit}: {:?}", read.notes);
        }
    }

    #[test]
    fn a_key_of_the_request_is_each_hits_unless_it_has_its_own() {
        let keyed = Reading {
            key: Some("k".to_owned()),
            ..reading(false)
        };
        let body = br#"[{},{"idempotency_key":"own"},{}]"#;
        let keys = |body: &[u8]| -> Vec<Option<String>> {
            let hits = keyed.read_hits(body).unwrap().hits;
            hits.into_iter().map(|hit| hit.idempotency_key).collect()
        };
        let (first, again) = (keys(body), keys(body));
        assert_eq!(first, again);
        assert_eq!(first[1].as_deref(), Some("own"));
        assert_ne!(first[0], first[2]);
    }

    #[test]
    fn what_is_no_json_as_a_whole_is_refused() {
        for body in [
            "",
            " ",
            "x",
            "7",
            "[{}",
            "[{},",
            "{\"kind\":",
            "{\n\"kind\": open\n}",
            "[{}] x",
            "\u{0}",
        ] {
            assert!(read(body, false).is_err(), "{body:?}");
        }
        assert!(reading(false).read_hits(b"[\"\xff\"]").is_err());
        let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(counts(&deep, false), (0, vec![0]));
    }

    #[test]
    fn amounts_keep_every_digit() {
        for (given, taken) in [
            ("12345678901234.5678", "12345678901234.5678"),
            ("\"12345678901234.5678\"", "12345678901234.5678"),
            ("0.1", "0.1"),
            ("49.90", "49.9"),
            ("-3", "-3"),
        ] {
            let (hits, rejected) = read(&format!(r#"{{"revenue":{given}}}"#), false).unwrap();
            assert_eq!(rejected, [], "{given}");
            assert_eq!(hits[0].revenue.unwrap().to_string(), taken, "{given}");
        }
    }

    #[test]
    fn too_many_hits_are_refused_before_they_are_read() {
        let body = format!("[{}{{}}]", "{},".repeat(MOST_HITS));
        assert!(read(&body, false).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body: Vec<u8>, is_lines: bool) {
            let _ = reading(is_lines).read_hits(&body);
        }
    }
}

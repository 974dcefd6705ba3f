//! `POST /api/v1/hits`: hits from a sender with the token, answered once they are durable. What reads them out is in [`export`].
//!
//! One object, an array, or a line each (NDJSON). All valid hits of a request are offered to the spool in one piece, so the request is
//! stored whole or not at all: a 503 means that nothing is stored and that the sender may send the same again. What is wrong with the other hits
//! is told by their index. A hit's address, agent and time are those in the JSON: the connection is the sender's, not the visitor's.

pub mod export;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::clock::{Clock, Micros};
use crate::dialect::native::{FieldError, decode_json_hit};
use crate::hit::{Hit, HitId};
use crate::identity::check_fields;
use crate::web::App;
use crate::web::error::Problem;

/// Most hits of a request: a body of `{}` has eight million in 24 MB, and each takes most of a kilobyte of memory.
const MOST_HITS: usize = 100_000;
/// Longer bodies are read on a thread of their own: it takes long enough for a redirect to wait behind it.
const MOST_INLINE_BYTES: usize = 64 << 10;
/// Longest error of a hit, in characters: a name in it is the sender's and may be of any length.
const MOST_ERROR: usize = 300;

/// What became of a request's hits.
#[derive(Debug, Serialize)]
struct Taken {
    /// Hits that are durable now; those whose idempotency key was there before are dropped later.
    accepted: usize,
    rejected: Vec<Rejected>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Rejected {
    /// Place in the array, or among the lines that are not empty, from 0.
    index: usize,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// Takes hits: 202 `{accepted, rejected: [{index, error, field?}]}`; 400 where the body is no JSON, 413 where it is too long or holds more than
/// 100,000 hits, 422 (with `rejected`) where no hit is valid, 503 with `Retry-After` where none is stored.
pub async fn post_hits(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|rejection| {
        Problem::new(
            rejection.status(),
            "the body is too large or did not arrive whole",
        )
    })?;
    let is_lines = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("application/x-ndjson")
        });
    let (now, clock) = (app.clock.now(), app.clock.clone());
    let (hits, rejected) = if body.len() <= MOST_INLINE_BYTES {
        read_hits(&body, is_lines, now, &clock, &app.rules.unique)?
    } else {
        let app = app.clone();
        tokio::task::spawn_blocking(move || {
            read_hits(&body, is_lines, now, &clock, &app.rules.unique)
        })
        .await
        .map_err(|_| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the body could not be read",
            )
        })??
    };
    if hits.is_empty() && !rejected.is_empty() {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no hit is valid");
        return Ok(problem
            .with(
                "rejected",
                serde_json::to_value(rejected).unwrap_or_default(),
            )
            .into_response());
    }
    if !hits.is_empty() {
        app.sink
            .offer(&hits)
            .durable_or_withdrawn(app.patience)
            .await?;
    }
    let taken = Taken {
        accepted: hits.len(),
        rejected,
    };
    Ok((StatusCode::ACCEPTED, Json(taken)).into_response())
}

fn read_hits(
    body: &[u8],
    is_lines: bool,
    now: Micros,
    clock: &Clock,
    unique: &[String],
) -> Result<(Vec<Hit>, Vec<Rejected>), Problem> {
    let items = split(body, is_lines)?;
    if items.len() > MOST_HITS {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("more than {MOST_HITS} hits; send them in several requests"),
        ));
    }
    let (mut hits, mut rejected) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        let cut = |text: String| text.chars().take(MOST_ERROR).collect();
        match item.and_then(|item| read_hit(item, now, unique)) {
            Ok(mut hit) => {
                hit.id = HitId(clock.new_id(now));
                hits.push(hit);
            }
            Err(Wrong::Field(error)) => rejected.push(Rejected {
                index,
                error: cut(error.to_string()),
                field: Some(cut(error.field)),
            }),
            Err(Wrong::Json(error)) => rejected.push(Rejected {
                index,
                error: cut(error),
                field: None,
            }),
        }
    }
    Ok((hits, rejected))
}

/// Why one hit is not taken.
#[derive(Debug)]
enum Wrong {
    Json(String),
    Field(FieldError),
}

impl From<serde_json::Error> for Wrong {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(format!("is no JSON: {error}"))
    }
}

type Item<'b> = Result<&'b RawValue, Wrong>;

/// The texts of the hits in a body, unread: a tree of a whole body would take ten times its size.
fn split(body: &[u8], is_lines: bool) -> Result<Vec<Item<'_>>, Problem> {
    let body = body
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(body)
        .trim_ascii();
    let no_json = |why: &dyn std::fmt::Display| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body is no JSON: {why}"),
        )
    };
    if is_lines {
        return Ok(split_lines(body));
    }
    match body.first() {
        Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_slice(body).map_err(|error| no_json(&error))?;
            Ok(items.into_iter().map(Ok).collect())
        }
        Some(b'{') => match serde_json::from_slice::<&RawValue>(body) {
            Ok(one) => Ok(vec![Ok(one)]),
            Err(error) => {
                // A whole object in the first line and something after it: lines, whatever the content type says.
                let lines = split_lines(body);
                if lines.len() > 1 && lines.first().is_some_and(Result::is_ok) {
                    Ok(lines)
                } else {
                    Err(no_json(&error))
                }
            }
        },
        Some(_) => Err(no_json(&"it starts with neither { nor [")),
        None => Err(no_json(&"it is empty")),
    }
}

fn split_lines(body: &[u8]) -> Vec<Item<'_>> {
    body.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

fn read_hit(item: &RawValue, now: Micros, unique: &[String]) -> Result<Hit, Wrong> {
    let mut value: Value = serde_json::from_str(item.get())?;
    if let Some(revenue) = value.get_mut("revenue")
        && revenue.is_f64()
        && let Some(digits) = digits_of_revenue(item)
    {
        *revenue = Value::from(digits);
    }
    let hit = decode_json_hit(value, now).map_err(Wrong::Field)?;
    check_fields(unique, &hit.fields).map_err(|error| {
        Wrong::Field(FieldError {
            why: error.why(),
            field: format!("contact.{}", error.field),
        })
    })?;
    Ok(hit)
}

/// An amount given as a number, as it was written: read as a float, 12345678901234.5678 would lose its last places. None for a form with an
/// exponent, which is no way to write money.
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

    fn read(body: &str, is_lines: bool) -> Result<(Vec<Hit>, Vec<Rejected>), Problem> {
        read_hits(
            body.as_bytes(),
            is_lines,
            Micros(0),
            &Clock::fixed(Micros(0)),
            &["email".to_owned()],
        )
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
        assert!(
            read_hits(
                b"[\"\xff\"]",
                false,
                Micros(0),
                &Clock::fixed(Micros(0)),
                &[]
            )
            .is_err()
        );
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
            let _ = read_hits(&body, is_lines, Micros(0), &Clock::fixed(Micros(0)), &[]);
        }
    }
}

//! Paged lists: how long a page is, and where the next one starts.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use std::borrow::Cow;

use utoipa::openapi::schema::Schema;
use utoipa::openapi::{ObjectBuilder, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::model::wire;
use crate::web::error::Problem;

/// Entries of a part if no limit is given.
pub(super) const USUAL_ENTRIES: i64 = 100;
/// Most entries of a part.
pub(super) const MOST_ENTRIES: i64 = 1_000;

/// The limit that was asked for, or the usual one; 422 that names `limit` where it is not from 1 to
/// `most`.
pub(super) fn limit(asked: Option<i64>, usual: i64, most: i64) -> Result<i64, Problem> {
    let limit = asked.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        let why = format_args!("is {limit} but must be from 1 to {most}");
        Err(Problem::field("limit", why))
    }
}

/// Where the next part starts; `None` after a part that is not full.
pub(super) fn next<T, P>(part: &[T], limit: i64, place: impl FnOnce(&T) -> P) -> Option<P> {
    part.last()
        .filter(|_| part.len() as i64 == limit)
        .map(place)
}

/// Where a list goes on whose rows with the greatest numbers come first: behind a number and a
/// name. Numbers grow while somebody reads, so a row may be told twice, and none stays untold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranked(pub(super) i64, pub(super) String);

impl Serialize for Ranked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{}", self.0, self.1))
    }
}

impl<'de> Deserialize<'de> for Ranked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::read(deserializer, "the cursor of an earlier response", |text| {
            let (number, name) = text.split_once('.')?;
            // No name has a zero byte, and Postgres takes none in a text.
            Some(Self(number.parse().ok()?, name.replace('\0', " ")))
        })
    }
}

/// Where a listing goes on: a place in the order of storage. Opaque to the reader, so a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor(pub(super) i64);

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = "the cursor of an earlier response, or 0 for the start";
        wire::read(deserializer, form, |text| {
            text.parse().ok().filter(|place| *place >= 0).map(Self)
        })
    }
}

macro_rules! described {
    ($type:ty, $name:literal, $pattern:literal) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .pattern(Some($pattern))
                    .description(Some(
                        "The `next` of an earlier answer. What it holds may change.",
                    ))
                    .into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    };
}
described!(Cursor, "Cursor", "^[0-9]{1,18}$");
described!(Ranked, "RankedCursor", "^[0-9]{1,18}[.]");

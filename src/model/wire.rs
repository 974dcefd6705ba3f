//! How ids, times and campaign parameters stand in JSON that people read and write.
//!
//! Ids are numbers up to 2^53 and strings above, since many readers take numbers for floats; both
//! forms are accepted. Times are RFC 3339: any offset is accepted, answers are in UTC. Structs that
//! people see name these forms field by field, `#[serde(with = "wire::id")]`; the spool and the
//! local copies keep their own, shorter ones.

pub(crate) mod schema;

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::model::access::{TokenId, UserId};
use crate::model::clock::Micros;
use crate::model::form::FormId;
use crate::model::hit::{BroadlogId, DeliveryId, LinkId, read_uid};

/// Greatest integer that every JSON reader keeps exactly.
const MOST_EXACT: i64 = 1 << 53;

/// A whole number in JSON: a string beyond 2^53, where readers that take numbers for floats lose
/// digits.
///
/// # Errors
/// The serializer fails.
pub(crate) fn serialize_whole<S: Serializer>(
    number: i64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if (-MOST_EXACT..=MOST_EXACT).contains(&number) {
        serializer.serialize_i64(number)
    } else {
        serializer.collect_str(&number)
    }
}

/// A 64-bit id from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub(crate) i64);

impl Id {
    /// What an id is.
    pub(crate) const FORM: &str = "whole number from 1 to 9223372036854775807";

    /// The id of its digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse().ok().and_then(Self::of_number)
    }

    /// An id as it appears in links. Adobe's tables number 32-bit ids into the negative, and its
    /// links write those as unsigned: -1 there is 4294967295 here.
    pub(crate) fn of_number(number: i64) -> Option<Self> {
        match number {
            0 => None,
            1.. => Some(Self(number)),
            _ => i32::try_from(number)
                .ok()
                .map(|small| Self(i64::from(small.cast_unsigned()))),
        }
    }
}

macro_rules! id_of {
    ($($name:ident),+) => {
        $(impl From<$name> for Id {
            fn from(id: $name) -> Self {
                Self(id.0)
            }
        }

        impl From<Id> for $name {
            fn from(id: Id) -> Self {
                Self(id.0)
            }
        })+
    };
}
id_of!(DeliveryId, BroadlogId, FormId, LinkId, TokenId, UserId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_whole(self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Digits).map(Self)
    }
}

/// Reads a positive integer from a number or a string.
struct Digits;

impl Visitor<'_> for Digits {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}, as a number or a string", Id::FORM)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number)
            .ok()
            .filter(|id| *id > 0)
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Id::of_number(number)
            .map(|id| id.0)
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
        Id::parse(text.trim())
            .map(|id| id.0)
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// The UUID of a contact or a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uid(pub(crate) Uuid);

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(
            deserializer,
            "a UUID such as 0190a5a0-0000-7000-8000-000000000000",
            |text| read_uid(text).map(Self),
        )
    }
}

/// A time, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Micros);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(
            deserializer,
            "an RFC 3339 time such as 2026-01-31T09:00:00Z",
            |text| Micros::parse_rfc3339(text.trim()).ok().map(Self),
        )
    }
}

/// Distinguishes null from a missing field, in requests that change some fields.
///
/// # Errors
/// The value is of the wrong type.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// An optional field that must not be null.
///
/// # Errors
/// The value is of the wrong type.
pub(crate) fn given_whole<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads a string in one of our formats.
///
/// # Errors
/// The value is not a string, or `parse` refuses it: the error names the form.
pub(crate) fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    form: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &form))
}

/// An id's number.
pub(crate) mod id {
    use serde::Serializer;

    use super::Id;

    pub(crate) fn serialize<T: Copy + Into<Id>, S: Serializer>(
        id: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize_whole((*id).into().0, serializer)
    }
}

/// An id's number, or null.
pub(crate) mod option_id {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Id;

    pub(crate) fn serialize<T: Copy + Into<Id>, S: Serializer>(
        id: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        id.map(Into::into).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, T: From<Id>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<Id>::deserialize(deserializer)?.map(Into::into))
    }
}

/// A time's text.
pub(crate) mod time {
    use serde::{Serialize as _, Serializer};

    use super::Time;
    use crate::model::clock::Micros;

    pub(crate) fn serialize<S: Serializer>(at: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
        Time(*at).serialize(serializer)
    }
}

/// A time's text, or null.
pub(crate) mod option_time {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Time;
    use crate::model::clock::Micros;

    pub(crate) fn serialize<S: Serializer>(
        at: &Option<Micros>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(Time).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Micros>, D::Error> {
        Ok(Option::<Time>::deserialize(deserializer)?.map(|at| at.0))
    }
}

/// Campaign parameters, named without `utm_`; missing ones are left out.
pub(crate) mod utm {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::hit::Utm;

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "Utm", deny_unknown_fields)]
    struct Fields {
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        medium: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        campaign: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        term: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    }

    #[derive(Deserialize)]
    struct Given(#[serde(with = "Fields")] Utm);

    pub(crate) fn serialize<S: Serializer>(utm: &Utm, serializer: S) -> Result<S::Ok, S::Error> {
        Fields::serialize(utm, serializer)
    }

    /// Null is the same as none.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Utm, D::Error> {
        let given = Option::<Given>::deserialize(deserializer)?;
        Ok(given.map_or_else(Utm::default, |given| given.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_up_to_2_to_the_53_and_strings_above() {
        for (id, json) in [
            (1 << 53, "9007199254740992"),
            ((1 << 53) + 1, "\"9007199254740993\""),
            (i64::MAX, "\"9223372036854775807\""),
        ] {
            assert_eq!(serde_json::to_string(&Id(id)).unwrap(), json);
            assert_eq!(serde_json::from_str::<Id>(json).unwrap(), Id(id));
        }
        for (adobes, ours) in [
            ("-1", 4_294_967_295),
            ("\"-5\"", 4_294_967_291),
            ("-2147483648", 2_147_483_648),
        ] {
            assert_eq!(serde_json::from_str::<Id>(adobes).unwrap(), Id(ours));
        }
        for wrong in [
            "0",
            "-2147483649",
            "1.0",
            "9223372036854775808",
            "\"\"",
            "\"x\"",
            "true",
            "\"-2147483649\"",
        ] {
            assert!(serde_json::from_str::<Id>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_of_any_offset_are_told_in_utc() {
        let time: Time = serde_json::from_str("\"2026-11-21T18:00:00.000001+01:00\"").unwrap();
        assert_eq!(
            serde_json::to_string(&time).unwrap(),
            "\"2026-11-21T17:00:00.000001Z\""
        );
    }

    #[test]
    fn a_wrong_text_is_told_with_the_form_that_is_asked_for() {
        let error = serde_json::from_str::<Time>("\"yesterday\"").unwrap_err();
        assert!(
            error.to_string().contains("an RFC 3339 time such as"),
            "{error}"
        );
        let error = serde_json::from_str::<Uid>("\"7\"").unwrap_err();
        assert!(error.to_string().contains("a UUID such as"), "{error}");
    }
}

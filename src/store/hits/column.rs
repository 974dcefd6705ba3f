//! How a value of a hit gets into its column, and what it is when it is read again: one
//! implementation a type, resolved when the program is compiled.

use std::net::IpAddr;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::clock::Micros;
use crate::model::hit::TagChange;
use crate::model::money::Money;
use crate::store::types::{postgres_time, put_inet, put_numeric};
use crate::store::{Extra, Ip, Tags};

/// A value on its way into a column.
pub(super) trait Field: Sized {
    /// As a placeholder takes it, on both databases.
    type Bound;
    /// As it is read.
    type Stored;

    fn bound(self) -> Self::Bound;

    /// As it would be read back after it was written.
    fn stored(self) -> Self::Stored;

    /// Appends it as Postgres' binary `COPY` takes it: its length, and its bytes.
    fn copy(self, data: &mut Vec<u8>);
}

/// A field without a value.
pub(in crate::store) fn put_null(data: &mut Vec<u8>) {
    data.extend_from_slice(&(-1_i32).to_be_bytes());
}

pub(in crate::store) fn put_bytes(bytes: &[u8], data: &mut Vec<u8>) {
    data.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    data.extend_from_slice(bytes);
}

/// A field whose length is known only once it is written.
pub(in crate::store) fn put_with(data: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = data.len();
    data.extend_from_slice(&[0; 4]);
    put(data);
    let length = (data.len() - start - 4) as i32;
    data[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

impl<T: Field> Field for Option<T> {
    type Bound = Option<T::Bound>;
    type Stored = Option<T::Stored>;

    fn bound(self) -> Self::Bound {
        self.map(T::bound)
    }

    fn stored(self) -> Self::Stored {
        self.map(T::stored)
    }

    fn copy(self, data: &mut Vec<u8>) {
        match self {
            Some(value) => value.copy(data),
            None => put_null(data),
        }
    }
}

/// A type that is bound and read as it is.
macro_rules! plain_cell {
    ($type:ty, $value:ident => $bytes:expr) => {
        impl Field for $type {
            type Bound = Self;
            type Stored = Self;

            fn bound(self) -> Self {
                self
            }

            fn stored(self) -> Self {
                self
            }

            fn copy(self, data: &mut Vec<u8>) {
                let $value = self;
                put_bytes($bytes.as_slice(), data);
            }
        }
    };
}

plain_cell!(i32, number => number.to_be_bytes());
plain_cell!(i64, number => number.to_be_bytes());
plain_cell!(Uuid, id => id.as_bytes());
plain_cell!(Micros, at => postgres_time(at).to_be_bytes());

impl Field for Money {
    type Bound = Self;
    type Stored = Self;

    fn bound(self) -> Self {
        self
    }

    fn stored(self) -> Self {
        self
    }

    fn copy(self, data: &mut Vec<u8>) {
        put_with(data, |data| put_numeric(self, data));
    }
}

impl Field for &str {
    type Bound = Self;
    type Stored = String;

    fn bound(self) -> Self {
        self
    }

    fn stored(self) -> String {
        self.to_owned()
    }

    fn copy(self, data: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), data);
    }
}

impl Field for IpAddr {
    type Bound = Ip;
    type Stored = Ip;

    fn bound(self) -> Ip {
        Ip(self)
    }

    fn stored(self) -> Ip {
        Ip(self)
    }

    fn copy(self, data: &mut Vec<u8>) {
        put_with(data, |data| put_inet(self, data));
    }
}

/// An empty list is stored as null, which is read back as empty.
impl Field for &[TagChange] {
    type Bound = Option<Tags>;
    type Stored = Tags;

    fn bound(self) -> Option<Tags> {
        (!self.is_empty()).then(|| self.stored())
    }

    fn stored(self) -> Tags {
        Tags(self.iter().map(TagChange::text).collect())
    }

    /// Postgres' binary `text[]`: dimensions, has-null, element type (25 is `text`), length, lower
    /// bound, elements.
    fn copy(self, data: &mut Vec<u8>) {
        if self.is_empty() {
            return put_null(data);
        }
        put_with(data, |data| {
            for word in [1_i32, 0, 25, self.len() as i32, 1] {
                data.extend_from_slice(&word.to_be_bytes());
            }
            for tag in self {
                put_bytes(tag.text().as_bytes(), data);
            }
        });
    }
}

impl<'h> Field for &'h Map<String, Value> {
    type Bound = Json<&'h Map<String, Value>>;
    type Stored = Extra;

    fn bound(self) -> Self::Bound {
        Json(self)
    }

    fn stored(self) -> Extra {
        // A map whose keys are texts can be written.
        Json(serde_json::value::to_raw_value(self).unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// Postgres' binary `jsonb`: its version, and the text.
    fn copy(self, data: &mut Vec<u8>) {
        put_with(data, |data| {
            data.push(1);
            // Writing to a Vec does not fail.
            let _ = serde_json::to_writer(data, self);
        });
    }
}

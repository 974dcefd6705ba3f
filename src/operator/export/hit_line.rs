//! A stored hit as a line of NDJSON or CSV. Both are made from the table of a hit's columns, so
//! they cannot drift apart.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use utoipa::openapi::schema::{Schema, SchemaFormat, SchemaType};
use utoipa::openapi::{ObjectBuilder, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

use super::cell::{Cell, write_csv};
use crate::model::hit::{COLUMNS, hit_columns};
use crate::store::hits::StoredHit;

/// A hit as users get it. JSON: an object with every column; times in RFC 3339, amounts as decimal
/// strings, ids as numbers up to 2^53 and as strings above.
#[derive(Clone, Copy, Debug)]
pub struct HitLine<'h>(pub &'h StoredHit);

macro_rules! cells {
    (|$row:ident, $hit:ident| $($(#[$doc:meta])* $name:ident: $type:ty = $value:expr,)+) => {
        impl<'h> HitLine<'h> {
            /// In the order of [`COLUMNS`].
            fn cells(self) -> [Cell<'h>; COLUMNS.len()] {
                [$(Cell::from(&self.0.$name)),+]
            }
        }
    };
}
hit_columns!(cells);

impl HitLine<'_> {
    /// Appends the CSV line.
    pub(super) fn write_csv(self, out: &mut Vec<u8>) {
        write_csv(self.cells(), out);
    }
}

/// The first line of a CSV.
pub(super) fn csv_header() -> String {
    COLUMNS.join(",") + "\n"
}

impl Serialize for HitLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COLUMNS.len()))?;
        for (name, cell) in COLUMNS.into_iter().zip(self.cells()) {
            map.serialize_entry(name, &cell)?;
        }
        map.end()
    }
}

/// Describes the columns by the types that they are read into.
macro_rules! described {
    (|$row:ident, $hit:ident| $($(#[$doc:meta])* $name:ident: $type:ty = $value:expr,)+) => {
        impl PartialSchema for HitLine<'_> {
            fn schema() -> RefOr<Schema> {
                let hit = ObjectBuilder::new().description(Some("A stored hit."));
                $(let hit = hit.property(stringify!($name), column(stringify!($type)));)+
                hit.into()
            }
        }
    };
}
hit_columns!(described);

impl ToSchema for HitLine<'_> {
    fn name() -> Cow<'static, str> {
        "Hit".into()
    }
}

fn column(of: &str) -> ObjectBuilder {
    let inner = of
        .strip_prefix("Option<")
        .and_then(|of| of.strip_suffix('>'));
    let (types, format): (&[Type], _) = match inner.unwrap_or(of) {
        // Beyond 2^53 they are strings.
        "i64" => (&[Type::Integer, Type::String], None),
        "i32" => (&[Type::Integer], None),
        "Uuid" => (&[Type::String], Some("uuid")),
        "Micros" => (&[Type::String], Some("date-time")),
        "Tags" => (&[Type::Array], None),
        "Extra" => (&[Type::Object], None),
        _ => (&[Type::String], None),
    };
    let null = inner.map(|_| Type::Null);
    let types: Vec<Type> = types.iter().cloned().chain(null).collect();
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(types))
        .format(format.map(|name| SchemaFormat::Custom(name.to_owned())))
}

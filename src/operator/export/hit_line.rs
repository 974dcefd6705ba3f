//! A stored hit as a line of NDJSON or CSV. Both are made from the table of a hit's columns, so they
//! cannot drift apart.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

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

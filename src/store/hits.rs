//! Hits in the database. What their columns are stands in one table, `model/hit/columns.rs`; how
//! each type of value is bound, copied and read stands in `column`, their numbers in `numbers`, and
//! the statements in `write` and `read`.

pub(in crate::store) mod column;
mod numbers;
mod read;
mod write;

pub use read::{HitFilter, Judged, PageEnd, StoredHit, Whose};

pub use crate::model::hit::{COLUMNS, HitRow};

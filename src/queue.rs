//! The durable queue between the answer and the database.
//!
//! A queue has two ends. The web offers hits to a [`sink::Sink`]; the projection reads them from a
//! [`source::Source`] and reports which ones the database has. `local`, on this machine's disk, is
//! the only implementation so far: only code that opens a queue names it, code that uses one does
//! not.

pub mod frame;
pub mod local;
pub mod sink;
pub mod source;

pub use local::waiting;

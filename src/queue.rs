//! The durable queue between the answer and the database.
//!
//! A queue has two ends. What answers requests offers hits to a [`sink::Sink`]; the projection
//! reads them from a [`source::Source`] and tells what the database has. `local` is the queue on
//! this machine's disk, the only one so far: who opens a queue names it, who uses one does not.

pub mod frame;
pub mod local;
pub mod sink;
pub mod source;

pub use local::waiting;

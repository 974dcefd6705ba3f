//! The durable queue between the answer and the database.

pub mod frame;
pub mod local;
pub mod sink;

//! Local copies of what answers need from the database, so that a click never waits for it.

pub mod forms;
mod kept_file;
pub mod links;
pub mod tokens;

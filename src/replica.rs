//! What answers need of the database, kept on this server: a click waits for no database.

pub mod forms;
pub mod links;

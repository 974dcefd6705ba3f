//! Sillage: a tracking redirect server.
//!
//! The path of a hit through the modules:
//!
//! ```text
//!  request ──► web ──► tracking ──► queue ══► projection ──► store
//!     ▲                pure          on disk    identity       Postgres or SQLite
//!     └── reply: 302, GIF or JSON, as soon as ══ holds
//! ```
//!
//! Two promises decide the design: a click always reaches its page, whatever fails; and an
//! answered hit is stored exactly once.

// What everything speaks of.
mod model;
// What a mail is made of.
mod content;
// The way of a hit.
mod identity;
mod projection;
mod queue;
mod replica;
mod store;
mod tracking;
mod web;
// What people do with the server: API, command line and demo come through here.
mod operator;
// Around it.
mod cli;
mod config;
mod server;
mod sqlite;
mod tls;
// Finds and starts Postgres for the tests of the store.
#[cfg(test)]
#[path = "../tests/rig/mod.rs"]
mod rig;

/// For benchmarks and tests.
#[doc(hidden)]
pub mod door;

pub use cli::run;

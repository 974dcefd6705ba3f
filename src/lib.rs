//! Sillage: a tracking redirect server.
//!
//! The modules, in the order in which a hit meets them:
//!
//! ```text
//!  request ──► inbound ──► dialect ──► hit ──► sink/spool ══► projection ──► store
//!     ▲           plain      pure        one       SQLite        identity       Postgres or SQLite
//!     └── reply: 302, GIF or JSON, as soon as ══ holds
//! ```
//!
//! Two promises decide the design: a click always reaches its page, whatever fails; and an answered hit is stored
//! exactly once.

// The way of a hit.
pub mod dialect;
pub mod form;
pub mod form_copy;
pub mod hit;
pub mod identity;
pub mod inbound;
pub mod link;
pub mod link_copy;
pub mod projection;
pub mod sink;
pub mod spool;
pub mod store;
// What is sent, so that there is something to hit, by us or by whoever sent it before.
pub mod import;
pub mod sending;
// What is stored, for whoever reads it.
pub mod export;
pub mod report;
// Around it.
pub mod cli;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod server;
mod sqlite;
pub mod telemetry;
pub mod web;

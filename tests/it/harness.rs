//! What the tests stand on: a throw-away Postgres, the server as a child process, an HTTP client,
//! and load.
//!
//! A test body takes an [`Engine`] and is run on both databases by [`on_both!`]:
//!
//! ```ignore
//! async fn a_click_redirects(engine: Engine) {
//!     let server = TestServer::on(engine).start().await;
//!     let mail = Campaign::make(server.db(), 1).await;
//!     let answer = server.client().get(&mail.link_path(0)).await;
//!     assert_eq!(answer.status, 302);
//!     server.finish().await;
//! }
//! on_both!(a_click_redirects);
//! ```

mod campaign;
mod certificate;
mod client;
mod database;
mod load;
mod network;
mod npm;
mod server;
mod wire;

pub use crate::rig::engine::Engine;
pub(crate) use crate::rig::engine::on_both;
pub use crate::rig::free_port;
pub use crate::rig::need::{need, wait_for};
pub use crate::rig::nginx::Nginx;
pub use crate::rig::postgres::PostgresServer;
pub use crate::rig::scratch::{FullDisk, Process, new_dir, send_signal};
pub use crate::rig::server::{ADMIN_TOKEN, SIGNING_KEY};
pub use campaign::Campaign;
pub use certificate::certificate;
pub use client::{Answer, Client, Failure};
pub use database::Db;
pub use load::{Load, Outcome, Report};
pub use network::Network;
pub use npm::NpmPackage;
pub use server::{Setup, TestServer};
pub use wire::{exchange, read_chunks};

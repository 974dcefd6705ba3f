//! What runs a test of the store on both databases.

pub(crate) use crate::rig::engine::{Engine, on_both};
pub(super) use crate::rig::free_port;
pub(crate) use crate::rig::need::wait_for;
pub(super) use crate::rig::postgres::PostgresServer;
pub(crate) use crate::rig::scratch::new_dir;

//! The spool: the durable queue on local disk between the answer and the database.
//!
//! One writer collects what waits, writes it as one row of a local SQLite file (WAL,
//! `synchronous=FULL`) and then releases every waiting answer: group commit, so one flush of the
//! disk serves all requests that wait for it.
//!
//! **Format.** `spool.db`, table `groups(seq, hits, body)`; a body is a sequence of frames, see
//! [`super::frame`]. `pragma user_version` is the number of the newest format in it; 0 in files
//! from before the numbers. `seq` rises and is never used twice: after a start it goes on from the
//! present time in microseconds (above every number that was ever given out, also where an old copy
//! of the file was put back; where the clock is behind, the projection notices and has the spool
//! take a new id). `meta` keeps how far has been deleted, and the id under which the database
//! remembers this spool's position.
//!
//! **How it fails.** Limit reached: offers are refused
//! ([`Full`](crate::queue::sink::Refused::Full)) until the projection has made room. Disk full: the
//! write fails, everyone waiting is told, and the next write tries again; a ballast file is given
//! up so that deleting (which in SQLite writes too) still works; where there is no room even to
//! open the file, the server starts without it and the writer goes on trying. Process killed:
//! SQLite's journal keeps whole groups only, and only whole groups were answered. File damaged: it
//! is put aside, and what can be read of it goes on in a new one (`local/salvage.rs`); what cannot
//! is counted as lost, by what was noted beside the file (`local/tally.rs`). File of a newer
//! server: it is put aside whole and told, for that server to go on with.
//!
//! **Every offer is settled.** Who waits for its outcome is told. Where nobody does any more,
//! because a reader went on to the page or answers do not wait (`spool.ack = "fast"`), what is not
//! stored in the end is counted as lost here.

mod age;
mod entry;
mod error;
mod file;
mod id;
mod keeper;
mod losses;
mod opening;
mod pages;
mod reader;
mod salvage;
mod shared;
mod spool;
mod tally;
pub mod waiting;
mod writer;

use std::time::Duration;

pub use error::SpoolError;
pub use id::read_id as spool_id;
pub use reader::SpoolReader;
pub use spool::Spool;

/// What the spool may use.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// Most bytes of hits on disk.
    pub max_bytes: u64,
    /// How long the writer waits to batch up more; zero if responses wait for it.
    pub linger: Duration,
}

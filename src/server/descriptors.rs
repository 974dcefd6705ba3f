//! File descriptors: every connection takes one, and shells and supervisors allow 1,024 by default.
//!
//! The soft limit is raised to the hard one, which any process may do. If that is still too few for
//! `server.max_connections`, the server accepts fewer connections and logs that: running out would
//! also affect the files of the database and the spool. If it still happens (the limit is lowered,
//! the whole system runs out), open connections stay and new ones wait: see [`Exhausted`].

use std::time::{Duration, Instant};

use metrics::Counter;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors besides public connections: the spool, the local copies, the embedded database with
/// its journals, the log, the runtime, about thirty; at most 32 connections of operators; the rest
/// is for files that requests keep for a while.
const BESIDE: u64 = 100;
/// Fewer connections than this are not enough to serve.
const LEAST: u64 = 16;
/// Least time between two log lines.
const EVERY: Duration = Duration::from_secs(60);

/// Raises the limit, and lowers `server.max_connections` to what it has room for. Returns the
/// limit.
pub fn make_room(config: &mut Config) -> u64 {
    let limit = raise_limit();
    let wanted = config.server.max_connections as u64;
    let room = room(limit, config.database.max_connections);
    if wanted > room {
        let needed = wanted + beside(config.database.max_connections);
        tracing::warn!(
            limit,
            configured = wanted,
            lowered = room,
            "server.max_connections is lowered: it needs {needed} file descriptors, but the \
            limit of this process is {limit}. Allow more (ulimit -Hn, LimitNOFILE= of \
            systemd, --ulimit \
            nofile= of Docker) or configure fewer connections"
        );
        config.server.max_connections = room as usize;
    }
    limit
}

fn beside(database: u32) -> u64 {
    BESIDE + u64::from(database)
}

/// How many connections a limit has room for; at least half of it, if the rest exceeds what other
/// descriptors leave.
fn room(limit: u64, database: u32) -> u64 {
    limit
        .saturating_sub(beside(database))
        .max(limit / 2)
        .max(LEAST)
}

/// The soft limit, raised as far as possible.
fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "cannot raise the limit of file descriptors");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Connections that could not be accepted for lack of descriptors or memory: one log line a minute,
/// however often it happens.
#[derive(Debug)]
pub(super) struct Exhausted {
    all: Counter,
    failures: u64,
    told: Option<Instant>,
}

impl Default for Exhausted {
    fn default() -> Self {
        Self {
            // Told from the start on: an alert sees no rise from nothing.
            all: metrics::counter!("sillage_accept_failures_total"),
            failures: 0,
            told: None,
        }
    }
}

impl Exhausted {
    /// Whether to wait before the next try. A connection that broke before it was accepted is no
    /// reason to.
    pub(super) fn note(&mut self, error: &std::io::Error) -> bool {
        use std::io::ErrorKind;
        if matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
        ) {
            return false;
        }
        self.all.increment(1);
        self.failures += 1;
        if self.told.is_none_or(|told| told.elapsed() >= EVERY) {
            self.told = Some(Instant::now());
            let failures = std::mem::take(&mut self.failures);
            if is_out_of_descriptors(error) {
                tracing::error!(%error, failures, "out of file descriptors: new connections \
                    wait, open ones continue. Allow more (ulimit -n, LimitNOFILE=) or \
                    lower server.max_connections");
            } else {
                tracing::error!(%error, failures, "cannot accept connections; open ones continue");
            }
        }
        true
    }
}

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_everything_else() {
        for (limit, connections) in [
            (1_048_576, 1_048_466),
            (20_000, 19_890),
            (1_024, 914),
            (128, 64),
            (8, 16),
        ] {
            assert_eq!(room(limit, 10), connections, "{limit}");
        }
    }

    #[test]
    fn a_connection_that_broke_is_no_reason_to_wait() {
        let mut exhausted = Exhausted::default();
        let broke = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
        assert!(!exhausted.note(&broke));
        let none_left = std::io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
        assert!(is_out_of_descriptors(&none_left));
        assert!(exhausted.note(&none_left) && exhausted.note(&none_left));
        // The second waits for its minute.
        assert_eq!(exhausted.failures, 1);
    }
}

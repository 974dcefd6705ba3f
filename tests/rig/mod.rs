//! What all tests and the benchmark stand on: directories and processes that go when the run ends,
//! however it ends; the server, nginx and a throw-away Postgres; free ports; waiting; and how a
//! figure of `/metrics` is read.
//!
//! Part of three programs: `tests/it`, the store's own tests, and the benchmark.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each of the three uses a part of it, and what fails here fails the run"
)]

pub mod engine;
pub mod need;
pub mod nginx;
pub mod postgres;
pub mod probe;
pub mod scratch;
pub mod server;

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port nobody listens on, below those that the kernel gives to outgoing connections: so a server
/// finds it free again when it restarts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 100) as u16 * 120;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether this process is root, whom some programs refuse.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0)
}

/// Where Debian keeps the programs of the newest Postgres; none where it is not installed so.
pub fn postgres_programs() -> Option<&'static Path> {
    static BIN: OnceLock<Option<PathBuf>> = OnceLock::new();
    let newest = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        versions
            .flatten()
            .filter_map(|entry| {
                let version: u32 = entry.file_name().to_str()?.parse().ok()?;
                let bin = entry.path().join("bin");
                bin.join("initdb").is_file().then_some((version, bin))
            })
            .max()
            .map(|(_, bin)| bin)
    };
    BIN.get_or_init(newest).as_deref()
}

/// The user and the group that Postgres is run as: it refuses root, so then it is the package's
/// own.
pub fn postgres_user() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut parts = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// A program of Postgres, to be run in a directory by a user whom it takes.
pub fn postgres_command(name: &str, dir: &Path) -> Command {
    let mut command = match postgres_programs() {
        Some(bin) => Command::new(bin.join(name)),
        // Elsewhere than on Debian it is found by its name.
        None => Command::new(name),
    };
    command.current_dir(dir);
    if let Some((user, group)) = postgres_user() {
        command.uid(user).gid(group);
    }
    command
}

/// A program in `PATH`, or where Debian keeps those that are for administrators.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| std::fs::metadata(file).is_ok_and(|meta| meta.is_file()))
}

/// A figure of `/metrics`, with its labels or summed over them; 0 where it has not been counted
/// yet.
pub fn figure(metrics: &str, name: &str) -> f64 {
    let of_name = metrics.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    of_name
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

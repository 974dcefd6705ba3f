//! Processes of the benchmark: they end when their guard goes, also on a panic, and tell what they
//! use.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::rig::{self, scratch};

pub use super::rig::find_program;

/// Kernel ticks a second in `/proc/<pid>/stat`; 100 on every Linux that Debian builds.
const TICKS: f64 = 100.0;

/// A running program.
pub struct Process {
    name: &'static str,
    process: scratch::Process,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Most that ever was.
    pub peak: u64,
}

impl Process {
    /// Starts a program. `signal` ends it, and its children where it has any.
    pub fn spawn(name: &'static str, command: &mut Command, signal: &str) -> anyhow::Result<Self> {
        let process = scratch::Process::try_start(command.stdin(Stdio::null()), signal)
            .with_context(|| format!("start {name}"))?;
        Ok(Self { name, process })
    }

    /// The process itself.
    pub fn inner(&mut self) -> &mut scratch::Process {
        &mut self.process
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// An error where it has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.process.ended() {
            Some(status) => bail!("{} ended: {status}", self.name),
            None => Ok(()),
        }
    }

    /// Waits for its end; returns what it wrote to its standard output, which has to be a pipe.
    pub async fn finish(&mut self) -> anyhow::Result<String> {
        let status = loop {
            if let Some(status) = self.process.ended() {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let mut text = String::new();
        if let Some(output) = self.process.stdout() {
            output.read_to_string(&mut text)?;
        }
        if !status.success() {
            bail!("{}: {status}", self.name);
        }
        Ok(text)
    }

    /// What it uses.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let bytes = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB"))
                .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok())
                .map_or(0, |kilobytes| kilobytes << 10)
        };
        Ok(Memory {
            resident: bytes("VmRSS:"),
            peak: bytes("VmHWM:"),
        })
    }

    /// Starts the peak of its memory anew.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5")?;
        Ok(())
    }

    /// Seconds of processor that it and its children have used, the ended ones included.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.id())
    }
}

/// Seconds of processor that a process and its children have used, the ended ones included.
pub fn cpu_seconds(id: u32) -> f64 {
    let read = |path: PathBuf| Usage::read(&path);
    let own = read(format!("/proc/{id}/stat").into())
        .map_or(0.0, |usage| usage.own + usage.of_ended_children);
    let children: f64 = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| read(entry.ok()?.path().join("stat")))
        .filter(|usage| usage.parent == id)
        .map(|usage| usage.own)
        .sum();
    own + children
}

/// Seconds of processor that this program itself has used.
pub fn own_cpu_seconds() -> f64 {
    Usage::read(Path::new("/proc/self/stat")).map_or(0.0, |usage| usage.own)
}

/// Seconds of processor of a process.
struct Usage {
    parent: u32,
    own: f64,
    of_ended_children: f64,
}

impl Usage {
    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        // The name before these fields may hold spaces and brackets itself.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let seconds = |index: usize| -> Option<f64> {
            let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
            Some((ticks(index)? + ticks(index + 1)?) / TICKS)
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: seconds(11)?,
            of_ended_children: seconds(13)?,
        })
    }
}

/// A new directory that goes with its value, or with the run.
pub fn scratch_dir(what: &str) -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("{what}-"))
        .tempdir_in(scratch::root())
}

/// Puts the run's directory on a disk, into `TMPDIR` where it is set. Not into `/tmp`: where that is
/// memory, durable figures would mean nothing.
pub fn choose_scratch() {
    let place = std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    scratch::set_place(place);
}

/// An address of the loopback that is free now.
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, rig::free_port()))
}

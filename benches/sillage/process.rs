//! Processes of the benchmark: they end when their guard goes, also on a panic, and tell what they
//! use.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::rig;

/// Kernel ticks a second in `/proc/<pid>/stat`; 100 on every Linux that Debian builds.
const TICKS: f64 = 100.0;

/// A running program.
pub struct Process {
    name: &'static str,
    child: Child,
    farewell: Farewell,
}

/// How a program is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// SIGKILL: it has no children.
    Kill,
    /// A signal after which it ends its own children.
    Signal(&'static str),
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
    /// Starts a program.
    pub fn spawn(
        name: &'static str,
        command: &mut Command,
        farewell: Farewell,
    ) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self {
            name,
            child,
            farewell,
        })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error where it has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended: {status}", self.name),
            None => Ok(()),
        }
    }

    /// Waits for its end; returns what it wrote to its standard output, which has to be a pipe.
    pub async fn finish(&mut self) -> anyhow::Result<String> {
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let mut text = String::new();
        if let Some(output) = &mut self.child.stdout {
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
        let read = |path: PathBuf| Usage::read(&path);
        let own = read(format!("/proc/{}/stat", self.id()).into())
            .map_or(0.0, |usage| usage.own + usage.of_ended_children);
        let children: f64 = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| read(entry.ok()?.path().join("stat")))
            .filter(|usage| usage.parent == self.id())
            .map(|usage| usage.own)
            .sum();
        own + children
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Farewell::Signal(signal) = self.farewell {
            let _ = Command::new("kill")
                .args([format!("-{signal}"), self.id().to_string()])
                .stderr(Stdio::null())
                .status();
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

/// A new directory on disk. Not in `/tmp`: where that is memory, durable figures would mean
/// nothing.
pub fn scratch_dir(what: &str) -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("sillage-bench-{what}-"))
        .tempdir_in(scratch())
}

/// Where the directories of the run are: `TMPDIR` where it is set.
pub fn scratch() -> PathBuf {
    std::env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from)
}

/// An address of the loopback that is free now.
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, rig::free_port()))
}

/// A program in `PATH` or where Debian keeps it for administrators.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| is_file(file))
}

fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

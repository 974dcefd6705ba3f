//! The measure of redirects: nginx with a plain `return 302`, two workers, a buffered access log
//! and nothing durable.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::probe;
use super::process::{Process, find_program, free_address, scratch_dir};
use super::rig;

/// A running nginx.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Nginx {
    /// Starts it on a free port with a configuration of its own.
    pub async fn start() -> anyhow::Result<Self> {
        let program = find_program("nginx").context("no nginx")?;
        let dir = scratch_dir("nginx")?;
        let address = free_address();
        // keepalive_requests: its default of 1,000 would make wrk connect anew all the time.
        let http = format!(
            "access_log access.log combined buffer=64k flush=1s;
             keepalive_timeout 65; keepalive_requests 1000000000;
             server {{ listen {address}; location / {{ return 302 https://shop.example/; }} }}"
        );
        let config = rig::nginx_config(2, 1_024, &http);
        std::fs::write(dir.path().join("nginx.conf"), config)?;
        let mut process = Process::spawn(
            "nginx",
            Command::new(program)
                .arg("-p")
                .arg(dir.path())
                .args(["-c", "nginx.conf", "-e", "error.log"])
                .stdout(Stdio::null()),
            "TERM",
        )?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !probe::get(address, "/").is_ok_and(|answer| answer.status == 302) {
            process.check()?;
            if Instant::now() > deadline {
                bail!("nginx does not answer");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            address,
            _process: process,
            _dir: dir,
        })
    }
}

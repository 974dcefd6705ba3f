//! Debian's nginx with a configuration of the run's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use super::need::{need, try_wait_for};
use super::scratch::{self, Process};
use super::{find_program, is_root};

/// A running nginx; it ends with its value.
pub struct Nginx {
    dir: PathBuf,
    _process: Process,
}

impl Nginx {
    /// Starts one for a test: small, and without a log of its requests.
    pub async fn start(http: &str, port: u16) -> Self {
        let started = Self::try_start(1, 256, &format!("access_log off; {http}"), port).await;
        started.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts it with what stands in its `http { }`, and waits until it listens on a port of
    /// 127.0.0.1.
    ///
    /// # Errors
    /// It is not installed, or ends before it listens.
    pub async fn try_start(
        workers: u32,
        connections: u32,
        http: &str,
        port: u16,
    ) -> anyhow::Result<Self> {
        need("nginx");
        let program = find_program("nginx").context("no nginx")?;
        let dir = scratch::new_dir("nginx");
        std::fs::write(dir.join("nginx.conf"), config(workers, connections, http))?;
        let mut process = Process::try_start(
            Command::new(program)
                .arg("-p")
                .arg(&dir)
                .args(["-c", "nginx.conf", "-e", "error.log"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
            "TERM",
        )?;
        try_wait_for("nginx listens", Duration::from_secs(20), async || {
            if let Some(status) = process.ended() {
                anyhow::bail!("nginx ended with {status}:\n{}", errors(&dir));
            }
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            Ok(connected.is_ok())
        })
        .await?;
        Ok(Self {
            dir,
            _process: process,
        })
    }

    /// What it complained of.
    pub fn errors(&self) -> String {
        errors(&self.dir)
    }
}

fn errors(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("error.log")).unwrap_or_default()
}

/// A configuration that keeps to its own directory, with what stands in its `http { }`.
fn config(workers: u32, connections: u32, http: &str) -> String {
    // As root its workers would become nobody, who may not write there.
    let user = if is_root() { "user root;" } else { "" };
    format!(
        "{user} worker_processes {workers}; daemon off; pid nginx.pid; error_log error.log;
         events {{ worker_connections {connections}; }}
         http {{
           client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
           uwsgi_temp_path uwsgi; scgi_temp_path scgi;
           {http}
         }}"
    )
}

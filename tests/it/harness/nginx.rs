//! Debian's nginx with a configuration of the test's, and a certificate that nobody has signed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::Process;
use super::wait_for;
use crate::rig;
use crate::rig::scratch;

/// A running nginx; it ends with the test.
pub struct Nginx {
    dir: PathBuf,
    _process: Process,
}

impl Nginx {
    /// Starts it with what stands in its `http { }`, and waits until it listens on a port of
    /// 127.0.0.1.
    pub async fn start(http: &str, port: u16) -> Self {
        super::need("nginx");
        let dir = scratch::new_dir("nginx");
        let config = rig::nginx_config(1, 256, &format!("access_log off; {http}"));
        std::fs::write(dir.join("nginx.conf"), config).unwrap();
        // It is in a directory that only root's shell looks into.
        let program = ["/usr/sbin/nginx", "nginx"]
            .into_iter()
            .find(|program| Path::new(program).exists() || *program == "nginx")
            .unwrap();
        let log = std::fs::File::create(dir.join("started.log")).unwrap();
        let mut process = Process::start(
            Command::new(program)
                .arg("-p")
                .arg(&dir)
                .args(["-c", "nginx.conf", "-e", "error.log"])
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log),
            "TERM",
        );
        wait_for("nginx listens", Duration::from_secs(20), async || {
            if let Some(status) = process.ended() {
                let log = std::fs::read_to_string(dir.join("error.log")).unwrap_or_default();
                panic!("nginx ended with {status}:\n{log}");
            }
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        })
        .await;
        Self {
            dir,
            _process: process,
        }
    }

    /// What it complained of.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.dir.join("error.log")).unwrap_or_default()
    }
}

/// A certificate for 127.0.0.1 and localhost, and its key.
pub fn certificate() -> &'static (PathBuf, PathBuf) {
    static MADE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = scratch::new_dir("certificate");
        let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"])
            .args(["-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key)
            .output()
            .expect("openssl");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        (certificate, key)
    })
}

//! The measure of redirects: nginx with a plain `return 302`, two workers, a buffered access log
//! and nothing durable.

use std::net::SocketAddr;

use super::process::free_address;
use super::rig;

/// A running nginx.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    _nginx: rig::nginx::Nginx,
}

impl Nginx {
    /// Starts it on a free port with a configuration of its own.
    pub async fn start() -> anyhow::Result<Self> {
        let address = free_address();
        // keepalive_requests: its default of 1,000 would make wrk connect anew all the time.
        let http = format!(
            "access_log access.log combined buffer=64k flush=1s;
             keepalive_timeout 65; keepalive_requests 1000000000;
             server {{ listen {address}; location / {{ return 302 https://shop.example/; }} }}"
        );
        let nginx = rig::nginx::Nginx::try_start(2, 1_024, &http, address.port()).await?;
        Ok(Self {
            address,
            _nginx: nginx,
        })
    }
}

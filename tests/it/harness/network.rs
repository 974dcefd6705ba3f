//! A network between a server and its Postgres that can swallow packets without closing a
//! connection.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a Postgres; ends when it is dropped.
pub struct Network {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

#[derive(Clone, Copy)]
struct Way {
    /// Whether new connections get through.
    is_open: bool,
    /// Goes up with each silence; connections of an earlier one stay silent for good.
    age: u32,
}

impl Network {
    /// A way to the Postgres of a URL.
    pub async fn to(url: &str) -> Self {
        let target = address(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, mut seen) = watch::channel(Way {
            is_open: true,
            age: 0,
        });
        tokio::spawn(async move {
            loop {
                let Ok(now) = seen.wait_for(|way| way.is_open).await.map(|way| *way) else {
                    return;
                };
                tokio::select! {
                    biased;
                    changed = seen.changed() => if changed.is_err() { return },
                    accepted = listener.accept() => {
                        let (client, _) = accepted.unwrap();
                        tokio::spawn(carry(client, target.clone(), now.age, seen.clone()));
                    }
                }
            }
        });
        Self { address, way }
    }

    /// The URL of the same database, by this way.
    pub fn url(&self, url: &str) -> String {
        url.replacen(address(url), &self.address.to_string(), 1)
    }

    /// From now on nothing gets through in either direction, and no connection is closed.
    pub fn fall_silent(&self) {
        self.way.send_modify(|way| {
            way.is_open = false;
            way.age += 1;
        });
    }

    /// New connections get through; those that were silenced stay so.
    pub fn let_new_through(&self) {
        self.way.send_modify(|way| way.is_open = true);
    }
}

/// `host:port` of a URL.
fn address(url: &str) -> &str {
    let (_, rest) = url.split_once('@').unwrap();
    rest.split_once('/').unwrap().0
}

async fn carry(mut client: TcpStream, target: String, age: u32, mut way: watch::Receiver<Way>) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        biased;
        silenced = way.wait_for(|way| way.age != age) => if silenced.is_err() { return },
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
    }
    // Both sockets stay open for as long as the network is there.
    while way.changed().await.is_ok() {}
}

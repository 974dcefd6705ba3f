//! A database that is far away: every packet takes its time.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Pieces that are on their way at once.
const UNDER_WAY: usize = 4_096;

/// The URL of a database with `round_trip` between; the way there ends with the runtime.
pub async fn far_away(url: &str, round_trip: Duration) -> anyhow::Result<String> {
    let (scheme, rest) = url.split_once('@').context("the URL has no user")?;
    let (target, name) = rest.split_once('/').context("the URL has no database")?;
    let target = target.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(&target).await else {
                continue;
            };
            if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
                continue;
            }
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            carry(from_near, to_far, round_trip / 2);
            carry(from_far, to_near, round_trip / 2);
        }
    });
    Ok(format!("{scheme}@{address}/{name}"))
}

/// Hands on what comes, each piece after its time.
fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (send, mut sent) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let piece = (Instant::now() + delay, buffer[..count].to_vec());
            if send.send(piece).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, piece)) = sent.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
}

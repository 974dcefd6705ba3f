//! The script's bytes on the wire.

use super::process::scratch_dir;
use super::rig::probe;
use super::scoreboard::{Bar, Scoreboard};
use super::server::Server;

/// Runs the section.
pub async fn measure(board: &mut Scoreboard) -> anyhow::Result<()> {
    board.open("mtc.js");
    let dir = scratch_dir("data")?;
    let server = Server::start(dir.path(), &[]).await?;
    let answer = probe::ask(
        server.address,
        "GET",
        "/mtc.js",
        &[("accept-encoding", "gzip")],
        "",
    )?;
    anyhow::ensure!(
        answer.status == 200 && answer.body.starts_with(&[0x1f, 0x8b]),
        "no compressed script: {}",
        answer.head
    );
    board.add(
        "script",
        "mtc.js, compressed",
        answer.body.len() as f64,
        "bytes",
        Bar::Below(4_097.0),
    );
    Ok(())
}

//! How large the program is and how soon it takes hits.

use std::path::Path;
use std::process::Command;

use super::process::{find_program, scratch_dir};
use super::scoreboard::{Bar, Scoreboard, median};
use super::server::Server;

const SECTION: &str = "start";
const STARTS: usize = 5;

/// Runs the section.
pub async fn measure(board: &mut Scoreboard) -> anyhow::Result<()> {
    board.open("size and start, on SQLite");
    let program = Path::new(env!("CARGO_BIN_EXE_sillage"));
    match stripped_bytes(program)? {
        Some(bytes) => board.add(
            SECTION,
            "program, stripped",
            bytes as f64 / 1e6,
            "MB",
            Bar::Below(30.0),
        ),
        None => board.skip("size", "no strip (Debian package binutils)"),
    }
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let dir = scratch_dir("data")?;
        for times in [&mut first, &mut again] {
            let server = Server::start(dir.path(), &[]).await?;
            times.push(server.started_in.as_secs_f64() * 1e3);
        }
    }
    board.add(
        SECTION,
        "first start to ready (median of 5)",
        median(&first),
        "ms",
        Bar::Below(300.0),
    );
    board.add(
        SECTION,
        "later start to ready (median of 5)",
        median(&again),
        "ms",
        Bar::Below(300.0),
    );
    Ok(())
}

/// The profile of benchmarks keeps symbols for profiling; what is shipped has none.
fn stripped_bytes(program: &Path) -> anyhow::Result<Option<u64>> {
    let Some(strip) = find_program("strip") else {
        return Ok(None);
    };
    let dir = scratch_dir("strip")?;
    let copy = dir.path().join("sillage");
    let status = Command::new(strip)
        .arg("--strip-all")
        .arg("-o")
        .arg(&copy)
        .arg(program)
        .status()?;
    anyhow::ensure!(status.success(), "strip: {status}");
    Ok(Some(std::fs::metadata(copy)?.len()))
}

//! The benchmark: every figure that the project promises, measured on this machine and printed
//! beside its bar.
//!
//! ```text
//! cargo bench                                   all sections, about ten minutes
//! cargo bench -- redirects                      one section
//! cargo bench -- sustained --seconds 20 --rate 8000
//! cargo bench -- fuzz --inputs 10000000         broken requests for each decoder; not among "all"
//! ```
//!
//! Debian packages: `nginx` and `wrk` (redirects), `binutils` (start), `postgresql` (sustained,
//! projection, messages, render, batch); a section whose package is missing is left out and says
//! so.
//! Servers, databases and directories are made for the run and taken away after it, also on Ctrl-C,
//! SIGTERM and a panic. A figure that misses its bar is marked; the exit code is 1 only where hits
//! were lost or stored twice.

mod batch;
mod database;
mod decode;
mod decoders;
mod far;
mod fuzz;
mod load;
mod mailing;
mod messages;
mod nginx;
mod postgres;
mod process;
mod projection;
mod redirects;
mod render;
#[path = "../../tests/rig/mod.rs"]
mod rig;
mod scoreboard;
mod script;
mod server;
mod servers;
mod start;
mod sustained;
mod traffic;
mod wrk;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// The server's allocator, with a count: see [`decode`].
#[global_allocator]
static ALLOCATOR: alloc_tracker::Allocator<mimalloc::MiMalloc> =
    alloc_tracker::Allocator::new(mimalloc::MiMalloc);

use database::Kind;
use scoreboard::Scoreboard;

/// Measures what the project promises.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --")]
pub struct Options {
    /// Sections to run; none: all
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Only on this database, where a section runs on both
    #[arg(long, value_enum)]
    database: Option<Kind>,
    /// Length of a round of redirects (10), of batches (15) or of the sustained load (60)
    #[arg(long, value_parser = above_zero::<u64>)]
    seconds: Option<u64>,
    /// Rounds of redirects
    #[arg(long, default_value_t = 3, value_parser = above_zero::<usize>)]
    rounds: usize,
    /// Hits offered a second by the sustained load
    #[arg(long, default_value_t = 11_000, value_parser = above_zero::<u64>)]
    rate: u64,
    /// Hits in the spool before the projection is timed
    #[arg(long, default_value_t = 400_000, value_parser = above_zero::<usize>)]
    hits: usize,
    /// Messages prepared for the sustained load and the projection
    #[arg(long, default_value_t = 200_000, value_parser = above_zero::<u64>)]
    messages: u64,
    /// Give Postgres statistics every half second while the projection is timed
    #[arg(long)]
    statistics: bool,
    /// Numbers of recipients that `messages` streams; `render` streams the first
    #[arg(long, default_values_t = [200_000, 1_000_000], value_parser = above_zero::<u64>)]
    recipients: Vec<u64>,
    /// Inputs of each decoder that `fuzz` makes
    #[arg(long, default_value_t = 10_000_000, value_parser = above_zero::<u64>)]
    inputs: u64,
    /// Where they start from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The only decoder that gets them
    #[arg(long, value_enum)]
    decoder: Option<decoders::Decoder>,
    /// Cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// A round of no seconds or no hits would divide by zero, or print a figure of nothing.
fn above_zero<T: std::str::FromStr + From<u8> + PartialOrd>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| *number > T::from(0));
    number.ok_or_else(|| "give a whole number above 0".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    Redirects,
    Sustained,
    Projection,
    Servers,
    Messages,
    Render,
    Batch,
    Start,
    Script,
    Decode,
    Fuzz,
}

impl Section {
    /// What a run without names does.
    const USUAL: [Self; 9] = [
        Self::Redirects,
        Self::Sustained,
        Self::Projection,
        Self::Servers,
        Self::Messages,
        Self::Render,
        Self::Start,
        Self::Script,
        Self::Decode,
    ];
}

impl Options {
    fn databases(&self) -> Vec<Kind> {
        match self.database {
            Some(kind) => vec![kind],
            None => vec![Kind::Sqlite, Kind::Postgres],
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    process::choose_scratch();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut board = Scoreboard::default();
    let outcome = runtime.block_on(async {
        // Leaving this block drops every guard: processes end, directories go.
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = run(&options, &mut board) => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    runtime.shutdown_background();
    board.print();
    outcome?;
    Ok(if board.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    let sections = if options.sections.is_empty() {
        Section::USUAL.as_slice()
    } else {
        &options.sections
    };
    println!(
        "{} processors; directories under {}",
        std::thread::available_parallelism()?,
        rig::scratch::place().display()
    );
    for section in sections {
        match section {
            Section::Redirects => redirects::measure(options, board).await?,
            Section::Sustained => sustained::measure(options, board).await?,
            Section::Projection => projection::measure(options, board).await?,
            Section::Servers => servers::measure(options, board).await?,
            Section::Messages => messages::measure(options, board).await?,
            Section::Render => render::measure(options, board).await?,
            Section::Batch => batch::measure(options, board).await?,
            Section::Start => start::measure(board).await?,
            Section::Script => script::measure(board).await?,
            Section::Decode => decode::measure(board)?,
            Section::Fuzz => fuzz::measure(options, board)?,
        }
    }
    Ok(())
}

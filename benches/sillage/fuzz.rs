//! Millions of broken requests for each decoder: none may panic, and none of 32 KiB may take a
//! millisecond.
//!
//! Inputs are recorded requests (`tests/cases`) that are mutated where it hurts: parameters
//! doubled, swapped, cut and taken from each other, values replaced by what decoders stumble over,
//! payloads of base64 broken inside. The same `--seed` makes the same inputs. It is no section of
//! the usual run: `cargo bench -- fuzz --inputs 10000000`, `--decoder php` for one of them.

mod corpus;
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::ValueEnum as _;
use serde_json::Value;
use sillage::door::Hit;

use self::mutate::Mutator;
use super::Options;
use super::decoders::{Decoder, Decoding, Request};
use super::mailing::Mailing;
use super::scoreboard::{Bar, Scoreboard};

const SECTION: &str = "fuzz";
const THREADS: u64 = 2;
/// The longest input that the bar is for.
pub const LONGEST: usize = 32 << 10;

/// What one thread found.
#[derive(Default)]
struct Found {
    hits: u64,
    panics: u64,
    slowest: Duration,
    /// What took so long.
    slow: Request,
}

/// Runs the section.
pub fn measure(options: &Options, board: &mut Scoreboard) -> anyhow::Result<()> {
    let decoders = match options.decoder {
        Some(decoder) => vec![decoder],
        None => Decoder::value_variants().to_vec(),
    };
    board.open(&format!(
        "{} inputs for each decoder, seed {}",
        options.inputs, options.seed
    ));
    // One line a panic, and not the whole way to it.
    std::panic::set_hook(Box::new(|panic| eprintln!("  {panic}")));
    for decoder in decoders {
        let corpus = corpus::read(decoder)?;
        ensure!(!corpus.is_empty(), "no recorded request for {decoder:?}");
        let started = Instant::now();
        let found = run(decoder, &corpus, options)?;
        let name = decoder
            .to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default();
        let rate = options.inputs as f64 / started.elapsed().as_secs_f64();
        board.add(
            SECTION,
            format!("{name}, panics"),
            found.panics as f64,
            "",
            Bar::Exactly(0.0),
        );
        board.add(
            SECTION,
            format!("{name}, slowest up to 32 KiB"),
            found.slowest.as_nanos() as f64 / 1_000.0,
            "\u{b5}s",
            Bar::Below(1_000.0),
        );
        if found.slowest > Duration::from_millis(1) {
            println!("  slow: {}", describe(&found.slow));
        }
        let share = found.hits as f64 / options.inputs as f64;
        board.add(
            SECTION,
            format!("{name}, hits an input"),
            share,
            "",
            Bar::None,
        );
        board.add(SECTION, format!("{name}, inputs"), rate, "/s", Bar::None);
    }
    let _ = std::panic::take_hook();
    Ok(())
}

/// A request's parts, as much of them as one reads.
fn describe(request: &Request) -> String {
    let part = |text: &str| {
        let start: String = text.chars().take(100).collect();
        format!("{} bytes {start:?}", text.len())
    };
    format!(
        "path {}; query {}; cookie {}; body {}",
        part(&request.path),
        part(&request.query),
        part(&request.cookie),
        part(&String::from_utf8_lossy(&request.body))
    )
}

fn run(decoder: Decoder, corpus: &[Request], options: &Options) -> anyhow::Result<Found> {
    let keys = Mailing::of(1)?.keys;
    let decoding = Decoding::new(keys)?;
    let told = AtomicU64::new(0);
    let parts: Vec<Found> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (decoding, told) = (&decoding, &told);
                let inputs = (options.inputs + thread) / THREADS;
                let mutator = Mutator::new(corpus, options.seed * THREADS + thread);
                scope.spawn(move || run_thread(decoder, decoding, mutator, inputs, told))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    Ok(parts.into_iter().fold(Found::default(), |sum, part| {
        let slower = if part.slowest > sum.slowest {
            (part.slowest, part.slow)
        } else {
            (sum.slowest, sum.slow)
        };
        Found {
            hits: sum.hits + part.hits,
            panics: sum.panics + part.panics,
            slowest: slower.0,
            slow: slower.1,
        }
    }))
}

/// Gzip holds a thousand times its length: the bar is for what is read.
fn is_packed(request: &Request) -> bool {
    request.body.starts_with(&[0x1f, 0x8b])
}

/// What no database takes.
fn has_nul(hit: &Hit) -> bool {
    fn looks(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(items) => items.iter().any(looks),
            Value::Object(map) => map
                .iter()
                .any(|(name, value)| name.contains('\0') || looks(value)),
            _ => false,
        }
    }
    serde_json::to_value(hit).is_ok_and(|value| looks(&value))
}

fn run_thread(
    decoder: Decoder,
    decoding: &Decoding,
    mut mutator: Mutator<'_>,
    inputs: u64,
    told: &AtomicU64,
) -> Found {
    let mut found = Found::default();
    for number in 0..inputs {
        let request = mutator.next_request();
        let started = Instant::now();
        let decoded = catch_unwind(AssertUnwindSafe(|| decoding.run(decoder, request)));
        let elapsed = started.elapsed();
        let Ok(hits) = decoded else {
            found.panics += 1;
            if told.fetch_add(1, Ordering::Relaxed) < 10 {
                eprintln!("  {decoder:?}: {request:?}");
            }
            continue;
        };
        found.hits += hits.len() as u64;
        // What is stored must be what a database takes.
        if number % 64 == 0 && hits.iter().any(has_nul) {
            found.panics += 1;
            eprintln!("  {decoder:?} lets a NUL through: {request:?}");
        }
        // A batch is thousands of lines: the bar is for each.
        let lines = match decoder {
            Decoder::MappBatch => hits.len().max(1) as u32,
            _ => 1,
        };
        if elapsed / lines > found.slowest && request.len() <= LONGEST && !is_packed(request) {
            // This thread may have been the one that had to wait: the best of a few is what the
            // input takes.
            let best = (0..7)
                .map(|_| {
                    let started = Instant::now();
                    decoding.run(decoder, request);
                    started.elapsed()
                })
                .fold(elapsed, Duration::min)
                / lines;
            if best > found.slowest {
                found.slowest = best;
                found.slow = request.clone();
            }
        }
    }
    found
}

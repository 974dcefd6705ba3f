//! `import`: links, messages and people of another system, from its CSV exports. Works beside a
//! running server, which learns of new links within `links.refresh`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{WrongUsage, print_json, ready_store};
use crate::config::Config;
use crate::model::clock::Clock;
use crate::operator::import::{ImportError, ImportRules, Place, Source, Tally, Watcher, import};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Adobe Campaign's tracked URLs (nms:trackingUrl): links and page tags
    AdobeUrls(Import),
    /// Adobe Campaign's deliveries (nms:delivery): their names and dates
    AdobeDeliveries(Import),
    /// Adobe Campaign's delivery logs (nms:broadLogRcp): who was sent what
    AdobeBroadlogs(Import),
    /// Mautic's table page_redirects: links
    MauticRedirects(Import),
    /// Mautic's table email_stats: who was sent what
    MauticEmailStats(Import),
    /// Mautic's table leads: people and their fields
    MauticContacts(Import),
    /// Links in our own form: id, slug, url, label, category, delivery_id
    Links(Import),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// CSV with a header row, UTF-8; comma, semicolon or tab; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write refused rows to this file as JSON lines, not to standard error
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    /// Use deliveries that were created here for the import if they have the same number
    #[arg(long)]
    adopt: bool,
}

impl ImportCommand {
    fn parts(self) -> (Source, Import) {
        match self {
            Self::AdobeUrls(import) => (Source::AdobeUrls, import),
            Self::AdobeDeliveries(import) => (Source::AdobeDeliveries, import),
            Self::AdobeBroadlogs(import) => (Source::AdobeBroadlogs, import),
            Self::MauticRedirects(import) => (Source::MauticRedirects, import),
            Self::MauticEmailStats(import) => (Source::MauticEmailStats, import),
            Self::MauticContacts(import) => (Source::MauticContacts, import),
            Self::Links(import) => (Source::Links, import),
        }
    }

    /// Imports and prints what became of the rows, as JSON. An error where rows were refused: the
    /// others are imported all the same.
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let (source, asked) = self.parts();
        let input: Box<dyn Read + Send> = if asked.file.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            let name = asked.file.display();
            Box::new(
                File::open(&asked.file).map_err(|error| WrongUsage(format!("{name}: {error}")))?,
            )
        };
        let mut watcher = Terminal {
            refused: match &asked.refused {
                Some(file) => {
                    let name = file.display();
                    let file = File::create(file)
                        .map_err(|error| WrongUsage(format!("{name}: {error}")))?;
                    Some(BufWriter::new(file))
                }
                None => None,
            },
            is_terminal: std::io::stderr().is_terminal(),
            started: Instant::now(),
            told: None,
        };
        let rules = ImportRules {
            unique: config.contacts.unique.clone(),
            personal_hosts: config.links.personal_hosts.clone(),
            file: asked.file.display().to_string(),
            adopt: asked.adopt,
        };
        let store = ready_store(config).await?;
        let imported = import(
            &store,
            &Clock::system(),
            source,
            &rules,
            input,
            &mut watcher,
        )
        .await;
        watcher.clear();
        if let Some(mut file) = watcher.refused {
            file.flush().context("refused rows")?;
        }
        let tally = imported.map_err(|error| match error {
            ImportError::Table(_) | ImportError::Column(_) => {
                anyhow::Error::new(WrongUsage(format!("{}: {error}", asked.file.display())))
            }
            error => error.into(),
        })?;
        store.close().await;
        let mut told = serde_json::to_value(tally)?;
        told["seconds"] = json!((watcher.started.elapsed().as_secs_f64() * 10.0).round() / 10.0);
        print_json(&told)?;
        if tally.refused > 0 {
            bail!("{} of {} rows were refused", tally.refused, tally.rows);
        }
        Ok(())
    }
}

/// Refused rows to a file or to standard error; progress where a person looks on.
struct Terminal {
    refused: Option<BufWriter<File>>,
    is_terminal: bool,
    started: Instant,
    told: Option<Instant>,
}

impl Terminal {
    fn clear(&self) {
        if self.is_terminal && self.told.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

impl Watcher for Terminal {
    fn refused(&mut self, place: Place, reason: &str) -> std::io::Result<()> {
        match &mut self.refused {
            Some(file) => {
                let line = json!({"row": place.row, "line": place.line, "reason": reason});
                writeln!(file, "{line}")
            }
            None => {
                self.clear();
                writeln!(std::io::stderr(), "{place}: {reason}")
            }
        }
    }

    fn progress(&mut self, tally: &Tally) {
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        if self.is_terminal && is_due {
            let seconds = self.started.elapsed().as_secs_f64();
            eprint!(
                "\r\x1b[K{} rows, {} refused, {seconds:.0} s, {:.0} rows/s",
                tally.rows,
                tally.refused,
                tally.rows as f64 / seconds.max(0.001),
            );
            self.told = Some(Instant::now());
        }
    }
}

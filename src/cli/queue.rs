//! `spool` and `quarantine`: the hits that are not where they should end up, yet or for good. Both
//! work beside a running server.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{print_json, ready_store};
use crate::config::Config;
use crate::model::clock::Clock;
use crate::model::hit::Hit;
use crate::projection::{ProjectionRules, retry_quarantined};
use crate::queue::frame::decode_record;
use crate::queue::waiting;
use crate::store::maintenance::Quarantined;

/// Maximum number of records that `quarantine retry --all` takes in one go.
const MOST_RETRIED: i64 = 100_000;

#[derive(Debug, Subcommand)]
pub(super) enum SpoolCommand {
    /// Print how much is waiting, as JSON
    Status,
    /// Print waiting hits as JSON lines, oldest first
    Inspect {
        /// Maximum number of hits
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Read another spool file than the data directory's, such as a damaged one that was set
        /// aside
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum QuarantineCommand {
    /// Print quarantined records as JSON lines, newest first
    List {
        /// Maximum number of records
        #[arg(long, default_value_t = 1_000)]
        limit: u32,
    },
    /// Print one record with its hit
    Show {
        /// Id of the record
        id: Uuid,
    },
    /// Try again to store one record, or all of them
    Retry(Which),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// Id of the record
    id: Option<Uuid>,
    /// Every record
    #[arg(long)]
    all: bool,
}

impl SpoolCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::Status => print_json(&waiting::status(&config.data_dir).await?),
            Self::Inspect { limit, file } => {
                let mut printed = Ok(());
                let each = |group: i64, hit: Result<Hit, String>| {
                    if printed.is_ok() {
                        printed = print_json(&match hit {
                            Ok(hit) => json!({"group": group, "hit": hit}),
                            Err(reason) => json!({"group": group, "error": reason}),
                        });
                    }
                };
                match file {
                    Some(file) => waiting::inspect_file(&file, limit, each).await?,
                    None => waiting::inspect(&config.data_dir, limit, each).await?,
                }
                printed
            }
        }
    }
}

impl QuarantineCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let store = ready_store(config).await?;
        match self {
            Self::List { limit } => {
                for record in store.quarantined(None, i64::from(limit)).await? {
                    print_json(&describe(&record))?;
                }
            }
            Self::Show { id } => {
                let records = store.quarantined(Some(id), 1).await?;
                let record = records.first().context(
                    "there is no record with this id; `sillage \
                quarantine list` shows the records",
                )?;
                let mut told = describe(record);
                told["hit"] = hit_of(record);
                print_json(&told)?;
            }
            Self::Retry(Which { id, .. }) => {
                let mut records = store.quarantined(id, MOST_RETRIED).await?;
                if id.is_some() && records.is_empty() {
                    bail!(
                        "there is no record with this id; `sillage quarantine list` shows the \
                    records"
                    );
                }
                // In the order in which they came.
                records.reverse();
                let (clock, rules) = (
                    Clock::system(),
                    ProjectionRules::new(&config.contacts, &config.revenue),
                );
                let mut refused = 0;
                for record in &records {
                    let is_stored = retry_quarantined(&store, &clock, &rules, record).await?;
                    refused += usize::from(!is_stored);
                    print_json(&json!({"id": record.id, "stored": is_stored}))?;
                }
                if refused > 0 {
                    bail!("{refused} of {} were refused again", records.len());
                }
            }
        }
        store.close().await;
        Ok(())
    }
}

fn describe(record: &Quarantined) -> Value {
    json!({
        "id": record.id,
        "quarantined_at": record.quarantined_at.rfc3339(),
        "reason": record.reason,
        "spool_id": record.spool_id,
        "position": record.position,
        "bytes": record.body.len(),
    })
}

/// The hit of a record, or what of it can be shown where it cannot be decoded.
fn hit_of(record: &Quarantined) -> Value {
    match decode_record(&record.body) {
        Ok(hit) => json!(hit),
        _ => json!({"undecodable": String::from_utf8_lossy(&record.body)}),
    }
}

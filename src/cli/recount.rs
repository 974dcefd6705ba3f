//! `recount`: counts all figures again from the hits and tells what differs.

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{print_json, ready_store};
use crate::config::Config;
use crate::model::clock::Clock;
use crate::store::recount::Recount as Found;

#[derive(Debug, Args)]
pub(super) struct Recount {
    /// Correct the figures that differ
    #[arg(long)]
    repair: bool,
}

impl Recount {
    /// Prints a line for each table; an error where figures differ and are not put right.
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let store = ready_store(config).await?;
        let clock = Clock::system();
        let name = format!("sillage-recount-{}", clock.new_id(clock.now()));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir)
            .with_context(|| format!("create the directory {}", dir.display()))?;
        let counted = store.recount(&dir.join("counted.db"), self.repair).await;
        std::fs::remove_dir_all(&dir)
            .with_context(|| format!("remove the directory {}", dir.display()))?;
        let found = counted.context("recount")?;
        store.close().await;
        tell(&found)?;
        if found.is_right() || self.repair {
            return Ok(());
        }
        anyhow::bail!("figures differ from the hits; sillage recount --repair corrects them")
    }
}

fn tell(found: &Found) -> anyhow::Result<()> {
    for table in &found.tables {
        print_json(&json!({
            "table": table.table,
            "rows": table.rows,
            "different": table.different,
            "example": table.example,
        }))?;
    }
    let since = found.since.map(|since| since.rfc3339());
    print_json(&json!({ "hits": found.hits, "since": since }))
}

//! `judge`: judges a period once more by the rules and lists of today, shows what would change, and
//! changes it where that is asked for.

use clap::Args;
use serde_json::json;

use super::{WrongUsage, print_json, ready_store};
use crate::config::Config;
use crate::model::clock::Micros;
use crate::model::period::Zone;
use crate::operator::verdicts::{Differences, Judge as Judging, Received};
use crate::projection::ProjectionRules;
use crate::server;

#[derive(Debug, Args)]
pub(super) struct Judge {
    /// Judge hits received from then on: RFC 3339, or a day (UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Micros,
    /// Judge hits received before then: RFC 3339, or a day (UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Micros,
    /// Change the verdicts that differ, and the figures with them
    #[arg(long)]
    write: bool,
}

fn time(text: &str) -> Result<Micros, String> {
    let read = Zone::default().read(text);
    read.ok_or_else(|| "give a time such as 2026-11-21T18:00:00Z, or a day".to_owned())
}

impl Judge {
    /// Prints a line for each way in which verdicts change, then how many hits were looked at; with
    /// `--write` changes them after that and prints how many changed.
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        if self.from >= self.to {
            return Err(WrongUsage("--from must be before --to".to_owned()).into());
        }
        let judge = Judging {
            lists: server::lists_of(config)?,
            rules: ProjectionRules::new(&config.contacts, &config.revenue),
            store: ready_store(config).await?,
        };
        let received = Received {
            from: self.from,
            to: self.to,
        };
        let until = judge.store.last_seq().await?;
        let mut differences = Differences::default();
        let mut after = 0;
        while let Some((last, _)) = judge.look(received, after, until, &mut differences).await? {
            after = last;
        }
        for difference in differences.list() {
            print_json(&difference)?;
        }
        print_json(&json!({ "hits": differences.hits, "decided": differences.decided }))?;
        if self.write {
            write(&judge, received, until).await?;
        }
        judge.store.close().await;
        Ok(())
    }
}

async fn write(judge: &Judging, received: Received, until: i64) -> anyhow::Result<()> {
    let (mut after, mut changed, mut unknown) = (0, 0, Vec::new());
    let mut looked_at = Differences::default();
    while let Some((last, rulings)) = judge.look(received, after, until, &mut looked_at).await? {
        after = last;
        let ruled = judge.write(rulings).await?;
        changed += ruled.changed.len();
        unknown.extend(ruled.unknown);
    }
    judge.store.renew_sketches().await?;
    print_json(&json!({ "changed": changed, "unknown": unknown.len() }))?;
    if let Some(first) = unknown.first() {
        tracing::warn!(
            hits = unknown.len(),
            first,
            "the figures of these hits' messages were counted by an earlier version, so they stay \
            as they are; run sillage recount --repair, then this command again"
        );
    }
    Ok(())
}

//! `retire`: what `database.keep_months` does by and by, at once.

use clap::Args;
use serde_json::json;

use super::{WrongUsage, print_json, ready_store};
use crate::config::Config;
use crate::model::clock::Clock;
use crate::store::retention::Pace;

#[derive(Debug, Args)]
pub(super) struct Retire {
    /// Whole months of hits to keep before the newest one [default: database.keep_months]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_months: Option<u32>,
}

impl Retire {
    /// Removes the months and prints each as JSON. Counts back from the newest hit, too: a clock
    /// may be wrong here as well.
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let keep_months = self.keep_months.unwrap_or(config.database.keep_months);
        if keep_months == 0 {
            return Err(WrongUsage(
                "the number of months to keep is not set: set database.keep_months, or give \
                --keep-months"
                    .to_owned(),
            )
            .into());
        }
        let store = ready_store(config).await?;
        let now = Clock::system().now();
        if let Some(newest) = store.newest_hit_before(now).await? {
            let retired = store.retire(newest, now, keep_months, Pace::AtOnce).await?;
            for month in retired.removed {
                print_json(&json!({"month": month.month, "hits": month.hits}))?;
            }
            if !retired.held.is_empty() {
                tracing::warn!(
                    months = retired.held.join(", "),
                    "another database session is still reading these months, so their space is \
                    not free yet; run this command again when that session has ended, or let the \
                    server free it"
                );
            }
        }
        store.close().await;
        Ok(())
    }
}

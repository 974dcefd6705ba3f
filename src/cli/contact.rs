//! `contact`: what is stored of a person, and its erasure.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{expect_tables, explain_store, print_bytes, print_json, ready_store};
use crate::config::Config;
use crate::identity::normalise;
use crate::model::clock::Clock;
use crate::model::hit::read_uid;
use crate::operator::privacy::{ErasureView, PersonData, erase_person};
use crate::projection::{Eraser, ProjectionRules};
use crate::server;
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum ContactCommand {
    /// Print everything that is stored of a person, a JSON object a line with its table
    Data(Who),
    /// Erase a person and print the receipt; interrupted, the next start or this command goes on
    Erase(Who),
}

#[derive(Debug, Args)]
pub(super) struct Who {
    /// Id, former id, id of a browser, or the value of a unique field such as the e-mail address
    #[arg(value_name = "ID|VALUE")]
    who: String,
}

impl ContactCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let unique = &config.contacts.unique;
        match self {
            Self::Data(Who { who }) => {
                let store = server::open_store_to_read(config).map_err(explain_store)?;
                expect_tables(&store).await?;
                let id = find(&store, unique, &who).await?;
                let Some(person) = store.find_person(id).await.context("database")? else {
                    bail!("there is no contact {who:?}");
                };
                let data = PersonData::open(store.clone(), unique, person).await;
                let mut data = data.context("database")?;
                while let Some(lines) = data.next_chunk().await.context("database")? {
                    print_bytes(&lines)?;
                }
                store.close().await;
            }
            Self::Erase(Who { who }) => {
                let store = ready_store(config).await?;
                let id = find(&store, unique, &who).await?;
                let clock = Clock::system();
                let begun = erase_person(&store, &clock, id, "command line").await;
                let Some(begun) = begun.context("database")? else {
                    bail!("there is no contact {who:?}");
                };
                let rules = ProjectionRules::new(&config.contacts, &config.revenue);
                let eraser = Eraser::new(store.clone(), clock, rules);
                eraser.erase_all().await.context("database")?;
                let done = store.erasure(begun.id).await.context("database")?;
                print_json(&ErasureView::from(done.unwrap_or(begun)))?;
                store.close().await;
            }
        }
        Ok(())
    }
}

/// The id of a person, or of the one with a value of a unique field; the strongest field first.
async fn find(store: &Store, unique: &[String], who: &str) -> anyhow::Result<Uuid> {
    if let Some(id) = read_uid(who) {
        return Ok(id);
    }
    let value = normalise(who);
    for field in unique {
        let found = store.contact_by_key(field, &value).await;
        if let Some(id) = found.context("database")? {
            return Ok(id.0);
        }
    }
    bail!(
        "there is no contact {who:?}; searched by {}",
        unique.join(" or ")
    )
}

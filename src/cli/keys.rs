//! `keys list` and `keys give-up`: the keys that links were signed with, by their fingerprints. No
//! command shows or makes a key.

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::{WrongUsage, explain_store, print_json, ready_store};
use crate::config::Config;
use crate::model::clock::Clock;
use crate::model::keys::{KeyPrint, Keys};
use crate::server::data_dir::{DataDir, DataDirError, ServerNote};
use crate::server::{self, FoundKeys, lacking};
use crate::store::{Store, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Print the keys that links were signed with, and whether they are here, as JSON lines
    List,
    /// Accept that links signed with missing keys stop working, so that the server starts without
    /// those keys
    GiveUp,
}

impl KeysCommand {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        let found = FoundKeys::find(config)?;
        if found.is_generated && !config.data_dir.is_dir() {
            return Err(WrongUsage(format!(
                "there is no data directory {}; give the server's with --data-dir",
                config.data_dir.display()
            ))
            .into());
        }
        match self {
            Self::List => list(config, found.keys.as_ref()).await,
            Self::GiveUp => give_up(config, found.keys.as_ref()).await,
        }
    }
}

async fn list(config: &Config, keys: Option<&Keys>) -> anyhow::Result<()> {
    let store = ready_store(config).await?;
    let here = keys.map(Keys::prints).unwrap_or_default();
    let mut known = Vec::new();
    for key in store.signing_keys().await? {
        let Some(print) = key.print else { continue };
        print_json(&json!({
            "number": print.number,
            "fingerprint": print.print,
            "here": here.contains(&print),
            "signs": here.first() == Some(&print),
            "first_signed_at": key.first_signed_at.rfc3339(),
            "given_up_at": key.given_up_at.map(|at| at.rfc3339()),
        }))?;
        known.push(print);
    }
    for (index, print) in here.iter().enumerate() {
        if !known.contains(print) {
            print_json(&json!({
                "number": print.number, "fingerprint": print.print, "here": true, "signs": index == 0,
                "first_signed_at": null, "given_up_at": null,
            }))?;
        }
    }
    store.close().await;
    Ok(())
}

/// The database first: a note that still misses a key is told again, one that misses none would
/// hide what the database knows.
async fn give_up(config: &Config, keys: Option<&Keys>) -> anyhow::Result<()> {
    match server::open_store_that_exists(config).await {
        // Lost together with the keys.
        Err(StoreError::Missing(_)) => {}
        Err(error) => return Err(explain_store(error)),
        Ok(store) => {
            store.close().await;
            let store = ready_store(config).await?;
            give_up_in(&store, keys).await.context("database")?;
            store.close().await;
        }
    }
    let dir = &config.data_dir;
    if !dir.is_dir() {
        return Ok(());
    }
    match DataDir::take(dir) {
        Ok(_taken) => {
            let mut note = ServerNote::read(dir).unwrap_or_default();
            let lost = lacking(keys, note.keys.clone());
            note.keys.retain(|key| !lost.contains(key));
            note.is_confirmed = false;
            note.write(dir)
                .context("server.json in the data directory")?;
        }
        // The server reads the database and writes its own note.
        Err(DataDirError::InUse(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn give_up_in(store: &Store, keys: Option<&Keys>) -> anyhow::Result<()> {
    let known = store.signing_keys().await?;
    let now = Clock::system().now();
    let active: Vec<KeyPrint> = known
        .iter()
        .filter(|key| key.given_up_at.is_none())
        .filter_map(|key| key.print.clone())
        .collect();
    let lost = lacking(keys, active);
    let mut tx = store.begin().await?;
    for key in &lost {
        tx.give_up_key(Some(key), now).await?;
    }
    if known.is_empty() {
        tx.give_up_key(None, now).await?;
    }
    tx.commit().await?;
    for key in lost {
        print_json(
            &json!({"number": key.number, "fingerprint": key.print, "given_up_at": now.rfc3339()}),
        )?;
    }
    Ok(())
}

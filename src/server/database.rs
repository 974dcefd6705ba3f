//! The store that a configuration names.

use anyhow::Context as _;

use super::data_dir::EMBEDDED;
use crate::config::Config;
use crate::store::{Store, StoreError};

/// The store, made where it is embedded and not there yet.
///
/// # Errors
/// The URL is malformed or the embedded database cannot be opened.
pub async fn open_store(config: &Config) -> anyhow::Result<Store> {
    Store::open(
        &url_of(config),
        config.database.max_connections,
        config.database.patience,
    )
    .await
    .context("database")
}

/// The same if there is one already: makes no file.
///
/// # Errors
/// The URL is malformed, there is no embedded database, or it cannot be opened.
pub async fn open_store_that_exists(config: &Config) -> Result<Store, StoreError> {
    Store::open_that_exists(
        &url_of(config),
        config.database.max_connections,
        config.database.patience,
    )
    .await
}

/// Connections to the database of a configuration, to read only: nothing is made and nothing
/// brought up to date.
///
/// # Errors
/// The URL is malformed or there is no embedded database.
pub fn open_store_to_read(config: &Config) -> Result<Store, StoreError> {
    Store::open_to_read(
        &url_of(config),
        config.database.max_connections,
        config.database.patience,
    )
}

fn url_of(config: &Config) -> String {
    match &config.database_url {
        Some(url) => url.0.clone(),
        None => format!("sqlite://{}", config.data_dir.join(EMBEDDED).display()),
    }
}

/// The database's URL as the operator wrote it, without its password.
pub(super) fn name_of(config: &Config, store: &Store) -> String {
    match &config.database_url {
        _ if store.is_postgres() => "Postgres".to_owned(),
        Some(url) => url.0.clone(),
        None => format!("SQLite in {}", config.data_dir.join(EMBEDDED).display()),
    }
}

//! `sillage check-config`: what is in force, and with `--connect` whether the data directory and
//! the database can be used.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use super::print_bytes;
use crate::config::Config;
use crate::server;
use crate::store::StoreError;

/// Longest wait for the database.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Args)]
pub(super) struct CheckConfig {
    /// Also test the data directory and the database without changing them; exit code 1 if either
    /// cannot be used
    #[arg(long)]
    connect: bool,
}

impl CheckConfig {
    /// Prints the configuration as TOML without secrets, and what is doubtful about it on standard
    /// error.
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        print_bytes(config.to_toml().as_bytes())?;
        server::lists_of(config)?;
        for doubt in config.doubts() {
            eprintln!("sillage: {doubt}");
        }
        if !self.connect {
            return Ok(());
        }
        let mut failed = false;
        for (what, tried) in [
            ("data directory", try_dir(&config.data_dir)),
            ("database", try_database(config).await),
        ] {
            match tried {
                Ok(how) => eprintln!("sillage: {what}: {how}"),
                Err(error) => {
                    eprintln!("sillage: {what}: {error:#}");
                    failed = true;
                }
            }
        }
        if failed {
            bail!("the configuration is valid, but something it names cannot be used");
        }
        Ok(())
    }
}

/// Whether files can be made in it, or it can be made itself. A file without a name is made and
/// gone again.
fn try_dir(dir: &Path) -> anyhow::Result<String> {
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => {
            bail!(
                "{shown} is not a directory; set data_dir to one, or to a path that does not \
                exist yet"
            )
        }
        Ok(_) => {
            tempfile::tempfile_in(dir).with_context(|| {
                format!(
                    "{shown}: cannot create a file in it; make it writable for the user that \
                    runs the server"
                )
            })?;
            Ok(format!("{shown} can be used"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let there = dir.ancestors().skip(1).find(|above| above.exists());
            // Of a relative path the last one is empty: where we are.
            let there = there.unwrap_or(Path::new("."));
            tempfile::tempfile_in(there).with_context(|| {
                format!(
                    "{shown} does not exist and cannot be created in {}",
                    there.display()
                )
            })?;
            Ok(format!(
                "{shown} does not exist yet; the first start creates it"
            ))
        }
        Err(error) => Err(error).with_context(|| format!("{shown} cannot be examined")),
    }
}

async fn try_database(config: &Config) -> anyhow::Result<String> {
    let store = match server::open_store_to_read(config) {
        Err(StoreError::Missing(file)) => {
            return Ok(format!(
                "{} does not exist yet; the first start creates it",
                file.display()
            ));
        }
        opened => opened?,
    };
    let what = if store.is_postgres() {
        "Postgres"
    } else {
        "SQLite"
    };
    let answered = tokio::time::timeout(PATIENCE, store.ping()).await;
    store.close().await;
    match answered {
        Ok(Ok(())) => Ok(format!("{what} answers")),
        Ok(Err(error)) => Err(error).with_context(|| {
            format!(
                "{what} does not answer; check database_url (DATABASE_URL) and that the database \
                is running"
            )
        }),
        Err(_) => bail!("{what} did not answer within {PATIENCE:?}"),
    }
}

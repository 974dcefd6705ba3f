//! Secrets that are made at the first start and kept in the data directory, readable by the owner
//! only.
//!
//! Without its key, a signed link no longer works, so no secret is ever replaced silently: an empty
//! or truncated file is an error, and `known_keys` decides whether a missing one means a first
//! start.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Config;
use crate::model::keys::Keys;
use crate::model::secret::random_secret;
use crate::server::data_dir::write_whole;

const KEYS_FILE: &str = "signing.keys";
const TOKEN_FILE: &str = "admin.token";
/// Fewest characters of a token, as of `admin_token` in the configuration.
const LEAST_TOKEN: usize = 16;

/// The signing keys of a configuration and its data directory, as found.
pub struct FoundKeys {
    /// `None` if the configuration gives none and there is no file.
    pub keys: Option<Keys>,
    /// Those of the file, which a server made; else the configuration's, which an operator wrote.
    pub is_generated: bool,
    /// Where the file is, or would be.
    pub file: PathBuf,
}

impl FoundKeys {
    /// Takes the configuration's keys, else those in the data directory. Creates nothing.
    ///
    /// # Errors
    /// The file cannot be read, or holds no keys.
    pub fn find(config: &Config) -> anyhow::Result<Self> {
        let file = config.data_dir.join(KEYS_FILE);
        let is_generated = config.keys.signing.is_empty();
        let keys = if is_generated {
            match read(&file)? {
                Some(text) => Some(keys_of(&file, &text)?),
                None => None,
            }
        } else {
            let lines: Vec<String> = config
                .keys
                .signing
                .iter()
                .map(|key| key.0.clone())
                .collect();
            Some(Keys::parse(&lines).context("keys.signing")?)
        };
        Ok(Self {
            keys,
            is_generated,
            file,
        })
    }

    /// The keys; generated, and kept in the file, if there are none.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn or_make(self) -> anyhow::Result<Keys> {
        if let Some(keys) = self.keys {
            return Ok(keys);
        }
        let line = format!("1:{}", random_text()?);
        // Links signed with a key that a power cut takes away would be dead.
        write_whole(&self.file, format!("{line}\n").as_bytes())
            .with_context(|| self.file.display().to_string())?;
        Ok(Keys::parse(&[line])?)
    }
}

fn keys_of(file: &Path, text: &str) -> anyhow::Result<Keys> {
    let lines: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let what = match Keys::parse(&lines) {
        Ok(keys) => return Ok(keys),
        Err(_) if lines.is_empty() => "is empty".to_owned(),
        Err(error) => format!("cannot be used: {error}"),
    };
    bail!(
        "{} {what}. Links sent so far are signed with the keys that were in it: put it back from \
        a backup. \
         If it is lost, remove it; the next start says what that costs",
        file.display()
    );
}

/// The token that opens the API, and whether it was generated just now: only then is it printed.
///
/// # Errors
/// The file cannot be read or written, or holds no token.
pub fn load_or_make_token(config: &Config) -> anyhow::Result<(String, bool)> {
    if let Some(token) = &config.admin_token {
        return Ok((token.0.trim().to_owned(), false));
    }
    let file = config.data_dir.join(TOKEN_FILE);
    if let Some(text) = read(&file)? {
        let token = text.trim();
        if token.len() < LEAST_TOKEN {
            bail!(
                "{} contains {} characters, but a token has at least {LEAST_TOKEN}: the file was \
                emptied or truncated. Put the token back, or remove the \
                 file: a new token is made, and whoever uses the old one gets 401",
                file.display(),
                token.len()
            );
        }
        return Ok((token.to_owned(), false));
    }
    let token = random_text()?;
    write_whole(&file, format!("{token}\n").as_bytes())
        .with_context(|| file.display().to_string())?;
    Ok((token, true))
}

/// The contents of a file; `None` if there is no file.
fn read(file: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

fn random_text() -> anyhow::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random_secret()?))
}

//! Secrets that are made at the first start and kept in the data directory, readable by the owner only.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::Config;
use crate::link::Keys;

const KEYS_FILE: &str = "signing.keys";
const TOKEN_FILE: &str = "admin.token";

/// The keys and the token of a server.
pub struct Secrets {
    /// Sign links and cookies.
    pub keys: Keys,
    /// Opens the API.
    pub admin_token: String,
    /// Whether the token was made just now: it is then told once.
    pub is_new: bool,
}

impl Secrets {
    /// Takes what the configuration gives, else what the data directory holds, else makes it.
    ///
    /// # Errors
    /// A file cannot be read or written, or holds no keys.
    pub fn load_or_make(dir: &Path, config: &Config) -> anyhow::Result<Self> {
        let lines: Vec<String> = if config.keys.signing.is_empty() {
            let (text, _) =
                read_or_make(&dir.join(KEYS_FILE), || Ok(format!("1:{}", random_text()?)))?;
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        } else {
            config
                .keys
                .signing
                .iter()
                .map(|key| key.0.clone())
                .collect()
        };
        let keys = Keys::parse(&lines).context("signing keys")?;
        let (admin_token, is_new) = match &config.admin_token {
            Some(token) => (token.0.clone(), false),
            None => read_or_make(&dir.join(TOKEN_FILE), random_text)?,
        };
        Ok(Self {
            keys,
            admin_token: admin_token.trim().to_owned(),
            is_new,
        })
    }
}

fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<(String, bool)> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((text, false)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = make()?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .with_context(|| path.display().to_string())?;
            writeln!(file, "{text}")?;
            // Links signed with a key that a power cut takes away would be dead.
            file.sync_all()?;
            Ok((text, true))
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn random_text() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

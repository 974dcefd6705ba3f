//! The local copy of the API's tokens: a request is answered without asking the database who it is
//! from, also while the database is away.
//!
//! Tokens are few, so all that are in use are in memory, and as their prints in `tokens.json` in
//! the data directory for a start while the database is down. Refreshed from the database every few
//! seconds: that is how soon a token that another server or the command line revoked stops working
//! here. One that this server does not know yet is asked of the database.
//!
//! Last uses are collected in memory and written once a minute; a crash takes the last minute's.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex as Lock, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::kept_file::KeptFile;
use crate::model::access::{Scopes, SecretPrint, TokenId};
use crate::model::clock::{Clock, Micros};
use crate::store::tokens::UsableToken;
use crate::store::{self, Store};

/// Prints remembered as unknown.
const UNKNOWN: u64 = 1_000;
/// Requests that may ask the database about a token at once.
const ASKING: usize = 2;
/// How long after the last refresh a token opens what it opened then. Sending hits goes on beyond
/// it: they are what an outage must not cost.
const TRUSTED: i64 = Micros::HOUR;
/// How often last uses are written.
const EVERY: Duration = Duration::from_secs(60);

/// A token in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownToken {
    /// Its number.
    pub id: TokenId,
    /// Whom it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    print: SecretPrint,
    expires_at: Option<Micros>,
}

impl From<UsableToken> for KnownToken {
    fn from(token: UsableToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: token.scopes,
            print: token.print,
            expires_at: token.expires_at,
        }
    }
}

/// What is known of a token that a request gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is in use.
    Known {
        /// Which it is.
        token: Arc<KnownToken>,
        /// The database has been away for so long that it may have been revoked.
        is_stale: bool,
    },
    /// There is none, or it is revoked or expired.
    Unknown,
    /// It is not in the copy, and the database does not answer.
    Unanswered,
}

type Tokens = HashMap<SecretPrint, Arc<KnownToken>>;

/// The copy; cheap to clone.
#[derive(Clone)]
pub struct TokenCopy(Arc<Inner>);

struct Inner {
    known: RwLock<Known>,
    unknown: Cache<SecretPrint, ()>,
    file: KeptFile,
    store: Store,
    clock: Clock,
    asking: Semaphore,
    patience: Duration,
    /// Held while the tokens change: a refresh must not bring back what was revoked meanwhile.
    changing: Mutex<()>,
    /// Last uses that the database does not have yet.
    used: Lock<HashMap<TokenId, Micros>>,
}

#[derive(Default)]
struct Known {
    tokens: Tokens,
    /// When they were last read from the database; `None` before the first time.
    read_at: Option<Micros>,
}

impl TokenCopy {
    /// Opens the copy in a directory. An unreadable file does not prevent the start: the database
    /// has everything.
    pub async fn open(dir: &Path, store: Store, patience: Duration, clock: &Clock) -> Self {
        let (file, kept) = KeptFile::open(dir.join("tokens.json"), "token copy", clock).await;
        let kept: Vec<KnownToken> = kept;
        let known = Known {
            tokens: by_print(kept),
            read_at: None,
        };
        Self(Arc::new(Inner {
            known: RwLock::new(known),
            unknown: Cache::builder()
                .max_capacity(UNKNOWN)
                .time_to_live(Duration::from_secs(2))
                .build(),
            file,
            store,
            clock: clock.clone(),
            asking: Semaphore::new(ASKING),
            patience,
            changing: Mutex::new(()),
            used: Lock::default(),
        }))
    }

    /// The token with a print, and notes its use.
    pub async fn find(&self, print: SecretPrint) -> Found {
        let now = self.0.clock.now();
        let found = match self.known(print, now) {
            Some(found) => found,
            None => self.ask(print).await,
        };
        match &found {
            Found::Known { token, .. } if token.expires_at.is_some_and(|at| at <= now) => {
                Found::Unknown
            }
            Found::Known { token, .. } => {
                let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
                used.insert(token.id, now);
                found
            }
            _ => found,
        }
    }

    fn known(&self, print: SecretPrint, now: Micros) -> Option<Found> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let token = Arc::clone(known.tokens.get(&print)?);
        let is_stale = known.read_at.is_none_or(|at| now.0 - at.0 > TRUSTED);
        Some(Found::Known { token, is_stale })
    }

    /// Asks the database; the next refresh puts what it knows into the copy.
    async fn ask(&self, print: SecretPrint) -> Found {
        if self.0.unknown.contains_key(&print) {
            return Found::Unknown;
        }
        let asked = async {
            let _permit = self.0.asking.acquire().await.ok()?;
            self.0.store.usable_token(print).await.ok()
        };
        match tokio::time::timeout(self.0.patience, asked).await {
            Ok(Some(Some(token))) => Found::Known {
                token: Arc::new(token.into()),
                is_stale: false,
            },
            Ok(Some(None)) => {
                self.0.unknown.insert(print, ());
                Found::Unknown
            }
            _ => Found::Unanswered,
        }
    }

    /// Takes a token out of the copy: it stops working here at once.
    pub async fn forget(&self, id: TokenId) {
        let _changing = self.0.changing.lock().await;
        {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            known.tokens.retain(|_, token| token.id != id);
        }
        self.save().await;
    }

    /// Fetches all tokens in use.
    ///
    /// # Errors
    /// The database fails.
    pub async fn refresh(&self) -> store::Result<()> {
        let _changing = self.0.changing.lock().await;
        let now = self.0.clock.now();
        let tokens = self.0.store.usable_tokens(now).await?;
        let tokens = by_print(tokens.into_iter().map(KnownToken::from));
        let is_changed = {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            known.read_at = Some(now);
            let is_changed = known.tokens != tokens;
            known.tokens = tokens;
            is_changed
        };
        if is_changed || self.0.file.is_unsaved() {
            self.save().await;
        }
        Ok(())
    }

    async fn save(&self) {
        let mut tokens: Vec<Arc<KnownToken>> = {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            known.tokens.values().cloned().collect()
        };
        tokens.sort_by_key(|token| token.id);
        let tokens: Vec<&KnownToken> = tokens.iter().map(|token| &**token).collect();
        self.0.file.save(&tokens).await;
    }

    /// Refreshes every `every` until dropped.
    pub async fn run(self, every: Duration) {
        let mut is_failing = false;
        loop {
            match self.refresh().await {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%error, "cannot refresh the tokens; those known last work on");
                }
                Err(_) => {}
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Writes last uses once a minute until the stop is signalled, and then once more.
    pub async fn note_uses(self, stop: CancellationToken) {
        let minute = || tokio::time::sleep(EVERY);
        while stop.run_until_cancelled(minute()).await.is_some() {
            self.write_uses().await;
        }
        self.write_uses().await;
    }

    async fn write_uses(&self) {
        let uses: Vec<(TokenId, Micros)> = {
            let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.drain().collect()
        };
        if let Err(error) = self.0.store.note_token_uses(&uses).await {
            tracing::debug!(%error, "last uses of tokens wait for the database");
            let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, at) in uses {
                let later = used.entry(id).or_insert(at);
                *later = at.max(*later);
            }
        }
    }
}

fn by_print(tokens: impl IntoIterator<Item = KnownToken>) -> Tokens {
    let tokens = tokens.into_iter();
    tokens.map(|token| (token.print, Arc::new(token))).collect()
}

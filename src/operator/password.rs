//! Hashing passwords: argon2id, 19 MB and some 20 ms each, two at a time and never on a thread that
//! answers readers.
//!
//! **Nobody learns whether a name is known by how long the answer takes**: where there is nothing
//! to compare with, the password is compared with that of nobody.

use std::sync::LazyLock;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use crate::model::access::Password;

/// At once, whoever asks.
static PLACES: Semaphore = Semaphore::const_new(2);
/// Longest wait for a place: more than this many sign-ins at once are an attack.
const PATIENCE: Duration = Duration::from_secs(5);

/// The password of nobody.
static NOBODYS: LazyLock<Option<String>> = LazyLock::new(|| hash_now(b"").ok());

/// A password is neither hashed nor compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many are being compared.
    #[error("too many people are signing in at once; try again")]
    Busy,
    /// The library refuses, or the system has no memory or random numbers.
    #[error("the password cannot be hashed")]
    Failed,
}

/// What is stored of a password: a PHC string.
///
/// # Errors
/// Too many at once, or the system has no memory.
pub async fn hash(password: Password) -> Result<String, PasswordError> {
    aside(move || hash_now(password.as_bytes())).await?
}

/// Whether a password is the stored one; never if none is stored.
///
/// # Errors
/// Too many at once.
pub async fn is_right(password: Password, stored: Option<String>) -> Result<bool, PasswordError> {
    aside(move || {
        // First, or only the first answer to an unknown name would take the time to make it.
        let nobodys = NOBODYS.as_deref().unwrap_or_default();
        let compared = Argon2::default()
            .verify_password(password.as_bytes(), stored.as_deref().unwrap_or(nobodys));
        compared.is_ok() && stored.is_some()
    })
    .await
}

fn hash_now(password: &[u8]) -> Result<String, PasswordError> {
    let hash = Argon2::default().hash_password(password);
    hash.map(|hash| hash.to_string()).map_err(|error| {
        tracing::error!(%error, "a password cannot be hashed");
        PasswordError::Failed
    })
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PasswordError> {
    let place = tokio::time::timeout(PATIENCE, PLACES.acquire()).await;
    let Ok(Ok(place)) = place else {
        return Err(PasswordError::Busy);
    };
    // The place is given back when the work is done, also where nobody waits for it any more.
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    done.await.map_err(|_| PasswordError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_right_for_its_own_hash_only() {
        let stored = hash(password("correct horse")).await.unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
        assert_ne!(
            hash(password("correct horse")).await.unwrap(),
            stored,
            "salted"
        );
        let is_right = async |text: &str, stored: Option<&str>| {
            super::is_right(password(text), stored.map(str::to_owned)).await
        };
        assert_eq!(is_right("correct horse", Some(&stored)).await, Ok(true));
        assert_eq!(is_right("correct hors", Some(&stored)).await, Ok(false));
        assert_eq!(is_right("correct horse", None).await, Ok(false));
        // Not even the password of nobody.
        assert_eq!(is_right("", None).await, Ok(false));
        assert_eq!(is_right("", Some("")).await, Ok(false));
    }
}

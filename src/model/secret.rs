//! Making secrets, and comparing what a request gives with one: the one place that does.
//!
//! Signatures of links and cookies are compared by `hmac`, whose check is of the same kind.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The system has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("cannot get random numbers from the system: {0}")]
pub struct NoRandom(getrandom::Error);

/// The 256 random bits of a new secret.
///
/// # Errors
/// The system has no random numbers to give.
pub fn random_secret() -> Result<[u8; 32], NoRandom> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(NoRandom)?;
    Ok(bytes)
}

/// Whether a request knows a secret, in constant time. Digests are compared, so not even the length
/// leaks.
pub fn is_same_secret(secret: &[u8], given: &[u8]) -> bool {
    let (secret, given) = (Sha256::digest(secret), Sha256::digest(given));
    secret.as_slice().ct_eq(given.as_slice()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_the_secret_is_the_secret(secret in "\\PC{0,40}", given in "\\PC{0,40}") {
            let is_same = |given: &str| is_same_secret(secret.as_bytes(), given.as_bytes());
            prop_assert!(is_same(&secret));
            prop_assert_eq!(is_same(&given), secret == given);
            let longer = format!("{secret}x");
            prop_assert!(!is_same(&longer));
            prop_assert!(!is_same_secret(longer.as_bytes(), secret.as_bytes()));
        }
    }
}

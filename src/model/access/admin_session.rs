//! The session of whoever signs in with the admin token, as the browser's cookie holds it.
//!
//! It says until when it lasts, signed with the token itself: nothing is stored, so it begins and
//! is read while the database is away, and all of them end with the token. One alone cannot be
//! ended from elsewhere, so it lasts a working day and no longer.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::model::clock::Micros;
use crate::model::secret::is_same_secret;

/// How it begins: no user's session has a dot.
const BEGINNING: &str = "admin.";
/// How long it lasts, in seconds.
const SECONDS: i64 = 12 * 3_600;

/// The cookie's value.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminSession(String);

impl AdminSession {
    /// One that begins now; `None` if the token cannot sign.
    pub fn begin(token: &str, now: Micros) -> Option<Self> {
        let ends_at = now.0 / Micros::SECOND + SECONDS;
        Some(Self(format!(
            "{BEGINNING}{ends_at}.{}",
            sign(token, ends_at)?
        )))
    }

    /// Whether a cookie's value is a session of this token that is not over.
    pub fn is_valid(text: &str, token: &str, now: Micros) -> bool {
        let rest = text.strip_prefix(BEGINNING);
        let Some((ends_at, mac)) = rest.and_then(|rest| rest.split_once('.')) else {
            return false;
        };
        let Ok(ends_at) = ends_at.parse() else {
            return false;
        };
        let signed = sign(token, ends_at);
        signed.is_some_and(|signed| is_same_secret(signed.as_bytes(), mac.as_bytes()))
            && now.0 / Micros::SECOND < ends_at
    }

    /// The cookie's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AdminSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(session of the admin)")
    }
}

fn sign(token: &str, ends_at: i64) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).ok()?;
    mac.update(format!("console session until {ends_at}").as_bytes());
    Some(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_790_000_000 * Micros::SECOND);

    #[test]
    fn it_lasts_a_working_day_under_the_same_token() {
        let session = AdminSession::begin("a token", NOW).unwrap();
        let text = session.as_str();
        let later = |seconds: i64| Micros(NOW.0 + seconds * Micros::SECOND);
        assert!(AdminSession::is_valid(text, "a token", NOW));
        assert!(AdminSession::is_valid(text, "a token", later(SECONDS - 1)));
        assert!(!AdminSession::is_valid(text, "a token", later(SECONDS)));
        assert!(!AdminSession::is_valid(text, "another token", NOW));
    }

    #[test]
    fn nobody_makes_or_prolongs_one_without_the_token() {
        let session = AdminSession::begin("a token", NOW).unwrap();
        let (start, mac) = session.as_str().rsplit_once('.').unwrap();
        let ends_at: i64 = start.trim_start_matches(BEGINNING).parse().unwrap();
        let longer = format!("{BEGINNING}{}.{mac}", ends_at + 1);
        for text in ["", "admin", "admin.", "admin.9999999999.", &longer, start] {
            assert!(!AdminSession::is_valid(text, "a token", NOW), "{text}");
        }
    }
}

//! Secrets that are told once and kept as their SHA-256. With 256 random bits behind each a plain
//! digest is enough: there is nothing to guess.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// How every token begins, so that people and scanners of leaked secrets recognise one.
const BEGINNING: &str = "sil_";
/// Characters of a token that are kept to recognise it: 36 of its 256 bits.
const KEPT: usize = BEGINNING.len() + 6;
/// Random bytes of a secret.
const BYTES: usize = 32;

/// The SHA-256 of a secret: all that is stored of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretPrint(pub [u8; 32]);

impl SecretPrint {
    /// Of a secret's text.
    pub fn of(text: &str) -> Self {
        let mut print = [0; 32];
        print.copy_from_slice(&Sha256::digest(text.as_bytes()));
        Self(print)
    }
}

impl fmt::Debug for SecretPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(print of a secret)")
    }
}

impl Serialize for SecretPrint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for SecretPrint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("not the print of a secret"))
    }
}

/// A token as its holder sends it: `sil_` and 43 characters. It is told once and stored nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    /// The token of 256 random bits.
    pub fn new(random: [u8; BYTES]) -> Self {
        Self(format!("{BEGINNING}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// Reads what a request gives; `None` if it cannot be a token.
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let random = URL_SAFE_NO_PAD.decode(text.strip_prefix(BEGINNING)?).ok()?;
        (random.len() == BYTES).then(|| Self(text.to_owned()))
    }

    /// The whole of it, to be told once.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its first characters, by which its holder recognises it.
    pub fn prefix(&self) -> &str {
        &self.0[..KEPT]
    }

    /// What is stored of it.
    pub fn print(&self) -> SecretPrint {
        SecretPrint::of(&self.0)
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.prefix())
    }
}

/// A session as the browser's cookie holds it: 43 characters. It is stored nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionText(String);

impl SessionText {
    /// The session of 256 random bits.
    pub fn new(random: [u8; BYTES]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    /// Reads what a cookie gives; `None` if it cannot be a session.
    pub fn read(text: &str) -> Option<Self> {
        let random = URL_SAFE_NO_PAD.decode(text).ok()?;
        (random.len() == BYTES).then(|| Self(text.to_owned()))
    }

    /// The cookie's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn print(&self) -> SecretPrint {
        SecretPrint::of(&self.0)
    }
}

impl fmt::Debug for SessionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(session)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_told_and_shows_its_beginning_only() {
        let token = TokenText::new([7; 32]);
        assert_eq!(token.as_str().len(), 47);
        assert_eq!(
            TokenText::read(token.as_str().as_bytes()),
            Some(token.clone())
        );
        assert_eq!(format!("{token:?}"), "sil_BwcHBw…");
        let whole = token.as_str();
        for wrong in [
            "",
            "sil_",
            &whole[..46],
            &format!("{whole}A"),
            &whole.replacen("sil_", "SIL_", 1),
            &format!("{}=", &whole[..46]),
        ] {
            assert_eq!(TokenText::read(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(TokenText::read(&[0xff; 47]), None);
    }

    #[test]
    fn a_session_is_read_as_it_was_set() {
        let session = SessionText::new([7; 32]);
        assert_eq!(SessionText::read(session.as_str()), Some(session.clone()));
        assert_eq!(format!("{session:?}"), "(session)");
        for wrong in ["", "x", &session.as_str()[1..]] {
            assert_eq!(SessionText::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_print_is_read_as_it_was_written() {
        let print = SecretPrint::of("secret");
        let text = serde_json::to_string(&print).unwrap();
        assert_eq!(serde_json::from_str::<SecretPrint>(&text).unwrap(), print);
        assert!(serde_json::from_str::<SecretPrint>("\"c2hvcnQ\"").is_err());
        assert_ne!(print, SecretPrint::of("secreu"));
    }
}

//! The signing keys: the first signs, all verify.
//!
//! One secret serves several purposes (links, each cookie); a key of its own is derived for each,
//! so that a value signed for one purpose proves nothing for another.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::model::clock::Micros;

type HmacSha256 = Hmac<Sha256>;

/// Bytes of a truncated signature. 64 bits: a forger would need 2^63 requests on average for one
/// valid id.
pub(crate) const TAG_BYTES: usize = 8;

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `/r/<token>` and `/o/<token>.gif`.
    Link,
    /// Session cookie `broadlogId`.
    BroadlogCookie,
    /// Session cookie `deliveryId`.
    DeliveryCookie,
    /// Visitor cookie and the script's `device_id`.
    Visitor,
    /// The parameter that a redirect hands to a page on another domain.
    Landing,
    /// Permanent cookie `lastDeliveryId`.
    LastDeliveryCookie,
}

impl Purpose {
    const ALL: [(Self, &'static [u8]); 6] = [
        (Self::Link, b"sillage link"),
        (Self::BroadlogCookie, b"sillage cookie broadlogId"),
        (Self::DeliveryCookie, b"sillage cookie deliveryId"),
        (Self::Visitor, b"sillage visitor"),
        (Self::Landing, b"sillage landing"),
        (Self::LastDeliveryCookie, b"sillage cookie lastDeliveryId"),
    ];
}

/// What a key's fingerprint is made with: none of the purposes, so it signs nothing.
const PRINT: &[u8] = b"sillage fingerprint";
/// Bytes of a fingerprint.
const PRINT_BYTES: usize = 8;

/// Identifies a key outside the key store: its number, which is part of tokens, and a fingerprint
/// that reveals nothing about its secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyPrint {
    /// 0 to 15.
    pub number: u8,
    /// 16 hexadecimal digits.
    pub print: String,
}

impl fmt::Display for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.print)
    }
}

/// Why a configured key is rejected.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not of the form `number:secret`.
    #[error("signing key {0} is not of the form \"<number 0-15>:<secret>\"")]
    Form(usize),
    /// Too short to be a secret.
    #[error("signing key {0} has a secret of fewer than 32 characters")]
    Short(usize),
    /// Two keys with one number.
    #[error("two signing keys have the number {0}")]
    Number(u8),
    /// None at all.
    #[error("no signing key is given")]
    None,
}

/// All signing keys of a server. `Debug` shows their numbers only.
#[derive(Clone)]
pub struct Keys {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    number: u8,
    print: [u8; PRINT_BYTES],
    // One state a purpose, its key already absorbed: signing then costs two compressions and no key
    // schedule.
    states: [HmacSha256; Purpose::ALL.len()],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| key.number))
            .finish()
    }
}

impl Keys {
    /// Reads keys as the configuration gives them, `"<number 0-15>:<secret>"` with at least 32
    /// characters of secret. The number goes into tokens, so it must stay with its secret for as
    /// long as mails with such tokens are to work.
    ///
    /// # Errors
    /// A key is malformed or short, a number occurs twice, or there is no key.
    pub fn parse(lines: &[String]) -> Result<Self, KeyError> {
        let mut keys: Vec<Key> = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            let (number, secret) = line.split_once(':').ok_or(KeyError::Form(index + 1))?;
            let number: u8 = number
                .trim()
                .parse()
                .ok()
                .filter(|n| *n < 16)
                .ok_or(KeyError::Form(index + 1))?;
            if secret.len() < 32 {
                return Err(KeyError::Short(index + 1));
            }
            if keys.iter().any(|key| key.number == number) {
                return Err(KeyError::Number(number));
            }
            let states = Purpose::ALL.map(|(_, label)| {
                let derived = keyed(secret.as_bytes())
                    .chain_update(label)
                    .finalize()
                    .into_bytes();
                keyed(&derived)
            });
            let whole = keyed(secret.as_bytes())
                .chain_update(PRINT)
                .finalize()
                .into_bytes();
            let mut print = [0; PRINT_BYTES];
            print.copy_from_slice(&whole[..PRINT_BYTES]);
            keys.push(Key {
                number,
                print,
                states,
            });
        }
        if keys.is_empty() {
            Err(KeyError::None)
        } else {
            Ok(Self { keys })
        }
    }

    /// Fingerprints of all keys; the first is that of the key that signs.
    pub fn prints(&self) -> Vec<KeyPrint> {
        self.keys
            .iter()
            .map(|key| KeyPrint {
                number: key.number,
                print: key.print.iter().map(|byte| format!("{byte:02x}")).collect(),
            })
            .collect()
    }

    /// Number of the key that signs.
    pub(crate) fn signing_number(&self) -> u8 {
        self.keys.first().map_or(0, |key| key.number)
    }

    /// Signs with the first key.
    pub(crate) fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; TAG_BYTES] {
        self.keys
            .first()
            .map_or([0; TAG_BYTES], |key| key.tag(purpose, message, &[]))
    }

    /// [`Self::seal`] with a time: `<value>.<signature>.<time>`, so that the newer of two values
    /// can be told.
    pub fn seal_at(&self, purpose: Purpose, value: &str, at: Micros) -> String {
        let time = time_part(at);
        let tag = self.keys.first().map_or([0; TAG_BYTES], |key| {
            key.tag(purpose, value.as_bytes(), &time)
        });
        let mut sealed = String::with_capacity(value.len() + 24);
        sealed.push_str(value);
        sealed.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut sealed);
        sealed.push('.');
        URL_SAFE_NO_PAD.encode_string(at.0.to_be_bytes(), &mut sealed);
        sealed
    }

    /// The value of a text that was sealed with or without a time, if any key's signature is valid.
    pub fn open_at<'a>(
        &self,
        purpose: Purpose,
        sealed: &'a str,
    ) -> Option<(&'a str, Option<Micros>)> {
        let timed = sealed
            .rsplit_once('.')
            .filter(|(rest, _)| rest.contains('.'));
        let Some((rest, time)) = timed else {
            return self.open(purpose, sealed).map(|value| (value, None));
        };
        let (value, signature) = rest.split_once('.')?;
        let at = Micros(i64::from_be_bytes(eight_bytes(time)?));
        let (tag, time) = (eight_bytes(signature)?, time_part(at));
        self.keys
            .iter()
            .any(|key| key.verifies(purpose, value.as_bytes(), &time, &tag))
            .then_some((value, Some(at)))
    }

    /// Verifies with the key of that number.
    pub(crate) fn verify(&self, number: u8, purpose: Purpose, message: &[u8], tag: &[u8]) -> bool {
        self.keys
            .iter()
            .find(|key| key.number == number)
            .is_some_and(|key| key.verifies(purpose, message, &[], tag))
    }

    /// A value for a cookie or a parameter: `<value>.<signature>`. The value must hold no dot.
    pub fn seal(&self, purpose: Purpose, value: &str) -> String {
        let tag = self.sign(purpose, value.as_bytes());
        let mut sealed = String::with_capacity(value.len() + 12);
        sealed.push_str(value);
        sealed.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut sealed);
        sealed
    }

    /// The value of a sealed text, if any key's signature is valid.
    pub fn open<'a>(&self, purpose: Purpose, sealed: &'a str) -> Option<&'a str> {
        let (value, signature) = sealed.split_once('.')?;
        let tag = eight_bytes(signature)?;
        self.keys
            .iter()
            .any(|key| key.verifies(purpose, value.as_bytes(), &[], &tag))
            .then_some(value)
    }
}

/// What a time adds to a signed message. No value contains an `@`, so a value without a time never
/// reads like one with.
fn time_part(at: Micros) -> [u8; 9] {
    let mut part = [b'@'; 9];
    part[1..].copy_from_slice(&at.0.to_be_bytes());
    part
}

fn eight_bytes(text: &str) -> Option<[u8; 8]> {
    let mut bytes = [0_u8; 8];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(8) => Some(bytes),
        _ => None,
    }
}

impl Key {
    fn mac(&self, purpose: Purpose, message: &[u8], time: &[u8]) -> HmacSha256 {
        let index = Purpose::ALL
            .iter()
            .position(|(p, _)| *p == purpose)
            .unwrap_or_default();
        self.states[index]
            .clone()
            .chain_update(message)
            .chain_update(time)
    }

    fn tag(&self, purpose: Purpose, message: &[u8], time: &[u8]) -> [u8; TAG_BYTES] {
        let full = self.mac(purpose, message, time).finalize().into_bytes();
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&full[..TAG_BYTES]);
        tag
    }

    fn verifies(&self, purpose: Purpose, message: &[u8], time: &[u8], tag: &[u8]) -> bool {
        tag.len() == TAG_BYTES
            && self
                .mac(purpose, message, time)
                .verify_truncated_left(tag)
                .is_ok()
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed(secret: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(secret).expect("any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: &[u8]) -> Keys {
        let lines: Vec<String> = numbers
            .iter()
            .map(|n| format!("{n}:{}", format!("{n}").repeat(40)))
            .collect();
        Keys::parse(&lines).unwrap()
    }

    #[test]
    fn a_sealed_value_opens_for_its_purpose_and_with_older_keys() {
        let sealed = keys(&[1]).seal(Purpose::BroadlogCookie, "42");
        assert_eq!(
            keys(&[2, 1]).open(Purpose::BroadlogCookie, &sealed),
            Some("42")
        );
        assert_eq!(keys(&[1]).open(Purpose::DeliveryCookie, &sealed), None);
        assert_eq!(keys(&[2]).open(Purpose::BroadlogCookie, &sealed), None);
        assert_eq!(
            keys(&[1]).open(Purpose::BroadlogCookie, &sealed.replace("42", "43")),
            None
        );
    }

    #[test]
    fn a_time_is_signed_with_its_value() {
        let (sealing, opening) = (keys(&[1]), keys(&[2, 1]));
        let open = |sealed: &str| {
            let opened = opening.open_at(Purpose::DeliveryCookie, sealed);
            opened.map(|(value, at)| (value.to_owned(), at))
        };
        let of = |at| sealing.seal_at(Purpose::DeliveryCookie, "42", Micros(at));
        let (early, late) = (of(1), of(1_795_000_000_000_000));
        assert!(early.starts_with("42."), "{early}");
        assert_eq!(open(&early), Some(("42".to_owned(), Some(Micros(1)))));
        assert_eq!(
            open(&sealing.seal(Purpose::DeliveryCookie, "42")),
            Some(("42".to_owned(), None))
        );
        let parts = |sealed: &str| sealed.split('.').map(str::to_owned).collect::<Vec<_>>();
        let (early, late) = (parts(&early), parts(&late));
        for forged in [
            format!("42.{}.{}", early[1], late[2]),
            format!("43.{}.{}", early[1], early[2]),
            format!("42.{}", early[1]),
            format!("42.{}.", early[1]),
            format!("42..{}", early[2]),
            format!("42.{}.{}.{}", early[1], early[2], early[2]),
            ".".to_owned(),
            "..".to_owned(),
        ] {
            assert_eq!(open(&forged), None, "{forged}");
        }
    }

    #[test]
    fn keys_are_checked() {
        assert!(matches!(Keys::parse(&[]), Err(KeyError::None)));
        assert!(matches!(
            Keys::parse(&["1:short".into()]),
            Err(KeyError::Short(1))
        ));
        assert!(matches!(
            Keys::parse(&["16:".to_owned() + &"x".repeat(40)]),
            Err(KeyError::Form(1))
        ));
        assert!(!format!("{:?}", keys(&[3])).contains("333"));
    }

    #[test]
    fn a_fingerprint_is_the_keys_and_tells_two_apart() {
        let prints = keys(&[2, 1]).prints();
        assert_eq!((prints[0].number, prints[1].number), (2, 1));
        assert_ne!(prints[0].print, prints[1].print);
        assert_eq!(prints[1..], keys(&[1]).prints());
        assert_eq!(prints[0].print.len(), 16);
    }

    proptest::proptest! {
        #[test]
        fn no_text_opens_by_chance(text: String) {
            assert_eq!(keys(&[1]).open(Purpose::Visitor, &text), None);
            assert_eq!(keys(&[1]).open_at(Purpose::Visitor, &text), None);
        }
    }
}

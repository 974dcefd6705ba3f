//! The token in `/r/<token>`, `/o/<token>.gif` and `/u/<token>`: about 31 letters and digits.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | high half: format version, now 2; low half: number of the signing key |
//! | 1–9 each | delivery, broadlog, link as LEB128 varints; link 0 is the message itself |
//! | 1–5 | minute of sending since 2026-01-01 as a varint; 0 unknown |
//! | 8 | HMAC-SHA-256 of all before it, truncated |
//!
//! They are written in Crockford's base32, in lower case: it survives programs that change the case
//! of an address, and every character is one that a mail program leaves in a link, at its end too.
//! Upper case, `o` for `0`, and `i` or `l` for `1` are read. Version 1 was base64url without
//! padding, about 27 characters: programs that find links in plain text took a `_` or `-` at its
//! end for the sentence's. Such tokens keep working. The first character tells them apart: `4` or
//! `5` now, `E` to `H` then.
//!
//! One bit changed anywhere gives no token: the signature covers every byte, and an encoding with
//! stray bits at its end is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::repaired::repair_name;
use crate::model::hit::{BroadlogId, DeliveryId, LinkId};
use crate::model::keys::{Keys, Purpose, TAG_BYTES};

/// Minutes from the Unix epoch to 2026-01-01T00:00Z.
pub const TOKEN_EPOCH_MINUTES: i64 = 29_453_760;

/// Base32.
const VERSION: u8 = 2;
/// Base64url: read, but no longer written.
const OLD_VERSION: u8 = 1;
/// 1 + 3 × 10 + 5 + 8.
const MAX_BYTES: usize = 44;
/// The same in base32.
const MAX_CHARS: usize = (MAX_BYTES * 8).div_ceil(5);

/// Crockford's alphabet: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Not a character of a token.
const NONE: u8 = 0xff;
/// The five bits of each character.
const BITS: [u8; 256] = {
    let mut bits = [NONE; 256];
    let mut value = 0;
    while value < 32 {
        let character = ALPHABET[value];
        bits[character as usize] = value as u8;
        bits[character.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    let mut alike = 0;
    while alike < 6 {
        let (character, value) = [
            (b'o', 0),
            (b'O', 0),
            (b'i', 1),
            (b'I', 1),
            (b'l', 1),
            (b'L', 1),
        ][alike];
        bits[character as usize] = value;
        alike += 1;
    }
    bits
};

/// What a link says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkToken {
    /// Campaign.
    pub delivery_id: DeliveryId,
    /// Message.
    pub broadlog_id: BroadlogId,
    /// Destination; `None` in the open pixel.
    pub link_id: Option<LinkId>,
    /// Minutes since the Unix epoch at which the message was sent.
    pub sent_minute: Option<i64>,
}

impl LinkToken {
    /// Signs and encodes. Ids must not be negative.
    pub fn encode(&self, keys: &Keys) -> String {
        let mut text = String::with_capacity(MAX_CHARS);
        self.encode_into(keys, &mut text);
        text
    }

    /// Signs and encodes, appending to a text: a message has many links, and a sender many
    /// messages.
    pub fn encode_into(&self, keys: &Keys, text: &mut String) {
        let mut bytes = Vec::with_capacity(MAX_BYTES);
        bytes.push(VERSION << 4 | keys.signing_number());
        put_varint(&mut bytes, self.delivery_id.0 as u64);
        put_varint(&mut bytes, self.broadlog_id.0 as u64);
        put_varint(&mut bytes, self.link_id.map_or(0, |id| id.0) as u64);
        put_varint(
            &mut bytes,
            self.sent_minute
                .map_or(0, |m| (m - TOKEN_EPOCH_MINUTES).max(0)) as u64,
        );
        let tag = keys.sign(Purpose::Link, &bytes);
        bytes.extend_from_slice(&tag);
        put_base32(&bytes, text);
    }

    /// Finds the token in a text as mail programs, chats and people pass it on; `None` if there is
    /// none.
    pub fn find(text: &str, keys: &Keys) -> Option<Self> {
        Self::decode(text, keys).or_else(|| {
            let repaired = repair_name(text)?;
            let of_name = Self::decode(&repaired.name, keys);
            of_name.or_else(|| Self::decode(&repaired.joined, keys))
        })
    }

    /// Decodes and verifies; `None` if none of our keys signed it. What was appended after a `_` or
    /// `-`, as Markdown does, is not part of the token: only old tokens contain them.
    pub fn decode(text: &str, keys: &Keys) -> Option<Self> {
        Self::read(text, |key, message, tag| {
            keys.verify(key, Purpose::Link, message, tag)
        })
    }

    /// What a token says that none of our keys signed. Anybody can write one, so nothing may rest
    /// on it: it tells operators what somebody looked for.
    pub fn claimed(text: &str) -> Option<Self> {
        Self::read(text, |_, _, _| true)
    }

    fn read(text: &str, is_signed: impl FnOnce(u8, &[u8], &[u8]) -> bool) -> Option<Self> {
        let text = match text.starts_with(['4', '5']) {
            true => text.split(['_', '-']).next()?,
            false => text,
        };
        if text.len() > MAX_CHARS {
            return None;
        }
        let mut buffer = [0_u8; MAX_CHARS];
        let (length, version) = match text.as_bytes().first()? {
            b'4' | b'5' => (base32(text.as_bytes(), &mut buffer)?, VERSION),
            b'E'..=b'H' => {
                let length = URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).ok()?;
                (length, OLD_VERSION)
            }
            _ => return None,
        };
        let (message, tag) = buffer[..length].split_at_checked(length.checked_sub(TAG_BYTES)?)?;
        let (&first, mut rest) = message.split_first()?;
        if first >> 4 != version || !is_signed(first & 0x0f, message, tag) {
            return None;
        }
        let rest = &mut rest;
        let (delivery, broadlog, link, minute) =
            (varint(rest)?, varint(rest)?, varint(rest)?, varint(rest)?);
        rest.is_empty().then_some(Self {
            delivery_id: DeliveryId(delivery),
            broadlog_id: BroadlogId(broadlog),
            link_id: (link != 0).then_some(LinkId(link)),
            sent_minute: (minute != 0).then_some(minute + TOKEN_EPOCH_MINUTES),
        })
    }
}

/// Writes bytes, five bits a character; the last is filled up with zeros.
fn put_base32(bytes: &[u8], text: &mut String) {
    let (mut bits, mut count) = (0_u32, 0);
    let mut put = |value: u32| text.push(char::from(ALPHABET[(value & 31) as usize]));
    for byte in bytes {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            put(bits >> count);
        }
    }
    if count > 0 {
        put(bits << (5 - count));
    }
}

/// Reads what [`put_base32`] wrote, and how many bytes that is; `None` for anything else.
fn base32(text: &[u8], bytes: &mut [u8; MAX_CHARS]) -> Option<usize> {
    let (mut bits, mut count, mut length) = (0_u32, 0, 0);
    for character in text {
        let value = BITS[usize::from(*character)];
        if value == NONE {
            return None;
        }
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(length)? = (bits >> count) as u8;
            length += 1;
        }
    }
    // Neither a whole character more than is needed, nor bits of another token.
    (count < 5 && bits & ((1 << count) - 1) == 0).then_some(length)
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return i64::try_from(value).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;

    use super::*;

    /// What thirteen programs that find links in plain text make of ours, with these texts behind
    /// them: each leaves none or something of the text behind the token. Seen with the versions of
    /// November 2026.
    const AUTOLINKERS: &str = include_str!("../../../tests/cases/native/autolinkers.tsv");

    fn decoded(text: &str) -> String {
        percent_decode_str(text).decode_utf8_lossy().into_owned()
    }

    fn escaped(text: &str) -> String {
        let escape = |byte: u8| format!("%{byte:02x}");
        text.bytes().map(escape).collect()
    }

    #[test]
    fn ten_thousand_tokens_survive_what_texts_and_programs_do_to_them() {
        let keys = keys();
        let rows: Vec<Vec<&str>> = AUTOLINKERS
            .lines()
            .skip(1)
            .map(|line| line.split('\t').collect())
            .collect();
        let linkers: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
        let tails: BTreeSet<&str> = rows.iter().map(|row| row[1]).collect();
        assert!(linkers.len() >= 12 && tails.len() >= 12);
        let mut rows = rows.iter().cycle();
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let numbers = (
            1..1_i64 << 40,
            1..1_i64 << 40,
            1..1_i64 << 40,
            0..1_i64 << 25,
        );
        for _ in 0..10_000 {
            let (delivery, broadlog, link, minute) =
                numbers.new_tree(&mut runner).unwrap().current();
            let token = LinkToken {
                delivery_id: DeliveryId(delivery),
                broadlog_id: BroadlogId(broadlog),
                link_id: Some(LinkId(link)),
                sent_minute: (minute != 0).then_some(minute + TOKEN_EPOCH_MINUTES),
            };
            let text = token.encode(&keys);
            // A line that ends in quoted-printable's `=`, which a careless reader leaves there.
            let (start, end) = text.split_at(9);
            let mut all = vec![
                text.to_uppercase(),
                text.to_lowercase(),
                escaped(&text),
                escaped(&text.to_uppercase()),
                format!("{text}="),
                format!("{start}=\r\n{end}"),
            ];
            for row in rows.by_ref().take(3) {
                let behind = decoded(row[2]);
                all.push(format!("{text}{behind}"));
                all.push(format!("{}{behind}", text.to_uppercase()));
            }
            for mangled in all {
                let found = LinkToken::find(&decoded(&mangled), &keys);
                assert_eq!(found, Some(token), "{text} as {mangled:?}");
            }
        }
    }

    fn keys() -> Keys {
        Keys::parse(&["7:0123456789abcdef0123456789abcdef".to_owned()]).unwrap()
    }

    proptest! {
        #[test]
        fn a_token_comes_back(delivery in 0..=i64::MAX, broadlog in 0..=i64::MAX, link in 0..=i64::MAX, minute in 1_i64..1 << 31) {
            let token = LinkToken {
                delivery_id: DeliveryId(delivery),
                broadlog_id: BroadlogId(broadlog),
                link_id: (link != 0).then_some(LinkId(link)),
                sent_minute: Some(TOKEN_EPOCH_MINUTES + minute),
            };
            prop_assert_eq!(LinkToken::decode(&token.encode(&keys()), &keys()), Some(token));
        }

        #[test]
        fn no_text_panics_or_passes(text in "\\PC{0,80}") {
            prop_assert_eq!(LinkToken::decode(&text, &keys()), None);
            prop_assert_eq!(LinkToken::decode(&format!("4{text}"), &keys()), None);
        }
    }

    /// The same but for case and characters that look alike.
    fn is_alike(a: &str, b: &str) -> bool {
        let plain = |text: &str| {
            let text = text.to_ascii_lowercase().replace('o', "0");
            text.replace(['i', 'l'], "1")
        };
        plain(a) == plain(b)
    }

    #[test]
    fn a_token_survives_a_change_of_case_and_of_what_looks_alike() {
        for broadlog in 1..400 {
            let token = LinkToken {
                delivery_id: DeliveryId(7_471_011),
                broadlog_id: BroadlogId(broadlog * 7_919),
                link_id: Some(LinkId(broadlog)),
                sent_minute: Some(TOKEN_EPOCH_MINUTES + 460_000),
            };
            let text = token.encode(&keys());
            assert!(text.starts_with('4') && text.bytes().all(|b| b.is_ascii_alphanumeric()));
            let upper = text.to_uppercase();
            let alike = text.replace('0', "O").replace('1', "l");
            let underlined = format!("{text}_and more-");
            for text in [&text, &upper, &alike, &underlined] {
                assert_eq!(LinkToken::decode(text, &keys()), Some(token), "{text}");
            }
            for text in [
                format!("%3C{text}%3E."),
                format!("%{:x}{}", b'4', &text[1..]),
            ] {
                assert_eq!(LinkToken::find(&text, &keys()), Some(token), "{text}");
            }
            for changed in [
                format!("{text}0"),
                format!("{text}00"),
                text[1..].to_owned(),
            ] {
                assert_eq!(LinkToken::decode(&changed, &keys()), None, "{changed}");
            }
        }
    }

    /// As mails that were sent have them.
    #[test]
    fn tokens_of_before_keep_working() {
        let mut bytes = vec![OLD_VERSION << 4 | 7];
        for value in [4_711, 1_000_000, 815, 460_000] {
            put_varint(&mut bytes, value);
        }
        let tag = keys().sign(Purpose::Link, &bytes);
        bytes.extend_from_slice(&tag);
        let old = URL_SAFE_NO_PAD.encode(&bytes);
        let token = LinkToken::decode(&old, &keys()).unwrap();
        assert_eq!(
            (token.delivery_id, token.broadlog_id),
            (DeliveryId(4_711), BroadlogId(1_000_000))
        );
        assert_eq!(token.sent_minute, Some(TOKEN_EPOCH_MINUTES + 460_000));
        // The same bytes in the other alphabet are no token.
        let mut text = String::new();
        put_base32(&bytes, &mut text);
        assert_eq!(LinkToken::decode(&text, &keys()), None);
    }

    #[test]
    fn one_character_or_bit_changed_is_no_token() {
        let token = LinkToken {
            delivery_id: DeliveryId(4_711),
            broadlog_id: BroadlogId(1_000_000),
            link_id: Some(LinkId(815)),
            sent_minute: Some(TOKEN_EPOCH_MINUTES + 460_000),
        };
        let text = token.encode(&keys());
        assert_eq!(text.len(), 31, "{text}");
        for (index, _) in text.char_indices() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                if let Ok(changed) = String::from_utf8(bytes)
                    && !is_alike(&changed, &text)
                {
                    assert_eq!(LinkToken::decode(&changed, &keys()), None, "{changed}");
                }
            }
        }
    }
}

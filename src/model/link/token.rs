//! The token in `/r/<token>` and `/o/<token>.gif`: about 30 characters of base64url without
//! padding.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | high half: format version, now 1; low half: number of the signing key |
//! | 1–9 each | delivery, broadlog, link as LEB128 varints; link 0 is the open pixel |
//! | 1–5 | minute of sending since 2026-01-01 as a varint; 0 unknown |
//! | 8 | HMAC-SHA-256 of all before it, truncated |
//!
//! One bit changed anywhere gives no token: the signature covers every byte, and base64 with stray
//! bits at its end is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId, LinkId};
use crate::model::keys::{Keys, Purpose, TAG_BYTES};

/// Minutes from the Unix epoch to 2026-01-01T00:00Z.
pub const TOKEN_EPOCH_MINUTES: i64 = 29_453_760;

const VERSION: u8 = 1;
/// 1 + 3 × 10 + 5 + 8 bytes, in base64.
const MAX_CHARS: usize = 60;

/// What a link says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkToken {
    /// Campaign.
    pub delivery_id: DeliveryId,
    /// Message.
    pub broadlog_id: BroadlogId,
    /// Destination; none in the open pixel.
    pub link_id: Option<LinkId>,
    /// Minutes since the Unix epoch at which the message was sent.
    pub sent_minute: Option<i64>,
}

/// Minutes that a mail is made ahead at most: a hundred days.
const MOST_AHEAD: i64 = 100 * 24 * 60;

impl LinkToken {
    /// Signs and encodes. Ids must not be negative.
    pub fn encode(&self, keys: &Keys) -> String {
        let mut text = String::with_capacity(MAX_CHARS);
        self.encode_into(keys, &mut text);
        text
    }

    /// Signs and encodes to the end of a text: a message has many links, and a sender many
    /// messages.
    pub fn encode_into(&self, keys: &Keys, text: &mut String) {
        let mut bytes = Vec::with_capacity(48);
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
        URL_SAFE_NO_PAD.encode_string(bytes, text);
    }

    /// Decodes and verifies; none for anything that no key of ours has signed.
    pub fn decode(text: &str, keys: &Keys) -> Option<Self> {
        if text.len() > MAX_CHARS {
            return None;
        }
        let mut buffer = [0_u8; MAX_CHARS];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).ok()?;
        let (message, tag) = buffer[..length].split_at_checked(length.checked_sub(TAG_BYTES)?)?;
        let (&first, mut rest) = message.split_first()?;
        if first >> 4 != VERSION || !keys.verify(first & 0x0f, Purpose::Link, message, tag) {
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

    /// Whether a hit at `at` comes within the minute of sending: faster than a mail is delivered
    /// and read. Or before: a mail may be made days ahead. Not months: then one of the clocks was
    /// wrong, and a mail that was made on a machine in 2038 is read by people.
    pub fn is_too_soon(&self, at: Micros) -> bool {
        self.sent_minute
            .is_some_and(|sent| (0..MOST_AHEAD).contains(&(sent - at.minutes())))
    }
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
    use proptest::prelude::*;

    use super::*;

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
        }
    }

    #[test]
    fn a_click_is_too_soon_before_the_mail_can_be_read_but_not_years_before() {
        let token = LinkToken {
            delivery_id: DeliveryId(1),
            broadlog_id: BroadlogId(1),
            link_id: None,
            sent_minute: Some(TOKEN_EPOCH_MINUTES + 1_000_000),
        };
        for (ahead, is_too_soon) in [
            (0, true),
            (-1, false),
            (3 * 24 * 60, true),
            (12 * 365 * 24 * 60, false),
        ] {
            let minute = TOKEN_EPOCH_MINUTES + 1_000_000 - ahead;
            let at = Micros(minute * 60 * Micros::SECOND + 1);
            assert_eq!(token.is_too_soon(at), is_too_soon, "{ahead}");
        }
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
        assert!(text.len() <= 32, "{} characters", text.len());
        for (index, _) in text.char_indices() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[index] ^= 1 << bit;
                if let Ok(changed) = String::from_utf8(bytes) {
                    assert_eq!(LinkToken::decode(&changed, &keys()), None, "{changed}");
                }
            }
        }
    }
}

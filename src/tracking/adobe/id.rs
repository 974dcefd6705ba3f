//! The ids of Adobe's links: `h617791,71ffa3,71ffa8`.
//!
//! One letter for the content type, then broadlog, delivery and link as the unsigned hex of a
//! 32-bit or a 64-bit integer, in any case; a broadlog may also be a UUID. Negative 32-bit ids
//! (they come after 2^31 messages) are written as their unsigned hex, so `fffffffb` is
//! 4,294,967,291 or -5: nobody can tell which from the text.

use uuid::Uuid;

/// An id field that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageId {
    /// Content type, lower case.
    pub letter: char,
    /// The message; `None` if it is 0, as in proofs.
    pub broadlog: Option<Broadlog>,
    /// The campaign as written, before the sign is known; `None` if it is 0.
    pub delivery: Option<u64>,
    /// What the message asks for.
    pub target: Target,
    /// Whether something around it was removed to read it.
    pub is_repaired: bool,
}

/// A message of Adobe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadlog {
    /// Its number as written.
    Number(u64),
    /// Its UUID: table `message_keys` knows it as `adobe:<uuid>`.
    Uuid(Uuid),
}

/// The third field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `1`: a mail's open pixel, or a push that was received.
    Open,
    /// `2`: a push that was tapped. There is no destination: the app opens its own.
    PushClick,
    /// A tracking URL.
    Link(u64),
}

/// The third field of a message that was shown: an impression. A link may have the number too.
pub const IMPRESSION: u64 = 7;

/// Reads an id field, decoded once.
pub fn read_id(text: &str) -> Option<MessageId> {
    // A scanner may have escaped it twice.
    let twice;
    let unescaped = if text.contains('%') {
        twice = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
        &*twice
    } else {
        text
    };
    // A mail program that makes links of text takes the full stop, bracket or quote around it
    // along, and more: the id ends where something else begins.
    let start = unescaped.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let end = start.find(|c: char| !c.is_ascii_alphanumeric() && c != ',' && c != '-');
    let whole = start[..end.unwrap_or(start.len())].trim_end_matches([',', '-']);
    let mut chars = whole.chars();
    let letter = chars.next().filter(char::is_ascii_alphabetic)?;
    let mut fields = chars.as_str().split(',');
    let (broadlog, delivery, link) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() {
        return None;
    }
    let delivery = read_signed_hex(delivery)?;
    Some(MessageId {
        letter: letter.to_ascii_lowercase(),
        broadlog: read_broadlog(broadlog)?,
        delivery: (delivery != 0).then_some(delivery),
        target: match read_hex(link)? {
            1 => Target::Open,
            2 => Target::PushClick,
            id => Target::Link(id),
        },
        is_repaired: whole != text,
    })
}

/// A message's number or UUID; the inner `None` if it is 0.
pub(super) fn read_broadlog(text: &str) -> Option<Option<Broadlog>> {
    if text.len() == 36 && text.as_bytes()[8] == b'-' {
        return Uuid::try_parse(text)
            .ok()
            .map(|id| Some(Broadlog::Uuid(id)));
    }
    read_signed_hex(text).map(|id| (id != 0).then_some(Broadlog::Number(id)))
}

/// [`read_hex`], or the same after a minus sign, as some SDKs write numbers above 2^31: the
/// unsigned hex that Adobe itself would write.
fn read_signed_hex(text: &str) -> Option<u64> {
    let Some(digits) = text.strip_prefix('-') else {
        return read_hex(text);
    };
    let number = i64::try_from(read_hex(digits)?).ok()?;
    // As the readings of 32 bits have it, where it fits.
    Some(match u32::try_from(number) {
        Ok(small) if small <= 1 << 31 => u64::from(small.wrapping_neg()),
        _ => number.wrapping_neg() as u64,
    })
}

/// Up to 64 bits of hex, in any case; leading zeros do not count.
pub fn read_hex(text: &str) -> Option<u64> {
    let digits = text.trim_start_matches('0');
    let is_hex = !text.is_empty() && text.len() <= 32;
    if digits.is_empty() && is_hex {
        return Some(0);
    }
    (is_hex && digits.len() <= 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// The numbers that a written id may be, likeliest first.
pub fn readings(id: u64) -> impl Iterator<Item = i64> + Clone {
    let positive = i64::try_from(id).ok();
    let negative = if positive.is_none() {
        Some(id as i64)
    } else {
        u32::try_from(id)
            .ok()
            .map(|id| id as i32)
            .filter(|id| *id < 0)
            .map(i64::from)
    };
    positive.into_iter().chain(negative)
}

/// The likeliest number of a written id.
pub(super) fn likeliest(id: u64) -> i64 {
    readings(id).next().unwrap_or(id as i64)
}

/// The content type of a letter.
pub(super) fn content_type(letter: char) -> Option<&'static str> {
    Some(match letter {
        'h' => "html",
        't' => "text",
        's' => "sms",
        'a' => "android",
        'i' => "ios",
        'l' => "line",
        'f' => "facebook",
        'p' => "pdf",
        'm' => "mms",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;

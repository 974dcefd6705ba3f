//! Mautic: imported links and opens, the payloads `ct` and `d`, and the ids of its cookies
//! (`tests/cases/mautic/PROTOCOL.md`). The pixel's and the script's parameters are our own
//! vocabulary ([`super::native`]); a hit is called Mautic's where something came that only Mautic's
//! mails, pages and apps send, so `dialect` tells what still has to be changed after a move.
//!
//! `ct` and `d` are urlencode(base64(serialize(array))), unsigned. `ct` ("click-through") names the
//! message: its tracking hash goes to the projection, which knows the message where it was
//! imported; it is never proof ([`Provenance::Unsigned`]), and in the address of a page, which
//! people copy, it names nobody in a browser that is known. What cannot be read is noted, kept and
//! otherwise as if it were not there.

pub mod form;
pub mod php;

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value as Json};

use self::php::{ArrayKey, Value};
use super::Rules;
use super::message::message_hit;
use crate::model::hit::{DeliveryId, Dialect, Hit, Kind, Limit, Provenance, clean};
use crate::model::link::{is_whole_name, repair_name};
use crate::tracking::inbound::Inbound;

/// Characters of a link's id.
const REDIRECT_CHARS: usize = 25;
/// Longest `ct` and `d` in base64.
const MOST_PAYLOAD: usize = 32 << 10;
/// Values in a `ct`; Mautic's have ten.
const MOST_IN_CT: usize = 64;
/// Values in a `d`.
const MOST_IN_D: usize = 1_000;
/// Characters of a key in either.
const MOST_KEY: Limit = Limit(100);

/// Keys of a `ct`, in full and as newer versions of Mautic shorten them.
const SHORT_KEYS: [(&str, &str); 6] = [
    ("e", "email"),
    ("s", "source"),
    ("st", "stat"),
    ("l", "lead"),
    ("c", "channel"),
    ("ut", "utmTags"),
];
/// The same for the campaign parameters in it.
const UTM_KEYS: [(&str, &str); 4] = [
    ("us", "utm_source"),
    ("um", "utm_medium"),
    ("uc", "utm_campaign"),
    ("ucon", "utm_content"),
];

/// Padding may be lost, and bits in the last character may stray.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Where a `ct` stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In the request: the link in the mail itself, or a pixel made for this reader.
    InRequest,
    /// In the URL of the page, which may have been passed on.
    InPageUrl,
}

/// Whether a link's name is one of Mautic's: 25 hexadecimal digits.
pub fn is_redirect_id(name: &str) -> bool {
    name.len() == REDIRECT_CHARS && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a click on an imported link carries besides the click. Returns the query that is passed on
/// to the page: all of it but `ct`, which is for us and identifies a person. Parameters that
/// somebody appended to it are the page's.
pub fn take_click<'q>(hit: &mut Hit, query: &'q str) -> Cow<'q, str> {
    hit.dialect = Dialect::Mautic;
    let is_ct = |pair: &str| pair.split('=').next() == Some("ct");
    if !query.split('&').any(is_ct) {
        return Cow::Borrowed(query);
    }
    let (mut rest, mut is_read) = (String::with_capacity(query.len()), false);
    let mut pass_on = |pair: &str| {
        if !rest.is_empty() {
            rest.push('&');
        }
        rest.push_str(pair);
    };
    for pair in query.split('&') {
        if !is_ct(pair) {
            pass_on(pair);
            continue;
        }
        let (_, ct) = decoded_pair(pair);
        // Of several the first counts, and none of them goes on.
        if is_read || ct.is_empty() {
            continue;
        }
        is_read = true;
        for (name, value) in take_click_through(hit, &ct, Found::InRequest) {
            let pair = form_urlencoded::Serializer::new(String::new())
                .append_pair(&name, &value)
                .finish();
            pass_on(&pair);
        }
    }
    Cow::Owned(rest)
}

fn decoded_pair(pair: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    form_urlencoded::parse(pair.as_bytes())
        .next()
        .unwrap_or_default()
}

/// `/email/<hash>.gif`: an open of the message with this tracking hash; `None` if the name cannot
/// be a hash.
pub fn open(inbound: &Inbound<'_>, rules: &Rules, hash: &str) -> Option<Hit> {
    named(inbound, rules, Kind::Open, hash)
}

/// `/email/unsubscribe/<hash>`: an opt-out from that message, whatever mail programs have put
/// around the hash; `None` if there is none.
pub fn opt_out(inbound: &Inbound<'_>, rules: &Rules, hash: &str) -> Option<Hit> {
    let repaired = repair_name(hash);
    let hash = match &repaired {
        Some(repaired) if !is_whole_name(hash) => &repaired.name,
        _ => hash,
    };
    named(inbound, rules, Kind::Optout, hash)
}

/// A hit of the message with a tracking hash.
fn named(inbound: &Inbound<'_>, rules: &Rules, kind: Kind, hash: &str) -> Option<Hit> {
    let key = message_key(hash)?;
    let mut hit = message_hit(inbound, rules, kind, None);
    hit.dialect = Dialect::Mautic;
    hit.foreign_mut().message_key = Some(key);
    Some(hit)
}

/// The name that imported messages have.
fn message_key(hash: &str) -> Option<String> {
    let is_hash =
        (5..=64).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_hash.then(|| format!("mautic:{hash}"))
}

/// Reads a `ct`: the message if nothing signed has named one, the campaign if nothing has named
/// any. All of it is kept in `extra`. Returns the parameters that follow it.
pub fn take_click_through(hit: &mut Hit, ct: &str, found: Found) -> Vec<(String, String)> {
    hit.dialect = Dialect::Mautic;
    let payloads = Payload::readings(ct);
    let Some(Contents {
        entries,
        behind,
        is_repaired,
    }) = payloads.iter().find_map(|p| p.read(MOST_IN_CT))
    else {
        hit.refuse("ct", ct, "not readable");
        return Vec::new();
    };
    if is_repaired {
        hit.note("ct repaired");
    }
    for (name, value) in &behind {
        // What stands openly in the address counts before what the template said in the payload.
        match found {
            Found::InRequest => {
                hit.take_utm(name, value);
            }
            Found::InPageUrl => hit.take_utm_if_none(name, value),
        }
    }
    let get = |name: &str| {
        let of_name = |key: &ArrayKey<'_>| matches!(key, ArrayKey::Text(key) if full_name(&SHORT_KEYS, key) == name);
        let found = entries.iter().rev().find(|(key, _)| of_name(key));
        found.map(|(_, value)| value)
    };
    let stat = get("stat")
        .and_then(Value::text)
        .and_then(|hash| message_key(&hash));
    let has_message = hit.broadlog_id.is_some() || hit.message_key().is_some();
    let is_free = matches!(hit.provenance, Provenance::None | Provenance::Claimed);
    if let Some(key) = stat.filter(|_| is_free && !has_message) {
        let foreign = hit.foreign_mut();
        foreign.message_key = Some(key);
        foreign.is_from_page = found == Found::InPageUrl;
    }
    if hit.delivery_id.is_none() && hit.provenance == Provenance::None {
        let delivery = get("email").and_then(number).or_else(|| {
            let channel = get("channel")?;
            entry(channel, "email").and_then(number)
        });
        if let Some(id) = delivery {
            hit.delivery_id = Some(DeliveryId(id));
            hit.provenance = Provenance::Claimed;
        }
    }
    if let Some(Value::Array(tags)) = get("utmTags") {
        for (key, value) in tags {
            if let (ArrayKey::Text(key), Some(value)) = (key, value.text()) {
                hit.take_utm_if_none(full_name(&UTM_KEYS, key), &value);
            }
        }
    }
    let kept: Map<String, Json> = entries
        .iter()
        .map(|(key, value)| {
            let name = match key {
                ArrayKey::Text(key) => full_name(&SHORT_KEYS, key).to_owned(),
                ArrayKey::Int(number) => number.to_string(),
            };
            let name = hit.take("ct", &name, MOST_KEY).unwrap_or_default();
            (name, json(hit, value))
        })
        .collect();
    if hit.extra.as_ref().is_none_or(|extra| extra.len() < 200) {
        let extra = hit.extra.get_or_insert_default();
        extra.insert("ct".to_owned(), Json::Object(kept));
    } else {
        hit.note("extra cut");
    }
    behind
}

/// The parameters in a `d`, in order, nested arrays as `name[key]`; `None` if it cannot be read.
pub fn read_parameters(hit: &mut Hit, d: &str) -> Option<Vec<(String, String)>> {
    hit.dialect = Dialect::Mautic;
    let payloads = Payload::readings(d);
    let Some(Contents {
        entries,
        behind,
        is_repaired,
    }) = payloads.iter().find_map(|p| p.read(MOST_IN_D))
    else {
        hit.refuse("d", d, "not readable");
        return None;
    };
    if is_repaired {
        hit.note("d repaired");
    }
    let mut parameters = Vec::with_capacity(entries.len());
    for (key, value) in &entries {
        let name = match key {
            ArrayKey::Text(name) => name.clone(),
            ArrayKey::Int(number) => Cow::Owned(number.to_string()),
        };
        match value {
            Value::Array(tags) if name == "tags" => {
                let tags: Vec<_> = tags.iter().filter_map(|(_, tag)| tag.text()).collect();
                parameters.push((name.into_owned(), tags.join(",")));
            }
            _ => flatten(&name, value, &mut parameters),
        }
    }
    parameters.extend(behind);
    Some(parameters)
}

fn flatten(name: &str, value: &Value<'_>, parameters: &mut Vec<(String, String)>) {
    if let Some(text) = value.text() {
        parameters.push((name.to_owned(), text.into_owned()));
    }
    if let Value::Array(entries) = value {
        // Cut, so that many values under a long name do not make it many times.
        let (name, _) = clean(name, MOST_KEY);
        for (key, value) in entries {
            let name = match key {
                ArrayKey::Int(number) => format!("{name}[{number}]"),
                ArrayKey::Text(key) => format!("{name}[{key}]"),
            };
            flatten(&name, value, parameters);
        }
    }
}

/// A `ct` or `d`, URL-decoded once.
struct Payload<'t> {
    /// The value, without a second URL-encoding.
    text: Cow<'t, [u8]>,
    bytes: Vec<u8>,
    /// Padding was lost, plus signs were spaces or the other alphabet was used, or it was
    /// URL-encoded twice.
    is_repaired: bool,
}

/// What a payload says.
struct Contents<'p> {
    entries: Vec<(ArrayKey<'p>, Value<'p>)>,
    /// Names and values that follow it.
    behind: Vec<(String, String)>,
    is_repaired: bool,
}

impl<'t> Payload<'t> {
    /// The ways to read a text, likeliest first: what follows the padding is no part of it; or
    /// equals signs are what line ends of a mail left behind.
    fn readings(text: &'t str) -> Vec<Self> {
        if text.len() > MOST_PAYLOAD {
            return Vec::new();
        }
        let text: Cow<'_, [u8]> = if text.contains('%') {
            percent_encoding::percent_decode_str(text).into()
        } else {
            Cow::Borrowed(text.as_bytes())
        };
        let (padding, end) = (memchr::memchr(b'=', &text), text.len());
        let first = Self::of(text.clone(), padding.unwrap_or(end));
        let is_more = padding.is_some_and(|at| text[at..].iter().any(|b| digit(*b).is_some()));
        let second = is_more.then(|| Self::of(text, end)).flatten();
        first.into_iter().chain(second).collect()
    }

    /// Reads up to `end`, or to the first character that has no place in a payload.
    fn of(text: Cow<'t, [u8]>, end: usize) -> Option<Self> {
        let mut is_repaired = matches!(text, Cow::Owned(_));
        let mut digits = Vec::with_capacity(end);
        for &byte in &text[..end] {
            match digit(byte) {
                Some(digit) => {
                    is_repaired |= digit != byte;
                    digits.push(digit);
                }
                None if byte == b'=' => {}
                None if is_line_end(byte) => is_repaired = true,
                None => break,
            }
        }
        let padding = text.iter().filter(|byte| **byte == b'=').count();
        is_repaired |= !(digits.len() + padding).is_multiple_of(4);
        if digits.len() % 4 == 1 {
            // Six bits are no byte: a character of what follows.
            digits.pop();
        }
        let bytes = BASE64.decode(digits).ok()?;
        Some(Self {
            text,
            bytes,
            is_repaired,
        })
    }

    /// The array that the payload begins with.
    fn read(&self, most_values: usize) -> Option<Contents<'_>> {
        let (Value::Array(entries), end) = php::decode_start(&self.bytes, most_values).ok()? else {
            return None;
        };
        let behind = self.behind(end);
        Some(Contents {
            entries,
            is_repaired: self.is_repaired || !behind.is_empty(),
            behind: parameters_behind(&String::from_utf8_lossy(behind)),
        })
    }

    /// The text after so many bytes and their padding.
    fn behind(&self, bytes: usize) -> &[u8] {
        let count = (bytes * 4).div_ceil(3);
        let mut digits = self.text.iter().enumerate();
        let mut digits = digits
            .by_ref()
            .filter(|(_, byte)| digit(**byte).is_some())
            .map(|(at, _)| at);
        let last = count.checked_sub(1).and_then(|last| digits.nth(last));
        let behind = &self.text[last.map_or(0, |last| last + 1)..];
        let padding = behind.iter().take(2).take_while(|byte| **byte == b'=');
        &behind[padding.count()..]
    }
}

/// A digit of base64 for a byte of a payload.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b' ' | b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        b'+' | b'/' => Some(byte),
        plain => plain.is_ascii_alphanumeric().then_some(plain),
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b'\t')
}

/// Parameters that a template appended to a payload with a second question mark; `None` for any
/// other text.
fn parameters_behind(text: &str) -> Vec<(String, String)> {
    let Some(query) = text.strip_prefix(['?', '&']) else {
        return Vec::new();
    };
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| !name.is_empty())
        .take(MOST_IN_CT)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn full_name<'k>(names: &[(&str, &'static str)], key: &'k str) -> &'k str {
    names
        .iter()
        .find_map(|(short, full)| (*short == key).then_some(*full))
        .unwrap_or(key)
}

fn entry<'v, 'a>(value: &'v Value<'a>, name: &str) -> Option<&'v Value<'a>> {
    let Value::Array(entries) = value else {
        return None;
    };
    let of_name = |key: &ArrayKey<'_>| matches!(key, ArrayKey::Text(key) if key == name);
    let found = entries.iter().rev().find(|(key, _)| of_name(key));
    found.map(|(_, value)| value)
}

/// An id: a number above zero, also as text.
fn number(value: &Value<'_>) -> Option<i64> {
    value.text()?.trim().parse().ok().filter(|id| *id > 0)
}

/// A value as `extra` keeps it; lists are arrays, everything else with keys is an object.
fn json(hit: &mut Hit, value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(is) => Json::Bool(*is),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) if number.is_finite() => Json::from(*number),
        Value::Array(entries) => {
            let is_list = (0..)
                .zip(entries)
                .all(|(index, (key, _))| *key == ArrayKey::Int(index));
            if is_list {
                entries.iter().map(|(_, value)| json(hit, value)).collect()
            } else {
                let fields = entries.iter().map(|(key, value)| {
                    let name = match key {
                        ArrayKey::Int(number) => number.to_string(),
                        ArrayKey::Text(key) => hit.take("ct", key, MOST_KEY).unwrap_or_default(),
                    };
                    (name, json(hit, value))
                });
                Json::Object(fields.collect())
            }
        }
        text => {
            let text = text.text().unwrap_or_default();
            Json::String(hit.take("ct", &text, Limit::TITLE).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests;

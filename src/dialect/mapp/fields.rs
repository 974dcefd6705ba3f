//! `p`: comma-separated fields, whose own commas are percent-encoded.

use std::borrow::Cow;

use super::parameters::decode_bytes;
use crate::clock::Micros;
use crate::hit::{Hit, Limit};

/// Places in `p`.
const VERSION: usize = 0;
const PAGE: usize = 1;
const TIME: usize = 6;
const REFERRER: usize = 7;
/// What has no column, by its place, and its name in `extra`.
const NAMED: [(usize, &str); 6] = [
    (VERSION, "pixel_version"),
    (2, "javascript"),
    (3, "screen"),
    (4, "color_depth"),
    (5, "cookies"),
    (8, "window"),
];
const JAVA: usize = 9;
/// Fields that have a meaning; pixels of the wild send one more.
const KNOWN: usize = 10;
const MOST_UNSAID: usize = 11;

/// The fields. Raw commas part them, and each is then decoded; without a raw comma but with `%2C` the whole was encoded once more.
pub fn split(p: &[u8]) -> Vec<Cow<'_, str>> {
    let has_comma = memchr::memchr(b',', p).is_some();
    if !has_comma && p.windows(3).any(|part| part.eq_ignore_ascii_case(b"%2c")) {
        let whole = decode_bytes(p).into_owned();
        return whole
            .split(',')
            .map(|field| Cow::Owned(field.to_owned()))
            .collect();
    }
    p.split(|byte| *byte == b',').map(decode_bytes).collect()
}

/// A field that says something: a missing one is empty or `0`.
fn said<'f>(fields: &'f [Cow<'_, str>], place: usize) -> Option<&'f str> {
    let field = fields.get(place)?.trim();
    (!field.is_empty() && field != "0").then_some(field)
}

/// Takes `p` into a hit. The client's clock is believed where its sender is: else it would move hits between hours.
pub fn take(hit: &mut Hit, p: &[u8], is_trusted: bool) {
    let fields = split(p);
    if let Some(page) = said(&fields, PAGE) {
        hit.page_title = hit.take("page name", page, Limit::TITLE);
        if page.chars().count() > Limit::TITLE.0 {
            hit.keep("page_name", page);
        }
    }
    for (place, name) in NAMED {
        if let Some(value) = said(&fields, place) {
            hit.keep(name, value);
        }
    }
    if let Some(value) = said(&fields, JAVA) {
        hit.keep("java", value);
    }
    if let Some(time) = said(&fields, TIME) {
        match milliseconds(time) {
            Some(at) if is_trusted && at <= hit.received_at => hit.occurred_at = Some(at),
            Some(_) => hit.keep("client_time", time),
            None => {
                hit.note("client time is no time");
                hit.keep("client_time", time);
            }
        }
    }
    match said(&fields, REFERRER) {
        None => {}
        Some("1") => hit.keep("referrer", "own domain"),
        Some("2") => hit.keep("referrer", "follow-up request"),
        Some(url) => hit.referrer = hit.take("referrer", url, Limit::URL),
    }
    if fields.len() > KNOWN {
        let rest = fields[KNOWN..].join(",");
        if !rest.trim_matches([',', '0', ' ']).is_empty() {
            hit.keep("p_rest", &rest);
        }
        if fields.len() > MOST_UNSAID {
            hit.note("p has too many fields");
        }
    }
}

/// 13 digits: milliseconds since 1970.
fn milliseconds(text: &str) -> Option<Micros> {
    let is_plain = text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_digit());
    let time: i64 = is_plain.then(|| text.parse().ok())??;
    Some(Micros(time * 1_000))
}

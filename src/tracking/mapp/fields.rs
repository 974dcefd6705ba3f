//! `p`: comma-separated fields, whose own commas are percent-encoded.

use std::borrow::Cow;

use super::parameters::decode_bytes;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, Limit, clean_bytes};

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

/// The fields of `p`.
#[derive(Debug, PartialEq, Eq)]
pub struct Fields<'p> {
    /// Those that have a meaning, in their places.
    pub known: Vec<Cow<'p, str>>,
    /// What follows them, in one piece: there may be thousands.
    pub rest: Option<Cow<'p, str>>,
    /// More than one field follows.
    pub are_too_many: bool,
}

/// Raw commas separate the fields, and each is then decoded; without a raw comma but with `%2C` the
/// whole was encoded once more.
pub fn split(p: &[u8]) -> Fields<'_> {
    let has_comma = memchr::memchr(b',', p).is_some();
    if !has_comma && p.windows(3).any(|part| part.eq_ignore_ascii_case(b"%2c")) {
        let whole = decode_bytes(p);
        return part(whole.as_bytes(), |field| {
            Cow::Owned(clean_bytes(field).into_owned())
        });
    }
    part(p, decode_bytes)
}

fn part<'p, 't>(p: &'t [u8], read: impl Fn(&'t [u8]) -> Cow<'p, str>) -> Fields<'p> {
    let mut fields = p.splitn(KNOWN + 1, |byte| *byte == b',');
    let known = fields.by_ref().take(KNOWN).map(&read).collect();
    let rest = fields.next();
    Fields {
        known,
        rest: rest.map(read),
        are_too_many: rest.is_some_and(|rest| memchr::memchr(b',', rest).is_some()),
    }
}

/// A field with content: a missing one is empty or `0`.
fn said<'f>(fields: &'f [Cow<'_, str>], place: usize) -> Option<&'f str> {
    let field = fields.get(place)?.trim();
    (!field.is_empty() && field != "0").then_some(field)
}

/// Reads `p` into a hit. The client's clock is trusted only if its sender is: else it would move
/// hits between hours.
pub fn take(hit: &mut Hit, p: &[u8], is_trusted: bool) {
    let Fields {
        known: fields,
        rest,
        are_too_many,
    } = split(p);
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
        Some(url) => hit.referrer = hit.take_url("referrer", url),
    }
    if let Some(rest) = rest {
        if !rest.trim_matches([',', '0', ' ']).is_empty() {
            hit.keep("p_rest", &rest);
        }
        if are_too_many {
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

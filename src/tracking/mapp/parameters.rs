//! The parameters of one hit: names and values, decoded but for `p`, whose commas have to be seen
//! first.

use std::borrow::Cow;
use std::collections::HashSet;

use percent_encoding::percent_decode;

use crate::model::hit::{clean_bytes, plain_pair};
use crate::tracking::{MOST_PARAMETERS, address_with_plus};

/// Prefix of a value that the pixel obfuscates (its option `parameterObfuscation`).
const HIDDEN: &str = "__1_";

/// The parameter with the visitor's email address, which keeps its plus.
const ADDRESS: &[u8] = b"uc700";

/// Name and value.
type Pair<'q> = (Cow<'q, str>, Cow<'q, str>);

/// Parameters in the order of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters<'q> {
    /// `p` as it came.
    p: Option<&'q [u8]>,
    pairs: Vec<Pair<'q>>,
    /// Some were left out.
    pub is_cut: bool,
}

impl<'q> Parameters<'q> {
    /// Reads a query.
    pub fn read(query: &'q [u8]) -> Self {
        let mut parameters = Self::default();
        for pair in query.split(|byte| *byte == b'&') {
            let pair = plain_pair(pair);
            if pair.is_empty() {
                continue;
            }
            let (name, value) = match memchr::memchr(b'=', pair) {
                Some(place) => (&pair[..place], &pair[place + 1..]),
                None => (pair, &[][..]),
            };
            if name == b"p" {
                if parameters.p.is_none() {
                    parameters.p = Some(value);
                    continue;
                }
            } else if value.is_empty() {
                continue;
            }
            if parameters.pairs.len() == MOST_PARAMETERS {
                parameters.is_cut = true;
                break;
            }
            let address = match name {
                ADDRESS => address_with_plus("email", pair),
                _ => None,
            };
            let name = decode_bytes(name);
            let value = address.map_or_else(|| decode_bytes(value), Cow::Owned);
            let value = reveal(&name, &value).map_or(value, Cow::Owned);
            parameters.pairs.push((name, value));
        }
        parameters
    }

    /// Adds parameters that are missing here from others.
    pub fn or(mut self, defaults: &Self) -> Self
    where
        Self: 'q,
    {
        self.p = self.p.or(defaults.p);
        if defaults.pairs.is_empty() {
            return self;
        }
        let own: HashSet<&str> = self.pairs.iter().map(|(name, _)| name.as_ref()).collect();
        let mut missing: Vec<Pair<'q>> = defaults
            .pairs
            .iter()
            .filter(|(name, _)| !own.contains(name.as_ref()))
            .cloned()
            .collect();
        let room = MOST_PARAMETERS.saturating_sub(self.pairs.len());
        self.is_cut |= defaults.is_cut || missing.len() > room;
        missing.truncate(room);
        self.pairs.extend(missing);
        self
    }

    /// `p`, not decoded.
    pub fn p(&self) -> Option<&'q [u8]> {
        self.p
    }

    /// The value of a name; the first if there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(had, _)| had == name)
            .map(|(_, value)| value.as_ref())
    }

    /// Names and values but `p`.
    pub fn pairs(&self) -> &[Pair<'q>] {
        &self.pairs
    }
}

/// A value without its percent codes; `+` is a space, as PHP and Java write it.
pub fn decode(value: &str) -> Cow<'_, str> {
    decode_bytes(value.as_bytes())
}

/// The same for bytes; invalid UTF-8 becomes U+FFFD, which the hit then notes.
pub fn decode_bytes(value: &[u8]) -> Cow<'_, str> {
    if !value.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return clean_bytes(value);
    }
    if memchr::memchr(b'+', value).is_none() {
        return match percent_decode(value).decode_utf8_lossy() {
            Cow::Borrowed(text) => Cow::Borrowed(text),
            Cow::Owned(text) => Cow::Owned(text),
        };
    }
    let spaced: Vec<u8> = value
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    Cow::Owned(percent_decode(&spaced).decode_utf8_lossy().into_owned())
}

/// What the pixel obfuscated: XORed with the parameter's name, then Base64 with `*`, `-` and `_`
/// for `/`, `+` and `=`.
fn reveal(name: &str, value: &str) -> Option<String> {
    use base64::Engine as _;
    let hidden = value.strip_prefix(HIDDEN)?;
    let base64: String = hidden
        .chars()
        .map(|c| match c {
            '_' => '=',
            '*' => '/',
            '-' => '+',
            c => c,
        })
        .collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(base64)
        .ok()?;
    if name.is_empty() {
        return None;
    }
    let plain: Vec<u8> = bytes
        .iter()
        .zip(name.bytes().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();
    // JavaScript's characters up to 255 became a byte each.
    Some(plain.into_iter().map(char::from).collect())
}

//! A link's name as it comes out of mail programs, chats and hands: with the full stop, bracket or
//! quote that stood behind it, with line ends and invisible characters, with letters escaped that
//! need not be.
//!
//! Names have letters, digits, `-` and `_` only, so that what is none of these was never part of
//! one: escapes are read, and the name ends at the first other character. A name without any other
//! is not looked at here.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::model::hit::plain_query;

/// How often a link may have been escaped.
const MOST_ESCAPES: usize = 3;
/// Longest name that is repaired; none that is whole is longer.
const MOST_NAME: usize = 2_000;

/// A name with something in or around it that does not belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Up to the first character that no name contains.
    pub name: String,
    /// All characters up to the end of the text that a name may contain, for a name that was broken
    /// in the middle: right only where it can be verified.
    pub joined: String,
    /// The text behind the name.
    pub behind: String,
}

/// Whether a text has only characters of a name.
pub fn is_whole_name(text: &str) -> bool {
    text.bytes().all(is_of_name)
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Finds the name in a text that is not a name as a whole; `None` if there is none.
pub fn repair_name(text: &str) -> Option<Repaired> {
    if text.len() > MOST_NAME {
        return None;
    }
    let mut bytes: Vec<u8> = text.as_bytes().to_vec();
    for _ in 0..MOST_ESCAPES {
        // Only as far as the name is hidden: what stands behind it is somebody else's, and keeps
        // its own escapes.
        let (_, behind) = split(&bytes);
        if behind.first() != Some(&b'%') {
            break;
        }
        bytes = percent_decode(&bytes).collect();
    }
    let (name, behind) = split(&bytes);
    if name.is_empty() {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let joined: Vec<u8> = bytes.iter().copied().filter(|b| is_of_name(*b)).collect();
    Some(Repaired {
        name: text(name),
        joined: text(&joined),
        behind: text(behind),
    })
}

/// The first run of a name's characters, and what follows it. An escape at the start may hide a
/// name's character.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let is_start = |byte: &u8| is_of_name(*byte) || *byte == b'%';
    let start = bytes.iter().position(is_start).unwrap_or(bytes.len());
    let rest = &bytes[start..];
    let length = rest.iter().take_while(|byte| is_of_name(**byte)).count();
    rest.split_at(length)
}

/// The query of an address whose parameters follow without `?`: `behind` begins with the character
/// that stands in its place, and what may be left of an `&amp;`; `query` is what followed a later
/// `?`.
pub fn query_behind<'q>(behind: &'q str, query: &'q str) -> Cow<'q, str> {
    let behind = match plain_query(behind.trim_start_matches(['?', '&'])) {
        Cow::Borrowed(plain) => Cow::Borrowed(plain.trim_start_matches('&')),
        Cow::Owned(plain) => Cow::Owned(plain.trim_start_matches('&').to_owned()),
    };
    match (behind.is_empty(), query.is_empty()) {
        (true, _) => Cow::Borrowed(query),
        (false, true) => behind,
        (false, false) => Cow::Owned(format!("{behind}&{query}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_ends_where_something_else_begins() {
        for behind in [
            ".",
            ",",
            ")",
            "]",
            ";",
            "*",
            "%3E",
            "%22",
            "%20",
            "%0D%0A",
            "%C2%A0",
            "%E2%80%8B",
            "\u{a0}",
            "\u{200b}",
            "/",
            "=",
            "%3D%3D",
            "\"",
            "'",
            "%2520",
            "%FF",
            "%",
            "%2",
            "...",
        ] {
            let text = format!("autumn_2{behind}");
            let repaired = repair_name(&text).unwrap();
            assert_eq!(repaired.name, "autumn_2", "{text}");
        }
    }

    #[test]
    fn escapes_of_a_names_characters_are_read() {
        for text in [
            "%61utumn",
            "autum%6E",
            "%61%75%74%75%6d%6E",
            "autu%6Dn.",
            "%2561utumn",
            "%3Cautumn%3E",
            "\"autumn\"",
            "%20autumn",
        ] {
            assert_eq!(repair_name(text).unwrap().name, "autumn", "{text}");
        }
        assert_eq!(repair_name("a%0D%0Ab%20c").unwrap().joined, "abc");
        assert_eq!(repair_name("%22%FF."), None);
        assert_eq!(repair_name(&"a.".repeat(2_000)), None);
    }

    #[test]
    fn an_escaped_query_stays_behind_the_name() {
        for (text, behind) in [
            ("autumn%3Futm_source%3Da%2520b", "?utm_source=a%20b"),
            ("autumn%26utm_source=a", "&utm_source=a"),
        ] {
            assert_eq!(repair_name(text).unwrap().behind, behind, "{text}");
        }
        assert_eq!(query_behind("&amp;&#38;amp;a=1", ""), "a=1");
        assert_eq!(query_behind("?a=1", "b=2"), "a=1&b=2");
        assert_eq!(query_behind("&", "b=2"), "b=2");
    }

    proptest! {
        #[test]
        fn whatever_is_found_is_a_name(text in "(\\PC|%[0-9A-Fa-f]{2}|[a-c_%&?.]){0,40}") {
            if let Some(repaired) = repair_name(&text) {
                prop_assert!(is_whole_name(&repaired.name) && !repaired.name.is_empty());
                prop_assert!(is_whole_name(&repaired.joined));
            }
        }
    }
}

//! Ampersands that HTML has escaped: `&amp;`, `&#38;`, `&#038;`, `&#x26;`, and `&amp;amp;` where it
//! was done again.
//!
//! Who copies a URL out of HTML, or writes an attribute into a mail and has it escaped once more on
//! the way, gets these into links, pixels and pages' addresses. A URL never means them:
//! `?a=1&amp;b=2` has a parameter `b`. So they are read as what they stand for wherever an
//! ampersand parts something, as Mautic does (`UrlHelper::decodeAmpersands`): in raw queries, in
//! URLs and in tags. No other entity is read, and texts for people (titles, contact fields,
//! `extra`) stay as they came.

use std::borrow::Cow;

use memchr::memchr_iter;

/// How many bytes after an ampersand (or at the start of a raw query's pair) belong to an escape of
/// it; 0 where none does. In a raw query `#` and `;` may be percent-encoded.
fn escape(text: &[u8], is_raw: bool) -> usize {
    // Nearly always it ends here.
    if !matches!(text.first(), Some(b'a' | b'A' | b'#' | b'%')) {
        return 0;
    }
    let mut at = 0;
    let take = |at: &mut usize, plain: &[u8], encoded: &[u8]| {
        for (form, is_allowed) in [(plain, true), (encoded, is_raw)] {
            let found = text.get(*at..*at + form.len());
            if is_allowed && found.is_some_and(|found| found.eq_ignore_ascii_case(form)) {
                *at += form.len();
                return true;
            }
        }
        false
    };
    if take(&mut at, b"#", b"%23") {
        let digits: &[u8] = match take(&mut at, b"x", b"x") {
            true => b"26",
            false => b"38",
        };
        while text.get(at) == Some(&b'0') {
            at += 1;
        }
        if !take(&mut at, digits, digits) {
            return 0;
        }
    } else if !take(&mut at, b"amp", b"amp") {
        return 0;
    }
    match take(&mut at, b";", b"%3b") {
        true => at,
        false => 0,
    }
}

/// All consecutive escapes, as after `&amp;amp;`.
fn escapes(text: &[u8], is_raw: bool) -> usize {
    let mut at = 0;
    loop {
        match escape(&text[at..], is_raw) {
            0 => return at,
            length => at += length,
        }
    }
}

/// One pair of a raw query without the rest of an escaped ampersand at its start.
pub fn plain_pair(pair: &[u8]) -> &[u8] {
    &pair[escapes(pair, true)..]
}

/// A raw query with plain ampersands.
pub fn plain_query(query: &str) -> Cow<'_, str> {
    let start = escapes(query.as_bytes(), true);
    unescaped(&query[start..], true)
}

/// A text with plain ampersands.
pub fn plain_ampersands(text: &str) -> Cow<'_, str> {
    unescaped(text, false)
}

fn unescaped(text: &str, is_raw: bool) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let (mut out, mut done) = (String::new(), 0);
    for at in memchr_iter(b'&', bytes) {
        let length = escapes(&bytes[at + 1..], is_raw);
        if length > 0 {
            out.push_str(&text[done..=at]);
            done = at + 1 + length;
        }
    }
    match done {
        0 => Cow::Borrowed(text),
        _ => {
            out.push_str(&text[done..]);
            Cow::Owned(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_of_an_ampersand_is_one() {
        for escaped in [
            "&amp;",
            "&AMP;",
            "&#38;",
            "&#038;",
            "&#0038;",
            "&#x26;",
            "&#X26;",
            "&#x026;",
            "&amp;amp;",
            "&amp;#38;",
            "&#38;amp;",
            "&amp;amp;amp;",
        ] {
            let text = format!("a=1{escaped}b=2{escaped}");
            assert_eq!(plain_ampersands(&text), "a=1&b=2&", "{text}");
            assert_eq!(plain_query(&text), "a=1&b=2&", "{text}");
        }
        for escaped in [
            "&amp%3Bb",
            "&amp%3bb",
            "&%2338%3Bb",
            "&%23x26;b",
            "&amp%3Bamp%3Bb",
            "&#38%3Bb",
        ] {
            assert_eq!(plain_query(&format!("a{escaped}")), "a&b", "{escaped}");
            assert!(
                matches!(plain_ampersands(escaped), Cow::Borrowed(_)),
                "{escaped}"
            );
        }
        assert_eq!(plain_query("amp;a=1"), "a=1");
        assert_eq!(plain_query("&amp;a=1"), "&a=1");
        assert_eq!(plain_pair(b"amp;amp%3Ba=1"), b"a=1");
        assert_eq!(plain_ampersands("R&amp;D"), "R&D");
    }

    #[test]
    fn nothing_else_is_touched_or_copied() {
        for text in [
            "",
            "&",
            "a=1&b=2",
            "&lt;&quot;&#39;&#380;&#26;&#x38;",
            "&amp",
            "&ampere=1",
            "&am&p;",
            "amp=1&ample;",
            "&#;",
            "&#x;",
            "&#3",
            "%26amp%3B",
            "ä&ö;",
            "&#00;",
        ] {
            assert!(
                matches!(plain_ampersands(text), Cow::Borrowed(had) if had == text),
                "{text}"
            );
            assert!(
                matches!(plain_query(text), Cow::Borrowed(had) if had == text),
                "{text}"
            );
        }
    }

    proptest::proptest! {
        /// As Mautic does it: once more until nothing changes.
        #[test]
        fn it_is_what_replacing_until_none_is_left_gives(text in "(&|amp;|#38;|#x26;|#0|38;|a|ö|;|=){0,24}") {
            let mut plain = text.clone();
            loop {
                let next = plain.replace("&amp;", "&").replace("&#38;", "&").replace("&#038;", "&").replace("&#0038;", "&").replace("&#00038;", "&")
                    .replace("&#x26;", "&");
                if next == plain {
                    break;
                }
                plain = next;
            }
            if !text.contains("#0#0") && !text.contains("#0000") {
                proptest::prop_assert_eq!(plain_ampersands(&text), plain);
            }
        }

        #[test]
        fn no_text_panics_and_twice_is_once(text in "\\PC{0,40}|[&amp;#x0-9%3B]{0,40}") {
            let plain = plain_ampersands(&text).into_owned();
            proptest::prop_assert!(matches!(plain_ampersands(&plain), Cow::Borrowed(_)), "{}", plain);
            let query = plain_query(&text).into_owned();
            proptest::prop_assert!(matches!(plain_query(&query), Cow::Borrowed(_)), "{}", query);
        }
    }
}

//! Strings from outside made fit for the database: valid UTF-8, no NUL, no control characters, cut
//! to size. A column holds a line; a text that somebody has written into a text area, and what
//! senders put into `extra`, may have many.

mod ampersand;

use std::borrow::Cow;

pub use ampersand::{plain_ampersands, plain_pair, plain_query};

/// Greatest length in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub usize);

impl Limit {
    /// URLs: browsers and mail programs handle about 2,000; operators' real ones reach 8,000.
    pub const URL: Self = Self(8_000);
    /// Titles.
    pub const TITLE: Self = Self(500);
    /// Names, ids, UTM values, tags.
    pub const NAME: Self = Self(255);
    /// User agents.
    pub const AGENT: Self = Self(1_000);
    /// Currency, language and the like.
    pub const WORD: Self = Self(64);
}

/// Cleans a text of one line; the second part says what was done (`cut`, `repaired`), none where
/// nothing was.
///
/// Line breaks and tabs inside become a space; other control characters go. Spaces around are
/// trimmed without a word.
pub fn clean(text: &str, limit: Limit) -> (Cow<'_, str>, Option<&'static str>) {
    clean_with(text, limit, ' ')
}

/// [`clean`] for multi-line text: every kind of line break becomes LF.
pub fn clean_lines(text: &str, limit: Limit) -> (Cow<'_, str>, Option<&'static str>) {
    clean_with(text, limit, '\n')
}

fn clean_with(text: &str, limit: Limit, line_break: char) -> (Cow<'_, str>, Option<&'static str>) {
    let text = text.trim();
    // The way of nearly every string: short and free of control characters, so nothing is copied.
    if text.len() <= limit.0 && !has_suspicious(text) {
        return (Cow::Borrowed(text), None);
    }
    let mut out = String::with_capacity(text.len().min(limit.0 * 4));
    let (mut count, mut repair) = (0, None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if count == limit.0 {
            repair = Some("cut");
            break;
        }
        match c {
            // CRLF is one break.
            '\r' if chars.peek() == Some(&'\n') => continue,
            '\n' | '\r' => out.push(line_break),
            '\t' => out.push(' '),
            c if c.is_control() || c == '\u{fffd}' => {
                repair = Some("repaired");
                continue;
            }
            c => out.push(c),
        }
        count += 1;
    }
    (Cow::Owned(out), repair)
}

/// Looks at every byte, whatever the first ones were, so that the compiler can vectorise it.
fn has_suspicious(text: &str) -> bool {
    text.bytes()
        .fold(false, |found, byte| found | is_suspicious(byte))
}

/// The bytes for which a text takes the slow way: controls, and the leads of U+0080..U+009F and of
/// U+FFFD.
fn is_suspicious(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f || byte == 0xc2 || byte == 0xef
}

/// Bytes as text; what is no UTF-8 becomes U+FFFD, which [`clean`] then takes out and reports.
///
/// Nearly everything passes the plain check, which is cheaper than the search of
/// [`String::from_utf8_lossy`] for broken parts.
pub fn clean_bytes(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_go_and_length_is_in_characters() {
        assert_eq!(
            clean("a\0b", Limit::NAME),
            (Cow::Borrowed("ab"), Some("repaired"))
        );
        assert_eq!(clean(" a\nb ", Limit::NAME), (Cow::Borrowed("a b"), None));
        assert_eq!(clean("a\r\nb\rc", Limit(5)), (Cow::Borrowed("a b c"), None));
        assert_eq!(clean("äöü", Limit(2)), (Cow::Borrowed("äö"), Some("cut")));
        assert_eq!(
            clean("\u{86}", Limit(2)),
            (Cow::Borrowed(""), Some("repaired"))
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_told() {
        for (bytes, text, repair) in [
            (b"a\xff".as_slice(), "a", Some("repaired")),
            ("ä".as_bytes(), "ä", None),
        ] {
            assert_eq!(
                clean(&clean_bytes(bytes), Limit::NAME),
                (Cow::Borrowed(text), repair)
            );
        }
    }

    #[test]
    fn only_a_text_of_many_lines_keeps_its_line_breaks() {
        assert_eq!(
            clean_lines("\none\r\ntwo\rthree\n\n\tfour\0\n", Limit::NAME),
            (Cow::Borrowed("one\ntwo\nthree\n\n four"), Some("repaired"))
        );
        assert_eq!(
            clean_lines("one\r\ntwo", Limit(4)),
            (Cow::Borrowed("one\n"), Some("cut"))
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_out_fits(text: String, limit in 0_usize..50) {
            let (cleaned, _) = clean(&text, Limit(limit));
            assert!(cleaned.chars().count() <= limit);
            assert!(!cleaned.chars().any(char::is_control));
            let (lines, _) = clean_lines(&text, Limit(limit));
            assert!(lines.chars().count() <= limit);
            assert!(!lines.chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}

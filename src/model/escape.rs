//! Texts from outside, in places that would read some of their characters as their own.
//!
//! | place | rule |
//! |---|---|
//! | HTML and XML, in an element or in quotes | [`html`] |
//! | a string in a `script` element | [`script_string`] |
//! | a query, and a value in a URL | [`QUERY`], [`VALUE`] |
//! | a header's value, for people to read | [`header_text`] |
//! | a cell of CSV | where cells are written: `operator/export/cell.rs` |
//! | an error message | [`quote`](super::hint::quote) |
//!
//! The log needs none: its writer escapes control characters.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC};

/// Bytes that a raw query must not contain unencoded. Without `%`: the request's own escapes stay
/// as they came.
pub const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\'')
    .add(b'\\')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'^');

/// Bytes to encode in a value that we put into a URL: everything but unreserved characters, as
/// PHP's
/// `rawurlencode` does.
pub const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const SPACES: [char; 3] = ['\t', '\n', '\r'];

/// Escapes text for HTML and XML, quotes included. Drops control characters other than white space:
/// XML does not allow them.
pub fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text
        .chars()
        .filter(|c| !c.is_control() || SPACES.contains(c))
    {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A JavaScript string literal that is safe inside a `script` element: no `</script>`, no `<!--`,
/// no line separators.
pub fn script_string(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\'' | '\u{2028}' | '\u{2029}' => {
                // Writing into a string does not fail.
                let _ = write!(safe, "\\u{:04x}", c as u32);
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Text as a header value: anything but visible ASCII becomes a question mark.
pub fn header_text(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| matches!(c, ' '..='~');
    if text.chars().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.replace(|c| !is_plain(c), "?"))
    }
}

/// The start of a text, with `…` if there is more.
pub fn start_of(text: &str, most_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most_chars) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(start_of("äöü", 2), "äö…");
        assert_eq!(start_of("äöü", 3), "äöü");
        assert_eq!(header_text("a é\r\nb"), "a ???b");
        assert_eq!(
            html("<a href='\"&'>\u{7}"),
            "&lt;a href=&#39;&quot;&amp;&#39;&gt;"
        );
    }

    proptest! {
        #[test]
        fn what_is_escaped_ends_no_attribute_and_opens_no_tag(text: String) {
            let escaped = html(&text);
            let is_harmless = !escaped.contains(['<', '>', '"', '\'', '\0', '\u{1b}']);
            prop_assert!(is_harmless);
            let plain = escaped.replace("&lt;", "<").replace("&gt;", ">");
            let plain = plain.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
            let is_left_out = |c: char| c.is_control() && !SPACES.contains(&c);
            prop_assert_eq!(plain, text.replace(is_left_out, ""));
        }

        #[test]
        fn a_string_of_a_script_is_read_back_and_ends_no_script(
            text in "(\\PC|[<>/!'\u{2028}\n]){0,30}",
        ) {
            let string = script_string(&text);
            let is_harmless = !string.contains(['<', '>', '&', '\'', '\n', '\u{2028}', '\u{2029}']);
            prop_assert!(is_harmless);
            prop_assert_eq!(serde_json::from_str::<String>(&string).unwrap(), text);
        }

        #[test]
        fn a_header_takes_any_text(text: String) {
            prop_assert!(http::HeaderValue::from_str(&header_text(&text)).is_ok());
        }
    }
}

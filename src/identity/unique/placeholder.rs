//! Texts that stand for a value that is not there: what programs print for nothing, and templates
//! that nobody filled in.
//!
//! The words are those that PostHog refuses as ids (`posthog-js`, `isDistinctIdIllegal`), and what
//! else was seen.

/// What programs write for a missing value, in lower case.
const WORDS: [&str; 30] = [
    "undefined",
    "null",
    "nil",
    "none",
    "nan",
    "void",
    "n/a",
    "na",
    "true",
    "false",
    "anonymous",
    "anonym",
    "anon",
    "guest",
    "unknown",
    "empty",
    "default",
    "not set",
    "not_set",
    "notset",
    "not_authenticated",
    "not authenticated",
    "object object",
    "object undefined",
    "object null",
    "id",
    "user_id",
    "userid",
    "distinct_id",
    "distinctid",
];

/// Whether a string stands for a missing value: nothing, zeros, one of the words, a template.
pub(crate) fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let is_zero = |b: u8| matches!(b, b'0' | b'-');
    text.bytes().all(is_zero) || text == "-1" || is_unfilled(text)
}

/// The same for a string that may well be `0`, such as an order number.
pub(crate) fn is_unfilled(text: &str) -> bool {
    let text = text.trim();
    // Nearly every amount and number of an order: no word has a digit, and every template has
    // another sign.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b',');
    if text.bytes().all(is_plain) && text.bytes().any(|b| b.is_ascii_digit()) {
        return false;
    }
    let word = text.trim_matches(|c: char| !c.is_alphanumeric());
    word.is_empty()
        || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
        || is_template(text)
}

/// Whether a string is, or contains, a placeholder that somebody should have filled in.
pub(super) fn is_template(text: &str) -> bool {
    const AROUND: [(char, char); 11] = [
        ('{', '}'),
        ('[', ']'),
        ('<', '>'),
        ('(', ')'),
        ('%', '%'),
        ('#', '#'),
        ('$', '$'),
        ('@', '@'),
        ('|', '|'),
        ('*', '*'),
        ('~', '~'),
    ];
    // `{6f9619ff-8b86-d011-b42d-00c04fc964ff}` is how Windows writes an id.
    if uuid::Uuid::try_parse(text).is_ok() {
        return false;
    }
    let is_wrapped = AROUND.iter().any(|(open, close)| {
        text.chars().count() > 1 && text.starts_with(*open) && text.ends_with(*close)
    });
    let is_wrapped = is_wrapped || text.len() > 4 && text.starts_with("__") && text.ends_with("__");
    // `%s`, `%d`, `%@`
    let is_format = text.starts_with('%') && text.len() <= 3;
    is_wrapped
        || is_format
        || ["{{", "}}", "${", "<%", "%>", "*|", "|*", "[[", "]]"]
            .iter()
            .any(|mark| text.contains(mark))
        || text.contains('{') && text.contains('}')
}

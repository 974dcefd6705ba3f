//! Words for error messages: what was given, what is allowed, what a misspelt name probably means.

use std::fmt::Display;

use super::escape::start_of;

/// Longest text that is quoted whole, in characters.
const MOST_QUOTED: usize = 60;

/// A text in quotation marks, cut where it is long.
pub fn quote(text: &str) -> String {
    format!("{:?}", start_of(text, MOST_QUOTED))
}

/// `a, b or c`
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => (*only).to_owned(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

/// ` (did you mean …?)`, or an empty string if there is no suggestion.
pub fn did_you_mean(meant: Option<impl Display>) -> String {
    meant.map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"))
}

/// The known name closest to a mistyped one: equal but for case and separators, or one or two
/// letters off. No suggestion is better than a wrong one.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let bare = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .take(64)
            .flat_map(char::to_lowercase)
            .collect()
    };
    let (given, word) = (start_of(word, 64), bare(word));
    let most = match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    known
        .map(|name| (strsim::osa_distance(&word, &bare(name)), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, name)| (*distance, strsim::osa_distance(&given, name)))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_known_and_another_word_is_not() {
        let known = [
            "email", "kind", "page_url", "order_id", "at", "debug", "warn", "ssl-mode", "sslmode",
        ];
        for (word, meant) in [
            ("mail", Some("email")),
            ("E-Mail", Some("email")),
            ("pageUrl", Some("page_url")),
            ("oder_id", Some("order_id")),
            ("knid", Some("kind")),
            ("sslmod", Some("sslmode")),
            ("DEBUG", Some("debug")),
            ("debgu", Some("debug")),
            ("wrn", Some("warn")),
            ("loud", None),
            ("customer", None),
            ("", None),
            ("ab", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
    }
}

//! Where a click goes: the link's own URL, with the request's extra parameters and the delivery's
//! campaign parameters.
//!
//! The destination's own parameters win over the request's, and those over the delivery's, so a
//! request can add to the page's URL but change nothing in it; scheme, host and path are never
//! touched.

use std::borrow::Cow;

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use crate::model::escape::{QUERY, VALUE};
use crate::model::hit::{Limit, Utm, plain_ampersands};

/// The destination of one click. `query` is the request's raw query, without `?`.
///
/// Parameters whose names the destination has already are left out; when the whole would be longer
/// than 8,000 bytes, all of the request's are (the page matters more than what hangs on its URL).
pub fn build_destination<'a>(template: &'a str, query: &str, utm: &Utm) -> Cow<'a, str> {
    // Links that were stored before their ampersands were looked at.
    let at = template.find('?').unwrap_or(template.len());
    match plain_ampersands(&template[at..]) {
        Cow::Borrowed(_) => merge(template, query, utm),
        Cow::Owned(own) => merge(&[&template[..at], &own].concat(), query, utm)
            .into_owned()
            .into(),
    }
}

fn merge<'a>(template: &'a str, query: &str, utm: &Utm) -> Cow<'a, str> {
    let (base, fragment) = match template.find('#') {
        Some(at) => template.split_at(at),
        None => (template, ""),
    };
    let own = base.find('?').map_or("", |at| &base[at + 1..]);
    let mut added = String::new();
    if !query.is_empty() && template.len() + query.len() <= Limit::URL.0 {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if !has_name(own, &name_of(pair)) {
                join(&mut added);
                added.extend(utf8_percent_encode(pair, QUERY));
            }
        }
    }
    let asked = added.len();
    for (name, value) in utm.pairs() {
        if !has_name(own, name) && !has_name(&added[..asked], name) {
            join(&mut added);
            added.push_str(name);
            added.push('=');
            added.extend(utf8_percent_encode(value, VALUE));
        }
    }
    if added.is_empty() || template.len() + added.len() > Limit::URL.0 {
        return Cow::Borrowed(template);
    }
    let separator = if !base.contains('?') {
        "?"
    } else if own.is_empty() || own.ends_with('&') {
        ""
    } else {
        "&"
    };
    Cow::Owned([base, separator, &added, fragment].concat())
}

fn join(added: &mut String) {
    if !added.is_empty() {
        added.push('&');
    }
}

fn name_of(pair: &str) -> Cow<'_, str> {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    if name.contains('%') {
        percent_decode_str(name).decode_utf8_lossy()
    } else {
        Cow::Borrowed(name)
    }
}

fn has_name(query: &str, name: &str) -> bool {
    !query.is_empty() && query.split('&').any(|pair| name_of(pair) == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::model::link::check_template;

    fn utm() -> Utm {
        Utm {
            source: Some("news".into()),
            campaign: Some("a&b c".into()),
            ..Utm::default()
        }
    }

    #[test]
    fn parameters_are_merged_once_and_before_the_fragment() {
        let none = Utm::default();
        for (template, query, utm, expected) in [
            ("https://x.example/", "", &none, "https://x.example/"),
            ("https://x.example/", "a=1", &none, "https://x.example/?a=1"),
            (
                "https://x.example/?",
                "a=1",
                &none,
                "https://x.example/?a=1",
            ),
            (
                "https://x.example/?b=2&",
                "a=1",
                &none,
                "https://x.example/?b=2&a=1",
            ),
            (
                "https://x.example/p?b=2#top",
                "a=1&b=3",
                &none,
                "https://x.example/p?b=2&a=1#top",
            ),
            (
                "https://x.example/#a?b",
                "a=1&&a=2",
                &none,
                "https://x.example/?a=1&a=2#a?b",
            ),
            (
                "https://x.example/",
                "%61=1&q=a\"b",
                &none,
                "https://x.example/?%61=1&q=a%22b",
            ),
            (
                "https://x.example/?a=1",
                "%61=2",
                &none,
                "https://x.example/?a=1",
            ),
            (
                "https://x.example/",
                "",
                &utm(),
                "https://x.example/?utm_source=news&utm_campaign=a%26b%20c",
            ),
            (
                "https://x.example/?utm_source=own",
                "utm_campaign=mine",
                &utm(),
                "https://x.example/?utm_source=own&utm_campaign=mine",
            ),
        ] {
            assert_eq!(
                build_destination(template, query, utm),
                expected,
                "{template} {query}"
            );
        }
    }

    #[test]
    fn ampersands_that_html_escaped_are_plain() {
        for escaped in ["&amp;", "&#38;", "&#038;", "&#x26;", "&amp;amp;"] {
            let url = format!("https://x.example/p?a=1{escaped}b=2");
            let plain = "https://x.example/p?a=1&b=2";
            assert_eq!(check_template(&url).unwrap(), plain, "{url}");
            assert_eq!(
                build_destination(&url, "b=3&c=4", &Utm::default()),
                "https://x.example/p?a=1&b=2&c=4"
            );
            assert_eq!(build_destination(&url, "", &Utm::default()), plain);
        }
    }

    proptest! {
        #[test]
        fn a_request_never_changes_the_page(query in "\\PC{0,200}", path in "[a-z/]{0,20}", own in "(\\?[a-z=&]{0,20})?", fragment in "(#[a-z]{0,9})?") {
            let template = check_template(&format!("https://x.example/{path}{own}{fragment}")).unwrap();
            let built = build_destination(&template, &query, &utm());
            let (before, after) = (Url::parse(&template).unwrap(), Url::parse(&built).unwrap());
            prop_assert!(built.is_ascii() && !built.bytes().any(|b| b <= b' '));
            prop_assert_eq!(before.host(), after.host());
            prop_assert_eq!(before.path(), after.path());
            prop_assert_eq!(before.fragment(), after.fragment());
            let all: Vec<_> = after.query_pairs().collect();
            for pair in before.query_pairs() {
                prop_assert!(all.contains(&pair));
            }
        }
    }
}

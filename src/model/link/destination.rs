//! Where a click goes: the link's own URL, with the request's extra parameters and the delivery's
//! campaign parameters.
//!
//! The destination's own parameters win over the request's, and those over the delivery's, so a
//! request can add to the page's URL but change nothing in it; scheme, host and path are never
//! touched.

use std::borrow::Cow;

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};
use url::Url;

use super::personal::check_personal_template;
use crate::model::hit::{Limit, Utm, plain_ampersands};

/// What a raw query may not hold unencoded. `%` is not in it: the request's own escapes stay as
/// they came.
const QUERY: &AsciiSet = &CONTROLS
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
/// Values of ours: everything but unreserved characters.
pub(super) const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why a URL cannot be a link's destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// Not an absolute URL.
    #[error("is not an absolute URL, such as https://www.example.com/: {0}")]
    NotAUrl(url::ParseError),
    /// Something else than `http` or `https`: `javascript:` and `data:` would run in our name.
    #[error("has the scheme {0:?}; http and https are served")]
    Scheme(String),
    /// User name or password, which a redirect would show to everyone.
    #[error("holds a user name or a password")]
    Credentials,
    /// Longer than browsers take.
    #[error("is longer than 8,000 characters")]
    TooLong,
    /// A reader's parameter would choose the host.
    #[error(
        "has a host that its parameters choose; links.personal_hosts has to list the hosts that \
        may come of it"
    )]
    PersonalHost,
    /// A host that a reader's parameter chooses, with a port.
    #[error("has a host that its parameters choose, and a port; only the usual ports are served")]
    PersonalPort,
}

/// Checks a destination and brings it into the form that can stand in a header: ASCII, host in
/// Punycode. It may have personal parts (`{p1}`, …) behind the host.
///
/// # Errors
/// The URL is not absolute, not `http(s)`, holds credentials, has a personal host or is too long.
pub fn check_template(url: &str) -> Result<String, DestinationError> {
    check_personal_template(url, &[])
}

/// Checks a URL without personal parts.
pub(super) fn check_fixed(url: &str) -> Result<String, DestinationError> {
    let parsed = Url::parse(url.trim()).map_err(DestinationError::NotAUrl)?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(DestinationError::Scheme(parsed.scheme().to_owned()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(DestinationError::Credentials);
    }
    let text = String::from(parsed);
    if text.len() > Limit::URL.0 {
        Err(DestinationError::TooLong)
    } else {
        Ok(text)
    }
}

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

    use super::*;

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

    #[test]
    fn only_web_pages_are_destinations() {
        assert_eq!(
            check_template("https://bücher.example/ä").unwrap(),
            "https://xn--bcher-kva.example/%C3%A4"
        );
        assert_eq!(
            check_template("javascript:alert(1)"),
            Err(DestinationError::Scheme("javascript".into()))
        );
        assert_eq!(
            check_template("https://a:b@x.example/"),
            Err(DestinationError::Credentials)
        );
        assert!(matches!(
            check_template("/relative"),
            Err(DestinationError::NotAUrl(_))
        ));
        assert_eq!(
            check_template(&format!("https://x.example/{}", "a".repeat(9_000))),
            Err(DestinationError::TooLong)
        );
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

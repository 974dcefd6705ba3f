//! Links with personal parts: `{p1}`, `{p2}`, … in a link's URL stand for the parameters `p1`,
//! `p2`, … of a click.
//!
//! In query and fragment a value is percent-encoded, all but letters, digits, `-._~` and what the
//! sender has percent-encoded already: it stays inside its place. In the path it may be a part of
//! the page's address, as it is at Adobe, where
//! `https://shop.example/<%= page %><%= campaign %>` is common: its slashes stay, and where the
//! template has no query of its own, its `?` begins one and what follows is the page's. Not so
//! where that could lead out of the path: a slash behind a slash (`//evil.example` is a host to
//! some servers) and all slashes of a value with `.` or `..` for a segment are encoded, and where
//! values still make such a segment, all of them are left out. A value that could choose the host
//! would make an open redirect of every mail. So a host with a personal part is refused when the
//! link is made, unless the operator lists the hosts that may come of it; then the finished URL is
//! held against that list at every click, and nothing else leads anywhere.

use std::borrow::Cow;

use percent_encoding::{percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::model::escape::{QUERY, VALUE};
use crate::model::hit::Limit;
use crate::model::host_pattern::{HostPattern, is_listed};

/// Greatest number of a part.
const MOST_NUMBER: usize = 99;

/// One `{p<number>}` in a template, by its bytes.
pub(super) struct Part {
    pub start: usize,
    pub end: usize,
    pub number: usize,
}

pub(super) fn parts(template: &str) -> impl Iterator<Item = Part> + '_ {
    template.match_indices("{p").filter_map(|(start, _)| {
        let rest = &template[start + 2..];
        let length = rest.find('}')?;
        Some(Part {
            start,
            end: start + 2 + length + 1,
            number: number(&rest[..length])?,
        })
    })
}

fn number(digits: &str) -> Option<usize> {
    (digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'))
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|number| *number <= MOST_NUMBER)
}

/// Where the path begins: everything before it decides who answers. A template that does not begin
/// with a plain scheme and host is all host.
pub(super) fn origin_end(template: &str) -> usize {
    let host = ["https://", "http://"]
        .iter()
        .find(|scheme| template.starts_with(**scheme))
        .map(|scheme| scheme.len());
    match host {
        Some(host) => template[host..]
            .find(['/', '?', '#'])
            .map_or(template.len(), |length| host + length),
        None => template.len(),
    }
}

/// Whether a URL has personal parts.
pub fn is_personal(template: &str) -> bool {
    parts(template).next().is_some()
}

/// A text whose personal parts are meant as they are written: their braces are encoded.
pub fn plain_braces(text: &str) -> Cow<'_, str> {
    let (mut plain, mut at) = (String::new(), 0);
    for part in parts(text) {
        plain.push_str(&text[at..part.start]);
        plain.push_str(&format!("%7Bp{}%7D", part.number));
        at = part.end;
    }
    match at {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(plain + &text[at..]),
    }
}

/// The values of a click.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersonalValues(Vec<(usize, String)>);

impl PersonalValues {
    /// Takes `p1`, `p2`, … out of a raw query; returns the rest unchanged. An existing value is
    /// kept.
    pub fn take_from(&mut self, query: &str) -> String {
        let mut rest = String::with_capacity(query.len());
        for pair in query.split('&') {
            let mut decoded = form_urlencoded::parse(pair.as_bytes());
            let taken = decoded.next().and_then(|(name, value)| {
                Some((number(name.strip_prefix('p')?)?, value.into_owned()))
            });
            match taken {
                Some((number, value)) => self.add(number, value),
                None => {
                    if !rest.is_empty() {
                        rest.push('&');
                    }
                    rest.push_str(pair);
                }
            }
        }
        rest
    }

    fn add(&mut self, number: usize, value: String) {
        if self.get(number).is_none() {
            self.0.push((number, value));
        }
    }

    fn get(&self, number: usize) -> Option<&str> {
        self.0
            .iter()
            .find(|(had, _)| *had == number)
            .map(|(_, value)| value.as_str())
    }

    /// Names and values in the order in which they came.
    pub fn pairs(&self) -> impl Iterator<Item = (String, &str)> {
        self.0
            .iter()
            .map(|(number, value)| (format!("p{number}"), value.as_str()))
    }
}

/// The template with its personal parts filled in; a part without a value is empty. None where a
/// personal host is not one of `hosts`.
///
/// When the whole would be longer than 8,000 bytes, all values are left out: the page matters more
/// than what hangs on its URL.
pub fn fill<'t>(
    template: &'t str,
    values: &PersonalValues,
    hosts: &[HostPattern],
) -> Option<Cow<'t, str>> {
    if !is_personal(template) {
        return Some(Cow::Borrowed(template));
    }
    let origin = origin_end(template);
    let path_end = template[origin..].find(['?', '#']);
    let path_end = path_end.map_or(template.len(), |at| origin + at);
    let has_query = template[path_end..].starts_with('?');
    let mut url = String::with_capacity(template.len() + 100);
    // A value has begun the query.
    let mut is_query = false;
    let (mut at, mut host_is_personal) = (0, false);
    for part in parts(template) {
        url.push_str(&template[at..part.start]);
        at = part.end;
        let value = values.get(part.number).unwrap_or_default();
        if part.start < origin {
            host_is_personal = true;
            url.push_str(value);
        } else if part.start > path_end {
            push_value(&mut url, value);
        } else if is_query {
            url.extend(utf8_percent_encode(value, QUERY));
        } else {
            let (path, query) = match value.split_once('?') {
                Some((path, query)) if !has_query => (path, Some(query)),
                _ => (value, None),
            };
            push_path(&mut url, path);
            if let Some(query) = query {
                is_query = true;
                url.push('?');
                url.extend(utf8_percent_encode(query, QUERY));
            }
        }
    }
    url.push_str(&template[at..]);
    let none = PersonalValues::default();
    if *values != none && !host_is_personal && climbs(&url[origin..]) {
        return fill(template, &none, hosts);
    }
    if url.len() > Limit::URL.0 {
        return (*values != none)
            .then(|| fill(template, &none, hosts))
            .flatten();
    }
    if host_is_personal {
        url = checked(&url, hosts)?;
    }
    Some(Cow::Owned(url))
}

/// Whether the path at the start of a text has a `.` or `..` segment, escaped or not, which a
/// browser resolves.
fn climbs(text: &str) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    path.split('/').any(|segment| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(&*segment, "." | "..")
    })
}

/// Puts a value into a path, behind what the URL has so far.
pub fn push_path(url: &mut String, value: &str) {
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    let mut segments = decoded.split(['/', '\\']);
    if segments.any(|segment| matches!(segment, "." | "..")) {
        url.extend(utf8_percent_encode(value, VALUE));
        return;
    }
    for (index, segment) in value.split('/').enumerate() {
        if index > 0 {
            url.push_str(if url.ends_with('/') { "%2F" } else { "/" });
        }
        push_value(url, segment);
    }
}

/// Inserts a value so that it stays within its place. What the sender has percent-encoded (with
/// `escapeUrl` in the template, say) stays so: Adobe inserts it as it is.
fn push_value(url: &mut String, value: &str) {
    let is_escape = |at: usize| {
        let digits = value.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut from = 0;
    for (at, _) in value.match_indices('%') {
        if at >= from && is_escape(at) {
            url.extend(utf8_percent_encode(&value[from..at], VALUE));
            url.push_str(&value[at..at + 3]);
            from = at + 3;
        }
    }
    url.extend(utf8_percent_encode(&value[from..], VALUE));
}

/// A URL whose host a reader may have chosen.
fn checked(url: &str, hosts: &[HostPattern]) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none();
    (is_plain && is_listed(url.host_str()?, hosts)).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::link::check_personal_template;

    fn values(query: &str) -> PersonalValues {
        let mut values = PersonalValues::default();
        values.take_from(query);
        values
    }

    fn listed() -> Vec<HostPattern> {
        ["www.example.com", "*.shop.example"]
            .map(|text| HostPattern::parse(text).unwrap())
            .into()
    }

    #[test]
    fn values_are_encoded_for_their_place() {
        let template =
            check_personal_template("https://Shop.Example/ä/{p1}?name={p2}&again={p1}#{p3}", &[])
                .unwrap();
        assert_eq!(
            template,
            "https://shop.example/%C3%A4/{p1}?name={p2}&again={p1}#{p3}"
        );
        let filled = fill(
            &template,
            &values("p1=a%2Fb%3F%23&p2=x%26y%3Dz+%C3%A9&p1=second"),
            &[],
        );
        assert_eq!(
            filled.unwrap(),
            "https://shop.example/%C3%A4/a/b%3F%23?name=x%26y%3Dz%20%C3%A9&again=a%2Fb%3F%23#"
        );
    }

    /// Where Adobe leads.
    #[test]
    fn a_value_may_be_the_pages_path_and_query() {
        for (template, query, page) in [
            (
                "https://hbr.org/{p1}{p2}",
                "p1=2023/12/a-page&p2=?utm_source=n%26utm_medium=e%20m",
                "https://hbr.org/2023/12/a-page?utm_source=n&utm_medium=e%20m",
            ),
            (
                "https://hbr.org/{p1}{p2}",
                "p1=2023/12&p2=",
                "https://hbr.org/2023/12",
            ),
            (
                "https://hbr.org/{p1}?a=1",
                "p1=x/y%3Fb=2",
                "https://hbr.org/x/y%3Fb%3D2?a=1",
            ),
            (
                "https://hbr.org/{p1}#top",
                "p1=x%3Fb",
                "https://hbr.org/x?b#top",
            ),
            ("https://hbr.org/a/{p1}/b", "p1=..", "https://hbr.org/a//b"),
            (
                "https://hbr.org/a/{p1}{p2}",
                "p1=.&p2=.",
                "https://hbr.org/a/",
            ),
            (
                "https://hbr.org/a/{p1}#{p2}",
                "p1=x&p2=y/z?",
                "https://hbr.org/a/x#y%2Fz%3F",
            ),
            (
                "https://hbr.org/{p1}&c={p2}",
                "p1=x%3Fb=2%23f&p2=3%264",
                "https://hbr.org/x?b=2%23f&c=3&4",
            ),
            (
                "https://hbr.org/a{p1}",
                "p1=/b//c",
                "https://hbr.org/a/b/%2Fc",
            ),
            (
                "https://hbr.org/{p1}",
                "p1=//evil.example",
                "https://hbr.org/%2F/evil.example",
            ),
            (
                "https://hbr.org/{p1}",
                "p1=a/../../b",
                "https://hbr.org/a%2F..%2F..%2Fb",
            ),
            (
                "https://hbr.org/{p1}",
                "p1=a/%252e%252E/b",
                "https://hbr.org/a%2F%252e%252E%2Fb",
            ),
            (
                "https://hbr.org/{p1}",
                "p1=a/..%5Cb",
                "https://hbr.org/a%2F..%5Cb",
            ),
        ] {
            let filled = fill(template, &values(query), &[]).unwrap();
            assert_eq!(filled, page, "{template} {query}");
        }
    }

    #[test]
    fn only_p_and_a_number_is_a_personal_part() {
        for plain in [
            "{p}", "{p0}", "{px}", "{p1", "{P1}", "{p100}", "{q1}", "{ p1}",
        ] {
            let url = format!("https://shop.example/?x={plain}");
            assert_eq!(fill(&url, &values("p1=v"), &[]).unwrap(), url);
        }
        assert_eq!(
            values("p1=a&px=b&p01=c&p1x=d&q=1").pairs().count(),
            1,
            "the rest is of the page"
        );
    }

    #[test]
    fn a_personal_host_leads_to_listed_hosts_only() {
        for (template, value, page) in [
            (
                "https://{p1}/x",
                "www.example.com",
                Some("https://www.example.com/x"),
            ),
            (
                "https://{p1}/x",
                "WWW.EXAMPLE.COM",
                Some("https://www.example.com/x"),
            ),
            (
                "https://{p1}/x",
                "de.shop.example",
                Some("https://de.shop.example/x"),
            ),
            (
                "{p1}",
                "https://www.example.com/a?b=c#d",
                Some("https://www.example.com/a?b=c#d"),
            ),
            (
                "https://{p1}/x",
                "www.example.com.",
                Some("https://www.example.com./x"),
            ),
            ("https://{p1}/x", "shop.example", None),
            ("https://{p1}/x", "evil.example", None),
            ("https://{p1}/x", "evil-shop.example", None),
            ("https://{p1}/x", "www.example.com@evil.example", None),
            ("https://{p1}/x", "www.example.com:8080", None),
            ("https://{p1}/x", "evil.example/www.example.com", None),
            ("https://{p1}/x", "evil.example\\.www.example.com", None),
            ("https://www.example.com{p1}", ".evil.example", None),
            ("https://www.example.com{p1}", "@evil.example/", None),
            (
                "https://www.example.com{p1}",
                "/ok",
                Some("https://www.example.com/ok"),
            ),
            ("{p1}", "javascript:alert(1)", None),
            ("{p1}", "//www.example.com/", None),
            ("{p1}", "ftp://www.example.com/", None),
            ("{p1}", "", None),
        ] {
            let values = PersonalValues(vec![(1, value.to_owned())]);
            let page = page.map(str::to_owned);
            let filled = fill(template, &values, &listed()).map(Cow::into_owned);
            assert_eq!(filled, page, "{template} {value}");
            assert_eq!(fill(template, &values, &[]), None, "{template} {value}");
        }
    }

    #[test]
    fn values_that_make_the_url_too_long_are_left_out() {
        let long = values(&format!("p1={}", "%20".repeat(3_000)));
        assert_eq!(
            fill("https://shop.example/{p1}", &long, &[]).unwrap(),
            "https://shop.example/"
        );
    }

    proptest! {
        #[test]
        fn no_value_changes_scheme_host_or_port(
            value in "(\\PC|[/\\\\@:?#.%&]){0,40}",
            place in prop::sample::select(vec![
                "https://shop.example/{p1}", "https://shop.example/a{p1}b/{p1}", "https://shop.example:8443/{p1}", "https://shop.example?{p1}",
                "https://shop.example#{p1}", "https://shop.example/?a={p1}#{p1}", "http://shop.example/{p1}{p1}", "https://shop.example\\{p1}",
            ]),
        ) {
            let template = check_personal_template(place, &[]).unwrap();
            let values = PersonalValues(vec![(1, value)]);
            let filled = fill(&template, &values, &[]).unwrap();
            let (before, after) = (Url::parse(&template).unwrap(), Url::parse(&filled).unwrap());
            prop_assert!(filled.is_ascii());
            prop_assert_eq!(before.scheme(), after.scheme());
            prop_assert_eq!(before.host(), after.host());
            prop_assert_eq!(before.port(), after.port());
            prop_assert_eq!(after.username(), "");
        }

        #[test]
        fn no_value_leaves_the_path_before_it(value in "(\\PC|[/\\\\.%?#]|%2e|%2F){0,30}|[.]{0,3}", place in prop::sample::select(vec![
            "https://shop.example/a/{p1}", "https://shop.example/a/{p1}/b", "https://shop.example/a/{p1}?q=1",
        ])) {
            let filled = fill(place, &PersonalValues(vec![(1, value)]), &[]).unwrap();
            let page = Url::parse(&filled).unwrap();
            prop_assert!(page.path().starts_with("/a/"), "{}", filled);
        }

        #[test]
        fn any_template_and_value_lead_to_a_checked_host_or_nowhere(
            template in "(https?://)?([a-z.]|\\{p1\\}|[/\\\\@:?#]){0,20}",
            value in "(\\PC|[/\\\\@:?#.]){0,20}",
            is_checked: bool,
        ) {
            let values = PersonalValues(vec![(1, value)]);
            let hosts = listed();
            let template = match check_personal_template(&template, &hosts) {
                Ok(checked) if is_checked => checked,
                _ => template,
            };
            if let Some(filled) = fill(&template, &values, &hosts) && is_personal(&template) {
                let origin = origin_end(&template);
                if is_personal(&template[..origin]) {
                    let url = Url::parse(&filled).unwrap();
                    prop_assert!(is_listed(url.host_str().unwrap(), &hosts), "{}", url);
                } else {
                    prop_assert!(filled.starts_with(&template[..origin]));
                }
            }
        }
    }
}

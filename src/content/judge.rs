//! What becomes of a link's address: tracked, left alone, or refused.
//!
//! An address is read as a browser reads it (white space at its ends and line ends in it do not
//! count, `<base href>` and `//host` are resolved, other characters are encoded by [`url`]), and
//! not by a pattern that knows some characters of the world.

use std::borrow::Cow;

use url::Url;

use super::placeholder::{What, placeholders};
use super::{Place, Rules, Value};
use crate::model::hint::quote;
use crate::model::link::{DestinationError, check_personal_template, plain_braces};

/// Most personal parts of a link: `{p99}` is the last.
const MOST_VALUES: usize = 99;

/// What becomes of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// It is tracked.
    Tracked(Target),
    /// It is no web page, and stays.
    Untouched,
    /// It is the message's own way out.
    Unsubscribe,
    /// It stays, and its author should know why: a word for programs and one for people.
    Left(&'static str, String),
    /// The mail is refused.
    Refused(String),
}

/// Where a tracked link leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// The template, as links are stored.
    pub url: String,
    /// What `{p1}`, `{p2}`, … are in it.
    pub values: Vec<Value>,
}

/// Judges an address as it is read: entities decoded, nothing else done to it.
pub(super) fn judge(written: &str, base: Option<&Url>, rules: &Rules<'_>) -> Judged {
    let trimmed = written.trim_matches(|c: char| c <= ' ');
    let text: Cow<'_, str> = match trimmed.contains(['\t', '\n', '\r']) {
        true => Cow::Owned(trimmed.replace(['\t', '\n', '\r'], "")),
        false => Cow::Borrowed(trimmed),
    };
    if text.is_empty() || text.starts_with('#') {
        return Judged::Untouched;
    }
    let found = placeholders(&text);
    if let [only] = &found[..]
        && only.range == (0..text.len())
    {
        match only.what {
            What::Unsubscribe => return Judged::Unsubscribe,
            What::Foreign(foreign) => {
                let why = format!(
                    "{} is another program's placeholder for a whole link: it stays and is not \
                    tracked",
                    quote(foreign)
                );
                return Judged::Left("foreign_link", why);
            }
            What::Field(_) => {}
        }
    }
    let fixed = found.first().map_or(text.len(), |first| first.range.start);
    let is_relative = match scheme(&text[..fixed]) {
        Some(scheme) if is_web(scheme) => false,
        Some(scheme)
            if ["javascript", "vbscript", "data"]
                .iter()
                .any(|bad| eq(bad, scheme)) =>
        {
            let why = format!(
                "{} cannot be opened from a mail: it is not tracked",
                quote(&text)
            );
            return Judged::Left("no_page", why);
        }
        Some(_) => return Judged::Untouched,
        None => fixed > 0,
    };
    let (mut masked, mut values, mut at) = (String::with_capacity(text.len()), Vec::new(), 0);
    let word = unused_word(&text);
    for placeholder in &found {
        let value = match placeholder.what {
            What::Field(name) => Value::Field(name.to_owned()),
            What::Foreign(foreign) => Value::Foreign(foreign.to_owned()),
            What::Unsubscribe => {
                let why = "{{unsubscribe_url}} is a whole link and cannot be a part of one: \
                    the link is not tracked";
                return Judged::Left("unsubscribe_part", why.to_owned());
            }
        };
        let number = match values.iter().position(|had| *had == value) {
            Some(index) => index + 1,
            None => {
                values.push(value);
                values.len()
            }
        };
        masked.push_str(&plain_braces(&text[at..placeholder.range.start]));
        masked.push_str(&format!("{word}{number}z"));
        at = placeholder.range.end;
    }
    masked.push_str(&plain_braces(&text[at..]));
    if values.len() > MOST_VALUES {
        let why = format!(
            "{} has more than 99 placeholders: it is not tracked",
            quote(&text)
        );
        return Judged::Left("placeholders", why);
    }
    if is_relative {
        match resolve(&masked, base) {
            Some(url) => masked = url,
            None => {
                let why = format!(
                    "{} is not a whole address and there is no <base href>: readers cannot open \
                    it, and it is not tracked; begin it with https://",
                    quote(&text)
                );
                return Judged::Left("relative", why);
            }
        }
    }
    for number in 1..=values.len() {
        masked = masked.replace(&format!("{word}{number}z"), &format!("{{p{number}}}"));
    }
    match check_personal_template(&masked, rules.personal_hosts) {
        Ok(url) if rules.own_urls.iter().any(|own| is_below(&url, own)) => Judged::Left(
            "own_link",
            format!(
                "{} is a link of this server already: it is not tracked again",
                quote(&text)
            ),
        ),
        Ok(url) => Judged::Tracked(Target { url, values }),
        Err(error @ (DestinationError::PersonalHost | DestinationError::PersonalPort)) => {
            Judged::Refused(format!("{} {error}", quote(&text)))
        }
        Err(error) => Judged::Left(
            "wrong_url",
            format!("{} {error}: it is not tracked", quote(&text)),
        ),
    }
}

/// Where a value in an address stands, by what comes before it.
pub(super) fn place_in_url(before: &str) -> Place {
    let before = before.trim_start();
    let behind_scheme = match scheme(before) {
        Some(scheme) if !is_web(scheme) => return Place::Opaque,
        Some(scheme) => &before[scheme.len() + 1..],
        None => before,
    };
    if behind_scheme.contains(['?', '#']) {
        return Place::Query;
    }
    match behind_scheme.strip_prefix("//") {
        Some(authority) if !authority.contains('/') => Place::Host,
        None if before.is_empty() => Place::Url,
        _ => Place::Path,
    }
}

fn eq(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn is_web(scheme: &str) -> bool {
    eq(scheme, "http") || eq(scheme, "https")
}

/// The scheme that a text begins with.
fn scheme(text: &str) -> Option<&str> {
    let scheme = &text[..text.find(':')?];
    let is_first = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (is_first && scheme.chars().all(is_of_scheme)).then_some(scheme)
}

/// An address without a scheme. What begins with two slashes needs no base: mail has no scheme of
/// its own that it could mean.
fn resolve(address: &str, base: Option<&Url>) -> Option<String> {
    match base {
        Some(base) => base.join(address).ok().map(Into::into),
        None if address.starts_with("//") => Some(format!("https:{address}")),
        None => None,
    }
}

fn unused_word(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    (0_u32..)
        .map(|salt| format!("zq{salt}x"))
        .find(|word| !text.contains(word))
        .unwrap_or_default()
}

fn is_below(url: &str, own: &str) -> bool {
    url.strip_prefix(own)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracked(written: &str) -> String {
        let base = Url::parse("https://base.example/dir/").ok();
        match judge(written, base.as_ref(), &Rules::default()) {
            Judged::Tracked(target) => target.url,
            judged => format!("{judged:?}"),
        }
    }

    #[test]
    fn an_address_is_read_as_a_browser_reads_it() {
        for (written, page) in [
            (" https://x.example/a b \n", "https://x.example/a%20b"),
            ("HTTPS://X.Example/A", "https://x.example/A"),
            ("https://x.example/a\r\n\tb", "https://x.example/ab"),
            ("https://x.example/[1]?q=[2]", "https://x.example/[1]?q=[2]"),
            (
                "https://bücher.example/ü?ü",
                "https://xn--bcher-kva.example/%C3%BC?%C3%BC",
            ),
            ("https://x.example/🎁", "https://x.example/%F0%9F%8E%81"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("page?x=1#y", "https://base.example/dir/page?x=1#y"),
            ("/top", "https://base.example/top"),
            (
                "https://x.example/{p1}?a={p2}",
                "https://x.example/%7Bp1%7D?a=%7Bp2%7D",
            ),
            (
                "https://x.example/{{ a }}?b={{b}}&c={{a}}&d=*|D|*#{{e}}",
                "https://x.example/{p1}?b={p2}&c={p1}&d={p3}#{p4}",
            ),
            (
                "{{page}}.html?x=%%y%%",
                "Refused(\"\\\"{{page}}.html?x=%%y%%\\\" has a host that depends on its parameters; list the possible hosts in links.personal_hosts\")",
            ),
            ("dir/{{page}}", "https://base.example/dir/dir/{p1}"),
        ] {
            assert_eq!(tracked(written), page, "{written}");
        }
    }

    #[test]
    fn what_is_no_web_page_stays() {
        for written in [
            "",
            " ",
            "#",
            "#section",
            "mailto:a@x.example",
            "MAILTO:{{email}}",
            "tel:+49 30 1",
            "sms:+1?body=x",
            "whatsapp://send?text=https://x.example",
            "myapp://a/b",
            "cid:logo",
        ] {
            let judged = judge(written, None, &Rules::default());
            assert_eq!(judged, Judged::Untouched, "{written}");
        }
        let own = ["https://t.example/r".to_owned()];
        let rules = Rules {
            own_urls: &own,
            ..Rules::default()
        };
        for (written, code) in [
            ("javascript:alert(1)", "no_page"),
            ("www.example.com/x", "relative"),
            ("page.html", "relative"),
            ("*|UNSUB|*", "foreign_link"),
            ("{{{url}}}", "foreign_link"),
            ("https://a:b@x.example/", "wrong_url"),
            ("https://x.example:99999/", "wrong_url"),
            ("http://", "wrong_url"),
            ("https://t.example/r/autumn?x=1", "own_link"),
            (
                "https://x.example/?u={{unsubscribe_url}}",
                "unsubscribe_part",
            ),
        ] {
            let judged = judge(written, None, &rules);
            assert!(
                matches!(&judged, Judged::Left(had, _) if *had == code),
                "{judged:?}"
            );
        }
        assert_eq!(
            judge(" {{unsubscribe_url}} ", None, &rules),
            Judged::Unsubscribe
        );
        let other = judge("https://t.example/ring", None, &rules);
        assert!(matches!(other, Judged::Tracked(_)), "{other:?}");
    }

    #[test]
    fn a_value_never_chooses_the_host() {
        for written in [
            "https://{{host}}/",
            "https://{{shop}}.example/",
            "https://shop.example{{rest}}",
            "{{url}}",
            "//{{host}}/x",
            "https://*|HOST|*/",
            "https://shop.example:{{port}}/",
            "https://%7Bp1%7D/",
        ] {
            let judged = judge(written, None, &Rules::default());
            let is_harmless = matches!(judged, Judged::Refused(_) | Judged::Left("wrong_url", _));
            assert!(is_harmless, "{written}: {judged:?}");
        }
    }

    #[test]
    fn a_values_place_is_told_by_what_comes_before_it() {
        for (before, place) in [
            ("", Place::Url),
            ("mailto:", Place::Opaque),
            ("tel:+", Place::Opaque),
            ("https://", Place::Host),
            ("//cdn.", Place::Host),
            ("https://x.example/", Place::Path),
            ("img/", Place::Path),
            ("https://x.example?", Place::Query),
            ("https://x.example/#", Place::Query),
            ("/a?b=", Place::Query),
        ] {
            assert_eq!(place_in_url(before), place, "{before}");
        }
    }
}

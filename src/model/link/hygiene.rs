//! What tends to spoil the figures of a link, seen before it is sent: reports count `News` and
//! `news` as two campaigns, and a chain of redirects loses the parameters of its first link.
//!
//! Nothing is fetched. A chain is told by what the address says of itself.

use url::Url;

use crate::model::hint::quote;
use crate::model::hit::Utm;

/// Hosts whose links lead on to another page.
const SHORTENERS: [&str; 18] = [
    "amzn.to",
    "bit.ly",
    "buff.ly",
    "cutt.ly",
    "dub.sh",
    "fb.me",
    "goo.gl",
    "is.gd",
    "l.facebook.com",
    "lnkd.in",
    "ow.ly",
    "rb.gy",
    "rebrand.ly",
    "safelinks.protection.outlook.com",
    "shorturl.at",
    "t.co",
    "tiny.cc",
    "tinyurl.com",
];

/// Something to look at before a link is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// What it is, in one word for programs.
    pub code: &'static str,
    /// What it is and what to do, for people.
    pub detail: String,
}

/// Looks at a destination and the campaign parameters that are to be added to it. `written` is the
/// URL as it was given, `url` what it is stored as, `own_hosts` are those of this server.
pub fn look_at(written: &str, url: &str, utm: &Utm, own_hosts: &[&str]) -> Vec<Hint> {
    let mut hints = Hints::default();
    if written.trim().contains(char::is_whitespace) {
        let detail = "the URL has spaces, which are sent as %20: write - or _ instead";
        hints.add("spaces", detail.to_owned());
    }
    let Ok(parsed) = Url::parse(url) else {
        return hints.0;
    };
    let own: Vec<(String, String)> = parsed
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    look_at_doubles(&own, utm, &mut hints);
    for (name, value) in own.iter().filter(|(name, _)| is_utm(name)) {
        look_at_value(name, value, &mut hints);
    }
    for (name, value) in utm.pairs() {
        look_at_value(name, value, &mut hints);
    }
    look_at_host(&parsed, &own, own_hosts, &mut hints);
    hints.0
}

#[derive(Default)]
struct Hints(Vec<Hint>);

impl Hints {
    fn add(&mut self, code: &'static str, detail: String) {
        let hint = Hint { code, detail };
        if !self.0.contains(&hint) {
            self.0.push(hint);
        }
    }
}

fn is_utm(name: &str) -> bool {
    name.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("utm_"))
}

fn look_at_doubles(own: &[(String, String)], utm: &Utm, hints: &mut Hints) {
    for (index, (name, _)) in own.iter().enumerate() {
        // `a[]=1&a[]=2` is a list.
        let is_double = own[..index].iter().any(|(had, _)| had == name);
        if is_double && !name.ends_with("[]") {
            let detail = format!("the URL has the parameter {} twice: keep one", quote(name));
            hints.add("double", detail);
        }
        let is_odd = is_utm(name) && !Utm::NAMES.contains(&name.as_str());
        let known = name.to_ascii_lowercase();
        if is_odd && Utm::NAMES.contains(&known.as_str()) {
            let detail = format!(
                "{} is not {known}: most programs read only that",
                quote(name)
            );
            hints.add("capitals", detail);
        }
    }
    for (name, value) in utm.pairs() {
        if let Some((_, kept)) = own.iter().find(|(had, _)| had == name) {
            let detail = format!(
                "the URL has {name}={} already, which stays: {} is not added",
                quote(kept),
                quote(value)
            );
            hints.add("double", detail);
        }
    }
}

fn look_at_value(name: &str, value: &str, hints: &mut Hints) {
    if value.contains(char::is_whitespace) {
        let detail = format!("{name} is {}: write - or _ instead of spaces", quote(value));
        hints.add("spaces", detail);
    }
    if value.chars().any(char::is_uppercase) {
        let detail = format!(
            "{name} is {}: reports tell capitals and small letters apart; write {}",
            quote(value),
            quote(&value.to_lowercase())
        );
        hints.add("capitals", detail);
    }
}

fn look_at_host(url: &Url, own: &[(String, String)], own_hosts: &[&str], hints: &mut Hints) {
    let host = url.host_str().unwrap_or_default();
    if own_hosts.contains(&host) {
        let detail = format!(
            "{host} is this server itself: a click would be counted twice; lead to the page"
        );
        hints.add("own_host", detail);
    }
    let is_of = |name: &&&str| {
        host == **name
            || host
                .strip_suffix(**name)
                .is_some_and(|sub| sub.ends_with('.'))
    };
    if let Some(shortener) = SHORTENERS.iter().find(is_of) {
        let detail = format!(
            "{shortener} leads on to another page, and may lose parameters on the way: lead to \
            the page itself"
        );
        hints.add("redirect_chain", detail);
    }
    for (name, value) in own {
        let leads_on = ["http://", "https://"]
            .iter()
            .any(|web| value.starts_with(web));
        if leads_on {
            let detail = format!(
                "the parameter {} holds an address: if the page leads on to it, lead there itself",
                quote(name)
            );
            hints.add("redirect_chain", detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(url: &str, source: &str, campaign: &str) -> Vec<&'static str> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let utm = Utm {
            source: text(source),
            campaign: text(campaign),
            ..Utm::default()
        };
        let stored = crate::model::link::check_template(url).unwrap();
        let hints = look_at(url, &stored, &utm, &["t.example"]);
        hints.into_iter().map(|hint| hint.code).collect()
    }

    #[test]
    fn what_spoils_figures_is_told() {
        for (url, source, campaign, expected) in [
            (
                "https://x.example/a?b=1&c[]=1&c[]=2#d",
                "news",
                "spring-2026",
                &[][..],
            ),
            ("https://x.example/a b", "", "", &["spaces"]),
            ("https://x.example/", "my news", "", &["spaces"]),
            ("https://x.example/", "News", "", &["capitals"]),
            (
                "https://x.example/",
                "Ölpreis",
                "Ä b",
                &["capitals", "spaces", "capitals"],
            ),
            (
                "https://x.example/?utm_source=A+b",
                "",
                "",
                &["spaces", "capitals"],
            ),
            ("https://x.example/?UTM_source=a", "", "", &["capitals"]),
            ("https://x.example/?a=1&a=2&a=3", "", "", &["double"]),
            ("https://x.example/?utm_source=a", "b", "", &["double"]),
            ("https://bit.ly/x", "", "", &["redirect_chain"]),
            (
                "https://eur01.safelinks.protection.outlook.com/",
                "",
                "",
                &["redirect_chain"],
            ),
            ("https://notbit.ly/x", "", "", &[]),
            (
                "https://x.example/go?to=https%3A%2F%2Fy.example",
                "",
                "",
                &["redirect_chain"],
            ),
            ("https://T.example/r/autumn", "", "", &["own_host"]),
        ] {
            assert_eq!(codes(url, source, campaign), expected, "{url}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_url_panics(written: String, url: String) {
            look_at(&written, &url, &Utm::default(), &[]);
        }
    }
}

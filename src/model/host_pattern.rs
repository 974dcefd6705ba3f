//! Patterns of hosts, and the one rule that matches a host against them.
//!
//! | pattern | covers |
//! |---|---|
//! | `www.example.com` | this host |
//! | `*.example.com` | every host below it, at any depth; not `example.com` itself |
//! | `.example.com` | `example.com` and every host below it: the domain of a cookie |
//! | `https://*.example.com:8443` | an origin: the host as above, with this scheme and this port |
//!
//! - Case is ignored.
//! - A pattern is brought into the form in which URLs and headers hold a host: `*.bücher.example`
//!   is `*.xn--bcher-kva.example`. A host is compared as it comes, so it must be in that form.
//! - One dot at the end is ignored: `www.example.com.` is the same host.
//! - A host below another has whole labels of letters, digits, `-` and `_` in front; anything else
//!   is no host, and nothing covers it.
//! - An IP address is covered only by itself.
//! - A pattern of a host says nothing about ports, and the caller passes none. In an origin the
//!   port counts, and a scheme's own port is left out, as browsers do.
//!
//! Source: RFC 6454 (origins), RFC 6265 5.1.3 (domains of cookies), the URL Standard (hosts).

use serde::{Deserialize, Serialize};
use url::Host;

/// Longest host there is, and some.
const MOST_HOST: usize = 255;

/// A host, or all hosts below one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(String);

/// The text is not a host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a host name such as www.example.com or *.example.com")]
pub struct NoHostPattern;

impl HostPattern {
    /// Reads `www.example.com` or `*.example.com`.
    ///
    /// # Errors
    /// The host is not valid: empty, an address behind `*.`, with a port, a path or a star.
    pub fn parse(text: &str) -> Result<Self, NoHostPattern> {
        match text.strip_prefix("*.") {
            Some(domain) => Ok(Self(format!("*.{}", name(domain)?))),
            None => Ok(Self(host(text)?)),
        }
    }

    /// Reads a cookie's domain, `.example.com` or `example.com`: the domain and all hosts below it.
    ///
    /// # Errors
    /// The text is not a host's name, or is an address.
    pub fn parse_domain(text: &str) -> Result<Self, NoHostPattern> {
        let domain = text.strip_prefix('.').unwrap_or(text);
        Ok(Self(format!(".{}", name(domain)?)))
    }

    /// The host without its prefix.
    pub fn host(&self) -> &str {
        let text = self.0.strip_prefix('*').unwrap_or(&self.0);
        text.strip_prefix('.').unwrap_or(text)
    }

    /// Whether it covers a whole top-level domain, such as `*.com`.
    pub fn is_top_level(&self) -> bool {
        self.0.len() > self.host().len() && !self.host().contains('.')
    }

    /// Whether a host is covered.
    pub fn covers(&self, host: &str) -> bool {
        covers(&self.0, host)
    }
}

impl TryFrom<String> for HostPattern {
    type Error = NoHostPattern;

    fn try_from(text: String) -> Result<Self, NoHostPattern> {
        Self::parse(&text)
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.0
    }
}

/// Whether one of the patterns covers a host.
pub fn is_listed(host: &str, patterns: &[HostPattern]) -> bool {
    patterns.iter().any(|pattern| pattern.covers(host))
}

/// Whether a pattern covers a host. The pattern is the text of a [`HostPattern`], as stored.
pub fn covers(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match (pattern.strip_prefix("*."), pattern.strip_prefix('.')) {
        (Some(domain), _) => is_below(host, domain),
        (_, Some(domain)) => host.eq_ignore_ascii_case(domain) || is_below(host, domain),
        _ => host.eq_ignore_ascii_case(pattern),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    let Some((labels, rest)) = (host.len().checked_sub(domain.len() + 1))
        .and_then(|at| host.as_bytes().split_at_checked(at))
    else {
        return false;
    };
    rest.first() == Some(&b'.')
        && rest[1..].eq_ignore_ascii_case(domain.as_bytes())
        && labels.split(|byte| *byte == b'.').all(|label| {
            let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
            !label.is_empty() && label.iter().all(is_of_name)
        })
}

/// A name or an address, as URLs write it.
fn host(text: &str) -> Result<String, NoHostPattern> {
    let host = Host::parse(text).map_err(|_| NoHostPattern)?;
    let Host::Domain(name) = host else {
        return Ok(host.to_string());
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_name = name.len() <= MOST_HOST
        && !name.contains('*')
        && name.split('.').all(|label| !label.is_empty());
    is_name.then(|| name.to_owned()).ok_or(NoHostPattern)
}

/// A name: an address has nothing below it.
fn name(text: &str) -> Result<String, NoHostPattern> {
    match Host::parse(text) {
        Ok(Host::Domain(_)) => host(text),
        _ => Err(NoHostPattern),
    }
}

/// An origin, `https://shop.example`, or all below one, `https://*.shop.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: String,
    host: HostPattern,
    /// As written; empty means the scheme's default.
    port: String,
}

impl OriginPattern {
    /// Reads scheme, host or `*.` and host, and a port where it is not the scheme's own.
    ///
    /// # Errors
    /// The text does not have this form.
    pub fn parse(text: &str) -> Result<Self, NoHostPattern> {
        let (scheme, host, port) = split_origin(text).ok_or(NoHostPattern)?;
        Ok(Self {
            scheme: scheme.to_owned(),
            host: HostPattern::parse(host)?,
            port: port.to_owned(),
        })
    }

    /// Whether a browser's `Origin` is covered.
    pub fn covers(&self, origin: &str) -> bool {
        split_origin(origin).is_some_and(|(scheme, host, port)| {
            scheme.eq_ignore_ascii_case(&self.scheme) && port == self.port && self.host.covers(host)
        })
    }
}

/// Scheme, host and port; an IPv6 address keeps its brackets.
fn split_origin(origin: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = origin.split_once("://")?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (rest, ""),
    };
    Some((scheme, host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_cover_exactly_what_they_say() {
        for (pattern, covered, not_covered) in [
            (
                "www.example.com",
                &["www.example.com", "WWW.Example.Com", "www.example.com."][..],
                &["example.com", "a.www.example.com", "www.example.com..", ""][..],
            ),
            (
                "*.Example.com",
                &["a.example.com", "A.B.EXAMPLE.COM", "my_shop.example.com"],
                &[
                    "example.com",
                    ".example.com",
                    "a..example.com",
                    "evilexample.com",
                    "a.example.com.evil.example",
                    "evil.example/.example.com",
                    "evil.example:80.example.com",
                    "u@x.example.com",
                ],
            ),
            (
                "*.bücher.example",
                &["a.xn--bcher-kva.example"],
                &["xn--bcher-kva.example", "a.bucher.example"],
            ),
            ("*.com.", &["a.com"], &["com", "com."]),
            ("192.0.2.1", &["192.0.2.1"], &["1.192.0.2.1"]),
            ("[::1]", &["[::1]"], &["::1"]),
        ] {
            let pattern = HostPattern::parse(pattern).unwrap();
            for host in covered {
                assert!(pattern.covers(host), "{pattern:?} {host}");
            }
            for host in not_covered {
                assert!(!pattern.covers(host), "{pattern:?} {host}");
            }
        }
    }

    #[test]
    fn a_domain_of_cookies_covers_itself_and_all_below() {
        for text in [".Example.com", "example.com"] {
            let domain = HostPattern::parse_domain(text).unwrap();
            assert_eq!(domain.host(), "example.com");
            for host in ["example.com", "T.example.com", "a.b.example.com"] {
                assert!(domain.covers(host), "{host}");
            }
            for host in ["evilexample.com", "com", ".example.com"] {
                assert!(!domain.covers(host), "{host}");
            }
        }
    }

    #[test]
    fn what_can_never_match_is_no_pattern() {
        for text in [
            "",
            "*",
            "*.",
            "**.example.com",
            "a.*.example.com",
            "*.*.example.com",
            ".example.com",
            "a..example.com",
            "www.example.com:8080",
            "https://www.example.com",
            "a.example/b",
            "a b.example",
            "x@a.example",
            "*.192.0.2.1",
            "*.[::1]",
            "::1",
        ] {
            assert_eq!(HostPattern::parse(text), Err(NoHostPattern), "{text}");
        }
        for text in [
            "",
            ".",
            "..example.com",
            "192.0.2.1",
            "[::1]",
            "*.a.example",
        ] {
            assert_eq!(
                HostPattern::parse_domain(text),
                Err(NoHostPattern),
                "{text}"
            );
        }
        assert!(HostPattern::parse("*.com").unwrap().is_top_level());
        assert!(!HostPattern::parse("localhost").unwrap().is_top_level());
    }

    #[test]
    fn an_origin_counts_with_its_scheme_and_port() {
        for (pattern, origin, is_covered) in [
            ("https://a.example", "https://a.example", true),
            ("https://a.example", "https://A.example", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example:8443", "https://a.example:8443", true),
            ("https://a.example:8443", "https://a.example", false),
            ("https://*.A.example", "https://x.a.example", true),
            ("https://*.a.example", "https://x.y.a.example", true),
            ("https://*.a.example", "https://a.example", false),
            (
                "https://*.a.example",
                "https://evil.example/.a.example",
                false,
            ),
            ("https://*.a.example", "https://evila.example", false),
            (
                "https://*.a.example",
                "https://x.a.example.evil.example",
                false,
            ),
            ("http://[::1]", "http://[::1]", true),
            ("http://[::1]:8080", "http://[::1]:8080", true),
            ("http://[::1]", "http://[::1]:8080", false),
            ("https://a.example", "null", false),
        ] {
            let parsed = OriginPattern::parse(pattern).unwrap();
            assert_eq!(parsed.covers(origin), is_covered, "{pattern} {origin}");
        }
    }

    proptest! {
        #[test]
        fn a_covered_host_is_the_host_or_ends_in_it(
            text in "(\\*\\.|\\.)?[a-z]{1,2}(\\.[a-z]{1,2}){0,2}",
            host in "\\PC{0,3}[a-z.]{0,4}",
            below: bool,
        ) {
            let pattern = HostPattern::parse(&text).or_else(|_| HostPattern::parse_domain(&text));
            let pattern = pattern.unwrap();
            let domain = pattern.host().to_owned();
            let host = if below { format!("{host}.{domain}") } else { host };
            let plain = host.strip_suffix('.').unwrap_or(&host).to_ascii_lowercase();
            if pattern.covers(&host) {
                let is_itself = plain == domain;
                prop_assert!(is_itself || plain.ends_with(&format!(".{domain}")), "{}", host);
                prop_assert!(!is_itself || !text.starts_with('*'));
                prop_assert!(!is_itself || !plain.starts_with('.'));
                let is_of_host = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
                prop_assert!(plain.bytes().all(is_of_host));
            }
        }

        #[test]
        fn case_and_one_dot_at_the_end_say_nothing(
            text in "(\\*\\.)?[a-zA-Z]{1,3}(\\.[a-z]{1,3}){0,2}",
            host in "[a-z]{1,2}(\\.[a-z]{1,3}){0,3}",
            below: bool,
        ) {
            let pattern = HostPattern::parse(&text).unwrap();
            let host = if below { format!("{host}.{}", pattern.host()) } else { host };
            let is_covered = pattern.covers(&host);
            prop_assert!(!below || is_covered == text.starts_with('*'));
            prop_assert_eq!(pattern.covers(&host.to_ascii_uppercase()), is_covered);
            prop_assert_eq!(pattern.covers(&format!("{host}.")), is_covered);
            let again = HostPattern::parse(&String::from(pattern.clone()));
            prop_assert_eq!(again, Ok(pattern));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}", host in "\\PC{0,30}") {
            if let Ok(pattern) = HostPattern::parse(&text) {
                pattern.covers(&host);
            }
            if let Ok(pattern) = OriginPattern::parse(&text) {
                pattern.covers(&host);
            }
            covers(&text, &host);
        }
    }
}

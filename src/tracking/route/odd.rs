//! Addresses that went through other hands: templates, mail clients, proxies, people.
//!
//! | came | is meant |
//! |---|---|
//! | `/r/x&utm_source=a` | `/r/x?utm_source=a`: a template added parameters to an address that had none |
//! | `//r/x`, `/mautic//mtc.js` | the same with one slash: a base URL that ends with one |
//! | `/index.php/r/x`, `/index_dev.php/…`, `/mautic/…` | the same without it: Mautic's mails and pages carry the path of their installation |
//! | `/%72/x` | `/r/x`: the same address (RFC 3986, 6.2.2.2) |
//! | `/mtracking.gif)` | the pixel with text behind it |
//!
//! What has to be understood is tried only where the address as it stands is none of ours, so
//! nothing here costs a plain link anything. Of prefixes only those are read that Mautic's own
//! front controllers make, its usual directory, and what the operator put before a name in
//! `[paths]`: with any prefix, every path of a shared host that ends like one of ours would become
//! a hit. Behind a prefix there are no paths of Mapp's, which may have any first part:
//! `/x/v1/batch` is not a batch. New links get no prefix.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{EVENT, OPEN, PIXEL, PREFIXES, Paths, REDIRECT, Route, RouteKind, SCRIPT, UNSUBSCRIBE};
use crate::model::link::query_behind;

/// Prefixes in front of one path: `/mautic/index.php/r/x` has two.
const MOST_PREFIXES: usize = 3;

impl Paths {
    /// The tracking request of a URL that is not ours as it stands.
    #[cold]
    pub(super) fn route_of_odd<'u>(&self, path: &'u str, query: Cow<'u, str>) -> Option<Route<'u>> {
        if let Some((kind, rest)) = self.without_prefix(path, &query) {
            return Some(Route {
                kind,
                rest: Cow::Borrowed(rest),
                query,
                is_repaired: false,
            });
        }
        // Somebody has put the whole address into capitals; a token is read in any case.
        if let Some((kind, rest)) = self.read_shouted(path) {
            return Some(Route {
                kind,
                rest: Cow::Borrowed(rest),
                query,
                is_repaired: true,
            });
        }
        if let Some(behind) = self.behind_pixel(path) {
            let behind = percent_decode_str(behind).decode_utf8_lossy();
            let query = match behind.starts_with(['?', '&']) {
                true => Cow::Owned(query_behind(&behind, &query).into_owned()),
                false => query,
            };
            return Some(Route {
                kind: RouteKind::Pixel,
                rest: Cow::Borrowed(""),
                query,
                is_repaired: true,
            });
        }
        let plain = unescape_unreserved(path)?;
        let (kind, rest) = self.without_prefix(&plain, &query)?;
        Some(Route {
            kind,
            rest: Cow::Owned(rest.to_owned()),
            query,
            is_repaired: false,
        })
    }

    /// The path without its prefixes, if it then is one of ours.
    fn without_prefix<'p>(&self, mut path: &'p str, query: &str) -> Option<(RouteKind, &'p str)> {
        for prefixes in 0..=MOST_PREFIXES {
            let slashes = path.len() - path.trim_start_matches('/').len();
            path = path.get(slashes.checked_sub(1)?..)?;
            match self.read(path, query) {
                Some((RouteKind::Mapp(_), _)) if prefixes > 0 => return None,
                Some(read) => return Some(read),
                None => path = self.behind_prefix(path)?,
            }
        }
        None
    }

    fn behind_prefix<'p>(&self, path: &'p str) -> Option<&'p str> {
        let named = [
            (&self.redirect, REDIRECT),
            (&self.pixel, PIXEL),
            (&self.event, EVENT),
            (&self.script, SCRIPT),
        ];
        named
            .into_iter()
            .filter_map(|(path, usual)| path.strip_suffix(usual))
            .filter(|prefix| !prefix.is_empty())
            .chain(PREFIXES)
            .find_map(|prefix| {
                path.strip_prefix(prefix)
                    .filter(|rest| rest.starts_with('/'))
            })
    }

    /// A link, an open pixel or an unsubscribe link whose name is in capitals. The rest stays as it
    /// came.
    fn read_shouted<'p>(&self, path: &'p str) -> Option<(RouteKind, &'p str)> {
        let is_mautic = false;
        let names = [
            (self.redirect.as_str(), RouteKind::Link),
            (REDIRECT, RouteKind::Link),
            (OPEN, RouteKind::Open { is_mautic }),
            (UNSUBSCRIBE, RouteKind::Unsubscribe { is_mautic }),
        ];
        names.into_iter().find_map(|(name, kind)| {
            let (start, rest) = path.split_at_checked(name.len())?;
            let is_same = start.eq_ignore_ascii_case(name) && rest.len() > 1;
            (is_same && rest.starts_with('/')).then(|| (kind, rest.trim_matches('/')))
        })
    }

    /// What follows the pixel's name and cannot belong to another name.
    fn behind_pixel<'p>(&self, path: &'p str) -> Option<&'p str> {
        let mut path = path;
        for _ in 0..=MOST_PREFIXES {
            let slashes = path.len() - path.trim_start_matches('/').len();
            path = path.get(slashes.checked_sub(1)?..)?;
            let behind = [self.pixel.as_str(), PIXEL]
                .iter()
                .find_map(|pixel| path.strip_prefix(pixel));
            if let Some(behind) = behind {
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
                return behind
                    .bytes()
                    .next()
                    .is_some_and(|byte| !is_name(byte))
                    .then_some(behind);
            }
            path = self.behind_prefix(path)?;
        }
        None
    }
}

/// A path with the escapes of letters, digits and `-._~` decoded; `None` if it has none.
fn unescape_unreserved(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3);
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.map(char::from) {
            Some(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => {
                plain.push(c);
                rest = &rest[at + 3..];
            }
            _ => {
                plain.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    plain.push_str(rest);
    (plain.len() < path.len()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_unreserved_characters_are_read_and_no_others() {
        for (path, plain) in [
            ("/%72/a", Some("/r/a")),
            ("/%6dtracking%2Egif", Some("/mtracking.gif")),
            ("/%2F%72%", Some("/%2Fr%")),
            ("/r/a%20b", None),
            ("/%+7", None),
            ("/%7", None),
            ("/%\u{e4}", None),
            ("/r", None),
        ] {
            assert_eq!(unescape_unreserved(path).as_deref(), plain, "{path}");
        }
    }
}

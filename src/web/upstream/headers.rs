//! Headers on their way to the old system and back.

use std::net::IpAddr;

use http::header::{
    CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::site::Site;
use crate::tracking::session::{BROADLOG_COOKIE, DELIVERY_COOKIE, LAST_DELIVERY_COOKIE};
use crate::tracking::visitor::VISITOR_COOKIE;
use crate::web::api::access::SESSION_COOKIES;

/// What we call ourselves in `Via`.
const OUR_NAME: &str = "sillage";
/// How often a request may have passed through a server of ours: two may be chained.
const MOST_PASSES: usize = 2;

/// Cookies that only we read and write.
const OURS: [&str; 6] = [
    SESSION_COOKIES[0],
    SESSION_COOKIES[1],
    BROADLOG_COOKIE,
    DELIVERY_COOKIE,
    LAST_DELIVERY_COOKIE,
    VISITOR_COOKIE,
];

/// Hop-by-hop headers (RFC 9110, 7.6.1), and those that are settled before.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
/// What clients say about the way to us, which only the way from us may say.
const FORWARDING: [&str; 7] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
];

/// Whether a request has passed through here before.
pub(super) fn is_loop(headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| {
        let names = value.as_bytes().split(|byte| *byte == b',');
        names
            .filter(|name| name.trim_ascii().ends_with(OUR_NAME.as_bytes()))
            .count()
    };
    headers.get_all(VIA).iter().map(named).sum::<usize>() >= MOST_PASSES
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// A client's request, as it is forwarded.
pub(super) struct Asked<'a> {
    /// Where it came.
    pub(super) site: &'a Site,
    /// Who sent it, by our own rules of trust.
    pub(super) client: IpAddr,
    /// The `Host` for the old system.
    pub(super) host: &'a HeaderValue,
}

impl Asked<'_> {
    /// Turns the headers into those of the forwarded request.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let asked_for = headers.get(HOST).cloned();
        remove_hop_by_hop(headers);
        headers.remove(EXPECT);
        headers.remove(FORWARDED);
        for name in FORWARDING {
            headers.remove(name);
        }
        remove_our_cookies(headers);
        headers.insert(HOST, self.host.clone());
        let mut set = |name: &'static str, value: Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        };
        let scheme = if self.site.is_https() {
            "https"
        } else {
            "http"
        };
        set(
            "x-forwarded-for",
            HeaderValue::try_from(self.client.to_string()).ok(),
        );
        set("x-forwarded-host", asked_for);
        set("x-forwarded-proto", Some(HeaderValue::from_static(scheme)));
        headers.append(VIA, HeaderValue::from_static("1.1 sillage"));
    }
}

/// Removes our cookies; those of the old system and others stay, byte for byte.
fn remove_our_cookies(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    let is_ours = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        OURS.iter().any(|ours| name.trim_ascii() == ours.as_bytes())
    };
    if !lines
        .iter()
        .any(|line| line.as_bytes().split(|byte| *byte == b';').any(is_ours))
    {
        return;
    }
    headers.remove(COOKIE);
    for line in lines {
        let pairs = line.as_bytes().split(|byte| *byte == b';');
        let kept: Vec<&[u8]> = pairs.filter(|pair| !is_ours(pair)).collect();
        let kept = kept.join(&b';');
        if let Ok(line) = HeaderValue::from_bytes(kept.trim_ascii())
            && !line.is_empty()
        {
            headers.append(COOKIE, line);
        }
    }
}

/// A response of the old system, as it goes to the client.
pub(super) struct Answered<'a> {
    /// Where the client asked.
    pub(super) site: &'a Site,
    /// Host and port of the old system.
    pub(super) authority: &'a str,
    /// The `Host` it was sent.
    pub(super) host: &'a str,
    /// Prefix of its paths.
    pub(super) prefix: &'a str,
}

impl Answered<'_> {
    /// Turns the headers into those of our response.
    pub(super) fn clean(&self, headers: &mut HeaderMap) {
        remove_hop_by_hop(headers);
        if let Some(location) = headers.get(LOCATION)
            && let Some(ours) = location.to_str().ok().and_then(|text| self.lead_here(text))
            && let Ok(ours) = HeaderValue::try_from(ours)
        {
            headers.insert(LOCATION, ours);
        }
        let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        headers.remove(SET_COOKIE);
        for cookie in cookies {
            if let Some(cookie) = self.cookie(&cookie) {
                headers.append(SET_COOKIE, cookie);
            }
        }
    }

    /// A URL of the old system as one of ours; `None` if it is another's.
    fn lead_here(&self, location: &str) -> Option<String> {
        if location.starts_with('/') && !location.starts_with("//") {
            let below = location.strip_prefix(self.prefix)?;
            let is_below = !self.prefix.is_empty() && below.starts_with(['/', '?', '#']);
            return is_below.then(|| below.to_owned());
        }
        let rest = location
            .strip_prefix("https:")
            .or_else(|| location.strip_prefix("http:"));
        let rest = rest.unwrap_or(location).strip_prefix("//")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let is_theirs = [self.authority, self.host]
            .iter()
            .any(|theirs| theirs.eq_ignore_ascii_case(authority));
        let below = path.strip_prefix(self.prefix).unwrap_or(path);
        is_theirs.then(|| format!("{}{below}", self.site.base_url))
    }

    /// A cookie of the old system: `None` if it has one of our names, and without its own host as
    /// the domain, which a browser that asked us would reject.
    fn cookie(&self, cookie: &HeaderValue) -> Option<HeaderValue> {
        let bytes = cookie.as_bytes();
        let mut parts = bytes.split(|byte| *byte == b';');
        let pair = parts.next().unwrap_or_default();
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        if OURS.iter().any(|ours| name.trim_ascii() == ours.as_bytes()) {
            return None;
        }
        let is_own_domain = |part: &&[u8]| {
            let text = String::from_utf8_lossy(part).to_ascii_lowercase();
            text.trim().strip_prefix("domain").is_some_and(|value| {
                let value = value.trim_start().trim_start_matches('=').trim();
                let domain = value.trim_start_matches('.');
                let is_below = |host: &str| {
                    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
                    let host = host.to_ascii_lowercase();
                    host == domain || host.ends_with(&format!(".{domain}"))
                };
                [self.authority, self.host].into_iter().any(is_below)
                    && self.site.host != domain
                    && !self.site.host.ends_with(&format!(".{domain}"))
            })
        };
        if !parts.clone().any(|part| is_own_domain(&part)) {
            return Some(cookie.clone());
        }
        let mut kept = vec![pair];
        kept.extend(parts.filter(|part| !is_own_domain(part)));
        HeaderValue::from_bytes(&kept.join(&b';')).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_and_our_cookies_stay_here() {
        let site = Site::new("https://t.shop.example".to_owned());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "t.shop.example"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("x-forwarded-for", "6.6.6.6"),
            ("forwarded", "for=6.6.6.6"),
            (
                "cookie",
                "a=1; visitorId=x.y; mautic_device_id=b; broadlogId=2",
            ),
            ("x-other", "kept"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let asked = Asked {
            site: &site,
            client: IpAddr::from([203, 0, 113, 7]),
            host: &HeaderValue::from_static("old.example"),
        };
        asked.write(&mut headers);
        let mut all: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        all.sort();
        assert_eq!(
            all,
            [
                "cookie: a=1; mautic_device_id=b",
                "host: old.example",
                "via: 1.1 sillage",
                "x-forwarded-for: 203.0.113.7",
                "x-forwarded-host: t.shop.example",
                "x-forwarded-proto: https",
                "x-other: kept",
            ]
        );
        assert!(!is_loop(&headers));
        headers.append(VIA, HeaderValue::from_static("1.0 cache, 1.1 sillage"));
        assert!(is_loop(&headers));
    }

    #[test]
    fn what_names_the_old_system_is_led_here() {
        let site = Site::new("https://t.shop.example".to_owned());
        let answered = Answered {
            site: &site,
            authority: "10.0.0.7:8080",
            host: "Old.example",
            prefix: "/mautic",
        };
        for (location, ours) in [
            ("/mautic/page?a=1", Some("/page?a=1")),
            ("/mauticx", None),
            ("/other", None),
            (
                "https://old.example/mautic/x",
                Some("https://t.shop.example/x"),
            ),
            ("//10.0.0.7:8080/y", Some("https://t.shop.example/y")),
            ("http://old.example", Some("https://t.shop.example")),
            ("https://www.shop.example/", None),
            ("https://old.example.evil.example/", None),
            ("relative", None),
        ] {
            assert_eq!(answered.lead_here(location).as_deref(), ours, "{location}");
        }
        for (cookie, kept) in [
            (
                "a=1; Domain=old.example; Path=/; Secure",
                Some("a=1; Path=/; Secure"),
            ),
            ("a=1; domain=.example", Some("a=1; domain=.example")),
            ("a=1; Path=/", Some("a=1; Path=/")),
            ("visitorId=forged", None),
        ] {
            let kept = kept.map(HeaderValue::from_static);
            assert_eq!(
                answered.cookie(&HeaderValue::from_static(cookie)),
                kept,
                "{cookie}"
            );
        }
    }
}

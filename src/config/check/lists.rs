//! Lists of networks, origins, domains, hosts and fields: an item that can never match is a
//! mistake.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Url;

use super::Found;
use crate::config::Config;
use crate::config::words::{Duplicates, allowed, did_you_mean};
use crate::model::host_pattern::HostPattern;

pub(super) fn check_networks(config: &Config, found: &mut Found) {
    for (key, networks) in [
        ("trust.proxies", &config.trust.proxies),
        ("trust.senders", &config.trust.senders),
        ("webhooks.allow_networks", &config.webhooks.allow_networks),
    ] {
        for (index, network) in networks.iter().enumerate() {
            let address = network.addr();
            let wrong = if network.trunc() != *network {
                format!(
                    "has bits set beyond its prefix; write \"{}\" for the network, or \"{}\" for \
                    the single address",
                    network.trunc(),
                    IpNet::from(address)
                )
            } else if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
                "is an IPv4 network written as IPv6, which matches no client; write it as IPv4"
                    .to_owned()
            } else {
                continue;
            };
            found.item(key, index, &network.to_string(), wrong);
        }
    }
}

pub(super) fn check_names(config: &Config, found: &mut Found) {
    let origins = &config.cors.origins;
    for (index, origin) in origins.iter().enumerate() {
        let wrong = if origin == "*" && origins.len() > 1 {
            Some(
                "allows every origin, so the other entries have no effect; remove it or them"
                    .to_owned(),
            )
        } else {
            wrong_origin(origin).map(|wrong| format!("{wrong}; {}", allowed("cors.origins")))
        };
        if let Some(wrong) = wrong {
            found.item("cors.origins", index, origin, wrong);
        }
    }
    for (index, domain) in config.cookies.domains.iter().enumerate() {
        if let Some(wrong) = wrong_domain(domain) {
            let text = format!("{wrong}; {}", allowed("cookies.domains"));
            found.item("cookies.domains", index, domain, text);
        }
    }
    for (key, fields) in [
        ("contacts.unique", &config.contacts.unique),
        ("contacts.public", &config.contacts.public),
    ] {
        for (index, field) in fields.iter().enumerate() {
            let is_name = (1..=64).contains(&field.len())
                && field
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            if !is_name {
                let text = format!("is not a field name; {}", allowed(key));
                found.item(key, index, field, text);
            }
        }
        for (index, field) in Duplicates::of(fields) {
            found.item(key, index, field, "is listed twice; remove one");
        }
    }
}

fn wrong_origin(origin: &str) -> Option<String> {
    if origin == "*" {
        return None;
    }
    // A star is no letter of a host; the rest is held against what a browser sends.
    let plain = origin.replacen("://*.", "://", 1);
    let star = if plain.len() < origin.len() { "*." } else { "" };
    let url = Url::parse(&plain)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = url else {
        let guess = format!("https://{origin}");
        let is_host = !origin.is_empty() && !origin.contains([':', '*', ' ']);
        return Some(format!(
            "is not an origin{}",
            did_you_mean(is_host.then_some(guess))
        ));
    };
    if plain.contains('*') {
        return Some("has a * somewhere other than before the first dot".to_owned());
    }
    let sent = url.origin().ascii_serialization();
    (!sent.eq_ignore_ascii_case(&plain)).then(|| {
        let meant = sent.replacen("://", &format!("://{star}"), 1);
        format!(
            "is not an origin as browsers send it, so it would never match{}",
            did_you_mean(Some(meant))
        )
    })
}

fn wrong_domain(domain: &str) -> Option<String> {
    let name = domain.strip_prefix('.').unwrap_or(domain);
    if name.parse::<IpAddr>().is_ok() {
        return Some("is an IP address, which browsers reject as a cookie domain".to_owned());
    }
    let Ok(pattern) = HostPattern::parse_domain(domain) else {
        return Some(format!("is not a domain{}", host_of(domain)));
    };
    pattern
        .is_top_level()
        .then(|| "is a top-level domain, which browsers reject as a cookie domain".to_owned())
}

/// ` (did you mean …?)` for a URL or a wildcard where a domain is expected.
fn host_of(text: &str) -> String {
    did_you_mean(meant_host(text))
}

/// The host inside a value that should be a host but is a URL, another list's pattern, or has a
/// port.
pub(in crate::config) fn meant_host(text: &str) -> Option<String> {
    Url::parse(text)
        .ok()
        .and_then(|url| url.host_str().map(str::to_owned))
        .or_else(|| text.strip_prefix("*.").map(str::to_owned))
        .or_else(|| text.split_once(['/', ':']).map(|(host, _)| host.to_owned()))
        .filter(|host| host.contains('.') && !host.contains(['*', ' ']))
}

//! The one place that decides which address a request comes from.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::TrackingState;

/// The client's address: the peer's, or where the peer is a trusted proxy, the last address in
/// `X-Forwarded-For` (read from right to left) that is not a trusted proxy's. What stands left of
/// it may be forged and is not looked at; at something that is no address the reading stops. No
/// header is believed by default.
pub fn client_ip(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    if proxies.is_empty() || !is_in(client, proxies) {
        return client;
    }
    // As bytes: what a client put in front, of whatever kind, does not hide what the proxy added
    // behind it.
    let values: Vec<&[u8]> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let parts = values.iter().rev();
    for text in parts.flat_map(|value| value.rsplit(|byte| *byte == b',')) {
        let Some(address) = std::str::from_utf8(text).ok().and_then(parse) else {
            break;
        };
        client = address;
        if !is_in(client, proxies) {
            break;
        }
    }
    client
}

impl TrackingState {
    /// The client of a request that came from `peer`.
    pub(in crate::web) fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client_ip(peer, headers, &self.trust.proxies)
    }
}

/// Whether an address is in one of the networks.
pub fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| {
            text.parse::<std::net::SocketAddr>()
                .map(|address| address.ip())
        })
        .or_else(|_| {
            text.trim_start_matches('[')
                .trim_end_matches(']')
                .parse::<IpAddr>()
        })
        .ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str], proxies: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append("x-forwarded-for", value);
        }
        let proxies: Vec<IpNet> = proxies.iter().map(|net| net.parse().unwrap()).collect();
        client_ip(peer.parse().unwrap(), &headers, &proxies).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let private = ["10.0.0.0/8", "::1/128"];
        assert_eq!(client("203.0.113.1", &["198.51.100.1"], &[]), "203.0.113.1");
        assert_eq!(
            client("203.0.113.1", &["198.51.100.1"], &private),
            "203.0.113.1"
        );
        assert_eq!(
            client("10.0.0.1", &["198.51.100.1"], &private),
            "198.51.100.1"
        );
        assert_eq!(
            client(
                "10.0.0.1",
                &["192.0.2.66, 198.51.100.1, 10.0.0.2"],
                &private
            ),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.0.0.1", &["192.0.2.66", "198.51.100.1:4711"], &private),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.0.0.1", &["192.0.2.66, junk, 10.0.0.2"], &private),
            "10.0.0.2"
        );
        assert_eq!(
            client("10.0.0.1", &["K\u{f6}ln, 198.51.100.1"], &private),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.0.0.1", &["192.0.2.66", "K\u{f6}ln, 10.0.0.2"], &private),
            "10.0.0.2"
        );
        assert_eq!(client("10.0.0.1", &["10.0.0.3"], &private), "10.0.0.3");
        assert_eq!(
            client("::ffff:10.0.0.1", &["[2001:db8::1]:443"], &private),
            "2001:db8::1"
        );
        assert_eq!(client("::1", &[""], &private), "::1");
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in "[ -~]{0,60}") {
            client("10.0.0.1", &[&text], &["10.0.0.0/8"]);
        }
    }
}

//! What a sender may say of somebody else, and what becomes of it where it may not.

use std::net::Ipv4Addr;

use http::{HeaderMap, HeaderValue, Method};

use super::*;
use crate::model::hit::{Verdict, VisitorId};
use crate::model::site::Site;
use crate::tracking::mapp::collect;
use crate::tracking::mapp::tests::{Asked, BROWSER, NOW, SECRET, extra, hit, hit_of, rules, with};

#[test]
fn an_override_counts_from_who_is_trusted() {
    let query = "p=300,home&X-WT-IP=203.0.113.7&X-WT-UA=Mozilla%2F5.0%20(Windows%20NT%2010.0%3B%20Win64%3B%20x64%3B%20rv%3A131.0)%20Gecko%2F20100101%20Firefox%2F131.0&X-WT-RQ=https%3A%2F%2Fa.example%2F";
    let public = hit(query);
    assert_eq!(public.ip.unwrap().to_string(), "192.0.2.1");
    assert_eq!(public.user_agent.as_deref(), Some(BROWSER));
    assert_eq!(public.page_url.as_deref(), Some("home"));
    assert_eq!(
        public.reason.as_deref(),
        Some("override from an untrusted sender")
    );
    assert_eq!(extra(&public, "X-WT-IP"), "203.0.113.7");
    let secret = format!("{query}&X-WT-Secret={SECRET}");
    for trusted in [
        hit_of(query, &[], true),
        hit(&secret),
        hit_of(query, &[("x-wt-secret", SECRET)], false),
    ] {
        assert_eq!(trusted.ip.unwrap().to_string(), "203.0.113.7");
        assert_eq!(trusted.page_url.as_deref(), Some("https://a.example/"));
        assert_eq!(
            trusted.user_agent.as_deref(),
            Some(
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0"
            )
        );
        assert_eq!(trusted.reason, None);
        assert!(!format!("{trusted:?}").contains(SECRET));
    }
    let wrong = hit_of(
        query,
        &[("x-wt-secret", "another-secret-altogether")],
        false,
    );
    assert_eq!(wrong.ip.unwrap().to_string(), "192.0.2.1");
    assert!(!format!("{wrong:?}").contains("another-secret"));
}

#[test]
fn the_secret_of_one_track_id_is_worth_nothing_for_another() {
    let asked = Asked {
        query: "p=300,home&X-WT-IP=203.0.113.7",
        headers: &[("x-wt-secret", SECRET)],
        is_trusted: false,
    };
    let hits = with(&asked, |inbound, rules| {
        collect(inbound, rules, "222,111").hits
    });
    let ips: Vec<String> = hits.iter().map(|hit| hit.ip.unwrap().to_string()).collect();
    assert_eq!(ips, ["192.0.2.1", "203.0.113.7"]);
}

#[test]
fn who_gives_many_secrets_is_guessing() {
    let right = format!("&X-WT-Secret={SECRET}");
    let wrong = "&x-wt-secret=a-guess-of-somebody";
    let ip = |query: &str| hit_of(query, &[], false).ip.unwrap().to_string();
    let query = "p=300,home&X-WT-IP=203.0.113.7".to_owned();
    let few = query.clone() + &right + &wrong.repeat(3);
    assert_eq!(ip(&few), "203.0.113.7");
    assert_eq!(ip(&(few + wrong)), "192.0.2.1");
}

#[test]
fn a_header_of_the_relay_wins_over_the_browsers_parameter() {
    let query = "p=300,home&X-WT-IP=198.51.100.66";
    let relayed = hit_of(query, &[("x-wt-ip", "203.0.113.7")], true);
    assert_eq!(relayed.ip.unwrap().to_string(), "203.0.113.7");
    assert_eq!(extra(&relayed, "X-WT-IP not taken"), "198.51.100.66");
    // What a relay appends stands behind what the browser sent.
    let appended = hit_of(&format!("{query}&X-WT-IP=203.0.113.7"), &[], true);
    assert_eq!(appended.ip.unwrap().to_string(), "203.0.113.7");
}

#[test]
fn an_address_that_is_none_is_noted() {
    for (address, why) in [
        ("nonsense", "X-WT-IP is no address"),
        ("203.0.113.7, 10.0.0.1", "X-WT-IP is no address"),
        ("0.0.0.0", "X-WT-IP is nobody's address"),
        ("127.0.0.1", "X-WT-IP is nobody's address"),
        ("::ffff:127.0.0.1", "X-WT-IP is nobody's address"),
        ("224.0.0.1", "X-WT-IP is nobody's address"),
    ] {
        let hit = hit_of("p=300", &[("x-wt-ip", address)], true);
        assert_eq!(hit.reason.as_deref(), Some(why), "{address}");
        assert_eq!(hit.ip.unwrap().to_string(), "192.0.2.1");
        assert_eq!(extra(&hit, "X-WT-IP"), address);
    }
    for (text, address) in [
        ("10.1.2.3", "10.1.2.3"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ] {
        let hit = hit_of("p=300", &[("x-wt-ip", text)], true);
        assert_eq!(hit.ip.unwrap().to_string(), address);
    }
}

#[test]
fn the_relays_agent_leaves_no_verdict_behind() {
    let query = "p=300&X-WT-UA=Mozilla%2F5.0%20(Windows%20NT%2010.0%3B%20Win64%3B%20x64%3B%20rv%3A131.0)%20Gecko%2F20100101%20Firefox%2F131.0";
    let asked = [("user-agent", "curl/7.88.1")];
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static(asked[0].1));
    let inbound = Inbound {
        site: Site::usual(),
        method: &Method::GET,
        target: "/111/wt",
        rest: "111",
        is_repaired: false,
        query,
        headers: &headers,
        body: &[],
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_forwarded: false,
        is_trusted_sender: true,
        received_at: NOW,
        new_visitor: VisitorId(uuid::Uuid::nil()),
    };
    let hits = collect(&inbound, &rules(), "111").hits;
    assert_eq!((hits[0].verdict, &hits[0].reason), (Verdict::Human, &None));
    let robot = hit_of("p=300&X-WT-UA=Googlebot%2F2.1", &[], true);
    assert_eq!(robot.verdict, Verdict::Bot);
}

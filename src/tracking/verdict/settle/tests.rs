//! Settling against labelled sequences of a message's hits, and at its bounds.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use uuid::Uuid;

use super::*;
use crate::model::hit::{BroadlogId, DeliveryId, Hit};
use crate::model::link::LinkToken;
use crate::model::site::Site;
use crate::tracking::Rules;
use crate::tracking::inbound::Inbound;
use crate::tracking::native;
use crate::tracking::native::tests::{link, rules};
use crate::tracking::verdict::is_visit;

/// Hits of a message in the order in which they came, with what is known of who sent each; every
/// sequence has its source.
const SEQUENCES: &str = include_str!("tests/sequences.jsonl");

#[derive(Debug, Deserialize)]
struct Sequence {
    id: String,
    label: String,
    requests: Vec<Request>,
}

#[derive(Debug, Deserialize)]
struct Request {
    /// Seconds since the message was sent.
    t: f64,
    kind: Kind,
    link: Option<i64>,
    method: String,
    agent: String,
    address: IpAddr,
    /// Whether the browser brings a cookie of ours.
    cookie: bool,
    headers: Vec<(String, String)>,
    truth: String,
}

/// The start of a minute.
const SENT: i64 = 1_795_000_020 * Micros::SECOND;

impl Request {
    /// The hit as it is judged when it comes, from a message sent at a second of a minute.
    fn hit(&self, rules: &Rules, second: i64, visitor: VisitorId) -> Hit {
        let sent_at = Micros(SENT + second * Micros::SECOND);
        let received_at = Micros(sent_at.0 + (self.t * 1e6) as i64);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(
                HeaderName::try_from(name.as_str()).unwrap(),
                HeaderValue::try_from(value.as_str()).unwrap(),
            );
        }
        headers.insert(
            "user-agent",
            HeaderValue::try_from(self.agent.as_str()).unwrap(),
        );
        let inbound = Inbound {
            site: Site::usual(),
            method: &self.method.parse().unwrap(),
            target: "/",
            rest: "",
            query: "",
            is_repaired: false,
            headers: &headers,
            body: &[],
            client: self.address,
            is_forwarded: true,
            is_trusted_sender: false,
            received_at,
            new_visitor: visitor,
        };
        let token = LinkToken {
            delivery_id: DeliveryId(1),
            broadlog_id: BroadlogId(1),
            link_id: Some(LinkId(1)),
            sent_minute: Some(sent_at.minutes()),
        };
        let mut hit = match self.kind {
            Kind::Open => native::open(&inbound, rules, &token),
            _ => native::click(&inbound, rules, &link(), Some(&token)),
        };
        // Its answer sets the cookie, or finds the one that came.
        hit.visitor_id = Some(visitor).filter(|_| is_visit(&inbound));
        hit.kind = self.kind;
        hit.link_id = self.link.map(LinkId);
        hit
    }
}

fn seen(hit: &Hit) -> MessageHit {
    MessageHit {
        at: hit.received_at,
        kind: hit.kind,
        link: hit.link_id,
        visitor: hit.visitor_id,
        address: hit.ip,
        verdict: hit.verdict,
        reason: hit.verdict_reason(),
    }
}

fn apply(hits: &mut [MessageHit], now: Micros) {
    let settled = settle(hits, now);
    for (hit, new) in hits.iter_mut().zip(settled) {
        if let Some(reason) = new {
            hit.verdict = reason.map_or(Verdict::Human, Reason::verdict);
            hit.reason = reason;
        }
    }
}

/// Settles as the server does: again with each hit that comes, and when it has been quiet.
fn settled(hits: &[MessageHit]) -> Vec<MessageHit> {
    let mut there: Vec<MessageHit> = Vec::new();
    for hit in hits {
        there.push(hit.clone());
        apply(&mut there, hit.at);
    }
    let last = hits.iter().map(|hit| hit.at.0).max().unwrap_or_default();
    apply(&mut there, Micros(last + QUIET));
    there
}

#[test]
fn no_persons_click_is_lost_and_machines_are_out() {
    let rules = rules();
    for second in [0, 30, 59] {
        let mut matrix: BTreeMap<(String, &str), BTreeMap<String, u32>> = BTreeMap::new();
        let (mut people, mut counted, mut machines, mut kept_out) = (0, 0, 0, 0);
        for line in SEQUENCES.lines() {
            let sequence: Sequence = serde_json::from_str(line).unwrap();
            // A browser that brings a cookie brings the one that it got, or one of long ago.
            let mut last = Uuid::from_u128(1);
            let hits: Vec<MessageHit> = sequence
                .requests
                .iter()
                .zip(2..)
                .map(|(request, number)| {
                    if !request.cookie {
                        last = Uuid::from_u128(number);
                    }
                    seen(&request.hit(&rules, second, VisitorId(last)))
                })
                .collect();
            for (request, hit) in sequence.requests.iter().zip(settled(&hits)) {
                let cell = matrix
                    .entry((request.truth.clone(), hit.kind.as_str()))
                    .or_default();
                let reason = hit.reason.map_or("", Reason::as_str);
                *cell
                    .entry(format!("{} {reason}", hit.verdict.as_str()))
                    .or_default() += 1;
                let counts = hit.verdict.counts();
                let is_person = request.truth == "person";
                match is_person {
                    true => (people, counted) = (people + 1, counted + u32::from(counts)),
                    false => (machines, kept_out) = (machines + 1, kept_out + u32::from(!counts)),
                }
                if is_person != counts {
                    println!("{} {} {request:?} {reason}", sequence.id, sequence.label);
                }
            }
        }
        println!("sent at second {second} of a minute:");
        for ((truth, kind), verdicts) in &matrix {
            println!("{truth:8} {kind:7} {verdicts:?}");
        }
        println!("people counted: {counted} of {people}; machines out: {kept_out} of {machines}");
        assert!(people > 25 && machines > 150);
        assert_eq!(counted, people, "people");
        assert!(kept_out * 100 >= machines * 99, "machines");
    }
}

fn click(seconds: f64, link: i64, visitor: u128, address: &str) -> MessageHit {
    MessageHit {
        at: Micros(SENT + (seconds * 1e6) as i64),
        kind: Kind::Click,
        link: Some(LinkId(link)),
        visitor: Some(VisitorId(Uuid::from_u128(visitor))),
        address: Some(address.parse().unwrap()),
        verdict: Verdict::Human,
        reason: None,
    }
}

fn of(kind: Kind, hit: MessageHit) -> MessageHit {
    MessageHit { kind, ..hit }
}

fn judged(reason: Reason, hit: MessageHit) -> MessageHit {
    MessageHit {
        verdict: reason.verdict(),
        reason: Some(reason),
        ..hit
    }
}

fn reasons(hits: &[MessageHit]) -> Vec<Option<Reason>> {
    settled(hits).iter().map(|hit| hit.reason).collect()
}

const A: &str = "192.0.2.1";
const B: &str = "198.51.100.1";
const C: &str = "203.0.113.1";

#[test]
fn each_rule_holds_up_to_its_bound() {
    use Reason::{HeadBefore, LinksAtOnce, ManyNetworks, OpenBefore, OptOutAndLink};
    let at_once = Some(LinksAtOnce);
    let two = |apart: f64, visitor| [click(0.0, 1, 1, A), click(apart, 2, visitor, A)];
    assert_eq!(reasons(&two(2.0, 2)), [at_once, at_once]);
    assert_eq!(reasons(&two(2.1, 2)), [None, None]);
    assert_eq!(reasons(&two(0.1, 1)), [None, None], "the cookie came back");
    assert_eq!(
        reasons(&[click(0.0, 1, 1, A), click(0.3, 1, 2, A)]),
        [None, None]
    );
    let three = |last| {
        [
            click(0.0, 1, 1, A),
            click(30.0, 2, 2, A),
            click(last, 3, 3, A),
        ]
    };
    assert_eq!(reasons(&three(60.0)), [at_once; 3]);
    assert_eq!(reasons(&three(61.0)), [None; 3]);
    let opt_out = |apart: f64, visitor| {
        let opt_out = of(Kind::Optout, click(apart, 9, visitor, A));
        [click(0.0, 1, 1, A), opt_out]
    };
    assert_eq!(reasons(&opt_out(60.0, 2)), [Some(OptOutAndLink); 2]);
    assert_eq!(reasons(&opt_out(61.0, 2)), [None; 2]);
    assert_eq!(reasons(&opt_out(30.0, 1)), [None; 2]);
    let from = |last| {
        [
            click(0.0, 1, 1, A),
            click(60.0, 1, 2, B),
            click(last, 1, 3, C),
        ]
    };
    assert_eq!(reasons(&from(120.0)), [Some(ManyNetworks); 3]);
    assert_eq!(reasons(&from(121.0)), [None; 3]);
    let head = |reason, apart: f64, address| {
        [
            judged(reason, click(0.0, 1, 1, A)),
            click(apart, 1, 2, address),
        ]
    };
    assert_eq!(
        reasons(&head(Reason::Head, 10.0, "192.0.2.77"))[1],
        Some(HeadBefore)
    );
    assert_eq!(reasons(&head(Reason::Head, 11.0, A))[1], None);
    assert_eq!(reasons(&head(Reason::Head, 1.0, B))[1], None);
    assert_eq!(reasons(&head(Reason::OfficeCheck, 1.0, A))[1], None);
    let opened = |before: f64, address| {
        let open = of(Kind::Open, click(-before, 0, 7, address));
        [open, click(0.0, 1, 1, A), click(0.1, 2, 2, A)]
    };
    assert_eq!(reasons(&opened(300.0, A))[0], Some(OpenBefore));
    assert_eq!(reasons(&opened(301.0, A))[0], None);
    assert_eq!(reasons(&opened(30.0, B))[0], None);
}

#[test]
fn what_was_only_too_soon_is_a_persons_once_it_has_been_quiet() {
    let early = judged(Reason::TooSoon, click(20.0, 1, 1, A));
    let at = |seconds: i64| Micros(early.at.0 + seconds * Micros::SECOND);
    assert_eq!(settle(std::slice::from_ref(&early), at(119)), [None]);
    assert_eq!(settle(std::slice::from_ref(&early), at(120)), [Some(None)]);
    let near = [early.clone(), click(100.0, 2, 2, A), click(100.5, 3, 3, A)];
    assert_eq!(settle(&near, at(500))[0], None, "a scanner was near");
}

#[test]
fn a_page_of_the_same_browser_proves_its_click() {
    let page = of(Kind::Pageview, click(9.0, 0, 1, A));
    let burst = [click(0.0, 1, 1, A), click(0.5, 2, 2, A), page.clone()];
    // The other one stays what it was: nothing proves it.
    let other = Some(Reason::LinksAtOnce);
    assert_eq!(reasons(&burst), [None, other, None]);
    for (reason, proved) in [
        (Reason::TooSoon, true),
        (Reason::OftenScans, true),
        (Reason::LinksAtOnce, true),
        (Reason::MailScanner, false),
        (Reason::Crawler, false),
        (Reason::DecidedBot, false),
    ] {
        let hits = [judged(reason, click(0.0, 1, 1, A)), page.clone()];
        let now = Micros(SENT + 10 * Micros::SECOND);
        assert_eq!(settle(&hits, now)[0], proved.then_some(None), "{reason:?}");
    }
    let machines = judged(Reason::Crawler, page);
    let hits = [judged(Reason::OftenScans, click(0.0, 1, 1, A)), machines];
    assert_eq!(settle(&hits, Micros(SENT))[0], None);
}

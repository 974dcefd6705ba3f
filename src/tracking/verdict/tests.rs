//! The rules against labelled requests, and against whatever may be sent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::*;
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId, Dialect, HitId, Kind, LinkId, VisitorId};
use crate::model::link::LinkToken;
use crate::model::site::Site;
use crate::tracking::native::tests::{link, rules};
use crate::tracking::{Rules, native};

/// Requests with what is known of who sent them; each has its source.
const REQUESTS: &str = include_str!("tests/requests.jsonl");

/// A labelled request.
#[derive(Debug, Deserialize)]
struct Labelled {
    id: String,
    label: String,
    kind: Kind,
    method: String,
    agent: Option<String>,
    address: IpAddr,
    /// Since the message was sent.
    seconds: i64,
    headers: Vec<(String, String)>,
}

impl Labelled {
    /// Whether it is to count: a person's, or a mailbox's proxy that stands for one.
    fn is_person(&self) -> bool {
        ["human", "proxy_open"].contains(&self.label.as_str())
    }

    /// The verdict of the hit that the request leaves behind, where it arrives at a second of a
    /// minute: links say the minute of sending only.
    fn verdict(&self, rules: &Rules, second: i64) -> Hit {
        let received_at = Micros((1_795_000_020 + second) * Micros::SECOND);
        assert_eq!((received_at.0 / Micros::SECOND).rem_euclid(60), second);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(
                HeaderName::try_from(name.as_str()).unwrap(),
                HeaderValue::try_from(value.as_str()).unwrap(),
            );
        }
        if let Some(agent) = &self.agent {
            headers.insert("user-agent", HeaderValue::try_from(agent.as_str()).unwrap());
        }
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
            new_visitor: VisitorId(Uuid::nil()),
        };
        let sent_at = Micros(received_at.0 - self.seconds * Micros::SECOND);
        let token = LinkToken {
            delivery_id: DeliveryId(1),
            broadlog_id: BroadlogId(1),
            link_id: Some(LinkId(1)),
            sent_minute: Some(sent_at.minutes()),
        };
        match self.kind {
            Kind::Click => native::click(&inbound, rules, &link(), Some(&token)),
            Kind::Open => native::open(&inbound, rules, &token),
            _ => native::collect(&inbound, rules),
        }
    }
}

#[test]
fn people_count_and_machines_are_kept_out() {
    let requests: Vec<Labelled> = REQUESTS
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(requests.len() > 300);
    let rules = rules();
    for second in [0, 30, 59] {
        let mut matrix: BTreeMap<(&str, &str), BTreeMap<&str, u32>> = BTreeMap::new();
        let (mut people, mut counted, mut machines, mut kept_out) = (0, 0, 0, 0);
        for request in &requests {
            let hit = request.verdict(&rules, second);
            let cell = matrix.entry((&request.label, request.kind.as_str()));
            *cell.or_default().entry(hit.verdict.as_str()).or_default() += 1;
            let counts = hit.verdict.counts();
            match request.is_person() {
                true => (people, counted) = (people + 1, counted + u32::from(counts)),
                false => (machines, kept_out) = (machines + 1, kept_out + u32::from(!counts)),
            }
            if request.is_person() != counts {
                let Labelled {
                    id,
                    label,
                    kind,
                    agent,
                    ..
                } = request;
                println!(
                    "{id} {label} {kind:?} {:?} {:?} {agent:?}",
                    hit.verdict, hit.reason
                );
            }
        }
        println!("received at second {second} of a minute:");
        for ((label, kind), verdicts) in &matrix {
            println!("{label:12} {kind:9} {verdicts:?}");
        }
        println!(
            "people counted: {counted} of {people}; machines kept out: {kept_out} of {machines}"
        );
        assert!(counted * 100 >= people * 99, "people");
        assert!(kept_out * 100 >= machines * 95, "machines");
    }
}

#[test]
fn an_earlier_rule_decides() {
    let lists = Lists::new("human <acme", "bot 198.51.100.0/24\nhuman 40.107.0.0/16").unwrap();
    let mut prefetch = HeaderMap::new();
    prefetch.insert("sec-purpose", HeaderValue::from_static("prefetch"));
    let acme = Facts {
        agent: Some("Acme Googlebot"),
        address: Some("198.51.100.7".parse().unwrap()),
        ..Facts::none(Surface::Link)
    };
    let office = "Microsoft Office Existence Discovery";
    for (facts, reason) in [
        (acme, None),
        (
            Facts {
                is_prefetch: says_prefetch(&prefetch),
                ..acme
            },
            Some(Reason::PrefetchHeader),
        ),
        (
            Facts {
                is_head: true,
                ..acme
            },
            Some(Reason::Head),
        ),
        (
            Facts {
                is_head: true,
                agent: Some(office),
                ..acme
            },
            Some(Reason::OfficeCheck),
        ),
        (
            Facts {
                agent: Some("Googlebot"),
                ..acme
            },
            Some(Reason::ListedBot),
        ),
        (
            Facts {
                address: None,
                agent: Some("Googlebot"),
                ..acme
            },
            Some(Reason::Crawler),
        ),
        (
            Facts {
                address: Some([40, 107, 1, 1].into()),
                agent: Some("Googlebot"),
                ..acme
            },
            None,
        ),
    ] {
        let explained = explain(&facts, &lists);
        assert_eq!(explained.reason, reason, "{facts:?}");
    }
}

#[test]
fn the_page_shows_the_rules() {
    let page = include_str!("../../../static/docs/verdicts.md");
    let told: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| rule |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let rules = rules::RULES.iter().map(|rule| {
        let on: Vec<_> = rule.on.iter().map(|surface| surface.as_str()).collect();
        let people = rule.finds_people.then_some(Verdict::Human);
        let machines = rule.reasons.iter().map(|reason| reason.verdict());
        let verdicts: Vec<_> = people
            .into_iter()
            .chain(machines)
            .map(Verdict::as_str)
            .collect();
        let reasons: Vec<_> = rule.reasons.iter().map(|reason| reason.as_str()).collect();
        let cells = [
            rule.name,
            &on.join(", "),
            &verdicts.join(", "),
            &reasons.join(", "),
        ];
        format!("| {} |", cells.join(" | "))
    });
    assert_eq!(told, rules.collect::<Vec<_>>());
}

/// Agents of public lists, a line each, with their source at the top.
fn listed(agents: &str) -> Vec<&str> {
    let lines = agents.lines().filter(|line| !line.starts_with("# "));
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn public_lists_of_people_and_crawlers_are_told_apart() {
    let lists = Lists::built_in();
    let is_machine = |surface, agent| {
        let facts = Facts {
            agent: Some(agent),
            ..Facts::none(surface)
        };
        !explain(&facts, &lists).verdict.counts()
    };
    let people = listed(include_str!("tests/people.txt"));
    assert!(people.len() > 900);
    for surface in [Surface::Page, Surface::Link, Surface::Open] {
        let called: Vec<_> = people
            .iter()
            .filter(|agent| is_machine(surface, **agent))
            .collect();
        println!(
            "{}: {} of {} people",
            surface.as_str(),
            called.len(),
            people.len()
        );
        assert!(called.len() * 1_000 <= people.len() * 2, "{called:#?}");
    }
    let crawlers = listed(include_str!("tests/crawlers.txt"));
    assert!(crawlers.len() > 2_000);
    let missed: Vec<_> = crawlers
        .iter()
        .filter(|agent| !is_machine(Surface::Link, **agent))
        .collect();
    println!(
        "links: {} of {} crawlers missed: {missed:#?}",
        missed.len(),
        crawlers.len()
    );
    assert!(missed.len() * 100 <= crawlers.len() * 2);
}

proptest! {
    #[test]
    fn whatever_is_sent_is_judged_for_a_reason_of_the_rules(
        agent in proptest::option::of("\\PC{0,200}"),
        words in proptest::collection::vec(0..900_usize, 0..6),
        header in proptest::collection::vec(any::<u8>(), 0..40),
        name in 0..6_usize,
        address: IpAddr,
        surface in 0..3_usize,
        is_head: bool,
        elapsed in proptest::option::of(-1_000_000_i64..1_000_000),
    ) {
        let list: Vec<&str> = include_str!("lists/agents.tsv").lines().collect();
        let words = words.into_iter().filter_map(|at| list.get(at)?.split('\t').nth(1));
        let agent = agent.map(|agent| words.fold(agent, |agent, word| {
            format!("{agent} {}", word.trim_matches(['^', '<', '>', '$']))
        }));
        let mut headers = HeaderMap::new();
        let names = ["referer", "purpose", "sec-purpose", "x-moz", "sec-ch-ua", "x-purpose"];
        if let Ok(value) = HeaderValue::from_bytes(&header) {
            headers.insert(names[name], value);
        }
        let facts = Facts {
            surface: [Surface::Page, Surface::Link, Surface::Open][surface],
            is_prefetch: says_prefetch(&headers),
            is_head,
            headers: Some(&headers),
            agent: agent.as_deref(),
            address: Some(address),
            elapsed: elapsed.map(Elapsed::seconds),
        };
        if let Some((rule, said)) = Case::new(&facts, &Lists::built_in()).decide() {
            match said {
                Said::Judged(reason, _) => prop_assert!(rule.reasons.contains(&reason)),
                Said::Person(_) => prop_assert!(rule.finds_people),
                Said::Nothing => prop_assert!(false, "a rule that says nothing decided"),
            }
        }
    }
}

#[test]
fn a_trusted_servers_own_client_says_nothing_about_the_person() {
    for (agent, verdict) in [
        (None, Verdict::Human),
        (Some("curl/8.5.0"), Verdict::Human),
        (Some("Java/17.0.15"), Verdict::Human),
        (Some("GuzzleHttp/7"), Verdict::Human),
        (Some("python-requests/2.32.3"), Verdict::Human),
        (Some("Acme-Shop/1.0"), Verdict::Human),
        (
            Some("Googlebot/2.1 (+http://www.google.com/bot.html)"),
            Verdict::Bot,
        ),
        (Some("Mozilla/5.0 (compatible; bingbot/2.0)"), Verdict::Bot),
        (Some("facebookexternalhit/1.1"), Verdict::Bot),
    ] {
        let mut hit = Hit::new(
            HitId(Uuid::nil()),
            Micros(0),
            Kind::Pageview,
            Dialect::Native,
        );
        hit.user_agent = agent.map(str::to_owned);
        judge_senders_agent(&mut hit, &Lists::built_in());
        assert_eq!(hit.verdict, verdict, "{agent:?}");
    }
}

#[test]
fn agents_that_nobody_looks_through_are_automated() {
    for (agent, is) in [
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
            HeadlessChrome/126.0.0.0 Safari/537.36",
            true,
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
            HeadlessEdg/126.0 Safari/537.36",
            true,
        ),
        (
            "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) \
            PhantomJS/2.1.1 Safari/538.1",
            true,
        ),
        (
            "Mozilla/5.0 (linux) AppleWebKit/537.36 (KHTML, like Gecko) jsdom/22.1.0",
            true,
        ),
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko) Cypress/13.3 Chrome/114 \
            Electron/25",
            true,
        ),
        ("Mozilla/5.0 Gecko/20100101 node-selenium", true),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/534.34 (KHTML, like Gecko) \
            wkhtmltopdf Safari/534.34",
            true,
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
            Chrome/126.0 Safari/537.36",
            false,
        ),
        (
            "Mozilla/5.0 (Macintosh) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.39 \
            Chrome/126 Electron/31.1 Safari/537.36",
            false,
        ),
        ("Mozilla/5.0 (X11; U) Gecko/2010 notheadless", false),
        ("", false),
    ] {
        assert_eq!(
            Lists::built_in().look_at(agent).machine.is_some(),
            is,
            "{agent}"
        );
    }
}

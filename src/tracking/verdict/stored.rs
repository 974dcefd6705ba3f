//! The rules for a hit that is stored: what is known of its request is what its row tells.
//!
//! The headers are gone. That they said something (a prefetch, a HEAD, a browser without a screen)
//! stands among the hit's first reasons. A page that a trusted server reported in its own name
//! looks like one that a program fetched: where the agent is no browser's and no crawler's, only
//! the operator's lists say anything new of a page.

use http::{HeaderMap, HeaderValue};

use super::rules::LISTED_RULE;
use super::{Elapsed, Facts, Lists, Surface, explain, is_passed_on};
use crate::model::clock::Micros;
use crate::model::hit::{Dialect, Hit, Kind, Proof, Reason, Verdict};

/// What the rules say of a stored hit; `None` for a person's. `first`: its verdict and its notes at
/// first; `sent_at`: when its message was sent, as its link says it.
pub fn judge_stored(
    hit: &Hit,
    first: (Verdict, Option<&str>),
    sent_at: Option<Micros>,
    lists: &Lists,
) -> Option<Reason> {
    let (verdict, notes) = first;
    let reasons: Vec<Reason> = notes
        .unwrap_or_default()
        .split("; ")
        .filter_map(Reason::parse)
        .collect();
    let was = |reason: Reason| reasons.contains(&reason);
    let mut headers = HeaderMap::new();
    if was(Reason::Headless) {
        headers.insert("sec-ch-ua", HeaderValue::from_static("Headless"));
    }
    if hit.referrer.is_some() {
        headers.insert("referer", HeaderValue::from_static("-"));
    }
    let surface = Surface::of(hit.kind);
    let elapsed = if was(Reason::TooSoon) || was(Reason::ProxyAtOnce) {
        // Within the first minute.
        Some(Elapsed { least: 0, most: 59 })
    } else {
        // Only our own links say when they were sent.
        let is_ours = hit.dialect == Dialect::Native && hit.proof() == Some(Proof::Link);
        let minute = sent_at.filter(|_| is_ours).map(Micros::minutes);
        let elapsed = minute.and_then(|minute| Elapsed::since_minute(minute, hit.received_at));
        // That it came in the first seconds or the first minute would stand among its reasons, if
        // its link had said the minute: not all do.
        elapsed.map(|elapsed| Elapsed {
            least: elapsed.least.max(10),
            most: i64::MAX,
        })
    };
    let facts = Facts {
        surface,
        is_prefetch: was(Reason::PrefetchHeader),
        is_head: was(Reason::Head) || was(Reason::OfficeCheck),
        headers: Some(&headers),
        agent: hit.user_agent.as_deref(),
        address: hit.ip,
        elapsed,
    };
    let explained = explain(&facts, lists);
    let is_pushed = hit.dialect == Dialect::Adobe && hit.kind == Kind::Click;
    let is_reported = surface == Surface::Page || is_pushed;
    let is_plain = hit.user_agent.as_deref().is_some_and(is_passed_on);
    if is_reported && !is_plain && explained.rule != Some(LISTED_RULE) {
        // As it was judged at first, where it was; what an operator's list said then is asked anew.
        let kept = reasons
            .iter()
            .find(|reason| reason.verdict() == verdict && !reason.is_fact() && !reason.is_listed());
        return kept.copied();
    }
    explained.reason
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::hit::{DeliveryId, HitId, Provenance};

    const FIREFOX: &str =
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";

    fn hit(kind: Kind, agent: &str) -> Hit {
        let at = Micros(1_795_000_000 * Micros::SECOND);
        let mut hit = Hit::new(HitId(Uuid::nil()), at, kind, Dialect::Native);
        hit.user_agent = Some(agent.to_owned());
        hit.ip = Some("203.0.113.9".parse().unwrap());
        hit.delivery_id = Some(DeliveryId(1));
        hit.provenance = Provenance::Link;
        hit
    }

    fn judged(hit: &Hit, first: &str, agents: &str, networks: &str) -> Option<Reason> {
        let lists = Lists::new(agents, networks).unwrap();
        let verdict = Reason::parse(first).map_or(Verdict::Human, Reason::verdict);
        let sent_at = Some(Micros(hit.received_at.0 - 300 * Micros::SECOND));
        judge_stored(hit, (verdict, Some(first)), sent_at, &lists)
    }

    #[test]
    fn what_the_request_said_is_known_from_the_first_reasons() {
        let click = hit(Kind::Click, FIREFOX);
        for reason in [
            Reason::PrefetchHeader,
            Reason::Head,
            Reason::Headless,
            Reason::TooSoon,
        ] {
            assert_eq!(judged(&click, reason.as_str(), "", ""), Some(reason));
        }
        assert_eq!(judged(&click, "link repaired", "", ""), None);
        // What stood in a list that has changed goes.
        assert_eq!(judged(&click, "user agent of a crawler", "", ""), None);
        assert_eq!(judged(&click, "listed as bot", "", ""), None);
    }

    #[test]
    fn lists_of_today_hold_for_the_past() {
        let listed = Some(Reason::ListedBot);
        for kind in [Kind::Click, Kind::Open, Kind::Pageview, Kind::Transaction] {
            let of = hit(kind, FIREFOX);
            assert_eq!(judged(&of, "", "bot Firefox/140", ""), listed, "{kind:?}");
            assert_eq!(
                judged(&of, "", "", "bot 203.0.113.0/24"),
                listed,
                "{kind:?}"
            );
            let crawler = "user agent of a crawler";
            assert_eq!(judged(&of, crawler, "human Firefox/140", ""), None);
        }
        let scanned = hit(Kind::Click, FIREFOX);
        let often = judged(&scanned, "", "", "often 203.0.113.0/24");
        assert_eq!(
            often,
            Some(Reason::OftenScans),
            "it came within ten minutes"
        );
    }

    #[test]
    fn a_page_that_a_server_reports_is_not_judged_by_the_servers_agent() {
        let page = hit(Kind::Transaction, "python-requests/2.32");
        assert_eq!(judged(&page, "", "", ""), None);
        let crawler = Some(Reason::Crawler);
        assert_eq!(judged(&page, "user agent of a crawler", "", ""), crawler);
        assert_eq!(
            judged(&hit(Kind::Click, "python-requests/2.32"), "", "", ""),
            crawler
        );
    }
}

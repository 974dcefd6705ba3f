//! How the verdicts of a message's hits settle: what each alone does not show.
//!
//! | what is seen | who it was |
//! |---|---|
//! | two links within two seconds, or three within a minute, without the cookie of the first answer | a scanner |
//! | an opt-out and another link within a minute, without the cookie | a scanner |
//! | three networks within two minutes, without the cookie | a scanner |
//! | a HEAD of the same network just before | a scanner |
//! | an open from the network of such a scanner, up to five minutes before it | a scanner |
//! | only too soon, and nothing of the above near it for two minutes | a person |
//! | a page, a purchase or an event of the same browser after the click | a person |
//!
//! A reader who opens many links at once has the cookie from the first, and so is told apart. The
//! function is pure, and may be asked again with each hit that comes. What it has once taken for a
//! scanner stays one, unless a page proves it: its neighbours may have been forgotten since.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Surface;
use crate::model::clock::Micros;
use crate::model::hit::{Kind, LinkId, Reason, Verdict, VisitorId};

/// Two links within this time are not followed by a reader.
const AT_ONCE: i64 = 2 * Micros::SECOND;
/// Nor are three within this time, or an opt-out and another link.
const SHORTLY: i64 = 60 * Micros::SECOND;
/// Nobody comes from three networks within this time; and what was too soon and stayed alone for it
/// was a person.
pub const QUIET: i64 = 120 * Micros::SECOND;
/// How soon after a HEAD a scanner fetches the page.
const AFTER_HEAD: i64 = 10 * Micros::SECOND;
/// How long before its clicks a scanner opens a mail.
const AFTER_OPEN: i64 = 300 * Micros::SECOND;
/// How long after a click its pages prove it.
pub const PROOF: i64 = 600 * Micros::SECOND;

/// A hit of a message.
#[derive(Clone, Debug)]
pub struct MessageHit {
    /// When it came.
    pub at: Micros,
    /// What happened.
    pub kind: Kind,
    /// Tracked destination.
    pub link: Option<LinkId>,
    /// Browser: another one each time where no cookie comes back.
    pub visitor: Option<VisitorId>,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// Its verdict so far.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<Reason>,
}

impl MessageHit {
    /// Whether somebody, or something, followed a link: no check, nothing fetched ahead.
    fn is_followed(&self) -> bool {
        let is_checked = matches!(
            self.reason,
            Some(Reason::Head | Reason::OfficeCheck | Reason::PrefetchHeader)
        );
        Surface::of(self.kind) == Surface::Link && !is_checked
    }

    /// What was followed.
    fn target(&self) -> (Kind, Option<LinkId>) {
        (self.kind, self.link)
    }

    fn network(&self) -> Option<IpAddr> {
        Some(match self.address?.to_canonical() {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 80 << 80).into(),
        })
    }

    fn is_within(&self, other: &Self, time: i64) -> bool {
        (self.at.0 - other.at.0).abs() <= time
    }
}

/// What the verdicts of a message's hits become, in their order: `None` where one stays, else its
/// reason, or none for a person's. `now` says how long it has been quiet since.
pub fn settle(hits: &[MessageHit], now: Micros) -> Vec<Option<Option<Reason>>> {
    let returns: Vec<bool> = hits.iter().map(|hit| returns(hit, hits)).collect();
    let strangers: Vec<&MessageHit> = hits
        .iter()
        .zip(&returns)
        .filter(|(hit, returns)| hit.is_followed() && !**returns)
        .map(|(hit, _)| hit)
        .collect();
    let mut why: Vec<Option<Reason>> = hits
        .iter()
        .zip(&returns)
        .map(|(hit, returns)| {
            let is_asked = hit.is_followed() && !*returns;
            if is_asked {
                scans(hit, &strangers).or_else(|| checked(hit, hits))
            } else {
                None
            }
        })
        .collect();
    let is_scanner = |number: usize| {
        why[number].is_some() || hits[number].reason.is_some_and(Reason::is_settled)
    };
    let scanners: Vec<&MessageHit> = (0..hits.len())
        .filter(|number| hits[*number].is_followed() && is_scanner(*number))
        .map(|number| &hits[number])
        .collect();
    for (hit, why) in hits.iter().zip(&mut why) {
        let is_before = |scanner: &&MessageHit| {
            let passed = scanner.at.0 - hit.at.0;
            (0..=AFTER_OPEN).contains(&passed)
                && hit.network().is_some()
                && scanner.network() == hit.network()
        };
        if hit.kind == Kind::Open && scanners.iter().any(is_before) {
            *why = Some(Reason::OpenBefore);
        }
    }
    hits.iter()
        .zip(why)
        .map(|(hit, why)| {
            let is_link = Surface::of(hit.kind) == Surface::Link;
            let new = if is_link && is_proved(hit, hits) && hit.reason.is_none_or(Reason::gives_way)
            {
                Some(None)
            } else if why.is_some() && hit.verdict.counts() {
                Some(why)
            } else {
                let is_alone = !scanners.iter().any(|scanner| scanner.is_within(hit, QUIET));
                let is_over = now.0 - hit.at.0 >= QUIET;
                let was_early = hit.reason == Some(Reason::TooSoon);
                (was_early && is_alone && is_over).then_some(None)
            };
            new.filter(|new| *new != hit.reason)
        })
        .collect()
}

/// Whether its browser is there with another hit: a cookie came back.
fn returns(hit: &MessageHit, hits: &[MessageHit]) -> bool {
    let Some(visitor) = hit.visitor else {
        return false;
    };
    hits.iter()
        .filter(|other| other.visitor == Some(visitor))
        .nth(1)
        .is_some()
}

/// Whether its browser went on to a page.
fn is_proved(hit: &MessageHit, hits: &[MessageHit]) -> bool {
    let goes_on = |other: &MessageHit| {
        Surface::of(other.kind) == Surface::Page
            && other.verdict == Verdict::Human
            && hit.visitor.is_some()
            && other.visitor == hit.visitor
            && (0..=PROOF).contains(&(other.at.0 - hit.at.0))
    };
    hits.iter().any(goes_on)
}

/// Whether it is one of too many.
fn scans(hit: &MessageHit, strangers: &[&MessageHit]) -> Option<Reason> {
    let others = |time| {
        let near = move |other: &&&MessageHit| other.is_within(hit, time);
        strangers
            .iter()
            .filter(near)
            .filter(|other| other.target() != hit.target())
    };
    if others(AT_ONCE).next().is_some() {
        return Some(Reason::LinksAtOnce);
    }
    let opts_out = |of: &MessageHit| of.kind == Kind::Optout;
    if others(SHORTLY).any(|other| opts_out(other) || opts_out(hit)) {
        return Some(Reason::OptOutAndLink);
    }
    if has_window(hit, strangers, SHORTLY, |hit| Some(hit.target())) {
        return Some(Reason::LinksAtOnce);
    }
    has_window(hit, strangers, QUIET, MessageHit::network).then_some(Reason::ManyNetworks)
}

/// Whether some stretch of a time with the hit in it has three different ones of something.
fn has_window<T: Ord>(
    hit: &MessageHit,
    strangers: &[&MessageHit],
    time: i64,
    of: impl Fn(&MessageHit) -> Option<T>,
) -> bool {
    strangers
        .iter()
        .filter(|first| (0..=time).contains(&(hit.at.0 - first.at.0)))
        .any(|first| {
            let within = strangers
                .iter()
                .filter(|other| (0..=time).contains(&(other.at.0 - first.at.0)));
            within
                .filter_map(|other| of(other))
                .collect::<BTreeSet<T>>()
                .len()
                >= 3
        })
}

/// Whether the same network has just looked whether the link is alive.
fn checked(hit: &MessageHit, hits: &[MessageHit]) -> Option<Reason> {
    let is_check = |other: &MessageHit| {
        other.reason == Some(Reason::Head)
            && (0..=AFTER_HEAD).contains(&(hit.at.0 - other.at.0))
            && hit.network().is_some()
            && other.network() == hit.network()
    };
    hits.iter().any(is_check).then_some(Reason::HeadBefore)
}

#[cfg(test)]
mod tests;

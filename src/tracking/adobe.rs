//! Adobe Campaign Classic: tracked links, open pixels and web-tracking tags under `/r/`
//! (`tests/cases/adobe/PROTOCOL.md`).
//!
//! | request | what |
//! |---|---|
//! | `/r/?id=<letter><broadlog>,<delivery>,<link>` | a click; link `1` is an open pixel (or a push received), `2` a push that was tapped |
//! | `/r/<any>?tagid=<identifier>` | a page or a transaction |
//! | `/r/test` | whether the server lives |
//!
//! Nothing in these requests is signed by us, and Adobe's own signature (`s`) cannot be verified by
//! anybody else: a link leads to its page all the same, since its destination comes from our table,
//! but what it says of message and person is [`Provenance::Unsigned`]. What cannot be read is
//! noted, never an error; an id that is none leads to the fallback.
//!
//! [`Provenance::Unsigned`]: crate::model::hit::Provenance::Unsigned

mod earlier;
mod id;
mod link;
mod tag;

use std::borrow::Cow;

use memchr::memchr_iter;

pub use id::Target;
pub use link::{LinkClaim, click, message};
pub use tag::tag;

use self::id::IMPRESSION;
use super::Rules;
use super::click::{Brought, lead, remember};
use super::decoded::{Counted, Decoded, Reply};
use super::inbound::Inbound;
use super::{verdict, visitor};
use crate::model::escape::{html, start_of};
use crate::model::hit::plain_pair;
use crate::model::link::LinkRecord;
use crate::model::orphan::OrphanKind;

/// Characters of a URL that a response repeats at most.
const MOST_REPEATED: usize = 500;

/// Whether a request below `/r` is Adobe's and not one of our links: `rest` is the path after `/r`,
/// `query` the raw query.
pub fn recognises(rest: &str, query: &str) -> bool {
    (rest.trim_matches('/').is_empty() && has(query, "id=")) || has(query, "tagid=") || rest == TEST
}

const TEST: &str = "/test";

/// Whether a raw query has a parameter, ignoring case; `name` ends with `=`.
fn has(query: &str, name: &str) -> bool {
    let mut start = 0;
    memchr_iter(b'&', query.as_bytes())
        .chain([query.len()])
        .any(|end| {
            let pair = &query[start..end];
            start = end + 1;
            plain(pair)
                .get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        })
}

/// A pair without the rest of an HTML-escaped ampersand at its start: the query inside `e` may
/// contain them, too.
fn plain(pair: &str) -> &str {
    let length = plain_pair(pair.as_bytes()).len();
    &pair[pair.len() - length..]
}

/// What a request is.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A page or a transaction, read by [`tag()`].
    Tag,
    /// A link or an open pixel.
    Message(Box<LinkClaim>),
    /// `/r/test`.
    Test,
    /// Meant as a link, but without a valid id.
    Odd,
}

/// Reads what a request is.
pub fn read(inbound: &Inbound<'_>) -> Request {
    if has(inbound.query, "tagid=") {
        return Request::Tag;
    }
    if !has(inbound.query, "id=") {
        return Request::Test;
    }
    link::read(inbound).map_or(Request::Odd, |claim| Request::Message(Box::new(claim)))
}

/// Answers a click whose link was looked up under [`LinkClaim::link_ids`].
pub fn answer_click(
    inbound: &Inbound<'_>,
    rules: &Rules,
    claim: &LinkClaim,
    link: Option<&LinkRecord>,
) -> Decoded {
    let Some(link) = link else {
        // Adobe's in-app and push messages have no links of their own, so it is no link's number.
        if claim.id.target == Target::Link(IMPRESSION) {
            return answer_message(inbound, rules, claim);
        }
        let decoded = Decoded::refused(no_page(inbound), "link unknown");
        let decoded = decoded.counted(Counted::UnknownLink);
        return match claim.link_ids().next() {
            Some(id) => decoded.orphan(OrphanKind::Link, &id.to_string()),
            None => decoded,
        };
    };
    let brought = Brought {
        values: Cow::Borrowed(&claim.values),
        query: claim.query.as_str().into(),
    };
    let hit = click(inbound, rules, claim, link);
    lead(inbound, rules, link, &brought, hit, no_page)
}

/// Answers everything else: what needs no look-up.
pub fn answer(inbound: &Inbound<'_>, rules: &Rules, request: &Request) -> Decoded {
    match request {
        Request::Message(claim) => answer_message(inbound, rules, claim),
        Request::Tag => answer_tag(inbound, rules),
        Request::Test => {
            let host = inbound.header(http::header::HOST).unwrap_or_default();
            let answer = test_answer(&host, &inbound.site.host, inbound.received_at);
            Decoded::of(Reply::Xml(answer), Vec::new())
        }
        Request::Odd => {
            let mut pairs = inbound.query_pairs();
            let id = pairs.find(|(name, _)| name.eq_ignore_ascii_case("id"));
            Decoded::refused(no_page(inbound), "id unreadable")
                .counted(Counted::UnknownLink)
                .orphan(OrphanKind::Link, id.as_ref().map_or("", |(_, id)| id))
        }
    }
}

/// An open, or a push received or tapped: the GIF with 200, since Adobe's SDKs send again after
/// anything else.
fn answer_message(inbound: &Inbound<'_>, rules: &Rules, claim: &LinkClaim) -> Decoded {
    let mut hit = message(inbound, rules, claim);
    let mut decoded = Decoded::of(Reply::Gif, Vec::new());
    if claim.id.target == Target::PushClick && verdict::is_visit(inbound) {
        visitor::set_new(&mut hit, inbound);
        decoded.cookies = remember(rules, &hit);
    }
    decoded.hits.push(hit);
    decoded
}

/// A page tag: always the GIF. The visitor's cookie goes back with it, so that a site's server that
/// calls the tag can hand it on.
fn answer_tag(inbound: &Inbound<'_>, rules: &Rules) -> Decoded {
    let mut hit = match tag(inbound, rules) {
        Ok(hit) => hit,
        Err(why) => return Decoded::refused(Reply::Gif, why),
    };
    let mut decoded = Decoded::of(Reply::Gif, Vec::new()).counted(Counted::Collected);
    if verdict::is_visit(inbound) {
        visitor::set_new(&mut hit, inbound);
        decoded.cookies.visitor = visitor::cookie_value(rules, &hit);
    }
    decoded.hits.push(hit);
    decoded
}

/// The fallback, or a page in Adobe's words.
fn no_page(inbound: &Inbound<'_>) -> Reply {
    Reply::NoPage(Some(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Not \
        found</title><p>Requested URL '{}' cannot be found</p></html>",
        html(&start_of(inbound.target, MOST_REPEATED))
    )))
}

/// The non-empty raw pairs of a query.
fn raw_pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').map(plain).filter(|pair| !pair.is_empty())
}

/// Name and value of a raw pair, decoded; bytes that are no UTF-8 become U+FFFD.
fn decoded(pair: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    form_urlencoded::parse(pair.as_bytes())
        .next()
        .unwrap_or_default()
}

/// `/r/test`: the documented answer. `host` is what the request says, `own_host` the server's name,
/// `at` the present time.
fn test_answer(host: &str, own_host: &str, at: crate::model::clock::Micros) -> String {
    let time = at.rfc3339();
    // 2026-01-31T09:00:00.000000Z
    let (date, clock) = time.split_once('T').unwrap_or((&time, ""));
    let clock = clock.trim_end_matches('Z');
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!(
        "<redir status='OK' date='{date} {seconds}.{millis}Z' build='{}' host='{}' \
        localHost='{}'/>",
        env!("CARGO_PKG_VERSION"),
        html(&start_of(host, 255)),
        html(&start_of(own_host, 255)),
    )
}

#[cfg(test)]
mod tests;

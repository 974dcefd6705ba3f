//! The verdict: who is believed to have caused a hit, from the request alone.
//!
//! ```text
//!  request, agent, address,   ──► rules, in their order ──► the first that knows something:
//!  time since sending             look up in lists          a reason, or a person
//! ```
//!
//! It decides what figures count and nothing else: a click leads on whatever it is taken for. Rules
//! are pure, so the same facts have the same verdict anywhere. They do not know what else comes of
//! the same message, and where a link does not say when it was sent, they do not guess.

mod facts;
mod lists;
mod rules;
pub mod settle;
mod stored;

pub use facts::{Elapsed, Facts, Surface};
pub use lists::Lists;
pub use rules::{Entry, RULES, says_prefetch};
pub use stored::judge_stored;

use http::Method;
use http::header::USER_AGENT;

use self::rules::{Case, Said};
use crate::model::hit::{Hit, Limit, Reason, Verdict};
use crate::tracking::inbound::{Inbound, MENDED_HEADER};

/// Starts of browsers' agents, and of those of most crawlers. HTTP libraries, shop systems and the
/// vendors' server SDKs give their own names.
const BROWSERS: [&str; 2] = ["mozilla/", "opera/"];

/// Words in the agents of crawlers that do not begin like a browser's.
const CRAWLERS: [&str; 7] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "externalhit",
    "preview",
    "archiver",
];

/// Whether the request is a prefetch: it gets its response but no cookies.
pub fn is_prefetch(inbound: &Inbound<'_>) -> bool {
    says_prefetch(inbound.headers)
}

/// Whether there is a browser that may be told to remember something: no HEAD, no prefetch.
pub fn is_visit(inbound: &Inbound<'_>) -> bool {
    inbound.method == Method::GET && !is_prefetch(inbound)
}

/// Takes client address and agent into a hit of a page or form, and judges it by them.
pub fn judge_request(hit: &mut Hit, inbound: &Inbound<'_>, lists: &Lists) {
    take_client(hit, inbound);
    if inbound.is_senders_own() && !hit.user_agent.as_deref().is_some_and(is_passed_on) {
        return;
    }
    let facts = Facts {
        is_prefetch: hit.verdict == Verdict::Prefetch,
        headers: Some(inbound.headers),
        address: Some(inbound.client).filter(|_| !inbound.is_senders_own()),
        agent: hit.user_agent.as_deref(),
        ..Facts::none(Surface::Page)
    };
    let why = reason(&facts, lists);
    judge(hit, why);
}

/// The same of a link or pixel in a mail, sent in a minute since the Unix epoch where the link says
/// so. Those are followed by readers, so a server that follows one is a machine that looks at it,
/// trusted or not.
pub fn judge_message_request(
    hit: &mut Hit,
    surface: Surface,
    inbound: &Inbound<'_>,
    lists: &Lists,
    sent_minute: Option<i64>,
) {
    take_client(hit, inbound);
    let facts = Facts {
        surface,
        is_prefetch: hit.verdict == Verdict::Prefetch,
        is_head: inbound.method == Method::HEAD,
        headers: Some(inbound.headers),
        agent: hit.user_agent.as_deref(),
        address: Some(inbound.client),
        elapsed: sent_minute.and_then(|minute| Elapsed::since_minute(minute, hit.received_at)),
    };
    let why = reason(&facts, lists);
    judge(hit, why);
}

/// Why a hit is not a person's; `None` if it is.
fn reason(facts: &Facts<'_>, lists: &Lists) -> Option<Reason> {
    explain(facts, lists).reason
}

/// A verdict with all that led to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explained<'a> {
    /// Who is believed to have caused the hit.
    pub verdict: Verdict,
    /// Why; `None` for a person's.
    pub reason: Option<Reason>,
    /// The rule that decided; `None` if none did.
    pub rule: Option<&'static str>,
    /// What stands in a list.
    pub entry: Option<Entry<'a>>,
}

/// Asks the rules.
pub fn explain<'a>(facts: &Facts<'_>, lists: &'a Lists) -> Explained<'a> {
    let decided = Case::new(facts, lists).decide();
    let (reason, entry) = match decided {
        Some((_, Said::Judged(reason, entry))) => (Some(reason), entry),
        Some((_, Said::Person(entry))) => (None, entry),
        Some((_, Said::Nothing)) | None => (None, None),
    };
    Explained {
        verdict: reason.map_or(Verdict::Human, Reason::verdict),
        reason,
        rule: decided.map(|(rule, _)| rule.name),
        entry,
    }
}

fn judge(hit: &mut Hit, why: Option<Reason>) {
    if let Some(why) = why {
        hit.judge(why);
    }
}

fn take_client(hit: &mut Hit, inbound: &Inbound<'_>) {
    hit.ip = Some(inbound.client);
    if let Some(agent) = inbound.header(USER_AGENT) {
        hit.user_agent = hit.take("user_agent", &agent, Limit::AGENT);
    }
    note_transport(hit, inbound);
}

/// What the request itself tells, whoever its client is: that its head did not arrive whole, that
/// it is a prefetch.
pub fn note_transport(hit: &mut Hit, inbound: &Inbound<'_>) {
    for value in inbound.headers.get_all(&MENDED_HEADER) {
        for (word, note) in [("cut", "request cut"), ("repaired", "request repaired")] {
            if rules::has_word(value, word) {
                hit.note(note);
            }
        }
    }
    if is_prefetch(inbound) {
        hit.judge(Reason::PrefetchHeader);
    }
}

/// `HEAD` is answered as `GET` wherever that is, and its hit is kept; no browser sends it by
/// itself, so it is a program that looks whether the link is alive. A trusted server that reports a
/// page with it only has no use for the answer's body.
pub fn judge_method(hit: &mut Hit, inbound: &Inbound<'_>) {
    if !inbound.is_senders_own() && inbound.method == Method::HEAD {
        hit.judge(Reason::Head);
    }
}

/// Judges a hit of a page by its user agent.
pub fn judge_agent(hit: &mut Hit, lists: &Lists) {
    let facts = Facts {
        agent: hit.user_agent.as_deref(),
        ..Facts::none(Surface::Page)
    };
    let why = reason(&facts, lists);
    judge(hit, why);
}

/// Judges a hit that a trusted server sends in its own request. What its HTTP client calls itself,
/// or that it has no name, says nothing about the person. A browser's or a crawler's agent is the
/// visitor's, which the server passed on.
pub fn judge_senders_agent(hit: &mut Hit, lists: &Lists) {
    if hit.user_agent.as_deref().is_some_and(is_passed_on) {
        judge_agent(hit, lists);
    }
}

fn is_passed_on(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    BROWSERS.iter().any(|start| agent.starts_with(start))
        || CRAWLERS.iter().any(|word| agent.contains(word))
}

#[cfg(test)]
mod tests;

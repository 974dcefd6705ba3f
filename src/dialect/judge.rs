//! The verdict: who is believed to have caused a hit, from the request alone.

use crate::hit::{Hit, Limit, Verdict};
use crate::inbound::{Inbound, MENDED_HEADER};

/// Headers that say that a page is fetched before anyone has clicked, and the word in them.
/// Sources: the Fetch standard (`Sec-Purpose`), Chromium and Safari (`Purpose`), Firefox (`X-Moz`), older Safari (`X-Purpose`).
const PREFETCH: [(&str, &str); 5] = [
    ("sec-purpose", "prefetch"),
    ("purpose", "prefetch"),
    ("x-moz", "prefetch"),
    ("x-purpose", "preview"),
    ("purpose", "preview"),
];

/// Agents that a crawler list takes for machines but that stand for a person: image proxies of mailboxes fetch when the mail is
/// opened, and these libraries are what apps are built with.
const PEOPLE: [&str; 6] = [
    "googleimageproxy",
    "yahoomailproxy",
    "okhttp/",
    "cfnetwork/",
    "dalvik/",
    "ms-office",
];

/// Whether the request is a prefetch: it gets its answer but no cookies.
pub fn is_prefetch(inbound: &Inbound<'_>) -> bool {
    PREFETCH
        .iter()
        .any(|(header, word)| inbound.header_has(header, word))
}

/// Takes client address and agent into the hit and judges it by them.
pub fn judge_request(hit: &mut Hit, inbound: &Inbound<'_>) {
    hit.ip = Some(inbound.client);
    if let Some(agent) = inbound.header("user-agent") {
        hit.user_agent = hit.take("user_agent", &agent, Limit::AGENT);
    }
    note_transport(hit, inbound);
    judge_agent(hit);
}

/// What the request itself tells, whoever its client is: that its head did not arrive whole, that it is a prefetch.
pub fn note_transport(hit: &mut Hit, inbound: &Inbound<'_>) {
    for (word, note) in [("cut", "request cut"), ("repaired", "request repaired")] {
        if inbound.header_has(MENDED_HEADER, word) {
            hit.note(note);
        }
    }
    if is_prefetch(inbound) {
        hit.judge(Verdict::Prefetch, "prefetch header");
    }
}

/// Judges a hit by its user agent.
pub fn judge_agent(hit: &mut Hit) {
    match &hit.user_agent {
        None => hit.judge(Verdict::Suspect, "no user agent"),
        Some(agent) if iscrawl::is_crawler(agent) && !is_person(agent) => {
            hit.judge(Verdict::Bot, "user agent of a crawler")
        }
        Some(_) => {}
    }
}

fn is_person(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    PEOPLE.iter().any(|word| agent.contains(word))
}

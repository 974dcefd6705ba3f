//! The verdict: who is believed to have caused a hit, from the request alone.

use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue};

use crate::hit::{Hit, Limit, Verdict};
use crate::inbound::{Inbound, MENDED_HEADER};

/// Words of a header that say that a page is fetched before anyone has clicked; no word where the header is another.
/// Sources: the Fetch standard (`Sec-Purpose`), Chromium and Safari (`Purpose`), Firefox (`X-Moz`), older Safari (`X-Purpose`).
fn prefetch_words(header: &HeaderName) -> &'static [&'static str] {
    match header.as_str() {
        "sec-purpose" | "x-moz" => &["prefetch"],
        "purpose" => &["prefetch", "preview"],
        "x-purpose" => &["preview"],
        _ => &[],
    }
}

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
    // One look at each header that is there costs less than looking each of these up.
    inbound.headers.iter().any(|(header, value)| {
        prefetch_words(header)
            .iter()
            .any(|word| has_word(value, word))
    })
}

/// Takes client address and agent into the hit and judges it by them.
pub fn judge_request(hit: &mut Hit, inbound: &Inbound<'_>) {
    hit.ip = Some(inbound.client);
    if let Some(agent) = inbound.header(USER_AGENT) {
        hit.user_agent = hit.take("user_agent", &agent, Limit::AGENT);
    }
    note_transport(hit, inbound);
    judge_agent(hit);
}

/// What the request itself tells, whoever its client is: that its head did not arrive whole, that it is a prefetch.
pub fn note_transport(hit: &mut Hit, inbound: &Inbound<'_>) {
    for value in inbound.headers.get_all(&MENDED_HEADER) {
        for (word, note) in [("cut", "request cut"), ("repaired", "request repaired")] {
            if has_word(value, word) {
                hit.note(note);
            }
        }
    }
    if is_prefetch(inbound) {
        hit.judge(Verdict::Prefetch, "prefetch header");
    }
}

fn has_word(value: &HeaderValue, word: &str) -> bool {
    let mut parts = value.as_bytes().windows(word.len());
    parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
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

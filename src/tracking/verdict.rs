//! The verdict: who is believed to have caused a hit, from the request alone.

use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue, Method};

use crate::model::hit::{Hit, Limit, Verdict};
use crate::tracking::inbound::{Inbound, MENDED_HEADER};

/// Words of a header that say that a page is fetched before anyone has clicked; no word where the
/// header is another. Sources: the Fetch standard (`Sec-Purpose`), Chromium and Safari (`Purpose`),
/// Firefox (`X-Moz`), older Safari (`X-Purpose`).
fn prefetch_words(header: &HeaderName) -> &'static [&'static str] {
    match header.as_str() {
        "sec-purpose" | "x-moz" => &["prefetch"],
        "purpose" => &["prefetch", "preview"],
        "x-purpose" => &["preview"],
        _ => &[],
    }
}

/// Agents that a crawler list takes for machines but that stand for a person: image proxies of
/// mailboxes fetch when the mail is opened, and these libraries are what apps are built with.
const PEOPLE: [&str; 6] = [
    "googleimageproxy",
    "yahoomailproxy",
    "okhttp/",
    "cfnetwork/",
    "dalvik/",
    "ms-office",
];

/// Words that browsers without a screen and the tools that drive them put into an agent, each at
/// the start of a word. Only what no person's browser says: Electron, for one, is also what mail
/// programs are built with.
const AUTOMATED: [&str; 13] = [
    "headless",
    "phantomjs",
    "slimerjs",
    "casperjs",
    "puppeteer",
    "playwright",
    "selenium",
    "webdriver",
    "cypress/",
    "htmlunit",
    "jsdom/",
    "happydom/",
    "wkhtmlto",
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

/// Whether somebody is there whose browser may be told to remember: no HEAD, no prefetch.
pub fn is_visit(inbound: &Inbound<'_>) -> bool {
    inbound.method == Method::GET && !is_prefetch(inbound)
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

/// What the request itself tells, whoever its client is: that its head did not arrive whole, that
/// it is a prefetch.
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

/// `HEAD` is answered as `GET` wherever that is, and its hit is kept; no browser sends it by itself,
/// so it is a program that looks whether the link is alive.
pub fn judge_method(hit: &mut Hit, inbound: &Inbound<'_>) {
    if inbound.method == http::Method::HEAD {
        hit.judge(Verdict::Scanner, "HEAD request");
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
        Some(agent) if is_automated(agent.as_bytes()) => {
            hit.judge(Verdict::Bot, "user agent of a crawler")
        }
        Some(_) => {}
    }
}

/// Looks at the starts of words only, of which an agent has about twenty and hardly any with the
/// first letter of one of these.
fn is_automated(agent: &[u8]) -> bool {
    let mut before = b' ';
    agent.iter().enumerate().any(|(at, &byte)| {
        let is_start = !before.is_ascii_alphanumeric();
        before = byte;
        is_start
            && matches!(byte | 0x20, b'c' | b'h' | b'j' | b'p' | b's' | b'w')
            && AUTOMATED.iter().any(|word| {
                // Most words of an agent end here, at the first letter.
                word.as_bytes()[0] == byte | 0x20
                    && agent
                        .get(at..at + word.len())
                        .is_some_and(|part| part.eq_ignore_ascii_case(word.as_bytes()))
            })
    })
}

fn is_person(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    PEOPLE.iter().any(|word| agent.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(is_automated(agent.as_bytes()), is, "{agent}");
        }
    }
}

//! The verdict: who is believed to have caused a hit, from the request alone.

use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue, Method};

use crate::model::hit::{Hit, Limit, Reason};
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
const PEOPLE: [&str; 7] = [
    "googleimageproxy",
    "yahoomailproxy",
    "okhttp/",
    "cfnetwork/",
    "dalvik/",
    "ms-office",
    "tracking library",
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

/// What browsers' agents begin with, and those of most crawlers. HTTP libraries, shop systems and
/// the vendors' server SDKs give their own names.
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

/// Takes client address and agent into a hit of a page or form, and judges it by them.
pub fn judge_request(hit: &mut Hit, inbound: &Inbound<'_>) {
    take_client(hit, inbound);
    match inbound.is_senders_own() {
        true => judge_senders_agent(hit),
        false => judge_agent(hit),
    }
}

/// The same of a link or pixel in a mail. Those are followed by readers, so a server that follows
/// one is a machine that looks at it, trusted or not.
pub fn judge_message_request(hit: &mut Hit, inbound: &Inbound<'_>) {
    take_client(hit, inbound);
    judge_agent(hit);
    judge_head(hit, inbound);
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
            if has_word(value, word) {
                hit.note(note);
            }
        }
    }
    if is_prefetch(inbound) {
        hit.judge(Reason::PrefetchHeader);
    }
}

/// `HEAD` is answered as `GET` wherever that is, and its hit is kept; no browser sends it by itself,
/// so it is a program that looks whether the link is alive. A trusted server that reports a page
/// with it only has no use for the answer's body.
pub fn judge_method(hit: &mut Hit, inbound: &Inbound<'_>) {
    if !inbound.is_senders_own() {
        judge_head(hit, inbound);
    }
}

fn judge_head(hit: &mut Hit, inbound: &Inbound<'_>) {
    if inbound.method == http::Method::HEAD {
        hit.judge(Reason::Head);
    }
}

fn has_word(value: &HeaderValue, word: &str) -> bool {
    let mut parts = value.as_bytes().windows(word.len());
    parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Judges a hit by its user agent.
pub fn judge_agent(hit: &mut Hit) {
    match &hit.user_agent {
        None => hit.judge(Reason::NoAgent),
        Some(agent) if iscrawl::is_crawler(agent) && !is_person(agent) => {
            hit.judge(Reason::Crawler)
        }
        Some(agent) if is_automated(agent.as_bytes()) => hit.judge(Reason::Crawler),
        Some(_) => {}
    }
}

/// Judges a hit that a trusted server sends in its own request. What its HTTP client calls itself,
/// or that it has no name, says nothing about the person. A browser's or a crawler's agent is the
/// visitor's, which the server passed on.
pub fn judge_senders_agent(hit: &mut Hit) {
    if hit.user_agent.as_deref().is_some_and(is_passed_on) {
        judge_agent(hit);
    }
}

fn is_passed_on(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    BROWSERS.iter().any(|start| agent.starts_with(start))
        || CRAWLERS.iter().any(|word| agent.contains(word))
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
    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{Dialect, HitId, Kind, Verdict};

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
            judge_senders_agent(&mut hit);
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
            assert_eq!(is_automated(agent.as_bytes()), is, "{agent}");
        }
    }
}

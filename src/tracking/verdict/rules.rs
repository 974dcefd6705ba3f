//! The rules, in the order in which they are asked: the first that knows something decides. Each is
//! a pure function of what is known of a hit, and convicts for one reason at most.

use std::cell::OnceCell;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::facts::{Facts, Surface};
use super::lists::{Lists, Network, NetworkOf, Seen, Word, WordOf};
use crate::model::hit::{Reason, Verdict};

/// Within so many seconds of the sending nobody has read a mail through a proxy.
const PROXY_AT_ONCE: i64 = 10;
/// How long after sending a network that often scans is taken for a scanner.
const SCANS_FOR: i64 = 600;
/// Nobody opens a mail within the minute of its sending.
const TOO_SOON: i64 = 60;

/// The entry of a list that decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry<'a> {
    /// A word of the agent.
    Word(&'a Word),
    /// The network of the address.
    Network(&'a Network),
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said<'a> {
    /// Nothing: the next is asked.
    Nothing,
    /// A person, whatever the later rules would say.
    Person(Option<Entry<'a>>),
    /// Something else, and why.
    Judged(Reason, Option<Entry<'a>>),
}

impl<'a> Said<'a> {
    fn if_found(reason: Reason, entry: Option<Entry<'a>>) -> Self {
        entry.map_or(Self::Nothing, |entry| Self::Judged(reason, Some(entry)))
    }

    fn person_if_found(found: Option<&'a Word>) -> Self {
        found.map_or(Self::Nothing, |found| {
            Self::Person(Some(Entry::Word(found)))
        })
    }

    fn listed(verdict: Verdict, entry: Entry<'a>) -> Self {
        match verdict.listed() {
            Some(reason) => Self::Judged(reason, Some(entry)),
            None => Self::Person(Some(entry)),
        }
    }

    fn judged_if(is: bool, reason: Reason) -> Self {
        match is {
            true => Self::Judged(reason, None),
            false => Self::Nothing,
        }
    }
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, as the documentation has it.
    pub name: &'static str,
    /// What it is asked about.
    pub on: &'static [Surface],
    /// Whether it finds people.
    pub finds_people: bool,
    /// Why it convicts.
    pub reasons: &'static [Reason],
    asks: for<'a> fn(&Case<'_, 'a>) -> Said<'a>,
}

/// The rule that asks the operator's lists.
pub(super) const LISTED_RULE: &str = "your lists";

const LISTED: &[Reason] = &[
    Reason::ListedPrefetch,
    Reason::ListedBot,
    Reason::ListedScanner,
    Reason::ListedSuspect,
];
const ALL: &[Surface] = &[Surface::Page, Surface::Link, Surface::Open];
const MESSAGE: &[Surface] = &[Surface::Link, Surface::Open];
const LINK: &[Surface] = &[Surface::Link];
const OPEN: &[Surface] = &[Surface::Open];

/// All of them, in order.
#[rustfmt::skip]
pub const RULES: [Rule; 17] = [
    rule("prefetch header", ALL, &[Reason::PrefetchHeader], prefetch_header),
    rule("link check by Office", MESSAGE, &[Reason::OfficeCheck], office_check),
    rule("HEAD", ALL, &[Reason::Head], head),
    rule(LISTED_RULE, ALL, LISTED, listed),
    rule("network that only scans mail", MESSAGE, &[Reason::MailScanner], mail_scanner),
    rule("opened ahead", OPEN, &[Reason::MailPrivacy], opened_ahead),
    rule("image proxy at once", OPEN, &[Reason::ProxyAtOnce], proxy_at_once),
    rule("image proxy", OPEN, &[], proxy),
    rule("image proxy that clicks", LINK, &[Reason::ProxyClicks], proxy_clicks),
    rule("no agent", ALL, &[Reason::NoAgent], no_agent),
    rule("mail program", OPEN, &[], mail_program),
    rule("machine's agent", ALL, &[Reason::Crawler], machine),
    rule("headless client hints", ALL, &[Reason::Headless], headless),
    rule("HTTP library that clicks", LINK, &[Reason::Library], library),
    rule("network that often scans", MESSAGE, &[Reason::OftenScans], often_scans),
    rule("no browser's agent", MESSAGE, &[Reason::NoBrowser], no_browser),
    rule("too soon", MESSAGE, &[Reason::TooSoon], too_soon),
];

const fn rule(
    name: &'static str,
    on: &'static [Surface],
    reasons: &'static [Reason],
    asks: for<'a> fn(&Case<'_, 'a>) -> Said<'a>,
) -> Rule {
    Rule {
        name,
        on,
        finds_people: reasons.len() != 1,
        reasons,
        asks,
    }
}

/// A hit before the rules. What a list says of it is looked up when a rule first asks.
pub struct Case<'f, 'a> {
    facts: &'f Facts<'f>,
    lists: &'a Lists,
    seen: OnceCell<Seen<'a>>,
    network: OnceCell<Option<&'a Network>>,
}

impl<'f, 'a> Case<'f, 'a> {
    /// Of what is known.
    pub fn new(facts: &'f Facts<'f>, lists: &'a Lists) -> Self {
        Self {
            facts,
            lists,
            seen: OnceCell::new(),
            network: OnceCell::new(),
        }
    }

    /// The first rule that decides, and its result.
    pub fn decide(&self) -> Option<(&'static Rule, Said<'a>)> {
        let mut rules = RULES
            .iter()
            .filter(|rule| rule.on.contains(&self.facts.surface));
        rules.find_map(|rule| match (rule.asks)(self) {
            Said::Nothing => None,
            said => Some((rule, said)),
        })
    }

    fn agent(&self) -> &str {
        self.facts.agent.unwrap_or_default()
    }

    fn seen(&self) -> &Seen<'a> {
        self.seen.get_or_init(|| self.lists.look_at(self.agent()))
    }

    fn network(&self) -> Option<&'a Network> {
        let look_up = || self.lists.network_of(self.facts.address?);
        *self.network.get_or_init(look_up)
    }

    fn network_if(&self, of: &[NetworkOf]) -> Option<Entry<'a>> {
        let network = self.network().filter(|network| of.contains(&network.of));
        network.map(Entry::Network)
    }

    fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.facts.headers?.get(name)
    }

    fn is_within(&self, seconds: i64) -> bool {
        let elapsed = self.facts.elapsed;
        elapsed.is_some_and(|elapsed| elapsed.least < seconds)
    }
}

fn word(word: Option<&Word>) -> Option<Entry<'_>> {
    word.map(Entry::Word)
}

/// Words of a header that say that a page is fetched before anyone has clicked; no word where the
/// header is another. Sources: the Fetch standard (`Sec-Purpose`), Chromium and Safari (`Purpose`),
/// Firefox (`X-Moz`), older Safari and Facebook's app (`X-Purpose`).
fn prefetch_words(header: &HeaderName) -> &'static [&'static str] {
    match header.as_str() {
        "sec-purpose" | "purpose" => &["prefetch", "prerender", "preview"],
        "x-moz" => &["prefetch"],
        "x-purpose" => &["preview", "prefetch", "instant"],
        _ => &[],
    }
}

/// Whether headers say that nobody has clicked yet.
pub fn says_prefetch(headers: &HeaderMap) -> bool {
    // One look at each header that is there costs less than looking each of these up.
    headers.iter().any(|(header, value)| {
        let mut words = prefetch_words(header).iter();
        words.any(|word| has_word(value, word))
    })
}

/// Whether a header has a word, in whatever case.
pub fn has_word(value: &HeaderValue, word: &str) -> bool {
    let mut parts = value.as_bytes().windows(word.len());
    parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

fn prefetch_header<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    Said::judged_if(case.facts.is_prefetch, Reason::PrefetchHeader)
}

/// Office asks for the head of a link before it gives the link to the browser.
fn office_check<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    match case.facts.is_head {
        true => Said::if_found(Reason::OfficeCheck, word(case.seen().office)),
        false => Said::Nothing,
    }
}

/// No browser sends `HEAD` by itself.
fn head<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    Said::judged_if(case.facts.is_head, Reason::Head)
}

/// What the operator says of an agent holds before what he says of a network.
fn listed<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    if let Some(found) = case.seen().operator
        && let WordOf::Operator(verdict) = found.of
    {
        return Said::listed(verdict, Entry::Word(found));
    }
    let network = case
        .facts
        .address
        .and_then(|address| case.lists.own_network_of(address));
    match network {
        Some(found) => match found.of {
            NetworkOf::Operator(verdict) => Said::listed(verdict, Entry::Network(found)),
            _ => Said::Nothing,
        },
        None => Said::Nothing,
    }
}

fn mail_scanner<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    Said::if_found(Reason::MailScanner, case.network_if(&[NetworkOf::Scans]))
}

/// Apple Mail's privacy protection fetches the images of all mail, read or not, and gives a bare
/// `Mozilla/5.0` and no referrer; Gmail's app now and then the same under an old Edge.
fn opened_ahead<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    if case.agent().eq_ignore_ascii_case("Mozilla/5.0") {
        let apple = case.network_if(&[NetworkOf::Apple]);
        if apple.is_some() || case.header("referer").is_none() {
            return Said::Judged(Reason::MailPrivacy, apple);
        }
    }
    Said::if_found(Reason::MailPrivacy, word(case.seen().ahead))
}

fn proxy_at_once<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    match case.is_within(PROXY_AT_ONCE) {
        true => Said::if_found(Reason::ProxyAtOnce, word(case.seen().proxy)),
        false => Said::Nothing,
    }
}

fn proxy<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    Said::person_if_found(case.seen().proxy)
}

fn proxy_clicks<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    Said::if_found(Reason::ProxyClicks, word(case.seen().proxy))
}

fn no_agent<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    Said::judged_if(case.facts.agent.is_none(), Reason::NoAgent)
}

fn mail_program<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    Said::person_if_found(case.seen().mail)
}

/// A word of a machine; "compatible" without a browser that says so; the address of whoever sends
/// it; and on a link an agent that is a name and nothing else.
fn machine<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    let seen = case.seen();
    if let Some(found) = seen.machine {
        return Said::Judged(Reason::Crawler, Some(Entry::Word(found)));
    }
    let agent = case.agent();
    let is = is_compatible_with_nothing(seen)
        || (!seen.is_covered && has_address(agent, seen))
        || (case.facts.surface == Surface::Link && is_a_name_alone(agent, seen));
    Said::judged_if(is, Reason::Crawler)
}

fn is_compatible_with_nothing(seen: &Seen<'_>) -> bool {
    seen.claim.is_some() && seen.old.is_none()
}

/// A web address, or one of mail. Browsers of small makers give theirs too, but say that they are
/// browsers, and have no plus before it as crawlers do.
fn has_address(agent: &str, seen: &Seen<'_>) -> bool {
    if seen.address.is_none() && !has_mail_address(agent.as_bytes()) {
        return false;
    }
    let has = |word: &[u8]| memchr::memmem::find(agent.as_bytes(), word).is_some();
    !has(b"Browser/") || has(b"+http")
}

fn has_mail_address(agent: &[u8]) -> bool {
    memchr::memchr_iter(b'@', agent).any(|at| {
        let host = &agent[at + 1..];
        let end = host.iter().position(|byte| !is_of_a_host(*byte));
        let host = &host[..end.unwrap_or(host.len())];
        host.first().is_some_and(u8::is_ascii_alphabetic) && host.contains(&b'.')
    })
}

fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

fn is_a_name_alone(agent: &str, seen: &Seen<'_>) -> bool {
    seen.browser.is_none()
        && seen.library.is_none()
        && seen.mail.is_none()
        && memchr::memchr(b'(', agent.as_bytes()).is_none()
}

/// Who changes the agent of a browser without a screen often forgets what it says beside it.
fn headless<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    let hint = case.header("sec-ch-ua");
    let is = hint.is_some_and(|hint| memchr::memmem::find(hint.as_bytes(), b"Headless").is_some());
    Said::judged_if(is, Reason::Headless)
}

/// Apps call their own servers with these, and mail programs fetch images with them; links are
/// followed in a browser.
fn library<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    Said::if_found(Reason::Library, word(case.seen().library))
}

fn often_scans<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    let of: &[NetworkOf] = match case.facts.surface {
        Surface::Link => &[NetworkOf::Often, NetworkOf::Clicks],
        _ => &[NetworkOf::Often],
    };
    match case.is_within(SCANS_FOR) {
        true => Said::if_found(Reason::OftenScans, case.network_if(of)),
        false => Said::Nothing,
    }
}

fn no_browser<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    let seen = case.seen();
    let is = seen.browser.is_none() && seen.library.is_none() && seen.mail.is_none();
    Said::judged_if(is, Reason::NoBrowser)
}

fn too_soon<'a>(case: &Case<'_, 'a>) -> Said<'a> {
    let elapsed = case.facts.elapsed;
    let is = elapsed.is_some_and(|elapsed| elapsed.most < TOO_SOON);
    Said::judged_if(is, Reason::TooSoon)
}

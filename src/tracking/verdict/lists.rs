//! The lists that the rules look things up in: words of agents, and networks. They are data, in
//! files beside this one, each entry with its source and its date, and compiled in; an operator's
//! files add to them or take their place.
//!
//! All words are found in one pass over the agent, by one automaton; the network of an address in
//! one walk down a trie. A hit costs well below a microsecond.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::model::hint::{one_of, quote};
use crate::model::hit::Verdict;

const AGENTS: &str = include_str!("lists/agents.tsv");
const NETWORKS: &str = include_str!("lists/networks.tsv");

// A test reads both: what is compiled in has no faults.
static BUILT_IN: LazyLock<Arc<Lists>> =
    LazyLock::new(|| Arc::new(Lists::new("", "").unwrap_or_default()));

/// The line that leaves out what is compiled in.
const REPLACE: &str = "replace";
/// Most bytes of a word, and most entries of an operator's list: the automaton grows with both.
const MOST_WORD: usize = 200;
const MOST_ENTRIES: usize = 10_000;

macro_rules! group {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+
            /// What the operator says.
            Operator(Verdict),
        }

        impl $name {
            /// The word that stands before the entry.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Operator(verdict) => verdict.as_str(),
                }
            }

            /// Words that may stand before an entry of an operator's list.
            pub const ALLOWED: &[&str] = &["human", "prefetch", "bot", "scanner", "suspect", $($word),+];

            fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// An operator's own verdict comes first.
            fn parse_own(word: &str) -> Option<Self> {
                Verdict::parse(word).map(Self::Operator).or_else(|| Self::parse(word))
            }
        }
    };
}

group!(
    /// What a word of an agent is of.
    WordOf {
        /// Only looks like a machine's word.
        Looks = "looks",
        /// A machine.
        Machine = "machine",
        /// A mail program.
        Mail = "mail",
        /// An image proxy of a mailbox.
        Proxy = "proxy",
        /// Fetches images before the mail is opened.
        Ahead = "ahead",
        /// A client of Office.
        Office = "office",
        /// An HTTP library that apps are made with.
        Library = "library",
        /// A browser that says "compatible".
        Old = "old",
        /// A browser, an app or a device.
        Browser = "browser",
        /// Says to be compatible.
        Claim = "claim",
        /// A web address.
        Address = "address",
    }
);

group!(
    /// What a network is.
    NetworkOf {
        /// Only looks through mail.
        Scans = "scans",
        /// Looks through mail, and now and then lets a person out.
        Often = "often",
        /// The same; the images of web mail are fetched from there too.
        Clicks = "clicks",
        /// Apple's egress.
        Apple = "apple",
    }
);

/// One word, with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it is of.
    pub of: WordOf,
    /// As in the list, with the marks at its ends.
    pub text: Cow<'static, str>,
    /// Where it comes from.
    pub source: Cow<'static, str>,
    /// When it was taken.
    pub date: Cow<'static, str>,
}

/// One network, with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// What it is.
    pub of: NetworkOf,
    /// The network.
    pub net: IpNet,
    /// Whose it is.
    pub owner: Cow<'static, str>,
    /// Where it comes from.
    pub source: Cow<'static, str>,
    /// When it was taken.
    pub date: Cow<'static, str>,
}

/// Why a list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("verdict.{list}, line {line}: {what}")]
pub struct ListError {
    /// `agents` or `networks`.
    pub list: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

impl ListError {
    fn new(list: &'static str, line: usize, what: String) -> Self {
        Self { list, line, what }
    }
}

/// Words and networks, ready to be looked up in.
#[derive(Debug, Default)]
pub struct Lists {
    words: Words,
    networks: Networks,
    /// Those that the operator gave a verdict: they hold before all others, however small.
    own: Networks,
}

impl Lists {
    /// What is compiled in, with an operator's texts: a line is a verdict, or the name of a group
    /// of ours, and behind it a word or a network. A line `replace` leaves out what is compiled in.
    ///
    /// # Errors
    /// Which list and line cannot be read.
    pub fn new(agents: &str, networks: &str) -> Result<Self, ListError> {
        let own_words = own_entries("agents", agents, WordOf::parse_own, WordOf::ALLOWED)?;
        let mut words = match own_words.replaces {
            true => Vec::new(),
            false => built_in_words()?,
        };
        for (line, of, text) in own_words.entries {
            let bare = text.trim_matches(['^', '<', '>', '$']);
            if bare.is_empty() || text.len() > MOST_WORD {
                let what = format!("{text:?} is no word; give one of 1 to {MOST_WORD} bytes");
                return Err(ListError::new("agents", line, what));
            }
            words.push(Word {
                of,
                text: text.to_ascii_lowercase().into(),
                source: format!("verdict.agents, line {line}").into(),
                date: "".into(),
            });
        }
        let own_networks = own_entries(
            "networks",
            networks,
            NetworkOf::parse_own,
            NetworkOf::ALLOWED,
        )?;
        let mut built = match own_networks.replaces {
            true => Vec::new(),
            false => built_in_networks()?,
        };
        let mut own = Vec::new();
        for (line, of, text) in own_networks.entries {
            let net = parse_network(text).ok_or_else(|| {
                let what = format!("{text:?} is no network; give one such as 192.0.2.0/24");
                ListError::new("networks", line, what)
            })?;
            let network = Network {
                of,
                net,
                owner: "".into(),
                source: format!("verdict.networks, line {line}").into(),
                date: "".into(),
            };
            match of {
                NetworkOf::Operator(_) => own.push(network),
                _ => built.push(network),
            }
        }
        Ok(Self {
            words: Words::build(words)
                .map_err(|error| ListError::new("agents", 0, error.to_string()))?,
            networks: Networks::build(built),
            own: Networks::build(own),
        })
    }

    /// Those that are compiled in.
    pub fn built_in() -> Arc<Self> {
        Arc::clone(&BUILT_IN)
    }

    /// What is seen in an agent.
    pub fn look_at(&self, agent: &str) -> Seen<'_> {
        self.words.look_at(agent)
    }

    /// The smallest network that holds an address and that the operator gave a verdict.
    pub fn own_network_of(&self, address: IpAddr) -> Option<&Network> {
        self.own.of(address)
    }

    /// The smallest of the other networks that holds an address.
    pub fn network_of(&self, address: IpAddr) -> Option<&Network> {
        self.networks.of(address)
    }
}

/// What of each group stands first in an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen<'a> {
    /// No word that only looks so covers it.
    pub machine: Option<&'a Word>,
    /// Whether one was there and is covered: an address beside it says nothing either.
    pub is_covered: bool,
    pub mail: Option<&'a Word>,
    pub proxy: Option<&'a Word>,
    pub ahead: Option<&'a Word>,
    pub office: Option<&'a Word>,
    pub library: Option<&'a Word>,
    pub old: Option<&'a Word>,
    pub browser: Option<&'a Word>,
    pub claim: Option<&'a Word>,
    pub address: Option<&'a Word>,
    pub operator: Option<&'a Word>,
}

/// What must come before or after a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Any,
    NoLetter,
    Nothing,
}

impl Edge {
    fn allows(self, beside: Option<&u8>) -> bool {
        match self {
            Self::Any => true,
            Self::NoLetter => beside.is_none_or(|byte| !byte.is_ascii_alphabetic()),
            Self::Nothing => beside.is_none(),
        }
    }
}

#[derive(Debug, Default)]
struct Words {
    words: Vec<(Word, Edge, Edge)>,
    automaton: Option<AhoCorasick>,
    /// The word that stands for what is common to browsers, where that need not be read: it has
    /// only words of browsers.
    common: Option<usize>,
}

/// What most agents begin with.
const START: &str = "Mozilla/5.0 (";
/// What many have in their first brackets.
const PLATFORMS: [&str; 5] = [
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "Linux; Android 10; K",
    "X11; Linux x86_64",
    "X11; CrOS x86_64 14541.0.0",
];
/// What iPhones have there, around a version.
const IPHONE: [&str; 2] = ["iPhone; CPU iPhone OS ", " like Mac OS X"];
/// What Firefox has behind one of the platforms, before a version.
const REVISION: &str = "; rv:";
/// What comes behind these.
const ENGINES: [&str; 3] = [
    ") AppleWebKit/537.36 (KHTML, like Gecko)",
    ") AppleWebKit/605.1.15 (KHTML, like Gecko)",
    ") Gecko/20100101 Firefox/",
];
/// The word that is seen in these.
const ENGINE: &str = "gecko";

fn is_common_platform(platform: &str) -> bool {
    let is_version = |text: &str| {
        let mut bytes = text.bytes();
        bytes.all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_'))
    };
    if let Some(rest) = platform.strip_prefix(IPHONE[0]) {
        return rest.strip_suffix(IPHONE[1]).is_some_and(is_version);
    }
    match platform.rsplit_once(REVISION) {
        Some((platform, revision)) => PLATFORMS.contains(&platform) && is_version(revision),
        None => PLATFORMS.contains(&platform),
    }
}

/// The parts of an agent that have to be read. What is common to most browsers is two thirds of an
/// agent, and reading it would be most of the cost.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    has_engine: bool,
    to_read: [Range<usize>; 2],
}

impl Parts {
    fn whole(agent: &str) -> Self {
        Self {
            has_engine: false,
            to_read: [0..agent.len(), 0..0],
        }
    }

    fn of(agent: &str) -> Self {
        Self::found_in(agent).unwrap_or_else(|| Self::whole(agent))
    }

    fn found_in(agent: &str) -> Option<Self> {
        let rest = agent.strip_prefix(START)?;
        let length = memchr::memchr(b')', rest.as_bytes())?;
        let (platform, rest) = rest.split_at(length);
        let engine = ENGINES.iter().find(|engine| rest.starts_with(**engine))?;
        let end = START.len() + length;
        let read = match is_common_platform(platform) {
            true => 0..0,
            false => START.len()..end,
        };
        Some(Self {
            has_engine: true,
            to_read: [read, end + engine.len()..agent.len()],
        })
    }
}

impl Words {
    fn build(words: Vec<Word>) -> Result<Self, aho_corasick::BuildError> {
        let (mut patterns, mut edged) = (Vec::new(), Vec::new());
        for word in words {
            let mut text = word.text.as_ref();
            let (mut before, mut behind) = (Edge::Any, Edge::Any);
            for (sign, edge) in [('^', Edge::Nothing), ('<', Edge::NoLetter)] {
                if let Some(rest) = text.strip_prefix(sign) {
                    (text, before) = (rest, edge);
                }
            }
            for (sign, edge) in [('$', Edge::Nothing), ('>', Edge::NoLetter)] {
                if let Some(rest) = text.strip_suffix(sign) {
                    (text, behind) = (rest, edge);
                }
            }
            patterns.push(text.to_owned());
            edged.push((word, before, behind));
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            // Built in 5 ms; with the usual 2 in 90, and a start waits for it.
            .dense_depth(3)
            .build(patterns)?;
        let mut built = Self {
            words: edged,
            automaton: Some(automaton),
            common: None,
        };
        built.common = built.common_word();
        Ok(built)
    }

    /// The word of the common parts, where they have no word of another group: an operator may have
    /// given one a verdict, or a version.
    fn common_word(&self) -> Option<usize> {
        let [before, behind] = IPHONE;
        let iphone = format!("{before}1{behind}");
        let revised = format!("{}{REVISION}1", PLATFORMS[0]);
        let mut platforms = PLATFORMS
            .into_iter()
            .chain([iphone.as_str(), revised.as_str()]);
        let has_another = platforms.any(|platform| {
            ENGINES.iter().any(|engine| {
                let seen = self.look_at(&format!("{START}{platform}{engine} x"));
                let others = Seen {
                    browser: None,
                    ..seen
                };
                others != Seen::default()
            })
        });
        let names_a_version = self.words.iter().any(|(word, ..)| {
            word.date.is_empty() && word.text.bytes().any(|byte| byte.is_ascii_digit())
        });
        let mut words = self.words.iter();
        let at = words.position(|(word, ..)| word.of == WordOf::Browser && word.text == ENGINE)?;
        (!has_another && !names_a_version).then_some(at)
    }

    fn look_at(&self, agent: &str) -> Seen<'_> {
        let mut seen = Seen::default();
        let Some(automaton) = &self.automaton else {
            return seen;
        };
        let bytes = agent.as_bytes();
        // Hardly an agent has one of these.
        let (mut machines, mut covers) = (Vec::new(), Vec::new());
        let parts = match self.common {
            Some(at) => {
                let parts = Parts::of(agent);
                seen.browser = parts.has_engine.then(|| &self.words[at].0);
                parts
            }
            None => Parts::whole(agent),
        };
        let in_part = |part: &Range<usize>| {
            automaton.find_overlapping_iter(Input::new(agent).span(part.clone()))
        };
        for found in parts.to_read.iter().flat_map(in_part) {
            let (word, before, behind) = &self.words[found.pattern().as_usize()];
            let earlier = found.start().checked_sub(1).and_then(|at| bytes.get(at));
            if !before.allows(earlier) || !behind.allows(bytes.get(found.end())) {
                continue;
            }
            let place = match word.of {
                WordOf::Looks => {
                    covers.push(found.span());
                    continue;
                }
                WordOf::Machine => {
                    machines.push((word, found.span()));
                    continue;
                }
                WordOf::Mail => &mut seen.mail,
                WordOf::Proxy => &mut seen.proxy,
                WordOf::Ahead => &mut seen.ahead,
                WordOf::Office => &mut seen.office,
                WordOf::Library => &mut seen.library,
                WordOf::Old => &mut seen.old,
                WordOf::Browser => &mut seen.browser,
                WordOf::Claim => &mut seen.claim,
                WordOf::Address => &mut seen.address,
                WordOf::Operator(_) => &mut seen.operator,
            };
            place.get_or_insert(word);
        }
        seen.is_covered = !covers.is_empty();
        seen.machine = machines.into_iter().find_map(|(word, span)| {
            let is_covered = covers
                .iter()
                .any(|cover| cover.start < span.end && span.start < cover.end);
            (!is_covered).then_some(word)
        });
        seen
    }
}

#[derive(Debug, Default)]
struct Networks {
    of_four: PrefixMap<Ipv4Net, Network>,
    of_six: PrefixMap<Ipv6Net, Network>,
}

impl Networks {
    fn build(networks: Vec<Network>) -> Self {
        let mut built = Self::default();
        for network in networks {
            match network.net {
                IpNet::V4(net) => built.of_four.insert(net, network),
                IpNet::V6(net) => built.of_six.insert(net, network),
            };
        }
        built
    }

    fn of(&self, address: IpAddr) -> Option<&Network> {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let found = self.of_four.get_lpm(&Ipv4Net::from(address));
                found.map(|(_, network)| network)
            }
            IpAddr::V6(address) => {
                let found = self.of_six.get_lpm(&Ipv6Net::from(address));
                found.map(|(_, network)| network)
            }
        }
    }
}

fn built_in_words() -> Result<Vec<Word>, ListError> {
    entries(AGENTS)
        .map(|(line, entry)| {
            let [of, text, source, date] = fields("agents", line, entry)?;
            let of = WordOf::parse(of).ok_or_else(|| unknown("agents", line, of, &[]))?;
            Ok(Word {
                of,
                text: text.into(),
                source: source.into(),
                date: date.into(),
            })
        })
        .collect()
}

fn built_in_networks() -> Result<Vec<Network>, ListError> {
    entries(NETWORKS)
        .map(|(line, entry)| {
            let [of, net, owner, source, date] = fields("networks", line, entry)?;
            let of = NetworkOf::parse(of).ok_or_else(|| unknown("networks", line, of, &[]))?;
            let net = parse_network(net).ok_or_else(|| unknown("networks", line, net, &[]))?;
            Ok(Network {
                of,
                net,
                owner: owner.into(),
                source: source.into(),
                date: date.into(),
            })
        })
        .collect()
}

/// What an operator's list says.
struct Own<'t, T> {
    replaces: bool,
    /// Lines with what stands before the entry, and the entry.
    entries: Vec<(usize, T, &'t str)>,
}

fn own_entries<'t, T>(
    list: &'static str,
    text: &'t str,
    parse: fn(&str) -> Option<T>,
    allowed: &[&str],
) -> Result<Own<'t, T>, ListError> {
    let mut own = Own {
        replaces: false,
        entries: Vec::new(),
    };
    for (line, entry) in entries(text) {
        let entry = entry.trim();
        if entry == REPLACE {
            own.replaces = true;
            continue;
        }
        if own.entries.len() == MOST_ENTRIES {
            let what = format!("is one too many; give at most {MOST_ENTRIES}");
            return Err(ListError::new(list, line, what));
        }
        let (of, rest) = entry.split_once([' ', '\t']).unwrap_or((entry, ""));
        let of = parse(of).ok_or_else(|| unknown(list, line, of, allowed))?;
        // Lines of our own lists may be taken over: what stands behind tabs is their source.
        let rest = rest.trim().split('\t').next().unwrap_or_default().trim();
        own.entries.push((line, of, rest));
    }
    Ok(own)
}

/// A network, or a single address.
fn parse_network(text: &str) -> Option<IpNet> {
    let net: Option<IpNet> = text.parse().ok();
    let net = net.or_else(|| {
        text.parse()
            .ok()
            .map(|address: IpAddr| IpNet::from(address))
    });
    net.map(|net| net.trunc())
}

/// Lines that are no comments, with their numbers.
fn entries(list: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = list.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
}

fn fields<'t, const N: usize>(
    list: &'static str,
    line: usize,
    entry: &'t str,
) -> Result<[&'t str; N], ListError> {
    let fields: Vec<&str> = entry.split('\t').collect();
    let count = fields.len();
    fields
        .try_into()
        .map_err(|_| ListError::new(list, line, format!("has {count} fields; give {N}")))
}

fn unknown(list: &'static str, line: usize, word: &str, allowed: &[&str]) -> ListError {
    let what = format!(
        "{} is not known; begin the line with {}",
        quote(word),
        one_of(allowed)
    );
    ListError::new(list, line, what)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_compiled_in_has_no_faults_and_each_entry_a_source_and_a_date() {
        let words = built_in_words().unwrap();
        assert!(words.len() > 500);
        let mut had = BTreeSet::new();
        for word in &words {
            assert!(
                had.insert((word.of.as_str(), &word.text)),
                "twice: {word:?}"
            );
            assert_eq!(word.text, word.text.to_lowercase(), "{word:?}");
            assert!(
                !word.text.trim_matches(['^', '<', '>', '$']).is_empty(),
                "{word:?}"
            );
            assert!(word.source.len() > 3 && word.date.len() == 10, "{word:?}");
        }
        Words::build(words).unwrap();
        let networks = built_in_networks().unwrap();
        assert!(networks.len() > 100);
        let mut had = BTreeSet::new();
        for network in &networks {
            assert!(had.insert(network.net), "twice: {network:?}");
            assert_eq!(network.net, network.net.trunc(), "{network:?}");
            assert!(
                network.owner.len() > 3 && network.source.len() > 3,
                "{network:?}"
            );
            assert_eq!(network.date.len(), 10, "{network:?}");
        }
    }

    /// Which words are seen, but for which of the browser's: any of those says the same.
    fn seen_in(words: &Words, agent: &str) -> (bool, String) {
        let seen = words.look_at(agent);
        let others = Seen {
            browser: None,
            ..seen
        };
        (seen.browser.is_some(), format!("{others:?}"))
    }

    #[test]
    fn what_is_common_to_browsers_need_not_be_read() {
        let quick = Words::build(built_in_words().unwrap()).unwrap();
        assert!(quick.common.is_some());
        let whole = Words {
            common: None,
            ..Words::build(built_in_words().unwrap()).unwrap()
        };
        let agents = concat!(
            include_str!("tests/people.txt"),
            include_str!("tests/crawlers.txt")
        );
        let requests = include_str!("tests/requests.jsonl")
            .lines()
            .filter_map(|line| {
                let request: serde_json::Value = serde_json::from_str(line).unwrap();
                request["agent"].as_str().map(str::to_owned)
            });
        let mut skipped = 0;
        for agent in agents.lines().map(str::to_owned).chain(requests) {
            assert_eq!(seen_in(&quick, &agent), seen_in(&whole, &agent), "{agent}");
            skipped += usize::from(Parts::of(&agent).has_engine);
        }
        assert!(skipped > 500, "{skipped}");

        let own = Lists::new("bot like gecko", "").unwrap();
        assert_eq!(own.words.common, None);
        let own = Lists::new("bot rv:139", "").unwrap();
        assert_eq!(own.words.common, None);
        assert!(Lists::new("bot acme", "").unwrap().words.common.is_some());
        assert!(
            Lists::new("replace\nbot acme", "")
                .unwrap()
                .words
                .common
                .is_none()
        );
    }

    #[test]
    fn an_operators_lists_add_to_ours_or_take_their_place() {
        let added = Lists::new(
            "# ours\n\nbot Acme Fetcher\nmachine\t<probe2\tx\ty\n",
            "human 40.107.0.0/16",
        )
        .unwrap();
        let agent = added.look_at("ACME FETCHER (compatible; Googlebot)");
        assert_eq!(
            agent.operator.map(|word| word.of),
            Some(WordOf::Operator(Verdict::Bot))
        );
        assert!(agent.machine.is_some() && added.look_at("a probe2").machine.is_some());
        let address = "40.107.3.4".parse().unwrap();
        let own = added.own_network_of(address).unwrap();
        assert_eq!(own.of, NetworkOf::Operator(Verdict::Human));
        assert_eq!(own.source, "verdict.networks, line 1");
        assert!(added.network_of(address).is_some());

        let replaced = Lists::new("replace\nmachine bot", "replace\nscanner 192.0.2.7").unwrap();
        assert!(replaced.look_at("crawler").machine.is_none());
        assert!(replaced.look_at("Robot").machine.is_some());
        assert!(replaced.network_of(address).is_none());
        let own = replaced.own_network_of("192.0.2.7".parse().unwrap());
        assert_eq!(
            own.map(|network| network.of),
            Some(NetworkOf::Operator(Verdict::Scanner))
        );
    }

    #[test]
    fn a_wrong_line_of_an_operator_is_told_with_what_is_allowed() {
        for (agents, networks, told) in [
            (
                "bot x\nrobot y",
                "",
                "verdict.agents, line 2: \"robot\" is not known; begin the line with human, prefetch, bot",
            ),
            (
                "bot",
                "",
                "verdict.agents, line 1: \"\" is no word; give one of 1 to 200 bytes",
            ),
            ("bot ^$", "", "verdict.agents, line 1: \"^$\" is no word"),
            (
                "",
                "#\nscanner 10.0.0.0/33",
                "verdict.networks, line 2: \"10.0.0.0/33\" is no network; give one such as 192.0.2.0/24",
            ),
            (
                "",
                "10.0.0.0/8",
                "verdict.networks, line 1: \"10.0.0.0/8\" is not known; begin the line with human",
            ),
        ] {
            let error = Lists::new(agents, networks).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn a_word_is_found_between_its_ends_only() {
        let words = [
            (WordOf::Machine, "bot>"),
            (WordOf::Machine, "^ruby$"),
            (WordOf::Machine, "<scan"),
            (WordOf::Looks, "cubot"),
        ];
        let words = words.map(|(of, text)| Word {
            of,
            text: text.into(),
            source: "".into(),
            date: "".into(),
        });
        let words = Words::build(words.to_vec()).unwrap();
        for (agent, found) in [
            ("Googlebot/2.1", Some("bot>")),
            ("bot", Some("bot>")),
            ("botany", None),
            ("CUBOT MAX", None),
            ("CUBOT MAX; Googlebot", Some("bot>")),
            ("Ruby", Some("^ruby$")),
            ("ForwardRuby", None),
            ("Ruby/3", None),
            ("a scan", Some("<scan")),
            ("camscanner", None),
            ("", None),
        ] {
            let machine = words.look_at(agent).machine;
            assert_eq!(machine.map(|word| word.text.as_ref()), found, "{agent}");
        }
    }

    #[test]
    fn the_smallest_network_of_an_address_is_found() {
        let lists = Lists::built_in();
        for (address, of) in [
            ("40.107.218.12", Some(NetworkOf::Scans)),
            ("40.94.9.77", Some(NetworkOf::Clicks)),
            ("::ffff:40.107.218.12", Some(NetworkOf::Scans)),
            ("2a01:111:f403:c001::9", Some(NetworkOf::Scans)),
            ("2a01:111:1::1", Some(NetworkOf::Clicks)),
            ("148.163.130.5", Some(NetworkOf::Often)),
            ("172.225.88.20", Some(NetworkOf::Apple)),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
        ] {
            let found = lists.network_of(address.parse().unwrap());
            assert_eq!(found.map(|network| network.of), of, "{address}");
        }
    }
}

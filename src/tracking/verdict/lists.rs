//! The lists that the rules look things up in: words of agents, and networks. They are data, in
//! files beside this one, each entry with its source and its date, and compiled in; an operator's
//! files add to them or take their place.
//!
//! All words are found in one pass over the agent, by one automaton; the network of an address in
//! one walk down a trie. A hit costs well below a microsecond.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::model::hit::Verdict;

const AGENTS: &str = include_str!("lists/agents.tsv");
const NETWORKS: &str = include_str!("lists/networks.tsv");

static BUILT_IN: LazyLock<Arc<Lists>> = LazyLock::new(|| {
    // A test reads both: what is compiled in has no faults.
    Arc::new(Lists {
        words: Words::build(built_in_words().unwrap_or_default()).unwrap_or_default(),
        networks: Networks::build(built_in_networks().unwrap_or_default()),
    })
});

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

            fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
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
    }
);

group!(
    /// What a network is.
    NetworkOf {
        /// Only looks through mail.
        Scanner = "scanner",
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
#[error("line {line}: {what}")]
pub struct ListError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

/// Words and networks, ready to be looked up in.
#[derive(Debug, Default)]
pub struct Lists {
    words: Words,
    networks: Networks,
}

impl Lists {
    /// Those that are compiled in.
    pub fn built_in() -> Arc<Self> {
        Arc::clone(&BUILT_IN)
    }

    /// What is seen in an agent.
    pub fn look_at(&self, agent: &str) -> Seen<'_> {
        self.words.look_at(agent)
    }

    /// The smallest network that contains an address.
    pub fn network_of(&self, address: IpAddr) -> Option<&Network> {
        self.networks.of(address)
    }
}

/// The first entry of each group that occurs in an agent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// No word of [`WordOf::Looks`] covers it.
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
            .build(patterns)?;
        Ok(Self {
            words: edged,
            automaton: Some(automaton),
        })
    }

    fn look_at(&self, agent: &str) -> Seen<'_> {
        let mut seen = Seen::default();
        let Some(automaton) = &self.automaton else {
            return seen;
        };
        let bytes = agent.as_bytes();
        // Hardly an agent has one of these.
        let (mut machines, mut covers) = (Vec::new(), Vec::new());
        for found in automaton.find_overlapping_iter(agent) {
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
            let [of, text, source, date] = fields(line, entry)?;
            let of = WordOf::parse(of).ok_or_else(|| unknown(line, of))?;
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
            let [of, net, owner, source, date] = fields(line, entry)?;
            let of = NetworkOf::parse(of).ok_or_else(|| unknown(line, of))?;
            let net = net.parse().map_err(|_| unknown(line, net))?;
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

/// Lines that are no comments, with their numbers.
fn entries(list: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = list.lines().enumerate();
    lines
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
}

fn fields<const N: usize>(line: usize, entry: &str) -> Result<[&str; N], ListError> {
    let fields: Vec<&str> = entry.split('\t').collect();
    let count = fields.len();
    fields.try_into().map_err(|_| ListError {
        line,
        what: format!("has {count} fields; give {N}"),
    })
}

fn unknown(line: usize, word: &str) -> ListError {
    ListError {
        line,
        what: format!("{word:?} is not known"),
    }
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
            ("40.107.218.12", Some(NetworkOf::Scanner)),
            ("40.94.9.77", Some(NetworkOf::Clicks)),
            ("::ffff:40.107.218.12", Some(NetworkOf::Scanner)),
            ("2a01:111:f403:c001::9", Some(NetworkOf::Scanner)),
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

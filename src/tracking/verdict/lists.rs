//! The lists that the rules look things up in: words of agents, and networks. They are data, in
//! files beside this one, each entry with its source and its date, and compiled in; an operator's
//! files add to them or take their place.
//!
//! All words are found in one pass over the agent, by one automaton (see [`words`]); the network of
//! an address in one walk down a trie. A hit costs well below a microsecond.

mod text;
mod words;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use text::{built_in_networks, built_in_words, own_entries, parse_network};
pub use words::Seen;
use words::Words;

use crate::model::hit::Verdict;

// A test reads both: what is compiled in has no faults.
static BUILT_IN: LazyLock<Arc<Lists>> =
    LazyLock::new(|| Arc::new(Lists::new("", "").unwrap_or_default()));

/// Most bytes of a word: the automaton grows with them.
const MOST_WORD: usize = 200;

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

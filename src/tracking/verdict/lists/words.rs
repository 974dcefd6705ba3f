//! The words of agents, and what is seen of them in one.
//!
//! All are found in one pass of one automaton. What is common to most browsers is two thirds of
//! their agents and has no word but a browser's: it is not read at all.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input};

use super::{Word, WordOf};

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

/// Words, ready to be looked for.
#[derive(Debug, Default)]
pub(super) struct Words {
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
    pub(super) fn build(words: Vec<Word>) -> Result<Self, aho_corasick::BuildError> {
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

    /// The word of the common parts, where they have no word of another group, and no word may lie
    /// across their ends: an operator may have given one a verdict, or a version in it, or what
    /// stands behind it.
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
        // Of an operator's words only: ours are tried on thousands of agents.
        let reaches_out = self.words.iter().any(|(word, ..)| {
            let mut bytes = word.text.bytes();
            word.date.is_empty()
                && bytes.any(|byte| byte.is_ascii_digit() || matches!(byte, b'(' | b')'))
        });
        let mut words = self.words.iter();
        let at = words.position(|(word, ..)| word.of == WordOf::Browser && word.text == ENGINE)?;
        (!has_another && !reaches_out).then_some(at)
    }

    pub(super) fn look_at(&self, agent: &str) -> Seen<'_> {
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

#[cfg(test)]
mod tests {
    use super::super::Lists;
    use super::super::text::built_in_words;
    use super::*;

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
            include_str!("../tests/people.txt"),
            include_str!("../tests/crawlers.txt")
        );
        let requests = include_str!("../tests/requests.jsonl")
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
        let own = Lists::new("bot gecko) chrome", "").unwrap();
        let agent = format!("{START}{}{} Chrome/141.0.0.0", PLATFORMS[0], ENGINES[0]);
        assert!(own.look_at(&agent).operator.is_some(), "across the end");
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
}

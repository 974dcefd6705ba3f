//! How lists are written: a line an entry, ours with tabs between what it is, the entry, where it
//! comes from and when it was taken; an operator's with a verdict or a group's name and the entry.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{ListError, Network, NetworkOf, Word, WordOf};
use crate::model::hint::{one_of, quote};

const AGENTS: &str = include_str!("agents.tsv");
const NETWORKS: &str = include_str!("networks.tsv");

/// The line that leaves out what is compiled in.
const REPLACE: &str = "replace";
/// Most entries of an operator's list: the automaton grows with them.
const MOST_ENTRIES: usize = 10_000;

pub(super) fn built_in_words() -> Result<Vec<Word>, ListError> {
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

pub(super) fn built_in_networks() -> Result<Vec<Network>, ListError> {
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
pub(super) struct Own<'t, T> {
    pub(super) replaces: bool,
    /// Lines with what stands before the entry, and the entry.
    pub(super) entries: Vec<(usize, T, &'t str)>,
}

pub(super) fn own_entries<'t, T>(
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
pub(super) fn parse_network(text: &str) -> Option<IpNet> {
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

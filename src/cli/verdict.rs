//! `sillage verdict`: what an agent and an address are taken for, and by which entry of which list.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::{WrongUsage, print_json};
use crate::model::hint::one_of;
use crate::model::hit::Kind;
use crate::tracking::verdict::{
    Elapsed, Entry, Facts, Lists, RULES, Surface, explain, says_prefetch,
};

/// What is judged where no agent is given: the address alone decides.
const BROWSER: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0";

#[derive(Debug, Args)]
pub(super) struct Verdict {
    /// The user agent; "" for none [default: a browser's]
    #[arg(long, value_name = "TEXT")]
    agent: Option<String>,
    /// The address of the client
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The kind of hit
    #[arg(long, default_value = "click", value_parser = kind)]
    kind: Kind,
    /// The time since the message was sent, such as "20s" or "5m" [default: unknown]
    #[arg(long, value_name = "TIME", value_parser = time)]
    sent: Option<Duration>,
    /// The request is a HEAD
    #[arg(long)]
    head: bool,
    /// List the rules in their order instead
    #[arg(long, conflicts_with_all = ["agent", "address", "sent", "head", "header"])]
    rules: bool,
    /// A further header of the request, such as "Sec-Purpose: prefetch"; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
}

fn kind(word: &str) -> Result<Kind, String> {
    let words: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    Kind::parse(word).ok_or_else(|| format!("give {}", one_of(&words)))
}

fn time(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text)
        .map_err(|_| "give a time such as \"20s\" or \"5m\"".to_owned())
}

impl Verdict {
    /// Prints the verdict as a line of JSON.
    pub(super) fn execute(self, lists: &Lists) -> anyhow::Result<()> {
        if self.rules {
            return RULES.iter().try_for_each(|rule| {
                let on: Vec<_> = rule.on.iter().map(|surface| surface.as_str()).collect();
                print_json(&json!({ "rule": rule.name, "on": on, "people": rule.finds_people, "reasons": rule.reasons }))
            });
        }
        let headers = headers(&self.header)?;
        let agent = self.agent.as_deref().unwrap_or(BROWSER);
        let elapsed = self.sent.map(|sent| i64::try_from(sent.as_secs()));
        let facts = Facts {
            surface: Surface::of(self.kind),
            is_prefetch: says_prefetch(&headers),
            is_head: self.head,
            headers: Some(&headers),
            agent: Some(agent).filter(|agent| !agent.is_empty()),
            address: self.address,
            elapsed: elapsed.map(|seconds| Elapsed::seconds(seconds.unwrap_or(i64::MAX))),
        };
        let explained = explain(&facts, lists);
        let entry = explained.entry.map(|entry| match entry {
            Entry::Word(word) => json!({
                "word": word.text,
                "list": word.of.as_str(),
                "source": word.source,
                "date": word.date,
            }),
            Entry::Network(network) => json!({
                "network": network.net,
                "list": network.of.as_str(),
                "owner": network.owner,
                "source": network.source,
                "date": network.date,
            }),
        });
        print_json(&json!({
            "verdict": explained.verdict,
            "counts": explained.verdict.counts(),
            "reason": explained.reason,
            "rule": explained.rule,
            "entry": entry,
        }))
    }
}

fn headers(given: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in given {
        let header = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, HeaderValue::try_from(value.trim()).ok()?))
        });
        let (name, value) = header.ok_or_else(|| {
            WrongUsage(format!(
                "--header {line:?} is not a header; give one such as \"Sec-Purpose: prefetch\""
            ))
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

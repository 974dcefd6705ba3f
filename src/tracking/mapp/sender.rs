//! Who sends a request, and what it may say of somebody else: address, agent and page
//! (`tests/cases/mapp/PROTOCOL.md`, "Trust").
//!
//! Believed are the networks in `trust.senders` and who knows the track id's secret. A header wins
//! over a parameter: a relay sets the header itself, while a parameter may be the browser's that it
//! passes on.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use super::parameters::Parameters;
use crate::model::hit::{Hit, Limit, clean_bytes};
use crate::model::secret::is_same_secret;
use crate::tracking::inbound::Inbound;
use crate::tracking::{Rules, verdict};

/// Never stored.
pub const SECRET: &str = "X-WT-Secret";
/// Number of parameters to examine for a secret, from the end: its sender gives one and a relay may
/// add another; more than that is guessing.
const MOST_SECRETS: usize = 4;
const IP: &str = "X-WT-IP";
const AGENT: &str = "X-WT-UA";
const PAGE: &str = "X-WT-RQ";
/// What has a column.
const TAKEN: [&str; 3] = [IP, AGENT, PAGE];
/// Agents of apps' HTTP clients. Beside one of these, the app's name and its device are in
/// [`AGENT`], with every hit.
const APPS: [&str; 5] = [
    "okhttp/",
    "cfnetwork/",
    "dalvik/",
    "dart/",
    "tracking library",
];
const UNTRUSTED: &str = "override from an untrusted sender";

/// What all hits of a request have in common.
#[derive(Debug)]
pub struct Sender<'r> {
    /// The request.
    pub inbound: &'r Inbound<'r>,
    /// The configuration.
    pub rules: &'r Rules,
    secret: Option<Cow<'r, str>>,
    /// `X-WT-…` headers by their names as parameters.
    headers: Vec<(String, Cow<'r, str>)>,
    agent: Option<Cow<'r, str>>,
    /// Whether there are cookies, so that their values need not be looked for elsewhere.
    pub has_cookies: bool,
}

impl<'r> Sender<'r> {
    /// Reads a request's head.
    pub fn of(inbound: &'r Inbound<'r>, rules: &'r Rules) -> Self {
        let headers = inbound
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-wt-"))
            .map(|(name, value)| {
                (
                    name.as_str().to_ascii_uppercase(),
                    clean_bytes(value.as_bytes()),
                )
            })
            .filter(|(name, _)| !is_secret(name))
            .collect();
        Self {
            inbound,
            rules,
            secret: inbound.header("x-wt-secret"),
            headers,
            agent: inbound.header("user-agent"),
            has_cookies: inbound.headers.contains_key(http::header::COOKIE),
        }
    }

    /// Whether this track id trusts what the request says about someone else.
    pub fn is_trusted(&self, site: &str, parameters: &Parameters<'_>) -> bool {
        if self.inbound.is_trusted_sender {
            return true;
        }
        let secrets = &self.rules.mapp.secrets;
        if secrets.is_empty() {
            return false;
        }
        let given = parameters
            .pairs()
            .iter()
            .rev()
            .filter(|(name, _)| is_secret(name))
            .map(|(_, value)| value.as_ref())
            .take(MOST_SECRETS);
        self.secret
            .as_deref()
            .into_iter()
            .chain(given)
            .any(|given| {
                secrets
                    .iter()
                    .filter(|(of, _)| of == site)
                    .any(|(_, secret)| is_same_secret(secret.as_bytes(), given.as_bytes()))
            })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(had, _)| had.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_ref())
    }

    /// Takes address and agent, of the client or as overridden by a trusted sender, and judges the
    /// hit by them. Returns the page's URL if it is overridden too. Keeps what is not trusted, and
    /// what has no column.
    pub fn take_client<'s>(
        &'s self,
        hit: &mut Hit,
        parameters: &'s Parameters<'_>,
        is_trusted: bool,
    ) -> Option<&'s str> {
        hit.ip = Some(self.inbound.client);
        let (mut agent, mut page) = (self.agent.as_deref(), None);
        let mut is_handed_over = false;
        let mut is_ignored = false;
        let is_app = self.agent.as_deref().is_some_and(is_app);
        let mut take = |hit: &mut Hit, name: &str, value: &'s str| {
            if !is_trusted {
                // Client hints and the like, and an app's own name, change nothing wherever they
                // come from, so nothing of them is refused.
                let is_taken = TAKEN.iter().any(|one| name.eq_ignore_ascii_case(one));
                is_ignored |= is_taken && !(is_app && name.eq_ignore_ascii_case(AGENT));
                hit.keep(name, value);
            } else if name.eq_ignore_ascii_case(IP) {
                match address(value) {
                    Ok(address) => hit.ip = Some(address),
                    Err(why) => {
                        hit.note(why);
                        hit.keep(name, value);
                    }
                }
            } else if name.eq_ignore_ascii_case(AGENT) {
                agent = Some(value);
                is_handed_over = true;
            } else if name.eq_ignore_ascii_case(PAGE) {
                page = Some(value);
            } else {
                hit.keep(name, value);
            }
        };
        for (name, value) in &self.headers {
            take(hit, name, value);
        }
        // A relay appends its own to what the browser sent.
        let mut last = [None; TAKEN.len()];
        let taken = |name: &str| TAKEN.iter().position(|one| name.eq_ignore_ascii_case(one));
        for (name, value) in overrides(parameters) {
            if let Some(place) = taken(name) {
                last[place] = Some(value);
            }
        }
        for (name, value) in overrides(parameters) {
            let is_last = taken(name).is_none_or(|place| last[place] == Some(value));
            if !is_last || self.header(name).is_some_and(|header| header != value) {
                hit.note("several values of an override");
                hit.keep(&format!("{name} not taken"), value);
            } else {
                take(hit, name, value);
            }
        }
        if is_ignored {
            hit.note(UNTRUSTED);
        }
        if let Some(agent) = agent {
            hit.user_agent = hit.take("user_agent", agent, Limit::AGENT);
        }
        if is_trusted && !is_handed_over && !self.inbound.is_forwarded {
            verdict::judge_senders_agent(hit, &self.rules.lists);
        } else {
            verdict::judge_agent(hit, &self.rules.lists);
        }
        page
    }
}

fn is_app(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    APPS.iter().any(|name| agent.contains(name))
}

/// Parameters that override the client, except for the secret.
fn overrides<'p>(parameters: &'p Parameters<'_>) -> impl Iterator<Item = (&'p str, &'p str)> {
    parameters
        .pairs()
        .iter()
        .filter(|(name, _)| is_override(name) && !is_secret(name))
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
}

/// Whether a parameter overrides something about the client.
pub fn is_override(name: &str) -> bool {
    name.len() > 5 && name.is_char_boundary(5) && name[..5].eq_ignore_ascii_case("X-WT-")
}

fn is_secret(name: &str) -> bool {
    name.eq_ignore_ascii_case(SECRET)
}

/// An address, with or without a port. Private ones are accepted: visitors of an intranet have one.
fn address(text: &str) -> Result<IpAddr, &'static str> {
    let text = text.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .or_else(|_| text.trim_matches(['[', ']']).parse::<IpAddr>())
        .map_err(|_| "X-WT-IP is no address")?
        .to_canonical();
    let is_nobody = address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    if is_nobody {
        Err("X-WT-IP is nobody's address")
    } else {
        Ok(address)
    }
}

#[cfg(test)]
mod tests;

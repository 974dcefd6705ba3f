//! Dialects: each turns a request of its vendor's protocol into hits, an answer and cookies. Pure
//! functions: no I/O, no clock, no ids of their own ([`inbound::Inbound`] brings time, client and
//! the id of a new visitor along; the server fills in [`crate::model::hit::HitId`]), so a recorded
//! request is a whole test.
//!
//! ```text
//!  address ──► route ──► dialect ──────────────────────────► Decoded ──► web: keep, then render
//!              kind,     native mautic adobe mapp            hits, reply,
//!              rest      on message, session, visitor,       cookies,
//!                        landing, page, click, verdict       refused
//! ```
//!
//! Dialects stand on common ground and not on each other; only native reads Mautic's payloads,
//! which its own pixel takes. Where an answer needs something that only a local copy knows (a
//! link's destination, a form's definition), a dialect has two steps with the look-up between them.
//!
//! A further dialect takes:
//!
//! 1. its folder here, with a function from [`inbound::Inbound`] and [`Rules`] to
//!    [`decoded::Decoded`], and its facts and cases in `tests/cases/<dialect>`;
//! 2. a [`route::RouteKind`] with its methods and the line in [`route::Paths`] that recognises its
//!    paths, and the line in `web/tracking.rs` that calls the function: with a look-up or a body of
//!    its own kind between two steps, where it needs one;
//! 3. its word in [`crate::model::hit::Dialect`], its section of the configuration, and what it
//!    reads of that as a field of [`Rules`].
//!
//! Nothing else: cookies, redirects, scripts' answers, pages, counters, durability and what the
//! debug endpoint shows come with [`decoded::Decoded`]. Only a vendor whose unsigned ids are to
//! live on in our visitor cookie adds how it writes them to [`visitor`].

mod click;
pub mod decoded;
mod html_page;
pub mod inbound;
mod landing;
mod language;
mod message;
pub mod multipart;
mod page;
pub mod route;
pub mod session;
pub mod unsubscribe;
pub mod verdict;
pub mod visitor;

pub mod adobe;
pub mod mapp;
pub mod mautic;
pub mod native;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity;
use crate::model::hit::{Limit, clean};
use crate::model::host_pattern::HostPattern;
use crate::model::keys::Keys;

/// Maximum number of parameters read from one request, or from one line of a batch; a hit notes if
/// there were more.
const MOST_PARAMETERS: usize = 500;

/// The parts of the configuration that decide how a request is read and answered.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Verify cookies and tokens.
    pub keys: Keys,
    /// Fields that identify a contact, strongest first.
    pub unique: Vec<String>,
    /// Fields that anyone may set.
    pub public: Vec<String>,
    /// Which hits of Adobe's page tags count.
    pub adobe_mode: AdobeMode,
    /// Mapp's part.
    pub mapp: MappRules,
    /// Hosts allowed for a destination with a personal host.
    pub personal_hosts: Vec<HostPattern>,
    /// Agents and networks for judging hits.
    pub lists: Arc<verdict::Lists>,
}

impl Rules {
    /// The rules without any configuration.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            unique: vec!["email".to_owned()],
            public: Vec::new(),
            adobe_mode: AdobeMode::Session,
            mapp: MappRules::default(),
            personal_hosts: Vec::new(),
            lists: verdict::Lists::built_in(),
        }
    }

    /// Why a public value cannot be a unique field's, as a hit notes it; `None` if the field is not
    /// a unique one that the public may set.
    pub(crate) fn refuses(&self, field: &str, value: &str) -> Option<&'static str> {
        if !self.unique.iter().any(|unique| unique == field)
            || !self.public.iter().any(|public| public == field)
        {
            return None;
        }
        let why = identity::refusal(field, value)?;
        // Where nothing is left of it there is nothing to refuse.
        (!clean(value, Limit::TITLE).0.is_empty()).then(|| why.note())
    }
}

/// Which hits of Adobe's page tags count (`tests/cases/adobe/PROTOCOL.md`, "Modes").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdobeMode {
    /// Those of a session that a click began.
    #[default]
    Session,
    /// Those of visitors that ever clicked.
    Permanent,
    /// All; a later click decides whose they were.
    Anonymous,
}

/// How Mapp's requests are read.
#[derive(Clone, Debug, Default)]
pub struct MappRules {
    /// Secrets by track id: a sender that knows one may override the client's address, agent and
    /// page.
    pub secrets: Vec<(String, String)>,
    /// Hosts that `re.pl` may lead to.
    pub redirect_hosts: Vec<HostPattern>,
    /// Whether Mapp's own cookies are set.
    pub sets_cookies: bool,
}

/// The email address in a raw urlencoded pair whose plus is literal; `None` if the pair has no
/// plus, or the field holds no addresses.
///
/// In a query `+` is a space, and no address holds one: who writes `email=ada+news@example.com` has
/// forgotten to encode it.
pub fn address_with_plus(field: &str, pair: &[u8]) -> Option<String> {
    memchr::memchr(b'+', pair)?;
    if !identity::is_address_field(field) {
        return None;
    }
    let value = &pair[memchr::memchr(b'=', pair)? + 1..];
    plain_address(value)
}

/// A raw value as an address, if it is one; spaces around it may be pluses.
fn plain_address(value: &[u8]) -> Option<String> {
    let value = percent_encoding::percent_decode(value).decode_utf8().ok()?;
    let address = value.trim_matches(|c: char| c == '+' || c.is_whitespace());
    identity::is_address(address).then(|| address.to_owned())
}

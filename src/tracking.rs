//! Dialects: each turns a request of its vendor's protocol into hits and names the answer. Pure
//! functions: no I/O, no clock, no ids (the server fills in [`crate::model::hit::HitId`] and a new
//! visitor afterwards), so a recorded request is a whole test.

pub mod inbound;
mod landing;
mod message;
mod multipart;
mod page;
pub mod session;
pub mod verdict;
pub mod visitor;

pub mod adobe;
pub mod mapp;
pub mod mautic;
pub mod native;

use serde::{Deserialize, Serialize};

use crate::identity;
use crate::model::hit::{Hit, Limit, clean};
use crate::model::keys::Keys;

/// Most parameters that are read of one request, or of one line of a batch; a hit notes where there
/// were more.
const MOST_PARAMETERS: usize = 500;

/// What a dialect made of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// In the order of the request; ids are nil.
    pub hits: Vec<Hit>,
    /// What the client is to get.
    pub reply: Reply,
}

/// What the client is to get once the hits are safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The 1x1 GIF.
    Gif,
    /// The visitor's ids as JSON, for the script.
    Visitor,
}

/// What of the configuration decides how a request is read.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Verify cookies and tokens.
    pub keys: Keys,
    /// Fields that name a contact, strongest first.
    pub unique: Vec<String>,
    /// Fields that anyone may set.
    pub public: Vec<String>,
    /// Which hits of Adobe's page tags count.
    pub adobe_mode: AdobeMode,
    /// Mapp's part.
    pub mapp: MappRules,
}

impl Rules {
    /// Rules as they are without a configuration.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            unique: vec!["email".to_owned()],
            public: Vec::new(),
            adobe_mode: AdobeMode::Session,
            mapp: MappRules::default(),
        }
    }

    /// Why a public value cannot be that of a unique field, as a hit notes it; none where the field
    /// is no unique one that the public may set.
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

/// Which hits of Adobe's page tags count (`protocols/adobe.md`, modes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdobeMode {
    /// Those of a session that a click began.
    #[default]
    Session,
    /// Those of visitors that ever clicked.
    Permanent,
    /// All; a later click tells whose they were.
    Anonymous,
}

/// How Mapp's requests are read.
#[derive(Clone, Debug, Default)]
pub struct MappRules {
    /// Secrets by track id: who sends it may name another client's address, agent and page.
    pub secrets: Vec<(String, String)>,
}

/// The e-mail address in a raw urlencoded pair whose plus stands for itself; none where the pair
/// has no plus, or the field holds no addresses.
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

/// A raw value as an address, where it is one; spaces around it may be pluses.
fn plain_address(value: &[u8]) -> Option<String> {
    let value = percent_encoding::percent_decode(value).decode_utf8().ok()?;
    let address = value.trim_matches(|c: char| c == '+' || c.is_whitespace());
    identity::is_address(address).then(|| address.to_owned())
}

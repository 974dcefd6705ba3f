//! Tracked links: the signed token in the URL, the destination's template, and the merge of query
//! parameters.
//!
//! A link's token proves which message it was sent in and carries no URL, so there is no open
//! redirect; the destination comes from the links table. Nothing here does I/O.

mod check;
mod destination;
mod hygiene;
mod personal;
mod repaired;
mod token;

use serde::{Deserialize, Serialize};

pub use check::{DestinationError, check_personal_template, check_template};
pub use destination::build_destination;
pub use hygiene::look_at;
pub use personal::{PersonalValues, fill, is_personal, plain_braces, push_path};
pub use repaired::{is_whole_name, query_behind, repair_name};
pub use token::LinkToken;
#[cfg(test)]
pub use token::TOKEN_EPOCH_MINUTES;

use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Kind, LinkId, Utm};

/// What a server must know about a link to answer a click: a row of the local copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// Id in tokens.
    pub id: LinkId,
    /// Destination template; `{p1}`, … are personal parts.
    pub url: String,
    /// Name in `/r/<slug>`, for standalone links.
    pub slug: Option<String>,
    /// Campaign; `None` for standalone links.
    pub delivery_id: Option<DeliveryId>,
    /// `optout` and `mirror` set the kind of the hit; anything else is for reports.
    pub category: Option<String>,
    /// From this time on clicks go to `expiration_url`.
    pub expires_at: Option<Micros>,
    /// Where clicks on an expired delivery go; `None` means the fallback.
    pub expiration_url: Option<String>,
    /// The delivery's campaign parameters, added if the destination has none of that name.
    pub utm: Utm,
}

/// What a link is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LinkName {
    /// Id in a token.
    Id(LinkId),
    /// Name of a standalone link.
    Slug(Box<str>),
}

/// The kind of a click on a link of a category.
pub fn kind_of(category: Option<&str>) -> Kind {
    match category {
        Some("optout") => Kind::Optout,
        Some("mirror") => Kind::Mirror,
        _ => Kind::Click,
    }
}

impl LinkRecord {
    /// The kind of a click on this link.
    pub fn kind(&self) -> Kind {
        kind_of(self.category.as_deref())
    }

    /// Whether the link has expired.
    pub fn is_expired(&self, now: Micros) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

//! Ids that were asked for and that nothing has: a link that a mail still contains and nobody
//! imported, a slug that was mistyped in print, a form of the old system.

use serde::Deserialize;
use utoipa::ToSchema;

use super::hit::{Limit, clean};

/// Longest id that is told apart.
const MOST_ID: Limit = Limit(100);

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrphanKind {
    /// A link, by its number or its slug.
    Link,
    /// A link or a pixel that none of our keys signed; by the number of the link that it names, 0
    /// for a pixel. Nothing proves that number: it only says what to look for.
    Token,
    /// An open pixel that names no message, by its name.
    Open,
    /// A form, by its number.
    Form,
    /// What there is no room for to tell it apart.
    Other,
}

impl OrphanKind {
    /// The word in the table and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Token => "token",
            Self::Open => "open",
            Self::Form => "form",
            Self::Other => "other",
        }
    }
}

/// An id that nothing has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Orphan {
    /// What was asked for.
    pub kind: OrphanKind,
    /// Its id, cleaned and cut.
    pub id: String,
}

impl Orphan {
    /// An id as it was asked for.
    pub fn new(kind: OrphanKind, id: &str) -> Self {
        let (id, _) = clean(id, MOST_ID);
        Self {
            kind,
            id: id.into_owned(),
        }
    }

    /// Those that are counted together.
    pub fn others() -> Self {
        Self::new(OrphanKind::Other, "")
    }
}

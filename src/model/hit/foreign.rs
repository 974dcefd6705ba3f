//! What a hit of a vendor's protocol leaves to the projection.

use serde::{Deserialize, Serialize};

use super::PageTagKind;

/// What a vendor's request says that only the database can answer; the projection reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Foreign {
    /// The message under a name of its vendor: `mautic:<tracking hash>`, `adobe:<uuid>`. Table
    /// `message_keys` knows its broadlog.
    pub message_key: Option<String>,
    /// A unique field and its value that name an existing contact (Adobe's `rcpid`): it makes no
    /// contact and sets nothing.
    pub recipient: Option<(String, String)>,
    /// The hit counts only where its visitor is known from an earlier click (Adobe's permanent
    /// mode).
    pub is_for_known_visitors: bool,
    /// `page_tag` as the request describes it, to be made where there is none of the name yet.
    pub page_tag: Option<PageTagDraft>,
    /// Why the record goes straight into quarantine: it was answered, but it is no hit.
    pub refused: Option<String>,
    /// `message_key` stood in the address of a page, which can have been passed on: it names nobody
    /// in a browser that is known.
    pub is_from_page: bool,
    /// The visitor's id was handed to this browser by a parameter: whoever handed it over may have
    /// it too.
    pub visitor_is_handed: bool,
    /// Contact fields in the address of the viewed page, which anybody can have made: they name
    /// nobody in a browser that is known, and fill what is empty.
    ///
    /// In the spool it is last, and not there where it is empty: nearly every record can be read by
    /// an older server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub page_fields: Vec<(String, String)>,
    /// The unsigned id that the visitor was derived from, as it goes back to the browser: never in
    /// a form that our signature vouches for. Answers need it, and nothing else.
    #[serde(skip)]
    pub visitor: Option<String>,
}

/// A page tag made on the fly: `tagid=<identifier>|<w or t>|<folder>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageTagDraft {
    /// What it stands for.
    pub kind: PageTagKind,
    /// Where its maker wants it listed.
    pub folder: Option<String>,
}

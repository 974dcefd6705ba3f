//! What a hit of a vendor's protocol leaves to the projection.

use serde::{Deserialize, Serialize};

use super::PageTagKind;

/// What a vendor's request says that only the database can interpret; the projection does so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Foreign {
    /// The message by its vendor's name: `mautic:<tracking hash>`, `adobe:<uuid>`. Table
    /// `message_keys` knows its broadlog.
    pub message_key: Option<String>,
    /// A unique field and its value that identify an existing contact (Adobe's `rcpid`): creates no
    /// contact and sets nothing.
    pub recipient: Option<(String, String)>,
    /// The hit counts only if its visitor is known from an earlier click (Adobe's permanent mode).
    pub is_for_known_visitors: bool,
    /// `page_tag` as the request describes it, to be created if there is no tag of that name.
    pub page_tag: Option<PageTagDraft>,
    /// Why the record goes straight into quarantine: the request was answered, but is not a hit.
    pub refused: Option<String>,
    /// `message_key` came from a page URL, which may have been passed on: it identifies nobody in a
    /// known browser.
    pub is_from_page: bool,
    /// A parameter handed the visitor's id to this browser: its sender may have the id too.
    pub visitor_is_handed: bool,
    /// Contact fields in the address of the viewed page, which anybody can have made: they name
    /// nobody in a browser that is known, and fill what is empty.
    ///
    /// In the spool it is last, and not there where it is empty: nearly every record can be read by
    /// an older server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub page_fields: Vec<(String, String)>,
    /// The unsigned id that the visitor was derived from, as it goes back to the browser: never in
    /// a form that our signature vouches for. Only responses need it.
    #[serde(skip)]
    pub visitor: Option<String>,
}

/// A page tag made on the fly: `tagid=<identifier>|<w or t>|<folder>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageTagDraft {
    /// What it stands for.
    pub kind: PageTagKind,
    /// The folder its maker wants it listed in.
    pub folder: Option<String>,
}

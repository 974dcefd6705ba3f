//! Who may write what: one table. A row is what names the person of a hit, a column what the hit
//! would change about people.
//!
//! The promise behind it: nobody writes into another's record, and what is not proved never changes
//! what is. The resolver asks [`Standing::may`] before it changes anything and decides nothing by
//! itself. `static/docs/identity.md` shows the same table to operators; a test holds the two equal,
//! and another tries every cell.

/// What identifies the person, strongest first, and with it what the sender may do. If several
/// identify the same person, the strongest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// An authenticated sender names the contact by its id.
    SenderById,
    /// An authenticated sender names the contact by a unique field.
    SenderByField,
    /// An authenticated sender names a message.
    SenderByMessage,
    /// An authenticated sender names a visitor that a proof has bound to the contact.
    SenderByVisitor,
    /// An authenticated sender names a visitor that no proof has bound to the contact: it vouches
    /// for what it says about the browser, not for whose browser it is.
    SenderByClaimedVisitor,
    /// The signed link of a message.
    Link,
    /// The signed session cookie or landing parameter of a click on such a link.
    Session,
    /// A visitor id signed by us, which a proof has bound to the contact.
    Visitor,
    /// The visitor that made the contact, as long as nothing signed or authenticated has named it.
    Maker,
    /// A visitor that is bound to the contact without proof, or whose own id we have not signed.
    ClaimedVisitor,
    /// A unique field that the configuration lets the public name.
    PublicField,
    /// A unique field that a form maps.
    FormField,
    /// A unique field in the address of the viewed page.
    PageField,
    /// `rcpid` of Adobe's page tags.
    Recipient,
    /// An unsigned id of a vendor's link, pixel or cookie, or the session that its click began.
    Unsigned,
    /// Nothing: neither a delivery number nor an unknown browser's id identifies anyone.
    Nobody,
}

/// What a hit would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A new contact for a unique value that nobody has.
    Make,
    /// An empty field of the contact. Which fields a request can name at all is defined by
    /// `SURFACES`.
    Fill,
    /// A field of the contact that has another value.
    Overwrite,
    /// A unique value that nobody has, if the contact has no value in the field.
    AddUnique,
    /// The same, if the contact has another value.
    ReplaceUnique,
    /// Tags to add.
    AddTag,
    /// Tags to take away.
    RemoveTag,
    /// Binds the visitor of the hit to the contact, if it was nobody's.
    Bind,
    /// The same, if it was somebody else's.
    TakeOver,
    /// Gives earlier hits of a visitor that was nobody's to the contact.
    Complete,
    /// Merges other contacts that the hit identifies into this one.
    Merge,
}

/// Whether it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Yes, and as proved.
    Yes,
    /// Yes, but the visitor stays bound without proof: it can never count as one later.
    AsClaim,
    /// No. What came stays with the hit.
    No,
}

use May::{AsClaim as CLAIM, No as NO, Yes as YES};

/// Every row.
const STANDINGS: usize = 16;
/// Every column.
const CHANGES: usize = 11;

/// The columns, with their names in the documentation.
#[cfg(test)]
pub const COLUMNS: [(Change, &str); CHANGES] = [
    (Change::Make, "make a contact"),
    (Change::Fill, "fill an empty field"),
    (Change::Overwrite, "change a field"),
    (Change::AddUnique, "add a unique value where there is none"),
    (Change::ReplaceUnique, "add one beside another"),
    (Change::AddTag, "add a tag"),
    (Change::RemoveTag, "take a tag away"),
    (Change::Bind, "bind a new visitor"),
    (Change::TakeOver, "take over somebody else's"),
    (Change::Complete, "complete earlier anonymous hits"),
    (Change::Merge, "merge contacts"),
];

/// The table.
#[rustfmt::skip]
pub const TABLE: [(Standing, [May; CHANGES]); STANDINGS] = [
    //                                    Make   Fill   Overwrite  AddUnique  ReplaceUnique  AddTag  RemoveTag  Bind   TakeOver  Complete  Merge
    (Standing::SenderById,             [NO,    YES,   YES,       YES,       YES,           YES,    YES,       YES,   YES,      YES,      YES]),
    (Standing::SenderByField,          [YES,   YES,   YES,       YES,       YES,           YES,    YES,       YES,   YES,      YES,      YES]),
    (Standing::SenderByMessage,        [NO,    YES,   YES,       YES,       NO,            YES,    YES,       YES,   YES,      YES,      NO]),
    (Standing::SenderByVisitor,        [NO,    YES,   YES,       YES,       NO,            YES,    YES,       NO,    NO,       NO,       NO]),
    (Standing::SenderByClaimedVisitor, [NO,    NO,    NO,        NO,        NO,            NO,     NO,        NO,    NO,       NO,       NO]),
    (Standing::Link,                   [NO,    YES,   YES,       YES,       NO,            YES,    YES,       YES,   YES,      YES,      NO]),
    (Standing::Session,                [NO,    YES,   YES,       YES,       NO,            YES,    YES,       YES,   YES,      YES,      NO]),
    (Standing::Visitor,                [NO,    YES,   YES,       YES,       NO,            YES,    YES,       NO,    NO,       NO,       NO]),
    (Standing::Maker,                  [NO,    YES,   YES,       YES,       NO,            YES,    YES,       CLAIM, CLAIM,    YES,      NO]),
    (Standing::ClaimedVisitor,         [NO,    YES,   NO,        NO,        NO,            NO,     NO,        NO,    NO,       NO,       NO]),
    (Standing::PublicField,            [YES,   YES,   NO,        NO,        NO,            NO,     NO,        CLAIM, CLAIM,    YES,      NO]),
    (Standing::FormField,              [YES,   YES,   NO,        NO,        NO,            NO,     NO,        CLAIM, CLAIM,    YES,      NO]),
    (Standing::PageField,              [YES,   YES,   NO,        NO,        NO,            NO,     NO,        CLAIM, NO,       YES,      NO]),
    (Standing::Recipient,              [NO,    NO,    NO,        NO,        NO,            NO,     NO,        CLAIM, NO,       YES,      NO]),
    (Standing::Unsigned,               [NO,    YES,   NO,        NO,        NO,            NO,     NO,        CLAIM, NO,       YES,      NO]),
    (Standing::Nobody,                 [NO,    NO,    NO,        NO,        NO,            NO,     NO,        NO,    NO,       NO,       NO]),
];

#[cfg(test)]
impl May {
    /// The word in the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::AsClaim => "as a claim",
            Self::No => "no",
        }
    }
}

impl Standing {
    /// What it is called in the documentation.
    #[cfg(test)]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SenderById => "API: names the contact by its id",
            Self::SenderByField => "API: names the contact by a unique field",
            Self::SenderByMessage => "API: names a message",
            Self::SenderByVisitor => "API: names a visitor that a proof has bound",
            Self::SenderByClaimedVisitor => "API: names a visitor that no proof has bound",
            Self::Link => "the signed link of a message",
            Self::Session => "the signed session cookie or landing parameter of such a click",
            Self::Visitor => "a signed visitor id that a proof has bound",
            Self::Maker => "the visitor that made the contact, while nothing else has proved it",
            Self::ClaimedVisitor => {
                "a visitor id that is bound without proof, or that we did not sign"
            }
            Self::PublicField => "a unique field in `contacts.public`",
            Self::FormField => "a unique field that a form maps",
            Self::PageField => "a unique field in the address of the viewed page",
            Self::Recipient => "Adobe's `rcpid`",
            Self::Unsigned => {
                "a vendor's unsigned id in a link, pixel or cookie, or the session of its click"
            }
            Self::Nobody => "nothing of these; also `delivery_id=`, `jobid`",
        }
    }

    /// Whether this standing allows a change to the contact that it identifies.
    pub fn may(self, change: Change) -> May {
        TABLE[self as usize].1[change as usize]
    }

    /// [`Self::may`], if it does not matter whether it stays a claim.
    pub fn allows(self, change: Change) -> bool {
        self.may(change) != May::No
    }
}

/// Fields that a request can name, by where it comes in: all others go into `extra` before anyone
/// asks whose it is.
#[cfg(test)]
pub const SURFACES: [(&str, &str); 9] = [
    (
        "pixel `/mtracking.gif`",
        "those in `contacts.public`; any tags",
    ),
    (
        "script `/mtc/event`",
        "those in `contacts.public`; any tags",
    ),
    (
        "the page address that the pixel or script sends",
        "those in `contacts.public`; no tags",
    ),
    (
        "form `/form/submit`",
        "those that the form maps (`contact_field`), listed in `contacts.public` or not",
    ),
    ("click `/r/…`, open `/o/…`", "none"),
    ("Adobe's links, pixels and page tags", "none"),
    (
        "Mapp's `wt` and `batch`",
        "of `uc700` to `uc713` and `cd` those in `contacts.public`",
    ),
    (
        "Mautic's links, pixel and `d`",
        "those in `contacts.public`; any tags",
    ),
    ("API", "all; any tags"),
];

#[cfg(test)]
mod tests;

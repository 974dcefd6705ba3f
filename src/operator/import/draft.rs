//! What the rows of a file ask for, whoever wrote it, and what becomes of them.

use super::table::Row;
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId};
use crate::operator::contacts::NewContact;
use crate::operator::{NewDelivery, NewLink, NewPageTag};

/// The field that keeps Mautic's contact number.
pub(super) const MAUTIC_ID: &str = "mautic_id";

/// The system whose numbers deliveries have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Adobe,
    Mautic,
}

impl Origin {
    /// As the table says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Adobe => "adobe",
            Self::Mautic => "mautic",
        }
    }

    /// The name of a delivery of which only the number is known.
    pub(super) fn label(self, id: i64) -> String {
        match self {
            Self::Adobe => format!("Adobe delivery {id}"),
            Self::Mautic => format!("Mautic e-mail {id}"),
        }
    }
}

/// What a row asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Draft {
    Link(NewLink),
    PageTag(NewPageTag),
    Delivery(NewDelivery),
    Message(SentMessage),
    Contact(NewContact),
    /// Nothing that is kept here.
    Ignored,
}

/// A message of another system.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SentMessage {
    /// Its number there, where links carry it.
    pub id: Option<BroadlogId>,
    /// Its name there: `mautic:<tracking hash>`, `adobe:<uuid>`.
    pub key: Option<String>,
    /// Campaign.
    pub delivery_id: DeliveryId,
    /// Who got it.
    pub contact: NewContact,
    /// When it was sent.
    pub sent_at: Option<Micros>,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowOutcome {
    Made,
    Changed,
    Unchanged,
    Refused(String),
}

/// Drafts of one kind, and the rows of the batch that they come from.
pub(super) type Drafts<'b, T> = Vec<(usize, &'b T)>;
/// The outcome of a batch's rows, and how many deliveries were created for them. `None` if another
/// writer interfered, so try again.
pub(super) type Stored = Option<(Vec<(usize, RowOutcome)>, u64)>;

/// Reads a row of one kind of file; an error is the reason of a refusal.
pub(super) type ReadRow = Box<dyn Fn(&Row<'_>) -> Result<Draft, String>>;

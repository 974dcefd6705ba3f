//! What tells hits, messages, links, browsers and people apart.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// One campaign sent.
    DeliveryId
);
number_id!(
    /// One message of a delivery to one contact.
    BroadlogId
);
number_id!(
    /// A tracked destination.
    LinkId
);
uuid_id!(
    /// One hit.
    HitId
);
uuid_id!(
    /// One browser or app installation.
    VisitorId
);
uuid_id!(
    /// One person.
    ContactId
);

impl VisitorId {
    /// Whether the id was derived from a vendor's own, unsigned one (see
    /// `dialect::foreign_visitor`): it tells hits apart, and proves nothing, since whoever knows or
    /// guesses the vendor's id can send it.
    pub fn is_derived(self) -> bool {
        self.0.get_version_num() == 8
    }
}

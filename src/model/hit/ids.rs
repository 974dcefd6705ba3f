//! The ids of hits, messages, links, browsers and people.

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
    /// `dialect::foreign_visitor`): it tells hits apart but proves nothing, since anyone who knows
    /// or guesses the vendor's id can send it.
    pub fn is_derived(self) -> bool {
        self.0.get_version_num() == 8
    }

    /// The id as scripts and apps are told it, who keep it as Mautic's `mtc_id`: `v-` and the UUID.
    /// Clients of Mautic cast that to a number. A UUID that begins with a digit would be the number
    /// of one of Mautic's contacts, the same for many visitors, and they would edit that contact in
    /// a Mautic that still runs; what begins with a letter is none.
    pub fn told(self) -> String {
        format!("{TOLD}{}", self.0)
    }
}

/// Prefix of an id given to a script.
const TOLD: &str = "v-";

/// Reads the id of a visitor or a contact: a UUID, or a visitor id as given to a script.
pub fn read_uid(text: &str) -> Option<Uuid> {
    let text = text.trim();
    let told = text.get(..TOLD.len());
    let text = match told.is_some_and(|told| told.eq_ignore_ascii_case(TOLD)) {
        true => &text[TOLD.len()..],
        false => text,
    };
    Uuid::try_parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_id_is_no_number_and_is_read_like_the_uuid() {
        let id = Uuid::parse_str("01a2177b-a512-7b24-aa1c-87bd481883c4").unwrap();
        let told = VisitorId(id).told();
        assert!(
            told.starts_with(|c: char| c.is_ascii_alphabetic()),
            "{told}"
        );
        let plain = id.simple().to_string();
        for text in [
            &told,
            &told.to_uppercase(),
            &id.to_string(),
            &plain,
            &format!(" {id} "),
        ] {
            assert_eq!(read_uid(text), Some(id), "{text}");
        }
        for text in [
            "",
            "v-",
            "v",
            "v-v-01a2177b-a512-7b24-aa1c-87bd481883c4",
            "x-1",
            "\u{e4}-",
        ] {
            assert_eq!(read_uid(text), None, "{text}");
        }
    }
}

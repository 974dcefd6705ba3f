//! What a hit's delivery and message rest on, as column `proof` of `hits` has it, and how much of
//! it makes revenue of a delivery.
//!
//! | `proof` | the delivery comes from | counts as revenue by default |
//! |---|---|---|
//! | `link` | our link itself: signed, or the short link of the delivery | yes |
//! | `session` | the session cookie, landing parameter or last delivery that such a click left | yes |
//! | `sender` | an authenticated sender, or a network in `trust.senders` | yes |
//! | `unsigned` | a vendor's link, which nobody can verify, or what its click left | no, `revenue.proof = "unsigned"` counts it |
//! | `claimed` | a bare `delivery_id=`, `jobid`, … of anybody | no, `revenue.proof = "claimed"` counts it |
//! | none | there is no delivery, so there is nothing to prove | yes, as revenue of none |
//!
//! Everything else, opens and clicks above all, counts whatever it rests on: Adobe's and Mautic's
//! own links are unsigned by nature. A browser that is known as a person has no delivery of its
//! own: the visitor cookie says who bought, not what made them buy.

use serde::{Deserialize, Serialize};

use super::{Authority, Dialect, Hit, Provenance};

/// What the delivery and the message of a hit are based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Our own link.
    Link,
    /// The session that such a link began.
    Session,
    /// A sender that is believed.
    Sender,
    /// A vendor's unsigned link, or the session that it began.
    Unsigned,
    /// Said openly by anybody.
    Claimed,
}

impl Proof {
    /// The word in the database and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Session => "session",
            Self::Sender => "sender",
            Self::Unsigned => "unsigned",
            Self::Claimed => "claimed",
        }
    }

    /// What a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Link,
            Self::Session,
            Self::Sender,
            Self::Unsigned,
            Self::Claimed,
        ];
        all.into_iter().find(|proof| proof.as_str() == word)
    }

    /// Whether it is proof against forgery.
    pub fn is_signed(self) -> bool {
        matches!(self, Self::Link | Self::Session | Self::Sender)
    }
}

/// The weakest proof with which an amount counts as revenue of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeastProof {
    /// Signed, or said by a trusted sender.
    #[default]
    Signed,
    /// Also vendors' unsigned links and their sessions.
    Unsigned,
    /// Everything.
    Claimed,
}

impl LeastProof {
    /// Whether an amount counts as revenue of its delivery.
    pub fn admits(self, proof: Option<Proof>) -> bool {
        match proof {
            None => true,
            Some(Proof::Unsigned) => self != Self::Signed,
            Some(Proof::Claimed) => self == Self::Claimed,
            Some(Proof::Link | Proof::Session | Proof::Sender) => true,
        }
    }
}

impl Hit {
    /// What its delivery and message are based on; `None` if it has neither.
    pub fn proof(&self) -> Option<Proof> {
        if self.delivery_id.is_none() && self.broadlog_id.is_none() {
            return None;
        }
        if self.authority == Authority::Authenticated {
            return Some(Proof::Sender);
        }
        Some(match self.provenance {
            Provenance::Link => Proof::Link,
            Provenance::Session => Proof::Session,
            Provenance::Unsigned => Proof::Unsigned,
            Provenance::Claimed if self.is_trusted => Proof::Sender,
            Provenance::Claimed => Proof::Claimed,
            // Nothing was said: the link in our table has the delivery. A vendor's link may have
            // been made up from what is public.
            Provenance::None if self.dialect == Dialect::Native => Proof::Link,
            Provenance::None => Proof::Unsigned,
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{DeliveryId, HitId, Kind};

    fn hit(provenance: Provenance) -> Hit {
        let id = HitId(Uuid::nil());
        let mut hit = Hit::new(id, Micros(0), Kind::Transaction, Dialect::Native);
        hit.delivery_id = Some(DeliveryId(1));
        hit.provenance = provenance;
        hit
    }

    #[test]
    fn only_what_cannot_be_made_up_is_revenue_by_default() {
        use LeastProof::{Claimed, Signed, Unsigned};
        let mut trusted = hit(Provenance::Claimed);
        trusted.is_trusted = true;
        let mut sender = hit(Provenance::Link);
        sender.authority = Authority::Authenticated;
        let mut vendors = hit(Provenance::None);
        vendors.dialect = Dialect::Mautic;
        let mut nobodys = hit(Provenance::Claimed);
        nobodys.delivery_id = None;
        for (hit, proof, least) in [
            (hit(Provenance::Link), Some(Proof::Link), Signed),
            (hit(Provenance::Session), Some(Proof::Session), Signed),
            (hit(Provenance::None), Some(Proof::Link), Signed),
            (trusted, Some(Proof::Sender), Signed),
            (sender, Some(Proof::Sender), Signed),
            (vendors, Some(Proof::Unsigned), Unsigned),
            (hit(Provenance::Unsigned), Some(Proof::Unsigned), Unsigned),
            (hit(Provenance::Claimed), Some(Proof::Claimed), Claimed),
            (nobodys, None, Signed),
        ] {
            assert_eq!(hit.proof(), proof);
            let admitting: Vec<LeastProof> = [Signed, Unsigned, Claimed]
                .into_iter()
                .filter(|least| least.admits(hit.proof()))
                .collect();
            assert_eq!(admitting.first(), Some(&least), "{proof:?}");
            assert_eq!(admitting.last(), Some(&Claimed), "{proof:?}");
        }
    }
}

//! Numbers of deliveries, messages and links that nobody has made: kept and marked, never adopted
//! by whoever gets the number later.
//!
//! A signed link or session proves that its delivery was there. Everything else is looked up when
//! the hit is stored: the database is the truth, in the transaction that writes the hit, so what
//! another server made a moment ago is known. A number that is unknown goes to `extra`, with a
//! note; the hit counts for no delivery. So does a vendor's link or page tag whose delivery has not
//! been imported yet: import first, then move the domain.
//!
//! A vendor's unsigned number of a *message* stays where its delivery is known: figures tell apart
//! the recipients of mails that were never imported. Such a number is never given to a message of
//! ours (see [`crate::operator`]).

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use crate::model::hit::{Authority, BroadlogId, DeliveryId, Hit, LinkId, Provenance};
use crate::store::{self, Tx};

/// The existing numbers among a batch's.
#[derive(Debug, Default)]
pub struct KnownIds {
    deliveries: HashSet<DeliveryId>,
    links: HashSet<LinkId>,
}

/// Whether a hit's numbers may be anything.
fn is_said(hit: &Hit) -> bool {
    hit.authority == Authority::Authenticated
        || matches!(hit.provenance, Provenance::Unsigned | Provenance::Claimed)
}

/// All other links come from the table.
fn said_link(hit: &Hit) -> Option<LinkId> {
    hit.link_id
        .filter(|_| hit.authority == Authority::Authenticated)
}

impl KnownIds {
    /// Looks up the numbers that these hits name, if any.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn load(tx: &mut Tx, hits: &[&Hit]) -> store::Result<Self> {
        let (mut deliveries, mut links) = (BTreeSet::new(), BTreeSet::new());
        for hit in hits.iter().filter(|hit| is_said(hit)) {
            deliveries.extend(hit.delivery_id);
            links.extend(said_link(hit));
        }
        Ok(Self {
            deliveries: tx.known_deliveries(&deliveries).await?,
            links: tx.known_links(&links).await?,
        })
    }

    /// Removes numbers that do not exist. Call it after identity, which knows the vendors' names of
    /// messages; `message` returns the delivery of a message, `None` if there is no such message.
    pub fn settle(
        &self,
        hit: &mut Cow<'_, Hit>,
        message: impl Fn(BroadlogId) -> Option<DeliveryId>,
    ) {
        if !is_said(hit) {
            return;
        }
        let of_message = hit.broadlog_id.and_then(message);
        let is_known = |id: &DeliveryId| of_message == Some(*id) || self.deliveries.contains(id);
        if let Some(id) = hit.delivery_id.filter(|id| !is_known(id)) {
            let hit = hit.to_mut();
            hit.delivery_id = of_message;
            hit.note("delivery unknown");
            hit.keep("delivery_id", &id.to_string());
        }
        let may_be_a_vendors = hit.authority == Authority::Public && hit.delivery_id.is_some();
        if let Some(id) = hit
            .broadlog_id
            .filter(|_| of_message.is_none() && !may_be_a_vendors)
        {
            let hit = hit.to_mut();
            hit.broadlog_id = None;
            hit.note("message unknown");
            hit.keep("broadlog_id", &id.to_string());
        }
        if let Some(id) = said_link(hit).filter(|id| !self.links.contains(id)) {
            let hit = hit.to_mut();
            hit.link_id = None;
            hit.note("link unknown");
            hit.keep("link_id", &id.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::{Dialect, HitId, Kind};

    fn settled(authority: Authority, provenance: Provenance) -> Hit {
        let id = HitId(Uuid::nil());
        let mut hit = Hit::new(id, Micros(0), Kind::Open, Dialect::Native);
        hit.authority = authority;
        hit.provenance = provenance;
        hit.delivery_id = Some(DeliveryId(1));
        hit.broadlog_id = Some(BroadlogId(2));
        hit.link_id = Some(LinkId(3));
        let mut hit = Cow::Owned(hit);
        KnownIds::default().settle(&mut hit, |_| None);
        hit.into_owned()
    }

    #[test]
    fn what_is_signed_needs_no_row_and_what_is_said_does() {
        use Authority::{Authenticated, Public};
        use Provenance::{Claimed, Link, Session, Unsigned};
        for (authority, provenance, delivery, link) in [
            (Public, Link, true, true),
            (Public, Session, true, true),
            (Public, Provenance::None, true, true),
            (Public, Unsigned, false, true),
            (Public, Claimed, false, true),
            (Authenticated, Link, false, false),
        ] {
            let hit = settled(authority, provenance);
            assert_eq!(hit.delivery_id.is_some(), delivery, "{provenance:?}");
            assert_eq!(hit.broadlog_id.is_some(), delivery, "{provenance:?}");
            assert_eq!(hit.link_id.is_some(), link, "{provenance:?}");
            let kept = hit.extra.unwrap_or_default();
            assert_eq!(kept.get("delivery_id").is_some(), !delivery);
            assert_eq!(kept.get("broadlog_id").is_some(), !delivery);
            assert_eq!(kept.get("link_id").is_some(), !link);
        }
    }

    #[test]
    fn a_vendors_message_stays_where_its_delivery_is_known() {
        let id = HitId(Uuid::nil());
        let mut hit = Hit::new(id, Micros(0), Kind::Open, Dialect::Adobe);
        hit.provenance = Provenance::Unsigned;
        hit.delivery_id = Some(DeliveryId(1));
        hit.broadlog_id = Some(BroadlogId(2));
        let ids = KnownIds {
            deliveries: HashSet::from([DeliveryId(1)]),
            links: HashSet::new(),
        };
        let mut settled = Cow::Borrowed(&hit);
        ids.settle(&mut settled, |_| None);
        assert!(matches!(settled, Cow::Borrowed(_)), "nothing is copied");
    }
}

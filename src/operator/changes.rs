//! Changes links and deliveries after they were sent. Emails hold them, so nothing is removed: what
//! is over is ended, and its clicks lead elsewhere.

use super::{CampaignError, DeliveryEdit, LinkEdit};
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::host_pattern::HostPattern;
use crate::store::Store;
use crate::store::deliveries::{Delivery, Link};

/// Something as it is by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<T> {
    /// With what was changed.
    pub now: T,
    /// The time under which servers find the change; `None` if nothing changed.
    pub at: Option<Micros>,
}

/// Changes a link, and records who (`admin`, or whose token) changed what. The hosts are those of
/// `links.personal_hosts`.
///
/// # Errors
/// There is no such link, a field cannot be taken, or the database fails.
pub async fn change_link(
    store: &Store,
    clock: &Clock,
    personal_hosts: &[HostPattern],
    id: LinkId,
    edit: LinkEdit,
    by: &str,
) -> Result<Changed<Link>, CampaignError> {
    let edit = edit
        .check(personal_hosts)
        .map_err(|error| CampaignError::Draft(None, error))?;
    let mut tx = store.begin().await?;
    let Some(was) = tx.link_to_change(id).await? else {
        tx.rollback().await?;
        return Err(CampaignError::NoLink(id));
    };
    // Where there was a wait for others, what they noted is earlier.
    let now = clock.now();
    let became = apply(edit, was.clone(), now);
    if became == was {
        tx.rollback().await?;
        return Ok(Changed { now: was, at: None });
    }
    tx.change_link(&became, now).await?;
    tx.note_link_changes(&[(was, became.clone())], by, now)
        .await?;
    tx.commit().await?;
    Ok(Changed {
        now: became,
        at: Some(now),
    })
}

/// A link that is ended again keeps its first end.
fn apply(edit: LinkEdit, mut link: Link, now: Micros) -> Link {
    link.url = edit.url.unwrap_or(link.url);
    link.label = edit.label.unwrap_or(link.label);
    link.category = edit.category.unwrap_or(link.category);
    link.end_url = edit.end_url.unwrap_or(link.end_url);
    link.ended_at = match edit.ended {
        Some(true) => link.ended_at.or(Some(now)),
        Some(false) => None,
        None => link.ended_at,
    };
    link
}

/// Changes a delivery.
///
/// # Errors
/// There is no such delivery, a field cannot be taken, or the database fails.
pub async fn change_delivery(
    store: &Store,
    clock: &Clock,
    id: DeliveryId,
    edit: DeliveryEdit,
) -> Result<Changed<Delivery>, CampaignError> {
    let edit = edit
        .check()
        .map_err(|error| CampaignError::Draft(None, error))?;
    let mut tx = store.begin().await?;
    let Some(was) = tx.delivery_to_change(id).await? else {
        tx.rollback().await?;
        return Err(CampaignError::NoDelivery(id));
    };
    let now = clock.now();
    let mut became = was.clone();
    became.label = edit.label.unwrap_or(became.label);
    became.channel = match edit.channel {
        Some(channel) => channel.unwrap_or_else(|| "email".to_owned()),
        None => became.channel,
    };
    became.sent_at = edit
        .sent_at
        .map_or(became.sent_at, |at| at.map(|time| time.0));
    became.expires_at = edit
        .expires_at
        .map_or(became.expires_at, |at| at.map(|time| time.0));
    if edit.is_end {
        became.expires_at = Some(became.expires_at.map_or(now, |at| at.min(now)));
    }
    became.expiration_url = edit.expiration_url.unwrap_or(became.expiration_url);
    became.utm = edit.utm.unwrap_or(became.utm);
    if became == was {
        tx.rollback().await?;
        return Ok(Changed { now: was, at: None });
    }
    tx.change_delivery(&became, now).await?;
    tx.commit().await?;
    Ok(Changed {
        now: became,
        at: Some(now),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ended_at: Option<Micros>) -> Link {
        Link {
            id: LinkId(7),
            delivery_id: None,
            slug: None,
            url: "https://shop.example/".to_owned(),
            label: Some("Lamp".to_owned()),
            category: None,
            ended_at,
            end_url: None,
        }
    }

    #[test]
    fn a_link_that_has_ended_keeps_its_end_until_it_is_begun_again() {
        let (first, second) = (Micros(1), Micros(2));
        let ended = |ended, before| {
            let edit = LinkEdit {
                ended,
                ..LinkEdit::default()
            };
            apply(edit, link(before), second).ended_at
        };
        assert_eq!(ended(Some(true), None), Some(second));
        assert_eq!(ended(Some(true), Some(first)), Some(first));
        assert_eq!(ended(None, Some(first)), Some(first));
        assert_eq!(ended(Some(false), Some(first)), None);
    }
}

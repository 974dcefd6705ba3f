//! Makes deliveries and links in the database.

use super::{DraftError, NewDelivery, NewLink, random_slug};
use crate::model::clock::Clock;
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::host_pattern::HostPattern;
use crate::store::deliveries::{Delivery, Link, Taken};
use crate::store::{self, Store};

/// Attempts to find a random slug that is free.
const SLUG_TRIES: usize = 5;

/// Why a delivery or a link is not created.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    /// A field is not accepted; with its index if several were given.
    #[error("{1}")]
    Draft(Option<usize>, DraftError),
    /// The field's value (the last part) is taken; with its index if several were given.
    #[error("{1} {2} is already taken; choose another, or leave it out and the server assigns one")]
    Taken(Option<usize>, &'static str, String),
    /// The delivery does not exist.
    #[error(
        "there is no delivery {0}: create it first, or look up its number in the list of deliveries"
    )]
    NoDelivery(DeliveryId),
    /// The link does not exist.
    #[error("there is no link {0}: look up its number in the list of links")]
    NoLink(LinkId),
    /// The database refuses or cannot be reached.
    #[error(transparent)]
    Database(#[from] store::Error),
}

impl CampaignError {
    /// The same for a single object, which has no index.
    #[must_use]
    pub fn by_itself(self) -> Self {
        match self {
            Self::Draft(_, error) => Self::Draft(None, error),
            Self::Taken(_, field, value) => Self::Taken(None, field, value),
            error => error,
        }
    }
}

/// Makes a delivery.
///
/// # Errors
/// A field cannot be taken, the id is taken, or the database fails.
pub async fn create_delivery(
    store: &Store,
    clock: &Clock,
    draft: NewDelivery,
) -> Result<Delivery, CampaignError> {
    let draft = draft
        .check()
        .map_err(|error| CampaignError::Draft(None, error))?;
    let mut tx = store.begin().await?;
    match tx.create_delivery(&draft, clock.now()).await? {
        Ok(delivery) => {
            tx.commit().await?;
            Ok(delivery)
        }
        Err(taken) => {
            tx.rollback().await?;
            let id = draft.id.map_or_else(String::new, |id| id.to_string());
            Err(CampaignError::Taken(None, taken.field(), id))
        }
    }
}

/// Makes links of a delivery: all of them or none. Answers the delivery too: its expiry and
/// campaign parameters are the links'. The hosts are those of `links.personal_hosts`.
///
/// # Errors
/// There is no such delivery, a field cannot be taken, an id is taken, or the database fails.
pub async fn create_links(
    store: &Store,
    clock: &Clock,
    personal_hosts: &[HostPattern],
    delivery_id: DeliveryId,
    drafts: Vec<NewLink>,
) -> Result<(Delivery, Vec<Link>), CampaignError> {
    let delivery = store
        .delivery(delivery_id)
        .await?
        .ok_or(CampaignError::NoDelivery(delivery_id))?;
    let drafts = drafts
        .into_iter()
        .enumerate()
        .map(|(index, draft)| {
            NewLink {
                delivery_id: Some(delivery_id),
                ..draft
            }
            .check_with(personal_hosts)
            .map_err(|error| CampaignError::Draft(Some(index), error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let now = clock.now();
    let mut tx = store.begin().await?;
    let mut links = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let id = draft.id.map_or_else(String::new, |id| id.to_string());
        match tx.create_link(draft, now).await? {
            Ok(link) => links.push(link),
            Err(taken) => {
                tx.rollback().await?;
                return Err(CampaignError::Taken(Some(index), taken.field(), id));
            }
        }
    }
    tx.commit().await?;
    Ok((delivery, links))
}

/// Makes a link with a slug of its own; a random one if none is given.
///
/// # Errors
/// A field cannot be taken, slug or id are taken, the delivery does not exist, or the database
/// fails.
pub async fn create_short_link(
    store: &Store,
    clock: &Clock,
    personal_hosts: &[HostPattern],
    draft: NewLink,
) -> Result<(Option<Delivery>, Link), CampaignError> {
    let draft = draft
        .check_with(personal_hosts)
        .map_err(|error| CampaignError::Draft(None, error))?;
    let delivery = match draft.delivery_id {
        Some(id) => {
            let delivery = store.delivery(id).await?;
            Some(delivery.ok_or(CampaignError::NoDelivery(id))?)
        }
        None => None,
    };
    let now = clock.now();
    let mut tries = SLUG_TRIES;
    loop {
        let mut tx = store.begin().await?;
        let named = NewLink {
            slug: Some(match &draft.slug {
                Some(slug) => slug.clone(),
                None => random_slug(clock.new_id(now)),
            }),
            ..draft.clone()
        };
        match tx.create_link(named, now).await? {
            Ok(link) => {
                tx.commit().await?;
                return Ok((delivery, link));
            }
            Err(taken) => {
                tx.rollback().await?;
                tries -= 1;
                if taken == Taken::Id || draft.slug.is_some() || tries == 0 {
                    let value = match taken {
                        Taken::Id => draft.id.map(|id| id.to_string()),
                        Taken::Slug => draft.slug,
                    };
                    let value = value.unwrap_or_default();
                    return Err(CampaignError::Taken(None, taken.field(), value));
                }
            }
        }
    }
}

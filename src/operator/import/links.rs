//! Deliveries, links and page tags of an import: what is there is looked at first, so that a row
//! makes, changes, or leaves it.
//!
//! A link is known by its id, else by its slug. An empty cell leaves what is there. What has the
//! number or the slug of a row but belongs to something else (another delivery, another link, a
//! delivery made here) is not touched: the row is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ImportRules;
use super::draft::{Drafts, Origin, RowOutcome, Stored};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, LinkId};
use crate::operator::{NewDelivery, NewLink, NewPageTag};
use crate::store::deliveries::{Delivery, Link};
use crate::store::{self, MOST_COUNTED, Tx};

/// The deliveries that a batch names.
pub(super) struct Deliveries<'r> {
    known: HashMap<i64, Delivery>,
    made: BTreeSet<i64>,
    changed: BTreeSet<i64>,
    origin: Option<Origin>,
    rules: &'r ImportRules,
    now: Micros,
}

impl<'r> Deliveries<'r> {
    pub(super) async fn load(
        tx: &mut Tx,
        ids: impl IntoIterator<Item = DeliveryId>,
        origin: Option<Origin>,
        rules: &'r ImportRules,
        now: Micros,
    ) -> store::Result<Self> {
        let ids: BTreeSet<i64> = ids.into_iter().map(|id| id.0).collect();
        Ok(Self {
            known: tx.deliveries_named(ids).await?,
            made: BTreeSet::new(),
            changed: BTreeSet::new(),
            origin,
            rules,
            now,
        })
    }

    /// Makes sure that a delivery exists and belongs to the importing system; an unknown one is
    /// created and named after its number.
    pub(super) fn need(&mut self, id: DeliveryId) -> Result<&mut Delivery, String> {
        let (origin, rules) = (self.origin, self.rules);
        let wanted = origin.map(|origin| origin.word().to_owned());
        if !self.known.contains_key(&id.0) {
            let Some(origin) = origin else {
                return Err(format!("there is no delivery {id}"));
            };
            self.made.insert(id.0);
            let draft = NewDelivery {
                label: origin.label(id.0),
                ..NewDelivery::default()
            };
            let mut delivery = Delivery::of(id, draft, self.now);
            delivery.origin.clone_from(&wanted);
            self.known.insert(id.0, delivery);
        }
        let Some(delivery) = self.known.get_mut(&id.0) else {
            return Err(format!("there is no delivery {id}"));
        };
        if wanted.is_some() && delivery.origin != wanted {
            if !rules.adopt {
                let whose = match &delivery.origin {
                    Some(origin) => format!("came from {origin}"),
                    None => "was made here".to_owned(),
                };
                return Err(format!(
                    "delivery {id} already exists and {whose}; add --adopt to use it for the import"
                ));
            }
            delivery.origin = wanted;
            self.changed.insert(id.0);
        }
        Ok(delivery)
    }

    /// Writes what is new or different; returns how many were created, `None` if another writer
    /// created one of them first.
    pub(super) async fn save(self, tx: &mut Tx) -> store::Result<Option<u64>> {
        let of = |ids: &BTreeSet<i64>| -> Vec<Delivery> {
            ids.iter()
                .filter_map(|id| self.known.get(id).cloned())
                .collect()
        };
        let made = of(&self.made);
        let changed = of(&self.changed.difference(&self.made).copied().collect());
        reserve(tx, "delivery", made.iter().map(|delivery| delivery.id.0)).await?;
        let written = tx.insert_deliveries(&made, self.now).await?;
        tx.update_deliveries(&changed, self.now).await?;
        Ok((written == made.len() as u64).then_some(written))
    }
}

/// Chosen numbers are never assigned here.
pub(super) async fn reserve(
    tx: &mut Tx,
    counter: &'static str,
    numbers: impl Iterator<Item = i64>,
) -> store::Result<()> {
    match numbers.filter(|id| (1..=MOST_COUNTED).contains(id)).max() {
        Some(most) => tx.reserve_number(counter, most).await,
        None => Ok(()),
    }
}

/// Sets a value that a row gives; true if it differs. A row without a value leaves the old one.
fn set<T: PartialEq>(have: &mut Option<T>, given: Option<T>) -> bool {
    if given.is_none() || *have == given {
        return false;
    }
    *have = given;
    true
}

pub(super) async fn store_deliveries(
    tx: &mut Tx,
    drafts: Drafts<'_, NewDelivery>,
    origin: Option<Origin>,
    rules: &ImportRules,
    now: Micros,
) -> store::Result<Stored> {
    let ids = drafts.iter().filter_map(|(_, draft)| draft.id);
    let mut deliveries = Deliveries::load(tx, ids, origin, rules, now).await?;
    let mut told = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts {
        let Some(id) = draft.id else { continue };
        let was_known = deliveries.known.contains_key(&id.0);
        let outcome = match deliveries.need(id) {
            Err(reason) => RowOutcome::Refused(reason),
            Ok(delivery) => {
                let is_renamed = delivery.label != draft.label;
                if is_renamed {
                    delivery.label.clone_from(&draft.label);
                }
                let is_changed = [
                    is_renamed,
                    set(&mut delivery.sent_at, draft.sent_at),
                    set(&mut delivery.expires_at, draft.expires_at),
                    set(&mut delivery.expiration_url, draft.expiration_url.clone()),
                ]
                .contains(&true);
                if is_changed {
                    deliveries.changed.insert(id.0);
                }
                match (was_known, deliveries.changed.contains(&id.0)) {
                    (false, _) => RowOutcome::Made,
                    (true, true) => RowOutcome::Changed,
                    (true, false) => RowOutcome::Unchanged,
                }
            }
        };
        told.push((index, outcome));
    }
    // They are the rows themselves, not made in passing.
    Ok(deliveries.save(tx).await?.map(|_| (told, 0)))
}

pub(super) async fn store_links(
    tx: &mut Tx,
    drafts: Drafts<'_, NewLink>,
    origin: Option<Origin>,
    rules: &ImportRules,
    now: Micros,
) -> store::Result<Stored> {
    let ids: Vec<i64> = drafts
        .iter()
        .filter_map(|(_, draft)| draft.id.map(|id| id.0))
        .collect();
    let slugs: Vec<String> = drafts
        .iter()
        .filter_map(|(_, draft)| draft.slug.clone())
        .collect();
    let mut links = BatchLinks::default();
    for link in tx.links_named(&ids, &slugs).await? {
        links.add(link);
    }
    let of = drafts.iter().filter_map(|(_, draft)| draft.delivery_id);
    let mut deliveries = Deliveries::load(tx, of, origin, rules, now).await?;
    // Chosen ids first: the counter must not give out what this very batch takes.
    reserve(tx, "link", ids.iter().copied()).await?;
    let unnamed: BTreeSet<&String> = drafts
        .iter()
        .filter(|(_, draft)| draft.id.is_none())
        .filter_map(|(_, draft)| draft.slug.as_ref())
        .filter(|slug| !links.by_slug.contains_key(*slug))
        .collect();
    let mut next = match unnamed.len() as i64 {
        0 => 0,
        count => tx.take_numbers("link", count).await?,
    };
    let (mut made, mut changed) = (BTreeSet::new(), BTreeSet::new());
    let mut told = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts {
        let outcome = match links.find(draft) {
            Err(reason) => RowOutcome::Refused(reason),
            Ok(found) => match draft.delivery_id.map(|id| deliveries.need(id)) {
                Some(Err(reason)) => RowOutcome::Refused(reason),
                _ => match found {
                    None => {
                        let id = draft.id.map_or(next, |id| id.0);
                        next += i64::from(draft.id.is_none());
                        links.add(Link {
                            id: LinkId(id),
                            delivery_id: draft.delivery_id,
                            slug: draft.slug.clone(),
                            url: draft.url.clone(),
                            label: draft.label.clone(),
                            category: draft.category.clone(),
                            ended_at: None,
                            end_url: None,
                        });
                        made.insert(id);
                        RowOutcome::Made
                    }
                    Some(id) => {
                        if links.change(id, draft) {
                            changed.insert(id);
                            RowOutcome::Changed
                        } else {
                            RowOutcome::Unchanged
                        }
                    }
                },
            },
        };
        told.push((index, outcome));
    }
    let Some(deliveries_made) = deliveries.save(tx).await? else {
        return Ok(None);
    };
    if tx.insert_links(&links.of(&made), now).await? != made.len() as u64 {
        return Ok(None);
    }
    // A link that the batch made and then changed was written as it is by now.
    changed.retain(|id| !made.contains(id));
    tx.update_links(&links.of(&changed), now).await?;
    let changes: Vec<(Link, Link)> = changed
        .iter()
        .filter_map(|id| Some((links.was.remove(id)?, links.by_id.get(id)?.clone())))
        .collect();
    tx.note_link_changes(&changes, "import", now).await?;
    Ok(Some((told, deliveries_made)))
}

/// The links that a batch names.
#[derive(Default)]
struct BatchLinks {
    by_id: BTreeMap<i64, Link>,
    by_slug: HashMap<String, i64>,
    /// Those that were changed, as they were before.
    was: HashMap<i64, Link>,
}

impl BatchLinks {
    fn add(&mut self, link: Link) {
        if let Some(slug) = &link.slug {
            self.by_slug.insert(slug.clone(), link.id.0);
        }
        self.by_id.insert(link.id.0, link);
    }

    /// The link that a row means, or why it cannot be that one.
    fn find(&self, draft: &NewLink) -> Result<Option<i64>, String> {
        let by_slug = draft.slug.as_ref().and_then(|slug| self.by_slug.get(slug));
        let found = match (draft.id, by_slug) {
            (Some(id), Some(&other)) if id.0 != other => {
                return Err(format!("the slug belongs to link {other}"));
            }
            (Some(id), _) => self.by_id.get(&id.0),
            (None, Some(id)) => self.by_id.get(id),
            (None, None) => None,
        };
        let Some(link) = found else { return Ok(None) };
        if draft.slug.is_some() && draft.slug != link.slug {
            return Err(format!(
                "link {} already exists and has {}",
                link.id,
                match &link.slug {
                    Some(slug) => format!("the slug {slug}"),
                    None => "no slug".to_owned(),
                }
            ));
        }
        if draft.delivery_id.is_some() && draft.delivery_id != link.delivery_id {
            return Err(format!(
                "link {} already exists and belongs to {}",
                link.id,
                match link.delivery_id {
                    Some(delivery) => format!("delivery {delivery}"),
                    None => "no delivery".to_owned(),
                }
            ));
        }
        Ok(Some(link.id.0))
    }

    fn change(&mut self, id: i64, draft: &NewLink) -> bool {
        let Some(link) = self.by_id.get_mut(&id) else {
            return false;
        };
        let was = link.clone();
        let is_moved = link.url != draft.url;
        if is_moved {
            link.url.clone_from(&draft.url);
        }
        let is_changed = [
            is_moved,
            set(&mut link.label, draft.label.clone()),
            set(&mut link.category, draft.category.clone()),
        ]
        .contains(&true);
        if is_changed {
            self.was.entry(id).or_insert(was);
        }
        is_changed
    }

    fn of(&self, ids: &BTreeSet<i64>) -> Vec<Link> {
        ids.iter()
            .filter_map(|id| self.by_id.get(id).cloned())
            .collect()
    }
}

pub(super) async fn store_page_tags(
    tx: &mut Tx,
    drafts: Drafts<'_, NewPageTag>,
    now: Micros,
) -> store::Result<Stored> {
    let names = drafts.iter().map(|(_, tag)| tag.identifier.clone());
    let found = tx.page_tags_named(names.collect::<BTreeSet<_>>()).await?;
    let mut known: HashMap<String, NewPageTag> = found
        .into_iter()
        .map(|(identifier, tag)| (identifier, tag.into()))
        .collect();
    let mut written = BTreeMap::new();
    let mut told = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts {
        let mut tag = draft.clone();
        let outcome = match known.get(&draft.identifier) {
            None => RowOutcome::Made,
            Some(had) => {
                tag = tag.or(had);
                if *had == tag {
                    RowOutcome::Unchanged
                } else {
                    RowOutcome::Changed
                }
            }
        };
        if outcome != RowOutcome::Unchanged {
            known.insert(tag.identifier.clone(), tag.clone());
            written.insert(tag.identifier.clone(), tag);
        }
        told.push((index, outcome));
    }
    let written: Vec<NewPageTag> = written.into_values().collect();
    tx.put_page_tags(&written, now).await?;
    Ok(Some((told, 0)))
}

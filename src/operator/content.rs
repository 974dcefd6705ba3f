//! Gives a delivery its content: the mail's HTML and text, whose links become the delivery's.
//!
//! **A second time** replaces the content. A link that is in both is the same link with the same
//! id, told by its part, its address and what it is; of several alike the first is the first. So
//! the same content again changes nothing. A link that is in the new content only is made. One that
//! is no longer in it stays a link of the delivery, since messages that were sent have it, and is
//! taken up again where the content has it again. What an operator changed of a link stays changed:
//! clicks lead where its row says, and a warning says so.

use std::collections::{HashMap, VecDeque};

use super::CampaignError;
use crate::content::{self, Compiled, FoundLink, LinkKind, Part, Rules, Source, Warning};
use crate::model::clock::Clock;
use crate::model::draft::DraftError;
use crate::model::hit::{DeliveryId, LinkId};
use crate::model::host_pattern::HostPattern;
use crate::store::contents::{Content, ContentLink, Edits};
use crate::store::deliveries::{Delivery, Link};
use crate::store::{self, Store};

/// What the links of a content are held against.
#[derive(Clone, Debug, Default)]
pub struct ContentRules {
    /// Hosts that a personal host may turn out to be.
    pub personal_hosts: Vec<HostPattern>,
    /// What our own tracked links begin with.
    pub own_urls: Vec<String>,
}

/// A content that has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// As it was given.
    pub source: Source,
    /// What was found in it.
    pub compiled: Compiled,
}

/// A content that is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// Whose it is.
    pub delivery: Delivery,
    /// The row of each of its links, in their order in the mail.
    pub links: Vec<(LinkId, Option<Link>)>,
    /// Those of them that were made for it.
    pub made: Vec<Link>,
    /// What the author should know of the links' rows.
    pub warnings: Vec<Warning>,
}

/// Reads a content. It may take a tenth of a second, so it is done where nothing else waits.
///
/// # Errors
/// The content cannot be accepted.
pub async fn read_content(source: Source, rules: ContentRules) -> Result<Read, CampaignError> {
    let reading = tokio::task::spawn_blocking(move || {
        let rules = Rules {
            personal_hosts: &rules.personal_hosts,
            own_urls: &rules.own_urls,
        };
        let compiled = content::compile(&source, &rules)?;
        Ok(Read { source, compiled })
    });
    let read: Result<Read, DraftError> = reading.await.unwrap_or_else(|_| {
        Err(DraftError {
            field: Part::Html.field(),
            why: "cannot be read".to_owned(),
        })
    });
    read.map_err(|error| CampaignError::Draft(None, error))
}

/// Stores a content that has been read, and makes its links.
///
/// # Errors
/// There is no such delivery, or the database fails.
pub async fn save_content(
    store: &Store,
    clock: &Clock,
    delivery_id: DeliveryId,
    read: Read,
) -> Result<Saved, CampaignError> {
    let mut tx = store.begin().await?;
    // Two at the same time would each make the links.
    let Some(delivery) = tx.delivery_to_change(delivery_id).await? else {
        tx.rollback().await?;
        return Err(CampaignError::NoDelivery(delivery_id));
    };
    let now = clock.now();
    let before = tx.content_links(delivery_id).await?;
    let ids = take_up(&before, &read.compiled.links);
    let missing = ids.iter().filter(|id| id.is_none()).count();
    let mut next = match missing {
        0 => 0,
        count => tx.take_link_numbers(count).await?,
    };
    let mut made = Vec::with_capacity(missing);
    let mut links = Vec::with_capacity(ids.len());
    for (id, found) in ids.into_iter().zip(&read.compiled.links) {
        let id = id.unwrap_or_else(|| {
            let id = LinkId(next);
            next += 1;
            made.push(link_of(id, delivery_id, found));
            id
        });
        links.push(ContentLink {
            id,
            part: found.part,
            url: found.url.clone(),
            kind: found.kind,
            is_former: false,
        });
    }
    tx.insert_links(&made, now).await?;
    let current = links.len();
    let is_gone = |old: &ContentLink| links.iter().all(|link| link.id != old.id);
    let former: Vec<ContentLink> = before.into_iter().filter(is_gone).collect();
    links.extend(former.into_iter().map(|link| ContentLink {
        is_former: true,
        ..link
    }));
    let content = Content {
        delivery_id,
        source: read.source,
        edits: Edits {
            html: read.compiled.html,
            text: read.compiled.text,
        },
        links,
        changed_at: now,
    };
    tx.save_content(&content).await?;
    tx.commit().await?;
    let rows = rows_of(store, delivery_id, &content.links[..current]).await?;
    let warnings = changed_links(&content.links, &rows);
    Ok(Saved {
        delivery,
        links: rows,
        made,
        warnings,
    })
}

/// The rows of a content's links, in their order; `None` for one that somebody has deleted by hand.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn rows_of(
    store: &Store,
    delivery_id: DeliveryId,
    links: &[ContentLink],
) -> store::Result<Vec<(LinkId, Option<Link>)>> {
    let rows = store.links_of(delivery_id).await?;
    let by_id: HashMap<LinkId, Link> = rows.into_iter().map(|link| (link.id, link)).collect();
    Ok(links
        .iter()
        .map(|link| (link.id, by_id.get(&link.id).cloned()))
        .collect())
}

/// For each link that was found the id of the one that it was before, if there was one.
fn take_up(before: &[ContentLink], found: &[FoundLink]) -> Vec<Option<LinkId>> {
    let mut known: HashMap<(Part, &str, LinkKind), VecDeque<LinkId>> = HashMap::new();
    for link in before {
        let key = (link.part, link.url.as_str(), link.kind);
        known.entry(key).or_default().push_back(link.id);
    }
    let ids = found.iter().map(|link| {
        let key = (link.part, link.url.as_str(), link.kind);
        known.get_mut(&key)?.pop_front()
    });
    ids.collect()
}

fn link_of(id: LinkId, delivery_id: DeliveryId, found: &FoundLink) -> Link {
    Link {
        id,
        delivery_id: Some(delivery_id),
        slug: None,
        url: found.url.clone(),
        label: found.label.clone(),
        category: found.kind.category().map(str::to_owned),
        ended_at: None,
        end_url: None,
    }
}

/// Links whose clicks lead elsewhere than the content says.
fn changed_links(links: &[ContentLink], rows: &[(LinkId, Option<Link>)]) -> Vec<Warning> {
    let warning = |link: &ContentLink, code, detail: String| Warning {
        code,
        detail,
        part: link.part,
        line: None,
    };
    let pairs = links.iter().zip(rows);
    let warnings = pairs.filter_map(|(link, (_, row))| {
        let row = row.as_ref()?;
        if row.ended_at.is_some() {
            let detail = format!(
                "link {} has ended: begin it again with PATCH /api/v1/links/{} and \
                {{\"ended\": false}}",
                row.id, row.id
            );
            return Some(warning(link, "ended_link", detail));
        }
        (row.url != link.url).then(|| {
            let detail = format!(
                "link {} was changed by hand: its clicks lead to {}, not to {}",
                row.id, row.url, link.url
            );
            warning(link, "changed_link", detail)
        })
    });
    warnings.collect()
}

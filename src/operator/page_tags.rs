//! Makes and replaces page tags in the database.

use super::NewPageTag;
use super::campaigns::CampaignError;
use crate::model::clock::Clock;
use crate::store::Store;
use crate::store::page_tags::PageTag;

/// Makes tags: all of them or none.
///
/// # Errors
/// A field cannot be taken, an identifier is taken, or the database fails.
pub async fn create_page_tags(
    store: &Store,
    clock: &Clock,
    drafts: Vec<NewPageTag>,
) -> Result<Vec<PageTag>, CampaignError> {
    let drafts = drafts
        .into_iter()
        .enumerate()
        .map(|(index, draft)| {
            draft
                .check()
                .map_err(|error| CampaignError::Draft(Some(index), error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let now = clock.now();
    let mut tx = store.begin().await?;
    for (index, draft) in drafts.iter().enumerate() {
        if !tx.create_page_tag(draft, now).await? {
            tx.rollback().await?;
            let identifier = draft.identifier.clone();
            return Err(CampaignError::Taken(Some(index), "identifier", identifier));
        }
    }
    tx.commit().await?;
    Ok(drafts
        .into_iter()
        .map(|draft| PageTag::of(draft, now))
        .collect())
}

/// Replaces all of a tag but its identifier; `None` if there is no such tag.
///
/// # Errors
/// A field cannot be taken, or the database fails.
pub async fn replace_page_tag(
    store: &Store,
    clock: &Clock,
    draft: NewPageTag,
) -> Result<Option<PageTag>, CampaignError> {
    let draft = draft
        .check()
        .map_err(|error| CampaignError::Draft(None, error))?;
    let mut tx = store.begin().await?;
    if !tx.replace_page_tag(&draft, clock.now()).await? {
        tx.rollback().await?;
        return Ok(None);
    }
    tx.commit().await?;
    Ok(store.page_tag(&draft.identifier).await?)
}

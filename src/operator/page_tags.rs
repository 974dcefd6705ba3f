//! Page tags as an operator gives them, checked, and how they are stored.

use super::campaigns::SendingError;
use crate::model::clock::{Clock, Micros};
use crate::model::draft::{DraftError, optional, required};
use crate::model::hit::{Limit, PageTagKind};
use crate::store::Store;
use crate::store::page_tags::PageTag;

/// A page tag that is to be made or to replace what stands under its identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPageTag {
    /// What pages send, at most 255 characters, without `|`.
    pub identifier: String,
    /// Name in reports; none: the identifier.
    pub label: Option<String>,
    /// What a hit of it is.
    pub kind: PageTagKind,
    /// Where it is listed.
    pub folder: Option<String>,
    /// The page that carries it.
    pub source_url: Option<String>,
    /// From then on its hits are suspect.
    pub valid_until: Option<Micros>,
}

impl NewPageTag {
    /// Brings all fields into the form in which they are stored.
    ///
    /// # Errors
    /// A text is too long or holds control characters, or the identifier cannot be sent.
    pub fn check(self) -> Result<Self, DraftError> {
        let identifier = required("identifier", &self.identifier, Limit::NAME)?;
        // What stands behind a bar is the type in requests.
        if identifier.contains('|') {
            return Err(DraftError {
                field: "identifier",
                why: "holds a |".to_owned(),
            });
        }
        Ok(Self {
            identifier,
            label: optional("label", self.label, Limit::NAME)?,
            kind: self.kind,
            folder: optional("folder", self.folder, Limit::NAME)?,
            source_url: optional("source_url", self.source_url, Limit::URL)?,
            valid_until: self.valid_until,
        })
    }

    /// Name in reports.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.identifier)
    }

    fn made(self, created_at: Micros) -> PageTag {
        PageTag {
            label: self.label().to_owned(),
            identifier: self.identifier,
            kind: self.kind,
            folder: self.folder,
            source_url: self.source_url,
            valid_until: self.valid_until,
            created_at,
        }
    }
}

impl From<PageTag> for NewPageTag {
    fn from(tag: PageTag) -> Self {
        Self {
            identifier: tag.identifier,
            label: Some(tag.label),
            kind: tag.kind,
            folder: tag.folder,
            source_url: tag.source_url,
            valid_until: tag.valid_until,
        }
    }
}

/// Makes tags: all of them or none.
///
/// # Errors
/// A field cannot be taken, an identifier is taken, or the database fails.
pub async fn create_page_tags(
    store: &Store,
    clock: &Clock,
    drafts: Vec<NewPageTag>,
) -> Result<Vec<PageTag>, SendingError> {
    let drafts = drafts
        .into_iter()
        .enumerate()
        .map(|(index, draft)| {
            draft
                .check()
                .map_err(|error| SendingError::Draft(Some(index), error))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let now = clock.now();
    let mut tx = store.begin().await?;
    for (index, draft) in drafts.iter().enumerate() {
        if !tx.create_page_tag(draft, now).await? {
            tx.rollback().await?;
            let identifier = draft.identifier.clone();
            return Err(SendingError::Taken(Some(index), "identifier", identifier));
        }
    }
    tx.commit().await?;
    Ok(drafts.into_iter().map(|draft| draft.made(now)).collect())
}

/// Replaces all of a tag but its identifier; none where there is no such tag.
///
/// # Errors
/// A field cannot be taken, or the database fails.
pub async fn replace_page_tag(
    store: &Store,
    clock: &Clock,
    draft: NewPageTag,
) -> Result<Option<PageTag>, SendingError> {
    let draft = draft
        .check()
        .map_err(|error| SendingError::Draft(None, error))?;
    let mut tx = store.begin().await?;
    if !tx.replace_page_tag(&draft, clock.now()).await? {
        tx.rollback().await?;
        return Ok(None);
    }
    tx.commit().await?;
    Ok(store.page_tag(&draft.identifier).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_field() {
        let good = NewPageTag {
            identifier: " home ".to_owned(),
            label: None,
            kind: PageTagKind::Web,
            folder: Some(" ".to_owned()),
            source_url: None,
            valid_until: None,
        };
        for (identifier, label, folder, field) in [
            ("", "x", "x", "identifier"),
            ("home|w", "x", "x", "identifier"),
            ("a\0b", "x", "x", "identifier"),
            (&*"x".repeat(256), "x", "x", "identifier"),
            ("home", &*"x".repeat(256), "x", "label"),
            ("home", "x", "a\u{1}b", "folder"),
        ] {
            let draft = NewPageTag {
                identifier: identifier.to_owned(),
                label: Some(label.to_owned()),
                folder: Some(folder.to_owned()),
                ..good.clone()
            };
            assert_eq!(draft.check().unwrap_err().field, field);
        }
        let checked = good.check().unwrap();
        assert_eq!((checked.label(), &checked.folder), ("home", &None));
    }
}

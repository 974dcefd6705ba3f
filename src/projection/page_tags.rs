//! What page tags make of their hits: kind and validity, and tags that are made on the fly.
//!
//! A tag that is in the table decides; else the description in the request, from which the tag is
//! made; else an amount makes a purchase of the hit. A batch without page tags asks the database
//! nothing.
//!
//! Anybody can describe a tag, so only so many are made a day, by all servers together. Beyond that
//! a hit is still what it describes, and says that its tag was not made; it is counted, and the log
//! tells once.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use crate::model::clock::Micros;
use crate::model::hit::{Dialect, Hit, Kind, PageTagDraft, PageTagKind, Reason};
use crate::operator::NewPageTag;
use crate::store::page_tags::{DayCount, TagRule};
use crate::store::{self, Tx, lost_race};

/// Most tags made on the fly a day (UTC). Sites have some hundred tags; a site whose domain is
/// moved here makes those that it still uses on the first days. A million of them a day would fill
/// the table, its lists and its exports.
pub const MOST_A_DAY: i64 = 1_000;
/// Its name in `daily_limits`.
const LIMIT: &str = "page_tags";

/// The tags of a batch.
#[derive(Debug, Default)]
pub struct PageTags {
    known: HashMap<String, TagRule>,
    made: Vec<NewPageTag>,
    /// How many may still be created today.
    left: i64,
    refused: i64,
}

/// The tag that a hit came through. Other dialects define their hits themselves.
fn tag_of(hit: &Hit) -> Option<&str> {
    hit.page_tag
        .as_deref()
        .filter(|_| hit.dialect == Dialect::Adobe)
}

impl PageTags {
    /// What the database knows of the tags of these hits.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn load(tx: &mut Tx, hits: &[&Hit], now: Micros) -> store::Result<Self> {
        let wanted: BTreeSet<&str> = hits.iter().filter_map(|hit| tag_of(hit)).collect();
        let known: HashMap<_, _> = tx.load_page_tags(&wanted).await?.into_iter().collect();
        let makes_some = !wanted.is_empty()
            && hits.iter().any(|hit| {
                draft_of(hit).is_some() && tag_of(hit).is_some_and(|tag| !known.contains_key(tag))
            });
        let used = if makes_some {
            tx.day_count(LIMIT, now).await?
        } else {
            DayCount::default()
        };
        Ok(Self {
            known,
            left: (MOST_A_DAY - used.used).max(0),
            ..Self::default()
        })
    }

    /// Gives a hit the kind of its tag, and creates the tag if the hit describes a missing one.
    pub fn settle(&mut self, hit: &mut Cow<'_, Hit>) {
        let Some(identifier) = tag_of(hit) else {
            return;
        };
        let mut rule = self.known.get(identifier).copied();
        if rule.is_none() && hit.verdict.counts() {
            rule = self.make(identifier.to_owned(), hit);
        }
        let drafted = draft_of(hit).map(|draft| TagRule {
            kind: draft.kind,
            valid_until: None,
        });
        let (kind, is_expired) = decide(rule.or(drafted), hit.revenue.is_some(), hit.counted_at());
        if hit.kind != kind {
            hit.to_mut().kind = kind;
        }
        if is_expired {
            hit.to_mut().judge(Reason::PageTagExpired);
        }
    }

    fn make(&mut self, identifier: String, hit: &mut Cow<'_, Hit>) -> Option<TagRule> {
        draft_of(hit)?;
        if self.left == 0 {
            self.refused += 1;
            hit.to_mut().note("page tag not made");
            return None;
        }
        self.left -= 1;
        let draft = draft_of(hit)?;
        let rule = TagRule {
            kind: draft.kind,
            valid_until: None,
        };
        self.known.insert(identifier.clone(), rule);
        self.made.push(NewPageTag {
            identifier,
            label: None,
            kind: draft.kind,
            folder: draft.folder.clone(),
            source_url: hit.page_url.clone(),
            valid_until: None,
        });
        Some(rule)
    }

    /// Writes the new tags; returns how many were left out.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn save(&self, tx: &mut Tx, now: Micros) -> store::Result<u64> {
        tx.insert_page_tags(&self.made, now).await?;
        if self.made.is_empty() && self.refused == 0 {
            return Ok(0);
        }
        // Others may have made some since.
        let used = tx.day_count(LIMIT, now).await?;
        let count = DayCount {
            used: used.used + self.made.len() as i64,
            refused: used.refused + self.refused,
            ..used
        };
        if !self.made.is_empty() && count.used > MOST_A_DAY {
            return Err(lost_race("the number of page tags"));
        }
        tx.set_day_count(LIMIT, &count).await?;
        if self.refused > 0 && used.refused == 0 {
            tracing::warn!(
                made = count.used,
                "no more page tags are created automatically today; hits of missing tags carry a \
                note"
            );
        }
        Ok(self.refused.unsigned_abs())
    }
}

fn draft_of(hit: &Hit) -> Option<&PageTagDraft> {
    hit.foreign.as_ref()?.page_tag.as_ref()
}

/// The kind of a hit, and whether its tag had expired.
fn decide(rule: Option<TagRule>, has_amount: bool, at: Micros) -> (Kind, bool) {
    let kind = match rule.map(|rule| rule.kind) {
        Some(PageTagKind::Transaction) => Kind::Transaction,
        Some(PageTagKind::Web) => Kind::Pageview,
        None if has_amount => Kind::Transaction,
        None => Kind::Pageview,
    };
    let is_expired = rule
        .and_then(|rule| rule.valid_until)
        .is_some_and(|until| until <= at);
    (kind, is_expired)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::hit::{HitId, Money, Verdict};

    fn hit(tag: &str, draft: Option<PageTagKind>, amount: Option<i64>) -> Hit {
        let mut hit = Hit::new(
            HitId(Uuid::nil()),
            Micros(1_000),
            Kind::Pageview,
            Dialect::Adobe,
        );
        hit.page_tag = Some(tag.to_owned());
        hit.revenue = amount.map(Money);
        if let Some(kind) = draft {
            hit.foreign_mut().page_tag = Some(PageTagDraft { kind, folder: None });
        }
        hit
    }

    fn tags_of_a_day() -> PageTags {
        PageTags {
            left: MOST_A_DAY,
            ..PageTags::default()
        }
    }

    fn settle(tags: &mut PageTags, hit: &Hit) -> Hit {
        let mut hit = Cow::Borrowed(hit);
        tags.settle(&mut hit);
        hit.into_owned()
    }

    #[test]
    fn the_table_decides_then_the_description_then_the_amount() {
        use PageTagKind::{Transaction, Web};
        let rule = |kind| {
            Some(TagRule {
                kind,
                valid_until: None,
            })
        };
        for (known, draft, amount, kind) in [
            (None, None, None, Kind::Pageview),
            (None, None, Some(1), Kind::Transaction),
            (None, Some(Web), Some(1), Kind::Pageview),
            (None, Some(Transaction), None, Kind::Transaction),
            (rule(Web), Some(Transaction), Some(1), Kind::Pageview),
            (rule(Transaction), Some(Web), None, Kind::Transaction),
        ] {
            let mut tags = tags_of_a_day();
            tags.known
                .extend(known.map(|rule| ("home".to_owned(), rule)));
            let settled = settle(&mut tags, &hit("home", draft, amount));
            assert_eq!(settled.kind, kind, "{known:?} {draft:?} {amount:?}");
            assert_eq!(
                tags.made.len(),
                usize::from(known.is_none() && draft.is_some())
            );
        }
    }

    #[test]
    fn a_tag_made_on_the_fly_holds_for_the_rest_of_the_batch() {
        let mut tags = tags_of_a_day();
        settle(
            &mut tags,
            &hit("cart", Some(PageTagKind::Transaction), None),
        );
        assert_eq!(
            settle(&mut tags, &hit("cart", None, None)).kind,
            Kind::Transaction
        );
        settle(&mut tags, &hit("cart", Some(PageTagKind::Web), None));
        assert_eq!(tags.made.len(), 1);
    }

    #[test]
    fn machines_make_no_tags() {
        let mut tags = tags_of_a_day();
        let mut crawled = hit("cart", Some(PageTagKind::Transaction), None);
        crawled.verdict = Verdict::Bot;
        assert_eq!(settle(&mut tags, &crawled).kind, Kind::Transaction);
        assert!(tags.made.is_empty());
    }

    #[test]
    fn a_hit_after_the_validity_is_suspect() {
        for (valid_until, verdict) in [(1_000, Verdict::Suspect), (1_001, Verdict::Human)] {
            let mut tags = tags_of_a_day();
            let rule = TagRule {
                kind: PageTagKind::Web,
                valid_until: Some(Micros(valid_until)),
            };
            tags.known.insert("home".to_owned(), rule);
            assert_eq!(settle(&mut tags, &hit("home", None, None)).verdict, verdict);
        }
    }

    #[test]
    fn a_day_has_its_share_of_tags_and_a_hit_beyond_it_is_still_what_it_describes() {
        let mut tags = PageTags {
            left: 1,
            ..PageTags::default()
        };
        let drafted = |tag| hit(tag, Some(PageTagKind::Transaction), None);
        assert_eq!(settle(&mut tags, &drafted("one")).reason, None);
        let beyond = settle(&mut tags, &drafted("two"));
        assert_eq!(beyond.kind, Kind::Transaction);
        assert_eq!(beyond.reason.as_deref(), Some("page tag not made"));
        assert_eq!(settle(&mut tags, &drafted("one")).reason, None);
        assert_eq!((tags.made.len(), tags.refused), (1, 1));
    }
}

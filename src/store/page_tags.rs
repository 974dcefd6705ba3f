//! Adobe's page tags: made by the API, the command line, or on the fly by the first request that
//! describes one. A row is also what people are told of it.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::{FromRow as _, Row as _};
use utoipa::ToSchema;

use super::{Bulk, Store, Tx};
use crate::model::clock::Micros;
use crate::model::draft::NewPageTag;
use crate::model::hit::PageTagKind;
use crate::model::wire;
use crate::{both, execute_bulk, fetch_bulk, from_row};

/// A page tag as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PageTag {
    /// What pages send, unique.
    pub identifier: String,
    /// Name in reports.
    pub label: String,
    /// What a hit of it is.
    pub kind: PageTagKind,
    /// Where it is listed.
    pub folder: Option<String>,
    /// The page that carries it.
    pub source_url: Option<String>,
    /// From then on its hits are suspect.
    #[serde(with = "wire::option_time")]
    pub valid_until: Option<Micros>,
    /// When it was made.
    #[serde(with = "wire::time")]
    pub created_at: Micros,
}

from_row!(PageTag, row => { identifier, label, kind, folder, source_url, valid_until, created_at });

impl PageTag {
    /// The tag that a draft makes.
    pub fn of(draft: NewPageTag, created_at: Micros) -> Self {
        Self {
            label: draft.label().to_owned(),
            identifier: draft.identifier,
            kind: draft.kind,
            folder: draft.folder,
            source_url: draft.source_url,
            valid_until: draft.valid_until,
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

/// What the projection must know about a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagRule {
    /// What a hit of it is.
    pub kind: PageTagKind,
    /// From then on its hits are suspect.
    pub valid_until: Option<Micros>,
}

from_row!(TagRule, row => { kind, valid_until });

/// How much of the daily limit for strangers was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayCount {
    /// Its first microsecond, UTC.
    pub day: Micros,
    /// What was made.
    pub used: i64,
    /// What was refused, as the daily limit was reached.
    pub refused: i64,
}

from_row!(DayCount, row => { day, used, refused });

/// Page tags, as `t`: `select_page_tags!("from page_tags t where …")`.
macro_rules! select_page_tags {
    ($from:literal) => {
        concat!(
            "select t.identifier, t.label, t.kind, t.folder, t.source_url, t.valid_until,
             t.created_at ",
            $from
        )
    };
}
pub(super) use select_page_tags;

impl Store {
    /// One tag.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn page_tag(&self, identifier: &str) -> sqlx::Result<Option<PageTag>> {
        let sql = select_page_tags!("from page_tags t where t.identifier = $1");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(identifier).fetch_optional(pool).await)
    }

    /// Tags ordered by identifier, after `after`.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn page_tags(&self, after: Option<&str>, limit: i64) -> sqlx::Result<Vec<PageTag>> {
        let sql = select_page_tags!(
            "from page_tags t where $1 is null or t.identifier > $1
             order by t.identifier limit $2"
        );
        both!(self.reader(), pool => sqlx::query_as(sql).bind(after).bind(limit).fetch_all(pool).await)
    }
}

impl Tx {
    /// Creates a tag; false if the identifier is taken.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn create_page_tag(&mut self, new: &NewPageTag, now: Micros) -> sqlx::Result<bool> {
        let made = self
            .insert_page_tags(std::slice::from_ref(new), now)
            .await?;
        Ok(made == 1)
    }

    /// Replaces all of a tag but its identifier; false if there is none.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn replace_page_tag(&mut self, new: &NewPageTag, now: Micros) -> sqlx::Result<bool> {
        let replaced = execute_bulk!(
            self,
            tag_columns(std::slice::from_ref(new), now),
            "update page_tags set label = rows.label, kind = rows.kind, folder = rows.folder,
             source_url = rows.source_url,
                                  valid_until = rows.valid_until, changed_at = rows.now
             from {rows} where page_tags.identifier = rows.identifier"
        )?;
        Ok(replaced == 1)
    }

    /// What is known of these tags.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn load_page_tags(
        &mut self,
        identifiers: &BTreeSet<&str>,
    ) -> sqlx::Result<Vec<(String, TagRule)>> {
        fetch_bulk!(
            self,
            Bulk::new().text("identifier", identifiers.iter().map(|text| (*text).to_owned())),
            "select t.identifier, t.kind, t.valid_until from {rows} join page_tags t on \
            t.identifier = rows.identifier",
            row => (row.try_get("identifier")?, TagRule::from_row(row)?)
        )
    }

    /// Creates tags; returns how many. Those that exist by now are left as they are.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn insert_page_tags(&mut self, new: &[NewPageTag], now: Micros) -> sqlx::Result<u64> {
        execute_bulk!(
            self,
            tag_columns(new, now),
            "insert into page_tags (identifier, label, kind, folder, source_url, valid_until,
             created_at, changed_at)
             select identifier, label, kind, folder, source_url, valid_until, now, now from {rows}
             where true
             on conflict (identifier) do nothing"
        )
    }

    /// What was made under a name on the day of `now`. Another server's clock may be a little
    /// behind at midnight: its day goes on then. A day that lies further ahead was written under a
    /// wrong clock and counts for nothing.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn day_count(&mut self, name: &'static str, now: Micros) -> sqlx::Result<DayCount> {
        let sql = "select day, used, refused from daily_limits where name = $1";
        let stored: Option<DayCount> =
            both!(self, c => sqlx::query_as(sql).bind(name).fetch_optional(&mut **c).await)?;
        let today = now.day();
        let tomorrow = Micros(today.0 + Micros::DAY);
        Ok(match stored {
            Some(count) if count.day == today || count.day == tomorrow => count,
            _ => DayCount {
                day: today,
                ..DayCount::default()
            },
        })
    }

    /// Records what was created on a day.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn set_day_count(
        &mut self,
        name: &'static str,
        count: &DayCount,
    ) -> sqlx::Result<()> {
        let sql = "insert into daily_limits (name, day, used, refused) values ($1, $2, $3, $4)
                   on conflict (name) do update set day = excluded.day, used = excluded.used,
                   refused = excluded.refused";
        both!(self, c => sqlx::query(sql)
            .bind(name)
            .bind(count.day)
            .bind(count.used)
            .bind(count.refused)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }
}

/// Tags as rows, and when they are written.
pub(super) fn tag_columns(tags: &[NewPageTag], now: Micros) -> Bulk {
    Bulk::new()
        .text("identifier", tags.iter().map(|tag| tag.identifier.clone()))
        .text("label", tags.iter().map(|tag| tag.label().to_owned()))
        .text("kind", tags.iter().map(|tag| tag.kind.as_str().to_owned()))
        .text_or_null("folder", tags.iter().map(|tag| tag.folder.clone()))
        .text_or_null("source_url", tags.iter().map(|tag| tag.source_url.clone()))
        .time_or_null("valid_until", tags.iter().map(|tag| tag.valid_until))
        .time("now", tags.iter().map(|_| now))
}

//! Links as servers need them for their local copies.

use sqlx::Row;

use super::Store;
use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, LinkId, Utm};
use crate::model::link::LinkRecord;

/// Turns a row of the query below into a record.
macro_rules! link_record {
    ($row:expr) => {{
        let row = $row;
        Ok::<_, sqlx::Error>(LinkRecord {
            id: LinkId(row.try_get(0)?),
            url: row.try_get(1)?,
            slug: row.try_get(2)?,
            delivery_id: row.try_get::<Option<i64>, _>(3)?.map(DeliveryId),
            category: row.try_get(4)?,
            expires_at: row.try_get::<Option<Micros>, _>(5)?,
            expiration_url: row.try_get(6)?,
            utm: Utm {
                source: row.try_get(7)?,
                medium: row.try_get(8)?,
                campaign: row.try_get(9)?,
                term: row.try_get(10)?,
                content: row.try_get(11)?,
            },
        })
    }};
}

macro_rules! select_links {
    ($rest:literal) => {
        concat!(
            "select l.id, l.url, l.slug, l.delivery_id, l.category, d.expires_at, d.expiration_url, d.utm_source, d.utm_medium, d.utm_campaign,
                    d.utm_term, d.utm_content, l.changed_at
             from links l left join deliveries d on d.id = l.delivery_id ",
            $rest
        )
    };
}

/// A place in the order of changes: time and number. Rows of one transaction share the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangePoint {
    /// When the row was changed.
    pub at: Micros,
    /// Its number.
    pub id: i64,
}

impl ChangePoint {
    /// Before everything.
    pub const START: Self = Self {
        at: Micros(0),
        id: i64::MIN,
    };
}

/// Rows that were changed at one and the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedAt {
    /// The time.
    pub at: Micros,
    /// How many.
    pub rows: i64,
    /// The greatest of their numbers.
    pub greatest: i64,
}

/// A number below all.
const LEAST: LinkId = LinkId(i64::MIN);

impl Store {
    /// Links after a point, in the order of changes, each with its own point.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn links_changed(
        &self,
        after: ChangePoint,
        limit: i64,
    ) -> sqlx::Result<Vec<(ChangePoint, LinkRecord)>> {
        let sql = select_links!(
            "where (l.changed_at, l.id) > ($1, $2) order by l.changed_at, l.id limit $3"
        );
        both!(self.reader(), pool => sqlx::query(sql).bind(after.at).bind(after.id).bind(limit).fetch_all(pool).await
            .and_then(|rows| rows.iter().map(|row| {
                let record: LinkRecord = link_record!(row)?;
                Ok((ChangePoint { at: row.try_get(12)?, id: record.id.0 }, record))
            }).collect()))
    }

    /// Links that were changed at one time, in the order of numbers, those above `after`.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn links_changed_at(
        &self,
        at: Micros,
        after: Option<LinkId>,
        limit: i64,
    ) -> sqlx::Result<Vec<LinkRecord>> {
        let sql = select_links!("where l.changed_at = $1 and l.id > $2 order by l.id limit $3");
        let after = after.unwrap_or(LEAST).0;
        both!(self.reader(), pool => sqlx::query(sql).bind(at).bind(after).bind(limit).fetch_all(pool).await
            .and_then(|rows| rows.iter().map(|row| link_record!(row)).collect()))
    }

    /// When links were changed between two times, both included, and how many each time.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link_changes(&self, from: Micros, to: Micros) -> sqlx::Result<Vec<ChangedAt>> {
        let sql = "select changed_at, count(*), max(id) from links where changed_at between $1 \
            and $2 group by changed_at";
        both!(self.reader(), pool => sqlx::query(sql).bind(from).bind(to).fetch_all(pool).await
            .and_then(|rows| rows.iter().map(|row| Ok(ChangedAt {
                at: row.try_get(0)?,
                rows: row.try_get(1)?,
                greatest: row.try_get(2)?,
            })).collect()))
    }

    /// Deliveries after a point that were changed since they were made (their expiry and campaign
    /// parameters are their links'): the links of a delivery that is new come later than itself.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn deliveries_changed(
        &self,
        after: ChangePoint,
        limit: i64,
    ) -> sqlx::Result<Vec<ChangePoint>> {
        let sql = "select changed_at, id from deliveries where (changed_at, id) > ($1, $2) and changed_at > created_at
                   order by changed_at, id limit $3";
        both!(self.reader(), pool => sqlx::query(sql).bind(after.at).bind(after.id).bind(limit).fetch_all(pool).await
            .and_then(|rows| rows.iter().map(|row| Ok(ChangePoint { at: row.try_get(0)?, id: row.try_get(1)? })).collect()))
    }

    /// The links of deliveries that were changed between two times, both included, in the order of
    /// numbers, those above `after`.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn links_of_changed(
        &self,
        from: Micros,
        to: Micros,
        after: Option<LinkId>,
        limit: i64,
    ) -> sqlx::Result<Vec<LinkRecord>> {
        let sql = select_links!(
            "where l.delivery_id in (select id from deliveries where changed_at between $1 and $2 and changed_at > created_at)
               and l.id > $3 order by l.id limit $4"
        );
        let after = after.unwrap_or(LEAST).0;
        both!(self.reader(), pool => sqlx::query(sql).bind(from).bind(to).bind(after).bind(limit).fetch_all(pool).await
            .and_then(|rows| rows.iter().map(|row| link_record!(row)).collect()))
    }

    /// When deliveries were changed between two times, both included, and how many each time.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn delivery_changes(&self, from: Micros, to: Micros) -> sqlx::Result<Vec<ChangedAt>> {
        let sql = "select changed_at, count(*), max(id) from deliveries where changed_at between $1 and $2 and changed_at > created_at
                   group by changed_at";
        both!(self.reader(), pool => sqlx::query(sql).bind(from).bind(to).fetch_all(pool).await
            .and_then(|rows| rows.iter().map(|row| Ok(ChangedAt {
                at: row.try_get(0)?,
                rows: row.try_get(1)?,
                greatest: row.try_get(2)?,
            })).collect()))
    }

    /// One link by its id.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link_by_id(&self, id: LinkId) -> sqlx::Result<Option<LinkRecord>> {
        let sql = select_links!("where l.id = $1");
        both!(self.reader(), pool => sqlx::query(sql).bind(id.0).fetch_optional(pool).await.and_then(|row| row.map(|row| link_record!(row)).transpose()))
    }

    /// One link by its slug.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link_by_slug(&self, slug: &str) -> sqlx::Result<Option<LinkRecord>> {
        let sql = select_links!("where l.slug = $1");
        both!(self.reader(), pool => sqlx::query(sql).bind(slug).fetch_optional(pool).await.and_then(|row| row.map(|row| link_record!(row)).transpose()))
    }
}

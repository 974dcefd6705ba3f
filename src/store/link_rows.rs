//! Links as servers need them for their local copies.

use super::Store;
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, LinkId, Utm};
use crate::model::link::LinkRecord;
use crate::{both, from_row};

/// A link with what its delivery says about it, and when it was changed.
struct LinkRow {
    id: LinkId,
    url: String,
    slug: Option<String>,
    delivery_id: Option<DeliveryId>,
    category: Option<String>,
    expires_at: Option<Micros>,
    expiration_url: Option<String>,
    utm: Utm,
    changed_at: Micros,
}

from_row!(LinkRow, row => {
    id, url, slug, delivery_id, category, expires_at, expiration_url, changed_at,
} {
    utm: Utm::from_row(row)?,
});

impl LinkRow {
    fn point(&self) -> ChangePoint {
        ChangePoint {
            at: self.changed_at,
            id: self.id.0,
        }
    }
}

impl From<LinkRow> for LinkRecord {
    fn from(row: LinkRow) -> Self {
        Self {
            id: row.id,
            url: row.url,
            slug: row.slug,
            delivery_id: row.delivery_id,
            category: row.category,
            expires_at: row.expires_at,
            expiration_url: row.expiration_url,
            utm: row.utm,
        }
    }
}

fn records(rows: Vec<LinkRow>) -> Vec<LinkRecord> {
    rows.into_iter().map(Into::into).collect()
}

macro_rules! select_records {
    ($rest:literal) => {
        concat!(
            "select l.id, l.url, l.slug, l.delivery_id, l.category,
                    case when l.ended_at is null then d.expires_at else l.ended_at end as expires_at,
                    case when l.ended_at is null then d.expiration_url else coalesce(l.end_url,
                    d.expiration_url) end as expiration_url,
                    d.utm_source, d.utm_medium, d.utm_campaign, d.utm_term, d.utm_content, l.changed_at
             from links l left join deliveries d on d.id = l.delivery_id ",
            $rest
        )
    };
}

/// A position in the order of changes: time and number. Rows of one transaction share the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangePoint {
    /// When the row was changed.
    pub at: Micros,
    /// Its number.
    pub id: i64,
}

from_row!(ChangePoint, row => { id } { at: row.try_get("changed_at")? });

impl ChangePoint {
    /// Before everything.
    pub const START: Self = Self {
        at: Micros(0),
        id: i64::MIN,
    };
}

/// Rows that were changed at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedAt {
    /// The time.
    pub at: Micros,
    /// How many.
    pub rows: i64,
    /// The greatest of their numbers.
    pub greatest: i64,
}

from_row!(ChangedAt, row => {
    greatest,
} {
    at: row.try_get("changed_at")?,
    rows: row.try_get("row_count")?,
});

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
        let sql = select_records!(
            "where (l.changed_at, l.id) > ($1, $2) order by l.changed_at, l.id limit $3"
        );
        let rows: Vec<LinkRow> = both!(self.reader(), pool => sqlx::query_as(sql).bind(after.at).bind(after.id).bind(limit).fetch_all(pool).await)?;
        Ok(rows
            .into_iter()
            .map(|row| (row.point(), row.into()))
            .collect())
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
        // In the order of the index, which no statistics can talk the planner out of.
        let sql = select_records!(
            "where (l.changed_at, l.id) > ($1, $2) and l.changed_at <= $1
             order by l.changed_at, l.id limit $3"
        );
        let after = after.unwrap_or(LEAST);
        both!(self.reader(), pool => sqlx::query_as(sql).bind(at).bind(after).bind(limit).fetch_all(pool).await)
            .map(records)
    }

    /// When links were changed between two times, both included, and how many each time.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link_changes(&self, from: Micros, to: Micros) -> sqlx::Result<Vec<ChangedAt>> {
        let sql = "select changed_at, count(*) as row_count, max(id) as greatest from links
                   where changed_at between $1 and $2 group by changed_at";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(from).bind(to).fetch_all(pool).await)
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
        let sql = "select changed_at, id from deliveries where (changed_at, id) > ($1, $2)
                   and changed_at > created_at
                   order by changed_at, id limit $3";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(after.at).bind(after.id).bind(limit).fetch_all(pool).await)
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
        let sql = select_records!(
            "where l.delivery_id in (select id from deliveries where changed_at between $1 and $2
             and changed_at > created_at)
               and l.id > $3 order by l.id limit $4"
        );
        let after = after.unwrap_or(LEAST);
        both!(self.reader(), pool => sqlx::query_as(sql).bind(from).bind(to).bind(after).bind(limit).fetch_all(pool).await)
            .map(records)
    }

    /// When deliveries were changed between two times, both included, and how many each time.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn delivery_changes(&self, from: Micros, to: Micros) -> sqlx::Result<Vec<ChangedAt>> {
        let sql = "select changed_at, count(*) as row_count, max(id) as greatest from deliveries
                   where changed_at between $1 and $2 and changed_at > created_at
                   group by changed_at";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(from).bind(to).fetch_all(pool).await)
    }

    /// One link by its id.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link_by_id(&self, id: LinkId) -> sqlx::Result<Option<LinkRecord>> {
        let sql = select_records!("where l.id = $1");
        let row: Option<LinkRow> =
            both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)?;
        Ok(row.map(Into::into))
    }

    /// One link by its slug.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link_by_slug(&self, slug: &str) -> sqlx::Result<Option<LinkRecord>> {
        let sql = select_records!("where l.slug = $1");
        let row: Option<LinkRow> = both!(self.reader(), pool => sqlx::query_as(sql).bind(slug).fetch_optional(pool).await)?;
        Ok(row.map(Into::into))
    }
}

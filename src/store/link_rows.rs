//! Links as servers need them for their local copies.

use sqlx::Row;

use super::Store;
use crate::both;
use crate::clock::Micros;
use crate::hit::{DeliveryId, LinkId, Utm};
use crate::link::LinkRecord;

/// Turns a row of the query below into a record.
macro_rules! link_record {
    ($row:expr) => {{
        let row = $row;
        Ok(LinkRecord {
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
                    d.utm_term, d.utm_content
             from links l left join deliveries d on d.id = l.delivery_id ",
            $rest
        )
    };
}

impl Store {
    /// Links with ids above `after` whose own row or whose delivery changed at `since` or later, in the order of ids.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn links_changed(
        &self,
        since: Micros,
        after: LinkId,
        limit: i64,
    ) -> sqlx::Result<Vec<LinkRecord>> {
        let sql = select_links!(
            "where (l.changed_at >= $1 or d.changed_at >= $1) and l.id > $2 order by l.id limit $3"
        );
        both!(self.reader(), pool => sqlx::query(sql).bind(since).bind(after.0).bind(limit).fetch_all(pool).await
            .and_then(|rows| rows.iter().map(|row| link_record!(row)).collect()))
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

//! Links as operators look for, change and end them, and what was changed: who, when, and the
//! fields before and after.
//!
//! A link that an email holds is never removed.

use serde_json::{Map, Value};
use sqlx::types::Json;

use super::deliveries::{Link, select_links};
use super::scan::{Part, Wanted, comparable, scan, stands_in};
use super::{Bulk, Either, Store, Tx};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Kind, LinkId};
use crate::model::link::kind_of;
use crate::{both, execute_bulk, from_row};

/// Which links. All by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFilter {
    /// Of one delivery.
    pub delivery: Option<DeliveryId>,
    /// With this slug.
    pub slug: Option<String>,
    /// What a click on them is.
    pub kind: Option<Kind>,
    /// Whether they have been ended.
    pub is_ended: Option<bool>,
    /// Contained in the destination, the name or the slug, ignoring case; or equal to the id.
    pub text: Option<String>,
}

impl LinkFilter {
    fn takes(&self, link: &Link, wanted: Option<&str>) -> bool {
        let kind = kind_of(link.category.as_deref());
        let is_ended = link.ended_at.is_some();
        self.kind.is_none_or(|wanted| kind == wanted)
            && self.is_ended.is_none_or(|wanted| is_ended == wanted)
            && wanted.is_none_or(|wanted| {
                let texts = [Some(&link.url), link.label.as_ref(), link.slug.as_ref()];
                stands_in(wanted, texts) || link.id.0.to_string() == wanted
            })
    }

    /// Whether an index knows which match.
    fn is_by_index(&self) -> bool {
        self.kind.is_none() && self.is_ended.is_none() && self.text.is_none()
    }
}

/// What was changed of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkChange {
    /// From 1 on for each link.
    pub number: i64,
    /// When.
    pub changed_at: Micros,
    /// `admin`, `import`, or whose token it was.
    pub changed_by: String,
    /// The changed fields, before.
    pub was: Value,
    /// And after.
    pub became: Value,
}

from_row!(LinkChange, row => { number, changed_at, changed_by } {
    was: row.try_get::<Json<Value>, _>("was")?.0,
    became: row.try_get::<Json<Value>, _>("became")?.0,
});

/// The changed fields, before and after; `None` if nothing changed.
pub fn difference(was: &Link, became: &Link) -> Option<(Value, Value)> {
    let (mut old, mut new) = (Map::new(), Map::new());
    let fields = |link: &Link| {
        [
            ("url", Value::from(link.url.clone())),
            ("label", Value::from(link.label.clone())),
            ("category", Value::from(link.category.clone())),
            (
                "ended_at",
                Value::from(link.ended_at.map(|at| at.rfc3339())),
            ),
            ("end_url", Value::from(link.end_url.clone())),
        ]
    };
    for ((name, before), (_, after)) in fields(was).into_iter().zip(fields(became)) {
        if before != after {
            old.insert(name.to_owned(), before);
            new.insert(name.to_owned(), after);
        }
    }
    (!old.is_empty()).then_some((Value::Object(old), Value::Object(new)))
}

impl Store {
    /// One link.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link(&self, id: LinkId) -> sqlx::Result<Option<Link>> {
        let sql = select_links!("from links l where l.id = $1");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)
    }

    /// Links by falling ids.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn list_links(
        &self,
        filter: &LinkFilter,
        wanted: Wanted,
    ) -> sqlx::Result<Part<Link>> {
        let text = comparable(filter.text.as_deref());
        scan(
            wanted,
            filter.is_by_index(),
            |until, rows| self.links_until(filter, until, rows),
            |link| link.id.0,
            |link| filter.takes(link, text.as_deref()),
        )
        .await
    }

    /// Links up to a number by falling ids, each text for the index that it goes by.
    async fn links_until(
        &self,
        filter: &LinkFilter,
        until: i64,
        rows: i64,
    ) -> sqlx::Result<Vec<Link>> {
        match (&filter.slug, filter.delivery) {
            (Some(slug), delivery) => {
                let sql = select_links!(
                    "from links l where l.slug = $1 and l.id <= $2
                     and ($3 is null or l.delivery_id = $3) limit $4"
                );
                both!(self.reader(), pool => sqlx::query_as(sql).bind(slug).bind(until).bind(delivery).bind(rows).fetch_all(pool).await)
            }
            (None, Some(delivery)) => {
                let sql = select_links!(
                    "from links l where l.delivery_id = $1 and l.id <= $2
                     order by l.delivery_id desc, l.id desc limit $3"
                );
                both!(self.reader(), pool => sqlx::query_as(sql).bind(delivery).bind(until).bind(rows).fetch_all(pool).await)
            }
            (None, None) => {
                let sql =
                    select_links!("from links l where l.id <= $1 order by l.id desc limit $2");
                both!(self.reader(), pool => sqlx::query_as(sql).bind(until).bind(rows).fetch_all(pool).await)
            }
        }
    }

    /// The changes of a link, latest first, below the change `before`.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn link_history(
        &self,
        id: LinkId,
        before: Option<i64>,
        limit: i64,
    ) -> sqlx::Result<Vec<LinkChange>> {
        let sql = "select number, changed_at, changed_by, was, became from link_changes
                   where link_id = $1 and number < $2 order by number desc limit $3";
        let before = before.unwrap_or(i64::MAX);
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).bind(before).bind(limit).fetch_all(pool).await)
    }
}

impl Tx {
    /// A link, locked for a change until this transaction ends.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn link_to_change(&mut self, id: LinkId) -> sqlx::Result<Option<Link>> {
        let sql = match self {
            Either::Postgres(_) => select_links!("from links l where l.id = $1 for update"),
            // A transaction that writes is alone.
            Either::Sqlite(_) => select_links!("from links l where l.id = $1"),
        };
        both!(self, c => sqlx::query_as(sql).bind(id).fetch_optional(&mut **c).await)
    }

    /// Writes a changed link.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn change_link(&mut self, link: &Link, now: Micros) -> sqlx::Result<()> {
        let sql = "update links set url = $2, label = $3, category = $4, ended_at = $5, \
            end_url = $6, changed_at = $7 where id = $1";
        both!(self, c => sqlx::query(sql)
            .bind(link.id)
            .bind(&link.url)
            .bind(&link.label)
            .bind(&link.category)
            .bind(link.ended_at)
            .bind(&link.end_url)
            .bind(now)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Records changes: each link before and after, no link twice. Call it after the change itself,
    /// which keeps others from the same link.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn note_link_changes(
        &mut self,
        changes: &[(Link, Link)],
        by: &str,
        now: Micros,
    ) -> sqlx::Result<()> {
        let changes: Vec<_> = changes
            .iter()
            .filter_map(|(was, became)| Some((was.id.0, difference(was, became)?)))
            .collect();
        let of = || changes.iter();
        execute_bulk!(
            self,
            Bulk::new()
                .big("link_id", of().map(|(id, _)| *id))
                .json("was", of().map(|(_, (was, _))| was.to_string()))
                .json("became", of().map(|(_, (_, became))| became.to_string()))
                .text("changed_by", of().map(|_| by.to_owned()))
                .time("now", of().map(|_| now)),
            "insert into link_changes (link_id, number, changed_at, changed_by, was, became)
             select link_id, coalesce((select max(c.number) from link_changes c
             where c.link_id = rows.link_id), 0) + 1, now, changed_by,
                    was, became
             from {rows} where true"
        )
        .map(|_| ())
    }
}

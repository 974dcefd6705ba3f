//! Ids that were asked for and that nothing has.

use super::{Bulk, Either, Store};
use crate::model::clock::Micros;
use crate::model::orphan::{Orphan, OrphanKind};
use crate::{both, execute_bulk, from_row};

/// Ids that are told apart. Whoever guesses slugs asks for as many as they like: those that were
/// asked for least go together.
pub const MOST: i64 = 10_000;

/// How often an id was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedFor {
    /// Requests.
    pub asked: i64,
    /// The first of them.
    pub first_at: Micros,
    /// The last of them.
    pub last_at: Micros,
    /// The host that the last of them that named one came from.
    pub referrer: Option<String>,
}

/// An id that nothing has, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanRow {
    /// [`OrphanKind::as_str`]
    pub kind: String,
    /// What was asked for.
    pub id: String,
    /// How often.
    pub of: AskedFor,
}

from_row!(OrphanRow, row => { kind, id } {
    of: AskedFor {
        asked: row.try_get("asked")?,
        first_at: row.try_get("first_at")?,
        last_at: row.try_get("last_at")?,
        referrer: row.try_get("referrer")?,
    },
});

impl Store {
    /// Those that were asked for most, first; behind a count, a kind and an id.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn orphans(
        &self,
        kind: Option<OrphanKind>,
        after: Option<&(i64, String, String)>,
        limit: i64,
    ) -> sqlx::Result<Vec<OrphanRow>> {
        let sql = "select kind, id, asked, first_at, last_at, referrer from orphans
                   where ($1 is null or kind = $1)
                     and (asked < $2 or (asked = $2 and (kind, id) > ($3, $4)))
                   order by asked desc, kind, id limit $5";
        let kind = kind.map(OrphanKind::as_str);
        let (asked, of_kind, id) = match after {
            Some((asked, kind, id)) => (*asked, kind.as_str(), id.as_str()),
            None => (i64::MAX, "", ""),
        };
        both!(self.reader(), pool => sqlx::query_as(sql).bind(kind).bind(asked).bind(of_kind).bind(id).bind(limit)
            .fetch_all(pool).await)
    }

    /// Adds what a server has counted.
    ///
    /// # Errors
    /// The database refuses; then nothing is added.
    pub async fn add_orphans(&self, counted: &[(Orphan, AskedFor)]) -> sqlx::Result<()> {
        // In one order, so that two servers do not wait for each other.
        let mut sorted: Vec<&(Orphan, AskedFor)> = counted.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let (names, of) = (
            || sorted.iter().map(|(orphan, _)| orphan),
            || sorted.iter().map(|(_, of)| of),
        );
        let mut tx = self.begin().await?;
        execute_bulk!(
            &mut tx,
            Bulk::new()
                .text("kind", names().map(|name| name.kind.as_str().to_owned()))
                .text("id", names().map(|name| name.id.clone()))
                .big("asked", of().map(|of| of.asked))
                .time("first_at", of().map(|of| of.first_at))
                .time("last_at", of().map(|of| of.last_at))
                .text_or_null("referrer", of().map(|of| of.referrer.clone())),
            "insert into orphans (kind, id, asked, first_at, last_at, referrer)
             select kind, id, asked, first_at, last_at, referrer from {rows} where true
             on conflict (kind, id) do update set asked = orphans.asked + excluded.asked,
                 last_at = excluded.last_at, referrer = coalesce(excluded.referrer,
                 orphans.referrer)"
        )?;
        let sql = "select count(*) from orphans";
        let rows: i64 = both!(&mut tx, c => sqlx::query_scalar(sql).fetch_one(&mut **c).await)?;
        if rows > MOST {
            // Some more than there must be, so that it is not done again each time.
            let least = rows - MOST + MOST / 10;
            let others = Orphan::others();
            let gone = match &mut tx {
                // Another server may be at the same rows: what it has is left to it.
                Either::Postgres(_) => {
                    "delete from orphans where ctid = any (array(select ctid from orphans
                     where kind <> $1
                       order by asked, last_at limit $2 for update skip locked)) returning asked,
                       first_at, last_at"
                }
                Either::Sqlite(_) => {
                    "delete from orphans where (kind, id) in (select kind, id from orphans
                     where kind <> $1
                       order by asked, last_at limit $2) returning asked, first_at, last_at"
                }
            };
            let gone: Vec<(i64, Micros, Micros)> = both!(&mut tx, c => sqlx::query_as(gone)
                .bind(others.kind.as_str()).bind(least).fetch_all(&mut **c).await)?;
            let asked: i64 = gone.iter().map(|row| row.0).sum();
            let first = gone.iter().map(|row| row.1).min();
            let last = gone.iter().map(|row| row.2).max();
            let sql = "insert into orphans (kind, id, asked, first_at, last_at) values ($1, $2, $3,
                       $4, $5)
                       on conflict (kind, id) do update set asked = orphans.asked + excluded.asked,
                         last_at = case when orphans.last_at > excluded.last_at then orphans.last_at else excluded.last_at end";
            both!(&mut tx, c => sqlx::query(sql).bind(others.kind.as_str()).bind(&others.id).bind(asked)
                .bind(first).bind(last).execute(&mut **c).await.map(|_| ()))?;
        }
        tx.commit().await
    }
}

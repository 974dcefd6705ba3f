//! Sketches of visitors made anew from their hits, where visitors were taken back: a sketch takes
//! nobody back.
//!
//! The hits are read in portions without holding anybody up; those that came meanwhile are read in
//! the turn in which the sketches are written. Until then a half hour may say too many. Whoever
//! takes another visitor back meanwhile, or brings one back, marks the half hour again, and it is
//! made again.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;
use uuid::Uuid;

use super::figures::Visitors;
use super::{Bulk, Store, Tx};
use crate::model::clock::Micros;
use crate::model::hit::{Dialect, Hit, HitId, Kind, VisitorId};
use crate::model::site::DEFAULT_SITE;
use crate::{both, execute_bulk, fetch_bulk, from_row};

/// Half hours at a time.
const MOST: i64 = 100;
/// Hits read at a time.
const PAGE: i64 = 10_000;
/// How far apart half hours are made together: their hits are read in one go.
const TOGETHER: i64 = Micros::DAY;
/// A hit counts at most so long before it came.
const LATE: i64 = 7 * Micros::DAY;

type Key = (Micros, String);

struct Mark {
    at: Micros,
    site: String,
    marks: i64,
}

from_row!(Mark, row => { at, site, marks });

struct Visit {
    seq: i64,
    received_at: Micros,
    occurred_at: Option<Micros>,
    site: String,
    visitor_id: Uuid,
}

from_row!(Visit, row => { seq, received_at, occurred_at, site, visitor_id });

/// Sketches in the making.
struct Making {
    of: BTreeMap<Key, Visitors>,
    from: Micros,
    to: Micros,
    /// Sites with a name of their own in figures.
    named: BTreeSet<String>,
}

impl Making {
    fn add(&mut self, visit: &Visit) {
        let id = HitId(Uuid::nil());
        let mut hit = Hit::new(id, visit.received_at, Kind::Pageview, Dialect::Native);
        hit.occurred_at = visit.occurred_at;
        let is_named = visit.site == DEFAULT_SITE || self.named.contains(&visit.site);
        let site = if is_named {
            visit.site.clone()
        } else {
            String::new()
        };
        if let Some(visitors) = self.of.get_mut(&(hit.counted_at().half_hour(), site)) {
            visitors.add(VisitorId(visit.visitor_id));
        }
    }
}

/// Sketches that were made anew and are to be written.
pub(crate) struct Renewal {
    marks: Vec<Mark>,
    making: Making,
    /// The last hit that was read.
    until: i64,
}

const VISITS: &str = "select seq, received_at, occurred_at, site, visitor_id from hits
    where seq > $1 and seq <= $2 and received_at >= $3 and received_at < $4
      and (received_at < $5 or occurred_at is not null)
      and visitor_id is not null and verdict in ('human', 'suspect')
    order by seq limit $6";

impl Store {
    /// Makes sketches anew that have visitors which were taken back; returns how many.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn renew_sketches(&self) -> sqlx::Result<u64> {
        let mut renewed = 0;
        while let Some(renewal) = self.read_stale().await? {
            renewed += self.write_renewed(renewal).await?;
        }
        Ok(renewed)
    }

    /// Makes some of the sketches anew, and writes nothing yet; `None` where there are none to
    /// make.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn read_stale(&self) -> sqlx::Result<Option<Renewal>> {
        let sql = "select at, site, marks from stale_sketches order by at, site limit $1";
        let mut marks: Vec<Mark> = both!(self.reader(), pool => {
            sqlx::query_as(sql).bind(MOST).fetch_all(pool).await?
        });
        let Some(first) = marks.first().map(|mark| mark.at) else {
            return Ok(None);
        };
        marks.retain(|mark| mark.at.0 - first.0 < TOGETHER);
        let until = self.last_seq().await?;
        let times = || marks.iter().map(|mark| mark.at);
        let sql = "select site from counted_sites";
        let named: Vec<String> =
            both!(self.reader(), pool => sqlx::query_scalar(sql).fetch_all(pool).await?);
        let mut making = Making {
            of: marks
                .iter()
                .map(|mark| ((mark.at, mark.site.clone()), Visitors::default()))
                .collect(),
            from: times().min().unwrap_or_default(),
            to: Micros(times().max().unwrap_or_default().0 + Micros::HOUR / 2),
            named: named.into_iter().collect(),
        };
        let mut after = 0;
        loop {
            let (from, to) = (making.from, making.to);
            let page: Vec<Visit> = both!(self.reader(), pool => sqlx::query_as(VISITS)
                .bind(after)
                .bind(until)
                .bind(from)
                .bind(Micros(to.0 + LATE))
                .bind(to)
                .bind(PAGE)
                .fetch_all(pool)
                .await?);
            page.iter().for_each(|visit| making.add(visit));
            match page.last() {
                Some(last) => after = last.seq,
                None => break,
            }
        }
        Ok(Some(Renewal {
            marks,
            making,
            until,
        }))
    }

    /// Writes sketches that were made anew, with the hits that came meanwhile; returns how many.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn write_renewed(&self, renewal: Renewal) -> sqlx::Result<u64> {
        let mut tx = self.begin_turn().await?;
        let renewed = tx.write_sketches(renewal).await?;
        tx.commit().await?;
        Ok(renewed)
    }
}

impl Tx {
    async fn write_sketches(&mut self, renewal: Renewal) -> sqlx::Result<u64> {
        let Renewal {
            marks,
            mut making,
            until,
        } = renewal;
        let (from, to) = (making.from, making.to);
        let new: Vec<Visit> = both!(&mut *self, c => sqlx::query_as(VISITS)
            .bind(until)
            .bind(i64::MAX)
            .bind(from)
            .bind(Micros(to.0 + LATE))
            .bind(to)
            .bind(i64::MAX)
            .fetch_all(&mut **c)
            .await?);
        new.iter().for_each(|visit| making.add(visit));
        let now: Vec<Mark> = fetch_bulk!(
            &mut *self,
            Bulk::new()
                .time("at", marks.iter().map(|mark| mark.at))
                .text("site", marks.iter().map(|mark| mark.site.clone())),
            "select s.at, s.site, s.marks from {rows} join stale_sketches s on s.at = rows.at
             and s.site = rows.site",
            row => Mark {
                at: row.try_get("at")?,
                site: row.try_get("site")?,
                marks: row.try_get("marks")?,
            }
        )?;
        let now: BTreeMap<Key, i64> = now
            .into_iter()
            .map(|mark| ((mark.at, mark.site), mark.marks))
            .collect();
        let made: Vec<(Key, Vec<u8>)> = marks
            .iter()
            .map(|mark| ((mark.at, mark.site.clone()), mark.marks))
            // Marked again: somebody was taken back, or brought back, after his hits were read.
            .filter(|(key, marks)| now.get(key) == Some(marks))
            .filter_map(|(key, _)| {
                let sketch = making.of.get(&key)?.sketch();
                Some((key, sketch))
            })
            .collect();
        let keys = || {
            Bulk::new()
                .time("at", made.iter().map(|(key, _)| key.0))
                .text("site", made.iter().map(|(key, _)| key.1.clone()))
        };
        execute_bulk!(
            &mut *self,
            keys().bytes("sketch", made.iter().map(|(_, sketch)| sketch.clone())),
            "insert into visitor_sketches (at, site, sketch) select at, site, sketch from {rows}
             where true
             on conflict (at, site) do update set sketch = excluded.sketch"
        )?;
        execute_bulk!(
            self,
            keys(),
            "delete from stale_sketches where (at, site) in (select rows.at, rows.site from {rows})"
        )
        .map(|_| made.len() as u64)
    }
}

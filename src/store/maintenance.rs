//! Positions of spools, quarantine and months.

use time::{Date, Month};
use uuid::Uuid;

use super::{Bulk, Store, Tx, Writes};
use crate::model::clock::Micros;
use crate::{both, from_row};

/// A record that the database refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its id.
    pub id: Uuid,
    /// The spool it came from, and the group in it.
    pub spool_id: Uuid,
    /// Group.
    pub position: i64,
    /// When it was put aside.
    pub quarantined_at: Micros,
    /// The error of the database or the decoder.
    pub reason: String,
    /// The frame as it was in the spool, without its length.
    pub body: Vec<u8>,
}

from_row!(Quarantined, row => { id, spool_id, position, quarantined_at, reason, body });

/// A month of hits, one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionMonth {
    year: i32,
    month: u8,
}

impl PartitionMonth {
    /// The month of a time.
    pub fn of(at: Micros) -> Self {
        let date = at.date_time().date();
        Self {
            year: date.year(),
            month: date.month() as u8,
        }
    }

    /// The month of `2026-01`.
    pub(super) fn parse(text: &str) -> Self {
        Self::of(Micros::parse_rfc3339(&format!("{text}-01T00:00:00Z")).unwrap_or_default())
    }

    /// `months` later (or earlier).
    pub fn plus(self, months: i32) -> Self {
        let index = self.year * 12 + i32::from(self.month) - 1 + months;
        Self {
            year: index.div_euclid(12),
            month: (index.rem_euclid(12) + 1) as u8,
        }
    }

    pub(super) fn name(self) -> String {
        format!("hits_{:04}_{:02}", self.year, self.month)
    }

    /// Its first moment.
    pub(super) fn start_time(self) -> Micros {
        Micros::parse_rfc3339(&format!("{}T00:00:00Z", self.start())).unwrap_or_default()
    }

    pub(super) fn start(self) -> String {
        let month = Month::try_from(self.month).unwrap_or(Month::January);
        Date::from_calendar_date(self.year, month, 1)
            .map(|date| format!("{date}"))
            .unwrap_or_default()
    }
}

/// How far the database has read a spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolPlace {
    /// The last group that it has.
    pub position: i64,
    /// The start of a server that moved it there; `None` for an earlier version.
    pub start_id: Option<Uuid>,
}

from_row!(SpoolPlace, row => { position, start_id });

impl Tx {
    /// How far the database has read a spool. Nobody else moves it until this transaction ends: a
    /// server that was killed may have left a session that is just committing, and that is waited
    /// for.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn hold_place(&mut self, spool_id: Uuid, now: Micros) -> sqlx::Result<SpoolPlace> {
        match self {
            Tx::Postgres(c) => {
                // Also where there is none yet: two that begin one would not see each other.
                let sql = "insert into spool_positions (spool_id, position, changed_at) values ($1,
                           0, $2)
                           on conflict (spool_id) do update set position = spool_positions.position
                           returning position, start_id";
                let query = sqlx::query_as(sql).bind(spool_id).bind(now);
                query.fetch_one(&mut **c).await
            }
            Tx::Sqlite(c) => {
                let sql = "select position, start_id from spool_positions where spool_id = $1";
                let place = sqlx::query_as(sql).bind(spool_id).fetch_optional(&mut **c);
                Ok(place.await?.unwrap_or_default())
            }
        }
    }

    /// Advances the position.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn set_place(
        &mut self,
        spool_id: Uuid,
        place: SpoolPlace,
        now: Micros,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let row = Bulk::new()
            .uuid("spool_id", [spool_id])
            .big("position", [place.position])
            .time("changed_at", [now])
            .uuid_or_null("start_id", [place.start_id]);
        let sql = "insert into spool_positions (spool_id, position, changed_at, start_id)
                   select spool_id, position, changed_at, start_id from {rows} where true
                   on conflict (spool_id) do update set position = excluded.position,
                       changed_at = excluded.changed_at, start_id = excluded.start_id";
        writes.add(self, row, sql).await
    }

    /// Quarantines a record.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn quarantine(&mut self, record: &Quarantined) -> sqlx::Result<()> {
        let sql = "insert into quarantine (id, spool_id, position, quarantined_at, reason, body) \
            values ($1, $2, $3, $4, $5, $6)";
        both!(self, c => sqlx::query(sql)
            .bind(record.id)
            .bind(record.spool_id)
            .bind(record.position)
            .bind(record.quarantined_at)
            .bind(&record.reason)
            .bind(&record.body)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Takes a record out of the quarantine.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn remove_quarantined(&mut self, id: Uuid) -> sqlx::Result<()> {
        both!(self, c => sqlx::query("delete from quarantine where id = \
            $1").bind(id).execute(&mut **c).await.map(|_| ()))
    }
}

impl Store {
    /// Records in quarantine, newest first; one where `id` is given.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn quarantined(
        &self,
        id: Option<Uuid>,
        limit: i64,
    ) -> sqlx::Result<Vec<Quarantined>> {
        let sql = "select id, spool_id, position, quarantined_at, reason, body from quarantine
                   where $1 is null or id = $1 order by quarantined_at desc, id limit $2";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).bind(limit).fetch_all(pool).await)
    }
}

//! Persons that are erased: who is, what is left to do, and by what late hits are known.
//!
//! An erasure begins in one transaction: the contact goes, with its keys, browsers, fields and
//! tags, and digests of all that named it are kept (`erased`), so that hits which are still in a
//! spool, and clicks that come for years, are known (a digest says no name). What
//! is left to do stands in `erasing_…` and is done in portions, each of which is the whole of its
//! rows: ended in the middle, it goes on where it was.
//!
//! Ids get stand-ins, which mean nobody: figures count persons, and go on to count as many.

mod hits;
mod marks;
mod rest;
mod work;

use uuid::Uuid;

use super::{Bulk, Either, Store, Tx};
use crate::model::clock::Micros;
use crate::model::hit::ContactId;
use crate::store::persons::Person;
use crate::{both, execute_bulk, from_row};

pub use marks::{KnownMarks, MarkKind, Marks};

/// A receipt: what an erasure has done so far. It does not say whose it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: Uuid,
    /// When it was asked for.
    pub begun_at: Micros,
    /// When everything was done; `None`: not yet.
    pub ended_at: Option<Micros>,
    /// Who asked.
    pub asked_by: String,
    /// Browsers.
    pub visitors: i64,
    /// Messages that were sent to it.
    pub messages: i64,
    /// Hits.
    pub hits: i64,
    /// Orders by their numbers.
    pub orders: i64,
    /// Records in quarantine.
    pub quarantined: i64,
    /// Other rows: answers that were kept, names of messages, what asked for unknown links.
    pub others: i64,
}

from_row!(Erasure, row => {
    id, begun_at, ended_at, asked_by, visitors, messages, hits, orders, quarantined, others,
});

/// What an erasure has done more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) visitors: i64,
    pub(crate) messages: i64,
    pub(crate) hits: i64,
    pub(crate) orders: i64,
    pub(crate) quarantined: i64,
    pub(crate) others: i64,
}

macro_rules! columns {
    () => {
        "id, begun_at, ended_at, asked_by, visitors, messages, hits, orders, quarantined, others"
    };
}

impl Store {
    /// Begins to erase a person. `new_id` makes ids. `None`: there is nobody of that id any more.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn begin_erasure(
        &self,
        person: Person,
        asked_by: &str,
        now: Micros,
        mut new_id: impl FnMut() -> Uuid + Send,
    ) -> sqlx::Result<Option<Erasure>> {
        // Nobody decides by what is about to go.
        let mut tx = self.begin_lane().await?;
        let (contacts, visitors, values) = match person {
            Person::Contact(id) => {
                let sql = "select id from contacts where id = $1 or merged_into = $1";
                let contacts: Vec<Uuid> = both!(&mut tx, c => {
                    sqlx::query_scalar(sql).bind(id).fetch_all(&mut **c).await?
                });
                if contacts.is_empty() {
                    tx.rollback().await?;
                    return Ok(None);
                }
                let (visitors, values) = tx.names_of(id).await?;
                (contacts, visitors, values)
            }
            Person::Anonymous(id) => (Vec::new(), vec![id.0], Vec::new()),
        };
        let erasure = Erasure {
            id: new_id(),
            begun_at: now,
            ended_at: None,
            asked_by: asked_by.to_owned(),
            visitors: visitors.len() as i64,
            messages: 0,
            hits: 0,
            orders: 0,
            quarantined: 0,
            others: 0,
        };
        let sql = "insert into erasures (id, begun_at, asked_by, visitors) values ($1, $2, $3, $4)";
        both!(&mut tx, c => sqlx::query(sql).bind(erasure.id).bind(now).bind(asked_by)
            .bind(erasure.visitors).execute(&mut **c).await.map(|_| ())?);
        let secret = [new_id(), new_id()];
        let mut marks = tx.new_marks(erasure.id, secret).await?;
        for contact in &contacts {
            marks.add(MarkKind::Contact, contact.as_bytes(), None);
        }
        for visitor in &visitors {
            marks.add(MarkKind::Visitor, visitor.as_bytes(), None);
        }
        for (field, value) in &values {
            // Who comes again under the same name from now on is welcome.
            marks.add_value(field, value, now);
        }
        tx.save_marks(marks).await?;
        let stand_ins: Vec<Uuid> = visitors.iter().map(|_| new_id()).collect();
        let all = || contacts.iter().chain(&visitors);
        let of_contacts = contacts.iter().map(|_| None);
        execute_bulk!(
            &mut tx,
            Bulk::new()
                .uuid("id", all().copied())
                .uuid("erasure_id", all().map(|_| erasure.id))
                .uuid_or_null(
                    "stand_in",
                    of_contacts.chain(stand_ins.into_iter().map(Some))
                ),
            "insert into erasing_ids (id, erasure_id, stand_in, is_shared)
             select id, erasure_id, stand_in, 0 from {rows} where true
             on conflict (id) do nothing"
        )?;
        let mut texts: Vec<String> = values.into_iter().map(|(_, value)| value).collect();
        texts.extend(all().map(Uuid::to_string));
        texts.sort();
        texts.dedup();
        execute_bulk!(
            &mut tx,
            Bulk::new()
                .uuid("erasure_id", texts.iter().map(|_| erasure.id))
                .text("value", texts),
            "insert into erasing_values (erasure_id, value) select erasure_id, value from {rows}"
        )?;
        tx.delete_person(&contacts, &visitors).await?;
        tx.note_merges().await?;
        tx.commit().await?;
        Ok(Some(erasure))
    }

    /// A receipt.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn erasure(&self, id: Uuid) -> sqlx::Result<Option<Erasure>> {
        let sql = concat!("select ", columns!(), " from erasures where id = $1");
        both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)
    }

    /// The receipt of the person that had an id.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn erasure_of(&self, id: Uuid) -> sqlx::Result<Option<Erasure>> {
        let sql = "select secret, number from erasure_marks";
        let secret: Option<(Vec<u8>, i64)> =
            both!(self.reader(), pool => sqlx::query_as(sql).fetch_optional(pool).await?);
        let Some((secret, _)) = secret else {
            return Ok(None);
        };
        for kind in [MarkKind::Contact, MarkKind::Visitor] {
            let digest = marks::digest(&secret, kind, id.as_bytes());
            let sql = concat!(
                "select ",
                columns!(),
                " from erasures where id = (select e.erasure_id from erased e where e.digest = $1)"
            );
            let found: Option<Erasure> = both!(self.reader(), pool => {
                sqlx::query_as(sql).bind(&digest[..]).fetch_optional(pool).await?
            });
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Receipts, the newest first, from behind one on.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn erasures_before(
        &self,
        before: Option<(Micros, Uuid)>,
        limit: i64,
    ) -> sqlx::Result<Vec<Erasure>> {
        let (at, id) = before.unwrap_or((Micros(i64::MAX / 2), Uuid::max()));
        let sql = concat!(
            "select ",
            columns!(),
            " from erasures where (begun_at, id) < ($1, $2) order by begun_at desc, id desc
             limit $3"
        );
        // Postgres' times end earlier.
        let at = Micros(at.0.min(LAST_TIME));
        both!(self.reader(), pool => {
            sqlx::query_as(sql).bind(at).bind(id).bind(limit).fetch_all(pool).await
        })
    }

    /// Erasures that are not done yet.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn open_erasures(&self) -> sqlx::Result<Vec<Uuid>> {
        let sql = "select id from erasures where ended_at is null order by begun_at, id";
        both!(self.reader(), pool => sqlx::query_scalar(sql).fetch_all(pool).await)
    }

    /// When an erasure ended last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn last_erasure(&self) -> sqlx::Result<Option<Micros>> {
        let sql = "select max(ended_at) from erasures";
        both!(self.reader(), pool => sqlx::query_scalar(sql).fetch_one(pool).await)
    }

    /// Empties SQLite's journal, in which what was deleted still stands; it is tried for a while,
    /// since readers may keep it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn scrub(&self) -> sqlx::Result<()> {
        let Either::Sqlite(pool) = self.writer() else {
            return Ok(());
        };
        for _ in 0..50 {
            let sql = "pragma wal_checkpoint(truncate)";
            let (busy, _, _): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(pool).await?;
            if busy == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Ends erasures of which everything is done.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn end_erasures(&self, ids: &[Uuid], now: Micros) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        for sql in [
            "delete from erasing_ids where erasure_id in (select rows.id from {rows})",
            "delete from erasing_messages where erasure_id in (select rows.id from {rows})",
            "delete from erasing_values where erasure_id in (select rows.id from {rows})",
            "update erasures set ended_at = rows.now from {rows}
             where erasures.id = rows.id and erasures.ended_at is null",
        ] {
            let rows = Bulk::new().uuid("id", ids.iter().copied());
            let rows = rows.time("now", ids.iter().map(|_| now));
            execute_bulk!(&mut tx, rows, sql)?;
        }
        tx.commit().await
    }
}

/// 9999-12-31, in microseconds.
const LAST_TIME: i64 = 253_402_214_400_000_000;

impl Tx {
    /// Browsers and unique values of a contact.
    async fn names_of(
        &mut self,
        id: ContactId,
    ) -> sqlx::Result<(Vec<Uuid>, Vec<(String, String)>)> {
        let sql = "select id from visitors where contact_id = $1";
        let visitors = both!(&mut *self, c => {
            sqlx::query_scalar(sql).bind(id).fetch_all(&mut **c).await?
        });
        let sql = "select field, value from contact_keys where contact_id = $1";
        let values = both!(&mut *self, c => {
            sqlx::query_as(sql).bind(id).fetch_all(&mut **c).await?
        });
        Ok((visitors, values))
    }

    async fn delete_person(&mut self, contacts: &[Uuid], visitors: &[Uuid]) -> sqlx::Result<()> {
        for sql in [
            "delete from contact_keys where contact_id in (select rows.id from {rows})",
            "delete from opt_outs where contact_id in (select rows.id from {rows})",
            "delete from visitors where contact_id in (select rows.id from {rows})",
            "delete from contacts where id in (select rows.id from {rows})",
        ] {
            let rows = Bulk::new().uuid("id", contacts.iter().copied());
            execute_bulk!(&mut *self, rows, sql)?;
        }
        let rows = Bulk::new().uuid("id", visitors.iter().copied());
        let sql = "delete from visitors where id in (select rows.id from {rows})";
        execute_bulk!(self, rows, sql).map(|_| ())
    }

    /// Adds to what an erasure has done.
    pub(crate) async fn note_erased(&mut self, id: Uuid, done: Done) -> sqlx::Result<()> {
        if done == Done::default() {
            return Ok(());
        }
        let sql = "update erasures set visitors = visitors + $2, messages = messages + $3,
                       hits = hits + $4, orders = orders + $5, quarantined = quarantined + $6,
                       others = others + $7
                   where id = $1";
        both!(self, c => sqlx::query(sql)
            .bind(id)
            .bind(done.visitors)
            .bind(done.messages)
            .bind(done.hits)
            .bind(done.orders)
            .bind(done.quarantined)
            .bind(done.others)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }
}

//! Finds what there is of persons that are being erased: messages, their vendors' names, browsers,
//! hits. It looks through tables in stretches by their keys, beside everybody: no index knows whose
//! a message is, since each message would pay for it.

use std::collections::BTreeMap;

use sqlx::Row as _;
use uuid::Uuid;

use super::super::{Bulk, Store, Tx};
use super::Done;
use super::marks::MarkKind;
use crate::model::hit::BroadlogId;
use crate::{both, execute_bulk, fetch_bulk};

/// Rows of a stretch.
const STRETCH: i64 = 20_000;
/// Rows that are changed in one transaction: some 50 ms.
const PORTION: usize = 500;
/// Stand-ins of messages have numbers that no counter gives and nobody chooses.
const STAND_INS: i64 = 1 << 62;

impl Store {
    /// Finds the messages that were sent to them, and gives each a stand-in.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn erase_messages(
        &self,
        new_id: &mut (dyn FnMut() -> Uuid + Send),
    ) -> sqlx::Result<()> {
        let mut after = i64::MIN;
        loop {
            let sql = "select max(id) from
                       (select id from broadlogs where id > $1 order by id limit $2) as stretch";
            let until: Option<i64> = both!(self.reader(), pool => {
                sqlx::query_scalar(sql).bind(after).bind(STRETCH).fetch_one(pool).await?
            });
            let Some(until) = until else {
                break;
            };
            let sql = "select b.id from broadlogs b cross join erasing_ids e
                       where b.id > $1 and b.id <= $2 and e.id = b.contact_id";
            let found: Vec<i64> = both!(self.reader(), pool => {
                sqlx::query_scalar(sql).bind(after).bind(until).fetch_all(pool).await?
            });
            for some in found.chunks(PORTION) {
                let mut tx = self.begin_lane().await?;
                let of = fetch_bulk!(
                    &mut tx,
                    Bulk::new().big("id", some.iter().copied()),
                    "select b.id, e.erasure_id from {rows} cross join broadlogs b
                     cross join erasing_ids e where b.id = rows.id and e.id = b.contact_id",
                    row => (row.try_get::<i64, _>("id")?, row.try_get::<Uuid, _>("erasure_id")?)
                )?;
                tx.replace_messages(&of, new_id).await?;
                tx.commit().await?;
            }
            after = until;
        }
        self.erase_message_names(new_id).await
    }

    /// Deletes the names that senders and vendors gave the messages; late hits with a vendor's are
    /// known.
    async fn erase_message_names(
        &self,
        new_id: &mut (dyn FnMut() -> Uuid + Send),
    ) -> sqlx::Result<()> {
        let sql = "select k.key, m.erasure_id from message_keys k cross join erasing_messages m
                   where m.id = k.broadlog_id";
        let found: Vec<(String, Uuid)> = both!(self.reader(), pool => {
            sqlx::query_as(sql).fetch_all(pool).await?
        });
        for some in found.chunks(PORTION) {
            let mut tx = self.begin_lane().await?;
            let keys = some.iter().map(|(key, erasure)| (*erasure, key));
            for (erasure, keys) in by_erasure(keys) {
                let mut marks = tx.new_marks(erasure, [new_id(), new_id()]).await?;
                for key in &keys {
                    marks.add(MarkKind::MessageKey, key.as_bytes(), None);
                }
                tx.save_marks(marks).await?;
                let done = Done {
                    others: keys.len() as i64,
                    ..Done::default()
                };
                tx.note_erased(erasure, done).await?;
            }
            for sql in [
                "delete from message_keys where key in (select rows.key from {rows})",
                "delete from untold_opt_outs where message_key in (select rows.key from {rows})",
            ] {
                let rows = Bulk::new().text("key", some.iter().map(|(key, _)| key.clone()));
                execute_bulk!(&mut tx, rows, sql)?;
            }
            tx.commit().await?;
        }
        // `lines:…` counts the lines of a request.
        let sql = "select s.delivery_id, s.key from sent_keys s cross join erasing_messages m
                   where m.id = s.number and s.key not like 'lines:%'";
        let found: Vec<(i64, String)> = both!(self.reader(), pool => {
            sqlx::query_as(sql).fetch_all(pool).await?
        });
        for some in found.chunks(PORTION) {
            let mut tx = self.begin().await?;
            let rows = Bulk::new()
                .big("delivery_id", some.iter().map(|(delivery, _)| *delivery))
                .text("key", some.iter().map(|(_, key)| key.clone()));
            let sql = "delete from sent_keys where (delivery_id, key) in
                       (select rows.delivery_id, rows.key from {rows})";
            execute_bulk!(&mut tx, rows, sql)?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Finds browsers that their hits name and that nobody has, and those that others have too.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn find_browsers(
        &self,
        new_id: &mut (dyn FnMut() -> Uuid + Send),
    ) -> sqlx::Result<()> {
        let sql = "select id, erasure_id from erasing_ids where stand_in is null";
        let contacts: Vec<(Uuid, Uuid)> = both!(self.reader(), pool => {
            sqlx::query_as(sql).fetch_all(pool).await?
        });
        for (contact, erasure) in contacts {
            let sql = "select distinct visitor_id from hits h
                       where h.contact_id = $1 and h.visitor_id is not null
                         and not exists (select 1 from erasing_ids e where e.id = h.visitor_id)";
            let found: Vec<Uuid> = both!(self.reader(), pool => {
                sqlx::query_scalar(sql).bind(contact).fetch_all(pool).await?
            });
            for some in found.chunks(PORTION) {
                let mut tx = self.begin_lane().await?;
                tx.take_browsers(erasure, some, new_id).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Numbers of hits in the next stretch after one that are theirs, and where it ends; `None`:
    /// the stretch before was the last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn hits_to_erase(&self, after: i64) -> sqlx::Result<Option<(Vec<i64>, i64)>> {
        let sql = "select max(seq) from
                   (select seq from hits where seq > $1 order by seq limit $2) as stretch";
        let until: Option<i64> = both!(self.reader(), pool => {
            sqlx::query_scalar(sql).bind(after).bind(STRETCH).fetch_one(pool).await?
        });
        let Some(until) = until else {
            return Ok(None);
        };
        let sql = "select h.seq from hits h where h.seq > $1 and h.seq <= $2 and (
                       exists (select 1 from erasing_ids e where e.id = h.contact_id)
                       or exists (select 1 from erasing_ids e where e.id = h.visitor_id)
                       or exists (select 1 from erasing_messages m where m.id = h.broadlog_id))
                   order by h.seq";
        let found = both!(self.reader(), pool => {
            sqlx::query_scalar(sql).bind(after).bind(until).fetch_all(pool).await?
        });
        Ok(Some((found, until)))
    }
}

impl Tx {
    /// Gives messages (with their erasures) stand-ins: what was counted of each stays, under a
    /// number that means nobody.
    pub(super) async fn replace_messages(
        &mut self,
        of: &[(i64, Uuid)],
        new_id: &mut (dyn FnMut() -> Uuid + Send),
    ) -> sqlx::Result<()> {
        for (erasure, ids) in by_erasure(of.iter().map(|(id, erasure)| (*erasure, id))) {
            let mut marks = self.new_marks(erasure, [new_id(), new_id()]).await?;
            for id in &ids {
                marks.add(MarkKind::Message, &id.to_be_bytes(), None);
            }
            self.save_marks(marks).await?;
            let done = Done {
                messages: ids.len() as i64,
                ..Done::default()
            };
            self.note_erased(erasure, done).await?;
        }
        let stand_ins: Vec<i64> = of.iter().map(|_| stand_in(new_id())).collect();
        let rows = || {
            Bulk::new()
                .big("number", of.iter().map(|(id, _)| *id))
                .uuid("erasure", of.iter().map(|(_, erasure)| *erasure))
                .big("other", stand_ins.iter().copied())
                .uuid("nobody", of.iter().map(|_| Uuid::nil()))
        };
        for sql in [
            "insert into erasing_messages (id, erasure_id, stand_in)
             select number, erasure, other from {rows} where true on conflict (id) do nothing",
            "update broadlogs set id = rows.other, contact_id = rows.nobody from {rows}
             where broadlogs.id = rows.number",
            "update broadlog_figures set broadlog_id = rows.other from {rows}
             where broadlog_figures.broadlog_id = rows.number",
        ] {
            execute_bulk!(&mut *self, rows(), sql)?;
        }
        Ok(())
    }

    async fn take_browsers(
        &mut self,
        erasure: Uuid,
        found: &[Uuid],
        new_id: &mut (dyn FnMut() -> Uuid + Send),
    ) -> sqlx::Result<()> {
        let others: Vec<Uuid> = fetch_bulk!(
            &mut *self,
            Bulk::new().uuid("id", found.iter().copied()),
            "select v.id from {rows} cross join visitors v where v.id = rows.id",
            row => row.try_get::<Uuid, _>("id")?
        )?;
        let is_shared = |id: &Uuid| others.contains(id);
        let mut marks = self.new_marks(erasure, [new_id(), new_id()]).await?;
        let own = || found.iter().filter(|id| !is_shared(id));
        for id in own() {
            marks.add(MarkKind::Visitor, id.as_bytes(), None);
        }
        self.save_marks(marks).await?;
        self.add_browsers(erasure, found, is_shared, new_id).await?;
        let texts = || own().map(Uuid::to_string);
        execute_bulk!(
            &mut *self,
            Bulk::new()
                .uuid("erasure", texts().map(|_| erasure))
                .text("value", texts()),
            "insert into erasing_values (erasure_id, value)
             select erasure, value from {rows} where true
             on conflict (erasure_id, value) do nothing"
        )?;
        let done = Done {
            visitors: own().count() as i64,
            ..Done::default()
        };
        self.note_erased(erasure, done).await
    }

    /// Gives browsers stand-ins.
    pub(super) async fn add_browsers(
        &mut self,
        erasure: Uuid,
        found: &[Uuid],
        is_shared: impl Fn(&Uuid) -> bool,
        new_id: &mut (dyn FnMut() -> Uuid + Send),
    ) -> sqlx::Result<()> {
        let stand_ins: Vec<Uuid> = found.iter().map(|_| new_id()).collect();
        execute_bulk!(
            self,
            Bulk::new()
                .uuid("browser", found.iter().copied())
                .uuid("erasure", found.iter().map(|_| erasure))
                .uuid("other", stand_ins)
                .big("shared", found.iter().map(|id| i64::from(is_shared(id)))),
            "insert into erasing_ids (id, erasure_id, stand_in, is_shared)
             select browser, erasure, other, shared from {rows} where true
             on conflict (id) do nothing"
        )
        .map(|_| ())
    }

    /// Messages whose contact is being erased, of some; also by their vendors' names.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn messages_being_erased(
        &mut self,
        ids: impl IntoIterator<Item = BroadlogId>,
        names: impl IntoIterator<Item = String>,
    ) -> sqlx::Result<(Vec<i64>, Vec<String>)> {
        let of_ids = fetch_bulk!(
            &mut *self,
            Bulk::new().big("number", ids.into_iter().map(|id| id.0)),
            "select b.id from {rows} cross join broadlogs b cross join erasing_ids e
             where b.id = rows.number and e.id = b.contact_id",
            row => row.try_get::<i64, _>("id")?
        )?;
        let of_names = fetch_bulk!(
            self,
            Bulk::new().text("name", names),
            "select k.key from {rows} cross join message_keys k
             where k.key = rows.name and (
                 exists (select 1 from broadlogs b join erasing_ids e on e.id = b.contact_id
                         where b.id = k.broadlog_id)
                 or exists (select 1 from erasing_messages m where m.id = k.broadlog_id))",
            row => row.try_get::<String, _>("key")?
        )?;
        Ok((of_ids, of_names))
    }
}

/// What is each erasure's.
pub(super) fn by_erasure<T>(of: impl Iterator<Item = (Uuid, T)>) -> BTreeMap<Uuid, Vec<T>> {
    let mut all: BTreeMap<Uuid, Vec<T>> = BTreeMap::new();
    for (erasure, one) in of {
        all.entry(erasure).or_default().push(one);
    }
    all
}

fn stand_in(id: Uuid) -> i64 {
    let random = (id.as_u128() & u128::from(STAND_INS as u64 - 1)) as i64;
    STAND_INS | random
}

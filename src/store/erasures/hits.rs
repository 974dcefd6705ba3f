//! Hits lose their person, in portions; figures follow in the same transaction.
//!
//! What is a hit of the person: one with its contact; without any contact, one of its browsers or
//! its messages. Hits of others on a browser of the person's lose that browser's id only.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{FromRow as _, Row as _};
use uuid::Uuid;

use super::super::figures::{Renamed, count_renamed};
use super::super::recount::hits::{Row as Counted, counted_columns};
use super::super::{Bulk, Store, Tx};
use super::Done;
use super::work::by_erasure;
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, Hit, VisitorId};
use crate::{execute_bulk, fetch_bulk, from_row};

/// What a hit is emptied of, beside its ids. Here only.
const EMPTIED: &str = "contact_id = null, page_title = null, order_id = null, utm_term = null,
     utm_content = null, ip = null, user_agent = null, extra = null, tags = rows.tags";

/// A hit with what it has of persons that are being erased.
struct Found {
    counted: Counted,
    contact_id: Option<Uuid>,
    order_id: Option<String>,
    event: Option<String>,
    page_tag: Option<String>,
    of_contact: Option<Uuid>,
    of_visitor: Option<Uuid>,
    visitor_stand_in: Option<Uuid>,
    is_shared: Option<i64>,
    of_message: Option<Uuid>,
    message_stand_in: Option<i64>,
}

from_row!(Found, row => {
    contact_id, order_id, event, page_tag, of_contact, of_visitor, visitor_stand_in, is_shared,
    of_message, message_stand_in,
} { counted: Counted::from_row(row)? });

impl Found {
    /// The erasure that its person is of.
    fn person(&self) -> Option<Uuid> {
        let of_browser = self.of_visitor.filter(|_| self.is_shared == Some(0));
        match self.contact_id {
            Some(_) => self.of_contact,
            None => of_browser.or(self.of_message),
        }
    }

    /// Only its browser is theirs.
    fn is_others(&self) -> bool {
        self.person().is_none() && self.of_visitor.is_some() && self.is_shared == Some(0)
    }
}

/// A hit as it becomes.
struct Emptied {
    received_at: Micros,
    erasure: Uuid,
    is_others: bool,
    /// It was emptied before its message was found, and still had that.
    is_again: bool,
    order: Option<(String, String)>,
    renamed: Renamed,
}

impl Store {
    /// Erases the persons of some hits; some hundred at most.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub(crate) async fn erase_hits(
        &self,
        seqs: &[i64],
        new_id: &mut (dyn FnMut() -> Uuid + Send),
    ) -> sqlx::Result<()> {
        let mut tx = self.begin_turn().await?;
        let mut found = tx.hits_of_erased(seqs).await?;
        if tx.take_strangers(&found, new_id).await? {
            found = tx.hits_of_erased(seqs).await?;
        }
        let values = tx.values_being_erased().await?;
        let none = Vec::new();
        let emptied: Vec<Emptied> = found
            .into_iter()
            .filter_map(|found| empty(found, |erasure| values.get(&erasure).unwrap_or(&none)))
            .collect();
        tx.write_emptied(&emptied).await?;
        tx.commit().await
    }
}

fn empty<'v>(found: Found, values: impl Fn(Uuid) -> &'v Vec<String>) -> Option<Emptied> {
    let is_others = found.is_others();
    let erasure = found.person().or(found.of_visitor)?;
    if !is_others && found.person().is_none() {
        return None;
    }
    let seq = found.counted.seq;
    let mut before: Hit = found.counted.into_hit();
    before.event = found.event;
    before.page_tag = found.page_tag;
    before.order_id = found.order_id;
    let mut after = before.clone();
    if !is_others {
        after.erase_texts(values(erasure));
    }
    if let Some(other) = found.visitor_stand_in {
        after.visitor_id = Some(VisitorId(other));
    }
    if let Some(other) = found.message_stand_in {
        after.broadlog_id = Some(BroadlogId(other));
    }
    let is_again = before.is_erased();
    let order = before.order_id.clone().filter(|_| !is_others);
    Some(Emptied {
        received_at: before.received_at,
        erasure,
        is_others,
        is_again,
        order: order.map(|order| (order, before.site.clone())),
        renamed: Renamed { seq, before, after },
    })
}

impl Tx {
    async fn hits_of_erased(&mut self, seqs: &[i64]) -> sqlx::Result<Vec<Found>> {
        fetch_bulk!(
            self,
            Bulk::new().big("wanted", seqs.iter().copied()),
            concat!(
                "select ",
                counted_columns!(),
                ", contact_id, order_id, event, page_tag,
                   (select e.erasure_id from erasing_ids e where e.id = hits.contact_id)
                       as of_contact,
                   (select e.erasure_id from erasing_ids e where e.id = hits.visitor_id)
                       as of_visitor,
                   (select e.stand_in from erasing_ids e where e.id = hits.visitor_id)
                       as visitor_stand_in,
                   (select e.is_shared from erasing_ids e where e.id = hits.visitor_id)
                       as is_shared,
                   (select m.erasure_id from erasing_messages m where m.id = hits.broadlog_id)
                       as of_message,
                   (select m.stand_in from erasing_messages m where m.id = hits.broadlog_id)
                       as message_stand_in
                 from {rows} cross join hits where hits.seq = rows.wanted"
            ),
            row => Found::from_row(row)?
        )
    }

    /// Gives stand-ins to what only these hits name: browsers that were nobody's, and messages that
    /// nobody sent from here. False: there are none.
    async fn take_strangers(
        &mut self,
        found: &[Found],
        new_id: &mut (dyn FnMut() -> Uuid + Send),
    ) -> sqlx::Result<bool> {
        let mut browsers: BTreeMap<Uuid, Uuid> = BTreeMap::new();
        let mut messages: BTreeMap<i64, Uuid> = BTreeMap::new();
        for found in found {
            let Some(erasure) = found.person() else {
                continue;
            };
            if let (Some(visitor), None) = (found.counted.visitor_id, found.of_visitor) {
                browsers.insert(visitor, erasure);
            }
            if let (Some(message), None) = (found.counted.broadlog_id, found.of_message) {
                messages.insert(message, erasure);
            }
        }
        let sent: Vec<i64> = fetch_bulk!(
            &mut *self,
            Bulk::new().big("number", messages.keys().copied()),
            "select b.id from {rows} cross join broadlogs b where b.id = rows.number",
            row => row.try_get::<i64, _>("id")?
        )?;
        // Somebody else's: the hit only says so.
        messages.retain(|id, _| !sent.contains(id));
        let of: Vec<(i64, Uuid)> = messages.into_iter().collect();
        self.replace_messages(&of, new_id).await?;
        let is_any = !of.is_empty() || !browsers.is_empty();
        for (erasure, ids) in by_erasure(browsers.into_iter().map(|(id, of)| (of, id))) {
            self.add_browsers(erasure, &ids, |_| true, new_id).await?;
        }
        Ok(is_any)
    }

    /// Texts to be searched for, by erasure.
    pub(super) async fn values_being_erased(
        &mut self,
    ) -> sqlx::Result<BTreeMap<Uuid, Vec<String>>> {
        let sql = "select erasure_id, value from erasing_values";
        let all: Vec<(Uuid, String)> =
            crate::both!(self, c => sqlx::query_as(sql).fetch_all(&mut **c).await?);
        Ok(by_erasure(all.into_iter()))
    }

    async fn write_emptied(&mut self, all: &[Emptied]) -> sqlx::Result<()> {
        let mut done: BTreeMap<Uuid, Done> = BTreeMap::new();
        for hit in all.iter().filter(|hit| !hit.is_others && !hit.is_again) {
            done.entry(hit.erasure).or_default().hits += 1;
        }
        let renamed: Vec<Renamed> = all.iter().map(|hit| hit.renamed.clone()).collect();
        count_renamed(self, &renamed).await?;
        let columns = |all: &[&Emptied]| {
            let of = || all.iter().map(|hit| (&hit.renamed, hit.received_at));
            Bulk::new()
                .big("number", of().map(|(hit, _)| hit.seq))
                .time("at", of().map(|(_, at)| at))
                .uuid_or_null(
                    "visitor",
                    of().map(|(hit, _)| hit.after.visitor_id.map(|id| id.0)),
                )
        };
        let others: Vec<&Emptied> = all.iter().filter(|hit| hit.is_others).collect();
        execute_bulk!(
            &mut *self,
            columns(&others),
            "update hits set visitor_id = rows.visitor from {rows}
             where hits.seq = rows.number and hits.received_at = rows.at"
        )?;
        let own: Vec<&Emptied> = all.iter().filter(|hit| !hit.is_others).collect();
        let after = || own.iter().map(|hit| &hit.renamed.after);
        let text = |of: &Option<String>| of.clone();
        let rows = columns(&own)
            .big_or_null("message", after().map(|hit| hit.broadlog_id.map(|id| id.0)))
            .text_or_null("page", after().map(|hit| text(&hit.page_url)))
            .text_or_null("before", after().map(|hit| text(&hit.referrer)))
            .text_or_null("source", after().map(|hit| text(&hit.utm.source)))
            .text_or_null("medium", after().map(|hit| text(&hit.utm.medium)))
            .text_or_null("campaign", after().map(|hit| text(&hit.utm.campaign)))
            .text_or_null("what", after().map(|hit| text(&hit.event)))
            .text_or_null("tag", after().map(|hit| text(&hit.page_tag)))
            .text_or_null("notes", after().map(|hit| text(&hit.reason)))
            .tags("tags", after().map(|_| Vec::new()));
        let sql = format!(
            "update hits set visitor_id = rows.visitor, broadlog_id = rows.message,
                 page_url = rows.page, referrer = rows.before, utm_source = rows.source,
                 utm_medium = rows.medium, utm_campaign = rows.campaign, event = rows.what,
                 page_tag = rows.tag, reason = rows.notes, {EMPTIED}
             from {{rows}} where hits.seq = rows.number and hits.received_at = rows.at"
        );
        execute_bulk!(&mut *self, rows, &sql)?;
        for sql in [
            "update webhook_attempts set answer = '' where seq in (select rows.number from {rows})",
            "update webhook_failures set answer = '' where seq in (select rows.number from {rows})",
        ] {
            let rows = Bulk::new().big("number", own.iter().map(|hit| hit.renamed.seq));
            execute_bulk!(&mut *self, rows, sql)?;
        }
        // What is told of an order again counts anew.
        let orders = own
            .iter()
            .filter_map(|hit| Some((hit.order.clone()?, hit.erasure)));
        let orders: BTreeSet<((String, String), Uuid)> = orders.collect();
        for (erasure, orders) in by_erasure(orders.into_iter().map(|(order, of)| (of, order))) {
            let gone = execute_bulk!(
                &mut *self,
                Bulk::new()
                    .text("number", orders.iter().map(|(order, _)| order.clone()))
                    .text("place", orders.iter().map(|(_, site)| site.clone())),
                "delete from orders where (order_id, site) in
                     (select rows.number, rows.place from {rows})"
            )?;
            done.entry(erasure).or_default().orders += gone as i64;
        }
        for (erasure, done) in done {
            self.note_erased(erasure, done).await?;
        }
        Ok(())
    }
}

//! Verdicts of stored hits: read with all that they are judged by, changed, decided by people.
//!
//! A hit keeps the verdict that it had at first, with its reasons, once it gets another. What a
//! person decides of a hit stands in a table of its own and holds whatever the rules say later.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{FromRow as _, Row as _};
use uuid::Uuid;

use super::figures::Touches;
use super::recount::hits::{Row as Counted, counted_columns};
use super::retention::Aging;
use super::{Bulk, Ip, Store, Tx, Writes};
use crate::model::clock::Micros;
use crate::model::hit::{
    Authority, ContactId, Dialect, Hit, HitId, Money, Proof, Provenance, Verdict,
};
use crate::{both, execute_bulk, fetch_bulk, from_row};

/// A stored hit with what it is judged by, and what it earned.
#[derive(Clone, Debug)]
pub struct JudgedHit {
    /// Its number.
    pub seq: i64,
    /// The hit as it stands, as far as verdicts and figures look at it.
    pub hit: Hit,
    /// Its person.
    pub contact: Option<ContactId>,
    /// What it added to revenue.
    pub counted_revenue: Option<Money>,
    /// Its reasons at first; `None` if its verdict never changed.
    pub first: Option<(Verdict, Option<String>)>,
    /// A person decided its verdict.
    pub is_decided: bool,
}

impl JudgedHit {
    /// Its notes at first.
    pub fn first_notes(&self) -> Option<&str> {
        match &self.first {
            Some((_, notes)) => notes.as_deref(),
            None => self.hit.reason.as_deref(),
        }
    }
}

struct Row {
    counted: Counted,
    id: Uuid,
    dialect: String,
    contact_id: Option<Uuid>,
    order_id: Option<String>,
    quantity: Option<i32>,
    ip: Option<Ip>,
    user_agent: Option<String>,
    proof: Option<String>,
    counted_revenue: Option<Money>,
    first_verdict: Option<String>,
    first_reason: Option<String>,
    decided: Option<String>,
}

from_row!(Row, row => {
    id, dialect, contact_id, order_id, quantity, ip, user_agent, proof, counted_revenue, first_verdict,
    first_reason, decided,
} { counted: Counted::from_row(row)? });

/// The columns of a [`Row`], of `hits` beside `verdict_decisions`.
macro_rules! judged_columns {
    () => {
        concat!(
            counted_columns!(),
            ", id, dialect, contact_id, order_id, quantity, ip, user_agent, proof, counted_revenue, \
             first_verdict, first_reason, \
             (select d.verdict from verdict_decisions d where d.seq = hits.seq) as decided"
        )
    };
}

impl From<Row> for JudgedHit {
    fn from(row: Row) -> Self {
        let seq = row.counted.seq;
        let mut hit = row.counted.into_hit();
        hit.id = HitId(row.id);
        hit.dialect = Dialect::parse(&row.dialect).unwrap_or(Dialect::Native);
        hit.order_id = row.order_id;
        hit.quantity = row.quantity;
        hit.ip = row.ip.map(|ip| ip.0);
        hit.user_agent = row.user_agent;
        // What makes the proof that it has.
        match row.proof.as_deref().and_then(Proof::parse) {
            None => {}
            Some(Proof::Link) => hit.provenance = Provenance::Link,
            Some(Proof::Session) => hit.provenance = Provenance::Session,
            Some(Proof::Sender) => hit.authority = Authority::Authenticated,
            Some(Proof::Unsigned) => hit.provenance = Provenance::Unsigned,
            Some(Proof::Claimed) => hit.provenance = Provenance::Claimed,
        }
        let verdict = row.first_verdict.as_deref().and_then(Verdict::parse);
        Self {
            seq,
            hit,
            contact: row.contact_id.map(ContactId),
            counted_revenue: row.counted_revenue,
            first: verdict.map(|verdict| (verdict, row.first_reason)),
            is_decided: row.decided.is_some(),
        }
    }
}

/// A hit, when its message was made, and when its delivery was to be sent.
struct SentRow {
    row: Row,
    made_at: Option<Micros>,
    sent_at: Option<Micros>,
}

from_row!(SentRow, row => { made_at, sent_at } { row: Row::from_row(row)? });

/// What a person decided of a hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The hit's number.
    pub seq: i64,
    /// The hit's id.
    pub hit_id: Uuid,
    /// Whose it is.
    pub verdict: Verdict,
    /// Why, in the person's words.
    pub reason: String,
    /// Who.
    pub decided_by: String,
    /// When.
    pub decided_at: Micros,
}

/// What led to a purchase, kept as long as the purchase: it can be taken back.
pub(super) const PURCHASE_TOUCHES: Aging = Aging {
    name: "purchase_touches",
    key: "seq",
    time: "received_at",
};

impl Store {
    /// A hit by its number.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn judged_hit(&self, seq: i64) -> sqlx::Result<Option<JudgedHit>> {
        let sql = concat!("select ", judged_columns!(), " from hits where seq = $1");
        let row: Option<Row> = both!(self.reader(), pool => {
            sqlx::query_as(sql).bind(seq).fetch_optional(pool).await?
        });
        Ok(row.map(JudgedHit::from))
    }

    /// The next hits received within a time, in storage order, up to a number; each with the time
    /// that its message's links say as that of its sending.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn hits_to_judge(
        &self,
        after: i64,
        until: i64,
        from: Micros,
        to: Micros,
        most: i64,
    ) -> sqlx::Result<Vec<(JudgedHit, Option<Micros>)>> {
        let sql = concat!(
            "select ",
            judged_columns!(),
            ", (select b.created_at from broadlogs b where b.id = hits.broadlog_id) as made_at,
               (select d.sent_at from broadlogs b join deliveries d on d.id = b.delivery_id
                where b.id = hits.broadlog_id) as sent_at
             from hits where seq > $1 and seq <= $2 and received_at >= $3 and received_at < $4
             order by seq limit $5"
        );
        let rows: Vec<SentRow> = both!(self.reader(), pool => {
            let query = sqlx::query_as(sql).bind(after).bind(until).bind(from).bind(to).bind(most);
            query.fetch_all(pool).await?
        });
        let sent = |row: SentRow| (JudgedHit::from(row.row), row.made_at.max(row.sent_at));
        Ok(rows.into_iter().map(sent).collect())
    }

    /// The number of the hit with an id. The id says when the hit came, so it is looked for around
    /// that time.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn number_of_hit(&self, id: Uuid) -> sqlx::Result<Option<i64>> {
        let Some(made) = id.get_timestamp() else {
            return Ok(None);
        };
        let (seconds, nanos) = made.to_unix();
        let made = Micros(seconds as i64 * Micros::SECOND + i64::from(nanos) / 1_000);
        let (from, to) = (made.0 - Micros::SECOND, made.0 + Micros::SECOND);
        let sql = "select seq from hits where received_at >= $1 and received_at <= $2 and id = $3";
        both!(self.reader(), pool => {
            let query = sqlx::query_scalar(sql).bind(Micros(from)).bind(Micros(to)).bind(id);
            query.fetch_optional(pool).await
        })
    }

    /// What was decided of a hit.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn decision(&self, seq: i64) -> sqlx::Result<Option<Decision>> {
        let sql = "select seq, hit_id, verdict, reason, decided_by, decided_at
                   from verdict_decisions where seq = $1";
        both!(self.reader(), pool => sqlx::query_as(sql).bind(seq).fetch_optional(pool).await)
    }
}

from_row!(Decision, row => { seq, hit_id, reason, decided_by, decided_at } {
    verdict: Verdict::parse(row.try_get("verdict")?).unwrap_or(Verdict::Suspect),
});

/// A hit's new verdict.
#[derive(Clone, Debug)]
pub(crate) struct NewVerdict {
    pub(crate) seq: i64,
    pub(crate) received_at: Micros,
    pub(crate) verdict: Verdict,
    pub(crate) reason: Option<String>,
    pub(crate) counted_revenue: Option<Money>,
}

impl Tx {
    /// Hits by their numbers.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn judged_hits(
        &mut self,
        seqs: impl IntoIterator<Item = i64>,
    ) -> sqlx::Result<Vec<JudgedHit>> {
        fetch_bulk!(
            self,
            Bulk::new().big("number", seqs),
            concat!(
                "select ",
                judged_columns!(),
                " from {rows} cross join hits where hits.seq = rows.number"
            ),
            row => JudgedHit::from(Row::from_row(row)?)
        )
    }

    /// Writes new verdicts; a hit's first stays beside it.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn write_verdicts(&mut self, new: &[NewVerdict]) -> sqlx::Result<()> {
        let of = || new.iter();
        execute_bulk!(
            self,
            Bulk::new()
                .big("number", of().map(|new| new.seq))
                .time("at", of().map(|new| new.received_at))
                .text("verdict", of().map(|new| new.verdict.as_str().to_owned()))
                .text_or_null("reason", of().map(|new| new.reason.clone()))
                .money_or_null("counted_revenue", of().map(|new| new.counted_revenue)),
            "update hits set
                 first_reason = case when hits.first_verdict is null then hits.reason else hits.first_reason end,
                 first_verdict = coalesce(hits.first_verdict, hits.verdict),
                 verdict = rows.verdict, reason = rows.reason, counted_revenue = rows.counted_revenue
             from {rows} where hits.seq = rows.number and hits.received_at = rows.at"
        )
        .map(|_| ())
    }

    /// Keeps a decision; the last one holds.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn keep_decision(&mut self, decision: &Decision) -> sqlx::Result<()> {
        let sql = "insert into verdict_decisions (seq, hit_id, verdict, reason, decided_by,
                   decided_at)
                   values ($1, $2, $3, $4, $5, $6)
                   on conflict (seq) do update set verdict = excluded.verdict,
                   reason = excluded.reason,
                       decided_by = excluded.decided_by, decided_at = excluded.decided_at";
        both!(self, c => sqlx::query(sql)
            .bind(decision.seq)
            .bind(decision.hit_id)
            .bind(decision.verdict.as_str())
            .bind(&decision.reason)
            .bind(&decision.decided_by)
            .bind(decision.decided_at)
            .execute(&mut **c)
            .await
            .map(|_| ()))
    }

    /// Keeps what led to purchases; what is known of one is replaced.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn keep_purchase_touches(
        &mut self,
        purchases: &[(i64, Micros, &Touches)],
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let texts = purchases.iter().map(|(_, _, touches)| {
            // A list of numbers and texts can be written.
            serde_json::to_string(&touches[..]).unwrap_or_default()
        });
        let rows = Bulk::new()
            .big("number", purchases.iter().map(|purchase| purchase.0))
            .time("at", purchases.iter().map(|purchase| purchase.1))
            .text("touches", texts);
        let sql = "insert into purchase_touches (seq, received_at, touches)
                   select number, at, touches from {rows} where true
                   on conflict (seq) do update set touches = excluded.touches";
        writes.add(self, rows, sql).await
    }

    /// What led to purchases.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn purchase_touches(
        &mut self,
        seqs: &BTreeSet<i64>,
    ) -> sqlx::Result<BTreeMap<i64, Touches>> {
        let found: Vec<(i64, String)> = fetch_bulk!(
            self,
            Bulk::new().big("number", seqs.iter().copied()),
            "select t.seq, t.touches from {rows} join purchase_touches t on t.seq = rows.number",
            row => (row.try_get("seq")?, row.try_get("touches")?)
        )?;
        let read = |(seq, text): (i64, String)| Ok((seq, super::orders::read_touches(&text)?));
        found.into_iter().map(read).collect()
    }

    /// Numbers of the purchases that hits of these persons and browsers may have led to: those that
    /// came after them, `window` microseconds at most.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn purchases_after(
        &mut self,
        hits: &[(Option<ContactId>, Option<Uuid>, Micros)],
        window: i64,
    ) -> sqlx::Result<BTreeSet<i64>> {
        let mut all = BTreeSet::new();
        let of_contacts = hits.iter().filter_map(|(id, _, at)| Some(((*id)?.0, *at)));
        let of_visitors = hits.iter().filter_map(|(_, id, at)| Some(((*id)?, *at)));
        for (index, condition, of) in [
            (
                "hits_contact",
                "l.contact_id = rows.person_id",
                of_contacts.collect::<Vec<_>>(),
            ),
            (
                "hits_visitor",
                "l.visitor_id = rows.person_id and l.contact_id is null",
                of_visitors.collect(),
            ),
        ] {
            let among = format!(
                "{condition} and l.received_at >= rows.since and l.received_at <= rows.until"
            );
            let is_one = "h.counted_revenue is not null and h.verdict in ('human', 'suspect')";
            let sql = match self {
                // Fenced by its limit: found by index, whatever the statistics are.
                Tx::Postgres(_) => format!(
                    "select h.seq from {{rows}} cross join lateral (
                       select * from hits l where {among} order by l.seq limit {MOST}
                     ) h where {is_one}"
                ),
                Tx::Sqlite(_) => format!(
                    "select h.seq from {{rows}} cross join hits h where h.seq in (
                       select l.seq from hits l indexed by {index} where {among} order by l.seq
                       limit {MOST}
                     ) and {is_one}"
                ),
            };
            let found: Vec<i64> = fetch_bulk!(
                &mut *self,
                Bulk::new()
                    .uuid("person_id", of.iter().map(|of| of.0))
                    .time("since", of.iter().map(|of| of.1))
                    .time("until", of.iter().map(|of| Micros(of.1.0 + window))),
                &sql,
                row => row.try_get::<i64, _>("seq")?
            )?;
            all.extend(found);
        }
        Ok(all)
    }
}

/// Hits of a person after one that are looked at for purchases.
const MOST: i64 = 1_000;

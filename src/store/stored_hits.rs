//! Reading hits, in the order of storage.
//!
//! Nobody holds a snapshot while a slow client reads: a long answer is made of short queries, each
//! of which goes on after the last `seq` of the one before. That is right because `seq` grows in
//! the order of commits (see `LANE` in [`super`]): once a number is seen, nothing below it will
//! appear any more.

use futures_util::TryStreamExt as _;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

pub use super::hit_rows::COLUMNS;
use super::hit_rows::tag_texts;
use super::{Ip, Store, Tags};
use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{ContactId, DeliveryId, Hit, Kind, Money, VisitorId};

/// A page ends early where its hits' texts are this long: a thousand hits with the largest possible
/// extras would fill the memory.
const MOST_PAGE_BYTES: usize = 1 << 20;

/// A row of `hits`. Fields are the columns.
#[expect(
    missing_docs,
    reason = "the columns' meaning stands with the table and with `Hit`"
)]
#[derive(Clone, Debug)]
pub struct StoredHit {
    pub seq: i64,
    pub id: Uuid,
    pub received_at: Micros,
    pub occurred_at: Option<Micros>,
    pub kind: String,
    pub dialect: String,
    pub site: String,
    pub page_url: Option<String>,
    pub page_title: Option<String>,
    pub page_language: Option<String>,
    pub referrer: Option<String>,
    pub page_tag: Option<String>,
    pub delivery_id: Option<i64>,
    pub broadlog_id: Option<i64>,
    pub link_id: Option<i64>,
    pub visitor_id: Option<Uuid>,
    pub contact_id: Option<Uuid>,
    pub revenue: Option<Money>,
    pub currency: Option<String>,
    pub order_id: Option<String>,
    pub quantity: Option<i32>,
    pub utm_source: Option<String>,
    pub utm_medium: Option<String>,
    pub utm_campaign: Option<String>,
    pub utm_term: Option<String>,
    pub utm_content: Option<String>,
    pub tags: Vec<String>,
    pub event: Option<String>,
    pub ip: Option<Ip>,
    pub user_agent: Option<String>,
    pub verdict: String,
    pub reason: Option<String>,
    pub extra: Option<Box<RawValue>>,
    pub proof: Option<String>,
    pub counted_revenue: Option<Money>,
}

impl StoredHit {
    /// A hit as its row would be, before the projection has looked: without a place in the order of
    /// storage and without its person, unless an authenticated sender names it.
    pub fn preview(hit: &Hit) -> Self {
        let utm = hit.utm.clone();
        let extra = hit.extra.as_ref().map(serde_json::value::to_raw_value);
        Self {
            seq: 0,
            id: hit.id.0,
            received_at: hit.received_at,
            occurred_at: hit.occurred_at,
            kind: hit.kind.as_str().to_owned(),
            dialect: hit.dialect.as_str().to_owned(),
            site: hit.site.clone(),
            page_url: hit.page_url.clone(),
            page_title: hit.page_title.clone(),
            page_language: hit.page_language.clone(),
            referrer: hit.referrer.clone(),
            page_tag: hit.page_tag.clone(),
            delivery_id: hit.delivery_id.map(|id| id.0),
            broadlog_id: hit.broadlog_id.map(|id| id.0),
            link_id: hit.link_id.map(|id| id.0),
            visitor_id: hit.visitor_id.map(|id| id.0),
            contact_id: hit.contact_id.map(|id| id.0),
            revenue: hit.revenue,
            currency: hit.currency.as_ref().map(|code| code.as_str().to_owned()),
            order_id: hit.order_id.clone(),
            quantity: hit.quantity,
            utm_source: utm.source,
            utm_medium: utm.medium,
            utm_campaign: utm.campaign,
            utm_term: utm.term,
            utm_content: utm.content,
            tags: tag_texts(hit).collect(),
            event: hit.event.clone(),
            ip: hit.ip.map(Ip),
            user_agent: hit.user_agent.clone(),
            verdict: hit.verdict.as_str().to_owned(),
            reason: hit.reason.clone(),
            extra: extra.and_then(Result::ok),
            proof: hit.proof().map(|proof| proof.as_str().to_owned()),
            counted_revenue: None,
        }
    }

    /// Bytes of the texts that can be long.
    fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        text(&self.page_url)
            + text(&self.referrer)
            + text(&self.page_title)
            + text(&self.user_agent)
            + self.tags.iter().map(String::len).sum::<usize>()
            + self.extra.as_ref().map_or(0, |extra| extra.get().len())
            + 500
    }
}

/// Reads a row of [`COLUMNS`].
macro_rules! stored_hit {
    ($row:expr) => {{
        let row = $row;
        StoredHit {
            seq: row.try_get(0)?,
            id: row.try_get(1)?,
            received_at: row.try_get(2)?,
            occurred_at: row.try_get(3)?,
            kind: row.try_get(4)?,
            dialect: row.try_get(5)?,
            site: row.try_get(6)?,
            page_url: row.try_get(7)?,
            page_title: row.try_get(8)?,
            page_language: row.try_get(9)?,
            referrer: row.try_get(10)?,
            page_tag: row.try_get(11)?,
            delivery_id: row.try_get(12)?,
            broadlog_id: row.try_get(13)?,
            link_id: row.try_get(14)?,
            visitor_id: row.try_get(15)?,
            contact_id: row.try_get(16)?,
            revenue: row.try_get(17)?,
            currency: row.try_get(18)?,
            order_id: row.try_get(19)?,
            quantity: row.try_get(20)?,
            utm_source: row.try_get(21)?,
            utm_medium: row.try_get(22)?,
            utm_campaign: row.try_get(23)?,
            utm_term: row.try_get(24)?,
            utm_content: row.try_get(25)?,
            tags: row.try_get::<Option<Tags>, _>(26)?.unwrap_or_default().0,
            event: row.try_get(27)?,
            ip: row.try_get(28)?,
            user_agent: row.try_get(29)?,
            verdict: row.try_get(30)?,
            reason: row.try_get(31)?,
            extra: row
                .try_get::<Option<Json<Box<RawValue>>>, _>(32)?
                .map(|extra| extra.0),
            proof: row.try_get(33)?,
            counted_revenue: row.try_get(34)?,
        }
    }};
}

/// Whose hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A person's: the contact's own and those stored under contacts that were merged into it.
    Contacts(Vec<ContactId>),
    /// A browser's whose person is not known.
    Visitor(VisitorId),
}

/// Which hits. Everything by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HitFilter {
    /// Of one delivery.
    pub delivery: Option<DeliveryId>,
    /// Of one person or browser.
    pub whose: Option<Whose>,
    /// Of one kind.
    pub kind: Option<Kind>,
}

impl HitFilter {
    /// Conditions whose values are bound from `$first` on, in the order delivery, whose, kind.
    fn conditions(&self, first: usize) -> String {
        let mut sql = String::new();
        let mut number = first - 1;
        let mut next = || {
            number += 1;
            format!("${number}")
        };
        if self.delivery.is_some() {
            sql += &format!(" and delivery_id = {}", next());
        }
        match &self.whose {
            // With one id the index gives the rows in order and nothing is sorted.
            Some(Whose::Contacts(ids)) if ids.len() == 1 => {
                sql += &format!(" and contact_id = {}", next());
            }
            Some(Whose::Contacts(ids)) => {
                let list: Vec<String> = ids.iter().map(|_| next()).collect();
                sql += &format!(" and contact_id in ({})", list.join(", "));
            }
            Some(Whose::Visitor(_)) => {
                sql += &format!(" and contact_id is null and visitor_id = {}", next())
            }
            None => {}
        }
        if self.kind.is_some() {
            sql += &format!(" and kind = {}", next());
        }
        sql
    }

    fn ids(&self) -> Vec<Uuid> {
        match &self.whose {
            Some(Whose::Contacts(ids)) => ids.iter().map(|id| id.0).collect(),
            Some(Whose::Visitor(id)) => vec![id.0],
            None => Vec::new(),
        }
    }
}

/// Some hits in the order asked for.
#[derive(Clone, Debug)]
pub struct HitPage {
    /// At least one where there are any.
    pub hits: Vec<StoredHit>,
    /// True where no more hits match within the bounds: neither the number nor the size of hits
    /// ended the page.
    pub is_last: bool,
}

impl Store {
    /// The number of the hit stored last: all hits that are stored have this number or a lower one,
    /// and all that will be stored a higher one.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn last_seq(&self) -> sqlx::Result<i64> {
        // Raised in the transaction that writes the hits. max(seq) would fall back when old months
        // are dropped.
        let sql = "select value from counters where name = 'hit'";
        both!(self.reader(), pool => sqlx::query_scalar(sql).fetch_one(pool).await)
    }

    /// At most `limit` hits with `after < seq <= until`, oldest first.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn hits_between(
        &self,
        filter: &HitFilter,
        after: i64,
        until: i64,
        limit: i64,
    ) -> sqlx::Result<HitPage> {
        let sql = format!(
            "select {} from hits where seq > $1 and seq <= $2{} order by seq limit $3",
            COLUMNS.join(", "),
            filter.conditions(4)
        );
        self.page(sql, filter, after, until, limit).await
    }

    /// At most `limit` hits with `seq < before`, newest first.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn hits_before(
        &self,
        filter: &HitFilter,
        before: i64,
        limit: i64,
    ) -> sqlx::Result<HitPage> {
        let sql = format!(
            "select {} from hits where seq > $1 and seq < $2{} order by seq desc limit $3",
            COLUMNS.join(", "),
            filter.conditions(4)
        );
        self.page(sql, filter, 0, before, limit).await
    }

    async fn page(
        &self,
        sql: String,
        filter: &HitFilter,
        low: i64,
        high: i64,
        limit: i64,
    ) -> sqlx::Result<HitPage> {
        let mut hits = Vec::new();
        let mut bytes = 0;
        both!(self.reader(), pool => {
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(low).bind(high).bind(limit);
            if let Some(delivery) = filter.delivery {
                query = query.bind(delivery.0);
            }
            for id in filter.ids() {
                query = query.bind(id);
            }
            if let Some(kind) = filter.kind {
                query = query.bind(kind.as_str());
            }
            let mut rows = query.fetch(pool);
            while let Some(row) = rows.try_next().await? {
                let hit = stored_hit!(&row);
                bytes += hit.bytes();
                hits.push(hit);
                if bytes > MOST_PAGE_BYTES {
                    break;
                }
            }
        });
        let is_last = bytes <= MOST_PAGE_BYTES && (hits.len() as i64) < limit;
        Ok(HitPage { hits, is_last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_number_their_values_in_the_order_of_binding() {
        let id = ContactId(Uuid::nil());
        let mut filter = HitFilter {
            delivery: Some(DeliveryId(1)),
            whose: Some(Whose::Contacts(vec![id, id])),
            kind: Some(Kind::Click),
        };
        assert_eq!(
            filter.conditions(4),
            " and delivery_id = $4 and contact_id in ($5, $6) and kind = $7"
        );
        filter.whose = Some(Whose::Contacts(vec![id]));
        filter.delivery = None;
        assert_eq!(filter.conditions(4), " and contact_id = $4 and kind = $5");
        assert_eq!(HitFilter::default().conditions(4), "");
    }
}

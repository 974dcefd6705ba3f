//! Reading hits, in the order of storage.
//!
//! Nobody holds a snapshot while a slow client reads: a long answer is made of short queries, each
//! of which goes on after the last `seq` of the one before. That is right because `seq` grows in
//! the order of commits (see `LANE` in [`crate::store`]): once a number is seen, nothing below it
//! will appear any more.

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, FromRow as _, Row};
use uuid::Uuid;

use super::column::Field as _;
use super::{COLUMNS, HitRow};
use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{ContactId, DeliveryId, Hit, Kind, VisitorId, hit_columns};
use crate::model::money::Money;
use crate::store::{Extra, Ip, Store, Tags};

/// A page ends early where its hits' texts are this long: a thousand hits with the largest possible
/// extras would fill the memory.
const MOST_PAGE_BYTES: usize = 1 << 20;

macro_rules! row {
    (|$row:ident, $hit:ident| $($(#[$doc:meta])* $name:ident: $type:ty = $value:expr,)+) => {
        /// A row of `hits`. Fields are the columns.
        #[derive(Clone, Debug)]
        pub struct StoredHit {
            $($(#[$doc])* pub $name: $type,)+
        }

        impl From<HitRow<'_>> for StoredHit {
            /// The row as it would be read after it was written.
            fn from($row: HitRow<'_>) -> Self {
                let $hit = $row.hit;
                Self { $($name: $value.stored(),)+ }
            }
        }

        impl<'r, R: Row> sqlx::FromRow<'r, R> for StoredHit
        where
            usize: sqlx::ColumnIndex<R>,
            $($type: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,)+
        {
            /// Reads a row of [`COLUMNS`]: by place, as names would be looked up for every row.
            fn from_row(row: &'r R) -> sqlx::Result<Self> {
                let mut places = 0..;
                let mut next = || places.next().unwrap_or_default();
                Ok(Self { $($name: row.try_get(next())?,)+ })
            }
        }
    };
}
hit_columns!(row);

impl StoredHit {
    /// A hit as its row would be, before the projection has looked: without a place in the order of
    /// storage and without its person, unless an authenticated sender names it.
    pub fn preview(hit: &Hit) -> Self {
        Self::from(HitRow {
            seq: 0,
            hit,
            contact_id: hit.contact_id,
            counted_revenue: None,
        })
    }

    /// Bytes of the texts that can be long.
    fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        text(&self.page_url)
            + text(&self.referrer)
            + text(&self.page_title)
            + text(&self.user_agent)
            + self.tags.0.iter().map(String::len).sum::<usize>()
            + self.extra.as_ref().map_or(0, |extra| extra.0.get().len())
            + 500
    }
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
                let hit = StoredHit::from_row(&row)?;
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

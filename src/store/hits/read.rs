//! Reading hits, in the order of storage.
//!
//! Nobody holds a snapshot while a slow client reads: a long answer is made of short queries, each
//! of which goes on after the last `seq` of the one before, up to the horizon (see
//! [`super::numbers`]): nothing can appear below it any more.

mod query;

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, FromRow as _, Row};
use uuid::Uuid;

use self::query::{HitSource, Order, PageQuery, SourceId, Stretch, bind, bind_sources};
use super::HitRow;
use super::column::Field as _;
use crate::both;
use crate::model::clock::Micros;
use crate::model::hit::{
    ContactId, DeliveryId, Hit, Kind, LinkId, Verdict, VisitorId, hit_columns,
};
use crate::model::money::Money;
use crate::store::{Extra, Ip, Store, Tags};

/// A page ends early where its hits' texts are this long: a thousand hits with the largest possible
/// extras would fill the memory.
const MOST_PAGE_BYTES: usize = 1 << 20;

/// Maximum number of contacts whose hits one statement combines.
const MOST_SOURCES: usize = 64;

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
            /// Reads a row of [`super::COLUMNS`]: by place, as names would be looked up for every
            /// row.
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
    /// A browser's whose person is unknown.
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
    /// Through one link.
    pub link: Option<LinkId>,
    /// Judged so.
    pub judged: Option<Judged>,
    /// Of one site.
    pub site: Option<String>,
    /// Received from then on.
    pub from: Option<Micros>,
    /// Received before.
    pub to: Option<Micros>,
}

/// How hits were judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// With this verdict.
    As(Verdict),
    /// So that they count in figures.
    Counted,
    /// As a machine's.
    Machine,
}

/// Why a page ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEnd {
    /// No more hits match within the bounds.
    Last,
    /// It has as many as requested.
    Rows,
    /// Its texts are long.
    Bytes,
    /// So many rows were examined that others should have a turn.
    Looked,
}

/// Some hits in the requested order.
#[derive(Clone, Debug)]
pub struct HitPage {
    /// The hits. May be empty although more match further on.
    pub hits: Vec<StoredHit>,
    /// Why there are not more.
    pub end: PageEnd,
    /// All matches up to this number are in this page and those before it.
    pub reached: i64,
}

impl HitPage {
    /// Whether no more hits match within the bounds.
    pub fn is_last(&self) -> bool {
        self.end == PageEnd::Last
    }
}

impl Store {
    /// At most `limit` hits with `after < seq <= until`, oldest first. `until` is at most
    /// [`Self::last_seq`].
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
        let stretch = Stretch {
            above: after,
            until,
            order: Order::OldestFirst,
            limit,
        };
        self.page(filter, stretch).await
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
        let stretch = Stretch {
            above: 0,
            // What is stored meanwhile must not move what the queries of a page see.
            until: self.last_seq().await?.min(before.saturating_sub(1)),
            order: Order::NewestFirst,
            limit,
        };
        self.page(filter, stretch).await
    }

    /// Each person's or delivery's hits come out of an index in the wanted order, and those of
    /// several contacts are combined. The database is never left to choose: without statistics, or
    /// if a value is rare, it would walk through every hit there is.
    async fn page(&self, filter: &HitFilter, stretch: Stretch) -> sqlx::Result<HitPage> {
        let sources = filter.sources();
        let mut parts = sources.chunks(MOST_SOURCES);
        let mut all = self
            .part(filter, parts.next().unwrap_or_default(), stretch)
            .await?;
        for sources in parts {
            all.join(self.part(filter, sources, stretch).await?, stretch);
        }
        Ok(all)
    }

    /// A page of some sources.
    async fn part(
        &self,
        filter: &HitFilter,
        sources: &[HitSource],
        stretch: Stretch,
    ) -> sqlx::Result<HitPage> {
        let query = PageQuery::new(filter, sources, stretch);
        let mut page = HitPage {
            hits: Vec::new(),
            end: PageEnd::Last,
            reached: stretch.end(),
        };
        let mut bytes = 0;
        both!(self.reader(), pool => {
            let mut rows = bind!(query, sqlx::query(AssertSqlSafe(query.rows()))).fetch(pool);
            while let Some(row) = rows.try_next().await? {
                let hit = StoredHit::from_row(&row)?;
                bytes += hit.bytes();
                page.hits.push(hit);
                if bytes > MOST_PAGE_BYTES {
                    break;
                }
            }
        });
        let is_full = (page.hits.len() as i64) == stretch.limit;
        if let Some(last) = page.hits.last()
            && (is_full || bytes > MOST_PAGE_BYTES)
        {
            page.reached = last.seq;
            page.end = if is_full {
                PageEnd::Rows
            } else {
                PageEnd::Bytes
            };
        }
        // Where rows are looked at that do not match, the looking may have ended before the hits.
        if query.looked_at.is_some() && (page.is_last() || sources.len() > 1) {
            // Prepared statements are known by their text: no value is bound that it does not name.
            let looked: Vec<(i64, Option<i64>)> = both!(self.reader(), pool => {
                bind_sources!(query, sqlx::query_as(AssertSqlSafe(query.looks())))
                    .fetch_all(pool)
                    .await?
            });
            for (rows, farthest) in looked {
                if query.looked_at == Some(rows)
                    && let Some(seq) = farthest
                {
                    page.end_at(PageEnd::Looked, seq, stretch.order);
                }
            }
        }
        Ok(page)
    }
}

impl HitPage {
    /// Ends it no later than at a number.
    fn end_at(&mut self, end: PageEnd, seq: i64, order: Order) {
        if order.rank(seq) < order.rank(self.reached) || self.is_last() {
            (self.end, self.reached) = (end, seq);
        }
        let reached = order.rank(self.reached);
        self.hits.retain(|hit| order.rank(hit.seq) <= reached);
    }

    /// Merges another page of the same stretch into it.
    fn join(&mut self, other: Self, stretch: Stretch) {
        let order = stretch.order;
        self.hits.extend(other.hits);
        self.hits.sort_by_key(|hit| order.rank(hit.seq));
        if other.end != PageEnd::Last {
            self.end_at(other.end, other.reached, order);
        } else if self.end != PageEnd::Last {
            self.end_at(self.end, self.reached, order);
        }
        let mut bytes = 0;
        let fitting = self.hits.iter().take_while(|hit| {
            let fits = bytes <= MOST_PAGE_BYTES;
            bytes += hit.bytes();
            fits
        });
        let fitting = fitting.count();
        let most = usize::try_from(stretch.limit).unwrap_or(usize::MAX);
        if let Some(last) = self.hits.get(fitting.min(most).saturating_sub(1))
            && (fitting < self.hits.len() || self.hits.len() >= most)
        {
            let end = if fitting < most {
                PageEnd::Bytes
            } else {
                PageEnd::Rows
            };
            self.end_at(end, last.seq, order);
        }
    }
}

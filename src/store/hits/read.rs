//! Reading hits, in the order of storage.
//!
//! Nobody holds a snapshot while a slow client reads: a long answer is made of short queries, each
//! of which goes on after the last `seq` of the one before, up to the horizon (see
//! [`super::numbers`]): nothing can appear below it any more.

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

/// Rows that are looked at for a page where no index knows which of them match: some 20 ms.
const MOST_LOOKED_AT: i64 = 10_000;
/// Contacts whose hits are put together by one statement.
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
    /// Where its hits come from: what an index gives in the order of numbers.
    fn sources(&self) -> Vec<HitSource> {
        let is_rare = |kind: &Kind| !matches!(kind, Kind::Open | Kind::Click | Kind::Pageview);
        match &self.whose {
            Some(Whose::Contacts(ids)) => ids.iter().copied().map(HitSource::Contact).collect(),
            Some(Whose::Visitor(id)) => vec![HitSource::Visitor(*id)],
            None => vec![match (self.kind.filter(is_rare), self.delivery) {
                (Some(kind), _) => HitSource::RareKind(kind),
                (None, Some(delivery)) => HitSource::Delivery(delivery),
                (None, None) => HitSource::All,
            }],
        }
    }
}

/// Rows that an index gives in the order of `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HitSource {
    All,
    Contact(ContactId),
    Visitor(VisitorId),
    Delivery(DeliveryId),
    /// One that the index `hits_kind` holds.
    RareKind(Kind),
}

/// What a source's condition compares with.
enum SourceId {
    Number(i64),
    Uuid(Uuid),
}

impl HitSource {
    fn id(self) -> Option<SourceId> {
        match self {
            Self::All | Self::RareKind(_) => None,
            Self::Contact(id) => Some(SourceId::Uuid(id.0)),
            Self::Visitor(id) => Some(SourceId::Uuid(id.0)),
            Self::Delivery(id) => Some(SourceId::Number(id.0)),
        }
    }

    /// As SQL, its id in the next place. A kind is written out: the planner has to see that the
    /// index holds it.
    fn condition(self, places: &mut impl Iterator<Item = usize>) -> String {
        let mut equals =
            |name: &str| format!(" and {name} = ${}", places.next().unwrap_or_default());
        match self {
            Self::All => String::new(),
            Self::Contact(_) => equals("contact_id"),
            Self::Visitor(_) => " and contact_id is null".to_owned() + &equals("visitor_id"),
            Self::Delivery(_) => equals("delivery_id"),
            Self::RareKind(kind) => format!(
                " and kind = '{}' and kind not in ('open', 'click', 'pageview')",
                kind.as_str()
            ),
        }
    }
}

/// Binds the values of a [`PageQuery`].
macro_rules! bind {
    ($page:expr, $query:expr) => {{
        let stretch = $page.stretch;
        let mut query = $query.bind(stretch.above).bind(stretch.until);
        for id in $page.ids() {
            query = match id {
                SourceId::Number(id) => query.bind(id),
                SourceId::Uuid(id) => query.bind(id),
            };
        }
        if let Some(delivery) = $page.delivery {
            query = query.bind(delivery.0);
        }
        if let Some(kind) = $page.kind {
            query = query.bind(kind.as_str());
        }
        query.bind(stretch.limit)
    }};
}

/// Why a page ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEnd {
    /// No more hits match within the bounds.
    Last,
    /// It has as many as were asked for.
    Rows,
    /// Its texts are long.
    Bytes,
    /// So many rows were looked at that others are to have a turn.
    Looked,
}

/// Some hits in the order asked for.
#[derive(Clone, Debug)]
pub struct HitPage {
    /// The hits. There may be none although more match further on.
    pub hits: Vec<StoredHit>,
    /// Why there are not more.
    pub end: PageEnd,
    /// What matches up to this number is told, by this page and those before it.
    pub reached: i64,
}

impl HitPage {
    /// Whether no more hits match within the bounds.
    pub fn is_last(&self) -> bool {
        self.end == PageEnd::Last
    }
}

/// Which way the numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    fn sql(self) -> &'static str {
        match self {
            Self::OldestFirst => "order by seq",
            Self::NewestFirst => "order by seq desc",
        }
    }

    /// How far on a number is.
    fn rank(self, seq: i64) -> i64 {
        match self {
            Self::OldestFirst => seq,
            Self::NewestFirst => -seq,
        }
    }
}

/// Which numbers, and how many hits.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Below all of them.
    above: i64,
    /// The greatest of them.
    until: i64,
    order: Order,
    limit: i64,
}

impl Stretch {
    /// Its last number in its order.
    fn end(self) -> i64 {
        match self.order {
            Order::OldestFirst => self.until,
            Order::NewestFirst => self.above.saturating_add(1),
        }
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

    /// Each person's or delivery's hits come out of an index in the order wanted, and those of
    /// several contacts are put together. The database is never left to choose: without statistics,
    /// or where a value is rare, it would walk through every hit there is.
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
            let looked: Vec<(i64, Option<i64>)> = both!(self.reader(), pool => {
                bind!(query, sqlx::query_as(AssertSqlSafe(query.looks()))).fetch_all(pool).await?
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

/// The statements of a page. Their values are bound in this order: the bounds, the sources' ids, the
/// delivery, the kind, the limit.
struct PageQuery<'q> {
    sources: &'q [HitSource],
    stretch: Stretch,
    /// What each row is looked at for.
    delivery: Option<DeliveryId>,
    kind: Option<Kind>,
    /// Most rows of a source that are looked at; none where all of them match.
    looked_at: Option<i64>,
}

impl<'q> PageQuery<'q> {
    fn new(filter: &HitFilter, sources: &'q [HitSource], stretch: Stretch) -> Self {
        let is_source = |wanted: fn(&HitSource) -> bool| sources.iter().any(wanted);
        let delivery = filter
            .delivery
            .filter(|_| !is_source(|source| matches!(source, HitSource::Delivery(_))));
        let kind = filter
            .kind
            .filter(|_| !is_source(|source| matches!(source, HitSource::RareKind(_))));
        let each = MOST_LOOKED_AT / sources.len().max(1) as i64;
        Self {
            sources,
            stretch,
            delivery,
            kind,
            looked_at: (delivery.is_some() || kind.is_some()).then_some(each),
        }
    }

    fn ids(&self) -> impl Iterator<Item = SourceId> {
        self.sources.iter().filter_map(|source| source.id())
    }

    /// The rows of each source in order, `columns` of them, each query with its number.
    fn each(&self, columns: &str) -> impl Iterator<Item = String> {
        let limit = match self.looked_at {
            Some(rows) => rows.to_string(),
            None => format!("${}", 3 + self.ids().count()),
        };
        let order = self.stretch.order.sql();
        let mut places = 3..;
        self.sources.iter().map(move |source| {
            let condition = source.condition(&mut places);
            format!(
                "select {columns} from hits where seq > $1 and seq <= $2{condition} {order} limit {limit}"
            )
        })
    }

    /// The hits.
    fn rows(&self) -> String {
        let columns = COLUMNS.join(", ");
        let each: Vec<String> = self
            .each(&columns)
            .enumerate()
            .map(|(number, rows)| format!("select {columns} from ({rows}) as source_{number}"))
            .collect();
        let mut places = 3 + self.ids().count()..;
        let mut next = |name| format!(" and {name} = ${}", places.next().unwrap_or_default());
        let delivery = self
            .delivery
            .map(|_| next("delivery_id"))
            .unwrap_or_default();
        let kind = self.kind.map(|_| next("kind")).unwrap_or_default();
        format!(
            "select {columns} from ({}) as looked_at where true{delivery}{kind} {} limit ${}",
            each.join(" union all "),
            self.stretch.order.sql(),
            places.next().unwrap_or_default()
        )
    }

    /// Of each source how many rows were looked at, and the farthest of them.
    fn looks(&self) -> String {
        let farthest = match self.stretch.order {
            Order::OldestFirst => "max",
            Order::NewestFirst => "min",
        };
        let each = self.each("seq").enumerate().map(|(number, rows)| {
            format!("select count(*), {farthest}(seq) from ({rows}) as source_{number}")
        });
        each.collect::<Vec<_>>().join(" union all ")
    }
}

impl HitPage {
    /// Ends it no farther than at a number.
    fn end_at(&mut self, end: PageEnd, seq: i64, order: Order) {
        if order.rank(seq) < order.rank(self.reached) || self.is_last() {
            (self.end, self.reached) = (end, seq);
        }
        let reached = order.rank(self.reached);
        self.hits.retain(|hit| order.rank(hit.seq) <= reached);
    }

    /// Puts another page of the same stretch into it.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(limit: i64) -> Stretch {
        Stretch {
            above: 0,
            until: 99,
            order: Order::OldestFirst,
            limit,
        }
    }

    #[test]
    fn values_stand_in_the_order_of_binding() {
        let id = ContactId(Uuid::nil());
        let filter = HitFilter {
            delivery: Some(DeliveryId(1)),
            whose: Some(Whose::Contacts(vec![id, id])),
            kind: Some(Kind::Click),
        };
        let sources = filter.sources();
        let sql = PageQuery::new(&filter, &sources, stretch(10)).rows();
        let wanted = [
            "contact_id = $3 order",
            "contact_id = $4 order",
            "delivery_id = $5 and kind = $6 order by seq limit $7",
        ];
        let mut rest = sql.as_str();
        for text in wanted {
            let Some((_, behind)) = rest.split_once(text) else {
                panic!("no {text} in {rest}");
            };
            rest = behind;
        }
    }

    #[test]
    fn rows_are_looked_at_only_where_no_index_knows_them() {
        let looked_at =
            |filter: HitFilter| PageQuery::new(&filter, &filter.sources(), stretch(10)).looked_at;
        let (delivery, kind) = (Some(DeliveryId(1)), Some(Kind::Optout));
        let click = Some(Kind::Click);
        let all = HitFilter::default();
        assert_eq!(looked_at(all.clone()), None);
        assert_eq!(
            looked_at(HitFilter {
                delivery,
                ..all.clone()
            }),
            None
        );
        assert_eq!(
            looked_at(HitFilter {
                kind,
                ..all.clone()
            }),
            None
        );
        assert!(
            looked_at(HitFilter {
                kind: click,
                ..all.clone()
            })
            .is_some()
        );
        assert!(
            looked_at(HitFilter {
                delivery,
                kind,
                ..all
            })
            .is_some()
        );
    }
}

//! The statements of a page of hits: each source's rows out of an index, put together.

use uuid::Uuid;

use super::{HitFilter, Judged, Whose};
use crate::model::hit::{COLUMNS, ContactId, DeliveryId, Kind, VisitorId};

/// Maximum number of rows to examine for a page if no index knows which of them match: some 20 ms.
const MOST_LOOKED_AT: i64 = 10_000;

impl Judged {
    fn condition(self) -> String {
        match self {
            Self::As(verdict) => format!(" and verdict = '{}'", verdict.as_str()),
            Self::Counted => " and verdict in ('human', 'suspect')".to_owned(),
            Self::Machine => " and verdict not in ('human', 'suspect')".to_owned(),
        }
    }
}

impl HitFilter {
    /// Whether rows have to be looked at for what no index knows.
    fn is_sifted(&self) -> bool {
        self.link.is_some()
            || self.judged.is_some()
            || self.site.is_some()
            || self.from.is_some()
            || self.to.is_some()
    }

    /// Where its hits come from: what an index returns in the order of numbers.
    pub(super) fn sources(&self) -> Vec<HitSource> {
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

/// Rows that an index returns in the order of `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HitSource {
    All,
    Contact(ContactId),
    Visitor(VisitorId),
    Delivery(DeliveryId),
    /// One that the index `hits_kind` contains.
    RareKind(Kind),
}

/// What a source's condition compares with.
pub(super) enum SourceId {
    Number(i64),
    Uuid(Uuid),
}

impl HitSource {
    pub(super) fn id(self) -> Option<SourceId> {
        match self {
            Self::All | Self::RareKind(_) => None,
            Self::Contact(id) => Some(SourceId::Uuid(id.0)),
            Self::Visitor(id) => Some(SourceId::Uuid(id.0)),
            Self::Delivery(id) => Some(SourceId::Number(id.0)),
        }
    }

    /// As SQL, its id in the next place. A kind is written out: the planner must see that the index
    /// contains it.
    pub(super) fn condition(self, places: &mut impl Iterator<Item = usize>) -> String {
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

/// Binds the bounds and the sources' ids of a [`PageQuery`].
macro_rules! bind_sources {
    ($page:expr, $query:expr) => {{
        let stretch = $page.stretch;
        let mut query = $query.bind(stretch.above).bind(stretch.until);
        for id in $page.ids() {
            query = match id {
                SourceId::Number(id) => query.bind(id),
                SourceId::Uuid(id) => query.bind(id),
            };
        }
        query
    }};
}
pub(super) use bind_sources;

/// Binds all values of a [`PageQuery`].
macro_rules! bind {
    ($page:expr, $query:expr) => {{
        let mut query = bind_sources!($page, $query);
        if let Some(delivery) = $page.delivery {
            query = query.bind(delivery.0);
        }
        if let Some(kind) = $page.kind {
            query = query.bind(kind.as_str());
        }
        if let Some(link) = $page.filter.link {
            query = query.bind(link);
        }
        if let Some(site) = &$page.filter.site {
            query = query.bind(site);
        }
        for at in [$page.filter.from, $page.filter.to].into_iter().flatten() {
            query = query.bind(at);
        }
        query.bind($page.stretch.limit)
    }};
}
pub(super) use bind;

/// Which way the numbers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Order {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::OldestFirst => "order by seq",
            Self::NewestFirst => "order by seq desc",
        }
    }

    /// How far on a number is.
    pub(super) fn rank(self, seq: i64) -> i64 {
        match self {
            Self::OldestFirst => seq,
            Self::NewestFirst => -seq,
        }
    }
}

/// Which numbers, and how many hits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Below all of them.
    pub(super) above: i64,
    /// The greatest of them.
    pub(super) until: i64,
    pub(super) order: Order,
    pub(super) limit: i64,
}

impl Stretch {
    /// Its last number in its order.
    pub(super) fn end(self) -> i64 {
        match self.order {
            Order::OldestFirst => self.until,
            Order::NewestFirst => self.above.saturating_add(1),
        }
    }
}

/// The statements of a page. Their values are bound in this order: the bounds, the sources' ids,
/// the delivery, the kind, the link, the site, the times, the limit.
pub(super) struct PageQuery<'q> {
    pub(super) filter: &'q HitFilter,
    sources: &'q [HitSource],
    pub(super) stretch: Stretch,
    /// Conditions that are checked row by row.
    pub(super) delivery: Option<DeliveryId>,
    pub(super) kind: Option<Kind>,
    /// Maximum number of rows of a source to examine; `None` if all of them match.
    pub(super) looked_at: Option<i64>,
}

impl<'q> PageQuery<'q> {
    pub(super) fn new(filter: &'q HitFilter, sources: &'q [HitSource], stretch: Stretch) -> Self {
        let is_source = |wanted: fn(&HitSource) -> bool| sources.iter().any(wanted);
        let delivery = filter
            .delivery
            .filter(|_| !is_source(|source| matches!(source, HitSource::Delivery(_))));
        let kind = filter
            .kind
            .filter(|_| !is_source(|source| matches!(source, HitSource::RareKind(_))));
        let each = MOST_LOOKED_AT / sources.len().max(1) as i64;
        let is_sifted = filter.is_sifted() || delivery.is_some() || kind.is_some();
        Self {
            filter,
            sources,
            stretch,
            delivery,
            kind,
            looked_at: is_sifted.then_some(each),
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SourceId> {
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
                "select {columns} from hits where seq > $1 and seq <= $2{condition} {order}
                 limit {limit}"
            )
        })
    }

    /// The hits.
    pub(super) fn rows(&self) -> String {
        let columns = COLUMNS.join(", ");
        let each: Vec<String> = self
            .each(&columns)
            .enumerate()
            .map(|(number, rows)| format!("select {columns} from ({rows}) as source_{number}"))
            .collect();
        let mut places = 3 + self.ids().count()..;
        let filter = self.filter;
        let conditions = [
            self.delivery.map(|_| "delivery_id ="),
            self.kind.map(|_| "kind ="),
            filter.link.map(|_| "link_id ="),
            filter.site.as_ref().map(|_| "site ="),
            filter.from.map(|_| "received_at >="),
            filter.to.map(|_| "received_at <"),
        ];
        let mut sifted: String = conditions
            .into_iter()
            .flatten()
            .map(|condition| format!(" and {condition} ${}", places.next().unwrap_or_default()))
            .collect();
        sifted += &filter.judged.map_or_else(String::new, Judged::condition);
        format!(
            "select {columns} from ({}) as looked_at where true{sifted} {} limit ${}",
            each.join(" union all "),
            self.stretch.order.sql(),
            places.next().unwrap_or_default()
        )
    }

    /// For each source, how many rows were examined, and the farthest of them.
    pub(super) fn looks(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Micros;
    use crate::model::hit::LinkId;

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
            link: Some(LinkId(1)),
            site: Some("s".to_owned()),
            from: Some(Micros(0)),
            to: Some(Micros(1)),
            judged: Some(Judged::Counted),
        };
        let sources = filter.sources();
        let sql = PageQuery::new(&filter, &sources, stretch(10)).rows();
        let wanted = [
            "contact_id = $3 order",
            "contact_id = $4 order",
            "delivery_id = $5 and kind = $6 and link_id = $7 and site = $8",
            "received_at >= $9 and received_at < $10 and verdict in ('human', 'suspect')",
            "order by seq limit $11",
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

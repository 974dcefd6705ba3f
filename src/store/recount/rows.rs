//! The tables of figures that are counted again, and what of each is compared.

use std::fmt::Debug;

use uuid::Uuid;

use super::Bounds;
use super::compare::Row;
use crate::from_row;
use crate::model::clock::Micros;
use crate::store::figures::{Listed, Repair, TimeColumns, Visitors};

/// Compares texts byte by byte, as a table that an earlier version made may not.
fn in_order(columns: &[&str], texts: &[&str], is_postgres: bool) -> String {
    let column = |name: &&str| match is_postgres && texts.contains(name) {
        true => format!("{name} collate \"C\""),
        false => (*name).to_owned(),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

const TEXTS: [&str; 7] = [
    "kind",
    "currency",
    "site",
    "verdict",
    "reason",
    "dimension",
    "value",
];

/// Selects columns of a table, of which the first few are its key.
fn select(table: &str, columns: &[&str], keys: usize, rest: &str, is_postgres: bool) -> String {
    let order = in_order(&columns[..keys], &TEXTS, is_postgres);
    format!(
        "select {} from {table} {rest} order by {order}",
        columns.join(", ")
    )
}

/// Hits, messages whose first activity it was, messages whose first hit of the kind it was.
type Counted = (i64, i64, i64);

/// What has to be added to a row.
fn difference<R: Row<Counts = Counted>>(kept: Option<&R>, right: Option<&R>) -> Counted {
    let counts = |row: Option<&R>| row.map(R::counts).unwrap_or_default();
    let (from, to) = (counts(kept), counts(right));
    (to.0 - from.0, to.1 - from.1, to.2 - from.2)
}

/// A row that counts hits: its table and key, when all its hits are there, and what adds the
/// difference to it.
macro_rules! row_of_hits {
    (
        $(#[$doc:meta])*
        $name:ident of $table:literal { $($key:ident: $type:ty),+ $(,)? },
        |$row:ident, $bounds:ident| $is_whole:expr,
        |$found:ident, $more:ident, $repair:ident| $add:expr $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name {
            $($key: $type,)+
            hits: i64,
            new_broadlogs: i64,
            distinct_broadlogs: i64,
        }

        from_row!($name, row => { $($key,)+ hits, new_broadlogs, distinct_broadlogs });

        impl Row for $name {
            const TABLE: &'static str = $table;
            type Key = ($($type,)+);
            type Counts = Counted;

            fn sql(is_postgres: bool) -> String {
                let keys = [$(stringify!($key)),+];
                let counts = ["hits", "new_broadlogs", "distinct_broadlogs"];
                let columns = [&keys[..], &counts[..]].concat();
                select(Self::TABLE, &columns, keys.len(), "", is_postgres)
            }

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn counts(&self) -> Counted {
                (self.hits, self.new_broadlogs, self.distinct_broadlogs)
            }

            fn is_whole(&self, $bounds: &Bounds) -> bool {
                let $row = self;
                $is_whole
            }

            fn repair(kept: Option<&Self>, right: Option<&Self>, $repair: &mut Repair) {
                let Some(row) = kept.or(right) else { return };
                let ($found, $more) = (row.key(), difference(kept, right));
                $add
            }
        }
    };
}

row_of_hits!(
    TimeRow of "time_figures" {
        delivery_id: i64,
        at: Micros,
        kind: String,
        link_id: i64,
        currency: String,
        site: String,
        verdict: String,
        reason: String,
    },
    |row, bounds| bounds.holds(row.at),
    |key, more, repair| repair.add_times(key, more),
);
row_of_hits!(
    DeliveryRow of "delivery_figures" {
        delivery_id: i64,
        link_id: i64,
        kind: String,
        verdict: String,
        reason: String,
        currency: String,
    },
    |row, bounds| bounds.holds_delivery(row.delivery_id),
    |key, more, repair| {
        let (delivery, link, kind, verdict, reason, currency) = key;
        let (none, at) = (String::new(), Micros(0));
        let key = (delivery, at, kind, link, currency, none, verdict, reason);
        repair.add_delivery(key, more);
    },
);
row_of_hits!(
    SiteRow of "site_figures" {
        at: Micros,
        site: String,
        kind: String,
        verdict: String,
        reason: String,
        currency: String,
    },
    |row, bounds| bounds.holds(row.at),
    |key, more, repair| repair.add_site(false, of_site(key), more),
);
row_of_hits!(
    SiteDayRow of "site_days" {
        at: Micros,
        site: String,
        kind: String,
        verdict: String,
        reason: String,
        currency: String,
    },
    |row, bounds| bounds.holds(row.at),
    |key, more, repair| repair.add_site(true, of_site(key), more),
);

/// The key of a row of a site among those of the finest grain.
fn of_site(key: (Micros, String, String, String, String, String)) -> TimeColumns {
    let (at, site, kind, verdict, reason, currency) = key;
    (0, at, kind, 0, currency, site, verdict, reason)
}

/// The non-monetary counts of a message.
#[derive(Debug)]
pub(super) struct MessageRow {
    broadlog_id: i64,
    delivery_id: i64,
    first_open_at: Option<Micros>,
    first_click_at: Option<Micros>,
    opens: i64,
    clicks: i64,
    pages: i64,
    listed: Listed,
}

from_row!(MessageRow, row => {
    broadlog_id, delivery_id, first_open_at, first_click_at, opens, clicks, pages,
} { listed: Listed::stored(row.try_get("hits")?) });

/// The hits of a message, alike where they may be the same.
#[derive(Debug, Default)]
pub(super) struct Counting(Option<Listed>);

impl PartialEq for Counting {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.is_like(other),
            (one, other) => one.is_none() == other.is_none(),
        }
    }
}

impl Row for MessageRow {
    const TABLE: &'static str = "broadlog_figures";
    type Key = i64;
    /// And whether it exists: then its next hit is not its first.
    type Counts = (i64, i64, i64, Option<Micros>, Option<Micros>, Counting);

    fn sql(is_postgres: bool) -> String {
        let columns = [
            "broadlog_id",
            "delivery_id",
            "first_open_at",
            "first_click_at",
            "opens",
            "clicks",
            "pages",
            "hits",
        ];
        select(Self::TABLE, &columns, 1, "where currency = ''", is_postgres)
    }

    fn key(&self) -> i64 {
        self.broadlog_id
    }

    fn counts(&self) -> Self::Counts {
        (
            self.opens,
            self.clicks,
            self.pages,
            self.first_open_at,
            self.first_click_at,
            Counting(Some(self.listed.clone())),
        )
    }

    fn is_unlisted(&self) -> bool {
        self.listed.lacks_earlier()
    }

    fn is_whole(&self, bounds: &Bounds) -> bool {
        bounds.holds_delivery(self.delivery_id)
    }

    fn message(&self) -> Option<(i64, i64)> {
        Some((self.broadlog_id, self.delivery_id))
    }

    fn repair(kept: Option<&Self>, right: Option<&Self>, repair: &mut Repair) {
        let Some(row) = right.or(kept) else { return };
        let counts = |row: Option<&Self>| row.map(Self::counts).unwrap_or_default();
        let (from, to) = (counts(kept), counts(right));
        let more = (to.0 - from.0, to.1 - from.1, to.2 - from.2);
        let lists = (
            kept.map_or_else(Listed::default, |row| row.listed.clone()),
            right.map_or_else(Listed::default, |row| row.listed.clone()),
        );
        let firsts = (to.3, to.4);
        repair.add_message(row.broadlog_id, row.delivery_id, more, firsts, lists);
    }
}

#[derive(Debug)]
pub(super) struct ClickerRow {
    delivery_id: i64,
    visitor_id: Uuid,
    link_id: i64,
    first_at: Micros,
    clicks: i64,
}

from_row!(ClickerRow, row => { delivery_id, visitor_id, link_id, first_at, clicks });

impl Row for ClickerRow {
    const TABLE: &'static str = "clicking_visitors";
    type Key = (i64, Uuid, i64);
    type Counts = i64;

    fn sql(is_postgres: bool) -> String {
        let columns = ["delivery_id", "visitor_id", "link_id", "first_at", "clicks"];
        select(Self::TABLE, &columns, 3, "", is_postgres)
    }

    fn key(&self) -> Self::Key {
        (self.delivery_id, self.visitor_id, self.link_id)
    }

    fn counts(&self) -> i64 {
        self.clicks
    }

    fn is_whole(&self, bounds: &Bounds) -> bool {
        bounds.holds_delivery(self.delivery_id)
    }

    fn repair(kept: Option<&Self>, right: Option<&Self>, repair: &mut Repair) {
        let Some(row) = right.or(kept) else { return };
        let counts = |row: Option<&Self>| row.map(Self::counts).unwrap_or_default();
        repair.add_clicker(row.key(), row.first_at, counts(right) - counts(kept));
    }
}

#[derive(Debug)]
pub(super) struct ClickRow {
    delivery_id: i64,
    link_id: i64,
    visitors: i64,
}

from_row!(ClickRow, row => { delivery_id, link_id, visitors });

impl Row for ClickRow {
    const TABLE: &'static str = "click_figures";
    type Key = (i64, i64);
    type Counts = i64;

    fn sql(is_postgres: bool) -> String {
        select(
            Self::TABLE,
            &["delivery_id", "link_id", "visitors"],
            2,
            "",
            is_postgres,
        )
    }

    fn key(&self) -> Self::Key {
        (self.delivery_id, self.link_id)
    }

    fn counts(&self) -> i64 {
        self.visitors
    }

    fn is_whole(&self, bounds: &Bounds) -> bool {
        bounds.holds_delivery(self.delivery_id)
    }
}

/// All values of a day together: which of them had room of their own depends on what came first.
#[derive(Debug)]
pub(super) struct TopRow {
    day: Micros,
    site: String,
    dimension: String,
    kind: String,
    hits: i64,
}

from_row!(TopRow, row => { day, site, dimension, kind, hits });

impl Row for TopRow {
    const TABLE: &'static str = "top_figures";
    type Key = (Micros, String, String, String);
    type Counts = i64;

    fn sql(is_postgres: bool) -> String {
        let keys = ["day", "site", "dimension", "kind"];
        format!(
            "select day, site, dimension, kind, cast(sum(hits) as bigint) as hits from top_figures
             group by day, site, dimension, kind order by {}",
            in_order(&keys, &TEXTS, is_postgres)
        )
    }

    fn key(&self) -> Self::Key {
        (
            self.day,
            self.site.clone(),
            self.dimension.clone(),
            self.kind.clone(),
        )
    }

    fn counts(&self) -> i64 {
        self.hits
    }

    fn is_whole(&self, bounds: &Bounds) -> bool {
        bounds.holds(self.day)
    }

    /// A day that was not counted at all; for others nobody knows which values are missing.
    fn repair(kept: Option<&Self>, right: Option<&Self>, repair: &mut Repair) {
        if let (None, Some(row)) = (kept, right) {
            repair.add_top_day(row.key());
        }
    }
}

#[derive(Debug)]
pub(super) struct SketchRow {
    at: Micros,
    site: String,
    visitors: i64,
    sketch: Sketch,
}

/// Does not show its bytes.
struct Sketch(Vec<u8>);

impl Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

from_row!(SketchRow, row => { at, site } {
    visitors: estimate(&row.try_get::<Vec<u8>, _>("sketch")?),
    sketch: Sketch(row.try_get("sketch")?),
});

/// A damaged one counts as below zero.
fn estimate(sketch: &[u8]) -> i64 {
    let mut visitors = Visitors::default();
    if visitors.add_sketch(sketch) {
        visitors.estimate()
    } else {
        -1
    }
}

impl Row for SketchRow {
    const TABLE: &'static str = "visitor_sketches";
    type Key = (Micros, String);
    type Counts = i64;

    fn sql(is_postgres: bool) -> String {
        select(Self::TABLE, &["at", "site", "sketch"], 2, "", is_postgres)
    }

    fn key(&self) -> Self::Key {
        (self.at, self.site.clone())
    }

    fn counts(&self) -> i64 {
        self.visitors
    }

    fn is_whole(&self, bounds: &Bounds) -> bool {
        bounds.holds(self.at) && !bounds.stale.contains(&self.key())
    }

    /// Adds those that are missing; surplus ones stay.
    fn repair(_kept: Option<&Self>, right: Option<&Self>, repair: &mut Repair) {
        if let Some(row) = right {
            repair.add_visitors(row.key(), &row.sketch.0);
        }
    }
}

//! Who clicked: each visitor once for a delivery, and once for each of its links that it followed,
//! with how often, so that a click can be taken back. Links that belong to no delivery are delivery
//! 0's, which is never counted as a whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use sqlx::Row as _;

use super::Figures;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, Kind, VisitorId};
use crate::store::{Bulk, Found, Tx, Writes};
use crate::{execute_bulk, fetch_bulk};

/// A delivery, a visitor, and the link that it followed; 0 means none.
pub(super) type Clicker = (i64, VisitorId, i64);

impl Figures {
    /// Counts who clicked, if anyone did.
    pub(super) fn add_clicker(&mut self, hit: &Hit) {
        let (Kind::Click, Some(visitor)) = (hit.kind, hit.visitor_id) else {
            return;
        };
        let delivery = hit.delivery_id.map_or(0, |id| id.0);
        let link = hit.link_id.map_or(0, |id| id.0);
        if (delivery, link) == (0, 0) {
            return;
        }
        let clicker = (delivery, visitor, link);
        let clicks = Clicks {
            count: 1,
            first: hit.received_at,
        };
        let clickers = &mut self.totals.sets.clickers;
        clickers.entry(clicker).or_insert(NONE).add(clicks);
    }
}

/// How often somebody clicked, and when first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clicks {
    pub(super) count: i64,
    pub(super) first: Micros,
}

pub(super) const NONE: Clicks = Clicks {
    count: 0,
    first: Micros(i64::MAX),
};

impl Clicks {
    pub(super) fn add(&mut self, more: Self) {
        self.count += more.count;
        self.first = self.first.min(more.first);
    }
}

/// Who clicked.
pub(super) type Clickers = BTreeMap<Clicker, Clicks>;

/// A delivery and a visitor.
type Visited = (i64, VisitorId);

fn visitors(clickers: &Clickers) -> BTreeSet<Visited> {
    clickers.keys().map(|key| (key.0, key.1)).collect()
}

/// Looks up which links these visitors are known to have followed.
pub(super) fn look_up(clickers: &Clickers) -> (Bulk, &'static str) {
    let visitors = visitors(clickers);
    let rows = Bulk::new()
        .big("delivery_id", visitors.iter().map(|key| key.0))
        .uuid("visitor_id", visitors.iter().map(|key| key.1.0));
    // `cross join`: SQLite looks the rows up, and does not walk through the table.
    let sql = "select rows.number, c.link_id as value, {none} as bytes
               from {rows} cross join clicking_visitors c
               where c.delivery_id = rows.delivery_id and c.visitor_id = rows.visitor_id";
    (rows, sql)
}

/// Adds who clicked how often, and how many did for the first time: for each link, and under 0 for
/// the whole delivery. `found` is what was looked up.
pub(super) async fn save(
    tx: &mut Tx,
    clickers: &Clickers,
    found: &[Found],
    writes: &mut Writes,
) -> sqlx::Result<()> {
    let visitors = Vec::from_iter(visitors(clickers));
    let known = found.iter().filter_map(|found| {
        let (delivery, visitor) = visitors.get(usize::try_from(found.number).ok()?)?;
        Some((*delivery, *visitor, found.value))
    });
    let known: HashSet<Clicker> = known.collect();
    let mut visitors_known: HashSet<Visited> = known.iter().map(|key| (key.0, key.1)).collect();
    let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    let new = clickers.keys().filter(|clicker| !known.contains(clicker));
    for (delivery, visitor, link) in new {
        if *link != 0 {
            *counts.entry((*delivery, *link)).or_default() += 1;
        }
        if *delivery != 0 && visitors_known.insert((*delivery, *visitor)) {
            *counts.entry((*delivery, 0)).or_default() += 1;
        }
    }
    let rows = columns(clickers.keys())
        .time("first_at", clickers.values().map(|clicks| clicks.first))
        .big("clicks", clickers.values().map(|clicks| clicks.count));
    let sql = "insert into clicking_visitors (delivery_id, visitor_id, link_id, first_at, clicks)
               select delivery_id, visitor_id, link_id, first_at, clicks from {rows} where true
               on conflict (delivery_id, visitor_id, link_id) do update set
                   clicks = clicking_visitors.clicks + excluded.clicks";
    writes.add(tx, rows, sql).await?;
    let rows = figure_rows(&counts);
    writes.add(tx, rows, ADD_VISITORS).await
}

const ADD_VISITORS: &str = "insert into click_figures (delivery_id, link_id, visitors)
    select delivery_id, link_id, visitors from {rows} where true
    on conflict (delivery_id, link_id) do update set
        visitors = click_figures.visitors + excluded.visitors";

/// Visitors of a delivery and a link.
fn figure_rows(counts: &BTreeMap<(i64, i64), i64>) -> Bulk {
    Bulk::new()
        .big("delivery_id", counts.keys().map(|key| key.0))
        .big("link_id", counts.keys().map(|key| key.1))
        .big("visitors", counts.values().copied())
}

fn columns<'c>(clickers: impl Iterator<Item = &'c Clicker> + Clone) -> Bulk {
    Bulk::new()
        .big("delivery_id", clickers.clone().map(|key| key.0))
        .uuid("visitor_id", clickers.clone().map(|key| key.1.0))
        .big("link_id", clickers.map(|key| key.2))
}

/// Takes clicks back, given as counts below zero; who has none left is a clicker no more.
pub(super) async fn take_back(tx: &mut Tx, clickers: &Clickers) -> sqlx::Result<()> {
    let visitors = visitors(clickers);
    let known: Vec<(Clicker, i64)> = fetch_bulk!(
        &mut *tx,
        Bulk::new()
            .big("delivery_id", visitors.iter().map(|key| key.0))
            .uuid("visitor_id", visitors.iter().map(|key| key.1.0)),
        "select c.delivery_id, c.visitor_id, c.link_id, c.clicks from {rows} cross
         join clicking_visitors c
         where c.delivery_id = rows.delivery_id and c.visitor_id = rows.visitor_id",
        row => (
            (
                row.try_get("delivery_id")?,
                VisitorId(row.try_get("visitor_id")?),
                row.try_get("link_id")?,
            ),
            row.try_get("clicks")?,
        )
    )?;
    let mut left: BTreeMap<Visited, i64> = BTreeMap::new();
    let (mut fewer, mut gone) = (Clickers::new(), Vec::new());
    let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (clicker, clicks) in known {
        let (delivery, visitor, link) = clicker;
        let links = left.entry((delivery, visitor)).or_default();
        *links += 1;
        // Those that are not known were removed with their month.
        match clickers.get(&clicker) {
            Some(taken) if clicks + taken.count <= 0 => {
                *links -= 1;
                gone.push(clicker);
                if link != 0 {
                    *counts.entry((delivery, link)).or_default() -= 1;
                }
            }
            Some(taken) => {
                fewer.insert(clicker, *taken);
            }
            None => {}
        }
    }
    let is_gone = |of: &(&Visited, &i64)| *of.1 == 0 && of.0.0 != 0;
    for ((delivery, _), _) in left.iter().filter(is_gone) {
        *counts.entry((*delivery, 0)).or_default() -= 1;
    }
    execute_bulk!(
        &mut *tx,
        columns(fewer.keys()).big("clicks", fewer.values().map(|clicks| clicks.count)),
        "update clicking_visitors set clicks = clicking_visitors.clicks + rows.clicks from {rows}
         where clicking_visitors.delivery_id = rows.delivery_id
             and clicking_visitors.visitor_id = rows.visitor_id
             and clicking_visitors.link_id = rows.link_id"
    )?;
    execute_bulk!(
        &mut *tx,
        columns(gone.iter()),
        "delete from clicking_visitors where (delivery_id, visitor_id, link_id) in
             (select rows.delivery_id, rows.visitor_id, rows.link_id from {rows})"
    )?;
    execute_bulk!(tx, figure_rows(&counts), ADD_VISITORS).map(|_| ())
}

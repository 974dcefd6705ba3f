//! Who clicked: each visitor once for a delivery, and once for each of its links that it followed.
//! Links that belong to no delivery are delivery 0's, which is never counted as a whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Figures;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, Kind, VisitorId};
use crate::store::{Bulk, Found, Tx, Writes};

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
        let first = self
            .totals
            .sets
            .clickers
            .entry(clicker)
            .or_insert(hit.received_at);
        *first = (*first).min(hit.received_at);
    }
}

/// Who clicked, and when first.
pub(super) type Clickers = BTreeMap<Clicker, Micros>;

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

/// Writes who clicked for the first time, and adds how many those are: for each link, and under 0
/// for the whole delivery. `found` is what was looked up.
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
    let new: Vec<(&Clicker, &Micros)> = clickers
        .iter()
        .filter(|(clicker, _)| !known.contains(clicker))
        .collect();
    for ((delivery, visitor, link), _) in &new {
        if *link != 0 {
            *counts.entry((*delivery, *link)).or_default() += 1;
        }
        if *delivery != 0 && visitors_known.insert((*delivery, *visitor)) {
            *counts.entry((*delivery, 0)).or_default() += 1;
        }
    }
    let of_new = || new.iter().copied();
    let rows = Bulk::new()
        .big("delivery_id", of_new().map(|(key, _)| key.0))
        .uuid("visitor_id", of_new().map(|(key, _)| key.1.0))
        .big("link_id", of_new().map(|(key, _)| key.2))
        .time("first_at", of_new().map(|(_, first)| *first));
    let sql = "insert into clicking_visitors (delivery_id, visitor_id, link_id, first_at)
               select delivery_id, visitor_id, link_id, first_at from {rows} where true";
    writes.add(tx, rows, sql).await?;
    let rows = Bulk::new()
        .big("delivery_id", counts.keys().map(|key| key.0))
        .big("link_id", counts.keys().map(|key| key.1))
        .big("visitors", counts.values().copied());
    let sql = "insert into click_figures (delivery_id, link_id, visitors)
               select delivery_id, link_id, visitors from {rows} where true
               on conflict (delivery_id, link_id) do update set
                   visitors = click_figures.visitors + excluded.visitors";
    writes.add(tx, rows, sql).await
}

//! Who clicked: each visitor once for a delivery and once for each of its links.

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::Figures;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, Kind, VisitorId};
use crate::store::{Bulk, Tx};
use crate::{execute_bulk, fetch_bulk};

/// A delivery, a link of it (0: any) and a visitor.
pub(super) type Clicker = (i64, i64, VisitorId);

impl Figures {
    /// Counts who clicked, where somebody did.
    pub(super) fn add_clicker(&mut self, hit: &Hit) {
        let (Kind::Click, Some(visitor), Some(delivery)) =
            (hit.kind, hit.visitor_id, hit.delivery_id)
        else {
            return;
        };
        let link = hit.link_id.map_or(0, |id| id.0);
        for link in [0, link] {
            let clicker = (delivery.0, link, visitor);
            let first = self.clickers.entry(clicker).or_insert(hit.received_at);
            *first = (*first).min(hit.received_at);
        }
    }
}

/// Writes who clicked for the first time, and how many those are.
pub(super) async fn save(tx: &mut Tx, clickers: &BTreeMap<Clicker, Micros>) -> sqlx::Result<()> {
    let keys = clickers.keys();
    let new: Vec<(i64, i64)> = fetch_bulk!(
        &mut *tx,
        Bulk::new()
            .big("delivery_id", keys.clone().map(|key| key.0))
            .big("link_id", keys.clone().map(|key| key.1))
            .uuid("visitor_id", keys.map(|key| key.2.0))
            .time("first_at", clickers.values().copied()),
        "insert into clicking_visitors (delivery_id, link_id, visitor_id, first_at)
         select delivery_id, link_id, visitor_id, first_at from {rows} where true
         on conflict (delivery_id, link_id, visitor_id) do nothing returning delivery_id, link_id",
        row => (row.try_get(0)?, row.try_get(1)?)
    )?;
    let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for place in new {
        *counts.entry(place).or_default() += 1;
    }
    execute_bulk!(
        tx,
        Bulk::new()
            .big("delivery_id", counts.keys().map(|key| key.0))
            .big("link_id", counts.keys().map(|key| key.1))
            .big("visitors", counts.values().copied()),
        "insert into click_figures (delivery_id, link_id, visitors)
         select delivery_id, link_id, visitors from {rows} where true
         on conflict (delivery_id, link_id) do update set
             visitors = click_figures.visitors + excluded.visitors"
    )
    .map(|_| ())
}

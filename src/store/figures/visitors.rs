//! How many visitors a site had: a sketch each half hour, which any period is put together from.
//!
//! A sketch is HyperLogLog with 4,096 registers in the Apache DataSketches' format, 2 KB at most:
//! its estimate is off by 1.6 % (one standard deviation). Half hours, since nearly all zones' days
//! begin on one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use datasketches::hash::value::raw_bytes;
use datasketches::hll::{HllSketch, HllType, HllUnion};

use super::sites::Nameless;
use crate::model::clock::Micros;
use crate::model::hit::{Hit, VisitorId};
use crate::store::{Bulk, Found, Tx, Writes};

/// Binary logarithm of the number of registers.
const REGISTERS: u8 = 12;

/// Some visitors, each counted once.
#[derive(Debug)]
pub struct Visitors(HllUnion);

impl Default for Visitors {
    fn default() -> Self {
        #[expect(clippy::unwrap_used, reason = "12 is among the sizes that there are")]
        Self(HllUnion::new(REGISTERS).unwrap())
    }
}

impl Visitors {
    /// Adds one.
    pub fn add(&mut self, id: VisitorId) {
        self.0.update_value(raw_bytes::from_slice(id.0.as_bytes()));
    }

    /// Adds those of a stored sketch; false if it is damaged.
    pub fn add_sketch(&mut self, sketch: &[u8]) -> bool {
        match HllSketch::deserialize(sketch) {
            Ok(sketch) => {
                self.0.update(&sketch);
                true
            }
            Err(_) => false,
        }
    }

    /// Adds others.
    pub fn merge(&mut self, more: &Self) {
        self.0.update(&more.0.to_sketch(HllType::Hll8));
    }

    /// Roughly how many they are; exact up to some hundred. Independent of the order in which they
    /// came, and of how sketches were merged.
    pub fn estimate(&self) -> i64 {
        self.0.composite_estimate().round() as i64
    }

    /// As it is stored.
    pub fn sketch(&self) -> Vec<u8> {
        self.0.to_sketch(HllType::Hll4).serialize()
    }
}

type VisitorsKey = (Micros, String);

/// Visitors by half hour and site.
#[derive(Debug, Default)]
pub(super) struct SiteVisitors {
    of: BTreeMap<VisitorsKey, Visitors>,
}

impl SiteVisitors {
    /// Counts the visitor of a person's hit.
    pub(super) fn add(&mut self, hit: &Hit) {
        if let Some(visitor) = hit.visitor_id {
            let key = (hit.counted_at().half_hour(), hit.site.clone());
            self.of.entry(key).or_default().add(visitor);
        }
    }

    /// Adds visitors to a half hour.
    pub(super) fn add_all(&mut self, key: VisitorsKey, visitors: Visitors) {
        match self.of.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(visitors);
            }
            Entry::Occupied(entry) => entry.into_mut().merge(&visitors),
        }
    }

    /// Takes another batch's.
    pub(super) fn merge(&mut self, more: Self) {
        for (key, visitors) in more.of {
            self.add_all(key, visitors);
        }
    }

    /// With the sites by the names that figures use for them.
    pub(super) fn named(self, nameless: &Nameless) -> Self {
        let mut named = Self::default();
        for ((at, site), visitors) in self.of {
            named.add_all((at, nameless.name(site)), visitors);
        }
        named
    }

    /// Looks up the sketches of the table.
    pub(super) fn look_up(&self) -> (Bulk, &'static str) {
        let sql = "select rows.number, 0 as value, s.sketch as bytes from {rows}
                   join visitor_sketches s on s.at = rows.at and s.site = rows.site";
        (keys(self.of.keys()), sql)
    }

    /// Adds the visitors to those of the table. `found` is what was looked up.
    pub(super) async fn save(
        self,
        tx: &mut Tx,
        found: Vec<Found>,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let mut there: BTreeMap<i64, Option<Vec<u8>>> = found
            .into_iter()
            .map(|found| (found.number, found.bytes))
            .collect();
        let mut changed: Vec<(VisitorsKey, Vec<u8>)> = Vec::new();
        for ((key, mut visitors), number) in self.of.into_iter().zip(0..) {
            let before = there.remove(&number).flatten();
            if before
                .as_ref()
                .is_some_and(|before| !visitors.add_sketch(before))
            {
                tracing::error!(site = key.1, "a damaged visitor sketch was started over");
            }
            let sketch = visitors.sketch();
            if before.is_none_or(|before| before != sketch) {
                changed.push((key, sketch));
            }
        }
        let rows = keys(changed.iter().map(|(key, _)| key))
            .bytes("sketch", changed.iter().map(|(_, sketch)| sketch.clone()));
        let sql = "insert into visitor_sketches (at, site, sketch)
                   select at, site, sketch from {rows} where true
                   on conflict (at, site) do update set sketch = excluded.sketch";
        writes.add(tx, rows, sql).await
    }
}

fn keys<'k>(keys: impl Iterator<Item = &'k VisitorsKey> + Clone) -> Bulk {
    Bulk::new()
        .time("at", keys.clone().map(|key| key.0))
        .text("site", keys.map(|key| key.1.clone()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn visitors(from: u128, to: u128) -> Visitors {
        let mut visitors = Visitors::default();
        for number in from..to {
            // Ids are random; numbers in a row are a harder case.
            visitors.add(VisitorId(Uuid::from_u128(number)));
        }
        visitors
    }

    #[test]
    fn a_visitor_of_two_sketches_is_counted_once() {
        let mut all = Visitors::default();
        for (from, to) in [(0, 60_000), (30_000, 90_000), (89_999, 90_000)] {
            let sketch = visitors(from, to).sketch();
            assert!(sketch.len() < 4_000, "{}", sketch.len());
            assert!(all.add_sketch(&sketch));
        }
        let off = (all.estimate() - 90_000).abs();
        assert!(off < 90_000 * 5 / 100, "{}", all.estimate());
    }

    #[test]
    fn the_estimate_is_that_of_the_same_visitors_in_any_order() {
        let whole = visitors(0, 9_000);
        let mut parts = Visitors::default();
        for (from, to) in [(6_000, 9_000), (0, 40), (0, 6_000)] {
            assert!(parts.add_sketch(&visitors(from, to).sketch()));
        }
        assert_eq!(parts.estimate(), whole.estimate());
    }

    #[test]
    fn few_are_counted_exactly() {
        for count in [0, 1, 2, 7, 100] {
            assert_eq!(visitors(0, count).estimate(), count as i64);
            let mut again = Visitors::default();
            assert!(again.add_sketch(&visitors(0, count).sketch()));
            assert_eq!(again.estimate(), count as i64);
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_sketches_are_no_panic(bytes in proptest::collection::vec(0_u8.., 0..200),
                                         at in 0_usize..2_000, byte in 0_u8..) {
            Visitors::default().add_sketch(&bytes);
            let mut sketch = visitors(0, 5_000).sketch();
            let at = at % sketch.len();
            sketch[at] = byte;
            Visitors::default().add_sketch(&sketch);
        }
    }
}

//! A stored hit as a line of NDJSON or CSV. One list of columns makes both, so they cannot drift
//! apart.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::cell::{Cell, write_csv};
use crate::store::stored_hits::{COLUMNS, StoredHit};

/// A hit as people get it. As JSON an object with every column: times in RFC 3339, amounts as
/// decimal strings, ids as numbers up to 2^53 and as strings above.
#[derive(Clone, Copy, Debug)]
pub struct HitLine<'h>(pub &'h StoredHit);

impl<'h> HitLine<'h> {
    /// In the order of [`COLUMNS`].
    fn cells(self) -> [Cell<'h>; COLUMNS.len()] {
        let hit = self.0;
        [
            Cell::Number(hit.seq),
            Cell::Uuid(hit.id),
            Cell::Time(hit.received_at),
            Cell::time(hit.occurred_at),
            Cell::Text(&hit.kind),
            Cell::Text(&hit.dialect),
            Cell::Text(&hit.site),
            Cell::text(&hit.page_url),
            Cell::text(&hit.page_title),
            Cell::text(&hit.page_language),
            Cell::text(&hit.referrer),
            Cell::text(&hit.page_tag),
            Cell::number(hit.delivery_id),
            Cell::number(hit.broadlog_id),
            Cell::number(hit.link_id),
            Cell::uuid(hit.visitor_id),
            Cell::uuid(hit.contact_id),
            hit.revenue.map_or(Cell::None, Cell::Money),
            Cell::text(&hit.currency),
            Cell::text(&hit.order_id),
            Cell::number(hit.quantity.map(i64::from)),
            Cell::text(&hit.utm_source),
            Cell::text(&hit.utm_medium),
            Cell::text(&hit.utm_campaign),
            Cell::text(&hit.utm_term),
            Cell::text(&hit.utm_content),
            Cell::Texts(&hit.tags),
            Cell::text(&hit.event),
            hit.ip.map_or(Cell::None, |ip| Cell::Address(ip.0)),
            Cell::text(&hit.user_agent),
            Cell::Text(&hit.verdict),
            Cell::text(&hit.reason),
            hit.extra.as_deref().map_or(Cell::None, Cell::Json),
            Cell::text(&hit.proof),
            hit.counted_revenue.map_or(Cell::None, Cell::Money),
        ]
    }

    /// Appends the CSV line.
    pub(super) fn write_csv(self, out: &mut Vec<u8>) {
        write_csv(self.cells(), out);
    }
}

/// The first line of a CSV.
pub(super) fn csv_header() -> String {
    COLUMNS.join(",") + "\n"
}

impl Serialize for HitLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COLUMNS.len()))?;
        for (name, cell) in COLUMNS.into_iter().zip(self.cells()) {
            map.serialize_entry(name, &cell)?;
        }
        map.end()
    }
}

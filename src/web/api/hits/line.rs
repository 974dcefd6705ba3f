//! A stored hit as a line of NDJSON or CSV. One list of columns makes both, so they cannot drift apart.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::clock::Micros;
use crate::hit::Money;
use crate::store::stored_hits::{COLUMNS, StoredHit};
use crate::web::api::json::{Id, Time};

/// A hit as people get it. As JSON an object with every column: times in RFC 3339, amounts as decimal strings, ids as numbers up to 2^53 and
/// as strings above.
#[derive(Clone, Copy, Debug)]
pub struct HitLine<'h>(pub &'h StoredHit);

enum Cell<'h> {
    None,
    Number(i64),
    Uuid(Uuid),
    Time(Micros),
    Money(Money),
    Text(&'h str),
    Tags(&'h [String]),
    Json(&'h RawValue),
    Address(std::net::IpAddr),
}

impl<'h> HitLine<'h> {
    /// In the order of [`COLUMNS`].
    fn cells(self) -> [Cell<'h>; COLUMNS.len()] {
        let hit = self.0;
        let text = |text: &'h Option<String>| text.as_deref().map_or(Cell::None, Cell::Text);
        let number = |number: Option<i64>| number.map_or(Cell::None, Cell::Number);
        let uuid = |id: Option<Uuid>| id.map_or(Cell::None, Cell::Uuid);
        [
            Cell::Number(hit.seq),
            Cell::Uuid(hit.id),
            Cell::Time(hit.received_at),
            hit.occurred_at.map_or(Cell::None, Cell::Time),
            Cell::Text(&hit.kind),
            Cell::Text(&hit.dialect),
            Cell::Text(&hit.site),
            text(&hit.page_url),
            text(&hit.page_title),
            text(&hit.page_language),
            text(&hit.referrer),
            text(&hit.page_tag),
            number(hit.delivery_id),
            number(hit.broadlog_id),
            number(hit.link_id),
            uuid(hit.visitor_id),
            uuid(hit.contact_id),
            hit.revenue.map_or(Cell::None, Cell::Money),
            text(&hit.currency),
            text(&hit.order_id),
            number(hit.quantity.map(i64::from)),
            text(&hit.utm_source),
            text(&hit.utm_medium),
            text(&hit.utm_campaign),
            text(&hit.utm_term),
            text(&hit.utm_content),
            Cell::Tags(&hit.tags),
            text(&hit.event),
            hit.ip.map_or(Cell::None, |ip| Cell::Address(ip.0)),
            text(&hit.user_agent),
            Cell::Text(&hit.verdict),
            text(&hit.reason),
            hit.extra.as_deref().map_or(Cell::None, Cell::Json),
        ]
    }

    /// Appends the CSV line. Tags are joined by commas, as the pixel takes them.
    pub fn write_csv(self, out: &mut Vec<u8>) {
        for (index, cell) in self.cells().into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let text = match cell {
                Cell::None => continue,
                Cell::Number(number) => Cow::Owned(number.to_string()),
                Cell::Uuid(id) => Cow::Owned(id.to_string()),
                Cell::Time(at) => Cow::Owned(at.rfc3339()),
                Cell::Money(amount) => Cow::Owned(amount.to_string()),
                Cell::Address(ip) => Cow::Owned(ip.to_string()),
                Cell::Text(text) => csv_text(text),
                Cell::Tags(tags) => Cow::Owned(csv_text(&tags.join(",")).into_owned()),
                Cell::Json(json) => csv_text(json.get()),
            };
            out.extend_from_slice(text.as_bytes());
        }
        out.push(b'\n');
    }
}

/// The first line of a CSV answer.
pub fn csv_header() -> String {
    COLUMNS.join(",") + "\n"
}

/// A text as a cell: quoted where it has to be, and with an apostrophe before what a spreadsheet would take for a formula. All of these texts
/// come from outside. Numbers are no texts: a negative amount stays a number.
fn csv_text(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['\t', '\r', '\n'])
        || text
            .trim_start()
            .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if !is_formula && !text.contains([',', '"', '\n', '\r']) {
        return Cow::Borrowed(text);
    }
    let apostrophe = if is_formula { "'" } else { "" };
    Cow::Owned(format!("\"{apostrophe}{}\"", text.replace('"', "\"\"")))
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

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Number(number) => Id(*number).serialize(serializer),
            Self::Uuid(id) => id.serialize(serializer),
            Self::Time(at) => Time(*at).serialize(serializer),
            Self::Money(amount) => serializer.collect_str(amount),
            Self::Address(ip) => serializer.collect_str(ip),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Tags(tags) => tags.serialize(serializer),
            Self::Json(json) => json.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_looks_like_a_formula_is_no_formula_any_more() {
        for hostile in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1"] {
            assert_eq!(csv_text(hostile), format!("\"'{hostile}\""), "{hostile}");
        }
        assert_eq!(csv_text("=\"a\""), "\"'=\"\"a\"\"\"");
    }

    #[test]
    fn plain_texts_stay_as_they_are() {
        for plain in ["", "a b", "a=b", "x'y", "https://a.example/?a=b"] {
            assert_eq!(csv_text(plain), plain);
        }
        assert_eq!(csv_text("a,b"), "\"a,b\"");
    }

    /// Reads one cell as RFC 4180 says.
    fn read_cell(cell: &str) -> Option<String> {
        match cell.strip_prefix('"') {
            None => (!cell.contains([',', '"', '\n', '\r'])).then(|| cell.to_owned()),
            Some(quoted) => {
                let inner = quoted.strip_suffix('"')?.replace("\"\"", "\u{1}");
                (!inner.contains('"')).then(|| inner.replace('\u{1}', "\""))
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_one_cell_that_starts_no_formula(text in "[^\u{1}]*") {
            let cell = read_cell(&csv_text(&text)).expect("one cell");
            assert_eq!(cell.strip_prefix('\'').filter(|rest| *rest == text).unwrap_or(&cell), text);
            assert!(!cell.trim_start().starts_with(['=', '+', '-', '@']));
        }
    }
}

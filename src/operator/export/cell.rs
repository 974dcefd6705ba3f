//! One value of a line, in CSV and in JSON.

use std::borrow::Cow;

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::model::clock::Micros;
use crate::model::money::Money;
use crate::model::wire::serialize_whole;
use crate::store::{Extra, Ip, Tags};

/// What makes a spreadsheet take text for a formula.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

pub(in crate::operator) enum Cell<'c> {
    None,
    Number(i64),
    Uuid(Uuid),
    Time(Micros),
    Money(Money),
    Text(&'c str),
    Texts(&'c [String]),
    Json(&'c RawValue),
    Address(std::net::IpAddr),
}

impl<'c> Cell<'c> {
    pub(in crate::operator) fn text(text: &'c Option<String>) -> Self {
        text.as_deref().map_or(Self::None, Self::Text)
    }

    pub(in crate::operator) fn number(number: Option<i64>) -> Self {
        number.map_or(Self::None, Self::Number)
    }

    pub(in crate::operator) fn time(at: Option<Micros>) -> Self {
        at.map_or(Self::None, Self::Time)
    }
}

/// A column's value as a cell; for columns that always have one and for nullable ones.
macro_rules! cell_from {
    ($($type:ty: $value:ident => $cell:expr,)+) => {$(
        impl<'c> From<&'c $type> for Cell<'c> {
            fn from($value: &'c $type) -> Self {
                $cell
            }
        }

        impl<'c> From<&'c Option<$type>> for Cell<'c> {
            fn from(value: &'c Option<$type>) -> Self {
                value.as_ref().map_or(Self::None, |$value| $cell)
            }
        }
    )+};
}
cell_from!(
    i64: number => Self::Number(*number),
    i32: number => Self::Number(i64::from(*number)),
    Uuid: id => Self::Uuid(*id),
    Micros: at => Self::Time(*at),
    Money: amount => Self::Money(*amount),
    String: text => Self::Text(text),
    Tags: tags => Self::Texts(&tags.0),
    Ip: ip => Self::Address(ip.0),
    Extra: json => Self::Json(&json.0),
);

/// Appends a CSV line. Lists are joined by commas, as the pixel takes tags.
pub(in crate::operator) fn write_csv<'c>(
    cells: impl IntoIterator<Item = Cell<'c>>,
    out: &mut Vec<u8>,
) {
    for (index, cell) in cells.into_iter().enumerate() {
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
            Cell::Texts(texts) => Cow::Owned(csv_text(&texts.join(",")).into_owned()),
            Cell::Json(json) => csv_text(json.get()),
        };
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'\n');
}

/// A text as a cell: quoted where it has to be, and with an apostrophe before what a spreadsheet
/// would take for a formula. All of these texts come from outside. Numbers are no texts: a negative
/// amount stays a number.
fn csv_text(text: &str) -> Cow<'_, str> {
    let is_formula = needs_apostrophe(text);
    if !is_formula && !text.contains([',', '"', '\n', '\r']) {
        return Cow::Borrowed(text);
    }
    let apostrophe = if is_formula { "'" } else { "" };
    Cow::Owned(format!("\"{apostrophe}{}\"", text.replace('"', "\"\"")))
}

/// A text that has apostrophes of its own before a formula gets one more: so [`read_csv_text`]
/// knows which is ours.
fn needs_apostrophe(text: &str) -> bool {
    let text = text.trim_start_matches('\'');
    text.starts_with(['\t', '\r', '\n']) || text.trim_start().starts_with(FORMULA)
}

/// The text of one of our cells, unquoted, without the apostrophe that keeps a spreadsheet from
/// calculating.
pub fn read_csv_text(cell: &str) -> &str {
    cell.strip_prefix('\'')
        .filter(|text| needs_apostrophe(text))
        .unwrap_or(cell)
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Number(number) => serialize_whole(*number, serializer),
            Self::Uuid(id) => id.serialize(serializer),
            Self::Time(at) => serializer.serialize_str(&at.rfc3339()),
            Self::Money(amount) => serializer.collect_str(amount),
            Self::Address(ip) => serializer.collect_str(ip),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Texts(texts) => texts.serialize(serializer),
            Self::Json(json) => json.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_looks_like_a_formula_is_no_formula_any_more() {
        for hostile in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "'=1"] {
            assert_eq!(csv_text(hostile), format!("\"'{hostile}\""), "{hostile}");
        }
        assert_eq!(csv_text("=\"a\""), "\"'=\"\"a\"\"\"");
    }

    #[test]
    fn plain_texts_stay_as_they_are() {
        for plain in ["", "a b", "a=b", "x'y", "'a'", "https://a.example/?a=b"] {
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
        fn every_text_is_one_cell_that_starts_no_formula_and_is_read_as_it_was(
            text in "([' \t=+@＝-]{0,4})[^\u{1}]*",
        ) {
            let cell = read_cell(&csv_text(&text)).expect("one cell");
            assert_eq!(read_csv_text(&cell), text);
            assert!(!cell.trim_start().starts_with(FORMULA));
        }
    }
}

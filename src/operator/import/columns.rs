//! Which column holds what: by name, in the spellings that exports have.
//!
//! Names are compared without case and without anything but letters and digits, so `@id`,
//! `[delivery/@id]`, `iDeliveryId` and `delivery-id` need no list of their own. An empty cell,
//! `NULL` and `\N` are no value.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, PrimitiveDateTime};

use super::table::Row;
use crate::model::clock::Micros;
use crate::model::hint::quote;
use crate::model::hit::{Limit, clean};

/// What a header lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// A column that is required.
    #[error("found no column for {what} (accepted names: {}); the file has: {}",
        .names.join(", "), .found.join(", "))]
    Missing {
        /// What it would hold.
        what: &'static str,
        /// Names that it may have.
        names: Vec<String>,
        /// Names that there are.
        found: Vec<String>,
    },
    /// Two columns of the same name, only one of which can be meant.
    #[error("columns {0} and {1} are both called {2:?}")]
    Twice(usize, usize, String),
}

/// The significant part of a name.
pub fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// A display name: cut if it is too long, `None` if nothing is left.
pub fn name(text: &str) -> Option<String> {
    let name = clean(text, Limit::NAME).0;
    (!name.is_empty()).then(|| name.into_owned())
}

/// The names of a table's columns.
#[derive(Clone, Debug)]
pub struct Header {
    names: Vec<String>,
}

impl Header {
    /// Of the header row.
    pub fn new(names: Vec<String>) -> Self {
        Self { names }
    }

    /// All names, as in the file.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The column with one of these names (given in their plain form), the first name first.
    ///
    /// # Errors
    /// Two columns have that name.
    pub fn find<S: AsRef<str>>(
        &self,
        what: &'static str,
        names: &[S],
    ) -> Result<Option<Column>, ColumnError> {
        for name in names {
            let mut having =
                (0..self.names.len()).filter(|index| plain(&self.names[*index]) == name.as_ref());
            if let Some(index) = having.next() {
                return match having.next() {
                    Some(other) => Err(ColumnError::Twice(
                        index + 1,
                        other + 1,
                        self.names[index].clone(),
                    )),
                    None => Ok(Some(Column { index, what })),
                };
            }
        }
        Ok(None)
    }

    /// The same for a column that must be there.
    ///
    /// # Errors
    /// No column has that name, or two have.
    pub fn need<S: AsRef<str>>(
        &self,
        what: &'static str,
        names: &[S],
    ) -> Result<Column, ColumnError> {
        self.find(what, names)?.ok_or_else(|| ColumnError::Missing {
            what,
            names: names.iter().map(|name| name.as_ref().to_owned()).collect(),
            found: self.names.clone(),
        })
    }
}

/// A column that was found. It puts its name into the reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// From 0.
    pub index: usize,
    what: &'static str,
}

/// Treats a missing column as one whose cells are empty.
pub trait Cells {
    /// The text, trimmed; `None` if there is no value.
    ///
    /// # Errors
    /// The cell is not UTF-8, or holds a NUL byte.
    fn text<'r>(&self, row: &Row<'r>) -> Result<Option<&'r str>, String>;

    /// What the column holds.
    fn what(&self) -> &'static str;

    /// The text of a cell that must have one.
    ///
    /// # Errors
    /// The cell is empty, or is not text.
    fn needed<'r>(&self, row: &Row<'r>) -> Result<&'r str, String> {
        self.text(row)?
            .ok_or_else(|| format!("{} is empty", self.what()))
    }

    /// A whole number.
    ///
    /// # Errors
    /// The cell is not a whole number, or does not fit 64 bits.
    fn number(&self, row: &Row<'_>) -> Result<Option<i64>, String> {
        let Some(text) = self.text(row)? else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| format!("{} {} is not a whole number", self.what(), quote(text)))
    }

    /// A number from 1 on.
    ///
    /// # Errors
    /// The cell is not a number, or is a smaller one.
    fn positive(&self, row: &Row<'_>) -> Result<Option<i64>, String> {
        match self.number(row)? {
            Some(number) if number < 1 => Err(format!("{} is less than 1", self.what())),
            number => Ok(number),
        }
    }

    /// A name for people to read, see [`name`].
    ///
    /// # Errors
    /// The cell is not text.
    fn name(&self, row: &Row<'_>) -> Result<Option<String>, String> {
        Ok(self.text(row)?.and_then(name))
    }

    /// A time; one without an offset is UTC, as databases export it.
    ///
    /// # Errors
    /// The time is written in none of the usual ways.
    fn time(&self, row: &Row<'_>) -> Result<Option<Micros>, String> {
        let Some(text) = self.text(row)? else {
            return Ok(None);
        };
        // How MySQL writes "never".
        if text.starts_with("0000-00-00") {
            return Ok(None);
        }
        parse_time(text).map(Some).ok_or_else(|| {
            format!(
                "{} {} is not a time such as 2026-01-31 09:00:00",
                self.what(),
                quote(text)
            )
        })
    }

    /// Yes or no; an empty cell is neither.
    ///
    /// # Errors
    /// The cell says something else.
    fn flag(&self, row: &Row<'_>) -> Result<Option<bool>, String> {
        match self.text(row)?.map(str::to_lowercase).as_deref() {
            None => Ok(None),
            Some("1" | "true" | "t" | "yes" | "y") => Ok(Some(true)),
            Some("0" | "false" | "f" | "no" | "n") => Ok(Some(false)),
            Some(text) => Err(format!(
                "{} {} is neither 0 nor 1",
                self.what(),
                quote(text)
            )),
        }
    }
}

impl Cells for Column {
    fn text<'r>(&self, row: &Row<'r>) -> Result<Option<&'r str>, String> {
        let text = std::str::from_utf8(row.get(self.index))
            .map_err(|_| format!("{} is not UTF-8", self.what))?
            .trim();
        if text.contains('\0') {
            return Err(format!("{} contains a NUL byte", self.what));
        }
        Ok(match text {
            "" | "NULL" | "\\N" => None,
            text => Some(text),
        })
    }

    fn what(&self) -> &'static str {
        self.what
    }
}

impl Cells for Option<Column> {
    fn text<'r>(&self, row: &Row<'r>) -> Result<Option<&'r str>, String> {
        match self {
            Some(column) => column.text(row),
            None => Ok(None),
        }
    }

    fn what(&self) -> &'static str {
        self.as_ref().map_or("", Column::what)
    }
}

const WITH_SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second][optional [.[subsecond]]]");
const WITH_MINUTES: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]");
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

fn parse_time(text: &str) -> Option<Micros> {
    if let Ok(at) = Micros::parse_rfc3339(text) {
        return Some(at);
    }
    // Adobe's console writes slashes, others a T without an offset; `Z` and `UTC` at the end say
    // what is assumed anyway.
    let text = text
        .trim_end_matches("UTC")
        .trim_end_matches('Z')
        .trim_end();
    let text = text.replace('/', "-").replacen('T', " ", 1);
    let text = text.as_str();
    let at = PrimitiveDateTime::parse(text, WITH_SECONDS)
        .or_else(|_| PrimitiveDateTime::parse(text, WITH_MINUTES))
        .or_else(|_| Date::parse(text, DAY).map(Date::midnight))
        .ok()?;
    Some(Micros::from_date_time(at.assume_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::import::table::Table;

    fn header(names: &[&str]) -> Header {
        Header::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn columns_are_found_in_any_spelling_and_missing_ones_are_named() {
        let header = header(&["@id", "[Delivery/@ID]", "sSource URL", "x", "X"]);
        let index = |names: &[&str]| header.find("it", names).unwrap().map(|c| c.index);
        assert_eq!(index(&["id"]), Some(0));
        assert_eq!(index(&["ideliveryid", "deliveryid"]), Some(1));
        assert_eq!(index(&["ssourceurl"]), Some(2));
        assert_eq!(index(&["label"]), None);
        assert_eq!(
            header
                .need("the label", &["label", "slabel"])
                .unwrap_err()
                .to_string(),
            "found no column for the label (accepted names: label, slabel); the file has: @id, \
            [Delivery/@ID], sSource URL, x, X"
        );
        assert_eq!(
            header.find("it", &["x"]).unwrap_err(),
            ColumnError::Twice(4, 5, "x".to_owned())
        );
    }

    #[test]
    fn cells_are_read_or_refused_with_their_name() {
        let text = b"a,b\n 7 ,2026-01-31 09:00:00\nx,NULL\n\xff,31.01.2026\n1,\\N\n";
        let (mut table, names) = Table::open(text.as_slice()).unwrap();
        let header = Header::new(names);
        let (a, b) = (
            header.need("a", &["a"]).unwrap(),
            header.need("b", &["b"]).unwrap(),
        );
        let mut told = Vec::new();
        while let Some((_, row)) = table.read_row().unwrap() {
            let row = row.unwrap();
            told.push((
                a.number(&row),
                b.time(&row).map(|at| at.map(Micros::rfc3339)),
            ));
        }
        assert_eq!(
            told[0],
            (Ok(Some(7)), Ok(Some("2026-01-31T09:00:00Z".to_owned())))
        );
        assert_eq!(
            told[1],
            (Err("a \"x\" is not a whole number".to_owned()), Ok(None))
        );
        assert_eq!(told[2].0, Err("a is not UTF-8".to_owned()));
        assert!(told[2].1.as_ref().unwrap_err().contains("31.01.2026"));
        assert_eq!(told[3], (Ok(Some(1)), Ok(None)));
    }

    #[test]
    fn times_are_read_as_exports_write_them() {
        let expected = Micros::parse_rfc3339("2026-01-31T09:00:00Z").unwrap();
        for text in [
            "2026-01-31T10:00:00+01:00",
            "2026-01-31 09:00:00",
            "2026-01-31 09:00:00.000",
            "2026/01/31 09:00:00",
            "2026-01-31T09:00:00",
            "2026-01-31 09:00",
            "2026-01-31 09:00:00.000Z",
            "2026-01-31 09:00:00 UTC",
        ] {
            assert_eq!(parse_time(text), Some(expected), "{text}");
        }
        assert_eq!(
            parse_time("2026-01-31"),
            Some(Micros(expected.0 - 9 * Micros::HOUR))
        );
        for text in ["31/01/2026", "soon", "2026-13-01", "1769850000"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}

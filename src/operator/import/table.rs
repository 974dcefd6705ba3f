//! The rows of a CSV file, at constant memory whatever the file holds.
//!
//! Comma, semicolon or tab, whichever the header row has most of; UTF-8, with a byte order mark or
//! without. In a file with tabs quotes are no more than characters around a field (`mysql --batch`
//! writes them bare), so a row is a line, and `\n`, `\t`, `\0` and `\\` are escapes, since that is
//! how it writes a line break, a tab, a NUL and a backslash. In the other files a backslash is one.
//! A row larger than 1 MiB is passed over and told; so is a quote that is never closed: it swallows
//! the rest of the file, and the reader of the report must know.

use std::io::Read;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// Greatest row in bytes.
const MOST_BYTES: usize = 1 << 20;
/// Most columns.
const MOST_COLUMNS: usize = 1_000;
/// Bytes read at once.
const BLOCK: usize = 64 << 10;

/// Why a file cannot be read as a table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file or the pipe fails.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Nothing in it.
    #[error("is empty: the first row must name the columns")]
    Empty,
    /// Excel's "Unicode text".
    #[error("is UTF-16: save it as CSV UTF-8")]
    Utf16,
    /// The header row is not a row of names.
    #[error("has no header row: {0}")]
    Header(String),
}

/// Where a row stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// As a spreadsheet counts: the header is row 1.
    pub row: u64,
    /// The line of the file on which it begins, from 1.
    pub line: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "row {}", self.row)?;
        if self.line != self.row {
            write!(f, " (line {})", self.line)?;
        }
        Ok(())
    }
}

/// A row's fields, or why it is not a row.
pub type Fields<'t> = Result<Row<'t>, String>;

/// The fields of one row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'t> {
    bytes: &'t [u8],
    ends: &'t [usize],
    is_tabbed: bool,
}

impl<'t> Row<'t> {
    /// Number of fields.
    pub fn width(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a field; empty if the row has no such field.
    pub fn get(&self, index: usize) -> &'t [u8] {
        let Some(&end) = self.ends.get(index) else {
            return &[];
        };
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1],
        };
        let field = &self.bytes[start..end];
        match field {
            [b'"', inner @ .., b'"'] if self.is_tabbed => inner,
            _ => field,
        }
    }
}

/// A table that is being read.
pub struct Table<R> {
    input: R,
    core: Reader,
    is_tabbed: bool,
    block: Vec<u8>,
    /// The unread part of the block.
    start: usize,
    end: usize,
    is_over: bool,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    rows: u64,
    columns: usize,
}

impl<R: Read> Table<R> {
    /// Reads the header row.
    ///
    /// # Errors
    /// The file has no header, or cannot be read.
    pub fn open(input: R) -> Result<(Self, Vec<String>), TableError> {
        let mut table = Self {
            input,
            core: Reader::new(),
            is_tabbed: false,
            block: vec![0; BLOCK],
            start: 0,
            end: 0,
            is_over: false,
            bytes: vec![0; BLOCK],
            ends: vec![0; MOST_COLUMNS + 1],
            rows: 0,
            columns: usize::MAX,
        };
        table.fill_block()?;
        let first = &table.block[..table.end];
        if first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]) {
            return Err(TableError::Utf16);
        }
        if first.starts_with(&[0xef, 0xbb, 0xbf]) {
            table.start = 3;
        }
        let delimiter = delimiter(&table.block[table.start..table.end]);
        table.is_tabbed = delimiter == b'\t';
        table.core = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(!table.is_tabbed)
            .build();
        let header = match table.read_row()? {
            None => return Err(TableError::Empty),
            Some((_, Err(why))) => return Err(TableError::Header(why)),
            Some((_, Ok(row))) => (0..row.width())
                .map(|index| match std::str::from_utf8(row.get(index)) {
                    Ok(name) => Ok(name.trim().to_owned()),
                    Err(_) => Err(TableError::Header("it is not UTF-8".to_owned())),
                })
                .collect::<Result<Vec<_>, _>>()?,
        };
        table.columns = header.len();
        Ok((table, header))
    }

    /// The next row that is not empty; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_row(&mut self) -> Result<Option<(Place, Fields<'_>)>, TableError> {
        let (mut length, mut count, mut quotes) = (0, 0, 0);
        let (mut is_large, mut is_wide) = (false, false);
        let mut line = self.core.line();
        let mut has_begun = false;
        let is_cut_off = loop {
            if self.start == self.end && !self.is_over {
                self.fill_block()?;
            }
            let input = &self.block[self.start..self.end];
            let (result, read, written, ended) =
                self.core
                    .read_record(input, &mut self.bytes[length..], &mut self.ends[count..]);
            if !has_begun && written + ended > 0 {
                // Empty lines before it are not its own.
                let blank = input[..read]
                    .iter()
                    .take_while(|b| matches!(b, b'\n' | b'\r'));
                line += blank.filter(|b| **b == b'\n').count() as u64;
                has_begun = true;
            } else if !has_begun {
                line = self.core.line();
            }
            quotes += memchr::memchr_iter(b'"', &input[..read]).count();
            self.start += read;
            length += written;
            count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() < MOST_BYTES => {
                    self.bytes.resize(self.bytes.len() * 4, 0);
                }
                // What comes is written over what was: only its end is of interest.
                ReadRecordResult::OutputFull => (is_large, length) = (true, 0),
                ReadRecordResult::OutputEndsFull => (is_wide, count) = (true, 0),
                ReadRecordResult::Record => break read == 0 && self.is_over,
                ReadRecordResult::End => return Ok(None),
            }
        };
        if self.is_tabbed && !is_large && !is_wide {
            unescape(&mut self.bytes, &mut self.ends[..count]);
        }
        self.rows += 1;
        let place = Place {
            row: self.rows,
            line,
        };
        // The core writes ends on from where an overfull row was cut: such a row has no fields to
        // give.
        let fields = if is_cut_off && quotes % 2 == 1 && !self.is_tabbed {
            Err(format!(
                "a quote is never closed: all that follows, down to line {}, is one field",
                self.core.line()
            ))
        } else if is_large {
            Err("is larger than 1 MiB".to_owned())
        } else if is_wide {
            Err(format!("has more than {MOST_COLUMNS} fields"))
        } else {
            let row = Row {
                bytes: &self.bytes,
                ends: &self.ends[..count],
                is_tabbed: self.is_tabbed,
            };
            let surplus = self.columns.min(count)..count;
            if count < self.columns && self.columns != usize::MAX
                || surplus.into_iter().any(|index| !row.get(index).is_empty())
            {
                Err(format!(
                    "has {count} fields where the header has {}",
                    self.columns
                ))
            } else {
                Ok(row)
            }
        };
        Ok(Some((place, fields)))
    }

    fn fill_block(&mut self) -> std::io::Result<()> {
        (self.start, self.end) = (0, 0);
        // The first block should hold the header even where a pipe gives little at a time.
        while self.end < BLOCK / 2 {
            match self.input.read(&mut self.block[self.end..]) {
                Ok(0) => {
                    self.is_over = true;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads the escapes of `mysql --batch` (`\n`, `\t`, `\0`, `\\`) in a row's fields, in place. A
/// field with another backslash was not written by it and stays as it is, as does `\N`.
fn unescape(bytes: &mut [u8], ends: &mut [usize]) {
    let Some(&length) = ends.last() else { return };
    if memchr::memchr(b'\\', &bytes[..length]).is_none() {
        return;
    }
    let (mut start, mut written) = (0, 0);
    for end in ends {
        let field = start..*end;
        start = *end;
        let is_escaped = is_escaped(&bytes[field.clone()]);
        let mut at = field.start;
        while at < field.end {
            let byte = match bytes[at] {
                b'\\' if is_escaped => {
                    at += 1;
                    match bytes[at] {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'0' => b'\0',
                        other => other,
                    }
                }
                plain => plain,
            };
            bytes[written] = byte;
            (at, written) = (at + 1, written + 1);
        }
        *end = written;
    }
}

/// Whether every backslash of a field is one that `mysql` writes.
fn is_escaped(field: &[u8]) -> bool {
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        match rest.get(at + 1) {
            Some(b'n' | b't' | b'0' | b'\\') => rest = &rest[at + 2..],
            _ => return false,
        }
    }
    true
}

/// What separates the names in the header row: quoted names may contain any of them.
fn delimiter(bytes: &[u8]) -> u8 {
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0)];
    let mut is_quoted = false;
    for &byte in bytes {
        match byte {
            b'"' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            b'\n' | b'\r' => break,
            _ => {
                for (delimiter, count) in &mut counts {
                    *count += usize::from(*delimiter == byte);
                }
            }
        }
    }
    // The first of the greatest: a comma where there is only one column.
    counts
        .into_iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(delimiter, _)| delimiter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Row, line, and the fields or the reason.
    type Told = (u64, u64, Result<Vec<String>, String>);

    /// Header and rows.
    fn read(text: &[u8]) -> (Vec<String>, Vec<Told>) {
        let (mut table, header) = Table::open(text).unwrap();
        let mut rows = Vec::new();
        while let Some((place, fields)) = table.read_row().unwrap() {
            let fields = fields.map(|row| {
                (0..row.width())
                    .map(|index| String::from_utf8_lossy(row.get(index)).into_owned())
                    .collect()
            });
            rows.push((place.row, place.line, fields));
        }
        (header, rows)
    }

    fn texts(fields: &[&str]) -> Result<Vec<String>, String> {
        Ok(fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn the_delimiter_is_what_the_header_has_most_of() {
        for (text, expected) in [
            ("a,b\n1,2\n", vec!["1", "2"]),
            ("\u{feff}a;b\r\n1;\"2,3\"\r\n", vec!["1", "2,3"]),
            ("a\tb\n1\t\"2\"\n", vec!["1", "2"]),
            ("\"a,x\";b\n1;2", vec!["1", "2"]),
            ("a\n1,2\n", vec![]),
        ] {
            let (header, rows) = read(text.as_bytes());
            assert!(header[0].starts_with('a'), "{header:?}");
            match expected.as_slice() {
                [] => assert!(rows[0].2.is_err()),
                fields => assert_eq!(rows[0].2, texts(fields), "{text:?}"),
            }
        }
    }

    #[test]
    fn rows_are_counted_as_a_spreadsheet_does_and_lines_as_an_editor() {
        let (_, rows) = read(b"a,b\n1,\"x\ny\"\n\n2,z\n3\n4,5,\n6,7,8\n");
        assert_eq!(rows[0], (2, 2, texts(&["1", "x\ny"])));
        assert_eq!(rows[1], (3, 5, texts(&["2", "z"])));
        assert_eq!(
            rows[2],
            (4, 6, Err("has 1 fields where the header has 2".to_owned()))
        );
        assert_eq!(rows[3].2, texts(&["4", "5", ""]));
        assert!(rows[4].2.is_err());
    }

    #[test]
    fn what_mysql_escapes_is_read_in_files_with_tabs_only() {
        let (_, rows) = read(
            b"a\\tb\tc\n1\\n2\t\\\\n\n\\\\\\\\\t\\N\nC:\\docs\\new\tC:\\\\docs\\\\new\nx\\\ty\\0z\n",
        );
        let fields: Vec<_> = rows.into_iter().map(|(_, _, fields)| fields).collect();
        assert_eq!(fields[0], texts(&["1\n2", "\\n"]));
        assert_eq!(fields[1], texts(&["\\\\", "\\N"]));
        assert_eq!(fields[2], texts(&["C:\\docs\\new", "C:\\docs\\new"]));
        assert_eq!(fields[3], texts(&["x\\", "y\0z"]));
        let (_, rows) = read(b"a,b\n1\\n2,C:\\\\x\n");
        assert_eq!(rows[0].2, texts(&["1\\n2", "C:\\\\x"]));
    }

    #[test]
    fn a_quote_that_is_never_closed_is_told_with_how_much_it_swallowed() {
        let (_, rows) = read(b"a,b\n1,2\n3,\"4\n5,6\n7,8\n");
        assert_eq!(rows.len(), 2);
        let why = rows[1].2.as_ref().unwrap_err();
        assert!(why.contains("never closed") && rows[1].1 == 3, "{why}");
        // Where a line is a row a quote is a character.
        let (_, rows) = read(b"a\tb\n1\t2\n3\t\"4\n5\t6\n");
        assert_eq!(rows[1].2, texts(&["3", "\"4"]));
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn a_row_of_a_hundred_megabytes_is_passed_over_at_constant_memory() {
        let head: &[u8] = b"a,b\n1,\"";
        let huge = std::io::repeat(b'x').take(100 << 20);
        let tail: &[u8] = b"\"\n2,3\n";
        let (mut table, _) = Table::open(head.chain(huge).chain(tail)).unwrap();
        let (place, fields) = table.read_row().unwrap().unwrap();
        assert_eq!(
            (place.row, fields.unwrap_err().as_str()),
            (2, "is larger than 1 MiB")
        );
        let (place, fields) = table.read_row().unwrap().unwrap();
        assert_eq!((place.row, fields.unwrap().get(1)), (3, b"3".as_slice()));
        assert!(table.read_row().unwrap().is_none());
        assert_eq!(table.bytes.len(), MOST_BYTES);
    }

    #[test]
    fn a_row_of_too_many_fields_is_passed_over() {
        let text = format!("a,b\n{}\n1,2\n", ",".repeat(5_000));
        let (_, rows) = read(text.as_bytes());
        assert_eq!(rows[0].2, Err("has more than 1000 fields".to_owned()));
        assert_eq!(rows[1].2, texts(&["1", "2"]));
    }

    #[test]
    fn what_is_no_table_is_told() {
        let told = |bytes: &[u8]| Table::open(bytes).err().unwrap().to_string();
        assert!(told(b"").contains("empty"));
        assert!(told(b"\xef\xbb\xbf\n\n").contains("empty"));
        assert!(told(b"\xff\xfea\0,\0").contains("UTF-16"));
        assert!(told(b"a,\xff\n").contains("UTF-8"));
        assert!(told(format!("\"{}", "x".repeat(2 << 20)).as_bytes()).contains("never closed"));
    }

    proptest! {
        #[test]
        fn what_mysql_writes_is_read_as_it_was(values in prop::collection::vec("[^\"\r]{0,12}", 1..6)) {
            let escape = |value: &String| value.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\0', "\\0");
            let names: Vec<String> = (0..=values.len()).map(|n| format!("c{n}")).collect();
            let cells: Vec<String> = values.iter().map(escape).collect();
            let text = format!("{}\nx\t{}\n", names.join("\t"), cells.join("\t"));
            let (_, rows) = read(text.as_bytes());
            let mut expected = vec!["x".to_owned()];
            expected.extend(values);
            prop_assert_eq!(&rows[0].2, &Ok(expected));
        }

        #[test]
        fn any_bytes_are_rows_or_reasons(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            if let Ok((mut table, _)) = Table::open(bytes.as_slice()) {
                let mut last = 1;
                while let Some((place, fields)) = table.read_row().unwrap() {
                    prop_assert_eq!(place.row, last + 1);
                    prop_assert!(place.line >= 1);
                    last = place.row;
                    if let Ok(row) = fields {
                        for index in 0..row.width() + 1 {
                            row.get(index);
                        }
                    }
                }
            }
        }
    }
}

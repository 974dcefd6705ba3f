//! The pages of a SQLite file that SQLite itself no longer reads, and the rows of the spool in
//! them.
//!
//! The format is [SQLite's](https://www.sqlite.org/fileformat2.html) and has not changed since 2004
//! (its journal, since 2010). The reader follows no tree. It reads every page by itself, from the
//! journal if that has a newer one, and the leaves of tables list their rows. So a lost page loses
//! only its own rows. Deleted rows may turn up too; their numbers show it.
//!
//! The bytes may be anything: whatever does not fit is ignored.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::queue::frame::whole_frames;

/// If the header has no plausible one.
const PAGE_SIZE: usize = 8192;
/// Of a table's leaf.
const LEAF: u8 = 0x0d;
/// Maximum plausible number of hits in a group: a batch has ten thousand.
const MOST_HITS: i64 = 1 << 20;
/// Maximum plausible size of one: a batch has 24 MiB.
const MOST_BYTES: usize = 256 << 20;
const WAL_HEADER: usize = 32;
const WAL_FRAME: usize = 24;

/// The file and its journal.
pub(super) struct Pages {
    file: Option<File>,
    journal: Option<File>,
    size: usize,
    count: u32,
    /// Pages of which the journal has a newer version.
    newer: HashMap<u32, u64>,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// The spool's id and the last deleted group.
    pub(super) meta: Option<(Uuid, i64)>,
    /// Rows of groups, each with the places that may hold it.
    pub(super) groups: BTreeMap<i64, Vec<Cell>>,
}

/// A place in a page.
pub(super) struct Cell {
    page: u32,
    at: usize,
}

/// A group, as far as it can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundGroup {
    /// Hits that it had.
    pub(super) hits: i64,
    /// Hits in `body`; `None` if only the head of the row survived.
    pub(super) whole: i64,
    pub(super) body: Vec<u8>,
}

impl Pages {
    /// Opens a file and its journal, whatever exists.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut journal_path = path.as_os_str().to_owned();
        journal_path.push("-wal");
        let journal = File::open(journal_path).ok();
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if journal.is_none() => return Err(error),
            Err(_) => None,
        };
        let mut pages = Self {
            file,
            journal,
            size: PAGE_SIZE,
            count: 0,
            newer: HashMap::new(),
        };
        let mut header = [0; 18];
        if let Some(file) = &pages.file
            && file.read_exact_at(&mut header, 0).is_ok()
            && header.starts_with(b"SQLite format 3\0")
        {
            let size = usize::from(u16::from_be_bytes([header[16], header[17]]));
            if size.is_power_of_two() && size >= 512 {
                pages.size = size;
            }
        }
        pages.read_journal();
        let length = match &pages.file {
            Some(file) => file.metadata()?.len(),
            None => 0,
        };
        let last = pages.newer.keys().copied().max().unwrap_or(0);
        let whole = length.div_ceil(pages.size as u64);
        pages.count = last.max(u32::try_from(whole).unwrap_or(u32::MAX));
        Ok(pages)
    }

    /// Takes the pages of complete transactions, up to the first frame that does not match, as
    /// SQLite does.
    fn read_journal(&mut self) {
        let Some(journal) = &self.journal else { return };
        let mut header = [0; WAL_HEADER];
        if journal.read_exact_at(&mut header, 0).is_err() {
            return;
        }
        let word = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let is_big = match word(0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return,
        };
        let size = word(8) as usize;
        let mut sum = checksum((0, 0), &header[..24], is_big);
        if sum != (word(24), word(28)) || !size.is_power_of_two() || !(512..=65_536).contains(&size)
        {
            return;
        }
        self.size = size;
        let salt = &header[16..24];
        let mut frame = vec![0; WAL_FRAME + size];
        let mut at = WAL_HEADER as u64;
        let mut pending = Vec::new();
        while journal.read_exact_at(&mut frame, at).is_ok() {
            let word = |at: usize| {
                u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
            };
            sum = checksum(sum, &frame[..8], is_big);
            sum = checksum(sum, &frame[WAL_FRAME..], is_big);
            if &frame[8..16] != salt || sum != (word(16), word(20)) {
                break;
            }
            pending.push((word(0), at + WAL_FRAME as u64));
            if word(4) != 0 {
                self.newer.extend(pending.drain(..));
            }
            at += frame.len() as u64;
        }
    }

    /// A page; missing bytes are zero.
    fn page(&self, number: u32) -> Vec<u8> {
        let mut page = vec![0; self.size];
        let (file, at) = match self.newer.get(&number) {
            Some(at) => (&self.journal, *at),
            None => (&self.file, u64::from(number - 1) * self.size as u64),
        };
        let mut read = 0;
        while let Some(file) = file
            && read < page.len()
        {
            match file.read_at(&mut page[read..], at + read as u64) {
                Ok(0) | Err(_) => break,
                Ok(more) => read += more,
            }
        }
        page
    }

    /// Looks at every page.
    pub(super) fn search(&self) -> Found {
        let mut found = Found::default();
        for number in 1..=self.count {
            let page = self.page(number);
            // The first begins with the file's header.
            let start = if number == 1 { 100 } else { 0 };
            if page.get(start) != Some(&LEAF) {
                continue;
            }
            let cells = two(&page, start + 3).unwrap_or(0);
            for index in 0..usize::from(cells) {
                let Some(at) = two(&page, start + 8 + 2 * index) else {
                    break;
                };
                self.look_at(&page, number, usize::from(at), &mut found);
            }
        }
        found
    }

    fn look_at(&self, page: &[u8], number: u32, at: usize, found: &mut Found) {
        let Some(row) = Row::read(page, at, self.size) else {
            return;
        };
        match row.columns[..] {
            // meta: id and deleted_to, perhaps more.
            [Column::Blob(from, 16), Column::Number(deleted_to), ..] => {
                let id = row
                    .local
                    .get(from..from + 16)
                    .and_then(|id| Uuid::from_slice(id).ok());
                if let Some(id) = id
                    && found.meta.is_none_or(|(_, before)| before <= deleted_to)
                {
                    found.meta = Some((id, deleted_to));
                }
            }
            // groups: seq is the row's number.
            [Column::Null, Column::Number(hits), Column::Blob(..)]
                if row.number > 0 && (1..=MOST_HITS).contains(&hits) =>
            {
                let cells = found.groups.entry(row.number).or_default();
                cells.push(Cell { page: number, at });
            }
            _ => {}
        }
    }

    /// Reads a group from the best of the places that hold it.
    pub(super) fn group(&self, cells: &[Cell]) -> Option<FoundGroup> {
        let mut best: Option<FoundGroup> = None;
        for cell in cells {
            if let Some(group) = self.try_group(cell)
                && best.as_ref().is_none_or(|best| best.whole < group.whole)
            {
                best = Some(group);
            }
        }
        best
    }

    fn try_group(&self, cell: &Cell) -> Option<FoundGroup> {
        let page = self.page(cell.page);
        let row = Row::read(&page, cell.at, self.size)?;
        let [_, Column::Number(hits), Column::Blob(from, length)] = row.columns[..] else {
            return None;
        };
        if length > MOST_BYTES {
            return None;
        }
        let mut body = row.local.get(from..)?.to_vec();
        let mut next = row.overflow;
        // Each page has the number of the next in front; a chain that is broken ends, and one that
        // bites its tail too.
        while body.len() < length && next != 0 && next <= self.count {
            let page = self.page(next);
            next = four(&page, 0)?;
            body.extend_from_slice(&page[4..]);
        }
        body.truncate(length);
        // A page that is gone was read as zeros, in the middle of a hit as well.
        let (body, whole) = whole_frames(&body);
        Some(FoundGroup {
            hits,
            whole: i64::from(whole),
            body,
        })
    }
}

/// Searches a file on a thread that may wait.
///
/// # Errors
/// It cannot be opened.
pub(super) async fn search(path: PathBuf) -> io::Result<(Pages, Found)> {
    tokio::task::spawn_blocking(move || {
        let pages = Pages::open(&path)?;
        let found = pages.search();
        Ok((pages, found))
    })
    .await?
}

/// A row of a leaf, as far as it lies within the page.
struct Row<'p> {
    number: i64,
    columns: Vec<Column>,
    local: &'p [u8],
    /// The page on which it continues; 0 if it does not.
    overflow: u32,
}

/// A value; for bytes, their offset and length.
enum Column {
    Null,
    Number(i64),
    Blob(usize, usize),
    Other,
}

impl<'p> Row<'p> {
    fn read(page: &'p [u8], mut at: usize, size: usize) -> Option<Self> {
        let length = usize::try_from(varint(page, &mut at)?).ok()?;
        let number = varint(page, &mut at)? as i64;
        let most = size - 35;
        let local = if length <= most {
            length
        } else {
            let least = (size - 12) * 32 / 255 - 23;
            let fitting = least + (length - least) % (size - 4);
            if fitting <= most { fitting } else { least }
        };
        let bytes = page.get(at..at + local)?;
        let overflow = if local < length {
            four(page, at + local)?
        } else {
            0
        };
        let mut head = 0;
        let values = usize::try_from(varint(bytes, &mut head)?).ok()?;
        let (mut columns, mut value) = (Vec::new(), values);
        while head < values {
            let kind = varint(bytes, &mut head)?;
            let width = match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind as usize,
                5 => 6,
                6 | 7 => 8,
                12.. => usize::try_from((kind - 12) / 2).ok()?,
                _ => return None,
            };
            columns.push(match kind {
                0 => Column::Null,
                1..=6 => Column::Number(integer(bytes.get(value..value + width)?)),
                8 => Column::Number(0),
                9 => Column::Number(1),
                12.. if kind.is_multiple_of(2) => Column::Blob(value, width),
                _ => Column::Other,
            });
            value = value.checked_add(width)?;
        }
        (value == length).then_some(Self {
            number,
            columns,
            local: bytes,
            overflow,
        })
    }
}

fn two(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// One to eight bytes, with a sign.
fn integer(bytes: &[u8]) -> i64 {
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let start = if is_negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |value, byte| (value << 8) | i64::from(*byte))
}

/// Up to nine bytes, seven bits in each but the ninth.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for index in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if index == 8 {
            return Some((value << 8) | u64::from(byte));
        }
        value = (value << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

fn checksum(sum: (u32, u32), bytes: &[u8], is_big: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if is_big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    };
    bytes.chunks_exact(8).fold(sum, |(first, second), pair| {
        let first = first.wrapping_add(word(&pair[..4])).wrapping_add(second);
        let second = second.wrapping_add(word(&pair[4..])).wrapping_add(first);
        (first, second)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_sqlites() {
        assert_eq!(integer(&[0xff]), -1);
        assert_eq!(integer(&[0x7f, 0xff]), 32_767);
        assert_eq!(integer(&[]), 0);
        let mut at = 0;
        assert_eq!(varint(&[0x81, 0x00], &mut at), Some(128));
        assert_eq!(at, 2);
        let mut at = 0;
        assert_eq!(varint(&[0xff; 9], &mut at), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn no_page_panics(mut page in proptest::collection::vec(any::<u8>(), 512), journal: Vec<u8>) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("some.db");
            page[0] = LEAF;
            std::fs::write(&file, page.repeat(16)).unwrap();
            std::fs::write(dir.path().join("some.db-wal"), journal).unwrap();
            let pages = Pages::open(&file).unwrap();
            let found = pages.search();
            for cells in found.groups.values() {
                let _ = pages.group(cells);
            }
        }
    }
}

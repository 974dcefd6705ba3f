//! A spool that is damaged, and the new one that takes its place with what can be read of it.
//!
//! The new file is made beside the old one, whole, before either is renamed; where the process is
//! killed between, the next start goes on. The old one is kept for whoever wants to look (`sillage
//! spool inspect --file`).
//!
//! **Exactly once.** Under the spool's id the database remembers the number of the last group that
//! it has. So groups are recovered with their numbers under the old id, and what was stored before
//! is not stored again. The id stands in `meta` and, for the day on which just that page is gone,
//! in `spool.id`. Without it nobody could tell what the database has: then nothing is recovered,
//! and the log says which file holds the hits. New groups get numbers above all that the old file
//! can have given out: those found, the present time, and the time at which the old one was last
//! written, since a clock may have been put back.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::count_lost;
use super::file::{self, FILE, INSERT, SpoolError};
use super::pages::{FoundGroup, Pages};
use super::tally::Tally;
use super::writer::LOSSES;
use crate::model::clock::{Clock, Micros};
use crate::model::hit::Hit;
use crate::queue::frame::decode_frames;
use crate::queue::sink::Refused;
use crate::sqlite::put_aside;

const NEW: &str = "spool.db.new";
const ID: &str = "spool.id";
/// Bytes of a transaction of the new file.
const AT_ONCE: usize = 4 << 20;
/// Numbers between two groups that follow each other are missing groups; from here on the server
/// was started between them.
const GAP: i64 = Micros::SECOND;

/// What is known of a damaged spool beside what stands in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) id: Option<Uuid>,
    pub(super) deleted_to: i64,
    /// Hits that it held behind `deleted_to`. Where a server did not have it open before, the note
    /// beside it says (`tally.rs`).
    pub(super) hits: Option<u64>,
    /// The last number given out.
    pub(super) last: i64,
}

/// Puts a damaged spool aside and a new one in its place. Returns the number after which new groups
/// are numbered.
pub(super) async fn renew(
    dir: &Path,
    clock: &Clock,
    why: &str,
    known: Known,
) -> Result<i64, SpoolError> {
    let path = dir.join(FILE);
    let failed = |error: io::Error| SpoolError::Database {
        path: path.clone(),
        source: error.into(),
    };
    let now = clock.now();
    let mut last = known.last.max(now.0).max(last_written(&path));
    let searched = search(path.clone()).await;
    let (pages, mut found) = match searched {
        Ok((pages, found)) => (Some(pages), found),
        // Not even to be read: what stands there is none of ours.
        Err(_) => (None, super::pages::Found::default()),
    };
    let id = known
        .id
        .or(found.meta.map(|(id, _)| id))
        .or_else(|| read_id(dir));
    let tally = match known.hits {
        Some(_) => None,
        None => Tally::read(dir).filter(|tally| tally.is_of(id)),
    };
    let deleted_to = found
        .meta
        .map_or(0, |(_, deleted_to)| deleted_to)
        .max(known.deleted_to)
        .max(tally.map_or(0, |tally| tally.deleted_to));
    last = last.max(tally.map_or(0, |tally| tally.written));
    found.groups.retain(|seq, _| *seq > deleted_to);
    let unknown = if id.is_none() { found.groups.len() } else { 0 };
    if unknown > 0 {
        found.groups.clear();
    }
    let new = dir.join(NEW);
    remove(&new);
    let mut recovered = Recovered::default();
    // At a start without groups the safest is a name that the database has never heard of.
    let is_new = known.id.is_none() && found.groups.is_empty();
    let new_id = id.filter(|_| !is_new).unwrap_or_else(|| clock.new_id(now));
    let made = async {
        let deleted_to_start = if is_new { 0 } else { deleted_to };
        let mut connection = file::create(&new, new_id, deleted_to_start).await?;
        if let Some(pages) = pages {
            recovered = fill(&mut connection, pages, found, deleted_to).await?;
        }
        // Nothing of it may be left in a journal: the file alone is renamed.
        sqlx::query("pragma wal_checkpoint(truncate)")
            .execute(&mut connection)
            .await?;
        connection.close().await.map_err(file::NotOpened::from)
    };
    if let Err(error) = made.await {
        remove(&new);
        return Err(error.of(&path));
    }
    last = last.max(recovered.last);
    let aside = put_aside(&path, now).map_err(failed)?.unwrap_or_default();
    std::fs::rename(&new, &path).map_err(failed)?;
    Tally::forget(dir);
    write_id(dir, new_id);

    let mut lost = recovered.lost;
    if let Some(held) = known.hits.or(tally.map(|tally| tally.hits)) {
        lost = lost.max(held.saturating_sub(recovered.hits));
    }
    tracing::error!(
        why,
        aside = %aside.display(),
        groups = recovered.groups,
        hits = recovered.hits,
        lost,
        is_estimate = lost > 0 && known.hits.is_none(),
        "the spool is damaged: it is put aside, and what can be read of it goes on in a new one"
    );
    if unknown > 0 {
        tracing::error!(
            groups = unknown,
            aside = %aside.display(),
            "the damaged spool does not say its id, so nobody can tell which of its hits are \
            stored: they stay where they are; \
             `sillage spool inspect --file` shows them"
        );
    }
    metrics::counter!("sillage_spool_damaged_total").increment(1);
    if lost > 0 {
        count_lost(lost, Refused::Damaged);
        LOSSES.note_lost(lost as usize, Refused::Damaged);
    }
    Ok(last)
}

/// Goes on where a renewal was cut off between its two renames.
pub(super) fn finish(dir: &Path, clock: &Clock) -> io::Result<()> {
    let (path, new) = (dir.join(FILE), dir.join(NEW));
    if !new.exists() {
        return Ok(());
    }
    if path.exists() {
        // It was not whole yet.
        remove(&new);
        return Ok(());
    }
    // The old one's journal must not be taken for the new one's.
    put_aside(&path, clock.now())?;
    std::fs::rename(&new, &path)
}

/// Spools that were put aside and not removed since.
pub(super) fn aside(dir: &Path) -> u64 {
    let start = format!("{FILE}.damaged-");
    // A file and what lay beside it are one.
    let names: BTreeSet<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| {
            let time = name.strip_prefix(&start)?;
            let beside = ["-wal", "-shm", "-journal"];
            let stem = beside.iter().find_map(|suffix| time.strip_suffix(suffix));
            Some(stem.unwrap_or(time).to_owned())
        })
        .collect();
    names.len() as u64
}

/// Calls `each` with the first `limit` hits that can be read of a file, damaged or not, and their
/// group, in order.
pub(super) async fn inspect(
    path: &Path,
    limit: usize,
    mut each: impl FnMut(i64, Result<Hit, String>),
) -> io::Result<()> {
    let (pages, found) = search(path.to_owned()).await?;
    let mut left = limit;
    for (seq, cells) in &found.groups {
        if left == 0 {
            break;
        }
        let Some(group) = pages.group(cells) else {
            each(*seq, Err("the group cannot be read".to_owned()));
            continue;
        };
        for read in decode_frames(&group.body).take(left) {
            left -= 1;
            let read = read.map(|hit| *hit);
            each(*seq, read.map_err(|bad| bad.why.to_string()));
        }
        if group.whole < group.hits {
            let lost = group.hits - group.whole;
            each(*seq, Err(format!("{lost} hits more cannot be read")));
        }
    }
    Ok(())
}

async fn search(path: PathBuf) -> io::Result<(Pages, super::pages::Found)> {
    tokio::task::spawn_blocking(move || {
        let pages = Pages::open(&path)?;
        let found = pages.search();
        Ok((pages, found))
    })
    .await?
}

#[derive(Default)]
struct Recovered {
    groups: u64,
    hits: u64,
    lost: u64,
    last: i64,
}

/// Writes the groups that can be read into the new file.
async fn fill(
    connection: &mut SqliteConnection,
    pages: Pages,
    found: super::pages::Found,
    deleted_to: i64,
) -> sqlx::Result<Recovered> {
    let (hand, mut taken) = mpsc::channel::<(i64, Option<FoundGroup>)>(2);
    let reading = tokio::task::spawn_blocking(move || {
        for (seq, cells) in found.groups {
            if hand.blocking_send((seq, pages.group(&cells))).is_err() {
                break;
            }
        }
    });
    let mut recovered = Recovered {
        last: deleted_to,
        ..Recovered::default()
    };
    let mut open = 0;
    while let Some((seq, group)) = taken.recv().await {
        let missing = seq - recovered.last - 1;
        if (1..GAP).contains(&missing) {
            // How many hits they had is gone with them: at least one each.
            recovered.lost += missing as u64;
        }
        recovered.last = seq;
        let Some(group) = group else {
            recovered.lost += 1;
            continue;
        };
        recovered.lost += (group.hits - group.whole).max(0) as u64;
        if group.whole == 0 {
            continue;
        }
        if open == 0 {
            sqlx::raw_sql("begin immediate")
                .execute(&mut *connection)
                .await?;
        }
        open += group.body.len();
        recovered.groups += 1;
        recovered.hits += group.whole as u64;
        sqlx::query(INSERT)
            .bind(seq)
            .bind(group.whole)
            .bind(group.body)
            .execute(&mut *connection)
            .await?;
        if open >= AT_ONCE {
            sqlx::raw_sql("commit").execute(&mut *connection).await?;
            open = 0;
        }
    }
    if open > 0 {
        sqlx::raw_sql("commit").execute(&mut *connection).await?;
    }
    let _ = reading.await;
    Ok(recovered)
}

/// When the file or its journal was last written.
fn last_written(path: &Path) -> i64 {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-wal");
    [path, Path::new(&journal)]
        .into_iter()
        .filter_map(|path| std::fs::metadata(path).ok()?.modified().ok())
        .filter_map(|at| i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok())
        .max()
        .unwrap_or(0)
}

/// The id beside the file.
pub(super) fn read_id(dir: &Path) -> Option<Uuid> {
    std::fs::read_to_string(dir.join(ID))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Notes the id beside the file. Where there is no room for it, the next start does it.
pub(super) fn write_id(dir: &Path, id: Uuid) {
    if read_id(dir) == Some(id) {
        return;
    }
    let new = dir.join("spool.id.new");
    let written = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            writeln!(file, "{id}")?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&new, dir.join(ID)));
    if written.is_err() {
        remove(&new);
    }
}

pub(super) fn remove(file: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hit::{Dialect, HitId, Kind};
    use crate::queue::frame::encode_frame;
    use crate::queue::local::file::SpoolFile;

    /// Groups that the test's spool holds, and hits in the group of a number.
    const GROUPS: i64 = 120;

    fn hits_of(group: i64) -> i64 {
        // Now and then one that goes over many pages.
        if group % 20 == 7 { 200 } else { 1 + group % 5 }
    }

    fn body(group: i64) -> Vec<u8> {
        let mut body = Vec::new();
        for hit in 0..hits_of(group) {
            let id = HitId(Uuid::from_u128((group * 1_000 + hit) as u128));
            let mut hit = Hit::new(id, Micros(1), Kind::Click, Dialect::Native);
            hit.keep("some", &"x".repeat(group as usize));
            encode_frame(&hit, &mut body);
        }
        body
    }

    struct Spool {
        dir: tempfile::TempDir,
        clock: Clock,
        id: Uuid,
        /// Number of the group before the first.
        before: i64,
    }

    impl Spool {
        /// As a server leaves it that was killed: the older half in the file, the newer in the
        /// journal, and the first ten deleted.
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let clock = Clock::fixed(Micros(1_000 * Micros::SECOND));
            let mut file = SpoolFile::open(dir.path(), &clock).await.unwrap();
            let (id, before) = (file.id, file.last);
            for group in 1..=GROUPS {
                let hits = hits_of(group) as u32;
                file.append(before + group, hits, body(group))
                    .await
                    .unwrap();
                if group == GROUPS / 2 {
                    file.delete(before + 10).await.unwrap();
                    file.checkpoint().await;
                }
            }
            // The copy is what a killed process leaves: its files, and nobody who folds the journal
            // in.
            let copy = tempfile::tempdir().unwrap();
            for name in ["spool.db", "spool.db-wal", "spool.db-shm", "spool.id"] {
                std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
            }
            let spool = Self {
                dir: copy,
                clock,
                id,
                before,
            };
            assert!(spool.size("spool.db") > 100_000 && spool.size("spool.db-wal") > 100_000);
            spool
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn size(&self, name: &str) -> u64 {
            std::fs::metadata(self.path(name)).unwrap().len()
        }

        fn overwrite(&self, name: &str, at: u64, bytes: &[u8]) {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::File::options().write(true).open(self.path(name));
            file.unwrap().write_all_at(bytes, at).unwrap();
        }

        fn cut(&self, name: &str, length: u64) {
            let file = std::fs::File::options().write(true).open(self.path(name));
            file.unwrap().set_len(length).unwrap();
        }

        fn remove(&self, name: &str) {
            std::fs::remove_file(self.path(name)).unwrap();
        }

        /// Opens it, damaged as it is: the file, and its groups with the number of hits that are
        /// there.
        async fn open(&self) -> (SpoolFile, Vec<(i64, i64)>) {
            let file = SpoolFile::open(self.dir.path(), &self.clock).await.unwrap();
            let mut groups: Vec<(i64, i64)> = Vec::new();
            super::file::inspect(self.dir.path(), usize::MAX, |seq, hit| {
                let hit = hit.unwrap();
                let group = (hit.id.0.as_u128() / 1_000) as i64;
                assert_eq!(seq, self.before + group, "a group keeps its number");
                match groups.last_mut() {
                    Some((last, hits)) if *last == group => *hits += 1,
                    _ => groups.push((group, 1)),
                }
            })
            .await
            .unwrap();
            assert_eq!(
                file.hits as i64,
                groups.iter().map(|(_, hits)| hits).sum::<i64>()
            );
            assert!(file.last >= self.before + GROUPS, "no number comes twice");
            (file, groups)
        }
    }

    fn all(from: i64) -> Vec<(i64, i64)> {
        (from..=GROUPS)
            .map(|group| (group, hits_of(group)))
            .collect()
    }

    #[tokio::test]
    async fn a_whole_spool_is_not_touched() {
        let spool = Spool::new().await;
        let (file, groups) = spool.open().await;
        assert_eq!((file.id, groups), (spool.id, all(11)));
        assert_eq!(aside(spool.dir.path()), 0);
    }

    #[tokio::test]
    async fn behind_a_broken_header_everything_is_there() {
        let spool = Spool::new().await;
        spool.overwrite("spool.db", 0, &[0xa5; 100]);
        spool.overwrite("spool.db-wal", 0, &[0; 32]);
        let (file, groups) = spool.open().await;
        assert_eq!(file.id, spool.id);
        // The journal's half is gone with the journal's header.
        assert_eq!(groups[..50], all(11)[..50]);
        assert_eq!(aside(spool.dir.path()), 1);
    }

    #[tokio::test]
    async fn of_an_empty_file_the_journal_is_read() {
        let spool = Spool::new().await;
        spool.cut("spool.db", 0);
        let (file, groups) = spool.open().await;
        assert_eq!(file.id, spool.id);
        assert!(groups.len() >= 50, "{groups:?}");
        assert!(groups.ends_with(&all(GROUPS - 40)), "{groups:?}");
    }

    #[tokio::test]
    async fn of_a_file_that_was_cut_the_rest_is_read() {
        let spool = Spool::new().await;
        spool.remove("spool.db-wal");
        spool.remove("spool.db-shm");
        spool.cut("spool.db", spool.size("spool.db") / 2 + 1_000);
        let (file, groups) = spool.open().await;
        assert_eq!(file.id, spool.id);
        assert!(groups.len() >= 15, "{groups:?}");
        assert_eq!(groups[0].0, 11);
        assert_eq!(aside(spool.dir.path()), 1);
    }

    #[tokio::test]
    async fn pages_of_zeros_take_their_own_groups_and_no_others() {
        let spool = Spool::new().await;
        let pages = spool.size("spool.db") / 8_192;
        spool.remove("spool.db-wal");
        spool.remove("spool.db-shm");
        // `meta` is on the second page, the root of `groups` on the third.
        for page in [1, 2, pages / 2, pages / 2 + 1] {
            spool.overwrite("spool.db", page * 8_192, &[0; 8_192]);
        }
        let (file, groups) = spool.open().await;
        assert_eq!(file.id, spool.id, "it stands beside the file too");
        // Without `meta` nobody knows that the first ten were deleted: the database does.
        let there: Vec<i64> = groups.iter().map(|(group, _)| *group).collect();
        let missing = (11..=GROUPS / 2)
            .filter(|group| !there.contains(group))
            .count();
        assert!(missing <= 12, "{missing} of {there:?}");
    }

    #[tokio::test]
    async fn what_is_found_damaged_while_it_is_read_is_recovered_too() {
        let spool = Spool::new().await;
        spool.remove("spool.db-wal");
        spool.remove("spool.db-shm");
        let known = Known {
            id: Some(spool.id),
            deleted_to: spool.before + 20,
            hits: Some(1_000_000),
            last: spool.before + 5 * Micros::SECOND,
        };
        let file = SpoolFile::renew(spool.dir.path(), &spool.clock, "a test", known)
            .await
            .unwrap();
        assert_eq!((file.id, file.deleted_to), (spool.id, known.deleted_to));
        assert!(file.last >= known.last);
        let expected: i64 = (21..=GROUPS / 2).map(hits_of).sum();
        assert_eq!(file.hits as i64, expected);
    }

    #[tokio::test]
    async fn whatever_stands_in_its_place_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Micros(1_000 * Micros::SECOND));
        for round in 1..=3 {
            let path = dir.path().join(FILE);
            match round {
                1 => std::fs::create_dir(&path).unwrap(),
                2 => std::fs::write(
                    &path,
                    "no database at all, but something that somebody put here",
                )
                .unwrap(),
                _ => std::fs::create_dir(dir.path().join("spool.db-wal")).unwrap(),
            }
            let mut file = SpoolFile::open(dir.path(), &clock).await.unwrap();
            assert_eq!(aside(dir.path()), round);
            let seq = file.last + 1;
            file.append(seq, 1, body(1)).await.unwrap();
            file.delete(seq).await.unwrap();
            file.close().await.unwrap();
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Replayed over a newer file, an old journal makes it old or damaged: neither may keep the
    /// server from starting, nor give numbers twice.
    #[tokio::test]
    async fn with_the_journal_of_another_day_it_opens_and_gives_no_number_twice() {
        let spool = Spool::new().await;
        let journal = std::fs::read(spool.path("spool.db-wal")).unwrap();
        let (file, _) = spool.open().await;
        file.close().await.unwrap();
        std::fs::write(spool.path("spool.db-wal"), journal).unwrap();
        let (mut file, groups) = spool.open().await;
        assert!(groups.starts_with(&all(11)[..40]), "{groups:?}");
        file.append(file.last + 1, 1, body(1)).await.unwrap();
    }

    #[tokio::test]
    async fn a_renewal_that_was_cut_off_is_gone_on_with() {
        let spool = Spool::new().await;
        // Between the two renames: the new one is whole, the old one's journal still there.
        let new = Spool::new().await;
        let (file, _) = new.open().await;
        let id = file.id;
        file.close().await.unwrap();
        std::fs::copy(new.path("spool.db"), spool.path(NEW)).unwrap();
        spool.remove("spool.db");
        let file = SpoolFile::open(spool.dir.path(), &spool.clock)
            .await
            .unwrap();
        assert_eq!(file.id, id);
        // Before them: it was not whole, and is made again.
        std::fs::write(spool.path(NEW), "half").unwrap();
        file.close().await.unwrap();
        SpoolFile::open(spool.dir.path(), &spool.clock)
            .await
            .unwrap();
        assert!(!spool.path(NEW).exists());
    }

    #[tokio::test]
    async fn without_its_id_nothing_is_stored_that_may_be_stored_already() {
        let spool = Spool::new().await;
        spool.remove("spool.db-wal");
        spool.remove("spool.db-shm");
        spool.remove("spool.id");
        spool.overwrite("spool.db", 0, &[0; 2 * 8_192]);
        let (file, groups) = spool.open().await;
        assert_ne!(file.id, spool.id);
        assert_eq!(groups, []);
        // It is there for whoever looks.
        let aside = std::fs::read_dir(spool.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().contains("damaged"))
            .unwrap();
        let mut seen = 0;
        inspect(&aside, usize::MAX, |_, hit| {
            seen += usize::from(hit.is_ok())
        })
        .await
        .unwrap();
        assert!(seen > 500, "{seen}");
    }

    #[tokio::test]
    async fn of_a_group_that_ends_too_soon_the_whole_hits_are_kept() {
        let spool = Spool::new().await;
        spool.remove("spool.db-wal");
        spool.remove("spool.db-shm");
        // The large groups lie on pages of their own: one of them is lost in the middle of a chain.
        let pages = Pages::open(&spool.path(FILE)).unwrap();
        let found = pages.search();
        let large = &found.groups[&(spool.before + 27)];
        let whole = pages.group(large).unwrap();
        assert_eq!((whole.hits, whole.whole), (200, 200));
        let frames = decode_frames(&whole.body).count();
        assert_eq!(frames, 200);
        let middle = whole.body[whole.body.len() / 2..][..64].to_vec();
        let file = std::fs::read(spool.path(FILE)).unwrap();
        let at = file.windows(64).position(|bytes| bytes == middle).unwrap() as u64;
        spool.overwrite(FILE, at / 8_192 * 8_192, &[0; 8_192]);
        let part = pages.group(large).unwrap();
        assert!(part.whole > 20 && part.whole < 180, "{}", part.whole);
        assert_eq!(decode_frames(&part.body).count() as i64, part.whole);
    }
}

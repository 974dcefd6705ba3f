//! Damage of every kind, and what is read behind it.

use std::path::PathBuf;

use super::*;
use crate::model::hit::{Dialect, Hit, HitId, Kind};
use crate::queue::frame::{decode_frames, encode_frame};
use crate::queue::local::file::SpoolFile;
use crate::queue::local::opening::{open, renew};
use crate::queue::local::waiting;

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
        let mut file = open(dir.path(), &clock).await.unwrap();
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
        let file = open(self.dir.path(), &self.clock).await.unwrap();
        let mut groups: Vec<(i64, i64)> = Vec::new();
        waiting::inspect(self.dir.path(), usize::MAX, |seq, hit| {
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
    let file = renew(spool.dir.path(), &spool.clock, "a test", known)
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
        let mut file = open(dir.path(), &clock).await.unwrap();
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
    let file = open(spool.dir.path(), &spool.clock).await.unwrap();
    assert_eq!(file.id, id);
    // Before them: it was not whole, and is made again.
    std::fs::write(spool.path(NEW), "half").unwrap();
    file.close().await.unwrap();
    open(spool.dir.path(), &spool.clock).await.unwrap();
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
    waiting::inspect_file(&aside, usize::MAX, |_, hit| {
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

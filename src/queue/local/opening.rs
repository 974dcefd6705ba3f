//! How a spool is opened, whatever is found: a file, none, a damaged one, one of a newer version.
//!
//! A server starts with each of them. What is lost by it is counted, see [`super::tally`].

use std::io;
use std::path::Path;

use super::error::{NotOpened, SpoolError};
use super::file::{FILE, SpoolFile, release_ballast};
use super::losses;
use super::salvage::{self, Known};
use super::tally::Tally;
use crate::model::clock::Clock;
use crate::queue::frame::FORMAT;
use crate::queue::sink::Refused;
use crate::sqlite::{Trouble, is_to_be_replaced, put_aside_as, trouble};

/// Opens or creates the file of a directory; a damaged one is set aside.
pub(super) async fn open(dir: &Path, clock: &Clock) -> Result<SpoolFile, SpoolError> {
    let path = dir.join(FILE);
    let failed = |source| SpoolError::of(&path, source);
    salvage::finish(dir, clock).map_err(|error| failed(error.into()))?;
    if has_only_journal(&path) {
        // SQLite would throw the journal away, and what is in it.
        return renew(
            dir,
            clock,
            "the file is missing, but its journal is there",
            Known::default(),
        )
        .await;
    }
    let has_lost_journal = has_lost_journal(&path);
    if has_lost_journal {
        tracing::error!(
            path = %path.display(),
            "the spool's journal is gone: the last hits acknowledged before the server ended may \
            be lost"
        );
        losses::count_damaged(1);
    }
    let mut opened = SpoolFile::open(dir, &path, clock).await;
    if let Err(NotOpened::Failed(error)) = &opened
        && trouble(error) == Trouble::Disk
        && release_ballast(dir)
    {
        opened = SpoolFile::open(dir, &path, clock).await;
    }
    if let Err(NotOpened::Newer(format)) = opened {
        leave_to_newer(dir, &path, format, clock).map_err(|error| failed(error.into()))?;
        opened = SpoolFile::open(dir, &path, clock).await;
    }
    match opened {
        Err(NotOpened::Failed(error)) if is_to_be_replaced(&error, &path) => {
            renew(dir, clock, &error.to_string(), Known::default()).await
        }
        Err(error) => Err(error.of(&path)),
        Ok(mut file) => {
            if count_missing(&mut file, dir).await.map_err(failed)? && !has_lost_journal {
                losses::count_damaged(1);
            }
            Ok(file)
        }
    }
}

/// Counts the hits that were noted as waiting but are gone with the journal or the file. Returns
/// whether there are any.
async fn count_missing(file: &mut SpoolFile, dir: &Path) -> sqlx::Result<bool> {
    let Some(tally) = Tally::read(dir) else {
        return Ok(false);
    };
    let there = if file.is_new {
        0
    } else if tally.is_of(Some(file.id)) && tally.written > file.written {
        file.hits_after(tally.deleted_to).await?
    } else {
        return Ok(false);
    };
    Tally::forget(dir);
    file.last = file.last.max(tally.written);
    let lost = tally.hits.saturating_sub(there);
    if lost > 0 {
        tracing::error!(
            path = %dir.join(FILE).display(),
            lost,
            "hits that were noted as waiting are missing from the spool: its file or its journal \
            was removed or truncated. About this many are lost"
        );
        losses::lose(lost, Refused::Damaged);
    }
    Ok(lost > 0)
}

/// Sets the file aside and opens a new one, with what could be salvaged of the old.
pub(super) async fn renew(
    dir: &Path,
    clock: &Clock,
    why: &str,
    known: Known,
) -> Result<SpoolFile, SpoolError> {
    let path = dir.join(FILE);
    let last = salvage::renew(dir, clock, why, known).await?;
    let mut file = SpoolFile::open(dir, &path, clock)
        .await
        .map_err(|error| error.of(&path))?;
    file.last = file.last.max(last);
    Ok(file)
}

/// Sets the file of a newer server aside, intact: readers get to their pages, and its hits wait for
/// a server that can read them.
fn leave_to_newer(dir: &Path, path: &Path, format: i64, clock: &Clock) -> io::Result<()> {
    let aside = put_aside_as(path, &format!("format-{format}"), clock.now())?.unwrap_or_default();
    // They are not lost.
    Tally::forget(dir);
    tracing::error!(
        format,
        reads_up_to = FORMAT,
        aside = %aside.display(),
        "a newer version wrote the spool: it is set aside unchanged, and a new one is started. \
        To store \
        the hits in it, go back to the newer version; stop it when `sillage spool status` says \
        that no hits wait, rename the file to spool.db and start it again"
    );
    Ok(())
}

fn journal(path: &Path, suffix: &str) -> Option<u64> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    std::fs::metadata(name).ok().map(|meta| meta.len())
}

/// Whether the file is gone or empty and its journal is not.
fn has_only_journal(path: &Path) -> bool {
    let is_empty = std::fs::metadata(path).map_or(true, |meta| meta.is_file() && meta.len() == 0);
    is_empty && journal(path, "-wal").is_some_and(|bytes| bytes > 0)
}

/// Whether the journal was removed: a killed server leaves both it and its index, one that stops
/// leaves neither.
fn has_lost_journal(path: &Path) -> bool {
    path.is_file() && journal(path, "-shm").is_some() && journal(path, "-wal").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Micros;

    /// The database may have stored groups that an old copy of the file does not know: their
    /// numbers must not be reused.
    #[tokio::test]
    async fn an_old_copy_of_the_file_gives_no_number_out_twice() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(Micros(1_000_000));
        let mut spool = open(dir.path(), &clock).await.unwrap();
        let first = spool.last + 1;
        spool.append(first, 1, vec![1]).await.unwrap();
        spool.close().await.unwrap();
        let copy = std::fs::read(dir.path().join(FILE)).unwrap();

        let mut spool = open(dir.path(), &clock).await.unwrap();
        assert_eq!(spool.last, first, "what waits keeps its number");
        spool.append(first + 1, 1, vec![2]).await.unwrap();
        spool.close().await.unwrap();

        std::fs::write(dir.path().join(FILE), copy).unwrap();
        clock.advance(Micros::SECOND);
        let spool = open(dir.path(), &clock).await.unwrap();
        assert!(spool.last > first + 1, "{} after {}", spool.last, first + 1);
    }
}

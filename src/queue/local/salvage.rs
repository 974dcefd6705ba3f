//! Replaces a damaged spool by a new one with all that can be read.
//!
//! The new file is made beside the old one, whole, before either is renamed; if the process is
//! killed in between, the next start continues. The old one is kept for inspection (`sillage spool
//! inspect --file`).
//!
//! **Exactly once.** Under the spool's id, the database records the number of the last group that
//! it has. So groups are recovered with their numbers under the old id, and stored groups are not
//! stored again. The id is in `meta` and, in case exactly that page is lost, in `spool.id`. Without
//! the id, nothing shows what the database has: then nothing is recovered, and the log names the
//! file with the hits. New groups get numbers above all those that the old file can have used:
//! those found, the present time, and the time at which the old one was last written, since a clock
//! may have been put back.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::error::{NotOpened, SpoolError};
use super::file::{self, FILE, INSERT};
use super::id::{read_id, write_id};
use super::losses;
use super::pages::{self, FoundGroup, Pages};
use super::tally::Tally;
use crate::model::clock::{Clock, Micros};
use crate::queue::sink::Refused;
use crate::sqlite::put_aside;

const NEW: &str = "spool.db.new";
/// Bytes per transaction of the new file.
const AT_ONCE: usize = 4 << 20;
/// A gap between the numbers of two consecutive groups means missing groups, unless the server was
/// restarted between them.
const GAP: i64 = Micros::SECOND;

/// What is known about a damaged spool from outside it.
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

/// Sets a damaged spool aside and creates a new one. Returns the number after which new groups are
/// numbered.
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
    let searched = pages::search(path.clone()).await;
    let (pages, mut found) = match searched {
        Ok((pages, found)) => (Some(pages), found),
        // Not even to be read: what stands there is none of ours.
        Err(_) => (None, pages::Found::default()),
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
        connection.close().await.map_err(NotOpened::from)
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
        "the spool is damaged: it is set aside, and what can be read moves to a new one"
    );
    if unknown > 0 {
        tracing::error!(
            groups = unknown,
            aside = %aside.display(),
            "the id of the damaged spool cannot be read, so it is unknown which of its hits are \
            stored: they stay where they are; \
             `sillage spool inspect --file` shows them"
        );
    }
    losses::count_damaged(1);
    if lost > 0 {
        losses::lose(lost, Refused::Damaged);
    }
    Ok(last)
}

/// Resumes where a replacement was interrupted between its two renames.
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

/// Spools that were set aside and not removed since.
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

#[derive(Default)]
struct Recovered {
    groups: u64,
    hits: u64,
    lost: u64,
    last: i64,
}

/// Writes the readable groups into the new file.
async fn fill(
    connection: &mut SqliteConnection,
    pages: Pages,
    found: pages::Found,
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

fn remove(file: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}

#[cfg(test)]
mod tests;

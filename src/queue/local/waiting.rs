//! Reads the waiting hits of a data directory from outside, even while a server runs.

use std::io;
use std::path::Path;

use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};
use uuid::Uuid;

use super::SpoolError;
use super::error::NotOpened;
use super::file::{FILE, format_of, options};
use super::pages;
use crate::model::hit::Hit;
use crate::queue::frame::decode_frames;

/// Output of `sillage spool status`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SpoolStatus {
    /// Id under which the database remembers the position.
    pub id: Uuid,
    /// Groups that wait.
    pub groups: i64,
    /// Hits that wait.
    pub hits: i64,
    /// Bytes that wait.
    pub bytes: i64,
    /// Highest group deleted.
    pub deleted_to: i64,
    /// Highest group written.
    pub last: i64,
}

async fn open_read_only(dir: &Path) -> Result<SqliteConnection, SpoolError> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(SpoolError::Missing(path));
    }
    let opened = async {
        let mut connection = options(&path).read_only(true).connect().await?;
        format_of(&mut connection).await?;
        Ok(connection)
    };
    opened.await.map_err(|error: NotOpened| error.of(&path))
}

/// Reads the state of the spool in a directory, also while a server uses it.
///
/// # Errors
/// There is no spool, or it cannot be read.
pub async fn status(dir: &Path) -> Result<SpoolStatus, SpoolError> {
    let mut connection = open_read_only(dir).await?;
    let read = async {
        let row = sqlx::query(
            "select m.id, m.deleted_to, count(g.seq) as waiting, coalesce(sum(g.hits), 0) as hits, \
            coalesce(sum(length(g.body)), 0) as bytes, \
            coalesce(max(g.seq), m.deleted_to) as last \
            from meta m left join groups g on true",
        )
        .fetch_one(&mut connection)
        .await?;
        sqlx::Result::Ok(SpoolStatus {
            id: row.try_get("id")?,
            deleted_to: row.try_get("deleted_to")?,
            groups: row.try_get("waiting")?,
            hits: row.try_get("hits")?,
            bytes: row.try_get("bytes")?,
            last: row.try_get("last")?,
        })
    };
    read.await
        .map_err(|source| SpoolError::of(&dir.join(FILE), source))
}

/// Calls `each` with the first `limit` waiting hits and their group, oldest first.
///
/// # Errors
/// There is no spool, or it cannot be read.
pub async fn inspect(
    dir: &Path,
    limit: usize,
    mut each: impl FnMut(i64, Result<Hit, String>),
) -> Result<(), SpoolError> {
    let mut connection = open_read_only(dir).await?;
    let (mut after, mut left) = (0_i64, limit);
    while left > 0 {
        let row = sqlx::query("select seq, body from groups where seq > $1 order by seq limit 1")
            .bind(after)
            .fetch_optional(&mut connection)
            .await;
        let row = row.and_then(|row| {
            row.map(|row| Ok((row.try_get("seq")?, row.try_get::<Vec<u8>, _>("body")?)))
                .transpose()
        });
        let Some((seq, body)) = row.map_err(|source| SpoolError::of(&dir.join(FILE), source))?
        else {
            break;
        };
        after = seq;
        for frame in decode_frames(&body).take(left) {
            left -= 1;
            let hit = frame.map(|hit| *hit);
            each(seq, hit.map_err(|bad| bad.why.to_string()));
        }
    }
    Ok(())
}

/// Calls `each` with the first `limit` hits that can be read of a file, damaged or not, and their
/// group, in order.
///
/// # Errors
/// There is no such file, or it cannot be read at all.
pub async fn inspect_file(
    path: &Path,
    limit: usize,
    each: impl FnMut(i64, Result<Hit, String>),
) -> Result<(), SpoolError> {
    if !path.exists() {
        return Err(SpoolError::Missing(path.to_owned()));
    }
    look_into(path, limit, each)
        .await
        .map_err(|error| SpoolError::of(path, error.into()))
}

async fn look_into(
    path: &Path,
    limit: usize,
    mut each: impl FnMut(i64, Result<Hit, String>),
) -> io::Result<()> {
    let (pages, found) = pages::search(path.to_owned()).await?;
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
            each(*seq, Err(format!("{lost} more hits cannot be read")));
        }
    }
    Ok(())
}

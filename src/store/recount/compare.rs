//! Compares a table of figures as it is kept with what the hits say, side by side in the order of
//! its key.

use std::fmt::Debug;

use futures_util::StreamExt as _;
use sqlx::FromRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::{Bounds, Recounted, Repairs, stream};
use crate::store::Tx;
use crate::store::figures::Repair;

/// Number of differing rows to correct at a time.
const PORTION: usize = 5_000;

/// A row of a table of figures.
pub(super) trait Row:
    for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Debug + Send + Unpin + 'static
{
    /// The table.
    const TABLE: &'static str;
    /// What stands in its key.
    type Key: Ord;
    /// Its counts.
    type Counts: PartialEq + Default + Debug;

    /// Reads all rows in the order of the key.
    fn sql(is_postgres: bool) -> String;
    fn key(&self) -> Self::Key;
    fn counts(&self) -> Self::Counts;
    /// Whether all its hits are there.
    fn is_whole(&self, bounds: &Bounds) -> bool;
    /// Whether an earlier version kept it, without what takes hits back; a repair adds that.
    fn is_unlisted(&self) -> bool {
        false
    }
    /// The message that it is about, and the delivery that its hits name.
    fn message(&self) -> Option<(i64, i64)> {
        None
    }
    /// What puts it right.
    fn repair(_kept: Option<&Self>, _right: Option<&Self>, _repair: &mut Repair) {}
}

/// Compares a table of two databases.
pub(super) async fn compare<R: Row>(
    kept: &mut Tx,
    right: &mut Tx,
    bounds: &Bounds,
    repairs: &mut Repairs<'_>,
) -> sqlx::Result<Recounted> {
    let mut found = Recounted {
        table: R::TABLE,
        rows: 0,
        different: 0,
        example: None,
    };
    let sql = |tx: &Tx| R::sql(matches!(tx, Tx::Postgres(_)));
    let (of_kept, of_right) = (sql(kept), sql(right));
    let mut kept = stream::<R>(kept, of_kept);
    let mut right = stream::<R>(right, of_right);
    let mut different: Vec<(Option<R>, Option<R>)> = Vec::new();
    let (mut one, mut other) = (
        kept.next().await.transpose()?,
        right.next().await.transpose()?,
    );
    while one.is_some() || other.is_some() {
        let (takes_one, takes_other) = match (&one, &other) {
            (Some(one), Some(other)) => match one.key().cmp(&other.key()) {
                std::cmp::Ordering::Less => (true, false),
                std::cmp::Ordering::Equal => (true, true),
                std::cmp::Ordering::Greater => (false, true),
            },
            (one, _) => (one.is_some(), one.is_none()),
        };
        let of_kept = one.take_if(|_| takes_one);
        let of_right = other.take_if(|_| takes_other);
        if takes_one {
            one = kept.next().await.transpose()?;
        }
        if takes_other {
            other = right.next().await.transpose()?;
        }
        let row = of_kept.as_ref().or(of_right.as_ref());
        if row.is_none_or(|row| !row.is_whole(bounds)) {
            continue;
        }
        found.rows += 1;
        let counts = |row: &Option<R>| row.as_ref().map(Row::counts).unwrap_or_default();
        let is_unlisted = repairs.wanted && of_kept.as_ref().is_some_and(Row::is_unlisted);
        if counts(&of_kept) == counts(&of_right) && !is_unlisted {
            continue;
        }
        different.push((of_kept, of_right));
        if different.len() >= PORTION {
            note(std::mem::take(&mut different), &mut found, repairs).await?;
        }
    }
    note(different, &mut found, repairs).await?;
    Ok(found)
}

/// Counts rows that differ, and corrects them.
async fn note<R: Row>(
    rows: Vec<(Option<R>, Option<R>)>,
    found: &mut Recounted,
    repairs: &mut Repairs<'_>,
) -> sqlx::Result<()> {
    let new = rows.iter().filter(|(kept, _)| kept.is_none());
    let messages: Vec<_> = new
        .filter_map(|(_, right)| right.as_ref()?.message())
        .collect();
    let of_others = repairs.messages_of_others(&messages).await?;
    let mut repair = Repair::default();
    for (kept, right) in &rows {
        let message = right.as_ref().and_then(Row::message);
        if kept.is_none() && message.is_some_and(|(message, _)| of_others.contains(&message)) {
            continue;
        }
        found.different += 1;
        found
            .example
            .get_or_insert_with(|| format!("kept {kept:?}, counted {right:?}"));
        R::repair(kept.as_ref(), right.as_ref(), &mut repair);
    }
    repairs.add(repair).await
}

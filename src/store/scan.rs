//! Parts of lists by falling numbers where no index knows which rows match. A part ends after so
//! many rows were looked at that others are to have a turn; the next goes on from there, also where
//! this one holds no rows.

use std::future::Future;

/// Rows to examine for one page: texts of a million rows take seconds.
const MOST_LOOKED_AT: usize = 10_000;
/// Rows per query. The longest have some 16 KB each.
const ROWS: i64 = 1_000;

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// By descending number. May be empty although more match further on.
    pub rows: Vec<T>,
    /// The list continues below; `None` if this was all.
    pub next: Option<i64>,
}

/// Where a list begins and how long its page is.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The previous page ended here; `None` means from the greatest number on.
    pub before: Option<i64>,
    /// Most rows.
    pub limit: i64,
}

/// Reads rows up to a number (`read` gets it and how many), by descending number, and keeps those
/// that match. `is_sure`: nearly all of them will.
pub(super) async fn scan<T, F: Future<Output = sqlx::Result<Vec<T>>>>(
    wanted: Wanted,
    is_sure: bool,
    read: impl Fn(i64, i64) -> F,
    number: impl Fn(&T) -> i64,
    takes: impl Fn(&T) -> bool,
) -> sqlx::Result<Part<T>> {
    let limit = wanted.limit;
    let count = if is_sure { limit } else { ROWS };
    let (mut rows, mut looked_at) = (Vec::new(), 0);
    let mut until = wanted
        .before
        .map_or(i64::MAX, |before| before.saturating_sub(1));
    loop {
        let some = read(until, count).await?;
        let is_last = some.is_empty() || (some.len() as i64) < count;
        looked_at += some.len();
        for row in some {
            let at = number(&row);
            until = at.saturating_sub(1);
            if takes(&row) {
                rows.push(row);
                if rows.len() as i64 == limit {
                    let next = Some(at);
                    return Ok(Part { rows, next });
                }
            }
        }
        if is_last || looked_at >= MOST_LOOKED_AT {
            let next = (!is_last).then(|| until.saturating_add(1));
            return Ok(Part { rows, next });
        }
    }
}

/// A text to search for, as it is compared: without case, trimmed; `None` if nothing is left.
pub(super) fn comparable(text: Option<&str>) -> Option<String> {
    text.map(|text| text.trim().to_lowercase())
        .filter(|text| !text.is_empty())
}

/// Whether one of these contains a [`comparable`] text.
pub(super) fn stands_in<'t>(
    wanted: &str,
    texts: impl IntoIterator<Item = Option<&'t String>>,
) -> bool {
    let mut texts = texts.into_iter().flatten();
    texts.any(|text| text.to_lowercase().contains(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn part(before: Option<i64>, limit: i64, takes: impl Fn(&i64) -> bool) -> Part<i64> {
        let all = 25_000_i64;
        let read = |until: i64, rows: i64| async move {
            Ok((1..=until.min(all)).rev().take(rows as usize).collect())
        };
        let wanted = Wanted { before, limit };
        scan(wanted, false, read, |row| *row, takes).await.unwrap()
    }

    #[tokio::test]
    async fn a_part_ends_after_so_many_rows_and_the_next_goes_on_there() {
        let is_rare = |row: &i64| row % 9_000 == 0;
        let first = part(None, 10, is_rare).await;
        assert_eq!((first.rows, first.next), (vec![18_000], Some(15_001)));
        let second = part(first.next, 10, is_rare).await;
        assert_eq!((second.rows, second.next), (vec![9_000], Some(5_001)));
        let third = part(second.next, 10, is_rare).await;
        assert_eq!((third.rows, third.next), (vec![], None));
    }

    #[tokio::test]
    async fn a_part_that_is_full_goes_on_behind_its_last_row() {
        let first = part(None, 2, |_| true).await;
        assert_eq!(
            (first.rows, first.next),
            (vec![25_000, 24_999], Some(24_999))
        );
        assert_eq!(part(Some(2), 2, |_| true).await.rows, [1]);
        assert_eq!(part(Some(i64::MIN), 2, |_| true).await.rows, [0; 0]);
    }
}

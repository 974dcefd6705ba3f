//! Paths that were asked for and are not ours, by their first part.

use super::Store;
use crate::both;
use crate::model::clock::Micros;

/// Maximum number of first segments to tell apart: scanners ask for thousands.
pub const MOST: i64 = 1_000;
/// Counts the ones beyond that.
pub const OTHERS: &str = "(others)";

/// How often paths with one first segment were requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPath {
    /// With its slash; at most 100 characters.
    pub segment: String,
    /// Requests passed on to the old system.
    pub passed_on: i64,
    /// Requests that nothing answered.
    pub refused: i64,
    /// The first of them.
    pub first_at: Micros,
    /// The last of them.
    pub last_at: Micros,
}

crate::from_row!(UnknownPath, row => { segment, passed_on, refused, first_at, last_at });

impl Store {
    /// Those that were requested most, first; behind a number of requests and a segment.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn unknown_paths(
        &self,
        after: Option<&(i64, String)>,
        limit: i64,
    ) -> sqlx::Result<Vec<UnknownPath>> {
        let sql = "select segment, passed_on, refused, first_at, last_at from unknown_paths
                   where passed_on + refused < $1
                      or (passed_on + refused = $1 and segment > $2)
                   order by passed_on + refused desc, segment limit $3";
        let (asked, segment) = after.map_or((i64::MAX, ""), |(asked, name)| (*asked, name));
        both!(self.reader(), pool => sqlx::query_as(sql).bind(asked).bind(segment).bind(limit).fetch_all(pool).await)
    }

    /// Adds what a server has counted.
    ///
    /// # Errors
    /// The database refuses; then nothing is added.
    pub async fn add_unknown_paths(&self, counted: &[UnknownPath]) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        // In one order, so that two servers do not wait for each other.
        let mut sorted: Vec<&UnknownPath> = counted.iter().collect();
        sorted.sort_by(|a, b| a.segment.cmp(&b.segment));
        let count = "select count(*) from unknown_paths";
        let count = both!(&mut tx, c => sqlx::query_scalar(count).fetch_one(&mut **c).await);
        let mut rows: i64 = count?;
        let sql = "update unknown_paths set passed_on = passed_on + $2, refused = refused + $3,
                   last_at = $4 where segment = $1";
        let put = "insert into unknown_paths (segment, passed_on, refused, last_at, first_at)
                   values ($1, $2, $3, $4, $5)
                   on conflict (segment) do update set
                   passed_on = unknown_paths.passed_on + excluded.passed_on,
                   refused = unknown_paths.refused + excluded.refused, last_at = excluded.last_at";
        for path in sorted {
            let known = both!(&mut tx, c => sqlx::query(sql)
                .bind(&path.segment)
                .bind(path.passed_on)
                .bind(path.refused)
                .bind(path.last_at)
                .execute(&mut **c)
                .await
                .map(|done| done.rows_affected()))?;
            if known > 0 {
                continue;
            }
            let segment = match rows < MOST - 1 {
                true => path.segment.as_str(),
                false => OTHERS,
            };
            rows += 1;
            both!(&mut tx, c => sqlx::query(put)
                .bind(segment)
                .bind(path.passed_on)
                .bind(path.refused)
                .bind(path.last_at)
                .bind(path.first_at)
                .execute(&mut **c)
                .await
                .map(|_| ()))?;
        }
        tx.commit().await
    }
}

//! Hits and visitors in the course of time.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Head;
use crate::from_row;
use crate::model::clock::Micros;
use crate::model::hit::{Kind, Verdict};
use crate::model::period::{Part, Period};
use crate::model::wire;
use crate::store::figures::Visitors;
use crate::store::{Either, Store};

/// Reads a table's rows by part of a period, each part by its range of the table's key.
macro_rules! fetch_parts {
    ($store:expr, $parts:expr, $site:expr, $what:expr, $table:expr, $rest:expr) => {{
        let (what, table): (&str, &str) = ($what, $table);
        match $store.reader() {
            Either::Postgres(pool) => {
                let rest = $rest.replace("$SITE", "$4");
                let sql = format!(
                    "select {what} from unnest($1::timestamptz[], $2::timestamptz[],
                     $3::timestamptz[]) as rows (start, since, until)
                     join {table} f on f.at >= rows.since and f.at < rows.until where {rest}"
                );
                let starts: Vec<Micros> = $parts.iter().map(|part| part.start).collect();
                let froms: Vec<Micros> = $parts.iter().map(|part| part.from).collect();
                let ends: Vec<Micros> = $parts.iter().map(|part| part.to).collect();
                let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(starts)
                    .bind(froms)
                    .bind(ends);
                query.bind($site).fetch_all(pool).await?
            }
            Either::Sqlite(pool) => {
                let rest = $rest.replace("$SITE", "$2");
                // `cross join`: SQLite goes from the parts to the table.
                let sql = format!(
                    "select {what} from (select value ->> 0 as start, value ->> 1 as since,
                     value ->> 2 as until from json_each($1)) as rows
                     cross join {table} f where f.at >= rows.since and f.at < rows.until and {rest}"
                );
                let parts: Vec<(i64, i64, i64)> = $parts
                    .iter()
                    .map(|part| (part.start.0, part.from.0, part.to.0))
                    .collect();
                let parts = serde_json::to_string(&parts).unwrap_or_default();
                let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(parts);
                query.bind($site).fetch_all(pool).await?
            }
        }
    }};
}

/// Hits by part of a period.
#[derive(Debug, Serialize, ToSchema)]
pub struct HitsReport {
    #[serde(flatten)]
    head: Head,
    /// Includes parts without any hits.
    pub rows: Vec<HitsRow>,
    /// All hits of the period by verdict and reason.
    pub verdicts: Vec<VerdictRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct HitsRow {
    #[serde(with = "wire::time")]
    /// When it begins.
    pub start: Micros,
    /// By people.
    pub hits: BTreeMap<Kind, i64>,
    /// By machines.
    pub machine_hits: BTreeMap<Kind, i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct VerdictRow {
    /// Who is believed to have made them.
    pub verdict: String,
    /// Why; none of a person.
    pub reason: Option<String>,
    /// How many.
    pub hits: i64,
}

struct Counted {
    start: Micros,
    kind: Kind,
    verdict: String,
    reason: String,
    hits: i64,
}

from_row!(Counted, row => { start, kind, verdict, reason, hits });

/// Reads hits by part; of one `site` only, if given.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_hits(
    store: &Store,
    period: &Period,
    parts: &[Part],
    site: Option<&str>,
) -> sqlx::Result<HitsReport> {
    let what = "rows.start, f.kind, f.verdict, f.reason, cast(sum(f.hits) as bigint) as hits";
    let rest = "($SITE is null or f.site = $SITE) group by rows.start, f.kind, f.verdict, f.reason";
    let (days, ends) = whole_days(parts);
    let mut counted: Vec<Counted> = fetch_parts!(store, ends, site, what, "site_figures", rest);
    let of_days: Vec<Counted> = fetch_parts!(store, days, site, what, "site_days", rest);
    counted.extend(of_days);
    let mut rows: BTreeMap<Micros, HitsRow> = parts
        .iter()
        .map(|part| {
            let row = HitsRow {
                start: part.from,
                hits: BTreeMap::new(),
                machine_hits: BTreeMap::new(),
            };
            (part.from, row)
        })
        .collect();
    let mut verdicts: BTreeMap<(String, String), i64> = BTreeMap::new();
    for of in counted.into_iter().filter(|of| of.hits != 0) {
        let counts = Verdict::parse(&of.verdict).is_some_and(Verdict::counts);
        if let Some(row) = rows.get_mut(&of.start) {
            let hits = match counts {
                true => &mut row.hits,
                false => &mut row.machine_hits,
            };
            *hits.entry(of.kind).or_default() += of.hits;
        }
        *verdicts.entry((of.verdict, of.reason)).or_default() += of.hits;
    }
    Ok(HitsReport {
        head: Head::new(period, site),
        rows: rows.into_values().collect(),
        verdicts: verdicts
            .into_iter()
            .map(|((verdict, reason), hits)| VerdictRow {
                verdict,
                reason: Some(reason).filter(|reason| !reason.is_empty()),
                hits,
            })
            .collect(),
    })
}

/// A stretch of a part, which begins where its rows are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    start: Micros,
    from: Micros,
    to: Micros,
}

/// The whole UTC days of each part, and the remainders at its ends.
fn whole_days(parts: &[Part]) -> (Vec<Stretch>, Vec<Stretch>) {
    let day = Micros::DAY;
    let (mut days, mut ends) = (Vec::new(), Vec::new());
    for part in parts {
        let stretch = |from: Micros, to: Micros| Stretch {
            start: part.from,
            from,
            to,
        };
        let first = Micros(part.from.0 + day - 1).day();
        let last = part.to.day();
        if first < last {
            days.push(stretch(first, last));
            ends.push(stretch(part.from, first));
            ends.push(stretch(last, part.to));
        } else {
            ends.push(stretch(part.from, part.to));
        }
    }
    ends.retain(|end| end.from < end.to);
    (days, ends)
}

/// Unique visitors by part of a period.
#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorsReport {
    #[serde(flatten)]
    head: Head,
    /// Of the whole period, each once.
    pub visitors: i64,
    /// A row for each part.
    pub rows: Vec<VisitorsRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorsRow {
    #[serde(with = "wire::time")]
    /// When it begins.
    pub start: Micros,
    /// Browsers, estimated.
    pub visitors: i64,
}

struct SketchRow {
    start: Micros,
    sketch: Vec<u8>,
}

from_row!(SketchRow, row => { start, sketch });

/// Reads visitors by part: estimates, off by 1.6 % (one standard deviation).
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_visitors(
    store: &Store,
    period: &Period,
    parts: &[Part],
    site: Option<&str>,
) -> sqlx::Result<VisitorsReport> {
    let (what, rest) = ("rows.start, f.sketch", "($SITE is null or f.site = $SITE)");
    let stretches: Vec<Stretch> = parts
        .iter()
        .map(|part| Stretch {
            start: part.from,
            from: part.from,
            to: part.to,
        })
        .collect();
    let sketches: Vec<SketchRow> =
        fetch_parts!(store, stretches, site, what, "visitor_sketches", rest);
    // Each sketch is taken apart once, which is most of the time.
    let mut by_part: BTreeMap<Micros, Visitors> = BTreeMap::new();
    for row in sketches {
        if !by_part
            .entry(row.start)
            .or_default()
            .add_sketch(&row.sketch)
        {
            tracing::error!(at = row.start.rfc3339(), "a sketch of visitors is damaged");
        }
    }
    let mut all = Visitors::default();
    for visitors in by_part.values() {
        all.merge(visitors);
    }
    Ok(VisitorsReport {
        head: Head::new(period, site),
        visitors: all.estimate(),
        rows: parts
            .iter()
            .map(|part| VisitorsRow {
                start: part.from,
                visitors: by_part.get(&part.from).map_or(0, Visitors::estimate),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn days_and_ends_are_the_whole_part(from in -5_000..5_000_i64, length in 1..5_000_i64) {
            let quarter = Micros::HOUR / 4;
            let part = Part { from: Micros(from * quarter), to: Micros((from + length) * quarter) };
            let (days, ends) = whole_days(&[part]);
            let mut all: Vec<Stretch> = days.iter().chain(&ends).copied().collect();
            all.sort_by_key(|stretch| stretch.from);
            proptest::prop_assert_eq!(all[0].from, part.from);
            proptest::prop_assert_eq!(all[all.len() - 1].to, part.to);
            for pair in all.windows(2) {
                proptest::prop_assert_eq!(pair[0].to, pair[1].from);
            }
            for day in &days {
                proptest::prop_assert_eq!((day.from.day(), day.to.day()), (day.from, day.to));
            }
            proptest::prop_assert!(ends.iter().all(|end| end.to.0 - end.from.0 < 48 * Micros::HOUR));
        }
    }
}

//! Hits and visitors in the course of time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Head;
use crate::from_row;
use crate::model::clock::Micros;
use crate::model::hit::{Kind, Verdict};
use crate::model::period::{Part, Period};
use crate::model::wire;
use crate::store::figures::Visitors;
use crate::store::{Either, Store};

/// Reads what a table has in parts of a period, each part by its range of the table's key.
macro_rules! fetch_parts {
    ($store:expr, $parts:expr, $site:expr, $what:expr, $table:expr, $rest:expr) => {{
        let (what, table): (&str, &str) = ($what, $table);
        match $store.reader() {
            Either::Postgres(pool) => {
                let rest = $rest.replace("$SITE", "$3");
                let sql = format!(
                    "select {what} from unnest($1::timestamptz[], $2::timestamptz[]) as rows (start, until)
                     join {table} f on f.at >= rows.start and f.at < rows.until where {rest}"
                );
                let starts: Vec<Micros> = $parts.iter().map(|part| part.from).collect();
                let ends: Vec<Micros> = $parts.iter().map(|part| part.to).collect();
                let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(starts).bind(ends);
                query.bind($site).fetch_all(pool).await?
            }
            Either::Sqlite(pool) => {
                let rest = $rest.replace("$SITE", "$2");
                // `cross join`: SQLite goes from the parts to the table.
                let sql = format!(
                    "select {what} from (select value ->> 0 as start, value ->> 1 as until from json_each($1)) as rows
                     cross join {table} f where f.at >= rows.start and f.at < rows.until and {rest}"
                );
                let parts: Vec<(i64, i64)> = $parts
                    .iter()
                    .map(|part| (part.from.0, part.to.0))
                    .collect();
                let parts = serde_json::to_string(&parts).unwrap_or_default();
                let query = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(parts);
                query.bind($site).fetch_all(pool).await?
            }
        }
    }};
}

/// Hits by part of a period.
#[derive(Debug, Serialize)]
pub struct HitsReport {
    #[serde(flatten)]
    head: Head,
    /// Parts without any hit are there too.
    rows: Vec<HitsRow>,
    /// All hits of the period by verdict and reason.
    verdicts: Vec<VerdictRow>,
}

#[derive(Debug, Serialize)]
struct HitsRow {
    #[serde(with = "wire::time")]
    start: Micros,
    /// By people.
    hits: BTreeMap<Kind, i64>,
    machine_hits: BTreeMap<Kind, i64>,
}

#[derive(Debug, Serialize)]
struct VerdictRow {
    verdict: String,
    reason: Option<String>,
    hits: i64,
}

struct Counted {
    start: Micros,
    kind: Kind,
    verdict: String,
    reason: String,
    hits: i64,
}

from_row!(Counted, row => { start, kind, verdict, reason, hits });

/// Reads hits by part. `site`: that one alone.
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
    let counted: Vec<Counted> = fetch_parts!(store, parts, site, what, "site_figures", rest);
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

/// Unique visitors by part of a period.
#[derive(Debug, Serialize)]
pub struct VisitorsReport {
    #[serde(flatten)]
    head: Head,
    /// Of the whole period, each once.
    visitors: i64,
    rows: Vec<VisitorsRow>,
}

#[derive(Debug, Serialize)]
struct VisitorsRow {
    #[serde(with = "wire::time")]
    start: Micros,
    visitors: i64,
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
    let sketches: Vec<SketchRow> = fetch_parts!(store, parts, site, what, "visitor_sketches", rest);
    let mut all = Visitors::default();
    let mut by_part: BTreeMap<Micros, Visitors> = BTreeMap::new();
    for row in sketches {
        if !all.add_sketch(&row.sketch) {
            tracing::error!(at = row.start.rfc3339(), "a sketch of visitors is damaged");
            continue;
        }
        by_part
            .entry(row.start)
            .or_default()
            .add_sketch(&row.sketch);
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

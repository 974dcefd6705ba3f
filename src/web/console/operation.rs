//! How the server is: what became of the hits that it took, what was put aside, and what was asked
//! for and is not there.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::StatusCode;
use uuid::Uuid;

use super::form::Query;
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::{At, Num};
use crate::projection::retry_quarantined;
use crate::store::import_runs::ImportRun;
use crate::store::maintenance::Quarantined;
use crate::store::scan::Wanted;
use crate::store::unknown_paths::UnknownPath;
use crate::web::{AdminState, Readiness};

/// Rows of each list.
const ROWS: i64 = 20;

#[derive(Template)]
#[template(path = "operation.html")]
struct OperationPage {
    frame: Frame,
    state: Readiness,
    database: &'static str,
    /// What became of hits since this server started.
    ledger: Vec<Entry>,
    backlog: Num,
    unwritten: Num,
    kilobytes: Num,
    quarantined: Vec<Aside>,
    imports: Vec<Import>,
    paths: Vec<Unknown>,
    told: Option<&'static str>,
}

/// A line of the ledger.
struct Entry {
    name: String,
    hits: Num,
    /// Hits that readers made and nobody will see.
    is_bad: bool,
}

/// A record that the database refused.
struct Aside {
    id: Uuid,
    at: At,
    reason: String,
}

impl From<Quarantined> for Aside {
    fn from(record: Quarantined) -> Self {
        Self {
            id: record.id,
            at: At(record.quarantined_at),
            reason: record.reason,
        }
    }
}

struct Import {
    file: String,
    source: String,
    outcome: String,
    error: Option<String>,
    at: At,
    rows: Num,
}

impl From<ImportRun> for Import {
    fn from(run: ImportRun) -> Self {
        Self {
            file: run.file,
            source: run.source,
            outcome: run.outcome,
            error: run.error,
            at: At(run.started_at),
            rows: Num(run.rows.rows),
        }
    }
}

struct Unknown {
    path: String,
    asked: Num,
    last_at: At,
}

impl From<UnknownPath> for Unknown {
    fn from(path: UnknownPath) -> Self {
        Self {
            path: path.segment,
            asked: Num(path.passed_on + path.refused),
            last_at: At(path.last_at),
        }
    }
}

/// Counters of the ledger, in its order: what people read, and the name of the figure.
const COUNTERS: [(&str, &str, bool); 6] = [
    ("Accepted", "sillage_hits_accepted_total", false),
    ("Stored", "sillage_hits_stored_total", false),
    ("Sent twice", "sillage_hits_duplicate_total", false),
    ("Refused", "sillage_hits_refused_total", false),
    ("Put aside", "sillage_hits_quarantined_total", true),
    ("Lost", "sillage_hits_lost_total", true),
];

/// The ledger, from the figures as Prometheus reads them; a figure by reason has a line for each.
fn ledger(figures: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, counter, is_bad) in COUNTERS {
        let before = entries.len();
        for line in figures.lines() {
            let Some(rest) = line.strip_prefix(counter) else {
                continue;
            };
            let Some((labels, value)) = rest.rsplit_once(' ') else {
                continue;
            };
            let reason = labels.split('"').nth(1);
            if !labels.is_empty() && reason.is_none() {
                continue;
            }
            let Ok(hits) = value.parse::<f64>() else {
                continue;
            };
            entries.push(Entry {
                name: reason.map_or(name.to_owned(), |reason| format!("{name}: {reason}")),
                hits: Num(hits as i64),
                is_bad: is_bad && hits > 0.0,
            });
        }
        if entries.len() == before {
            entries.push(Entry {
                name: name.to_owned(),
                hits: Num(0),
                is_bad: false,
            });
        }
    }
    entries
}

/// `GET /console/operation`
pub(super) async fn get_operation(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let state = app.state.read();
    let quarantined = app.store.quarantined(None, ROWS).await?;
    let latest = Wanted {
        before: None,
        limit: ROWS,
    };
    let imports = app.store.import_runs(latest).await?.rows;
    let paths = app.store.unknown_paths(None, ROWS).await?;
    let page = OperationPage {
        frame: Frame::new(&who, "Operation", "Operation"),
        database: match app.store.is_postgres() {
            true => "Postgres",
            false => "SQLite",
        },
        ledger: ledger(&app.state.metrics()),
        backlog: Num(state.backlog as i64),
        unwritten: Num(state.unwritten as i64),
        kilobytes: Num((state.bytes >> 10) as i64),
        state,
        quarantined: quarantined.into_iter().map(Aside::from).collect(),
        imports: imports.into_iter().map(Import::from).collect(),
        paths: paths.into_iter().map(Unknown::from).collect(),
        told: match query.get("retry") {
            Some("stored") => Some("The hit is stored"),
            Some("refused") => Some("The database refused it again"),
            _ => None,
        },
    };
    Ok(show(StatusCode::OK, &page))
}

/// `POST /console/operation/quarantine/{id}`: tries to store it again.
pub(super) async fn retry(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let nothing = || Failure::nothing("record").seen_by(&who);
    let id = Uuid::try_parse(&id).map_err(|_| nothing())?;
    let records = app.store.quarantined(Some(id), 1).await?;
    let record = records.first().ok_or_else(nothing)?;
    let stored = retry_quarantined(&app.store, &app.clock, &app.projection, record).await?;
    let outcome = if stored { "stored" } else { "refused" };
    let to = format!("/console/operation?retry={outcome}");
    Ok(Redirect::to(&to).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_has_a_line_for_each_figure_and_reason() {
        let figures = "# TYPE sillage_hits_accepted_total counter\n\
            sillage_hits_accepted_total 12\n\
            sillage_hits_stored_total 10\n\
            sillage_hits_lost_total{reason=\"full\"} 2\n\
            sillage_hits_lost_total{reason=\"disk\"} 0\n\
            sillage_hits_stored_total_other 7\n";
        let told: Vec<_> = ledger(figures)
            .into_iter()
            .map(|entry| (entry.name, entry.hits.0, entry.is_bad))
            .collect();
        let told: Vec<_> = told
            .iter()
            .map(|(name, hits, is_bad)| (name.as_str(), *hits, *is_bad))
            .collect();
        assert_eq!(
            told,
            [
                ("Accepted", 12, false),
                ("Stored", 10, false),
                ("Sent twice", 0, false),
                ("Refused", 0, false),
                ("Put aside", 0, false),
                ("Lost: full", 2, true),
                ("Lost: disk", 0, false),
            ]
        );
    }
}

//! `GET /reports/…`: what came to the sites in the course of time, from
//! [`crate::operator::site_report`].

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::json::ApiQuery;
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use crate::model::clock::Micros;
use crate::model::period::{Grain, Part, Period, Zone};
use crate::model::wire;
use crate::operator::site_report::{
    self, HitsReport, RevenueBy, RevenueReport, TopsReport, VisitorsReport,
};
use crate::store;
use crate::store::figures::{Dimension, Model};
use crate::web::AdminState;
use crate::web::error::Problem;

/// How long a period is where no start is given.
const USUAL_DAYS: i64 = 30;
/// Most rows in the course of time: six weeks of hours.
const MOST_PARTS: usize = 1_008;

/// Makes a query string that says a period and a site, and what else a report takes.
macro_rules! query {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            /// A date, or an RFC 3339 time; 30 days before `to` where it is not given.
            from: Option<String>,
            /// Not included; now where it is not given.
            to: Option<String>,
            /// A name of the IANA database; UTC where it is not given.
            #[serde(default, deserialize_with = "zone")]
            #[param(value_type = Option<String>)]
            zone: Zone,
            /// One site; all of them where it is not given.
            site: Option<String>,
            $(#[param(inline)] $field: $type,)*
        }

        impl $name {
            fn period(&self, now: Micros) -> Result<Period, Problem> {
                period(&self.zone, self.from.as_deref(), self.to.as_deref(), now)
            }
        }
    };
}

query!(
    /// In the course of time.
    CourseQuery {
        by: Option<Grain>,
    }
);

query!(
    /// The top of something.
    TopsQuery {
        limit: Option<i64>,
    }
);

query!(
    /// Revenue.
    RevenueQuery {
        by: Option<RevenueBy>,
        model: Option<Model>,
        limit: Option<i64>,
    }
);

fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zone, D::Error> {
    wire::read(
        deserializer,
        "the name of a time zone, such as Europe/Paris",
        Zone::parse,
    )
}

/// From 30 days ago to now where nothing else is said.
pub(in crate::web) fn period(
    zone: &Zone,
    from: Option<&str>,
    to: Option<&str>,
    now: Micros,
) -> Result<Period, Problem> {
    let read = |field: &'static str, text: Option<&str>, usual: Micros| match text {
        None => Ok(usual),
        Some(text) => zone.read(text).ok_or_else(|| {
            let why = format_args!(
                "is {text:?} but must be a date, such as 2026-11-01, or an RFC 3339 time, such as \
                2026-11-01T08:00:00Z"
            );
            Problem::field(field, why)
        }),
    };
    let to = read("to", to, now)?;
    let usual = Micros(to.0.saturating_sub(USUAL_DAYS * Micros::DAY));
    let from = read("from", from, usual)?;
    if from >= to {
        let why = "must be earlier than to, which is not included";
        return Err(Problem::field("from", why));
    }
    Ok(Period {
        from,
        to,
        zone: zone.clone(),
    })
}

/// The parts of a period: days where nothing else is said.
pub(in crate::web) fn parts(period: &Period, by: Option<Grain>) -> Result<Vec<Part>, Problem> {
    period
        .parts(by.unwrap_or(Grain::Day), MOST_PARTS)
        .ok_or_else(|| {
            let why = format_args!(
                "makes more than {MOST_PARTS} rows: choose a longer part, or a shorter period"
            );
            Problem::field("by", why)
        })
}

fn failed(error: store::Error) -> Problem {
    Problem::database(&error)
}

/// Hits by people and machines: `?from=&to=&zone=&site=&by=quarter|hour|day|week|month`.
#[utoipa::path(
    get,
    path = "/reports/hits",
    summary = "Counts hits in the course of time",
    params(CourseQuery),
    responses((status = 200, description = "The report", body = HitsReport)),
)]
pub async fn show_hits(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<CourseQuery>,
) -> Result<Json<HitsReport>, Problem> {
    let period = wanted.period(app.clock.now())?;
    let parts = parts(&period, wanted.by)?;
    let report = site_report::read_hits(&app.store, &period, &parts, wanted.site.as_deref());
    report.await.map(Json).map_err(failed)
}

/// Unique visitors, estimated: the same parameters.
#[utoipa::path(
    get,
    path = "/reports/visitors",
    summary = "Estimates visitors in the course of time",
    params(CourseQuery),
    responses((status = 200, description = "The report", body = VisitorsReport)),
)]
pub async fn show_visitors(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<CourseQuery>,
) -> Result<Json<VisitorsReport>, Problem> {
    let period = wanted.period(app.clock.now())?;
    let parts = parts(&period, wanted.by)?;
    let report = site_report::read_visitors(&app.store, &period, &parts, wanted.site.as_deref());
    report.await.map(Json).map_err(failed)
}

/// The pages that were shown most: `?from=&to=&zone=&site=&limit=`.
#[utoipa::path(
    get,
    path = "/reports/pages",
    summary = "Shows the top pages",
    params(TopsQuery),
    responses((status = 200, description = "The report", body = TopsReport)),
)]
pub async fn show_pages(
    state: State<Arc<AdminState>>,
    query: ApiQuery<TopsQuery>,
) -> Result<Json<TopsReport>, Problem> {
    show_tops(state, query, Dimension::Page).await
}

/// The hosts that most visits came from: the same parameters.
#[utoipa::path(
    get,
    path = "/reports/referrers",
    summary = "Shows the top referrers",
    params(TopsQuery),
    responses((status = 200, description = "The report", body = TopsReport)),
)]
pub async fn show_referrers(
    state: State<Arc<AdminState>>,
    query: ApiQuery<TopsQuery>,
) -> Result<Json<TopsReport>, Problem> {
    show_tops(state, query, Dimension::Referrer).await
}

/// The campaigns with most hits: the same parameters.
#[utoipa::path(
    get,
    path = "/reports/campaigns",
    summary = "Shows the top campaigns",
    params(TopsQuery),
    responses((status = 200, description = "The report", body = TopsReport)),
)]
pub async fn show_campaigns(
    state: State<Arc<AdminState>>,
    query: ApiQuery<TopsQuery>,
) -> Result<Json<TopsReport>, Problem> {
    show_tops(state, query, Dimension::Campaign).await
}

async fn show_tops(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<TopsQuery>,
    dimension: Dimension,
) -> Result<Json<TopsReport>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let period = wanted.period(app.clock.now())?;
    let site = wanted.site.as_deref();
    let report = site_report::read_tops(&app.store, dimension, &period, site, limit);
    report.await.map(Json).map_err(failed)
}

/// Revenue and whom it is credited to:
/// `?from=&to=&zone=&site=&by=day|delivery|link|campaign&model=& limit=`.
#[utoipa::path(
    get,
    path = "/reports/revenue",
    summary = "Shows revenue and what it is credited to",
    params(RevenueQuery),
    responses((status = 200, description = "The report", body = RevenueReport)),
)]
pub async fn show_revenue(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<RevenueQuery>,
) -> Result<Json<RevenueReport>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let period = wanted.period(app.clock.now())?;
    let site = wanted.site.as_deref();
    let (model, by) = (
        wanted.model.unwrap_or(Model::Session),
        wanted.by.unwrap_or(RevenueBy::Delivery),
    );
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let report = site_report::read_revenue(&app.store, model, by, &period, site, limit);
    report.await.map(Json).map_err(failed)
}

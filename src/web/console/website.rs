//! What came to the sites: pages, visitors, where they came from, and what it earned.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::chart::Chart;
use super::delivery::Truth;
use super::form::Query;
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::{Amount, Num};
use crate::model::clock::Micros;
use crate::model::hit::Kind;
use crate::model::period::{Grain, Zone};
use crate::operator::site_report::{
    RevenueBy, RevenueReport, TopsReport, read_hits, read_revenue, read_tops, read_visitors,
};
use crate::store::figures::{Dimension, Model};
use crate::web::AdminState;
use crate::web::api::site_reports::{parts, period};

/// Rows of each list.
const ROWS: i64 = 10;
/// Periods to choose from, in days.
const DAYS: [i64; 4] = [1, 7, 30, 90];

#[derive(Template)]
#[template(path = "website.html")]
struct WebsitePage {
    frame: Frame,
    days: Vec<(i64, bool)>,
    site: String,
    zone: String,
    with_machines: bool,
    /// The view without its switch, for links.
    view: String,
    visitors: Num,
    numbers: Vec<(&'static str, Num)>,
    chart: Option<Chart>,
    truth: Truth,
    tops: Vec<Top>,
    earned: Vec<Earned>,
    model: Model,
}

/// A list of values with most hits.
struct Top {
    title: &'static str,
    rows: Vec<TopRow>,
    others: Num,
    nothing: &'static str,
}

struct TopRow {
    name: String,
    hits: Num,
    bar: f64,
}

struct Earned {
    name: String,
    orders: Num,
    amount: Amount,
}

impl Top {
    fn new(title: &'static str, nothing: &'static str, report: &TopsReport) -> Self {
        let most = report.rows.iter().map(|row| row.counts.hits).max();
        let most = most.unwrap_or(0).max(1) as f64;
        let row = |row: &crate::operator::site_report::TopRow| TopRow {
            name: row.what.text(),
            hits: Num(row.counts.hits),
            bar: row.counts.hits.max(0) as f64 / most * 100.0,
        };
        Self {
            title,
            nothing,
            rows: report.rows.iter().map(row).collect(),
            others: Num(report.other_hits),
        }
    }
}

fn earned(report: RevenueReport) -> Vec<Earned> {
    let rows = report.rows.into_iter();
    rows.map(|row| Earned {
        name: row
            .of
            .text()
            .unwrap_or_else(|| "nothing led to it".to_owned()),
        orders: Num(row.transactions),
        amount: Amount(row.sum, row.currency),
    })
    .collect()
}

/// How a word of the address names a model.
fn model(word: Option<&str>) -> Model {
    match word {
        Some("first") => Model::FirstTouch,
        Some("last") => Model::LastTouch,
        Some("linear") => Model::Linear,
        _ => Model::Session,
    }
}

/// `GET /console/website?days=&site=&zone=&model=&machines=`
pub(super) async fn get_website(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let days = query.number("days").filter(|days| DAYS.contains(days));
    let days = days.unwrap_or(30);
    let zone = query.get("zone").and_then(Zone::parse).unwrap_or_default();
    let now = app.clock.now();
    let from = Micros(now.0 - days * Micros::DAY).rfc3339();
    let period = period(&zone, Some(&from), None, now)?;
    let grain = if days == 1 { Grain::Hour } else { Grain::Day };
    let parts = parts(&period, Some(grain))?;
    let site = query.get("site");
    let with_machines = query.get("machines").is_some();
    let model = model(query.get("model"));
    let store = &app.store;
    let hits = read_hits(store, &period, &parts, site).await?;
    let visitors = read_visitors(store, &period, &parts, site).await?;
    let top = |dimension| read_tops(store, dimension, &period, site, ROWS);
    let tops = vec![
        Top::new("Pages", "No page was shown.", &top(Dimension::Page).await?),
        Top::new(
            "Where from",
            "Nobody came from another site.",
            &top(Dimension::Referrer).await?,
        ),
        Top::new(
            "Campaigns",
            "No address had UTM values.",
            &top(Dimension::Campaign).await?,
        ),
    ];
    let by = RevenueBy::Delivery;
    let revenue = read_revenue(store, model, by, &period, site, ROWS as usize).await?;
    let count = |kind: Kind| -> i64 {
        let rows = hits.rows.iter();
        rows.map(|row| {
            let machines = row.machine_hits.get(&kind).filter(|_| with_machines);
            row.hits.get(&kind).copied().unwrap_or(0) + machines.copied().unwrap_or(0)
        })
        .sum()
    };
    let of = |row: &crate::operator::site_report::HitsRow, kind| {
        let machines = row.machine_hits.get(&kind).filter(|_| with_machines);
        row.hits.get(&kind).copied().unwrap_or(0) + machines.copied().unwrap_or(0)
    };
    let has_any = !hits.verdicts.is_empty();
    let values: Vec<_> = hits
        .rows
        .iter()
        .map(|row| {
            let kinds = [Kind::Pageview, Kind::Click, Kind::Transaction];
            (row.start, kinds.map(|kind| of(row, kind)).to_vec())
        })
        .collect();
    let names = ["Pages", "Clicks", "Purchases"];
    let mut view = form_urlencoded::Serializer::new(String::new());
    view.append_pair("days", &days.to_string());
    view.append_pair("site", site.unwrap_or_default());
    view.append_pair("zone", zone.name());
    let verdicts = hits.verdicts.iter().map(|row| {
        let reason = row.reason.as_deref().unwrap_or_default();
        (row.verdict.as_str(), reason, row.hits)
    });
    let page = WebsitePage {
        frame: Frame::new(&who, "Website", "Website"),
        days: DAYS.into_iter().map(|of| (of, of == days)).collect(),
        site: site.unwrap_or_default().to_owned(),
        zone: zone.name().to_owned(),
        with_machines,
        view: view.finish(),
        visitors: Num(visitors.visitors),
        numbers: vec![
            ("Pages", Num(count(Kind::Pageview))),
            ("Clicks", Num(count(Kind::Click))),
            ("Purchases", Num(count(Kind::Transaction))),
            ("Events", Num(count(Kind::Event))),
            ("Forms", Num(count(Kind::Form))),
        ],
        chart: if has_any {
            Chart::new(&names, &values, if days == 1 { 1 } else { 24 })
        } else {
            None
        },
        truth: Truth::of(verdicts),
        tops,
        earned: earned(revenue),
        model,
    };
    Ok(show(StatusCode::OK, &page))
}

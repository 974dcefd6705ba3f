//! Deliveries side by side, each from its own sending on.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::chart::points;
use super::delivery::title_of;
use super::form::Query;
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::{Amount, At, Num, Share};
use crate::model::clock::Micros;
use crate::model::hit::DeliveryId;
use crate::operator::report::{HourRow, Summary, read_hours, read_summaries};
use crate::store::deliveries::Delivery;
use crate::web::AdminState;

/// Most deliveries that a person tells apart.
const MOST: usize = 8;
/// How long curves are, in hours.
const HOURS: i64 = 72;
/// Hours that the table tells.
const TOLD: [i64; 7] = [1, 2, 6, 12, 24, 48, 72];

#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    frame: Frame,
    rows: Vec<Row>,
    /// What the curves' top stands for.
    most: Share,
    told: [i64; 7],
}

struct Row {
    id: i64,
    label: String,
    class: String,
    at: At,
    sent: Num,
    open_rate: Share,
    click_rate: Share,
    orders: Num,
    revenue: Vec<Amount>,
    points: String,
    /// The share of recipients by the hours that are told.
    by_hour: Vec<Share>,
}

/// How many recipients had reacted by the end of each hour since the sending.
fn reached(hours: &BTreeMap<Micros, HourRow>, from: Micros) -> Vec<i64> {
    let mut by_hour = vec![0; HOURS as usize];
    for (at, row) in hours {
        // What came before is somebody's test, or a clock that goes wrong.
        let hour = ((at.0 - from.0) / Micros::HOUR).max(0);
        let of = usize::try_from(hour)
            .ok()
            .and_then(|hour| by_hour.get_mut(hour));
        if let Some(of) = of {
            *of += row.new_broadlogs;
        }
    }
    let mut sum = 0;
    for of in &mut by_hour {
        sum += *of;
        *of = sum;
    }
    by_hour
}

struct Curve {
    delivery: Delivery,
    summary: Summary,
    /// Shares in 1/10,000.
    shares: Vec<i64>,
}

impl Curve {
    fn new(delivery: Delivery, summary: Summary, hours: &BTreeMap<Micros, HourRow>) -> Self {
        let from = delivery.sent_at.unwrap_or(delivery.created_at);
        let all = delivery.messages;
        let share = |count: i64| if all > 0 { count * 10_000 / all } else { 0 };
        Self {
            shares: reached(hours, from.hour()).into_iter().map(share).collect(),
            delivery,
            summary,
        }
    }

    fn row(self, number: usize, most: i64) -> Row {
        let Self {
            delivery,
            summary,
            shares,
        } = self;
        let sent = delivery.messages;
        let at_hour = |hour: &i64| shares.get(*hour as usize - 1).copied().unwrap_or(0);
        let sales = summary.sales.iter();
        Row {
            id: delivery.id.0,
            label: title_of(&delivery),
            class: format!("s{}", number + 1),
            at: At(delivery.sent_at.unwrap_or(delivery.created_at)),
            sent: Num(sent),
            open_rate: Share::of(summary.distinct_opens, sent),
            click_rate: Share::of(summary.recipients_who_clicked, sent),
            orders: Num(sales.clone().map(|(_, sales)| sales.transactions).sum()),
            revenue: sales
                .map(|(currency, sales)| Amount(sales.amount, currency.clone()))
                .collect(),
            points: points(&shares, most),
            by_hour: TOLD
                .iter()
                .map(|hour| Share::of(at_hour(hour), 10_000))
                .collect(),
        }
    }
}

/// `GET /console/compare?id=&id=`
pub(super) async fn get_comparison(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let ids = query.all("id").filter_map(|id| id.parse().ok());
    let mut ids: Vec<DeliveryId> = ids.map(DeliveryId).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(MOST);
    let mut summaries = read_summaries(&app.store, &ids).await?;
    let mut curves = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(delivery) = app.store.delivery(id).await? else {
            continue;
        };
        let hours = read_hours(&app.store, id).await?;
        let summary = summaries.remove(&id).unwrap_or_default();
        curves.push(Curve::new(delivery, summary, &hours));
    }
    let most = curves.iter().flat_map(|curve| &curve.shares).copied().max();
    let most = most.unwrap_or(0).max(1);
    let curves = curves.into_iter().enumerate();
    let page = ComparePage {
        frame: Frame::new(&who, "Deliveries", "Compare deliveries"),
        rows: curves
            .map(|(number, curve)| curve.row(number, most))
            .collect(),
        most: Share::of(most, 10_000),
        told: TOLD,
    };
    Ok(show(StatusCode::OK, &page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_counted_from_the_sending_and_add_up() {
        let row = |new_broadlogs| HourRow {
            new_broadlogs,
            ..HourRow::default()
        };
        let at = |hour: i64| Micros(hour * Micros::HOUR);
        let hours = BTreeMap::from([
            (at(99), row(1)),
            (at(100), row(2)),
            (at(102), row(4)),
            (at(500), row(8)),
        ]);
        let reached = reached(&hours, at(100));
        assert_eq!(reached[..4], [3, 3, 7, 7]);
        assert_eq!(reached[HOURS as usize - 1], 7);
    }
}

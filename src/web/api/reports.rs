//! `GET /deliveries/{id}/report`: the indicators of [`crate::operator::report`] as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::deliveries::no_delivery;
use super::json::{ApiQuery, Id, PathText, Time};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Kind};
use crate::operator::report::{self, Count, HourRow, Report, Sales};
use crate::web::AdminState;
use crate::web::error::Problem;

/// The query string.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    by: Option<By>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Hour,
}

/// Shows a delivery's indicators; with `?by=hour` also `hours`, a row for each hour in which
/// something happened.
pub async fn show_report(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    ApiQuery(wanted): ApiQuery<Wanted>,
) -> Result<Json<Value>, Problem> {
    let id: DeliveryId = path.id("delivery")?.into();
    let report = Report::read(&app.store, id)
        .await
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(|| no_delivery(id))?;
    let mut answer = tell(&report);
    if wanted.by.is_some() {
        let hours = report::read_hours(&app.store, id)
            .await
            .map_err(|error| Problem::database(&error))?;
        answer["hours"] = hours.iter().map(tell_hour).collect();
    }
    Ok(Json(answer))
}

fn tell(report: &Report) -> Value {
    let delivery = &report.delivery;
    let count = |kind| report.of(kind).hits;
    let links: Vec<Value> = report
        .links
        .iter()
        .map(|link| {
            json!({
                "id": Id::from(link.id),
                "url": link.url,
                "label": link.label,
                "category": link.category,
                "clicks": link.count.hits,
                "first_clicks": link.count.broadlogs,
                "machine_clicks": link.count.machine_hits,
            })
        })
        .collect();
    let sales: Vec<Value> = report
        .sales
        .iter()
        .map(|(currency, sales)| {
            let mut told = tell_sales(currency.as_deref(), sales);
            told["amount_per_transaction"] = money(sales.amount_per_transaction());
            told["items_per_transaction"] = sales.items_per_transaction().into();
            told["amount_per_message"] = money(report.amount_per_message(sales));
            told
        })
        .collect();
    json!({
        "delivery_id": Id::from(delivery.id),
        "label": delivery.label,
        "channel": delivery.channel,
        "sent_at": delivery.sent_at.map(Time),
        "messages": delivery.messages,
        "text_only_messages": delivery.text_only,
        "distinct_opens": report.distinct_opens,
        "opens": count(Kind::Open),
        "estimated_distinct_opens": report.estimated_distinct_opens(),
        "recipients_who_clicked": report.recipients_who_clicked(),
        "clicking_persons": report.clicking_persons,
        "clicks": count(Kind::Click),
        "estimated_forwards": report.estimated_forwards(),
        "raw_reactivity": report.raw_reactivity(),
        "estimated_reactivity": report.estimated_reactivity(),
        "visited_pages": report.visited_pages(),
        "transactions": report.transactions(),
        "items": items(&report.sales),
        "revenue": sales,
        "unproved": {
            "transactions": report.unproved.values().map(|sales| sales.transactions).sum::<i64>(),
            "items": items(&report.unproved),
            "revenue": tell_currencies(&report.unproved),
        },
        "events": count(Kind::Event),
        "forms": count(Kind::Form),
        "optouts": count(Kind::Optout),
        "mirror_pages": count(Kind::Mirror),
        "machine_hits": by_kind(&report.kinds, |count| count.machine_hits),
        "links": links,
    })
}

fn tell_hour((hour, row): (&Micros, &HourRow)) -> Value {
    json!({
        "hour": Time(*hour),
        "hits": by_kind(&row.kinds, |count| count.hits),
        "recipients": by_kind(&row.kinds, |count| count.broadlogs),
        "distinct_opens": row.new_broadlogs,
        "machine_hits": by_kind(&row.kinds, |count| count.machine_hits),
        "revenue": tell_currencies(&row.sales),
        "unproved": { "revenue": tell_currencies(&row.unproved) },
    })
}

fn items(all: &BTreeMap<Option<String>, Sales>) -> i64 {
    all.values()
        .fold(0_i64, |sum, sales| sum.saturating_add(sales.items))
}

fn tell_currencies(all: &BTreeMap<Option<String>, Sales>) -> Vec<Value> {
    all.iter()
        .map(|(currency, sales)| tell_sales(currency.as_deref(), sales))
        .collect()
}

fn tell_sales(currency: Option<&str>, sales: &Sales) -> Value {
    json!({
        "currency": currency,
        "transactions": sales.transactions,
        "amount": sales.amount.to_string(),
        "items": sales.items,
    })
}

/// Kinds that have none are left out.
fn by_kind(kinds: &BTreeMap<Kind, Count>, count: impl Fn(&Count) -> i64) -> Map<String, Value> {
    kinds
        .iter()
        .filter(|(_, counted)| count(counted) != 0)
        .map(|(kind, counted)| (kind.as_str().to_owned(), count(counted).into()))
        .collect()
}

fn money(amount: Option<crate::model::hit::Sum>) -> Value {
    amount.map(|amount| amount.to_string()).into()
}

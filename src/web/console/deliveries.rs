//! The list of deliveries, each with its main numbers.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::chart::spark;
use super::form::Query;
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::{Amount, At, Num, Share};
use crate::operator::report::{Summary, read_first_hours, read_summaries};
use crate::store::deliveries::Delivery;
use crate::store::scan::{Part, Wanted};
use crate::web::AdminState;
use crate::web::api::READ_REPORTS;

/// Rows of a page.
const ROWS: i64 = 25;
/// How long the small curve of a row is.
const HOURS: usize = 48;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    frame: Frame,
    search: String,
    rows: Vec<Row>,
    /// Whether the reader may see numbers.
    has_numbers: bool,
    is_first: bool,
    next: Option<i64>,
}

struct Row {
    id: i64,
    label: String,
    channel: String,
    at: At,
    sent: Num,
    opened: Num,
    open_rate: Share,
    clicked: Num,
    click_rate: Share,
    orders: Num,
    revenue: Vec<Amount>,
    spark: Option<String>,
}

impl Row {
    fn new(delivery: Delivery, of: &Summary, hours: &[i64]) -> Self {
        let sent = delivery.messages;
        let sales = of.sales.iter();
        Self {
            id: delivery.id.0,
            label: delivery.label,
            channel: delivery.channel,
            at: At(delivery.sent_at.unwrap_or(delivery.created_at)),
            sent: Num(sent),
            opened: Num(of.distinct_opens),
            open_rate: Share::of(of.distinct_opens, sent),
            clicked: Num(of.recipients_who_clicked),
            click_rate: Share::of(of.recipients_who_clicked, sent),
            orders: Num(sales.clone().map(|(_, sales)| sales.transactions).sum()),
            revenue: sales
                .map(|(currency, sales)| Amount(sales.amount, currency.clone()))
                .collect(),
            spark: hours.iter().any(|hits| *hits > 0).then(|| spark(hours)),
        }
    }
}

/// `GET /console/?search=&after=`
pub(super) async fn list(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let search = query.get("search");
    let wanted = Wanted {
        before: query.number("after"),
        limit: ROWS,
    };
    let Part { rows, next } = app.store.list_deliveries(search, wanted).await?;
    let has_numbers = who.may(READ_REPORTS);
    let ids: Vec<_> = rows.iter().map(|delivery| delivery.id).collect();
    let summaries = match has_numbers {
        true => read_summaries(&app.store, &ids).await?,
        false => Default::default(),
    };
    let mut shown = Vec::with_capacity(rows.len());
    for delivery in rows {
        let nothing = Summary::default();
        let from = delivery.sent_at.unwrap_or(delivery.created_at);
        let summary = summaries.get(&delivery.id);
        let hours = match summary {
            Some(_) => read_first_hours(&app.store, delivery.id, from.hour(), HOURS).await?,
            None => Vec::new(),
        };
        shown.push(Row::new(delivery, summary.unwrap_or(&nothing), &hours));
    }
    let page = DeliveriesPage {
        frame: Frame::new(&who, "Deliveries", "Deliveries"),
        search: search.unwrap_or_default().to_owned(),
        rows: shown,
        has_numbers,
        is_first: wanted.before.is_none(),
        next,
    };
    Ok(show(StatusCode::OK, &page))
}

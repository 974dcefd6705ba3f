//! A report in the form that the API returns.
//!
//! Amounts are decimal strings; what nothing can be divided by is null.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Count, HourRow, LinkRow, Report, Sales};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Kind, LinkId};
use crate::model::wire;

/// A delivery's indicators.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportView<'r> {
    #[serde(with = "wire::id")]
    delivery_id: DeliveryId,
    label: &'r str,
    channel: &'r str,
    #[serde(with = "wire::option_time")]
    sent_at: Option<Micros>,
    messages: i64,
    text_only_messages: i64,
    distinct_opens: i64,
    opens: i64,
    estimated_distinct_opens: Option<i64>,
    recipients_who_clicked: i64,
    clicking_persons: i64,
    clicks: i64,
    estimated_forwards: i64,
    raw_reactivity: Option<f64>,
    estimated_reactivity: Option<f64>,
    visited_pages: i64,
    transactions: i64,
    items: i64,
    revenue: Vec<RevenueView<'r>>,
    unproved: UnprovedView<'r>,
    events: i64,
    forms: i64,
    optouts: i64,
    mirror_pages: i64,
    machine_hits: BTreeMap<Kind, i64>,
    verdicts: Vec<VerdictView<'r>>,
    links: Vec<LinkClicks<'r>>,
    /// Where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<Vec<HourView<'r>>>,
}

/// Orders in one currency.
#[derive(Debug, Serialize, ToSchema)]
struct SalesView<'r> {
    currency: Option<&'r str>,
    transactions: i64,
    amount: String,
    items: i64,
}

/// Orders in one currency, with their averages.
#[derive(Debug, Serialize, ToSchema)]
struct RevenueView<'r> {
    #[serde(flatten)]
    sales: SalesView<'r>,
    amount_per_transaction: Option<String>,
    items_per_transaction: Option<f64>,
    amount_per_message: Option<String>,
}

/// What anybody can say.
#[derive(Debug, Serialize, ToSchema)]
struct UnprovedView<'r> {
    transactions: i64,
    items: i64,
    revenue: Vec<SalesView<'r>>,
}

/// Hits with the same verdict and reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VerdictCount)]
struct VerdictView<'r> {
    verdict: &'r str,
    /// None of a person's.
    reason: Option<&'r str>,
    hits: i64,
}

/// How often a link was followed.
#[derive(Debug, Serialize, ToSchema)]
struct LinkClicks<'r> {
    #[serde(with = "wire::id")]
    id: LinkId,
    url: Option<&'r str>,
    label: Option<&'r str>,
    category: Option<&'r str>,
    clicks: i64,
    first_clicks: i64,
    clicking_persons: i64,
    machine_clicks: i64,
}

/// An hour in which something happened.
#[derive(Debug, Serialize, ToSchema)]
struct HourView<'r> {
    #[serde(with = "wire::time")]
    hour: Micros,
    hits: BTreeMap<Kind, i64>,
    recipients: BTreeMap<Kind, i64>,
    distinct_opens: i64,
    machine_hits: BTreeMap<Kind, i64>,
    revenue: Vec<SalesView<'r>>,
    unproved: HourUnproved<'r>,
}

#[derive(Debug, Serialize, ToSchema)]
struct HourUnproved<'r> {
    revenue: Vec<SalesView<'r>>,
}

impl<'r> From<&'r Report> for ReportView<'r> {
    fn from(report: &'r Report) -> Self {
        let delivery = &report.delivery;
        let count = |kind| report.of(kind).hits;
        Self {
            delivery_id: delivery.id,
            label: &delivery.label,
            channel: &delivery.channel,
            sent_at: delivery.sent_at,
            messages: delivery.messages,
            text_only_messages: report.text_only,
            distinct_opens: report.distinct_opens,
            opens: count(Kind::Open),
            estimated_distinct_opens: report.estimated_distinct_opens(),
            recipients_who_clicked: report.recipients_who_clicked(),
            clicking_persons: report.clicking_persons,
            clicks: count(Kind::Click),
            estimated_forwards: report.estimated_forwards(),
            raw_reactivity: report.raw_reactivity(),
            estimated_reactivity: report.estimated_reactivity(),
            visited_pages: report.visited_pages(),
            transactions: report.transactions(),
            items: items(&report.sales),
            revenue: report
                .sales
                .iter()
                .map(|(currency, sales)| RevenueView {
                    sales: SalesView::of(currency, sales),
                    amount_per_transaction: sales.amount_per_transaction().map(text),
                    items_per_transaction: sales.items_per_transaction(),
                    amount_per_message: report.amount_per_message(sales).map(text),
                })
                .collect(),
            unproved: UnprovedView {
                transactions: report.unproved.values().map(|all| all.transactions).sum(),
                items: items(&report.unproved),
                revenue: currencies(&report.unproved),
            },
            events: count(Kind::Event),
            forms: count(Kind::Form),
            optouts: count(Kind::Optout),
            mirror_pages: count(Kind::Mirror),
            machine_hits: by_kind(&report.kinds, |count| count.machine_hits),
            verdicts: report
                .verdicts
                .iter()
                .map(|((verdict, reason), hits)| VerdictView {
                    verdict,
                    reason: Some(reason.as_str()).filter(|reason| !reason.is_empty()),
                    hits: *hits,
                })
                .collect(),
            links: report.links.iter().map(Into::into).collect(),
            hours: None,
        }
    }
}

impl<'r> ReportView<'r> {
    /// With a row for each of these hours.
    #[must_use]
    pub fn by_hour(self, hours: &'r BTreeMap<Micros, HourRow>) -> Self {
        let hours = hours.iter().map(|(hour, row)| HourView::of(*hour, row));
        Self {
            hours: Some(hours.collect()),
            ..self
        }
    }
}

impl<'r> SalesView<'r> {
    fn of(currency: &'r Option<String>, sales: &Sales) -> Self {
        Self {
            currency: currency.as_deref(),
            transactions: sales.transactions,
            amount: sales.amount.to_string(),
            items: sales.items,
        }
    }
}

impl<'r> From<&'r LinkRow> for LinkClicks<'r> {
    fn from(link: &'r LinkRow) -> Self {
        Self {
            id: link.id,
            url: link.url.as_deref(),
            label: link.label.as_deref(),
            category: link.category.as_deref(),
            clicks: link.count.hits,
            first_clicks: link.count.broadlogs,
            clicking_persons: link.clicking_persons,
            machine_clicks: link.count.machine_hits,
        }
    }
}

impl<'r> HourView<'r> {
    fn of(hour: Micros, row: &'r HourRow) -> Self {
        Self {
            hour,
            hits: by_kind(&row.kinds, |count| count.hits),
            recipients: by_kind(&row.kinds, |count| count.broadlogs),
            distinct_opens: row.new_broadlogs,
            machine_hits: by_kind(&row.kinds, |count| count.machine_hits),
            revenue: currencies(&row.sales),
            unproved: HourUnproved {
                revenue: currencies(&row.unproved),
            },
        }
    }
}

fn text(amount: crate::model::hit::Sum) -> String {
    amount.to_string()
}

fn items(all: &BTreeMap<Option<String>, Sales>) -> i64 {
    all.values()
        .fold(0_i64, |sum, sales| sum.saturating_add(sales.items))
}

fn currencies(all: &BTreeMap<Option<String>, Sales>) -> Vec<SalesView<'_>> {
    all.iter()
        .map(|(currency, sales)| SalesView::of(currency, sales))
        .collect()
}

/// Kinds that have none are left out.
fn by_kind(kinds: &BTreeMap<Kind, Count>, count: impl Fn(&Count) -> i64) -> BTreeMap<Kind, i64> {
    kinds
        .iter()
        .map(|(kind, counted)| (*kind, count(counted)))
        .filter(|(_, count)| *count != 0)
        .collect()
}

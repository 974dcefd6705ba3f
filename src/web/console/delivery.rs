//! A delivery's page: what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use super::chart::Chart;
use super::form::Query;
use super::gate::Who;
use super::page::{Failure, Frame, show};
use super::show::{Amount, At, Num, Share};
use crate::model::hit::{DeliveryId, Kind, Verdict};
use crate::operator::report::{Count, HourRow, LinkRow, Report, Sales, read_hours};
use crate::store::deliveries::Delivery;
use crate::web::AdminState;
use crate::web::api::NAME_PEOPLE;

/// Most links that are shown: the rest are nobody's favourites.
const MOST_LINKS: usize = 100;
/// Most reasons that are shown.
const MOST_REASONS: usize = 6;

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage {
    frame: Frame,
    id: i64,
    label: String,
    channel: String,
    sent_at: Option<At>,
    created_at: At,
    expires_at: Option<At>,
    /// Whether machines' hits are counted too.
    with_machines: bool,
    blocks: Vec<Block>,
    chart: Option<Chart>,
    links: Vec<Link>,
    more_links: usize,
    truth: Truth,
    unproved: Vec<Amount>,
    names_people: bool,
}

/// Indicators that belong together.
struct Block {
    title: &'static str,
    rows: Vec<Indicator>,
}

/// One number.
struct Indicator {
    name: &'static str,
    value: String,
    /// What it is made of.
    formula: &'static str,
    /// Who is behind it, as the page of people names them.
    people: Option<&'static str>,
}

/// A link and what came of it.
struct Link {
    id: i64,
    label: Option<String>,
    url: Option<String>,
    category: Option<String>,
    clicks: Num,
    /// Clicks by everybody, the longest bar being the most followed link's.
    bar: f64,
    share: Share,
    first_clicks: Num,
    persons: Num,
    machine_clicks: Num,
    revenue: Vec<Amount>,
}

/// Who did it all, as far as anybody can tell.
pub(super) struct Truth {
    pub(super) people: Num,
    pub(super) suspects: Num,
    pub(super) machines: Num,
    pub(super) shares: [f64; 3],
    pub(super) reasons: Vec<(String, String, Num)>,
}

impl Truth {
    /// Of hits by verdict and reason.
    pub(super) fn of<'r>(counted: impl Iterator<Item = (&'r str, &'r str, i64)>) -> Self {
        let (mut people, mut suspects, mut machines) = (0, 0, 0);
        let mut reasons: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for (verdict, reason, hits) in counted {
            match Verdict::parse(verdict) {
                Some(Verdict::Human) => people += hits,
                Some(Verdict::Suspect) => suspects += hits,
                _ => machines += hits,
            }
            if verdict != Verdict::Human.as_str() {
                *reasons.entry((verdict, reason)).or_default() += hits;
            }
        }
        let mut reasons: Vec<_> = reasons
            .into_iter()
            .map(|((verdict, reason), hits)| (verdict.to_owned(), reason.to_owned(), hits))
            .collect();
        reasons.sort_by_key(|(.., hits)| -hits);
        reasons.truncate(MOST_REASONS);
        let all = (people + suspects + machines).max(1) as f64;
        let width = |hits: i64| hits.max(0) as f64 / all * 100.0;
        Self {
            people: Num(people),
            suspects: Num(suspects),
            machines: Num(machines),
            shares: [width(people), width(suspects), width(machines)],
            reasons: reasons
                .into_iter()
                .map(|(verdict, reason, hits)| (verdict, reason, Num(hits)))
                .collect(),
        }
    }

    /// Whether nothing has happened.
    pub(super) fn is_empty(&self) -> bool {
        [self.people, self.suspects, self.machines]
            .iter()
            .all(|hits| hits.0 == 0)
    }
}

/// `GET /console/deliveries/{id}?machines=1`
pub(super) async fn get_delivery(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let nothing = || Failure::nothing("delivery").seen_by(&who);
    let id = id.parse().map(DeliveryId).map_err(|_| nothing())?;
    let with_machines = query.get("machines").is_some();
    let report = Report::read(&app.store, id).await?.ok_or_else(nothing)?;
    let hours = read_hours(&app.store, id).await?;
    let delivery = &report.delivery;
    let title = title_of(delivery);
    let links = links(&report.links, with_machines);
    let verdicts = report.verdicts.iter();
    let page = DeliveryPage {
        frame: Frame::new(&who, "Deliveries", title.clone()),
        id: id.0,
        label: title,
        channel: delivery.channel.clone(),
        sent_at: delivery.sent_at.map(At),
        created_at: At(delivery.created_at),
        expires_at: delivery.expires_at.map(At),
        with_machines,
        blocks: blocks(&report, with_machines),
        chart: chart(&hours, with_machines),
        more_links: links.len().saturating_sub(MOST_LINKS),
        links: links.into_iter().take(MOST_LINKS).collect(),
        truth: Truth::of(
            verdicts.map(|((verdict, reason), hits)| (verdict.as_str(), reason.as_str(), *hits)),
        ),
        unproved: amounts(&report.unproved),
        names_people: who.may(NAME_PEOPLE),
    };
    Ok(show(StatusCode::OK, &page))
}

/// What a delivery is called.
pub(super) fn title_of(delivery: &Delivery) -> String {
    match delivery.label.trim().is_empty() {
        true => format!("Delivery {}", delivery.id),
        false => delivery.label.clone(),
    }
}

fn amounts(sales: &BTreeMap<Option<String>, Sales>) -> Vec<Amount> {
    let sales = sales.iter().filter(|(_, sales)| !sales.is_empty());
    sales
        .map(|(currency, sales)| Amount(sales.amount, currency.clone()))
        .collect()
}

fn hits(count: Count, with_machines: bool) -> i64 {
    match with_machines {
        true => count.hits + count.machine_hits,
        false => count.hits,
    }
}

fn chart(
    hours: &BTreeMap<crate::model::clock::Micros, HourRow>,
    with_machines: bool,
) -> Option<Chart> {
    let values: Vec<_> = hours
        .iter()
        .map(|(at, row)| {
            let of = |kind| {
                hits(
                    row.kinds.get(&kind).copied().unwrap_or_default(),
                    with_machines,
                )
            };
            let kinds = [Kind::Open, Kind::Click, Kind::Pageview].map(of);
            (*at, kinds.to_vec())
        })
        .collect();
    Chart::new(&["Opens", "Clicks", "Pages"], &values, 1)
}

fn links(rows: &[LinkRow], with_machines: bool) -> Vec<Link> {
    let clicks = |row: &LinkRow| hits(row.count, with_machines);
    let all: i64 = rows.iter().map(clicks).sum();
    let most = rows.iter().map(clicks).max().unwrap_or(0).max(1);
    let mut rows: Vec<&LinkRow> = rows.iter().collect();
    rows.sort_by_key(|row| (-clicks(row), row.id));
    let link = |row: &&LinkRow| Link {
        id: row.id.0,
        label: row.label.clone(),
        url: row.url.clone(),
        category: row.category.clone(),
        clicks: Num(clicks(row)),
        bar: clicks(row).max(0) as f64 / most as f64 * 100.0,
        share: Share::of(clicks(row), all),
        first_clicks: Num(row.count.broadlogs),
        persons: Num(row.clicking_persons),
        machine_clicks: Num(row.count.machine_hits),
        revenue: amounts(&row.sales),
    };
    rows.iter().map(link).collect()
}

fn blocks(report: &Report, with_machines: bool) -> Vec<Block> {
    let number = |name, value: i64, formula, people| Indicator {
        name,
        value: Num(value).to_string(),
        formula,
        people,
    };
    let share = |name, value: Option<f64>, formula| Indicator {
        name,
        value: Share(value).to_string(),
        formula,
        people: None,
    };
    let text = |name, value: String, formula, people| Indicator {
        name,
        value,
        formula,
        people,
    };
    let of = |kind| hits(report.of(kind), with_machines);
    let list = |amounts: Vec<String>| match amounts.is_empty() {
        true => "–".to_owned(),
        false => amounts.join(", "),
    };
    let each = |amount: &dyn Fn(&Sales) -> Option<crate::model::hit::Sum>| {
        let sales = report.sales.iter().filter_map(|(currency, sales)| {
            Some(Amount(amount(sales)?, currency.clone()).to_string())
        });
        list(sales.collect())
    };
    let sent = report.delivery.messages;
    let opens = report.distinct_opens;
    let items: i64 = report.sales.values().map(|sales| sales.items).sum();
    let items_each = report
        .sales
        .values()
        .filter_map(Sales::items_per_transaction);
    vec![
        Block {
            title: "Sent",
            rows: vec![
                number("Messages", sent, "messages that were made", None),
                number(
                    "Text only",
                    report.text_only,
                    "messages that cannot tell an open",
                    None,
                ),
                number(
                    "Left no trace",
                    (sent - opens).max(0),
                    "messages − distinct opens",
                    Some("nothing"),
                ),
            ],
        },
        Block {
            title: "Opens",
            rows: vec![
                number(
                    "Distinct opens",
                    opens,
                    "messages with any activity",
                    Some("opened"),
                ),
                share(
                    "Open rate",
                    (sent > 0).then(|| opens as f64 / sent as f64),
                    "distinct opens ÷ messages",
                ),
                number(
                    "All opens",
                    of(Kind::Open),
                    "each time an image of the mail was fetched",
                    None,
                ),
                text(
                    "Estimated opens",
                    report
                        .estimated_distinct_opens()
                        .map_or_else(|| "–".to_owned(), |opens| Num(opens).to_string()),
                    "distinct opens × messages ÷ (messages − text only)",
                    None,
                ),
            ],
        },
        Block {
            title: "Clicks",
            rows: vec![
                number(
                    "Recipients who clicked",
                    report.recipients_who_clicked(),
                    "messages with a click",
                    Some("clicked"),
                ),
                number(
                    "Clicking persons",
                    report.clicking_persons,
                    "browsers that clicked",
                    Some("clickers"),
                ),
                number(
                    "All clicks",
                    of(Kind::Click),
                    "each time a link was followed",
                    None,
                ),
                number(
                    "Estimated forwards",
                    report.estimated_forwards(),
                    "clicking persons − recipients who clicked",
                    None,
                ),
            ],
        },
        Block {
            title: "Reactivity",
            rows: vec![
                share(
                    "Raw",
                    report.raw_reactivity(),
                    "recipients who clicked ÷ distinct opens",
                ),
                share(
                    "Estimated",
                    report.estimated_reactivity(),
                    "recipients who clicked ÷ estimated opens",
                ),
                number(
                    "Opted out",
                    of(Kind::Optout),
                    "links to unsubscribe that were followed",
                    Some("opted_out"),
                ),
                number(
                    "Web version",
                    of(Kind::Mirror),
                    "openings of the mail in a browser",
                    None,
                ),
            ],
        },
        Block {
            title: "On the website",
            rows: vec![
                number(
                    "Visited pages",
                    report.visited_pages(),
                    "pages and purchases that were shown",
                    None,
                ),
                number(
                    "Events",
                    of(Kind::Event),
                    "other things that pages told",
                    None,
                ),
                number("Forms", of(Kind::Form), "forms that were sent", None),
            ],
        },
        Block {
            title: "Orders",
            rows: vec![
                number(
                    "Transactions",
                    report.transactions(),
                    "orders whose delivery is proved, each once",
                    Some("bought"),
                ),
                text(
                    "Revenue",
                    list(
                        amounts(&report.sales)
                            .iter()
                            .map(ToString::to_string)
                            .collect(),
                    ),
                    "their amounts, refunds taken off",
                    Some("bought"),
                ),
                text(
                    "Per order",
                    each(&|sales| sales.amount_per_transaction()),
                    "revenue ÷ transactions",
                    None,
                ),
                text(
                    "Per message",
                    each(&|sales| report.amount_per_message(sales)),
                    "revenue ÷ messages",
                    None,
                ),
                text(
                    "Items",
                    match items_each.clone().next() {
                        Some(_) => Num(items).to_string(),
                        None => "–".to_owned(),
                    },
                    "items that were bought",
                    None,
                ),
            ],
        },
    ]
}

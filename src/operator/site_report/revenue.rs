//! What was earned, and whom it is credited to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tops::Campaign;
use super::{Head, utc_days};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, LinkId, Money, Sum};
use crate::model::period::Period;
use crate::model::wire;
use crate::store::Store;
use crate::store::figures::{Model, joined};
use crate::{both, from_row};

/// What revenue has a row for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RevenueBy {
    /// A UTC day.
    Day,
    /// A delivery.
    Delivery,
    /// A tracked destination.
    Link,
    /// UTM source, medium and campaign.
    Campaign,
}

impl RevenueBy {
    fn column(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Delivery => "delivery_id",
            Self::Link => "link_id",
            Self::Campaign => "campaign",
        }
    }
}

/// Revenue of a period, largest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevenueReport {
    #[serde(flatten)]
    head: Head,
    model: &'static str,
    /// Largest first.
    pub rows: Vec<RevenueRow>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RevenueRow {
    #[serde(flatten)]
    /// What it is credited to.
    pub of: Of,
    /// None: none was given.
    pub currency: Option<String>,
    /// Orders.
    pub transactions: i64,
    /// A decimal number.
    pub amount: String,
    /// The same.
    #[serde(skip)]
    pub sum: Sum,
    /// Items bought.
    pub items: i64,
}

/// What is credited; without delivery, link and campaign: purchases that nothing led to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RevenueOf)]
pub enum Of {
    Day {
        #[serde(with = "wire::time")]
        day: Micros,
    },
    Delivery {
        #[serde(with = "wire::option_id")]
        #[schema(required = true)]
        delivery_id: Option<DeliveryId>,
        label: Option<String>,
    },
    Link {
        #[serde(with = "wire::option_id")]
        #[schema(required = true)]
        link_id: Option<LinkId>,
        url: Option<String>,
    },
    Campaign(Campaign),
}

impl Of {
    /// For people; `None` of purchases that nothing led to.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Day { day } => Some(day.rfc3339()),
            Self::Delivery { delivery_id, label } => {
                let id = (*delivery_id)?;
                let label = label.clone().filter(|label| !label.trim().is_empty());
                Some(label.unwrap_or_else(|| format!("Delivery {id}")))
            }
            Self::Link { link_id, url } => {
                let id = (*link_id)?;
                Some(url.clone().unwrap_or_else(|| format!("Link {id}")))
            }
            Self::Campaign(campaign) => Some(campaign.text()).filter(|text| !text.is_empty()),
        }
    }
}

/// Sums by key; amounts in parts that stay below 64 bits.
struct Credited {
    number: i64,
    text: String,
    name: Option<String>,
    currency: String,
    transactions: i64,
    quantity: i64,
    low: Money,
    high: i64,
    carry: i64,
}

from_row!(Credited, row => {
    number, text, name, currency, transactions, quantity, low, high, carry,
});

/// Reads revenue of all UTC days that a period touches, at most `limit` rows; of one `site` only,
/// if given.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_revenue(
    store: &Store,
    model: Model,
    by: RevenueBy,
    period: &Period,
    site: Option<&str>,
    limit: usize,
) -> sqlx::Result<RevenueReport> {
    let days = utc_days(period);
    let is_postgres = store.is_postgres();
    let (low, high) = match is_postgres {
        true => (
            "sum(revenue % 100000)",
            "cast(sum(div(revenue, 100000)) as bigint)",
        ),
        false => ("sum(revenue % 1000000000)", "sum(revenue / 1000000000)"),
    };
    let (number, text, name) = match by {
        RevenueBy::Day if is_postgres => (
            "cast(extract(epoch from day) as bigint) * 1000000",
            "''",
            "null",
        ),
        RevenueBy::Day => ("day", "''", "null"),
        RevenueBy::Delivery => (
            "delivery_id",
            "''",
            "(select d.label from deliveries d where d.id = f.delivery_id)",
        ),
        RevenueBy::Link => (
            "link_id",
            "''",
            "(select l.url from links l where l.id = f.link_id)",
        ),
        RevenueBy::Campaign => ("cast(0 as bigint)", "campaign", "null"),
    };
    let column = by.column();
    let sql = format!(
        "select {number} as number, {text} as text, cast({name} as text) as name, currency,
         transactions, quantity, low, high, carry
         from (select {column}, currency, cast(sum(transactions) as bigint) as transactions,
         cast(sum(quantity) as bigint) as quantity,
                      {low} as low, {high} as high, cast(sum(revenue_carry) as bigint) as carry
               from revenue_figures
               where day >= $1 and day < $2 and model = $3 and ($4 is null or site = $4)
               group by {column}, currency) f"
    );
    let query = sqlx::AssertSqlSafe(sql);
    let rows: Vec<Credited> = both!(store.reader(), pool => {
        let query = sqlx::query_as(query).bind(days.from).bind(days.to);
        query.bind(model.as_str()).bind(site).fetch_all(pool).await?
    });
    let mut sums: Vec<(Credited, Sum)> = rows
        .into_iter()
        .map(|row| {
            let sum = sum(&row);
            (row, sum)
        })
        .collect();
    sums.retain(|(row, sum)| row.transactions != 0 || row.quantity != 0 || sum.0 != 0);
    match by {
        RevenueBy::Day => sums.sort_by_key(|(row, _)| row.number),
        _ => sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.0)),
    }
    sums.truncate(limit);
    Ok(RevenueReport {
        head: Head::new(period, site),
        model: model.as_str(),
        rows: sums
            .into_iter()
            .map(|(row, sum)| view(by, row, sum))
            .collect(),
    })
}

fn sum(row: &Credited) -> Sum {
    let rest = joined(row.low, row.carry).0 + i128::from(row.high) * 1_000_000_000;
    Sum(rest)
}

fn view(by: RevenueBy, row: Credited, sum: Sum) -> RevenueRow {
    let number = Some(row.number).filter(|number| *number != 0);
    RevenueRow {
        of: match by {
            RevenueBy::Day => Of::Day {
                day: Micros(row.number),
            },
            RevenueBy::Delivery => Of::Delivery {
                delivery_id: number.map(DeliveryId),
                label: row.name,
            },
            RevenueBy::Link => Of::Link {
                link_id: number.map(LinkId),
                url: row.name,
            },
            RevenueBy::Campaign => Of::Campaign(Campaign::parse(&row.text)),
        },
        currency: Some(row.currency).filter(|currency| !currency.is_empty()),
        transactions: row.transactions,
        amount: sum.to_string(),
        sum,
        items: row.quantity,
    }
}

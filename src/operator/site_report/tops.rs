//! What most people looked at, and where they came from.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Head, utc_days};
use crate::model::period::Period;
use crate::store::Store;
use crate::store::figures::Dimension;
use crate::{both, from_row};

/// The top values of a period, most hits first.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopsReport {
    #[serde(flatten)]
    head: Head,
    /// Those with most hits.
    pub rows: Vec<TopRow>,
    /// Hits of all values that are not in `rows`.
    pub other_hits: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TopRow {
    #[serde(flatten)]
    /// What it is.
    pub what: What,
    #[serde(flatten)]
    /// How much came.
    pub counts: Counts,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = TopOf)]
pub enum What {
    Page { page: String },
    Referrer { referrer: String },
    Campaign(Campaign),
}

impl What {
    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Page { page } => page.clone(),
            Self::Referrer { referrer } => referrer.clone(),
            Self::Campaign(campaign) => campaign.text(),
        }
    }

    fn of(dimension: Dimension, value: String) -> Self {
        match dimension {
            Dimension::Page => Self::Page { page: value },
            Dimension::Referrer => Self::Referrer { referrer: value },
            Dimension::Campaign => Self::Campaign(Campaign::parse(&value)),
        }
    }
}

/// A campaign; null for what the hit did not say.
#[derive(Debug, Serialize, ToSchema)]
pub struct Campaign {
    #[schema(required = true)]
    source: Option<String>,
    #[schema(required = true)]
    medium: Option<String>,
    #[schema(required = true)]
    campaign: Option<String>,
}

impl Campaign {
    /// For people: `November (letter, email)`.
    pub fn text(&self) -> String {
        let around = [self.source.as_deref(), self.medium.as_deref()];
        let around: Vec<&str> = around.into_iter().flatten().collect();
        match (self.campaign.as_deref(), around.is_empty()) {
            (Some(campaign), true) => campaign.to_owned(),
            (Some(campaign), false) => format!("{campaign} ({})", around.join(", ")),
            (None, _) => around.join(", "),
        }
    }

    /// Splits what [`Hit::campaign`](crate::model::hit::Hit::campaign) joined.
    pub(super) fn parse(value: &str) -> Self {
        let mut parts = value.split('\t').map(|part| Some(part.to_owned()));
        let mut next = || parts.next().flatten().filter(|part| !part.is_empty());
        Self {
            source: next(),
            medium: next(),
            campaign: next(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopCounts)]
pub struct Counts {
    /// All hits.
    pub hits: i64,
    /// Clicks.
    pub clicks: i64,
    /// Pages.
    pub pageviews: i64,
    /// Purchases.
    pub transactions: i64,
}

from_row!(Counts, row => { hits, clicks, pageviews, transactions });

struct Value {
    value: String,
    counts: Counts,
}

from_row!(Value, row => { value } { counts: Counts::from_row(row)? });

/// Reads the top `limit` values of all UTC days that a period touches; of one `site` only, if
/// given.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_tops(
    store: &Store,
    dimension: Dimension,
    period: &Period,
    site: Option<&str>,
    limit: i64,
) -> sqlx::Result<TopsReport> {
    let days = utc_days(period);
    let of = "from top_figures where dimension = $1 and day >= $2 and day < $3
                  and ($4 is null or site = $4)";
    let count = |kind: &str, name: &str| {
        format!("cast(sum(case when kind = '{kind}' then hits else 0 end) as bigint) as {name}")
    };
    let sql = format!(
        "select value, cast(sum(hits) as bigint) as hits, {}, {}, {} {of} and value <> ''
         group by value order by 2 desc, value limit $5",
        count("click", "clicks"),
        count("pageview", "pageviews"),
        count("transaction", "transactions"),
    );
    let all = format!("select cast(coalesce(sum(hits), 0) as bigint) {of}");
    let (rows, all): (Vec<Value>, i64) = both!(store.reader(), pool => {
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(dimension.as_str());
        let rows = rows.bind(days.from).bind(days.to).bind(site).bind(limit);
        let all = sqlx::query_scalar(sqlx::AssertSqlSafe(all)).bind(dimension.as_str());
        let all = all.bind(days.from).bind(days.to).bind(site);
        (rows.fetch_all(pool).await?, all.fetch_one(pool).await?)
    });
    let told: i64 = rows.iter().map(|row| row.counts.hits).sum();
    Ok(TopsReport {
        head: Head::new(period, site),
        rows: rows
            .into_iter()
            .map(|row| TopRow {
                what: What::of(dimension, row.value),
                counts: row.counts,
            })
            .collect(),
        // Hits may have come between the two questions.
        other_hits: (all - told).max(0),
    })
}

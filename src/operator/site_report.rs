//! Reports over time: what came to the sites, from where, and what it earned. All of it is read
//! from figures that are kept as the hits come; no hit is read.
//!
//! Hits stand at a quarter of an hour, visitors at half an hour, so they follow the days of any
//! zone. Pages, referrers, campaigns and revenue are kept by UTC day: a period takes every UTC day
//! that it touches.

mod hits;
mod revenue;
mod tops;

pub use hits::{HitsReport, HitsRow, VisitorsReport, read_hits, read_visitors};
pub use revenue::{RevenueBy, RevenueReport, read_revenue};
pub use tops::{TopRow, TopsReport, read_tops};

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::clock::Micros;
use crate::model::period::{Part, Period};
use crate::model::wire;

/// What all reports have in common.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReportHead)]
pub struct Head {
    #[serde(with = "wire::time")]
    from: Micros,
    #[serde(with = "wire::time")]
    to: Micros,
    zone: String,
    /// None: all sites together.
    site: Option<String>,
}

impl Head {
    fn new(period: &Period, site: Option<&str>) -> Self {
        Self {
            from: period.from,
            to: period.to,
            zone: period.zone.name().to_owned(),
            site: site.map(str::to_owned),
        }
    }
}

/// The UTC days that a period touches: from a start to a start.
fn utc_days(period: &Period) -> Part {
    let day = Micros::DAY;
    Part {
        from: period.from.day(),
        to: Micros(period.to.0 + day - 1).day(),
    }
}

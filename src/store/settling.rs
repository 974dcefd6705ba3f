//! How far verdicts have settled: one server at a time reads on from there.
//!
//! The place is a number up to which nothing can change any more; hits above it are read again by
//! whoever takes over. The server that has the place renews its claim; one that is gone loses it
//! after a minute.

use uuid::Uuid;

use super::Store;
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, Kind, LinkId, Reason, Verdict, VisitorId};
use crate::{both, from_row};

/// How long a claim holds.
const HOLDS: i64 = 60 * Micros::SECOND;

/// How often a claim is renewed.
pub const RENEWAL: i64 = 20 * Micros::SECOND;

/// A hit of a message.
#[derive(Clone, Debug)]
pub struct SettlingHit {
    /// Its number.
    pub seq: i64,
    /// The message.
    pub message: BroadlogId,
    /// When it came.
    pub at: Micros,
    /// What happened.
    pub kind: Kind,
    /// Tracked destination.
    pub link: Option<LinkId>,
    /// Browser.
    pub visitor: Option<VisitorId>,
    /// Where it came from.
    pub address: Option<std::net::IpAddr>,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<Reason>,
}

from_row!(SettlingHit, row => { seq } {
    message: BroadlogId(row.try_get("broadlog_id")?),
    at: row.try_get("received_at")?,
    kind: row.try_get("kind")?,
    link: row.try_get("link_id")?,
    visitor: row.try_get::<Option<Uuid>, _>("visitor_id")?.map(VisitorId),
    address: row.try_get::<Option<super::Ip>, _>("ip")?.map(|ip| ip.0),
    verdict: Verdict::parse(row.try_get("verdict")?).unwrap_or(Verdict::Suspect),
    reason: reason(row.try_get("verdict")?, row.try_get("reason")?),
});

/// The reason of a verdict among a hit's notes.
fn reason(verdict: &str, notes: Option<&str>) -> Option<Reason> {
    let mut reasons = notes?.split("; ").filter_map(Reason::parse);
    reasons.find(|reason| reason.verdict().as_str() == verdict)
}

impl Store {
    /// Claims the place for a server, or renews its claim, and notes up to which number all has
    /// settled by what it did; returns the number that holds now, `None` while another server has
    /// the place.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn claim_settling(
        &self,
        owner: Uuid,
        settled_to: i64,
        now: Micros,
    ) -> sqlx::Result<Option<i64>> {
        let sql = "update settling
                   set owner = $1, claimed_until = $2, seq = case when seq < $3 then $3 else seq end
                   where owner is null or owner = $1 or claimed_until < $4 returning seq";
        let mut tx = self.begin().await?;
        let seq = both!(&mut tx, c => sqlx::query_scalar(sql)
            .bind(owner)
            .bind(Micros(now.0 + HOLDS))
            .bind(settled_to)
            .bind(now)
            .fetch_optional(&mut **c)
            .await?);
        tx.commit().await?;
        Ok(seq)
    }

    /// Hits of messages among those with numbers above one and up to another.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn settling_hits(&self, after: i64, until: i64) -> sqlx::Result<Vec<SettlingHit>> {
        let sql =
            "select seq, broadlog_id, received_at, kind, link_id, visitor_id, ip, verdict, reason
                   from hits where seq > $1 and seq <= $2 and broadlog_id is not null order by seq";
        both!(self.reader(), pool => {
            sqlx::query_as(sql).bind(after).bind(until).fetch_all(pool).await
        })
    }
}

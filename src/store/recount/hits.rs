//! Hits as figures see them, from what is stored.

use uuid::Uuid;

use crate::both;
use crate::from_row;
use crate::model::clock::Micros;
use crate::model::hit::{
    BroadlogId, Currency, DeliveryId, Dialect, Hit, HitId, Kind, LinkId, Money, Utm, Verdict,
    VisitorId,
};
use crate::store::Tx;
use crate::store::figures::{Booking, Place, Sales};
use crate::store::orders::note;

/// A stored hit, and its order if it is the first of one.
pub(super) struct CountedHit {
    pub(super) seq: i64,
    pub(super) hit: Hit,
    pub(super) order: Option<Booking>,
}

/// What figures need of a stored hit.
pub(in crate::store) struct Row {
    pub(in crate::store) seq: i64,
    received_at: Micros,
    occurred_at: Option<Micros>,
    kind: Kind,
    site: String,
    page_url: Option<String>,
    referrer: Option<String>,
    delivery_id: Option<DeliveryId>,
    pub(in crate::store) broadlog_id: Option<i64>,
    link_id: Option<LinkId>,
    pub(in crate::store) visitor_id: Option<Uuid>,
    revenue: Option<Money>,
    currency: Option<String>,
    utm: Utm,
    verdict: String,
    reason: Option<String>,
}

from_row!(Row, row => {
    seq, received_at, occurred_at, kind, site, page_url, referrer, delivery_id, broadlog_id, link_id,
    visitor_id, revenue, currency, verdict, reason,
} { utm: Utm::from_row(row)? });

/// The columns of a [`Row`].
macro_rules! counted_columns {
    () => {
        "seq, received_at, occurred_at, kind, site, page_url, referrer, delivery_id, broadlog_id, \
         link_id, visitor_id, revenue, currency, utm_source, utm_medium, utm_campaign, utm_term, \
         utm_content, verdict, reason"
    };
}
pub(in crate::store) use counted_columns;

/// The next hits in storage order.
pub(super) async fn page_after(
    tx: &mut Tx,
    after: i64,
    most: i64,
) -> sqlx::Result<Vec<CountedHit>> {
    let sql = concat!(
        "select ",
        counted_columns!(),
        " from hits where seq > $1 order by seq limit $2"
    );
    let rows: Vec<Row> = both!(tx, c => {
        sqlx::query_as(sql).bind(after).bind(most).fetch_all(&mut **c).await
    })?;
    Ok(rows.into_iter().map(counted).collect())
}

fn counted(row: Row) -> CountedHit {
    let seq = row.seq;
    let hit = row.into_hit();
    let order = is_order(&hit).then(|| Booking {
        place: Place::of(&hit, true),
        sales: Sales {
            transactions: 1,
            ..Sales::default()
        },
        touches: Vec::new().into(),
    });
    CountedHit { seq, hit, order }
}

impl Row {
    /// The hit, as far as figures look at it.
    pub(in crate::store) fn into_hit(self) -> Hit {
        let row = self;
        // Neither the id nor the dialect is in any figure.
        let id = HitId(Uuid::nil());
        let mut hit = Hit::new(id, row.received_at, row.kind, Dialect::Native);
        hit.occurred_at = row.occurred_at;
        hit.site = row.site;
        hit.page_url = row.page_url;
        hit.referrer = row.referrer;
        hit.delivery_id = row.delivery_id;
        hit.broadlog_id = row.broadlog_id.map(BroadlogId);
        hit.link_id = row.link_id;
        hit.visitor_id = row.visitor_id.map(VisitorId);
        hit.revenue = row.revenue;
        hit.currency = row.currency.as_deref().and_then(Currency::parse);
        hit.utm = row.utm;
        hit.verdict = Verdict::parse(&row.verdict).unwrap_or(Verdict::Bot);
        hit.reason = row.reason;
        hit
    }
}

/// Whether a purchase is the first of its order: those that are not say so.
pub(in crate::store) fn is_order(hit: &Hit) -> bool {
    let notes = hit.reason.as_deref().unwrap_or_default();
    hit.kind == Kind::Transaction
        && hit.verdict.counts()
        && hit.revenue.unwrap_or_default().0 >= 0
        && !notes.split("; ").any(|note| note::ALL.contains(&note))
}

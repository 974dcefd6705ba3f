//! The columns of a stored hit: the one list from which everything that goes through them is made.
//!
//! A line gives a column's meaning, its name, the type that it is read into, and where its value
//! comes from when a hit is written. Macros turn the lines into the names in SQL ([`COLUMNS`]), the
//! binders and the `COPY` writer, the row that is read and its preview (`store/hits`), and the
//! cells of an export (`operator/export`). So a value cannot land in a column that is not its own.
//!
//! The order of the lines is the order of the columns in a CSV, and people rely on it: add new ones
//! at the end. A new column needs a line here, a migration of both databases, and a place in their
//! view `readable_hits`.

use super::{ContactId, Hit, TagChange};
use crate::model::money::Money;

/// A hit to be written, with what the projection has found out about it.
#[derive(Clone, Copy, Debug)]
pub struct HitRow<'h> {
    /// Its position in storage order.
    pub seq: i64,
    /// The hit.
    pub hit: &'h Hit,
    /// Its person.
    pub contact_id: Option<ContactId>,
    /// What it adds to the revenue figures.
    pub counted_revenue: Option<Money>,
}

/// Hands the table to another macro. `Tags`, `Ip` and `Extra` are the store's; the names between
/// the bars are those of a [`HitRow`] and of its hit in the values.
macro_rules! hit_columns {
    ($make:ident) => {
        $make! { |row, hit|
            /// Its position in storage order.
            seq: i64 = row.seq,
            /// Version 7 UUID, made where the hit arrived.
            id: Uuid = hit.id.0,
            /// When the server took it.
            received_at: Micros = hit.received_at,
            /// When it happened, where the sender says so.
            occurred_at: Option<Micros> = hit.occurred_at,
            /// What happened: a word of [`Kind`](crate::model::hit::Kind).
            kind: String = hit.kind.as_str(),
            /// Which protocol said it: a word of [`Dialect`](crate::model::hit::Dialect).
            dialect: String = hit.dialect.as_str(),
            /// Site name.
            site: String = hit.site.as_str(),
            /// Address of the page, or what an app calls its screen.
            page_url: Option<String> = hit.page_url.as_deref(),
            /// Title of the page.
            page_title: Option<String> = hit.page_title.as_deref(),
            /// As the browser says it, `de-DE`.
            page_language: Option<String> = hit.page_language.as_deref(),
            /// The page before.
            referrer: Option<String> = hit.referrer.as_deref(),
            /// Adobe's page tag.
            page_tag: Option<String> = hit.page_tag.as_deref(),
            /// Campaign.
            delivery_id: Option<i64> = hit.delivery_id.map(|id| id.0),
            /// Message.
            broadlog_id: Option<i64> = hit.broadlog_id.map(|id| id.0),
            /// Tracked destination.
            link_id: Option<i64> = hit.link_id.map(|id| id.0),
            /// Browser or installation.
            visitor_id: Option<Uuid> = hit.visitor_id.map(|id| id.0),
            /// Its person. Apart from the verdict, the only column that may change afterwards.
            contact_id: Option<Uuid> = row.contact_id.map(|id| id.0),
            /// Exact to 1/10,000.
            revenue: Option<Money> = hit.revenue,
            /// ISO 4217, upper case.
            currency: Option<String> = hit.currency.as_ref().map(|code| code.as_str()),
            /// Order number of the shop.
            order_id: Option<String> = hit.order_id.as_deref(),
            /// Number of items.
            quantity: Option<i32> = hit.quantity,
            /// `utm_source`
            utm_source: Option<String> = hit.utm.source.as_deref(),
            /// `utm_medium`
            utm_medium: Option<String> = hit.utm.medium.as_deref(),
            /// `utm_campaign`
            utm_campaign: Option<String> = hit.utm.campaign.as_deref(),
            /// `utm_term`
            utm_term: Option<String> = hit.utm.term.as_deref(),
            /// `utm_content`
            utm_content: Option<String> = hit.utm.content.as_deref(),
            /// Tags that were added, and with a leading `-` those that were removed.
            tags: Tags = hit.tags.as_slice(),
            /// Name of an event.
            event: Option<String> = hit.event.as_deref(),
            /// Address of the client.
            ip: Option<Ip> = hit.ip,
            /// As the client says it.
            user_agent: Option<String> = hit.user_agent.as_deref(),
            /// Who is believed to have caused it: a word of
            /// [`Verdict`](crate::model::hit::Verdict).
            verdict: String = hit.verdict.as_str(),
            /// Why the verdict, and what was cut or repaired: words joined by `; `.
            reason: Option<String> = hit.reason.as_deref(),
            /// What no column holds, a JSON object.
            extra: Option<Extra> = hit.extra.as_ref(),
            /// What its delivery and message are based on: a word of
            /// [`Proof`](crate::model::hit::Proof).
            proof: Option<String> = hit.proof().map(|proof| proof.as_str()),
            /// What it added to the revenue figures: 0 for a repetition, the difference for a
            /// change, null if it does not count or is reported apart as unproved.
            counted_revenue: Option<Money> = row.counted_revenue,
            /// The verdict at first; null if it never changed.
            first_verdict: Option<String> = None::<&str>,
            /// The reasons at first; null if the verdict never changed.
            first_reason: Option<String> = None::<&str>,
        }
    };
}
pub(crate) use hit_columns;

macro_rules! names {
    (|$row:ident, $hit:ident| $($(#[$doc:meta])* $name:ident: $type:ty = $value:expr,)+) => {
        /// Names of the columns, in the order in which they are written, read and exported.
        pub const COLUMNS: [&str; [$(stringify!($name)),+].len()] = [$(stringify!($name)),+];
    };
}
hit_columns!(names);

impl TagChange {
    /// The tag as the column holds it: with a leading `-` if it is removed.
    pub fn text(&self) -> String {
        let sign = if self.remove { "-" } else { "" };
        format!("{sign}{}", self.name)
    }
}

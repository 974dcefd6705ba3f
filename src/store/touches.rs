//! What led people here: their clicks and campaign landings of the last weeks, which a purchase is
//! credited to.
//!
//! Nothing is kept for it: a purchase is rare, and a person's hits are found by index. It looks at
//! the last [`MOST`] hits of the contact, of each contact that was merged into it, and of the
//! browser before anybody knew whose it is; so it takes as long for somebody with a hundred
//! thousand hits. Of a contact that the purchase only names, hits of the purchase's own browser
//! alone count: otherwise anybody could give money to a mail by naming who got it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::{FromRow as _, Row as _};
use uuid::Uuid;

use super::{Bulk, Tx};
use crate::model::clock::Micros;
use crate::model::hit::{ContactId, Hit, Kind, LeastProof, Proof, Utm, VisitorId};
use crate::{fetch_bulk, from_row};

/// Hits of a person that a purchase looks at.
const MOST: i64 = 1_000;
/// Maximum number of touches that a purchase is credited to: the last ones, and the first.
const MOST_CREDITED: usize = 50;
/// Contacts merged into one, whose hits are searched.
const MOST_MERGED: i64 = 20;
/// A touch repeated this soon is the same visit, in microseconds: the usual end of a session.
const VISIT: i64 = Micros::HOUR / 2;

/// A delivery and link (0 for none), and a campaign as [`Hit::campaign`] has it (empty for none).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Touch(pub i64, pub i64, pub String);

impl Touch {
    /// What a person's hit is in this respect: a click, or a page with a campaign that no delivery
    /// led to. A delivery whose proof is too weak to make revenue (`least`) does not get any here
    /// either.
    pub fn of(hit: &Hit, least: LeastProof) -> Option<Self> {
        if !hit.verdict.counts() || !least.admits(hit.proof()) {
            return None;
        }
        let delivery = hit.delivery_id.map_or(0, |id| id.0);
        let link = hit.link_id.map_or(0, |id| id.0);
        Self::made(hit.kind, delivery, link, hit.campaign())
    }

    fn made(kind: Kind, delivery: i64, link: i64, campaign: Option<String>) -> Option<Self> {
        let is_touch = match kind {
            Kind::Click => true,
            // A page of a delivery's visit comes after its click.
            Kind::Pageview => delivery == 0 && campaign.is_some(),
            _ => false,
        };
        is_touch.then(|| Self(delivery, link, campaign.unwrap_or_default()))
    }
}

/// A purchase whose touches are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Purchase {
    /// Who bought.
    pub contact: Option<ContactId>,
    /// Its contact is proved, not only claimed.
    pub is_proved: bool,
    /// With which browser.
    pub visitor: Option<VisitorId>,
    /// When.
    pub at: Micros,
}

/// When each touch was, what, and with which campaign parameters; those of the same moment in
/// storage order.
pub type Touched = BTreeMap<(Micros, i64), (Touch, Utm)>;

struct Found {
    seq: i64,
    at: Micros,
    kind: Kind,
    delivery_id: Option<i64>,
    link_id: Option<i64>,
    utm: Utm,
    proof: Option<String>,
}

from_row!(Found, row => { seq, at, kind, delivery_id, link_id, proof } {
    utm: Utm {
        source: row.try_get("utm_source")?,
        medium: row.try_get("utm_medium")?,
        campaign: row.try_get("utm_campaign")?,
        term: row.try_get("utm_term")?,
        content: row.try_get("utm_content")?,
    },
});

/// A person whose hits are looked at, and the purchase that they are for.
#[derive(Clone, Copy)]
struct Asked {
    purchase: usize,
    person: Uuid,
    /// The only browser whose hits count; `None` counts all.
    browser: Option<Uuid>,
    at: Micros,
}

impl Tx {
    /// The stored touches of each purchase within `window` microseconds before it.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn touches_of(
        &mut self,
        purchases: &[Purchase],
        window: i64,
        least: LeastProof,
    ) -> sqlx::Result<Vec<Touched>> {
        let (mut contacts, mut visitors) = (Vec::new(), Vec::new());
        for (purchase, of) in purchases.iter().enumerate() {
            let asked = |person, browser| Asked {
                purchase,
                person,
                browser,
                at: of.at,
            };
            let visitor = of.visitor.map(|id| id.0);
            if let Some(ContactId(id)) = of.contact {
                match of.is_proved {
                    true => contacts.push(asked(id, None)),
                    false => contacts.extend(visitor.map(|_| asked(id, visitor))),
                }
            }
            visitors.extend(visitor.map(|id| asked(id, None)));
        }
        let merged = self.merged_into(&contacts).await?;
        contacts.extend(merged);
        let mut touches = Vec::new();
        touches.resize_with(purchases.len(), Touched::new);
        for (whose, asked) in [(CONTACT, contacts), (VISITOR, visitors)] {
            for (purchase, found) in self.last_hits(&asked, whose, window).await? {
                if !least.admits(found.proof.as_deref().and_then(Proof::parse)) {
                    continue;
                }
                let (delivery, link) = (found.delivery_id, found.link_id);
                let campaign = found.utm.campaign();
                let touch = Touch::made(
                    found.kind,
                    delivery.unwrap_or(0),
                    link.unwrap_or(0),
                    campaign,
                );
                if let Some(touch) = touch {
                    touches[purchase].insert((found.at, found.seq), (touch, found.utm));
                }
            }
        }
        Ok(touches)
    }

    /// The contacts that were merged into these, for the same purchases.
    async fn merged_into(&mut self, contacts: &[Asked]) -> sqlx::Result<Vec<Asked>> {
        let merged: Vec<(i64, Uuid)> = fetch_bulk!(
            self,
            Bulk::new()
                .big("number", (0_i64..).take(contacts.len()))
                .uuid("contact_id", contacts.iter().map(|asked| asked.person))
                .big("most", contacts.iter().map(|_| MOST_MERGED)),
            "select number, id from (
               select rows.number, c.id, rows.most, row_number() over (partition by rows.number
               order by c.id desc) as place
               from {rows} join contacts c on c.merged_into = rows.contact_id
             ) as ranked where place <= most",
            row => (row.try_get("number")?, row.try_get("id")?)
        )?;
        let asked = merged.into_iter().filter_map(|(number, person)| {
            let contact = contacts.get(usize::try_from(number).ok()?)?;
            Some(Asked { person, ..*contact })
        });
        Ok(asked.collect())
    }

    /// Clicks and pages of people among the last hits of each.
    async fn last_hits(
        &mut self,
        asked: &[Asked],
        whose: Whose,
        window: i64,
    ) -> sqlx::Result<Vec<(usize, Found)>> {
        let what = "rows.number, h.seq, coalesce(h.occurred_at, h.received_at) as at, h.kind, h.delivery_id, h.link_id, \
                    h.utm_source, h.utm_medium, h.utm_campaign, h.utm_term, h.utm_content, h.proof";
        let is_one = "(rows.browser_id is null or h.visitor_id = rows.browser_id)
                 and h.verdict in ('human', 'suspect') and h.kind in ('click', 'pageview')
                 and (h.kind = 'click' or h.delivery_id is null)
                 and coalesce(h.occurred_at, h.received_at) between rows.since and rows.until";
        let Whose { index, condition } = whose;
        let sql = match self {
            // Fenced by its limit: found by index, whatever the statistics are.
            Tx::Postgres(_) => format!(
                "select {what} from {{rows}} cross join lateral (
                   select * from hits l where {condition} and l.received_at >= rows.since
                   order by l.seq desc limit {MOST}
                 ) h where {is_one}"
            ),
            // `cross join`: SQLite looks the rows up, and does not walk through the table.
            Tx::Sqlite(_) => format!(
                "select {what} from {{rows}} cross join hits h where h.seq in (
                   select l.seq from hits l indexed by {index} where {condition}
                   and l.received_at >= rows.since
                   order by l.seq desc limit {MOST}
                 ) and {is_one}"
            ),
        };
        fetch_bulk!(
            self,
            Bulk::new()
                .big("number", asked.iter().map(|asked| asked.purchase as i64))
                .uuid("person_id", asked.iter().map(|asked| asked.person))
                .uuid_or_null("browser_id", asked.iter().map(|asked| asked.browser))
                .time("since", asked.iter().map(|asked| Micros(asked.at.0 - window)))
                .time("until", asked.iter().map(|asked| asked.at)),
            &sql,
            row => (row.try_get::<i64, _>("number")? as usize, Found::from_row(row)?)
        )
    }
}

/// The index that has a person's hits.
#[derive(Clone, Copy)]
struct Whose {
    index: &'static str,
    condition: &'static str,
}

const CONTACT: Whose = Whose {
    index: "hits_contact",
    condition: "l.contact_id = rows.person_id",
};
const VISITOR: Whose = Whose {
    index: "hits_visitor",
    condition: "l.visitor_id = rows.person_id and l.contact_id is null",
};

/// Touches in order, without those that repeat the previous one within a visit; if there are very
/// many, the last ones and the first.
pub fn visits(touched: Touched) -> Vec<Touch> {
    let mut visits: Vec<(Micros, Touch)> = Vec::new();
    for ((at, _), (touch, _)) in touched {
        match visits.last_mut() {
            Some((last, same)) if *same == touch && at.0 - last.0 <= VISIT => *last = at,
            _ => visits.push((at, touch)),
        }
    }
    if visits.len() > MOST_CREDITED {
        visits.drain(1..visits.len() - MOST_CREDITED);
    }
    visits.into_iter().map(|(_, touch)| touch).collect()
}

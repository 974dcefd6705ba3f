//! Who: the persons and messages behind a number of a delivery's report.
//!
//! | [`What`] | a row is | as many as the report's |
//! |---|---|---|
//! | opened | a message that left a trace | `distinct_opens` |
//! | clicked | a message | `recipients_who_clicked` |
//! | clicked, one link | a browser | the link's `clicking_persons` |
//! | clickers | a browser | `clicking_persons` |
//! | bought | a message, with its orders | its orders add up to `transactions` |
//! | nothing | a message that left no trace | `messages` without `distinct_opens` |
//! | opted out | a hit | `optouts` |
//! | machine | a hit | `machine_hits`, or the link's `machine_clicks` |
//!
//! A part ends after so many rows were looked at; its cursor goes on there, whatever it holds.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{ObjectBuilder, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::export::{Cell, write_csv, write_json};
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, ContactId, DeliveryId, Kind, LinkId, VisitorId};
use crate::model::wire;
use crate::store::hits::{HitFilter, Judged, StoredHit};
use crate::store::people::{Clicker, SentMessage, TracedMessage};
use crate::store::{Result, Store};

/// Rows that are looked at for a part.
const MOST_LOOKED_AT: i64 = 10_000;
/// Rows of a query.
const ROWS: i64 = 1_000;

/// Who is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WhichPeople)]
pub enum What {
    /// Whose message left any trace.
    Opened,
    /// Whose message was clicked; with a link, which browsers followed it.
    Clicked,
    /// Which browsers clicked.
    Clickers,
    /// Whose message led to an order.
    Bought,
    /// Whose message left no trace.
    Nothing,
    /// Who followed a link to unsubscribe, or did.
    OptedOut,
    /// What machines did.
    Machine,
}

impl What {
    /// Whether one link can be asked about.
    pub fn may_have_link(self) -> bool {
        matches!(self, Self::Clicked | Self::Clickers | Self::Machine)
    }
}

/// Which part of whom.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Who.
    pub what: What,
    /// Through one link.
    pub link: Option<LinkId>,
    /// Where the part before ended.
    pub after: Option<Place>,
    /// Most rows.
    pub limit: i64,
}

/// A place in the order of a list: the number of a message or a hit, or a browser and a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Of a message or a hit.
    Number(i64),
    /// Of a browser.
    Visitor(Uuid, i64),
}

impl Place {
    /// Reads what [`Self::text`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('.') {
            Some((visitor, link)) => Some(Self::Visitor(
                Uuid::try_parse(visitor).ok()?,
                link.parse().ok()?,
            )),
            None => text.parse().ok().map(Self::Number),
        }
    }

    /// As people pass it on.
    pub fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Visitor(visitor, link) => format!("{}.{link}", visitor.simple()),
        }
    }

    fn number(place: Option<Self>) -> i64 {
        match place {
            Some(Self::Number(number)) => number,
            _ => i64::MIN,
        }
    }

    fn visitor(place: Option<Self>) -> (Uuid, i64) {
        match place {
            Some(Self::Visitor(visitor, link)) => (visitor, link),
            _ => (Uuid::nil(), i64::MIN),
        }
    }
}

impl PartialSchema for Place {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^(-?[0-9]{1,18}|[0-9a-f]{32}[.][0-9]{1,18})$"))
            .description(Some(
                "The `next` of an earlier answer. What it holds may change.",
            ))
            .into()
    }
}

impl ToSchema for Place {
    fn name() -> Cow<'static, str> {
        "PeopleCursor".into()
    }
}

/// Somebody, or something that somebody did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Someone {
    /// The message.
    #[serde(with = "wire::option_id")]
    pub broadlog_id: Option<BroadlogId>,
    /// Whose it is, as far as that is known.
    pub contact_id: Option<ContactId>,
    /// Of the contact, as it is now.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
    /// The browser.
    pub visitor_id: Option<VisitorId>,
    /// Through which link.
    #[serde(with = "wire::option_id")]
    pub link_id: Option<LinkId>,
    /// The first of what is asked for.
    #[serde(with = "wire::option_time")]
    pub at: Option<Micros>,
    /// What was done.
    pub kind: Option<Kind>,
    /// By whom, as it is judged.
    pub verdict: Option<String>,
    /// Why it is judged so.
    pub reason: Option<String>,
    /// How often the message was opened.
    pub opens: Option<i64>,
    /// How often its links were followed.
    pub clicks: Option<i64>,
    /// How many pages were seen.
    pub pages: Option<i64>,
    /// How many orders were made.
    pub transactions: Option<i64>,
}

impl From<TracedMessage> for Someone {
    fn from(message: TracedMessage) -> Self {
        let times = [message.first_open_at, message.first_click_at];
        Self {
            broadlog_id: Some(message.broadlog_id),
            contact_id: message.contact_id,
            at: times.into_iter().flatten().min(),
            opens: Some(message.opens),
            clicks: Some(message.clicks),
            pages: Some(message.pages),
            transactions: Some(message.transactions),
            ..Self::default()
        }
    }
}

impl From<SentMessage> for Someone {
    fn from(message: SentMessage) -> Self {
        Self {
            broadlog_id: Some(message.id),
            contact_id: Some(message.contact_id),
            ..Self::default()
        }
    }
}

impl From<Clicker> for Someone {
    fn from(clicker: Clicker) -> Self {
        Self {
            contact_id: clicker.contact_id,
            visitor_id: Some(clicker.visitor_id),
            link_id: Some(clicker.link_id).filter(|id| id.0 != 0),
            at: Some(clicker.first_at),
            ..Self::default()
        }
    }
}

impl From<StoredHit> for Someone {
    fn from(hit: StoredHit) -> Self {
        Self {
            broadlog_id: hit.broadlog_id.map(BroadlogId),
            contact_id: hit.contact_id.map(ContactId),
            visitor_id: hit.visitor_id.map(VisitorId),
            link_id: hit.link_id.map(LinkId),
            at: Some(hit.received_at),
            kind: Kind::parse(&hit.kind),
            verdict: Some(hit.verdict),
            reason: hit.reason,
            ..Self::default()
        }
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct People {
    /// There may be none although more come further on.
    pub people: Vec<Someone>,
    /// Where the next part goes on; none where this was the last.
    pub next: Option<Place>,
}

/// Reads a part.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_people(store: &Store, wanted: &Wanted) -> Result<People> {
    let mut part = match (wanted.what, wanted.link) {
        (What::Opened, _) => traced(store, wanted, |_| true).await?,
        (What::Clicked, None) => traced(store, wanted, |message| message.clicks > 0).await?,
        (What::Bought, _) => traced(store, wanted, |message| message.transactions > 0).await?,
        (What::Nothing, _) => untraced(store, wanted).await?,
        (What::Clicked | What::Clickers, _) => clickers(store, wanted).await?,
        (What::OptedOut, _) => hits(store, wanted, Judged::Counted, Some(Kind::Optout)).await?,
        (What::Machine, _) => hits(store, wanted, Judged::Machine, None).await?,
    };
    name(store, &mut part).await?;
    Ok(part)
}

/// Reads a part of the browsers that followed a link which belongs to no delivery.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn read_clickers_of(
    store: &Store,
    link: LinkId,
    after: Option<Place>,
    limit: i64,
) -> Result<People> {
    let after = Place::visitor(after).0;
    let clickers = store.link_clickers(link, after, limit).await?;
    let last = clickers.last().filter(|_| clickers.len() as i64 == limit);
    let next = last.map(|clicker| Place::Visitor(clicker.visitor_id.0, link.0));
    let mut part = People {
        people: clickers.into_iter().map(Into::into).collect(),
        next,
    };
    name(store, &mut part).await?;
    Ok(part)
}

/// Fills in who contacts are by now.
async fn name(store: &Store, part: &mut People) -> Result<()> {
    let ids: BTreeSet<ContactId> = part
        .people
        .iter()
        .filter_map(|one| one.contact_id)
        .collect();
    let known = store.known_contacts(ids).await?;
    for one in &mut part.people {
        // Who was erased is nobody.
        one.contact_id = one.contact_id.filter(|id| !id.0.is_nil());
        if let Some(contact) = one.contact_id.and_then(|id| known.get(&id)) {
            one.contact_id = Some(contact.id);
            one.fields.clone_from(&contact.fields);
        }
    }
    Ok(())
}

/// What a part is collected in.
struct Collected {
    part: People,
    looked_at: i64,
    limit: i64,
}

impl Collected {
    fn new(wanted: &Wanted) -> Self {
        Self {
            part: People {
                people: Vec::new(),
                next: wanted.after,
            },
            looked_at: 0,
            limit: wanted.limit,
        }
    }

    /// A row was looked at; whether there is room for another.
    fn take(&mut self, someone: Option<Someone>, place: Place) -> bool {
        self.part.people.extend(someone);
        self.part.next = Some(place);
        self.looked_at += 1;
        (self.part.people.len() as i64) < self.limit
    }

    /// Whether others are to have a turn.
    fn is_long(&self) -> bool {
        self.looked_at >= MOST_LOOKED_AT
    }

    fn last(mut self) -> People {
        self.part.next = None;
        self.part
    }
}

/// Reads rows from a place on, and keeps those that are wanted: `row` gets the place of the one
/// before.
async fn collect<R, F: Future<Output = Result<Vec<R>>>>(
    wanted: &Wanted,
    read: impl Fn(Option<Place>) -> F,
    row: impl Fn(Option<Place>, R) -> (Place, Option<Someone>),
) -> Result<People> {
    let mut all = Collected::new(wanted);
    while !all.is_long() {
        let rows = read(all.part.next).await?;
        let is_last = (rows.len() as i64) < ROWS;
        for found in rows {
            let (place, someone) = row(all.part.next, found);
            if !all.take(someone, place) {
                return Ok(all.part);
            }
        }
        if is_last {
            return Ok(all.last());
        }
    }
    Ok(all.part)
}

async fn traced(
    store: &Store,
    wanted: &Wanted,
    takes: impl Fn(&TracedMessage) -> bool,
) -> Result<People> {
    let read = |after| store.traced_messages(wanted.delivery, Place::number(after), ROWS);
    collect(wanted, read, |_, message| {
        let place = Place::Number(message.broadlog_id.0);
        (place, takes(&message).then(|| message.into()))
    })
    .await
}

async fn untraced(store: &Store, wanted: &Wanted) -> Result<People> {
    let read = |after| store.sent_messages(wanted.delivery, Place::number(after), ROWS);
    collect(wanted, read, |_, message| {
        let place = Place::Number(message.id.0);
        (place, (!message.is_traced).then(|| message.into()))
    })
    .await
}

/// Of all links each browser once, with the first of its links.
async fn clickers(store: &Store, wanted: &Wanted) -> Result<People> {
    let read = |after| store.clickers(wanted.delivery, Place::visitor(after), ROWS);
    collect(wanted, read, |before, clicker| {
        let place = Place::Visitor(clicker.visitor_id.0, clicker.link_id.0);
        let is_wanted = match wanted.link {
            Some(link) => clicker.link_id == link,
            None => clicker.visitor_id.0 != Place::visitor(before).0,
        };
        (place, is_wanted.then(|| clicker.into()))
    })
    .await
}

async fn hits(
    store: &Store,
    wanted: &Wanted,
    judged: Judged,
    kind: Option<Kind>,
) -> Result<People> {
    let filter = HitFilter {
        delivery: Some(wanted.delivery),
        kind,
        link: wanted.link,
        judged: Some(judged),
        ..HitFilter::default()
    };
    let until = store.last_seq().await?;
    let after = Place::number(wanted.after).max(0);
    let page = store
        .hits_between(&filter, after, until, wanted.limit)
        .await?;
    let next = (!page.is_last()).then_some(Place::Number(page.reached));
    Ok(People {
        people: page.hits.into_iter().map(Into::into).collect(),
        next,
    })
}

/// Columns of a CSV beside those of the contact's unique fields, which stand after the first two.
const COLUMNS: [&str; 12] = [
    "broadlog_id",
    "contact_id",
    "visitor_id",
    "link_id",
    "at",
    "kind",
    "verdict",
    "reason",
    "opens",
    "clicks",
    "pages",
    "transactions",
];

impl People {
    /// The lines of a CSV, with those fields of contacts that identify them. Fields and texts are
    /// from outside: none of them is a formula.
    pub fn csv(&self, unique: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        let fields: Vec<String> = unique.iter().map(|name| format!("fields.{name}")).collect();
        let names = COLUMNS[..2]
            .iter()
            .copied()
            .chain(fields.iter().map(String::as_str))
            .chain(COLUMNS[2..].iter().copied());
        write_csv(names.map(Cell::Text), &mut out);
        for one in &self.people {
            let texts: BTreeMap<&String, String> = unique
                .iter()
                .filter_map(|name| match one.fields.get(name)? {
                    Value::String(text) => Some((name, text.clone())),
                    other => Some((name, other.to_string())),
                })
                .collect();
            let who = [
                Cell::number(one.broadlog_id.map(|id| id.0)),
                one.contact_id.map_or(Cell::None, |id| Cell::Uuid(id.0)),
            ];
            let fields = unique
                .iter()
                .map(|name| texts.get(name).map_or(Cell::None, |text| Cell::Text(text)));
            let what = [
                one.visitor_id.map_or(Cell::None, |id| Cell::Uuid(id.0)),
                Cell::number(one.link_id.map(|id| id.0)),
                Cell::time(one.at),
                one.kind
                    .map_or(Cell::None, |kind| Cell::Text(kind.as_str())),
                Cell::text(&one.verdict),
                Cell::text(&one.reason),
                Cell::number(one.opens),
                Cell::number(one.clicks),
                Cell::number(one.pages),
                Cell::number(one.transactions),
            ];
            write_csv(who.into_iter().chain(fields).chain(what), &mut out);
        }
        out
    }

    /// A line of JSON each.
    pub fn ndjson(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for one in &self.people {
            write_json(one, &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_told() {
        let visitor = Uuid::from_u128(7);
        for place in [
            Place::Number(-3),
            Place::Number(i64::MAX),
            Place::Visitor(visitor, 0),
            Place::Visitor(visitor, i64::MAX),
        ] {
            assert_eq!(Place::parse(&place.text()), Some(place));
        }
        for wrong in ["", "x", "1.5", ".", "7.", "9223372036854775808"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        let text = |text: &str| Value::from(text);
        let people = People {
            people: vec![Someone {
                fields: Map::from_iter([("email".to_owned(), text("=cmd|' /C calc'!A0"))]),
                reason: Some("+1,2".to_owned()),
                clicks: Some(-1),
                ..Someone::default()
            }],
            next: None,
        };
        let csv = String::from_utf8(people.csv(&["email".to_owned()])).unwrap();
        let expected = "broadlog_id,contact_id,fields.email,visitor_id,link_id,at,kind,verdict,\
            reason,opens,clicks,pages,transactions\n\
            ,,\"'=cmd|' /C calc'!A0\",,,,,,\"'+1,2\",,-1,,\n";
        assert_eq!(csv, expected);
    }
}

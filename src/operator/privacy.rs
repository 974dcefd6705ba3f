//! What a person may ask for: everything that is stored of it, and that it be erased.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::export::{HitLine, write_json};
use super::wire::ContactView;
use crate::model::clock::{Clock, Micros};
use crate::model::hit::{BroadlogId, ContactId, VisitorId};
use crate::model::wire;
use crate::projection::{PersonNames, quarantined_hits_of};
use crate::store::erasures::Erasure;
use crate::store::hits::{HitFilter, Whose};
use crate::store::persons::Person;
use crate::store::{Result, Store};

/// The receipt of an erasure. It does not say whose it was.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Erasure)]
pub struct ErasureView {
    #[schema(value_type = String, format = "uuid")]
    id: Uuid,
    #[serde(with = "wire::time")]
    begun_at: Micros,
    /// When all was done; null: not yet.
    #[serde(with = "wire::option_time")]
    ended_at: Option<Micros>,
    asked_by: String,
    /// Browsers.
    visitors: i64,
    /// Messages that were sent to it.
    messages: i64,
    /// Hits that lost their person.
    hits: i64,
    /// Orders by their numbers.
    orders: i64,
    /// Records in quarantine.
    quarantined: i64,
    /// Other rows, such as answers that were kept for an `Idempotency-Key`.
    others: i64,
}

impl From<Erasure> for ErasureView {
    fn from(erasure: Erasure) -> Self {
        Self {
            id: erasure.id,
            begun_at: erasure.begun_at,
            ended_at: erasure.ended_at,
            asked_by: erasure.asked_by,
            visitors: erasure.visitors,
            messages: erasure.messages,
            hits: erasure.hits,
            orders: erasure.orders,
            quarantined: erasure.quarantined,
            others: erasure.others,
        }
    }
}

/// Begins to erase the person of an id; an [`Eraser`](crate::projection::Eraser) does the rest. The
/// receipt of one that was erased before is told again. `None`: no person has or had this id.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn erase_person(
    store: &Store,
    clock: &Clock,
    id: Uuid,
    asked_by: &str,
) -> Result<Option<Erasure>> {
    let now = clock.now();
    if let Some(person) = store.find_person(id).await? {
        let begun = store.begin_erasure(person, asked_by, now, || clock.new_id(now));
        if let Some(begun) = begun.await? {
            return Ok(Some(begun));
        }
    }
    store.erasure_of(id).await
}

/// Everything stored of a person, line by line: `{"table": …, …}`.
pub struct PersonData {
    store: Store,
    whose: Whose,
    next: Next,
    messages: Vec<BroadlogId>,
    names: PersonNames,
}

/// What is told next.
enum Next {
    Contact(Option<ContactId>),
    Messages(i64),
    /// Above this number.
    Hits(i64),
    Quarantine,
    End,
}

/// Hits a chunk.
const PAGE: i64 = 1_000;

impl PersonData {
    /// What is stored of a person.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn open(store: Store, unique: &[String], person: Person) -> Result<Self> {
        let whose = store.hits_of(person).await?;
        let mut names = PersonNames {
            unique: unique.to_vec(),
            ..PersonNames::default()
        };
        let contact = match (person, &whose) {
            (Person::Contact(id), Whose::Contacts(ids)) => {
                names.contacts = ids.clone();
                Some(id)
            }
            (Person::Contact(id), Whose::Visitor(_)) => Some(id),
            (Person::Anonymous(id), _) => {
                names.visitors = vec![id];
                None
            }
        };
        Ok(Self {
            store,
            whose,
            next: Next::Contact(contact),
            messages: Vec::new(),
            names,
        })
    }

    /// The next lines; `None` after the last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let mut lines = Vec::new();
        self.next = match self.next {
            Next::Contact(Some(id)) => {
                self.write_contact(id, &mut lines).await?;
                Next::Messages(i64::MIN)
            }
            Next::Contact(None) => Next::Hits(0),
            Next::Messages(after) => self.write_messages(after, &mut lines).await?,
            Next::Hits(after) => self.write_hits(after, &mut lines).await?,
            Next::Quarantine => {
                self.names.messages = std::mem::take(&mut self.messages);
                for (record, hit) in quarantined_hits_of(&self.store, &self.names).await? {
                    let told = json!({
                        "table": "quarantine",
                        "id": record.id,
                        "quarantined_at": record.quarantined_at.rfc3339(),
                        "reason": record.reason,
                        "hit": hit,
                    });
                    write_json(&told, &mut lines);
                }
                Next::End
            }
            Next::End => return Ok(None),
        };
        Ok(Some(lines))
    }

    async fn write_contact(&mut self, id: ContactId, lines: &mut Vec<u8>) -> Result<()> {
        let Some(contact) = self.store.contact(id).await? else {
            return Ok(());
        };
        #[derive(Serialize)]
        struct Line<'c> {
            table: &'static str,
            #[serde(flatten)]
            contact: ContactView<'c>,
        }
        let line = Line {
            table: "contacts",
            contact: (&contact).into(),
        };
        write_json(&line, lines);
        let values = self.store.values_of(id).await?;
        for (field, value) in &values {
            let line = json!({ "table": "contact_keys", "field": field, "value": value });
            write_json(&line, lines);
        }
        self.names.values = values;
        let visitors = self.store.visitors_of(id).await?;
        for (id, changed_at) in &visitors {
            let changed_at = changed_at.rfc3339();
            let line = json!({ "table": "visitors", "id": id, "changed_at": changed_at });
            write_json(&line, lines);
        }
        self.names.visitors = visitors.into_iter().map(|(id, _)| VisitorId(id)).collect();
        Ok(())
    }

    async fn write_messages(&mut self, after: i64, lines: &mut Vec<u8>) -> Result<Next> {
        let contacts = &self.names.contacts;
        let Some((messages, until)) = self.store.messages_sent_to(contacts, after).await? else {
            return Ok(Next::Hits(0));
        };
        for message in &messages {
            let line = json!({
                "table": "broadlogs",
                "id": wire_number(message.id.0),
                "delivery_id": wire_number(message.delivery_id.0),
                "format": message.format,
                "created_at": message.created_at.rfc3339(),
                "first_open_at": message.first_open_at.map(Micros::rfc3339),
                "first_click_at": message.first_click_at.map(Micros::rfc3339),
                "opens": message.opens,
                "clicks": message.clicks,
                "pages": message.pages,
            });
            write_json(&line, lines);
        }
        let ids: Vec<BroadlogId> = messages.iter().map(|message| message.id).collect();
        for (key, id) in self.store.vendor_names_of(&ids).await? {
            let id = wire_number(id.0);
            let line = json!({ "table": "message_keys", "key": key, "broadlog_id": id });
            write_json(&line, lines);
        }
        self.messages.extend(ids);
        Ok(Next::Messages(until))
    }

    async fn write_hits(&mut self, after: i64, lines: &mut Vec<u8>) -> Result<Next> {
        #[derive(Serialize)]
        struct Line<'h> {
            table: &'static str,
            #[serde(flatten)]
            hit: HitLine<'h>,
        }
        let filter = HitFilter {
            whose: Some(self.whose.clone()),
            ..HitFilter::default()
        };
        let store = &self.store;
        let page = store.hits_between(&filter, after, i64::MAX, PAGE).await?;
        let mut orders = BTreeSet::new();
        for hit in &page.hits {
            let line = Line {
                table: "hits",
                hit: HitLine(hit),
            };
            write_json(&line, lines);
            orders.extend(hit.order_id.clone().map(|order| (order, hit.site.clone())));
        }
        for order in store.orders_of(&Vec::from_iter(orders)).await? {
            let line = json!({
                "table": "orders",
                "order_id": order.order_id,
                "site": order.site,
                "currency": order.currency,
                "revenue": order.revenue.to_string(),
                "counted_at": order.counted_at.rfc3339(),
            });
            write_json(&line, lines);
        }
        Ok(match page.is_last() {
            true => Next::Quarantine,
            false => Next::Hits(page.reached),
        })
    }
}

/// A number up to 2^53, a string above.
fn wire_number(id: i64) -> Value {
    match id.unsigned_abs() <= 1 << 53 {
        true => json!(id),
        false => json!(id.to_string()),
    }
}

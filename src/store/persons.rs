//! Contacts as the API and exports show them. Any id that ever stood for a person finds it: the
//! contact's own, one merged into it, a browser's.

use std::collections::{BTreeMap, HashMap};

use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::types::Json;
use uuid::Uuid;

use super::hits::Whose;
use super::scan::comparable;
use super::{Bulk, Either, Store, Tags};
use crate::model::clock::Micros;
use crate::model::hit::{ContactId, VisitorId};
use crate::{both, fetch_bulk, from_row};

/// Maximum number of visitors shown for one contact, latest first: a sender that makes up a visitor
/// for every hit must not fill a response.
const MOST_VISITORS: i64 = 1_000;
/// A page of contacts ends early if their fields are this long.
const MOST_PAGE_BYTES: usize = 1 << 20;
/// Contacts that are looked at for a part of a search, and how long their fields may be.
const MOST_LOOKED_AT: usize = 10_000;
const MOST_LOOKED_BYTES: usize = 4 << 20;
/// Contacts of a query of it.
const ROWS: i64 = 500;
/// Maximum number of contacts whose visitors are queried at once: each may have as many as are
/// shown.
const MOST_WITH_VISITORS: usize = 100;

/// Who an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// A contact, the surviving one.
    Contact(ContactId),
    /// A browser that has left hits but no name.
    Anonymous(VisitorId),
}

/// A contact with all that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactRecord {
    /// The id that survives.
    pub id: ContactId,
    /// Ids of contacts that were merged into it.
    pub former_ids: Vec<ContactId>,
    /// Fields by name.
    pub fields: BTreeMap<String, Value>,
    /// Tags.
    pub tags: Vec<String>,
    /// Its browsers, latest first, at most 1,000.
    pub visitor_ids: Vec<VisitorId>,
    /// When it was first seen.
    pub created_at: Micros,
    /// When its fields, tags or ids last changed.
    pub changed_at: Micros,
    /// Since when it has been unsubscribed.
    pub opted_out_at: Option<Micros>,
}

from_row!(ContactRecord, row => {
    id, created_at, changed_at, opted_out_at,
} {
    former_ids: Vec::new(),
    fields: row.try_get::<Json<_>, _>("fields")?.0,
    tags: row.try_get::<Tags, _>("tags")?.0,
    visitor_ids: Vec::new(),
});

/// Which contacts. All by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactFilter {
    /// Each word of it stands in a field, whatever its case.
    pub text: Option<String>,
    /// They have this tag.
    pub tag: Option<String>,
    /// Whether they have unsubscribed.
    pub has_opted_out: Option<bool>,
}

impl ContactFilter {
    fn takes(&self, contact: &ContactRecord, text: Option<&str>) -> bool {
        let has = |tag: &String| contact.tags.contains(tag);
        let opted_out = contact.opted_out_at.is_some();
        self.tag.as_ref().is_none_or(has)
            && self.has_opted_out.is_none_or(|wanted| wanted == opted_out)
            && text.is_none_or(|text| {
                let stands_in = |word: &str, value: &Value| match value {
                    Value::String(value) => value.to_lowercase().contains(word),
                    value => value.to_string().contains(word),
                };
                // A name is two fields of most contacts.
                text.split_whitespace()
                    .all(|word| contact.fields.values().any(|value| stands_in(word, value)))
            })
    }
}

impl Store {
    /// Whom an id stands for; `None` if neither a contact nor a hit has it.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn find_person(&self, id: Uuid) -> sqlx::Result<Option<Person>> {
        let sql = "select coalesce(merged_into, id) from contacts
                   where id = $1 or id = (select contact_id from visitors where id = $1) limit 1";
        let contact: Option<Uuid> = both!(self.reader(), pool => sqlx::query_scalar(sql).bind(id).fetch_optional(pool).await)?;
        if let Some(contact) = contact {
            return Ok(Some(Person::Contact(ContactId(contact))));
        }
        let sql = "select seq from hits where visitor_id = $1 and contact_id is null limit 1";
        let hit: Option<i64> = both!(self.reader(), pool => sqlx::query_scalar(sql).bind(id).fetch_optional(pool).await)?;
        Ok(hit.map(|_| Person::Anonymous(VisitorId(id))))
    }

    /// The contact that has a value of a unique field; the value is as `identity::normalise`
    /// returns it.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn contact_by_key(
        &self,
        field: &str,
        value: &str,
    ) -> sqlx::Result<Option<ContactId>> {
        let sql = "select contact_id from contact_keys where field = $1 and value = $2";
        both!(self.reader(), pool => sqlx::query_scalar(sql).bind(field).bind(value).fetch_optional(pool).await)
    }

    /// A contact by its surviving id.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn contact(&self, id: ContactId) -> sqlx::Result<Option<ContactRecord>> {
        let sql = "select id, fields, tags, created_at, changed_at,
                   (select o.opted_out_at from opt_outs o where o.contact_id = contacts.id)
                   as opted_out_at
                   from contacts where id = $1";
        let found: Option<ContactRecord> =
            both!(self.reader(), pool => sqlx::query_as(sql).bind(id).fetch_optional(pool).await)?;
        let Some(mut contact) = found else {
            return Ok(None);
        };
        contact.former_ids = self.former_ids(id).await?;
        let sql =
            "select id from visitors where contact_id = $1 order by changed_at desc, id limit $2";
        contact.visitor_ids = both!(self.reader(), pool => sqlx::query_scalar(sql).bind(id).bind(MOST_VISITORS).fetch_all(pool).await)?;
        Ok(Some(contact))
    }

    /// The tags that contacts have, in their order, from behind one on, and how many contacts have
    /// each. Scans every contact.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn contact_tags(
        &self,
        after: Option<&str>,
        limit: i64,
    ) -> sqlx::Result<Vec<(String, i64)>> {
        let after = after.unwrap_or_default();
        match self.reader() {
            Either::Postgres(pool) => {
                // As SQLite sorts them.
                let sql = "select tag, count(*) from contacts, unnest(tags) as tag
                           where merged_into is null and tag > $1 collate \"C\"
                           group by tag order by tag collate \"C\" limit $2";
                sqlx::query_as(sql)
                    .bind(after)
                    .bind(limit)
                    .fetch_all(pool)
                    .await
            }
            Either::Sqlite(pool) => {
                let sql = "select t.value, count(*) from contacts c, json_each(c.tags) t
                           where c.merged_into is null and t.value > $1
                           group by t.value order by t.value limit $2";
                sqlx::query_as(sql)
                    .bind(after)
                    .bind(limit)
                    .fetch_all(pool)
                    .await
            }
        }
    }

    /// The names of all fields that contacts have, sorted. Scans every contact.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn contact_fields(&self) -> sqlx::Result<Vec<String>> {
        let mut names: Vec<String> = match self.reader() {
            Either::Postgres(pool) => {
                let sql = "select distinct jsonb_object_keys(fields) from contacts where \
                    merged_into is null";
                sqlx::query_scalar(sql).fetch_all(pool).await?
            }
            Either::Sqlite(pool) => {
                let sql = "select distinct f.key from contacts c, json_each(c.fields) f where \
                    c.merged_into is null";
                sqlx::query_scalar(sql).fetch_all(pool).await?
            }
        };
        // Here, as the databases sort texts each in their own way.
        names.sort_unstable();
        Ok(names)
    }

    /// Contacts by ascending id, above `after`, at most `limit` and at least one if there are any.
    /// Merged ones are former ids of others.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn contacts_after(
        &self,
        after: ContactId,
        limit: i64,
    ) -> sqlx::Result<Vec<ContactRecord>> {
        let sql = "select id, fields, tags, created_at, changed_at,
                   (select o.opted_out_at from opt_outs o where o.contact_id = contacts.id)
                   as opted_out_at
                   from contacts
                   where id > $1 and merged_into is null order by id limit $2";
        let (mut contacts, mut bytes) = (Vec::new(), 0);
        both!(self.reader(), pool => {
            let mut rows = sqlx::query_as(sql).bind(after).bind(limit).fetch(pool);
            while let Some(contact) = rows.try_next().await? {
                let contact: ContactRecord = contact;
                bytes += contact.tags.iter().map(String::len).sum::<usize>();
                bytes += fields_bytes(&contact.fields);
                contacts.push(contact);
                if bytes > MOST_PAGE_BYTES {
                    break;
                }
            }
        });
        for some in contacts.chunks_mut(MOST_WITH_VISITORS) {
            self.add_ids(some).await?;
        }
        Ok(contacts)
    }

    /// Contacts by falling ids, which are the newest first; from below `before` on. A part ends
    /// early where so many contacts were looked at that others are to have a turn; the id after
    /// which the next goes on comes along, where this was not all.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn list_contacts(
        &self,
        filter: &ContactFilter,
        before: Option<ContactId>,
        limit: i64,
    ) -> sqlx::Result<(Vec<ContactRecord>, Option<ContactId>)> {
        let text = comparable(filter.text.as_deref());
        let sql = "select id, fields, tags, created_at, changed_at,
                   (select o.opted_out_at from opt_outs o where o.contact_id = contacts.id)
                   as opted_out_at
                   from contacts
                   where id < $1 and merged_into is null order by id desc limit $2";
        let mut below = before.unwrap_or(ContactId(Uuid::max()));
        let (mut found, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
        let is_last = loop {
            let rows: Vec<ContactRecord> = both!(self.reader(), pool => sqlx::query_as(sql).bind(below).bind(ROWS).fetch_all(pool).await)?;
            let is_last = (rows.len() as i64) < ROWS;
            let mut is_full = false;
            for contact in rows {
                if is_full {
                    break;
                }
                looked_at += 1;
                below = contact.id;
                bytes += fields_bytes(&contact.fields);
                if filter.takes(&contact, text.as_deref()) {
                    found.push(contact);
                }
                is_full = found.len() as i64 == limit || bytes > MOST_LOOKED_BYTES;
            }
            if is_full || is_last || looked_at >= MOST_LOOKED_AT {
                break is_last && !is_full;
            }
        };
        for some in found.chunks_mut(MOST_WITH_VISITORS) {
            self.add_ids(some).await?;
        }
        Ok((found, (!is_last).then_some(below)))
    }

    /// Fills in former ids and visitors.
    async fn add_ids(&self, contacts: &mut [ContactRecord]) -> sqlx::Result<()> {
        let ids: Vec<Uuid> = contacts.iter().map(|contact| contact.id.0).collect();
        let mut connection = match self.reader() {
            Either::Postgres(pool) => Either::Postgres(pool.acquire().await?),
            Either::Sqlite(pool) => Either::Sqlite(pool.acquire().await?),
        };
        let former: Vec<(Uuid, Uuid)> = fetch_bulk!(
            &mut connection,
            Bulk::new().uuid("id", ids.iter().copied()),
            "select c.merged_into, c.id from {rows} join contacts c on c.merged_into = rows.id \
            order by c.created_at, c.id",
            row => (row.try_get("merged_into")?, row.try_get("id")?)
        )?;
        let visitors: Vec<(Uuid, Uuid)> = fetch_bulk!(
            &mut connection,
            Bulk::new().uuid("id", ids.iter().copied()),
            "select contact_id, id from (
               select v.contact_id, v.id, row_number() over (partition by v.contact_id
               order by v.changed_at desc, v.id) as place
               from {rows} join visitors v on v.contact_id = rows.id
             ) as ranked where place <= 1000 order by contact_id, place",
            row => (row.try_get("contact_id")?, row.try_get("id")?)
        )?;
        let (mut former, mut visitors) = (by_contact(former), by_contact(visitors));
        for contact in contacts {
            let of =
                |ids: &mut HashMap<Uuid, Vec<Uuid>>| ids.remove(&contact.id.0).unwrap_or_default();
            contact.former_ids = of(&mut former).into_iter().map(ContactId).collect();
            contact.visitor_ids = of(&mut visitors).into_iter().map(VisitorId).collect();
        }
        Ok(())
    }

    /// The hits of a person: a merge leaves earlier hits under the former id.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn hits_of(&self, person: Person) -> sqlx::Result<Whose> {
        Ok(match person {
            Person::Contact(id) => {
                let mut ids = vec![id];
                ids.extend(self.former_ids(id).await?);
                Whose::Contacts(ids)
            }
            Person::Anonymous(id) => Whose::Visitor(id),
        })
    }

    async fn former_ids(&self, id: ContactId) -> sqlx::Result<Vec<ContactId>> {
        let sql = "select id from contacts where merged_into = $1 order by created_at, id";
        both!(self.reader(), pool => sqlx::query_scalar(sql).bind(id).fetch_all(pool).await)
    }
}

/// Ids by their contact, in the order in which they came.
fn by_contact(rows: Vec<(Uuid, Uuid)>) -> HashMap<Uuid, Vec<Uuid>> {
    let mut ids: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for (contact, id) in rows {
        ids.entry(contact).or_default().push(id);
    }
    ids
}

fn fields_bytes(fields: &BTreeMap<String, Value>) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(20, str::len))
        .sum()
}

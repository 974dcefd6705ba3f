//! Contacts as the API shows them. Any id that ever stood for a person finds it: the contact's own, one merged into it, a browser's.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::Row;
use sqlx::types::Json;
use uuid::Uuid;

use super::stored_hits::Whose;
use super::{Store, Tags};
use crate::both;
use crate::clock::Micros;
use crate::hit::{ContactId, VisitorId};

/// Most visitors told of one contact, latest first: a sender that makes up a visitor for every hit must not fill an answer.
const MOST_VISITORS: i64 = 1_000;

/// Who an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// A contact, the surviving one.
    Contact(ContactId),
    /// A browser that has left hits but no name.
    Anonymous(VisitorId),
}

/// A contact with all that is known of it.
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
}

impl Store {
    /// Whom an id stands for; none where neither a contact nor a hit has it.
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

    /// The contact that has a value of a unique field; the value is given as [`crate::identity::normalise`] makes it.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn contact_by_key(
        &self,
        field: &str,
        value: &str,
    ) -> sqlx::Result<Option<ContactId>> {
        let sql = "select contact_id from contact_keys where field = $1 and value = $2";
        both!(self.reader(), pool => sqlx::query_scalar(sql).bind(field).bind(value).fetch_optional(pool).await).map(|id| id.map(ContactId))
    }

    /// A contact by the id that survives.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn contact(&self, id: ContactId) -> sqlx::Result<Option<ContactRecord>> {
        let sql = "select fields, tags, created_at, changed_at from contacts where id = $1";
        let found = both!(self.reader(), pool => match sqlx::query(sql).bind(id.0).fetch_optional(pool).await? {
            Some(row) => Some(ContactRecord {
                id,
                former_ids: Vec::new(),
                fields: row.try_get::<Json<_>, _>(0)?.0,
                tags: row.try_get::<Tags, _>(1)?.0,
                visitor_ids: Vec::new(),
                created_at: row.try_get(2)?,
                changed_at: row.try_get(3)?,
            }),
            None => None,
        });
        let Some(mut contact) = found else {
            return Ok(None);
        };
        contact.former_ids = self.former_ids(id).await?;
        let sql =
            "select id from visitors where contact_id = $1 order by changed_at desc, id limit $2";
        let visitors: Vec<Uuid> = both!(self.reader(), pool => sqlx::query_scalar(sql).bind(id.0).bind(MOST_VISITORS).fetch_all(pool).await)?;
        contact.visitor_ids = visitors.into_iter().map(VisitorId).collect();
        Ok(Some(contact))
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
        let ids: Vec<Uuid> =
            both!(self.reader(), pool => sqlx::query_scalar(sql).bind(id.0).fetch_all(pool).await)?;
        Ok(ids.into_iter().map(ContactId).collect())
    }
}

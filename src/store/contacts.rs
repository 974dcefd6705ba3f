//! Reads and writes what identity needs: messages, visitors, unique values, contacts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;
use sqlx::Row;
use sqlx::types::Json;

use super::{Bulk, Either, Tags, Tx, Writes};
use crate::identity::{Binding, Changes, Contact, Draft, Known, Lookup, UniqueKey};
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, ContactId, DeliveryId, TagChange, VisitorId};
use crate::{execute_bulk, fetch_bulk};

/// Hits of a visitor that may contain data about its person from before it was known.
const MOST_DRAFTS: usize = 200;

impl Tx {
    /// Looks up everyone that is named, except for contacts' data. Merged contacts are followed to
    /// the survivor.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn load_known(&mut self, lookup: &Lookup<'_>) -> sqlx::Result<Known> {
        let message_keys = self
            .message_keys(lookup.message_keys.iter().copied())
            .await?;
        let mut broadlog_ids = lookup.broadlogs.clone();
        if !message_keys.is_empty() {
            broadlog_ids.extend(message_keys.values());
            broadlog_ids.sort_unstable();
            broadlog_ids.dedup();
        }
        let broadlogs = fetch_bulk!(
            self,
            Bulk::new().big("id", broadlog_ids.iter().map(|id| id.0)),
            "select b.id, coalesce(c.merged_into, b.contact_id) as contact_id, b.delivery_id
             from {rows} join broadlogs b on b.id = rows.id left join contacts c
             on c.id = b.contact_id and c.merged_into is not null",
            row => (
                BroadlogId(row.try_get("id")?),
                (ContactId(row.try_get("contact_id")?), DeliveryId(row.try_get("delivery_id")?)),
            )
        )?;
        let visitors = self.bindings(lookup.visitors.iter().copied()).await?;
        let keys = self.owners_of(lookup.keys.iter()).await?;
        let ids = fetch_bulk!(
            self,
            Bulk::new().uuid("id", lookup.ids.iter().map(|id| id.0)),
            "select c.id, coalesce(c.merged_into, c.id) as contact_id from {rows} join contacts c \
            on c.id = rows.id",
            row => (ContactId(row.try_get("id")?), ContactId(row.try_get("contact_id")?))
        )?;
        Ok(Known {
            broadlogs: HashMap::from_iter(broadlogs),
            message_keys,
            visitors,
            keys,
            ids: HashMap::from_iter(ids),
            contacts: HashMap::new(),
        })
    }

    /// Whose visitors are, those that are somebody's.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn bindings(
        &mut self,
        visitors: impl Iterator<Item = VisitorId>,
    ) -> sqlx::Result<HashMap<VisitorId, Binding>> {
        let bindings = fetch_bulk!(
            self,
            Bulk::new().uuid("id", visitors.map(|id| id.0)),
            "select v.id, v.contact_id, v.is_proved from {rows} join visitors v on v.id = rows.id",
            row => (
                VisitorId(row.try_get("id")?),
                Binding {
                    contact: ContactId(row.try_get("contact_id")?),
                    is_proved: row.try_get::<i64, _>("is_proved")? != 0,
                },
            )
        )?;
        Ok(HashMap::from_iter(bindings))
    }

    /// The contacts that have unique values.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn owners_of<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k UniqueKey> + Clone,
    ) -> sqlx::Result<HashMap<UniqueKey, ContactId>> {
        let owners = fetch_bulk!(
            self,
            Bulk::new()
                .text("field", keys.clone().map(|key| key.0.clone()))
                .text("value", keys.map(|key| key.1.clone())),
            "select k.field, k.value, k.contact_id from {rows} join contact_keys k on k.field = \
            rows.field and k.value = rows.value",
            row => (
                (row.try_get("field")?, row.try_get("value")?),
                ContactId(row.try_get("contact_id")?),
            )
        )?;
        Ok(HashMap::from_iter(owners))
    }

    /// Loads contacts' data.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn load_contacts(
        &mut self,
        ids: &BTreeSet<ContactId>,
    ) -> sqlx::Result<HashMap<ContactId, Contact>> {
        let contacts = fetch_bulk!(
            self,
            Bulk::new().uuid("id", ids.iter().map(|id| id.0)),
            "select c.id, c.fields, c.tags, c.made_by from {rows} join contacts c on c.id = \
            rows.id",
            row => (
                ContactId(row.try_get("id")?),
                Contact {
                    fields: texts(row.try_get::<Json<Value>, _>("fields")?.0),
                    tags: row.try_get::<Tags, _>("tags")?.0,
                    made_by: row.try_get::<Option<_>, _>("made_by")?.map(VisitorId),
                },
            )
        )?;
        Ok(HashMap::from_iter(contacts))
    }

    /// Writes what identity changed, in primary key order. Merges come last, and at once: they
    /// sweep up what the rest has written.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn save_changes(
        &mut self,
        changes: &Changes,
        now: Micros,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let contacts = || changes.contacts.values();
        let fields =
            contacts().map(|contact| serde_json::to_string(&contact.fields).unwrap_or_default());
        let rows = Bulk::new()
            .uuid("id", changes.contacts.keys().map(|id| id.0))
            .json("fields", fields)
            .tags("tags", contacts().map(|contact| contact.tags.clone()))
            .uuid_or_null(
                "made_by",
                contacts().map(|contact| contact.made_by.map(|id| id.0)),
            )
            .time("now", contacts().map(|_| now));
        let sql = "insert into contacts (id, fields, tags, made_by, created_at, changed_at)
             select id, fields, tags, made_by, now, now from {rows} where true
             on conflict (id) do update set fields = excluded.fields, tags = excluded.tags,
                 made_by = excluded.made_by, changed_at = excluded.changed_at";
        writes.add(self, rows, sql).await?;
        let rows = Bulk::new()
            .text("field", changes.keys.keys().map(|key| key.0.clone()))
            .text("value", changes.keys.keys().map(|key| key.1.clone()))
            .uuid("contact_id", changes.keys.values().map(|id| id.0));
        let sql = "insert into contact_keys (field, value, contact_id)
             select field, value, contact_id from {rows} where true
             on conflict (field, value) do nothing";
        writes.add(self, rows, sql).await?;
        let bindings = || changes.visitors.values();
        let rows = Bulk::new()
            .uuid("id", changes.visitors.keys().map(|id| id.0))
            .uuid("contact_id", bindings().map(|binding| binding.contact.0))
            .big(
                "is_proved",
                bindings().map(|binding| i64::from(binding.is_proved)),
            )
            .time("now", bindings().map(|_| now));
        let sql = "insert into visitors (id, contact_id, is_proved, changed_at)
             select id, contact_id, is_proved, now from {rows} where true
             on conflict (id) do update set contact_id = excluded.contact_id,
                 is_proved = excluded.is_proved, changed_at = excluded.changed_at";
        writes.add(self, rows, sql).await?;
        if changes.merges.is_empty() {
            return Ok(());
        }
        writes.send(self).await?;
        self.note_merges().await?;
        for (from, into) in &changes.merges {
            let bulk = || {
                Bulk::new()
                    .uuid("from_id", [from.0])
                    .uuid("into_id", [into.0])
            };
            for sql in [
                "update contacts set merged_into = rows.into_id from {rows} where id = \
                rows.from_id or merged_into = rows.from_id",
                "update contact_keys set contact_id = rows.into_id from {rows} where contact_id = \
                rows.from_id",
                "update visitors set contact_id = rows.into_id from {rows} where contact_id = \
                rows.from_id",
                "insert into opt_outs (contact_id, opted_out_at, delivery_id)
                 select rows.into_id, o.opted_out_at, o.delivery_id from {rows}
                 join opt_outs o on o.contact_id = rows.from_id where true
                 on conflict (contact_id) do nothing",
            ] {
                execute_bulk!(self, bulk(), sql)?;
            }
        }
        Ok(())
    }

    /// What anonymous hits of visitors said of their person, in the order of storage: the first
    /// [`MOST_DRAFTS`] of each visitor that said something. `public` are the fields that hits can
    /// name; fields stand in `extra` by their names, but what a click, an open or one of Adobe's
    /// requests has there is no field.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn drafts_of(
        &mut self,
        visitors: impl Iterator<Item = VisitorId>,
        public: &[String],
    ) -> sqlx::Result<HashMap<VisitorId, Vec<Draft>>> {
        let bulk = Bulk::new().uuid("visitor_id", visitors.map(|id| id.0));
        let sql = match self {
            // Fenced in like the completion itself: see `complete_history`.
            Either::Postgres(_) => {
                "select said.visitor_id, said.tags, said.extra from {rows} cross join lateral (
                   select visitor_id, seq, tags, extra from (
                     select visitor_id, seq, tags, extra, kind, dialect, verdict from hits
                     where visitor_id = rows.visitor_id and contact_id is null offset 0)
                     as anonymous
                   where verdict in ('human', 'suspect') and (cardinality(tags) > 0 or extra
                   is not null)
                     and dialect <> 'adobe' and (dialect = 'mautic' or kind not in ('click',
                     'open'))
                   order by seq limit 200) as said
                 order by said.seq"
            }
            // `cross join`: the visitors first. SQLite would walk through all hits for their order.
            Either::Sqlite(_) => {
                "select h.visitor_id, h.tags, h.extra from {rows} cross join hits h \
                 on h.visitor_id = rows.visitor_id and h.contact_id is null
                 where verdict in ('human', 'suspect') and (tags <> '[]' or extra is not null)
                   and dialect <> 'adobe' and (dialect = 'mautic' or kind not in ('click', 'open'))
                 order by h.seq"
            }
        };
        let said: Vec<(VisitorId, Draft)> = fetch_bulk!(self, bulk, sql, row => (
            VisitorId(row.try_get("visitor_id")?),
            draft_of(row.try_get("tags")?, row.try_get("extra")?, public),
        ))?;
        let mut drafts: HashMap<VisitorId, Vec<Draft>> = HashMap::new();
        for (visitor, draft) in said {
            let of_visitor = drafts.entry(visitor).or_default();
            if !draft.is_empty() && of_visitor.len() < MOST_DRAFTS {
                of_visitor.push(draft);
            }
        }
        drafts.retain(|_, drafts| !drafts.is_empty());
        Ok(drafts)
    }

    /// Gives visitors' earlier anonymous hits their person.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn complete_history(
        &mut self,
        completed: &BTreeMap<VisitorId, ContactId>,
        writes: &mut Writes,
    ) -> sqlx::Result<()> {
        let bulk = Bulk::new()
            .uuid("visitor_id", completed.keys().map(|id| id.0))
            .uuid("contact_id", completed.values().map(|id| id.0));
        let sql = match self {
            // Each visitor's hits are found by the index, one visitor after another. Joined without
            // more ado, Postgres would compare every visitor with every anonymous hit for as long
            // as it has no statistics of them.
            Either::Postgres(_) => {
                "update hits set contact_id = found.contact_id from (
                   select rows.contact_id, anonymous.seq, anonymous.received_at
                   from {rows} cross join lateral (
                     select seq, received_at from hits
                     where visitor_id = rows.visitor_id and contact_id is null offset 0)
                     as anonymous
                 ) as found
                 where hits.seq = found.seq and hits.received_at = found.received_at"
            }
            Either::Sqlite(_) => {
                "update hits set contact_id = rows.contact_id from {rows} \
                where hits.visitor_id = rows.visitor_id and hits.contact_id is null"
            }
        };
        writes.add(self, bulk, sql).await
    }

    /// Those of some idempotency keys (scope and key) that are taken.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) async fn idempotency_keys<'k>(
        &mut self,
        keys: impl Iterator<Item = (&'k str, &'k str)> + Clone,
    ) -> sqlx::Result<HashSet<(String, String)>> {
        let taken = fetch_bulk!(
            self,
            Bulk::new()
                .text("scope", keys.clone().map(|(scope, _)| scope.to_owned()))
                .text("key", keys.map(|(_, key)| key.to_owned())),
            "select k.scope, k.key from {rows} join idempotency_keys k on k.scope = rows.scope and \
            k.key = rows.key",
            row => (row.try_get("scope")?, row.try_get("key")?)
        )?;
        Ok(HashSet::from_iter(taken))
    }

    /// Takes free idempotency keys.
    ///
    /// # Errors
    /// The database refuses, as it does where a key is taken.
    pub(crate) async fn insert_idempotency_keys<'k>(
        &mut self,
        keys: impl Iterator<Item = (String, &'k str)>,
        now: Micros,
    ) -> sqlx::Result<()> {
        let (scopes, keys): (Vec<String>, Vec<&str>) = keys.unzip();
        execute_bulk!(
            self,
            Bulk::new()
                .text("scope", scopes)
                .time("now", keys.iter().map(|_| now))
                .text("key", keys.into_iter().map(str::to_owned)),
            "insert into idempotency_keys (scope, key, received_at) select scope, key, now from \
            {rows} where true"
        )
        .map(|_| ())
    }
}

fn draft_of(tags: Tags, extra: Option<Json<Value>>, public: &[String]) -> Draft {
    let tags = tags.0.into_iter().map(|tag| match tag.strip_prefix('-') {
        Some(name) => TagChange {
            name: name.to_owned(),
            remove: true,
        },
        None => TagChange {
            name: tag,
            remove: false,
        },
    });
    let fields = public.iter().filter_map(|name| {
        let value = extra.as_ref()?.get(name)?.as_str()?;
        Some((name.clone(), value.to_owned()))
    });
    Draft {
        fields: fields.collect(),
        tags: tags.collect(),
    }
}

fn texts(fields: Value) -> BTreeMap<String, String> {
    let Value::Object(fields) = fields else {
        return BTreeMap::new();
    };
    fields
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect()
}

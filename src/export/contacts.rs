//! Contacts as they are known now, by rising ids. Who was merged into somebody else has no line of his own: his id is among the former ids of
//! the one that is left.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use uuid::Uuid;

use super::cell::{Cell, write_csv};
use super::{Format, PAGE, write_json};
use crate::hit::ContactId;
use crate::store::persons::ContactRecord;
use crate::store::{Result, Store};

/// Columns that are no fields of the contact. The fields stand after the first.
const OWN: [&str; 6] = [
    "id",
    "tags",
    "former_ids",
    "visitor_ids",
    "created_at",
    "changed_at",
];

/// A contact as people get it: `{id, former_ids, fields, tags, visitor_ids, created_at, changed_at}`, of its visitors the latest 1,000.
#[derive(Clone, Copy, Debug)]
pub struct ContactLine<'c>(pub &'c ContactRecord);

impl Serialize for ContactLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let contact = self.0;
        let mut map = serializer.serialize_map(Some(7))?;
        map.serialize_entry("id", &contact.id)?;
        map.serialize_entry("former_ids", &contact.former_ids)?;
        map.serialize_entry("fields", &contact.fields)?;
        map.serialize_entry("tags", &contact.tags)?;
        map.serialize_entry("visitor_ids", &contact.visitor_ids)?;
        map.serialize_entry("created_at", &Cell::Time(contact.created_at))?;
        map.serialize_entry("changed_at", &Cell::Time(contact.changed_at))?;
        map.end()
    }
}

impl ContactLine<'_> {
    fn write_csv(self, fields: &[String], out: &mut Vec<u8>) {
        let contact = self.0;
        let former: Vec<String> = contact.former_ids.iter().map(ToString::to_string).collect();
        let visitors: Vec<String> = contact
            .visitor_ids
            .iter()
            .map(ToString::to_string)
            .collect();
        let values: Vec<Option<Cow<'_, str>>> = fields
            .iter()
            .map(|name| match contact.fields.get(name)? {
                Value::String(text) => Some(Cow::Borrowed(text.as_str())),
                other => Some(Cow::Owned(other.to_string())),
            })
            .collect();
        let values = values
            .iter()
            .map(|value| value.as_deref().map_or(Cell::None, Cell::Text));
        let others = [
            Cell::Texts(&contact.tags),
            Cell::Texts(&former),
            Cell::Texts(&visitors),
            Cell::Time(contact.created_at),
            Cell::Time(contact.changed_at),
        ];
        let id = [Cell::Uuid(contact.id.0)];
        write_csv(id.into_iter().chain(values).chain(others), out);
    }
}

/// How far an export of contacts is.
#[derive(Debug)]
pub struct ContactStream {
    store: Store,
    format: Format,
    /// Fields that have a column, in the order of their names.
    fields: Vec<String>,
    after: ContactId,
    told: u64,
    is_begun: bool,
    is_done: bool,
}

impl ContactStream {
    /// For a CSV all contacts are looked at for the names of their fields, which become its columns; a field that comes up later has none.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn open(store: Store, format: Format) -> Result<Self> {
        let fields = match format {
            Format::Ndjson => Vec::new(),
            Format::Csv => store.contact_fields().await?,
        };
        Ok(Self {
            store,
            format,
            fields,
            after: ContactId(Uuid::nil()),
            told: 0,
            is_begun: false,
            is_done: false,
        })
    }

    /// Contacts told so far.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// The next lines; none after the last.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_done {
            return Ok(None);
        }
        let mut chunk = Vec::new();
        if !self.is_begun && self.format == Format::Csv {
            self.write_header(&mut chunk);
        }
        self.is_begun = true;
        let contacts = self.store.contacts_after(self.after, PAGE).await?;
        for contact in &contacts {
            match self.format {
                Format::Ndjson => write_json(&ContactLine(contact), &mut chunk),
                Format::Csv => ContactLine(contact).write_csv(&self.fields, &mut chunk),
            }
        }
        self.told += contacts.len() as u64;
        match contacts.last() {
            Some(last) => self.after = last.id,
            None => self.is_done = true,
        }
        Ok(Some(chunk))
    }

    /// A field that is called like a column of ours is told apart from it.
    fn write_header(&self, out: &mut Vec<u8>) {
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|name| match OWN.contains(&name.as_str()) {
                true => format!("fields.{name}"),
                false => name.clone(),
            })
            .collect();
        let names = OWN[..1]
            .iter()
            .copied()
            .chain(fields.iter().map(String::as_str))
            .chain(OWN[1..].iter().copied());
        write_csv(names.map(Cell::Text), out);
    }
}

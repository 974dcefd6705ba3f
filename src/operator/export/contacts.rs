//! Contacts in their present state, by rising ids. A contact that was merged into another has no
//! line of its own: its id is among the former ids of the other one.

use std::borrow::Cow;

use serde_json::Value;
use uuid::Uuid;

use super::cell::{Cell, write_csv};
use super::pages::Table;
use super::{Format, write_json};
use crate::model::hit::ContactId;
use crate::operator::wire::ContactView;
use crate::store::persons::ContactRecord;
use crate::store::{Result, Store};

/// Columns that are not fields of the contact. The fields come after the first.
const OWN: [&str; 7] = [
    "id",
    "tags",
    "former_ids",
    "visitor_ids",
    "created_at",
    "changed_at",
    "opted_out_at",
];

fn write_contact(contact: &ContactRecord, fields: &[String], out: &mut Vec<u8>) {
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
        contact.opted_out_at.map_or(Cell::None, Cell::Time),
    ];
    let id = [Cell::Uuid(contact.id.0)];
    write_csv(id.into_iter().chain(values).chain(others), out);
}

/// All contacts.
#[derive(Debug)]
pub struct Contacts {
    store: Store,
    /// Fields that have a column in a CSV, in the order of their names.
    fields: Vec<String>,
}

impl Contacts {
    /// For a CSV, all contacts are scanned for their field names, which become its columns; a field
    /// that appears later has none.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn open(store: Store, format: Format) -> Result<Self> {
        let fields = match format {
            Format::Ndjson => Vec::new(),
            Format::Csv => store.contact_fields().await?,
        };
        Ok(Self { store, fields })
    }
}

impl Table for Contacts {
    type Row = ContactRecord;
    type Key = ContactId;

    // Ids are UUIDs with a version; none is nil.
    const START: ContactId = ContactId(Uuid::nil());

    async fn rows_after(&self, after: ContactId, most: i64) -> Result<Vec<ContactRecord>> {
        self.store.contacts_after(after, most).await
    }

    fn key(contact: &ContactRecord) -> ContactId {
        contact.id
    }

    /// Distinguishes a field whose name is one of our columns.
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

    fn write_cells(&self, contact: &ContactRecord, out: &mut Vec<u8>) {
        write_contact(contact, &self.fields, out);
    }

    fn write_object(&self, contact: ContactRecord, out: &mut Vec<u8>) {
        write_json(&ContactView::from(&contact), out);
    }
}

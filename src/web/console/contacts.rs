//! Contacts: a search, and a person with all that is known of them.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::form::Query;
use super::gate::Who;
use super::hits::{Line, lines};
use super::page::{Failure, Frame, show};
use super::show::{At, name_of};
use crate::model::hit::{ContactId, read_uid};
use crate::store::hits::{HitFilter, Judged};
use crate::store::persons::{ContactFilter, ContactRecord, Person};
use crate::web::AdminState;

/// Rows of a page.
const ROWS: i64 = 50;

#[derive(Template)]
#[template(path = "contacts.html")]
struct ContactsPage {
    frame: Frame,
    search: String,
    tag: String,
    rows: Vec<Row>,
    is_first: bool,
    next: Option<String>,
}

struct Row {
    id: String,
    name: String,
    full: Option<String>,
    tags: Vec<String>,
    created_at: At,
    opted_out: bool,
}

impl Row {
    fn new(contact: ContactRecord, unique: &[String]) -> Self {
        let name = name_of(&contact.fields, unique);
        let full = name_of(&contact.fields, &[]).filter(|full| Some(full) != name.as_ref());
        Self {
            id: contact.id.0.to_string(),
            name: name.unwrap_or_else(|| contact.id.0.to_string()),
            full,
            tags: contact.tags,
            created_at: At(contact.created_at),
            opted_out: contact.opted_out_at.is_some(),
        }
    }
}

/// `GET /console/contacts?search=&tag=&after=`
pub(super) async fn list(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let filter = ContactFilter {
        text: query.get("search").map(str::to_owned),
        tag: query.get("tag").map(str::to_owned),
        has_opted_out: None,
    };
    let after = query.get("after").and_then(read_uid).map(ContactId);
    let (contacts, next) = app.store.list_contacts(&filter, after, ROWS).await?;
    let unique = &app.contacts.unique;
    let page = ContactsPage {
        frame: Frame::new(&who, "Contacts", "Contacts"),
        search: filter.text.unwrap_or_default(),
        tag: filter.tag.unwrap_or_default(),
        rows: contacts
            .into_iter()
            .map(|of| Row::new(of, unique))
            .collect(),
        is_first: after.is_none(),
        next: next.map(|id| id.0.to_string()),
    };
    Ok(show(StatusCode::OK, &page))
}

#[derive(Template)]
#[template(path = "contact.html")]
struct ContactPage {
    frame: Frame,
    id: String,
    name: String,
    /// `None` of a browser whose person is unknown.
    known: Option<Known>,
    with_machines: bool,
    lines: Vec<Line>,
    is_first: bool,
    next: Option<i64>,
}

struct Known {
    fields: Vec<(String, String)>,
    tags: Vec<String>,
    browsers: Vec<String>,
    former: Vec<String>,
    created_at: At,
    changed_at: At,
    opted_out_at: Option<At>,
}

impl From<ContactRecord> for Known {
    fn from(contact: ContactRecord) -> Self {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let fields = contact.fields.into_iter();
        Self {
            fields: fields.map(|(name, value)| (name, text(value))).collect(),
            tags: contact.tags,
            browsers: contact
                .visitor_ids
                .iter()
                .map(|id| id.0.to_string())
                .collect(),
            former: contact
                .former_ids
                .iter()
                .map(|id| id.0.to_string())
                .collect(),
            created_at: At(contact.created_at),
            changed_at: At(contact.changed_at),
            opted_out_at: contact.opted_out_at.map(At),
        }
    }
}

/// `GET /console/contacts/{id}?machines=1&before=`: by any id that ever stood for the person.
pub(super) async fn get_contact(
    State(app): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    Query(query): Query,
) -> Result<Response, Failure> {
    let nothing = || Failure::nothing("contact").seen_by(&who);
    let id = read_uid(&id).ok_or_else(nothing)?;
    let person = app.store.find_person(id).await?.ok_or_else(nothing)?;
    let (id, contact) = match person {
        Person::Contact(id) => (
            id.0,
            Some(app.store.contact(id).await?.ok_or_else(nothing)?),
        ),
        Person::Anonymous(visitor) => (visitor.0, None),
    };
    let name = match &contact {
        Some(contact) => name_of(&contact.fields, &app.contacts.unique),
        None => Some("A browser without a name".to_owned()),
    };
    let name = name.unwrap_or_else(|| id.to_string());
    let with_machines = query.get("machines").is_some();
    let filter = HitFilter {
        whose: Some(app.store.hits_of(person).await?),
        judged: (!with_machines).then_some(Judged::Counted),
        ..HitFilter::default()
    };
    let before = query.number("before");
    let page = app
        .store
        .hits_before(&filter, before.unwrap_or(i64::MAX), ROWS);
    let page = page.await?;
    let next = (!page.is_last()).then_some(page.reached);
    let page = ContactPage {
        frame: Frame::new(&who, "Contacts", name.clone()),
        id: id.to_string(),
        name,
        known: contact.map(Known::from),
        with_machines,
        lines: lines(&app, &who, page.hits).await?,
        is_first: before.is_none(),
        next,
    };
    Ok(show(StatusCode::OK, &page))
}

//! Contacts, as they are known now. Any id that ever stood for a person finds it: its own, one that
//! was merged into it, a browser's.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::json::{ApiQuery, NoQuery, PathText};
use super::listing::{self, Cursor, MOST_ENTRIES, USUAL_ENTRIES};
use crate::identity::normalise;
use crate::model::hint::{did_you_mean, nearest, one_of, quote};
use crate::model::hit::{ContactId, read_uid};
use crate::operator::export::HitLine;
use crate::operator::wire::ContactView;
use crate::store::hits::{HitFilter, StoredHit};
use crate::store::persons::Person;
use crate::tracking::address_with_plus;
use crate::web::AdminState;
use crate::web::error::Problem;

mod utm;

/// `GET /contacts/{id}`. A visitor without a name that has left hits answers with `id: null`.
pub async fn show_contact(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    NoQuery: NoQuery,
) -> Result<Response, Problem> {
    match find(&app, &path).await? {
        Person::Contact(id) => contact(&app, id).await,
        Person::Anonymous(visitor) => Ok(Json(ContactView::anonymous(&visitor)).into_response()),
    }
}

/// `GET /contacts?email=…`: the contact that has this value of a unique field. Case and spaces
/// around it do not matter.
pub async fn find_contact(
    State(app): State<Arc<AdminState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (Some((field, value)), None) = (pairs.next(), pairs.next()) else {
        return Err(Problem::field(
            app.contacts.unique.join(" or "),
            "is required and must be the only parameter, as in ?email=ada@example.com",
        ));
    };
    if !app.contacts.unique.iter().any(|unique| *unique == field) {
        let unique: Vec<&str> = app.contacts.unique.iter().map(String::as_str).collect();
        let hint = did_you_mean(nearest(&field, unique.iter().copied()));
        let why = format!(
            "is not a unique field{hint}; look up contacts by {}",
            one_of(&unique)
        );
        return Err(Problem::field(field, why));
    }
    let nobody = || {
        let which = format_args!("whose {field} is {}", quote(&value));
        Problem::not_found("contact", which)
    };
    let value = match address_with_plus(&field, query.as_bytes()) {
        Some(address) => normalise(&address),
        None => normalise(&value),
    };
    // No value that is stored has one, and Postgres takes none in a text.
    if value.is_empty() || value.contains('\0') {
        return Err(nobody());
    }
    let id = app
        .store
        .contact_by_key(&field, &value)
        .await
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(nobody)?;
    contact(&app, id).await
}

/// Ends the opt-out of a contact that has subscribed again: 204, also where there was none.
pub async fn end_opt_out(
    State(app): State<Arc<AdminState>>,
    path: PathText,
) -> Result<StatusCode, Problem> {
    if let Person::Contact(id) = find(&app, &path).await? {
        let ended = app.store.end_opt_out(id).await;
        ended.map_err(|error| Problem::database(&error))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn find(app: &AdminState, path: &PathText) -> Result<Person, Problem> {
    let nobody = || {
        let id = quote(&path.0);
        let which =
            format_args!("{id}; GET /api/v1/contacts?email=… finds a contact by email address");
        Problem::not_found("contact", which)
    };
    let id = read_uid(&path.0).ok_or_else(nobody)?;
    app.store
        .find_person(id)
        .await
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(nobody)
}

async fn contact(app: &AdminState, id: ContactId) -> Result<Response, Problem> {
    let contact = app
        .store
        .contact(id)
        .await
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(|| Problem::not_found("contact", id))?;
    Ok(Json(ContactView::from(&contact)).into_response())
}

/// The query string of a timeline.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineQuery {
    limit: Option<i64>,
    /// The `next` of the answer before. Earlier versions called it `before`.
    #[serde(alias = "before")]
    after: Option<Cursor>,
}

/// Hits, newest first.
#[derive(Debug, Serialize)]
struct Timeline<'h> {
    hits: Vec<Entry<'h>>,
    /// `after` of the next older part; `None` if this is the oldest.
    next: Option<Cursor>,
    /// The same, as earlier versions called it.
    before: Option<Cursor>,
}

/// A hit; one with UTM values has a title and an icon too.
#[derive(Debug, Serialize)]
struct Entry<'h> {
    #[serde(flatten)]
    hit: HitLine<'h>,
    #[serde(flatten)]
    campaign: Option<BTreeMap<&'static str, Option<&'h str>>>,
}

impl<'h> From<&'h StoredHit> for Entry<'h> {
    fn from(hit: &'h StoredHit) -> Self {
        let has_utm = [
            &hit.utm_source,
            &hit.utm_medium,
            &hit.utm_campaign,
            &hit.utm_term,
            &hit.utm_content,
        ]
        .into_iter()
        .any(Option::is_some);
        let icon = utm::icon(hit.utm_medium.as_deref(), hit.utm_source.as_deref());
        Self {
            hit: HitLine(hit),
            campaign: has_utm.then(|| {
                BTreeMap::from([("title", hit.utm_campaign.as_deref()), ("icon", Some(icon))])
            }),
        }
    }
}

/// `GET /contacts/{id}/timeline?limit=&after=`: what a person did, newest first, up to 1,000 hits
/// an answer.
pub async fn show_timeline(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    ApiQuery(wanted): ApiQuery<TimelineQuery>,
) -> Result<Response, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let person = find(&app, &path).await?;
    let before = wanted.after.map_or(i64::MAX, |cursor| cursor.0);
    let page = async {
        let filter = HitFilter {
            whose: Some(app.store.hits_of(person).await?),
            ..HitFilter::default()
        };
        app.store.hits_before(&filter, before, limit).await
    };
    let page = page.await.map_err(|error| Problem::database(&error))?;
    let next = (!page.is_last()).then_some(Cursor(page.reached));
    let timeline = Timeline {
        hits: page.hits.iter().map(Entry::from).collect(),
        next,
        before: next,
    };
    Ok(Json(timeline).into_response())
}

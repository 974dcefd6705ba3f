//! Contacts, as they are known now. Any id that ever stood for a person finds it: its own, one that
//! was merged into it, a browser's.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::{ApiJson, ApiQuery, NoQuery, PathText, read_query};
use super::listing::{self, Cursor, MOST_ENTRIES, USUAL_ENTRIES};
use crate::identity::normalise;
use crate::model::hint::{did_you_mean, nearest, one_of, quote};
use crate::model::hit::{ContactId, read_uid};
use crate::model::wire::Uid;
use crate::operator::contact_changes::{ContactDraft, ContactError, SavedContact, save_contact};
use crate::operator::export::HitLine;
use crate::operator::wire::ContactView;
use crate::store::hits::{HitFilter, StoredHit};
use crate::store::persons::{ContactFilter, Person};
use crate::tracking::address_with_plus;
use crate::web::AdminState;
use crate::web::error::Problem;

pub(super) mod utm;

/// `GET /contacts/{id}`. A visitor without a name that has left hits answers with `id: null`.
#[utoipa::path(
    get,
    path = "/contacts/{id}",
    summary = "Shows a contact",
    params(("id" = String, Path, description = "Of the contact, of one that was merged into it, or of a browser")),
    responses((status = 200, description = "The contact", body = ContactView)),
)]
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

/// Most tags in one request.
const MOST_TAGS: usize = 100;
/// Parameters of a list.
const LISTING: [&str; 5] = ["search", "tag", "opted_out", "after", "limit"];

/// `GET /contacts`: with `?email=…` the contact that has this value of a unique field, case and
/// spaces around it do not matter; else a list of them.
#[utoipa::path(
    get,
    path = "/contacts",
    summary = "Lists contacts, the newest first, or finds the one with a unique field",
    params(Listing),
    responses((status = 200, description = "A part of the list, or the contact", body = FoundContacts)),
)]
pub async fn find_contacts(
    State(app): State<Arc<AdminState>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = uri.query().unwrap_or_default();
    let is_unique = |name: &str| app.contacts.unique.iter().any(|unique| unique == name);
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    match names.all(|name| LISTING.contains(&&*name) && !is_unique(&name)) {
        true => list_contacts(&app, query).await,
        false => find_contact(&app, query).await,
    }
}

/// Which contacts to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Listing {
    search: Option<String>,
    tag: Option<String>,
    opted_out: Option<bool>,
    /// The `next` of the answer before.
    #[param(inline)]
    after: Option<Uid>,
    limit: Option<i64>,
}

/// Contacts, the newest first.
#[derive(Debug, Serialize, ToSchema)]
struct ContactList<'c> {
    contacts: Vec<ContactView<'c>>,
    /// `after` for the rest; none where this was all.
    next: Option<ContactId>,
}

/// What is found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum FoundContacts<'c> {
    /// A part of the list.
    List(ContactList<'c>),
    /// The one that has a unique field's value.
    One(ContactView<'c>),
}

/// `GET /contacts?search=&tag=&opted_out=&after=&limit=`
async fn list_contacts(app: &AdminState, query: &str) -> Result<Response, Problem> {
    let wanted: Listing = read_query(query)?;
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let filter = ContactFilter {
        text: wanted.search,
        tag: wanted.tag,
        has_opted_out: wanted.opted_out,
    };
    let after = wanted.after.map(|id| ContactId(id.0));
    let found = app.store.list_contacts(&filter, after, limit).await;
    let (contacts, next) = found.map_err(|error| Problem::database(&error))?;
    let contacts = contacts.iter().map(ContactView::from).collect();
    let list = ContactList { contacts, next };
    Ok(Json(FoundContacts::List(list)).into_response())
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TagsQuery {
    /// The `next` of the answer before.
    after: Option<String>,
    limit: Option<i64>,
}

/// Tags in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactTagList {
    tags: Vec<ContactTag>,
    /// `after` for the rest; none where this was all.
    next: Option<String>,
}

/// A tag, and how many contacts have it.
#[derive(Debug, Serialize, ToSchema)]
struct ContactTag {
    tag: String,
    contacts: i64,
}

/// `GET /contacts/tags?after=&limit=`
#[utoipa::path(
    get,
    path = "/contacts/tags",
    operation_id = "list_contact_tags",
    summary = "Lists tags of contacts",
    params(TagsQuery),
    responses((status = 200, description = "A part of the list", body = ContactTagList)),
)]
pub async fn list_tags(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<TagsQuery>,
) -> Result<Json<ContactTagList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let after = wanted.after.map(|text| text.replace('\0', " "));
    let found = app.store.contact_tags(after.as_deref(), limit).await;
    let found = found.map_err(|error| Problem::database(&error))?;
    let next = listing::next(&found, limit, |(tag, _)| tag.clone());
    let tags = found.into_iter();
    Ok(Json(ContactTagList {
        tags: tags
            .map(|(tag, contacts)| ContactTag { tag, contacts })
            .collect(),
        next,
    }))
}

/// Fields and tags to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactRequest {
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// To add, or with a `-` before them to take away.
    #[serde(default)]
    tags: Vec<String>,
}

impl From<ContactRequest> for ContactDraft {
    fn from(request: ContactRequest) -> Self {
        Self {
            fields: request.fields.into_iter().collect(),
            tags: request.tags,
        }
    }
}

impl From<ContactError> for Problem {
    fn from(error: ContactError) -> Self {
        match error {
            ContactError::Field { field, why } => Self::field(format!("fields.{field}"), why),
            ContactError::Nobody(_) => Self::field("fields", error),
            ContactError::Others => Self::conflict("fields", error),
        }
    }
}

/// `POST /contacts`: makes a contact, 201; or changes the one that has its unique values, 200.
#[utoipa::path(
    post,
    path = "/contacts",
    summary = "Makes a contact, or changes the one with its unique fields",
    request_body = ContactRequest,
    responses((status = 200, description = "It is changed", body = ContactView), (status = 201, description = "It is made", body = ContactView)),
)]
pub async fn create_contact(
    State(app): State<Arc<AdminState>>,
    ApiJson(request): ApiJson<ContactRequest>,
) -> Result<Response, Problem> {
    let saved = save(&app, None, request).await?;
    let answer = contact(&app, saved.id).await?;
    Ok(match saved.is_new {
        true => (StatusCode::CREATED, answer).into_response(),
        false => answer,
    })
}

/// `PATCH /contacts/{id}`: fields and tags that are not given stay.
#[utoipa::path(
    patch,
    path = "/contacts/{id}",
    summary = "Sets fields and tags of a contact",
    params(("id" = String, Path, description = "Of the contact, of one that was merged into it, or of a browser")),
    request_body = ContactRequest,
    responses((status = 200, description = "The contact as it is now", body = ContactView)),
)]
pub async fn change_contact(
    State(app): State<Arc<AdminState>>,
    path: PathText,
    ApiJson(request): ApiJson<ContactRequest>,
) -> Result<Response, Problem> {
    let Person::Contact(id) = find(&app, &path).await? else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this is a browser whose person is not known; make a contact with POST \
            /api/v1/contacts",
        ));
    };
    let saved = save(&app, Some(id), request).await?;
    contact(&app, saved.id).await
}

async fn save(
    app: &AdminState,
    id: Option<ContactId>,
    request: ContactRequest,
) -> Result<SavedContact, Problem> {
    if request.tags.len() > MOST_TAGS {
        let why = format_args!("are too many: send at most {MOST_TAGS}");
        return Err(Problem::field("tags", why));
    }
    let unique = &app.contacts.unique;
    let saved = save_contact(&app.store, &app.clock, unique, id, request.into()).await;
    Ok(saved.map_err(|error| Problem::database(&error))??)
}

async fn find_contact(app: &AdminState, query: &str) -> Result<Response, Problem> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (Some((field, value)), None) = (pairs.next(), pairs.next()) else {
        return Err(Problem::field(
            app.contacts.unique.join(" or "),
            "must be the only parameter, as in ?email=ada@example.com",
        ));
    };
    if !app.contacts.unique.iter().any(|unique| *unique == field) {
        let unique: Vec<&str> = app.contacts.unique.iter().map(String::as_str).collect();
        let hint = did_you_mean(nearest(&field, unique.iter().copied()));
        let why = format!(
            "is not a unique field{hint}; look up contacts by {}, or list them with {}",
            one_of(&unique),
            one_of(&LISTING)
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
    contact(app, id).await
}

/// Ends the opt-out of a contact that has subscribed again: 204, also where there was none.
#[utoipa::path(
    delete,
    path = "/contacts/{id}/opt-out",
    summary = "Ends the opt-out of a contact who subscribed again",
    params(("id" = String, Path, description = "Of the contact, of one that was merged into it, or of a browser")),
    responses((status = 204, description = "It is ended")),
)]
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
    Ok(Json(FoundContacts::One((&contact).into())).into_response())
}

/// The query string of a timeline.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TimelineQuery {
    limit: Option<i64>,
    /// The `next` of the answer before. Earlier versions called it `before`.
    #[serde(alias = "before")]
    #[param(inline)]
    after: Option<Cursor>,
}

/// Hits, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Timeline<'h> {
    hits: Vec<Entry<'h>>,
    /// `after` of the next older part; `None` if this is the oldest.
    next: Option<Cursor>,
    /// The same, as earlier versions called it.
    before: Option<Cursor>,
}

/// A hit; one with UTM values has a title and an icon too.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
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
#[utoipa::path(
    get,
    path = "/contacts/{id}/timeline",
    summary = "Lists what a person did, the latest first",
    params(("id" = String, Path, description = "Of the contact, of one that was merged into it, or of a browser"), TimelineQuery),
    responses((status = 200, description = "A part of the list", body = Timeline)),
)]
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

//! `/page-tags`: what the identifiers in Adobe's web-tracking tags stand for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};

use super::json::{ApiJson, ApiQuery, NoQuery, OneOrMany, PathText, Time};
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use crate::model::hint::quote;
use crate::model::hit::PageTagKind;
use crate::operator::export::PageTagLine;
use crate::operator::{self, NewPageTag, SendingError};
use crate::store::page_tags::PageTag;
use crate::web::AdminState;
use crate::web::error::Problem;

/// Most tags in one request: they are made one by one in a transaction.
const MOST_TAGS: usize = 1_000;

/// A tag as the operator gives it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageTagRequest {
    identifier: String,
    label: Option<String>,
    kind: PageTagKind,
    folder: Option<String>,
    source_url: Option<String>,
    valid_until: Option<Time>,
}

impl From<PageTagRequest> for NewPageTag {
    fn from(request: PageTagRequest) -> Self {
        Self {
            identifier: request.identifier,
            label: request.label,
            kind: request.kind,
            folder: request.folder,
            source_url: request.source_url,
            valid_until: request.valid_until.map(|at| at.0),
        }
    }
}

/// `POST /page-tags`: one tag or an array of them, all or none.
pub(super) async fn create_page_tags(
    State(app): State<Arc<AdminState>>,
    ApiJson(request): ApiJson<OneOrMany<PageTagRequest>>,
) -> Result<(StatusCode, Json<OneOrMany<PageTagLine>>), Problem> {
    let is_one = matches!(request, OneOrMany::One(_));
    let requests = request.into_vec();
    if requests.len() > MOST_TAGS {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "{} page tags are more than {MOST_TAGS}: send them in several requests",
                requests.len()
            ),
        ));
    }
    let drafts = requests.into_iter().map(Into::into).collect();
    let made = operator::create_page_tags(&app.store, &app.clock, drafts).await;
    let mut answers: Vec<PageTagLine> = made
        .map_err(|error| match error {
            // One tag given by itself has no place in an array.
            SendingError::Draft(_, draft) if is_one => SendingError::Draft(None, draft).into(),
            SendingError::Taken(_, field, value) if is_one => {
                SendingError::Taken(None, field, value).into()
            }
            error => Problem::from(error),
        })?
        .into_iter()
        .map(PageTagLine)
        .collect();
    let answer = match answers.pop() {
        Some(answer) if is_one => OneOrMany::One(answer),
        last => {
            answers.extend(last);
            OneOrMany::Many(answers)
        }
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Which tags to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    /// Only those behind this identifier: the `next` of the answer before.
    after: Option<String>,
    limit: Option<i64>,
}

/// Tags in the order of their identifiers.
#[derive(Debug, Serialize)]
pub(super) struct PageTagList {
    page_tags: Vec<PageTagLine>,
    /// `after` for the rest; none where this was all.
    next: Option<String>,
}

/// `GET /page-tags?after=&limit=`
pub(super) async fn list_page_tags(
    State(app): State<Arc<AdminState>>,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<PageTagList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let after = wanted.after.map(|text| text.replace('\0', ""));
    let found = app
        .store
        .page_tags(after.as_deref(), limit)
        .await
        .map_err(|error| Problem::database(&error))?;
    let next = listing::next(&found, limit, |tag| tag.identifier.clone());
    Ok(Json(PageTagList {
        page_tags: found.into_iter().map(PageTagLine).collect(),
        next,
    }))
}

fn no_page_tag(identifier: &str) -> Problem {
    let identifier = quote(identifier);
    let which = format_args!("{identifier}; GET /api/v1/page-tags lists those there are");
    Problem::not_found("page tag", which)
}

async fn find(app: &AdminState, identifier: &str) -> Result<PageTag, Problem> {
    let nothing = || no_page_tag(identifier);
    // No identifier has one, and Postgres takes it for a mistake of ours.
    if identifier.contains('\0') {
        return Err(nothing());
    }
    app.store
        .page_tag(identifier)
        .await
        .map_err(|error| Problem::database(&error))?
        .ok_or_else(nothing)
}

/// `GET /page-tags/{identifier}`
pub(super) async fn get_page_tag(
    State(app): State<Arc<AdminState>>,
    identifier: PathText,
    NoQuery: NoQuery,
) -> Result<Json<PageTagLine>, Problem> {
    Ok(Json(PageTagLine(find(&app, &identifier.0).await?)))
}

/// A tag as it is to be from now on. Its identifier stands in pages: it stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WholeChange {
    identifier: Option<String>,
    label: Option<String>,
    kind: PageTagKind,
    folder: Option<String>,
    source_url: Option<String>,
    valid_until: Option<Time>,
}

/// `PUT /page-tags/{identifier}`: what is not given is empty from then on.
pub(super) async fn replace_page_tag(
    State(app): State<Arc<AdminState>>,
    identifier: PathText,
    ApiJson(change): ApiJson<WholeChange>,
) -> Result<Json<PageTagLine>, Problem> {
    let had = find(&app, &identifier.0).await?;
    let draft = NewPageTag {
        identifier: same_identifier(&had, change.identifier)?,
        label: change.label,
        kind: change.kind,
        folder: change.folder,
        source_url: change.source_url,
        valid_until: change.valid_until.map(|at| at.0),
    };
    save(&app, draft).await
}

/// Some of a tag's fields; null empties one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartialChange {
    identifier: Option<String>,
    kind: Option<PageTagKind>,
    #[serde(default, deserialize_with = "given")]
    label: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    folder: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    source_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    valid_until: Option<Option<Time>>,
}

/// Tells a null from a field that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// `PATCH /page-tags/{identifier}`: what is not given stays.
pub(super) async fn change_page_tag(
    State(app): State<Arc<AdminState>>,
    identifier: PathText,
    ApiJson(change): ApiJson<PartialChange>,
) -> Result<Json<PageTagLine>, Problem> {
    let had = find(&app, &identifier.0).await?;
    same_identifier(&had, change.identifier)?;
    let mut draft = NewPageTag::from(had);
    draft.kind = change.kind.unwrap_or(draft.kind);
    draft.label = change.label.unwrap_or(draft.label);
    draft.folder = change.folder.unwrap_or(draft.folder);
    draft.source_url = change.source_url.unwrap_or(draft.source_url);
    if let Some(at) = change.valid_until {
        draft.valid_until = at.map(|at| at.0);
    }
    save(&app, draft).await
}

fn same_identifier(had: &PageTag, given: Option<String>) -> Result<String, Problem> {
    match given {
        Some(given) if given != had.identifier => Err(Problem::field(
            "identifier",
            format_args!(
                "{} cannot be changed to {}, it stands in pages: make another tag",
                quote(&had.identifier),
                quote(&given)
            ),
        )),
        _ => Ok(had.identifier.clone()),
    }
}

async fn save(app: &AdminState, draft: NewPageTag) -> Result<Json<PageTagLine>, Problem> {
    let identifier = draft.identifier.clone();
    operator::replace_page_tag(&app.store, &app.clock, draft)
        .await?
        .map(|tag| Json(PageTagLine(tag)))
        .ok_or_else(|| no_page_tag(&identifier))
}

//! `/page-tags`: what the identifiers in Adobe's web-tracking tags stand for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::{ApiJson, ApiQuery, NoQuery, OneOrMany, PathText};
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use super::openapi::shapes::one_or_many;
use crate::model::hint::quote;
use crate::model::hit::PageTagKind;
use crate::model::wire::{Time, given};
use crate::operator::wire::PageTag;
use crate::operator::{self, NewPageTag};
use crate::web::AdminState;
use crate::web::error::Problem;

/// Most tags in one request: they are made one by one in a transaction.
const MOST_TAGS: usize = 1_000;

one_or_many!(
    /// Page tags to be made.
    NewPageTags of NewPageTag
);
one_or_many!(
    /// Page tags that were made.
    MadePageTags of PageTag
);

/// `POST /page-tags`: one tag or an array of them, all or none.
#[utoipa::path(
    post,
    path = "/page-tags",
    summary = "Makes page tags, all or none",
    request_body = NewPageTags,
    responses((status = 201, description = "They are made", body = MadePageTags)),
)]
pub(super) async fn create_page_tags(
    State(app): State<Arc<AdminState>>,
    ApiJson(request): ApiJson<OneOrMany<NewPageTag>>,
) -> Result<(StatusCode, Json<OneOrMany<PageTag>>), Problem> {
    let is_one = request.is_one();
    let drafts = request.into_vec();
    if drafts.len() > MOST_TAGS {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "{} page tags are too many for one request: send at most {MOST_TAGS}",
                drafts.len()
            ),
        ));
    }
    let made = operator::create_page_tags(&app.store, &app.clock, drafts).await;
    let tags = made.map_err(|error| match is_one {
        true => error.by_itself(),
        false => error,
    })?;
    Ok((StatusCode::CREATED, Json(OneOrMany::like(is_one, tags))))
}

/// Which tags to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Only those behind this identifier: the `next` of the answer before.
    after: Option<String>,
    limit: Option<i64>,
}

/// Tags in the order of their identifiers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PageTagList {
    page_tags: Vec<PageTag>,
    /// `after` for the rest; `None` if this was all.
    next: Option<String>,
}

/// `GET /page-tags?after=&limit=`
#[utoipa::path(
    get,
    path = "/page-tags",
    summary = "Lists page tags by identifier",
    params(Listing),
    responses((status = 200, description = "A part of the list", body = PageTagList)),
)]
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
        page_tags: found,
        next,
    }))
}

fn no_page_tag(identifier: &str) -> Problem {
    let identifier = quote(identifier);
    let which = format_args!("{identifier}; GET /api/v1/page-tags lists all page tags");
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
#[utoipa::path(
    get,
    path = "/page-tags/{identifier}",
    summary = "Shows a page tag",
    params(("identifier" = String, Path)),
    responses((status = 200, description = "The page tag", body = PageTag)),
)]
pub(super) async fn get_page_tag(
    State(app): State<Arc<AdminState>>,
    identifier: PathText,
    NoQuery: NoQuery,
) -> Result<Json<PageTag>, Problem> {
    Ok(Json(find(&app, &identifier.0).await?))
}

/// The fields of a tag to change; null empties a field. Pages contain its identifier, so
/// it cannot change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PageTagChange {
    identifier: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    label: Option<Option<String>>,
    kind: Option<PageTagKind>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    folder: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    source_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Time>)]
    valid_until: Option<Option<Time>>,
}

impl PageTagChange {
    fn of(self, mut draft: NewPageTag) -> NewPageTag {
        draft.kind = self.kind.unwrap_or(draft.kind);
        draft.label = self.label.unwrap_or(draft.label);
        draft.folder = self.folder.unwrap_or(draft.folder);
        draft.source_url = self.source_url.unwrap_or(draft.source_url);
        if let Some(at) = self.valid_until {
            draft.valid_until = at.map(|at| at.0);
        }
        draft
    }
}

/// `PUT /page-tags/{identifier}`: what is not given is empty from then on.
#[utoipa::path(
    put,
    path = "/page-tags/{identifier}",
    summary = "Replaces a page tag; what is not given is empty",
    params(("identifier" = String, Path)),
    request_body = PageTagChange,
    responses((status = 200, description = "The page tag as it is now", body = PageTag)),
)]
pub(super) async fn replace_page_tag(
    State(app): State<Arc<AdminState>>,
    identifier: PathText,
    ApiJson(change): ApiJson<PageTagChange>,
) -> Result<Json<PageTag>, Problem> {
    let kind = change
        .kind
        .ok_or_else(|| Problem::field("kind", "is required"))?;
    let had = find(&app, &identifier.0).await?;
    expect_same_identifier(&had, change.identifier.as_deref())?;
    save(&app, change.of(NewPageTag::of(had.identifier, kind))).await
}

/// `PATCH /page-tags/{identifier}`: what is not given stays.
#[utoipa::path(
    patch,
    path = "/page-tags/{identifier}",
    summary = "Changes a page tag; what is not given stays",
    params(("identifier" = String, Path)),
    request_body = PageTagChange,
    responses((status = 200, description = "The page tag as it is now", body = PageTag)),
)]
pub(super) async fn change_page_tag(
    State(app): State<Arc<AdminState>>,
    identifier: PathText,
    ApiJson(change): ApiJson<PageTagChange>,
) -> Result<Json<PageTag>, Problem> {
    let had = find(&app, &identifier.0).await?;
    expect_same_identifier(&had, change.identifier.as_deref())?;
    save(&app, change.of(had.into())).await
}

/// `POST /page-tags/{identifier}/end`: from now on its hits are suspect. One that has ended keeps
/// its end.
#[utoipa::path(
    post,
    path = "/page-tags/{identifier}/end",
    summary = "Ends a page tag: its hits are suspect",
    params(("identifier" = String, Path)),
    responses((status = 200, description = "The page tag as it is now", body = PageTag)),
)]
pub(super) async fn end_page_tag(
    State(app): State<Arc<AdminState>>,
    identifier: PathText,
    NoQuery: NoQuery,
) -> Result<Json<PageTag>, Problem> {
    let mut tag = find(&app, &identifier.0).await?;
    let now = app.clock.now();
    tag.valid_until = Some(tag.valid_until.map_or(now, |until| until.min(now)));
    save(&app, tag.into()).await
}

/// `DELETE /page-tags/{identifier}`: never.
#[utoipa::path(
    delete,
    path = "/page-tags/{identifier}",
    operation_id = "delete_page_tag",
    summary = "Refused: a page tag is ended",
    params(("identifier" = String, Path)),
)]
pub(super) async fn refuse_delete(identifier: PathText) -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        format!(
            "page tags cannot be deleted, because pages contain them; end this one with POST \
            /api/v1/page-tags/{}/end, and its hits are suspect from then on",
            quote(&identifier.0).trim_matches('"')
        ),
    )
}

fn expect_same_identifier(had: &PageTag, given: Option<&str>) -> Result<(), Problem> {
    match given {
        Some(given) if given != had.identifier => Err(Problem::field(
            "identifier",
            format_args!(
                "{} cannot be changed to {} because pages contain it; create another tag",
                quote(&had.identifier),
                quote(given)
            ),
        )),
        _ => Ok(()),
    }
}

async fn save(app: &AdminState, draft: NewPageTag) -> Result<Json<PageTag>, Problem> {
    let identifier = draft.identifier.clone();
    operator::replace_page_tag(&app.store, &app.clock, draft)
        .await?
        .map(Json)
        .ok_or_else(|| no_page_tag(&identifier))
}

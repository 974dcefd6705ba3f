//! `/forms`: what sites may post to `/form/submit`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::json::{ApiJson, ApiJsonIfAny, ApiQuery, NoQuery, PathText};
use super::links::change::EndRequest;
use super::listing::{self, MOST_ENTRIES, USUAL_ENTRIES};
use crate::model::clock::Micros;
use crate::model::form::{Choice, FieldKind, Form, FormError, FormField, FormId, RequiredIf};
use crate::model::link::check_template;
use crate::model::wire::Id;
use crate::operator::wire::FormView;
use crate::store;
use crate::store::forms::StoredForm;
use crate::web::AdminState;
use crate::web::error::Problem;

/// A form as the operator gives it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FormRequest {
    id: Option<Id>,
    name: String,
    alias: Option<String>,
    fields: Vec<FieldRequest>,
    return_url: Option<String>,
    allowed_hosts: Option<Vec<String>>,
    submit_label: Option<String>,
    success_message: Option<String>,
    error_message: Option<String>,
    /// Whether it takes nothing any more. Without it a form goes on as it is.
    ended: Option<bool>,
    /// Where its visitors go once it has ended.
    end_url: Option<String>,
}

/// A field of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FieldRequest {
    alias: String,
    label: Option<String>,
    #[serde(rename = "type")]
    kind: Option<FieldKind>,
    required: Option<bool>,
    required_if: Option<RequiredIf>,
    options: Option<Vec<Choice>>,
    placeholder: Option<String>,
    default: Option<String>,
    contact_field: Option<String>,
}

impl From<FormRequest> for Form {
    fn from(request: FormRequest) -> Self {
        Self {
            name: request.name,
            alias: request.alias.unwrap_or_default(),
            fields: request.fields.into_iter().map(Into::into).collect(),
            return_url: request.return_url,
            allowed_hosts: request.allowed_hosts.unwrap_or_default(),
            submit_label: request.submit_label,
            success_message: request.success_message,
            error_message: request.error_message,
            ended_at: None,
            end_url: request.end_url,
        }
    }
}

impl From<FieldRequest> for FormField {
    fn from(request: FieldRequest) -> Self {
        Self {
            alias: request.alias,
            label: request.label.unwrap_or_default(),
            kind: request.kind.unwrap_or_default(),
            required: request.required.unwrap_or_default(),
            required_if: request.required_if,
            options: request.options.unwrap_or_default(),
            placeholder: request.placeholder,
            default: request.default,
            contact_field: request.contact_field,
        }
    }
}

impl From<FormError> for Problem {
    fn from(error: FormError) -> Self {
        Self::field(error.field, error.why)
    }
}

/// Which forms to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// The `next` of the answer before.
    #[param(inline)]
    after: Option<Id>,
    limit: Option<i64>,
}

/// Forms in the order of ids.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FormList {
    forms: Vec<FormView>,
    /// `after` for the rest; `None` if this was all.
    next: Option<Id>,
}

/// `GET /forms?after=&limit=`
#[utoipa::path(
    get,
    path = "/forms",
    summary = "Lists forms by id",
    params(Listing),
    responses((status = 200, description = "A part of the list", body = FormList)),
)]
pub(super) async fn list_forms(
    State(app): State<Arc<AdminState>>,
    headers: HeaderMap,
    ApiQuery(wanted): ApiQuery<Listing>,
) -> Result<Json<FormList>, Problem> {
    let limit = listing::limit(wanted.limit, USUAL_ENTRIES, MOST_ENTRIES)?;
    let all = app
        .store
        .forms()
        .await
        .map_err(|error| Problem::database(&error))?;
    // There are few: each server has them all in memory.
    let mut forms: Vec<_> = all
        .into_iter()
        .filter(|stored| wanted.after.is_none_or(|after| stored.id.0 > after.0))
        .collect();
    let is_all = forms.len() as i64 <= limit;
    forms.truncate(limit as usize);
    let next = forms.last().filter(|_| !is_all).map(|last| last.id.into());
    let site = app.site_of(&headers);
    Ok(Json(FormList {
        next,
        forms: forms
            .into_iter()
            .map(|stored| FormView::at(stored, site))
            .collect(),
    }))
}

/// `GET /forms/{id}`.
#[utoipa::path(
    get,
    path = "/forms/{id}",
    summary = "Shows a form",
    params(("id" = Id, Path)),
    responses((status = 200, description = "The form", body = FormView)),
)]
pub(super) async fn get_form(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    NoQuery: NoQuery,
) -> Result<Json<FormView>, Problem> {
    let id = id.id("form")?;
    let found = app
        .store
        .form(id.into())
        .await
        .map_err(|error| Problem::database(&error))?;
    found
        .map(|stored| Json(FormView::at(stored, app.site_of(&headers))))
        .ok_or_else(|| no_form(id))
}

fn no_form(id: Id) -> Problem {
    let which = format_args!("{}; GET /api/v1/forms lists all forms", id.0);
    Problem::not_found("form", which)
}

/// `POST /forms`. An `id` of its own lets pages of Mautic's go on posting to theirs.
#[utoipa::path(
    post,
    path = "/forms",
    summary = "Makes a form",
    request_body = FormRequest,
    responses((status = 201, description = "It is made", body = FormView)),
)]
pub(super) async fn create_form(
    State(app): State<Arc<AdminState>>,
    headers: HeaderMap,
    ApiJson(mut request): ApiJson<FormRequest>,
) -> Result<(StatusCode, Json<FormView>), Problem> {
    let id = request.id.take().map(Into::into);
    let now = app.clock.now();
    let ended_at = (request.ended == Some(true)).then_some(now);
    let form = Form {
        ended_at,
        ..Form::from(request).check()?
    };
    let made = async {
        let mut tx = app.store.begin().await?;
        match tx.create_form(id, form, now).await? {
            Ok(stored) => tx.commit().await.map(|()| Ok(stored)),
            Err(taken) => tx.rollback().await.map(|()| Err(taken)),
        }
    };
    match made.await.map_err(|error| Problem::database(&error))? {
        Ok(stored) => {
            app.forms.put(stored.id, stored.form.clone()).await;
            Ok((
                StatusCode::CREATED,
                Json(FormView::at(stored, app.site_of(&headers))),
            ))
        }
        Err(taken) => Err(Problem::conflict(
            taken.field(),
            format_args!(
                "{} is already taken; choose another, or change that one with PUT \
                /api/v1/forms/<id>",
                id.map_or_else(String::new, |id: FormId| id.to_string())
            ),
        )),
    }
}

/// `PUT /forms/{id}`: the whole definition anew.
#[utoipa::path(
    put,
    path = "/forms/{id}",
    summary = "Replaces the definition of a form",
    params(("id" = Id, Path)),
    request_body = FormRequest,
    responses((status = 200, description = "The form as it is now", body = FormView)),
)]
pub(super) async fn change_form(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    ApiJson(mut request): ApiJson<FormRequest>,
) -> Result<Json<FormView>, Problem> {
    let id = id.id("form")?;
    if request.id.take().is_some_and(|given| given != id) {
        return Err(Problem::field(
            "id",
            format_args!("does not match the path, {}: leave it out", id.0),
        ));
    }
    let ended = request.ended;
    let form = Form::from(request).check()?;
    let changed = save(&app, id.into(), |was, now| Form {
        ended_at: match ended {
            Some(true) => was.ended_at.or(Some(now)),
            Some(false) => None,
            None => was.ended_at,
        },
        ..form
    });
    match changed.await? {
        Some(stored) => Ok(Json(FormView::at(stored, app.site_of(&headers)))),
        None => Err(no_form(id)),
    }
}

/// `POST /forms/{id}/end`: from now on it takes nothing; its visitors go to `url`, or are told. One
/// that has ended keeps its end.
#[utoipa::path(
    post,
    path = "/forms/{id}/end",
    summary = "Ends a form: it takes nothing",
    params(("id" = Id, Path)),
    request_body = Option<EndRequest>,
    responses((status = 200, description = "The form as it is now", body = FormView)),
)]
pub(super) async fn end_form(
    State(app): State<Arc<AdminState>>,
    id: PathText,
    headers: HeaderMap,
    ApiJsonIfAny(request): ApiJsonIfAny<EndRequest>,
) -> Result<Json<FormView>, Problem> {
    let id = id.id("form")?;
    let url = match request.url {
        Some(url) => {
            let checked = check_template(&url);
            Some(checked.map_err(|error| Problem::field("url", error))?)
        }
        None => None,
    };
    let changed = save(&app, id.into(), |was, now| Form {
        ended_at: was.ended_at.or(Some(now)),
        end_url: url.or(was.end_url),
        ..was
    });
    match changed.await? {
        Some(stored) => Ok(Json(FormView::at(stored, app.site_of(&headers)))),
        None => Err(no_form(id)),
    }
}

/// `DELETE /forms/{id}`: never.
#[utoipa::path(
    delete,
    path = "/forms/{id}",
    operation_id = "delete_form",
    summary = "Refused: a form is ended",
    params(("id" = Id, Path)),
)]
pub(super) async fn refuse_delete(id: PathText) -> Result<StatusCode, Problem> {
    let id = id.id("form")?;
    Err(Problem::new(
        StatusCode::CONFLICT,
        format!(
            "forms cannot be deleted, because pages post to them; end this one with POST \
            /api/v1/forms/{}/end, and it takes nothing from then on",
            id.0
        ),
    ))
}

/// Changes a form in the database and in the local copy; nothing where there is none.
async fn save(
    app: &AdminState,
    id: FormId,
    change: impl FnOnce(Form, Micros) -> Form,
) -> Result<Option<StoredForm>, Problem> {
    let changed = async {
        let mut tx = app.store.begin().await?;
        let Some(was) = tx.form_to_change(id).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        let now = app.clock.now();
        let changed = tx.change_form(id, change(was.form, now), now).await?;
        tx.commit().await.map(|()| changed)
    };
    let changed: store::Result<_> = changed.await;
    let changed = changed.map_err(|error| Problem::database(&error))?;
    if let Some(stored) = &changed {
        app.forms.put(stored.id, stored.form.clone()).await;
    }
    Ok(changed)
}

//! `POST /form/submit` and `/form/submit/ajax`: forms that sites post, in Mautic's manner.
//!
//! The definition comes from the local copy and the hit goes to the spool, so a submission is
//! answered while the database is down. A visitor is told the truth: where the submission could not
//! be made durable, that it has to be sent again.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::{Html, IntoResponse as _, Response};
use http::header::{CONTENT_SECURITY_POLICY, ORIGIN, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use url::Url;

use super::collect::json_answer;
use super::cors::Permission;
use super::redirect::{redirect, set_visitor};
use super::{Outcome, TrackingState, Visit, hide};
use crate::model::form::{Form, FormId};
use crate::tracking::inbound::Inbound;
use crate::tracking::mautic::form::{self, MOST_TEXT, Post, Said, Unreadable};
use crate::tracking::verdict;

/// Most bytes of a body with files in it: PHP's own limit (`post_max_size`). Files are read over
/// and not kept.
const MOST_MULTIPART: usize = 8 << 20;
/// How long a body may take to arrive: files come over slow lines.
const MOST_TIME: Duration = Duration::from_secs(60);

/// What is said where there is no such form. In Mautic's words.
const UNAVAILABLE: &str = "The form is not available.";
/// What is said where the hit could not be kept.
const NOT_KEPT: &str = "Your submission could not be stored. Please send it again.";

/// Answers any request to `/form/submit…`.
pub(in crate::web) async fn answer_form(
    app: &TrackingState,
    visit: Visit<'_>,
    body: Body,
) -> Outcome {
    match visit.parts.method {
        Method::POST => post_form(app, visit, body).await,
        Method::OPTIONS => get_permission(app, visit).await.into(),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response().into(),
    }
}

/// `OPTIONS`: the form is named in the query, since there is no body.
async fn get_permission(app: &TrackingState, visit: Visit<'_>) -> Response {
    let inbound = app.inbound(visit, &[]);
    let form = match form_in_query(&inbound) {
        Some(id) => app.forms.get(id).await,
        None => None,
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    permission(app, &visit.parts.headers, form.as_deref()).write_preflight(response.headers_mut());
    response
}

/// One submission.
async fn post_form(app: &TrackingState, visit: Visit<'_>, body: Body) -> Outcome {
    let headers = &visit.parts.headers;
    let head = app.inbound(visit, &[]);
    let is_ajax = is_ajax(&head);
    let content_type = head.header("content-type").map(|kind| kind.into_owned());
    let refuse = |status, text: &str, why| {
        let mut response = failure(status, text, is_ajax);
        if is_ajax {
            permission(app, headers, None).write(response.headers_mut());
        }
        Outcome::refused(response, why)
    };
    let body = match read_body(body, content_type.as_deref()).await {
        Ok(body) => body,
        Err(StatusCode::PAYLOAD_TOO_LARGE) => {
            let text = Unreadable::TooLarge.to_string();
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, &text, "form too large");
        }
        Err(status) => {
            let text = "The form's data did not arrive whole.";
            return refuse(status, text, "form unreadable");
        }
    };
    let inbound = app.inbound(visit, &body);
    let post = match Post::read(content_type.as_deref(), &body) {
        Ok(post) => post,
        Err(error) => {
            let (status, why) = match error {
                Unreadable::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "form too large"),
                Unreadable::Boundary | Unreadable::Incomplete => {
                    (StatusCode::BAD_REQUEST, "form unreadable")
                }
            };
            return refuse(status, &error.to_string(), why);
        }
    };
    let id = post.form_id().or_else(|| form_in_query(&inbound));
    let found = match id {
        Some(id) => app.forms.get(id).await.map(|form| (id, form)),
        None => None,
    };
    let Some((id, form)) = found else {
        // Mautic's script reads the answer of a 200 only.
        let status = if is_ajax {
            StatusCode::OK
        } else {
            StatusCode::NOT_FOUND
        };
        return refuse(status, UNAVAILABLE, "form unknown");
    };
    let page = Page {
        app,
        inbound: &inbound,
        form: &form,
        post: &post,
        is_ajax,
    };
    let mut taken = match form::submit(&inbound, &app.rules, id, &form, &post) {
        Ok(taken) => taken,
        Err(errors) => return Outcome::refused(page.answer(Said::Wrong(&errors)), "form invalid"),
    };
    if !verdict::is_prefetch(&inbound) {
        set_visitor(app, &mut taken.hit);
    }
    let visitor = app.cookies.visitor_value(&taken.hit);
    let answer = |said| {
        let mut response = page.answer(said);
        if let Some(value) = &visitor {
            app.cookies
                .write_visitor(value, headers, response.headers_mut());
        }
        response
    };
    let mut outcome = Outcome::of(answer(Said::Taken(&taken.results)), vec![taken.hit]);
    outcome.if_lost = Some(Box::new(answer(Said::Failed(NOT_KEPT))));
    outcome
}

/// A submission's form and how its page wants the answer.
struct Page<'a> {
    app: &'a TrackingState,
    inbound: &'a Inbound<'a>,
    form: &'a Form,
    post: &'a Post,
    is_ajax: bool,
}

impl Page<'_> {
    fn answer(&self, said: Said<'_>) -> Response {
        let Self {
            form,
            post,
            inbound,
            ..
        } = *self;
        if self.is_ajax {
            let mut response = json_answer(StatusCode::OK, &form::json(form, post, said));
            permission(self.app, inbound.headers, Some(form)).write(response.headers_mut());
            return guarded(response);
        }
        if post.is_messenger() {
            let origin = form::page_origin(form, post, inbound);
            let answer = form::json(form, post, said);
            let page = form::messenger_page(form, &answer, said, origin.as_deref());
            return guarded(Html(page).into_response());
        }
        if let Some(location) = form::return_location(form, post, inbound, said) {
            return redirect(&location);
        }
        let mut response = sealed(Html(form::message_page(form, said)).into_response());
        if let Said::Failed(_) = said {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

/// Whether a script asks: by the path or by `ajax=1`.
fn is_ajax(inbound: &Inbound<'_>) -> bool {
    inbound.path.ends_with("/ajax")
        || inbound
            .query_pairs()
            .any(|(name, value)| name == "ajax" && !matches!(&*value, "" | "0"))
}

fn form_in_query(inbound: &Inbound<'_>) -> Option<FormId> {
    inbound
        .query_pairs()
        .find(|(name, _)| name == "formId")
        .and_then(|(_, id)| id.trim().parse().ok())
        .map(FormId)
}

/// Origins of the configuration, and those of the hosts that the form allows: where a form may
/// stand, its script may read the answer.
fn permission(app: &TrackingState, headers: &HeaderMap, form: Option<&Form>) -> Permission {
    match (app.cors.permission(headers), headers.get(ORIGIN), form) {
        (Permission::Refused, Some(origin), Some(form)) if is_forms_own(form, origin) => {
            Permission::Granted(origin.clone())
        }
        (permission, ..) => permission,
    }
}

fn is_forms_own(form: &Form, origin: &HeaderValue) -> bool {
    origin
        .to_str()
        .ok()
        .and_then(|origin| Url::parse(origin).ok())
        .is_some_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|host| form.allows_host(host))
        })
}

async fn read_body(body: Body, content_type: Option<&str>) -> Result<Bytes, StatusCode> {
    let is_multipart = content_type
        .and_then(|kind| kind.trim_start().get(..10))
        .is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"));
    let most = if is_multipart {
        MOST_MULTIPART
    } else {
        MOST_TEXT
    };
    match tokio::time::timeout(MOST_TIME, to_bytes(body, most)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// What is said of a submission whose form is not known.
fn failure(status: StatusCode, text: &str, is_ajax: bool) -> Response {
    if is_ajax {
        let body = serde_json::json!({ "success": 0, "errorMessage": text });
        return guarded(json_answer(status, &body));
    }
    // The texts are ours: nothing to escape.
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
        content=\"width=device-width\">\
         <title>Form</title><style>body{{font:1.1rem/1.5 system-ui;margin:15vh \
         auto;max-width:30rem;padding:0 1rem}}</style>\
         <p>{text}</p></html>"
    );
    sealed((status, Html(page)).into_response())
}

/// Never cached, never taken for another type.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    hide(headers);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// [`guarded`], and runs nothing.
fn sealed(response: Response) -> Response {
    let mut response = guarded(response);
    response.headers_mut().insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    response
}

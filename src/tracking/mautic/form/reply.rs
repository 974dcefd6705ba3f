//! Answers submissions in two steps: [`read`] says which form they are for, [`answer()`] holds them
//! against its definition, once that was looked up.
//!
//! A visitor is told the truth: where the submission could not be made durable, that it has to be
//! sent again.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, json};
use url::Url;

use super::answer::{self, Said, message_page, messenger_page, page_origin, return_location};
use super::{Post, is_trapped, submit};
use crate::model::form::{Form, FormId};
use crate::model::orphan::OrphanKind;
use crate::tracking::decoded::{Cookies, Decoded, Readers, Reply, Runs};
use crate::tracking::inbound::Inbound;
use crate::tracking::multipart::{MOST_TEXT, Unreadable, is_multipart};
use crate::tracking::{Rules, verdict, visitor};

/// Maximum size of a body with files in it: PHP's own limit (`post_max_size`). Files are skipped
/// and not kept.
const MOST_MULTIPART: usize = 8 << 20;

/// The message if there is no such form, in Mautic's words.
pub(super) const UNAVAILABLE: &str = "The form is not available.";
/// The message if the form has ended.
pub(super) const ENDED: &str = "This form is closed.";
/// The message if the hit could not be kept.
const NOT_KEPT: &str = "Your submission could not be stored. Please send it again.";
/// The message if the body was incomplete.
const NOT_WHOLE: &str = "The form's data did not arrive whole.";

/// A submission whose form has yet to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The form, if the request names one.
    pub form: Option<FormId>,
    post: Post,
    is_ajax: bool,
}

/// Most bytes of a submission's body.
pub fn most_bytes(headers: &HeaderMap) -> usize {
    let content_type = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let content_type = content_type.and_then(|kind| std::str::from_utf8(kind).ok());
    match content_type.is_some_and(is_multipart) {
        true => MOST_MULTIPART,
        false => MOST_TEXT,
    }
}

/// Reads a submission.
///
/// # Errors
/// The answer to a body that cannot be read.
#[expect(
    clippy::result_large_err,
    reason = "the answer goes on as it is, and a box would be one more step for each reader of this"
)]
pub fn read(inbound: &Inbound<'_>, body: &Bytes) -> Result<Asked, Decoded> {
    let content_type = inbound.header(CONTENT_TYPE);
    let post = Post::read(content_type.as_deref(), body).map_err(|error| {
        let status = match error {
            Unreadable::TooLarge => return refuse_too_large(inbound),
            Unreadable::Boundary | Unreadable::Incomplete => StatusCode::BAD_REQUEST,
        };
        refuse(inbound, status, &error.to_string(), "form unreadable")
    })?;
    Ok(Asked {
        form: post.form_id().or_else(|| form_in_query(inbound.query)),
        post,
        is_ajax: is_ajax(inbound),
    })
}

/// Answers a submission, given its form.
pub fn answer(inbound: &Inbound<'_>, rules: &Rules, asked: &Asked, form: Option<&Form>) -> Decoded {
    let (Some(id), Some(form)) = (asked.form, form) else {
        // Mautic's script reads the answer of a 200 only.
        let status = match asked.is_ajax {
            true => StatusCode::OK,
            false => StatusCode::NOT_FOUND,
        };
        let refused = refuse(inbound, status, UNAVAILABLE, "form unknown");
        return match asked.form {
            Some(id) => refused.orphan(OrphanKind::Form, &id.to_string()),
            None => refused,
        };
    };
    let reply = |said| reply(inbound, asked, form, said);
    if is_trapped(form, &asked.post) {
        // Told as taken, so that its program does not try another way.
        return Decoded::refused(reply(Said::Taken(&Map::new())), "form honeypot");
    }
    if form.ended_at.is_some() {
        let reply = match &form.end_url {
            Some(url) if !asked.is_ajax && !asked.post.is_messenger() => {
                Reply::Redirect(url.clone())
            }
            _ => reply(Said::Ended(ENDED)),
        };
        return Decoded::refused(reply, "form ended");
    }
    let mut taken = match submit(inbound, rules, id, form, &asked.post) {
        Ok(taken) => taken,
        Err(errors) => return Decoded::refused(reply(Said::Wrong(&errors)), "form invalid"),
    };
    if !verdict::is_prefetch(inbound) {
        visitor::set_new(&mut taken.hit, inbound);
    }
    Decoded {
        if_lost: Some(Box::new(reply(Said::Failed(NOT_KEPT)))),
        cookies: Cookies {
            visitor: visitor::cookie_value(rules, &taken.hit),
            ..Cookies::default()
        },
        ..Decoded::of(reply(Said::Taken(&taken.results)), vec![taken.hit])
    }
}

/// The answer in the way that the page asked for.
fn reply(inbound: &Inbound<'_>, asked: &Asked, form: &Form, said: Said<'_>) -> Reply {
    let post = &asked.post;
    if asked.is_ajax {
        let body = answer::json(form, post, said);
        return Reply::Json(StatusCode::OK, body, readers(inbound, Some(form)));
    }
    if post.is_messenger() {
        let origin = page_origin(form, post, inbound);
        let answer = answer::json(form, post, said);
        return Reply::Page {
            status: StatusCode::OK,
            html: messenger_page(form, &answer, said, origin.as_deref()),
            runs: Runs::Inline,
        };
    }
    if let Some(location) = return_location(form, post, inbound, said) {
        return Reply::Redirect(location);
    }
    Reply::Page {
        status: match said {
            Said::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
            Said::Ended(_) => StatusCode::GONE,
            Said::Taken(_) | Said::Wrong(_) => StatusCode::OK,
        },
        html: message_page(form, said),
        runs: Runs::Nothing,
    }
}

/// `OPTIONS`: the form is named in the query, since there is no body.
pub fn permit(inbound: &Inbound<'_>, form: Option<&Form>) -> Decoded {
    Decoded::of(Reply::Preflight(readers(inbound, form)), Vec::new())
}

/// The form that the query names.
pub fn form_in_query(query: &str) -> Option<FormId> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "formId")
        .and_then(|(_, id)| id.trim().parse().ok())
        .map(FormId)
}

/// Answers a submission that is longer than [`most_bytes`].
pub fn refuse_too_large(inbound: &Inbound<'_>) -> Decoded {
    let text = Unreadable::TooLarge.to_string();
    refuse(
        inbound,
        StatusCode::PAYLOAD_TOO_LARGE,
        &text,
        "form too large",
    )
}

/// Answers a submission whose body broke off, or took too long.
pub fn refuse_unread(inbound: &Inbound<'_>, status: StatusCode) -> Decoded {
    refuse(inbound, status, NOT_WHOLE, "form unreadable")
}

/// The answer to a submission for an unknown form.
fn refuse(inbound: &Inbound<'_>, status: StatusCode, text: &str, why: &'static str) -> Decoded {
    let reply = if is_ajax(inbound) {
        let body = json!({ "success": 0, "errorMessage": text });
        Reply::Json(status, body, readers(inbound, None))
    } else {
        Reply::Page {
            status,
            html: answer::page("Form", text),
            runs: Runs::Nothing,
        }
    };
    Decoded::refused(reply, why)
}

/// Whether a script asks: judged by the path or by `ajax=1`.
fn is_ajax(inbound: &Inbound<'_>) -> bool {
    inbound.rest == "/ajax"
        || inbound
            .query_pairs()
            .any(|(name, value)| name == "ajax" && !matches!(&*value, "" | "0"))
}

/// Where a form may be placed, its script may read the response.
pub(super) fn readers(inbound: &Inbound<'_>, form: Option<&Form>) -> Readers {
    Readers::Form {
        is_own: form.is_some_and(|form| stands_at_origin(form, inbound)),
    }
}

fn stands_at_origin(form: &Form, inbound: &Inbound<'_>) -> bool {
    let origin = inbound.headers.get(ORIGIN);
    origin
        .and_then(|origin| origin.to_str().ok())
        .and_then(|origin| Url::parse(origin).ok())
        .is_some_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|host| form.allows_host(host))
        })
}

//! Form submissions: `mauticform[…]` in, a checked submission and its answers out
//! (`tests/cases/mautic/PROTOCOL.md`, "Forms").
//!
//! [`Post::read`] reads the body, [`submit`] holds it against the form's definition, and
//! [`answer()`] words the reply in the way that the page asked for. Sources: Mautic's `FormBundle`
//! (`PublicController`, `SubmissionModel`) and its `mautic-form.js`; TYPO3's plugin for multipart.
//!
//! The other way round, [`show`] gives a page the form itself, with the names and ids that Mautic's
//! own script and a site's own style know.

mod answer;
mod check;
mod markup;
mod post;
mod reply;
mod view;
mod words;

use serde_json::{Map, Value};
use uuid::Uuid;

pub use check::FieldError;
pub use post::Post;
pub use reply::{answer, form_in_query, most_bytes, permit, read, refuse_too_large, refuse_unread};
pub use view::{View, show, viewed};

use crate::model::form::{FieldKind, Form, FormId};
use crate::model::hit::{Dialect, Hit, HitId, Kind, Limit};
use crate::tracking::inbound::Inbound;
use crate::tracking::page::take_page_utm;
use crate::tracking::session::take_session;
use crate::tracking::visitor::{DEVICE, take_visitor};
use crate::tracking::{Rules, verdict};

/// Longest text of a field that is kept: a long letter.
const TEXT: Limit = Limit(20_000);

/// A valid submission.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// Of the kind `form`; its id is nil.
    pub hit: Hit,
    /// The submitted values, by the fields' aliases.
    pub results: Map<String, Value>,
}

/// Whether a program has filled in what people do not see.
pub fn is_trapped(form: &Form, post: &Post) -> bool {
    let mut pots = form
        .fields
        .iter()
        .filter(|field| field.kind == FieldKind::Honeypot);
    pots.any(|pot| {
        post.values(&pot.alias)
            .iter()
            .any(|value| !value.trim().is_empty())
    })
}

/// Validates a submission against its form.
///
/// A field with a `contact_field` sets that field of the contact, also where `contacts.public` does
/// not list it: it was the operator who gave the form that power, through the authenticated API. A
/// unique one names the contact. What the form does not know is kept in `extra` under its whole
/// name and sets nothing.
///
/// # Errors
/// A field is wrong: which, and how. Then there is no hit.
pub fn submit(
    inbound: &Inbound<'_>,
    rules: &Rules,
    id: FormId,
    form: &Form,
    post: &Post,
) -> Result<Submission, Vec<FieldError>> {
    let errors: Vec<FieldError> = form
        .fields
        .iter()
        .filter_map(|field| {
            let is_required = check::is_required(field, post);
            check::check_field(field, post.values(&field.alias), is_required)
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        inbound.received_at,
        Kind::Form,
        Dialect::Mautic,
    );
    verdict::judge_request(&mut hit, inbound, &rules.lists);
    take_session(&mut hit, inbound, rules);
    // A site that passes its forms on (TYPO3's plugin) gives its visitor's id beside the form.
    take_visitor(&mut hit, inbound, rules, post.outer(DEVICE));
    hit.event = hit.take("event", &form.name, Limit::NAME);
    take_page(&mut hit, inbound, post);
    let results = take_fields(&mut hit, id, form, post);
    Ok(Submission { hit, results })
}

/// The page that the form is on: what its script says, else the referrer.
fn take_page(hit: &mut Hit, inbound: &Inbound<'_>, post: &Post) {
    let referer = inbound.header("referer");
    let page = post.return_url().or(referer.as_deref());
    if let Some(page) = page {
        hit.page_url = hit.take_url("page_url", page);
    }
    take_page_utm(hit);
}

/// Collects fields for `extra`, contact fields and results.
fn take_fields(hit: &mut Hit, id: FormId, form: &Form, post: &Post) -> Map<String, Value> {
    let mut results = Map::new();
    hit.keep("form_id", &id.to_string());
    for field in &form.fields {
        if field.kind == FieldKind::Honeypot {
            continue;
        }
        let values = post.values(&field.alias);
        let is_lines = field.kind == FieldKind::Textarea;
        let texts: Vec<String> = values
            .iter()
            .map(|value| take_text(hit, value, is_lines))
            .filter(|text| !text.is_empty())
            .collect();
        if field.kind == FieldKind::File && !texts.is_empty() {
            hit.note("file not stored");
        }
        let text = texts.join(", ");
        if let (Some(name), false) = (&field.contact_field, text.is_empty()) {
            let value = match is_lines {
                true => hit.take_lines(&field.alias, &text, Limit::TITLE),
                false => hit.take(&field.alias, &text, Limit::TITLE),
            };
            if let Some(value) = value {
                hit.fields.push((name.clone(), value));
            }
        }
        results.insert(field.alias.clone(), text.clone().into());
        if !text.is_empty() {
            hit.extra
                .get_or_insert_default()
                .insert(field.alias.clone(), text.into());
        }
    }
    for (name, value) in post.unknown(form) {
        hit.note("unknown fields");
        hit.keep(&name, &value);
    }
    if post.is_cut {
        hit.note("fields cut");
    }
    results
}

/// A field's text; only a field of many lines keeps its line breaks.
fn take_text(hit: &mut Hit, value: &str, is_lines: bool) -> String {
    let text = match is_lines {
        true => hit.take_lines("field", value, TEXT),
        false => hit.take("field", value, TEXT),
    };
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! What a page gets back, in the way it asked: a redirect, JSON, a message to the page around a
//! frame, or a page of our own.
//!
//! Redirects lead to hosts that the form allows and nowhere else. Nothing of a submission stands in
//! a page of ours; in the message to the page around it stands as data only.

use std::borrow::Cow;

use http::header::HOST;
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value, json as value};
use url::Url;

use super::{FieldError, Post};
use crate::model::escape::{VALUE, html, script_string};
use crate::model::form::Form;
use crate::model::hit::Limit;
use crate::tracking::html_page::html_page;
use crate::tracking::inbound::Inbound;

/// The answer to a submission.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// It was accepted; the results by alias.
    Taken(&'a Map<String, Value>),
    /// Fields are wrong.
    Wrong(&'a [FieldError]),
    /// It could not be kept, or there is no such form.
    Failed(&'a str),
    /// The form takes nothing any more.
    Ended(&'a str),
}

impl Said<'_> {
    /// For a person to read; plain text.
    fn text(&self, form: &Form) -> String {
        match self {
            Self::Taken(_) => form
                .success_message
                .clone()
                .unwrap_or_else(|| "Thank you. Your submission has been received.".to_owned()),
            Self::Failed(why) | Self::Ended(why) => (*why).to_owned(),
            Self::Wrong(errors) => match &form.error_message {
                Some(message) => message.clone(),
                None => errors
                    .iter()
                    .map(|error| error.message.as_str())
                    .collect::<Vec<_>>()
                    .join(" "),
            },
        }
    }
}

/// The page that the visitor comes from and may be sent back to: the one in the request, else the
/// referrer.
fn page_url(form: &Form, post: &Post, inbound: &Inbound<'_>) -> Option<Url> {
    match post.return_url() {
        Some(url) => form.allowed_url(url),
        None => form.allowed_url(&inbound.header("referer")?),
    }
}

/// Where a plain submission is redirected, with `mauticMessage` or `mauticError` merged into the
/// page's query; `None` if no page is allowed. Errors lead back to the page only, never on to the
/// form's own.
pub fn return_location(
    form: &Form,
    post: &Post,
    inbound: &Inbound<'_>,
    said: Said<'_>,
) -> Option<String> {
    let page = page_url(form, post, inbound);
    if let Said::Taken(_) = said {
        let page = page.or_else(|| form.own_url())?;
        return Some(with_message(page, "mauticMessage", form.success_message.as_deref()).into());
    }
    let mut page = with_message(page?, "mauticError", Some(&said.text(form)));
    // The browser scrolls to the form.
    if page.fragment().is_none() {
        page.set_fragment(Some(&format!("mauticform_{}", form.alias)));
    }
    Some(page.into())
}

/// Replaces an earlier answer in a page's query with this one; the rest stays as it came.
fn with_message(mut page: Url, name: &str, text: Option<&str>) -> Url {
    let mut query: String = page
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            let name = percent_decode_str(name).decode_utf8_lossy();
            !pair.is_empty() && name != "mauticMessage" && name != "mauticError"
        })
        .collect::<Vec<_>>()
        .join("&");
    if let Some(text) = text {
        let mut text: Cow<'_, str> = text.into();
        if query.len() + text.len() > Limit::URL.0 {
            text = text.chars().take(500).collect();
        }
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.extend(utf8_percent_encode(&text, VALUE));
    }
    page.set_query((!query.is_empty()).then_some(&query));
    page
}

/// The answer for a script: Mautic's members.
pub fn json(form: &Form, post: &Post, said: Said<'_>) -> Value {
    let mut answer = value!({ "success": u8::from(matches!(said, Said::Taken(_))) });
    match said {
        Said::Taken(results) => {
            answer["results"] = Value::Object(results.clone());
            match (&form.success_message, form.own_url()) {
                (None, Some(url)) => answer["redirect"] = String::from(url).into(),
                _ => answer["successMessage"] = said.text(form).into(),
            }
        }
        Said::Wrong(errors) => {
            let errors: Map<String, Value> = errors
                .iter()
                .map(|error| (error.alias.clone(), error.message.clone().into()))
                .collect();
            answer["validationErrors"] = Value::Object(errors);
            if let Some(message) = &form.error_message {
                answer["errorMessage"] = message.clone().into();
            }
        }
        Said::Failed(why) => answer["errorMessage"] = why.into(),
        Said::Ended(why) => {
            answer["errorMessage"] = why.into();
            if let Some(url) = &form.end_url {
                answer["redirect"] = url.clone().into();
            }
        }
    }
    answer["formName"] = post.form_name().unwrap_or(&form.alias).into();
    answer
}

/// The origin that a message is posted to: the page that contains the form, if the form allows it.
///
/// Where the form stands on a page of this server, which another page may have in a frame, the
/// message goes to a page of the same origin and to no other.
pub fn page_origin(form: &Form, post: &Post, inbound: &Inbound<'_>) -> Option<String> {
    if post.return_url().is_some_and(|page| is_here(page, inbound)) {
        return Some("/".to_owned());
    }
    page_url(form, post, inbound)
        .or_else(|| form.allowed_url(&inbound.header("origin")?))
        .or_else(|| form.own_url())
        .map(|url| url.origin().ascii_serialization())
}

/// Whether a page is on the requested host.
fn is_here(page: &str, inbound: &Inbound<'_>) -> bool {
    let host = inbound.header(HOST);
    let authority = Url::parse(page).ok().filter(|url| url.has_host());
    let authority = authority.map(|url| url.authority().to_owned());
    authority.is_some() && authority.as_deref() == host.as_deref()
}

/// A page in a frame that passes the answer to the page around it. Without an origin nobody gets
/// it.
pub fn messenger_page(form: &Form, answer: &Value, said: Said<'_>, origin: Option<&str>) -> String {
    let script = origin.map_or_else(String::new, |origin| {
        format!(
            "<script>parent.postMessage({},{});</script>",
            script_string(&answer.to_string()),
            script_string(origin)
        )
    });
    format!(
        "<!doctype html><html lang=\"en\"><head><meta \
        charset=\"utf-8\"><title>{}</title>{script}</head><body>{}</body></html>",
        html(&form.name),
        html(&said.text(form))
    )
}

/// A page of ours, for forms that lead nowhere else.
pub fn message_page(form: &Form, said: Said<'_>) -> String {
    page(&html(&form.name), &html(&said.text(form)))
}

/// A page with a title and a text, both HTML.
pub(super) fn page(title: &str, text: &str) -> String {
    html_page("en", title, &format!("<p>{text}</p>"))
}

//! What the page of a hit says: in its own URL, and by the values that it sent.

use crate::model::hit::{Hit, Kind, Limit, clean};
use crate::tracking::{MOST_PARAMETERS, Rules};

/// The kind of a hit with these values, if the request does not say.
pub(crate) fn kind_of(hit: &Hit) -> Kind {
    if hit.revenue.is_some() || hit.order_id.is_some() {
        Kind::Transaction
    } else if hit.event.is_some() {
        Kind::Event
    } else {
        Kind::Pageview
    }
}

/// The query of the page's own URL.
pub(crate) fn page_query(hit: &Hit) -> Option<&str> {
    let (_, query) = hit
        .page_url
        .as_deref()?
        .split('#')
        .next()?
        .split_once('?')?;
    Some(query)
}

/// Contact fields of `public` in the page's own URL, for names that the request did not give.
/// Whoever made the URL set them: see [`crate::model::hit::Foreign::page_fields`].
pub(crate) fn take_page_fields(hit: &mut Hit, rules: &Rules) {
    let is_field = |name: &str| rules.public.iter().any(|field| field == name);
    let Some(query) = page_query(hit) else { return };
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).take(MOST_PARAMETERS) {
        let is_given = hit.fields.iter().any(|(had, _)| *had == name);
        if !is_field(&name) || is_given || rules.refuses(&name, &value).is_some() {
            continue;
        }
        let (value, _) = clean(&value, Limit::TITLE);
        if !value.is_empty() {
            found.retain(|(had, _)| *had != name);
            found.push((name.into_owned(), value.into_owned()));
        }
    }
    if !found.is_empty() {
        hit.foreign_mut().page_fields = found;
    }
}

/// Campaign parameters in the page's own URL, where the request gave none.
pub(crate) fn take_page_utm(hit: &mut Hit) {
    let Some(query) = page_query(hit).filter(|query| query.contains("utm_")) else {
        return;
    };
    let query = query.to_owned();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        hit.take_utm_if_none(&name, &value);
    }
}

//! What the page of a hit says: in its own URL, and by the values that it sent.

use crate::model::hit::{Hit, Kind};

/// What a hit with these values is, where the request does not say it.
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

//! What follows a click in every dialect: the page that it leads to, and what the browser is to
//! remember of it.

use std::borrow::Cow;

use super::decoded::{Cookies, Counted, Decoded, Reply};
use super::inbound::Inbound;
use super::landing::{LANDING_PARAMETER, landing_value};
use super::{AdobeMode, Rules, session, verdict, visitor};
use crate::model::hit::{Hit, Reason};
use crate::model::link::{self, LinkRecord, PersonalValues, build_destination};

/// What a click carries to its page.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Brought<'q> {
    /// For the personal parts of the destination.
    pub(crate) values: Cow<'q, PersonalValues>,
    /// Raw query that is passed on to the page.
    pub(crate) query: Cow<'q, str>,
}

impl<'q> Brought<'q> {
    /// The whole query, except for the link's personal parts.
    pub(crate) fn of(link: &LinkRecord, query: Cow<'q, str>) -> Self {
        let mut values = PersonalValues::default();
        let query = if link::is_personal(&link.url) {
            values.take_from(&query).into()
        } else {
            query
        };
        Self {
            values: Cow::Owned(values),
            query,
        }
    }
}

/// Redirects a click to its page. `no_page` answers if there is none: the link has expired, or its
/// parameters choose a host that is not listed.
pub(crate) fn lead(
    inbound: &Inbound<'_>,
    rules: &Rules,
    link: &LinkRecord,
    brought: &Brought<'_>,
    mut hit: Hit,
    no_page: fn(&Inbound<'_>) -> Reply,
) -> Decoded {
    let is_visit = verdict::is_visit(inbound);
    if is_visit {
        visitor::set_new(&mut hit, inbound);
    }
    let fill = |template| link::fill(template, &brought.values, &rules.personal_hosts);
    let reply = if link.is_expired(hit.received_at) {
        hit.note("link expired");
        match link.expiration_url.as_deref().and_then(fill) {
            Some(url) => Reply::Redirect(url.into_owned()),
            None => no_page(inbound),
        }
    } else if let Some(url) = fill(&link.url) {
        let query = &brought.query;
        Reply::Redirect(if is_visit && inbound.site.hands_over_to(&url) {
            let own = format!("{LANDING_PARAMETER}={}", landing_value(rules, &hit));
            let query = match query.is_empty() {
                true => own,
                false => format!("{query}&{own}"),
            };
            build_destination(&url, &query, &link.utm).into_owned()
        } else {
            build_destination(&url, query, &link.utm).into_owned()
        })
    } else {
        hit.judge(Reason::PersonalHost);
        no_page(inbound)
    };
    let cookies = match is_visit {
        true => remember(rules, &hit),
        false => Cookies::default(),
    };
    Decoded {
        cookies,
        counted: Counted::Redirect,
        ..Decoded::of(reply, vec![hit])
    }
}

/// The cookies of a click: session, visitor, and, if page tags count beyond the session, the last
/// delivery.
pub(crate) fn remember(rules: &Rules, hit: &Hit) -> Cookies {
    let is_lasting = matches!(
        rules.adobe_mode,
        AdobeMode::Permanent | AdobeMode::Anonymous
    );
    Cookies {
        session: Some(session::sealed(rules, hit)),
        visitor: visitor::cookie_value(rules, hit),
        last_delivery: is_lasting
            .then(|| session::sealed_last_delivery(rules, hit))
            .flatten(),
        own: Vec::new(),
    }
}

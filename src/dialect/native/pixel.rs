//! Parameters of `/mtracking.gif` and `/mtc/event`. Nothing in them is an error: what cannot be read is noted and kept.

use std::borrow::Cow;

use uuid::Uuid;

use super::super::{Decoded, Reply, Rules, judge};
use super::{take_landing, take_session, take_visitor};
use crate::hit::{
    Currency, DeliveryId, Dialect, Hit, HitId, Kind, Limit, Money, MoneyError, Provenance,
    TagChange, clean,
};
use crate::inbound::Inbound;

/// Most parameters that are read of one request.
const MAX_PARAMETERS: usize = 500;
/// Most tags of one hit.
const MAX_TAGS: usize = 100;

/// One hit from the query, and from the form in the body where there is one (the body wins).
pub fn collect(inbound: &Inbound<'_>, rules: &Rules, reply: Reply) -> Decoded {
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        inbound.received_at,
        Kind::Pageview,
        Dialect::Native,
    );
    judge::judge_request(&mut hit, inbound);
    take_session(&mut hit, inbound, rules);
    let mut reader = Reader {
        rules,
        device: None,
        landing: None,
        delivery: None,
    };
    let pairs = inbound
        .query_pairs()
        .chain(form_urlencoded::parse(inbound.body));
    for (index, (name, value)) in pairs.enumerate() {
        if index == MAX_PARAMETERS {
            hit.note("parameters cut");
            break;
        }
        reader.take(&mut hit, &name, value);
    }
    take_visitor(&mut hit, inbound, rules, reader.device.as_deref());
    if let Some(sealed) = reader.landing {
        take_landing(&mut hit, rules, &sealed);
    }
    if let (None, Some(delivery)) = (hit.delivery_id, reader.delivery) {
        hit.delivery_id = Some(delivery);
        hit.provenance = Provenance::Claimed;
    }
    if hit.page_url.is_none()
        && let Some(referer) = inbound.header("referer")
    {
        hit.page_url = hit.take("page_url", &referer, Limit::URL);
    }
    take_page_utm(&mut hit);
    hit.kind = kind_of(&hit);
    Decoded {
        hits: vec![hit],
        reply,
    }
}

/// What a hit with these values is, where the request does not say it.
pub(super) fn kind_of(hit: &Hit) -> Kind {
    if hit.revenue.is_some() || hit.order_id.is_some() {
        Kind::Transaction
    } else if hit.event.is_some() {
        Kind::Event
    } else {
        Kind::Pageview
    }
}

struct Reader<'r> {
    rules: &'r Rules,
    device: Option<String>,
    landing: Option<String>,
    delivery: Option<DeliveryId>,
}

impl Reader<'_> {
    fn take(&mut self, hit: &mut Hit, name: &str, value: Cow<'_, str>) {
        if value.is_empty() {
            return;
        }
        match name {
            "page_url" => hit.page_url = hit.take(name, &value, Limit::URL),
            "page_title" => hit.page_title = hit.take(name, &value, Limit::TITLE),
            "page_language" | "language" => hit.page_language = hit.take(name, &value, Limit::WORD),
            "page_referrer" | "referrer" => hit.referrer = hit.take(name, &value, Limit::URL),
            "tags" => take_tags(hit, value.split(',')),
            "event" => hit.event = hit.take(name, &value, Limit::NAME),
            "site" => take_site(hit, &value),
            "order_id" => hit.order_id = hit.take(name, &value, Limit::NAME),
            "idempotency_key" => hit.idempotency_key = hit.take(name, &value, Limit::NAME),
            "mautic_device_id" => self.device = Some(value.into_owned()),
            super::LANDING_PARAMETER => self.landing = Some(value.into_owned()),
            "revenue" => read(hit, name, &value, take_revenue(&value), |hit, money| {
                hit.revenue = Some(money)
            }),
            "currency" => read(
                hit,
                name,
                &value,
                Currency::parse(&value).ok_or("unknown"),
                |hit, code| hit.currency = Some(code),
            ),
            "quantity" => read(
                hit,
                name,
                &value,
                value.trim().parse().map_err(|_| "no number"),
                |hit, number| hit.quantity = Some(number),
            ),
            "delivery_id" => match value.trim().parse() {
                Ok(id) if id > 0 => self.delivery = Some(DeliveryId(id)),
                _ => refuse(hit, name, &value, "no number"),
            },
            _ => {
                if let Some(slot) = hit.utm.slot(name) {
                    *slot = Some(clean(&value, Limit::NAME).0.into_owned())
                        .filter(|value| !value.is_empty());
                } else if self.rules.public.iter().any(|field| field == name) {
                    if let Some(value) = hit.take(name, &value, Limit::TITLE) {
                        hit.fields.push((name.to_owned(), value));
                    }
                } else {
                    hit.keep(name, &value);
                }
            }
        }
    }
}

fn read<T>(
    hit: &mut Hit,
    name: &str,
    value: &str,
    read: Result<T, &'static str>,
    set: impl FnOnce(&mut Hit, T),
) {
    match read {
        Ok(number) => set(hit, number),
        Err(why) => refuse(hit, name, value, why),
    }
}

fn take_revenue(value: &str) -> Result<Money, &'static str> {
    value.parse().map_err(|error| match error {
        MoneyError::NotANumber => "no number",
        MoneyError::TooLarge => "too large",
    })
}

/// Keeps a value that its column cannot hold, and says so.
fn refuse(hit: &mut Hit, name: &str, value: &str, why: &str) {
    hit.note(&format!("{name} {why}"));
    hit.keep(name, value);
}

/// `a,-b`: adds `a`, takes `b` away.
pub(super) fn take_tags<'t>(hit: &mut Hit, tags: impl Iterator<Item = &'t str>) {
    for tag in tags {
        if hit.tags.len() == MAX_TAGS {
            hit.note("tags cut");
            return;
        }
        let tag = tag.trim();
        let (tag, remove) = tag
            .strip_prefix('-')
            .map_or((tag, false), |tag| (tag, true));
        if let Some(name) = hit.take("tag", tag, Limit::NAME) {
            hit.tags.push(TagChange { name, remove });
        }
    }
}

pub(super) fn take_site(hit: &mut Hit, site: &str) {
    if let Some(site) = hit.take("site", site, Limit::WORD) {
        hit.site = site;
    }
}

/// Campaign parameters in the page's own URL, where the request gave none.
pub(in crate::dialect) fn take_page_utm(hit: &mut Hit) {
    let Some(query) = hit
        .page_url
        .as_deref()
        .and_then(|url| url.split('#').next()?.split_once('?'))
    else {
        return;
    };
    if !query.1.contains("utm_") {
        return;
    }
    for (name, value) in form_urlencoded::parse(query.1.as_bytes()) {
        if let Some(slot @ None) = hit.utm.slot(&name) {
            *slot =
                Some(clean(&value, Limit::NAME).0.into_owned()).filter(|value| !value.is_empty());
        }
    }
}

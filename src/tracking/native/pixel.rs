//! Parameters of `/mtracking.gif` and `/mtc/event`. Nothing in them is an error: what cannot be
//! read is noted and kept.

use std::borrow::Cow;
use std::collections::HashSet;

use http::StatusCode;
use serde_json::json;
use uuid::Uuid;

use super::body;
use crate::identity;
use crate::model::hit::{
    Amount, Currency, DeliveryId, Dialect, Hit, HitId, Kind, Limit, MoneyError, Provenance,
    TagChange, VisitorId, plain_ampersands, plain_pair, read_amount, read_whole,
};
use crate::tracking::decoded::{Cookies, Counted, Decoded, Readers, Reply};
use crate::tracking::inbound::Inbound;
use crate::tracking::landing::{LANDING_PARAMETER, take_landing};
use crate::tracking::message::REPAIRED;
use crate::tracking::page::{kind_of, page_query, take_page_fields, take_page_utm};
use crate::tracking::session::take_session;
use crate::tracking::visitor::{self, DEVICE, take_visitor};
use crate::tracking::{MOST_PARAMETERS, Rules, address_with_plus, mautic, verdict};

/// Most tags of one hit.
const MAX_TAGS: usize = 100;
/// Distinguishes devices: kept with the hit even if the contact has fields of these names.
const FINGERPRINT: [&str; 7] = [
    "resolution",
    "timezone_offset",
    "timezone",
    "platform",
    "adblock",
    "do_not_track",
    "fingerprint",
];

/// One hit from the query, and from the body if there is one (the body wins).
pub fn collect(inbound: &Inbound<'_>, rules: &Rules) -> Hit {
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        inbound.received_at,
        Kind::Pageview,
        Dialect::Native,
    );
    hit.is_trusted = inbound.is_trusted_sender;
    verdict::judge_request(&mut hit, inbound, &rules.lists);
    take_session(&mut hit, inbound, rules);
    let mut reader = PixelReader {
        rules,
        device: None,
        landing: None,
        delivery: None,
        payload: None,
        click_through: None,
        beside_amount: None,
        is_purchase: false,
    };
    let given = body::read(&mut hit, inbound);
    let pairs = || {
        let list = given.list.iter();
        raw_pairs(inbound.query.as_bytes())
            .chain(raw_pairs(given.form))
            .chain(list.map(|(name, value)| (name.into(), value.into())))
    };
    for (index, (name, value)) in pairs().enumerate() {
        if index == MOST_PARAMETERS {
            hit.note("parameters cut");
            break;
        }
        reader.take(&mut hit, &name, value);
    }
    if let Some(d) = reader.payload.take()
        && let Some(parameters) = mautic::read_parameters(&mut hit, &d)
    {
        // What stands openly in the request wins: whoever adds it to a payload means it.
        let given: HashSet<_> = pairs()
            .take(MOST_PARAMETERS)
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, _)| usual_name(&name).to_owned())
            .collect();
        if parameters.len() > MOST_PARAMETERS {
            hit.note("parameters cut");
        }
        for (name, value) in parameters.into_iter().take(MOST_PARAMETERS) {
            if name != "d" && !given.contains(usual_name(&name)) {
                reader.take(&mut hit, &name, value.into());
            }
        }
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
        hit.page_url = hit.take_url("page_url", &referer);
    }
    if let Some(ct) = reader.click_through {
        mautic::take_click_through(&mut hit, &ct, mautic::Found::InRequest);
    } else if let Some(ct) = page_click_through(&hit) {
        mautic::take_click_through(&mut hit, &ct, mautic::Found::InPageUrl);
    }
    take_page_utm(&mut hit);
    take_page_fields(&mut hit, rules);
    hit.take_currency_beside("revenue", reader.beside_amount);
    hit.kind = match reader.is_purchase {
        true => Kind::Transaction,
        false => kind_of(&hit),
    };
    hit
}

/// `GET /mtracking.gif`: always the GIF.
pub fn answer_pixel(inbound: &Inbound<'_>, rules: &Rules) -> Decoded {
    let (hit, cookies) = collect_of_visitor(inbound, rules);
    Decoded {
        cookies,
        counted: Counted::Collected,
        ..Decoded::of(Reply::Gif, vec![hit])
    }
}

/// `POST /mtc/event`: the visitor's ids, and whether the hit was kept.
pub fn answer_event(inbound: &Inbound<'_>, rules: &Rules) -> Decoded {
    let (hit, cookies) = collect_of_visitor(inbound, rules);
    let answer = |success: u8| {
        let (id, value) = (hit.visitor_id.map(VisitorId::told), &cookies.visitor);
        let body = json!({
            "success": success, "id": id, "sid": value, "device_id": value, "events": [],
        });
        Reply::Json(StatusCode::OK, body, Readers::Sites)
    };
    let (reply, if_lost) = (answer(1), Some(Box::new(answer(0))));
    Decoded {
        if_lost,
        cookies,
        counted: Counted::Collected,
        ..Decoded::of(reply, vec![hit])
    }
}

/// The answer to a script whose page may not read it. Nothing is kept: the script then sends the
/// pixel, and the hit counts once.
pub fn refuse_origin() -> Decoded {
    let body = json!({ "success": 0 });
    let reply = Reply::Json(StatusCode::FORBIDDEN, body, Readers::Sites);
    Decoded::of(reply, Vec::new()).counted(Counted::RefusedOrigin)
}

/// `GET /mtc`: the visitor's ids by its cookies, requested after a pixel delivery. Keeps nothing.
/// `may_read` says whether the asking page may know them.
pub fn answer_visitor(inbound: &Inbound<'_>, rules: &Rules, may_read: bool) -> Decoded {
    let (mut body, mut cookies) = (json!({}), Cookies::default());
    if may_read && !verdict::is_prefetch(inbound) {
        let mut asked = Hit::new(
            HitId(Uuid::nil()),
            inbound.received_at,
            Kind::Pageview,
            Dialect::Native,
        );
        take_visitor(&mut asked, inbound, rules, None);
        visitor::set_new(&mut asked, inbound);
        let (id, value) = (asked.visitor_id, visitor::cookie_value(rules, &asked));
        body = json!({ "id": id.map(VisitorId::told), "sid": value, "device_id": value });
        cookies.visitor = value;
    }
    Decoded {
        cookies,
        ..Decoded::of(
            Reply::Json(StatusCode::OK, body, Readers::Sites),
            Vec::new(),
        )
    }
}

/// The hit, and its visitor.
fn collect_of_visitor(inbound: &Inbound<'_>, rules: &Rules) -> (Hit, Cookies) {
    let mut hit = collect(inbound, rules);
    if inbound.is_repaired {
        hit.note(REPAIRED);
    }
    if !verdict::is_prefetch(inbound) {
        visitor::set_new(&mut hit, inbound);
    }
    let cookies = Cookies {
        visitor: visitor::cookie_value(rules, &hit),
        ..Cookies::default()
    };
    (hit, cookies)
}

/// Urlencoded names and values. An email address keeps its plus.
fn raw_pairs(raw: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    raw.split(|byte| *byte == b'&')
        .map(plain_pair)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = form_urlencoded::parse(pair).next().unwrap_or_default();
            match address_with_plus(&name, pair) {
                Some(address) => (name, address.into()),
                None => (name, value),
            }
        })
}

struct PixelReader<'r> {
    rules: &'r Rules,
    device: Option<String>,
    landing: Option<String>,
    delivery: Option<DeliveryId>,
    payload: Option<String>,
    click_through: Option<String>,
    /// The currency that stood beside the amount.
    beside_amount: Option<Currency>,
    /// There was an amount, readable or not.
    is_purchase: bool,
}

/// The current name of a parameter.
fn usual_name(name: &str) -> &str {
    match name {
        "url" => "page_url",
        "title" => "page_title",
        "language" => "page_language",
        "referrer" => "page_referrer",
        name => name,
    }
}

impl PixelReader<'_> {
    fn take(&mut self, hit: &mut Hit, name: &str, value: Cow<'_, str>) {
        if value.is_empty() {
            return;
        }
        match name {
            "page_url" => hit.page_url = hit.take_url(name, &value),
            "page_title" => hit.page_title = hit.take(name, &value, Limit::TITLE),
            "page_language" | "language" => hit.page_language = hit.take(name, &value, Limit::WORD),
            "page_referrer" | "referrer" => hit.referrer = hit.take_url(name, &value),
            "tags" => take_tags(hit, value.split(',')),
            // As PHP's clients write a list: `tags[]`, `tags[0]`.
            _ if name.starts_with("tags[") && name.ends_with(']') => {
                take_tags(hit, value.split(','));
            }
            "event" => hit.event = hit.take(name, &value, Limit::NAME),
            "site" => take_site(hit, &value),
            // What everybody sends would make one order of all, and one hit of many.
            "order_id" | "idempotency_key" if identity::is_unfilled(&value) => {
                hit.refuse(name, &value, "no value");
            }
            "order_id" => hit.order_id = hit.take(name, &value, Limit::NAME),
            "idempotency_key" => hit.idempotency_key = hit.take(name, &value, Limit::NAME),
            DEVICE => self.device = Some(value.into_owned()),
            "d" => self.payload = Some(value.into_owned()),
            "ct" => self.click_through = Some(value.into_owned()),
            LANDING_PARAMETER => self.landing = Some(value.into_owned()),
            "revenue" => {
                // A page that has no order sends `undefined`; what else cannot be read is a
                // purchase all the same.
                self.is_purchase |= !identity::is_placeholder(&value);
                read(hit, name, &value, take_revenue(&value), |hit, amount| {
                    hit.revenue = Some(amount.money);
                    self.beside_amount = amount.currency;
                })
            }
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
                read_whole(&value).ok_or("no number"),
                |hit, number| hit.quantity = Some(number),
            ),
            "delivery_id" => match value.trim().parse() {
                Ok(id) if id > 0 => self.delivery = Some(DeliveryId(id)),
                _ => hit.refuse(name, &value, "no number"),
            },
            _ => {
                if hit.take_utm(name, &value) {
                    // Taken.
                } else if let Some(why) = self.rules.refuses(name, &value) {
                    hit.refuse(name, &value, why);
                } else if self.rules.public.iter().any(|field| field == name) {
                    if FINGERPRINT.contains(&name) {
                        hit.keep(name, &value);
                    }
                    if let Some(value) = hit.take(name, &value, Limit::TITLE) {
                        hit.fields.retain(|(had, _)| had != name);
                        hit.fields.push((name.to_owned(), value));
                    }
                } else if name == "url" {
                    // Names of Mautic 1, given up because contacts have fields of these names.
                    hit.page_url = hit.page_url.take().or(hit.take_url(name, &value));
                } else if name == "title" {
                    hit.page_title =
                        (hit.page_title.take()).or(hit.take(name, &value, Limit::TITLE));
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
        Err(why) => hit.refuse(name, value, why),
    }
}

fn take_revenue(value: &str) -> Result<Amount, &'static str> {
    read_amount(value).map_err(|error| match error {
        MoneyError::NotANumber => "no number",
        MoneyError::TooLarge => "too large",
    })
}

/// `a,-b`: adds `a`, removes `b`.
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
        if let Some(name) = hit.take("tag", &plain_ampersands(tag), Limit::NAME) {
            hit.tags.push(TagChange { name, remove });
        }
    }
}

pub(super) fn take_site(hit: &mut Hit, site: &str) {
    if let Some(site) = hit.take("site", site, Limit::WORD) {
        hit.site = site;
    }
}

/// Mautic's click-through in the page's own URL.
fn page_click_through(hit: &Hit) -> Option<String> {
    let query = page_query(hit).filter(|query| query.contains("ct="))?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name == "ct" && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

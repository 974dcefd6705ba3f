//! One hit from its parameters. Nothing in them is an error: what cannot be read is noted and kept.

use std::borrow::Cow;

use super::parameters::{Parameters, decode};
use super::sender::{Sender, is_override};
use super::{OPTOUT_COOKIE, VENDOR, are_sites_cut, fields, is_ever_id, new_hit};
use super::{products, split_sites};
use crate::identity;
use crate::model::hit::{Currency, Hit, Kind, Limit, MoneyError, read_amount};
use crate::tracking::page::take_page_utm;
use crate::tracking::session::take_session;
use crate::tracking::visitor::{self, foreign_visitor};

/// Where a hit of the operator's own path names its track ids.
const SITE_PARAMETER: &str = "trackId";
/// The campaign in a page's URL, as Mapp's own campaigns write it.
const CAMPAIGN_PARAMETER: &str = "wt_mc";
/// A campaign that was counted with an earlier hit of the visit.
const COUNTED: &str = "ignore";
/// If a name is given twice, the first counts and the others are kept.
const GIVEN_TWICE: &str = "parameter given twice";
/// The last that `cd` names.
const CUSTOMER_FIELD: &str = "customer_id";

/// Parameters with a column, read by name.
const COLUMNS: [&str; 12] = [
    "pu", "eid", "ceid", "cd", "ov", "oi", "cr", "ct", "la", "nc", "mc", "is",
];

/// `uc700` and what follows: personal data by the pixel's own list (`customer`), and our names of
/// the fields.
const PERSONAL: [(&str, &str); 14] = [
    ("uc700", "email"),
    ("uc701", "email_receiver_id"),
    ("uc702", "email_optin"),
    ("uc703", "firstname"),
    ("uc704", "lastname"),
    ("uc705", "phone"),
    ("uc706", "gender"),
    ("uc707", "birthday"),
    ("uc708", "country"),
    ("uc709", "city"),
    ("uc710", "zip"),
    ("uc711", "street"),
    ("uc712", "street_number"),
    ("uc713", "validation"),
];

/// What is kept of a request that must not identify anybody: what the page, the action, the media
/// file, the campaign and the products are, and how the pixel sent it. A list of names that
/// identify would never be whole: Mapp's products add some (`er1` to `er7` are a registration's
/// address and names, `eaj` a profile, `cdb…` hashes of the address, `geid`, `emrid`), and sites
/// their own.
/// `ft` is left out: it holds what was typed into a form.
const IMPERSONAL: [&str; 38] = [
    "ba", "bw", "co", "cr", "ct", "eor", "fn", "fns", "is", "la", "mc", "mca", "mi", "mk", "mt1",
    "mt2", "mut", "nc", "np", "oi", "one", "ov", "pf", "plp", "ps", "pu", "qn", "st", "tb", "tz",
    "vol", "ecwen", "ecwei", "ecwev", "c", "t", "duration", "trackId",
];
/// The same for numbered parameters, by what comes before the number: page, content group, action,
/// e-commerce, category, campaign and media.
const IMPERSONAL_NUMBERED: [&str; 7] = ["cp", "cg", "ck", "cb", "ca", "cc", "mg"];

fn is_impersonal(name: &str) -> bool {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_numbered = letters.len() < name.len();
    IMPERSONAL.contains(&name) || is_numbered && IMPERSONAL_NUMBERED.contains(&letters)
}

/// One hit for each track id. If the path has none, the parameter `trackId` names them, else the
/// site is `default`.
pub fn take_hits(sender: &Sender<'_>, sites: &str, parameters: &Parameters<'_>) -> Vec<Hit> {
    let mut named = sites;
    let mut sites = split_sites(named);
    if sites.is_empty() {
        named = parameters.get(SITE_PARAMETER).unwrap_or_default();
        sites = split_sites(named);
    }
    let are_cut = are_sites_cut(named, sites.len());
    if sites.is_empty() {
        sites.push("");
    }
    let anonymous = is_anonymous(sender, parameters);
    let total = sites.len();
    // What was read for one track id is read for all that believe the sender alike.
    let (mut believed, mut not_believed) = (None, None);
    let mut hits = Vec::with_capacity(total);
    for site in sites {
        let is_trusted = sender.is_trusted(site, parameters);
        let common = match is_trusted {
            true => &mut believed,
            false => &mut not_believed,
        };
        let mut hit = common
            .take()
            .unwrap_or_else(|| take_common(sender, parameters, is_trusted, anonymous, total));
        if hits.len() + 1 < total {
            *common = Some(hit.clone());
        }
        take_site(&mut hit, sender, site, parameters, anonymous.is_some());
        if are_cut {
            hit.note("track ids cut");
        }
        hits.push(hit);
    }
    hits
}

/// Why no identity may be kept.
pub fn is_anonymous(sender: &Sender<'_>, parameters: &Parameters<'_>) -> Option<&'static str> {
    if parameters.get("nc") == Some("1") {
        return Some("anonymous: nc=1");
    }
    // Any of several will do: an opt-out is not to get lost. One that is no text is one all the
    // same.
    let is_out = sender.has_cookies
        && sender
            .inbound
            .cookies(OPTOUT_COOKIE)
            .any(|value| !matches!(value, Ok("" | "0")));
    is_out.then_some("anonymous: opted out")
}

/// What the hits of all equally trusted track ids have in common.
fn take_common(
    sender: &Sender<'_>,
    parameters: &Parameters<'_>,
    is_trusted: bool,
    anonymous: Option<&str>,
    sites: usize,
) -> Hit {
    let mut hit = new_hit(sender.inbound);
    if parameters.is_cut {
        hit.note("parameters cut");
    }
    let page = sender.take_client(&mut hit, parameters, is_trusted);
    if let Some(p) = parameters.p() {
        fields::take(&mut hit, p, is_trusted);
    }
    take_page(&mut hit, sender, parameters, page);
    let is_order = take_order(&mut hit, parameters);
    hit.event = take_event(&mut hit, parameters);
    if let Some(language) = parameters.get("la") {
        hit.page_language = hit.take("la", language, Limit::WORD);
    }
    // An order's number without a value is that of an order that another request has told, or will.
    hit.kind = match (is_order, &hit.event) {
        (true, _) => Kind::Transaction,
        (false, Some(_)) => Kind::Event,
        (false, None) => Kind::Pageview,
    };
    take_campaign(&mut hit, parameters);
    let listed = products::take(&mut hit, parameters, sites);
    take_rest(&mut hit, sender, parameters, anonymous.is_some(), &listed);
    match anonymous {
        Some(why) => forget(&mut hit, why),
        None if sender.has_cookies => {
            take_session(&mut hit, sender.inbound, sender.rules);
        }
        None => {}
    }
    hit
}

/// What was done, where it is no view of a page: the action that the site names (`ct`), what a
/// media player does (`mi` its file, `mk` what: `play`, `pos` every 30 seconds, …), a form that was
/// filled in or left (`fn`).
fn take_event(hit: &mut Hit, parameters: &Parameters<'_>) -> Option<String> {
    if let Some(action) = parameters.get("ct") {
        return hit.take("ct", action, Limit::NAME);
    }
    if parameters.get("mi").is_some() || parameters.get("mk").is_some() {
        let event = format!("media {}", parameters.get("mk").unwrap_or_default());
        return hit.take("mk", event.trim_end(), Limit::NAME);
    }
    if parameters.get("fn").is_some() || parameters.get("ft").is_some() {
        let event = format!("form {}", parameters.get("fn").unwrap_or_default());
        return hit.take("fn", event.trim_end(), Limit::NAME);
    }
    None
}

/// What differs between track ids: the name and the cookie's visitor.
fn take_site(
    hit: &mut Hit,
    sender: &Sender<'_>,
    site: &str,
    parameters: &Parameters<'_>,
    is_anonymous: bool,
) {
    if let Some(site) = hit.take("site", site, Limit::WORD) {
        hit.site = site;
    }
    if !is_anonymous {
        take_visitor(hit, sender, site, parameters);
    }
}

/// The page's URL, by precedence: from a trusted sender, from the pixel, from the browser, else the
/// page's name.
fn take_page(hit: &mut Hit, sender: &Sender<'_>, parameters: &Parameters<'_>, named: Option<&str>) {
    let own = parameters.get("pu");
    if let Some(url) = named.or(own) {
        hit.page_url = hit.take_url("page_url", url);
    }
    if let (Some(named), Some(own)) = (named, own)
        && named != own
    {
        hit.keep("pu", own);
    }
    if hit.page_url.is_none() && sender.inbound.method != http::Method::POST {
        // A batch's Referer is that of whatever page sends what waited.
        if let Some(referer) = sender.inbound.header("referer") {
            hit.page_url = hit.take_url("page_url", &referer);
        }
    }
    if hit.page_url.is_none() {
        hit.page_url = hit.page_title.clone();
    }
}

/// Whether there was an order value: an unreadable one is an order's too, unless it says that there
/// is none.
fn take_order(hit: &mut Hit, parameters: &Parameters<'_>) -> bool {
    let value = parameters.get("ov");
    let mut beside_amount = None;
    if let Some(value) = value {
        match read_amount(value) {
            Ok(amount) => {
                hit.revenue = Some(amount.money);
                beside_amount = amount.currency;
            }
            Err(MoneyError::NotANumber) => hit.refuse("ov", value, "no number"),
            Err(MoneyError::TooLarge) => hit.refuse("ov", value, "too large"),
        }
    }
    if let Some(value) = parameters.get("oi") {
        match identity::is_unfilled(value) {
            // What everybody sends would make one order of all.
            true => hit.refuse("oi", value, "no value"),
            false => hit.order_id = hit.take("oi", value, Limit::NAME),
        }
    }
    if let Some(value) = parameters.get("cr") {
        match Currency::parse(value) {
            Some(currency) => hit.currency = Some(currency),
            None => hit.refuse("cr", value, "unknown"),
        }
    }
    hit.take_currency_beside("ov", beside_amount);
    value.is_some_and(|value| !identity::is_placeholder(value))
}

/// `mc=wt_mc%3Dnews.1`, often encoded once more; else `wt_mc` and the usual parameters of the
/// page's URL. `ignore=ignore` says that they were counted already.
fn take_campaign(hit: &mut Hit, parameters: &Parameters<'_>) {
    let Some(campaign) = parameters.get("mc") else {
        take_page_campaign(hit);
        take_page_utm(hit);
        return;
    };
    let campaign = match campaign.contains('=') {
        true => Cow::Borrowed(campaign),
        false => decode(campaign),
    };
    hit.keep("mc", &campaign);
    let (name, value) = campaign
        .split_once('=')
        .unwrap_or((CAMPAIGN_PARAMETER, campaign.as_ref()));
    if name == COUNTED {
        return;
    }
    // The value may be encoded by itself.
    hit.utm.campaign = hit.take("mc", &decode(value), Limit::NAME);
    take_page_utm(hit);
}

fn take_page_campaign(hit: &mut Hit) {
    let found = hit.page_url.as_deref().and_then(|url| {
        let query = url.split('#').next()?.split_once('?')?.1;
        if !query.contains(CAMPAIGN_PARAMETER) {
            return None;
        }
        form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == CAMPAIGN_PARAMETER)
            .map(|(_, value)| value.into_owned())
    });
    hit.utm.campaign = found.and_then(|value| hit.take(CAMPAIGN_PARAMETER, &value, Limit::NAME));
}

/// Contact fields that the public may set; others go into `extra`. `listed` are the places of what
/// the product list has.
fn take_rest(
    hit: &mut Hit,
    sender: &Sender<'_>,
    parameters: &Parameters<'_>,
    is_anonymous: bool,
    listed: &[usize],
) {
    let mut has_come = [false; COLUMNS.len()];
    let mut listed_left = listed;
    for (place, (name, value)) in parameters.pairs().iter().enumerate() {
        let (name, value) = (name.as_ref(), value.as_ref());
        if is_override(name) {
            // `sender` has them.
            continue;
        }
        if let Some(left) = listed_left.strip_prefix(&[place]) {
            listed_left = left;
            continue;
        }
        if is_anonymous && !is_impersonal(name) {
            continue;
        }
        if let Some(column) = COLUMNS.iter().position(|column| *column == name) {
            if std::mem::replace(&mut has_come[column], true) {
                keep_again(hit, name, value);
                continue;
            }
            match name {
                "cd" => take_field(hit, sender, CUSTOMER_FIELD, name, value),
                "nc" | "is" => hit.keep(name, value),
                _ => {}
            }
        } else if !listed.is_empty() && products::is_part(name) {
            keep_again(hit, name, value);
        } else if let Some(field) = personal_field(name) {
            take_field(hit, sender, field, name, value);
        } else {
            if hit.extra.as_ref().is_some_and(|had| had.contains_key(name)) {
                hit.note(GIVEN_TWICE);
            }
            hit.keep(name, value);
        }
    }
}

/// Keeps what is not in `extra` under its own name the first time.
fn keep_again(hit: &mut Hit, name: &str, value: &str) {
    hit.note(GIVEN_TWICE);
    hit.keep(&format!("{name} again"), value);
}

fn personal_field(name: &str) -> Option<&'static str> {
    if !name.starts_with("uc7") {
        return None;
    }
    PERSONAL
        .iter()
        .find(|(parameter, _)| *parameter == name)
        .map(|(_, field)| *field)
}

fn take_field(hit: &mut Hit, sender: &Sender<'_>, field: &str, name: &str, value: &str) {
    let is_public = sender.rules.public.iter().any(|public| public == field);
    if !is_public {
        hit.keep(name, value);
    } else if let Some(why) = sender.rules.refuses(field, value) {
        hit.refuse(name, value, why);
    } else if let Some(value) = hit.take(name, value, Limit::TITLE) {
        hit.fields.push((field.to_owned(), value));
    }
}

/// Of what a relay or an app says about the client in `X-WT-…`, what fits many: the agent, the
/// hints that belong to it, the page.
const IMPERSONAL_OVERRIDES: [&str; 3] = ["X-WT-UA", "X-WT-SEC-CH-UA", "X-WT-RQ"];

/// Whether a value of `extra` is an override that may tell one client from another.
fn is_identifying_override(name: &str) -> bool {
    let is_known = |known: &&str| {
        let start = name.get(..known.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(known))
    };
    is_override(name) && !IMPERSONAL_OVERRIDES.iter().any(is_known)
}

/// Removes what identifies the client. The address does, together with the agent.
fn forget(hit: &mut Hit, why: &str) {
    hit.note(why);
    hit.ip = None;
    hit.fields.clear();
    if let Some(extra) = &mut hit.extra {
        extra.retain(|name, _| !is_identifying_override(name));
        if extra.is_empty() {
            hit.extra = None;
        }
    }
}

/// The visitor of a vendor's id, else of our own cookie.
fn take_visitor(hit: &mut Hit, sender: &Sender<'_>, site: &str, parameters: &Parameters<'_>) {
    let is_said = |id: &&str| !id.trim().is_empty() && id.trim() != "0";
    let ever = parameters.get("eid").filter(is_said);
    let custom = parameters.get("ceid").filter(is_said);
    for (name, id) in [("eid", ever), ("ceid", custom)] {
        let Some(id) = id.and_then(|id| hit.take(name, id, Limit::NAME)) else {
            continue;
        };
        // What everybody sends is nobody's id.
        if identity::is_placeholder(&id) {
            hit.note(&format!("{name} no value"));
            hit.keep(&format!("{name} not taken"), &id);
            continue;
        }
        hit.visitor_id = hit
            .visitor_id
            .or_else(|| Some(foreign_visitor(VENDOR, &id)));
        hit.keep(name, &id);
    }
    if hit.visitor_id.is_some() || !sender.has_cookies {
        return;
    }
    match cookie_id(hit, sender, site).and_then(|id| hit.take("eid", &id, Limit::NAME)) {
        Some(id) => {
            hit.visitor_id = Some(foreign_visitor(VENDOR, &id));
            hit.keep("eid", &id);
        }
        None => visitor::take_visitor(hit, sender.inbound, sender.rules, None),
    }
}

/// The Ever-ID of a cookie, in the order in which Mapp's SDKs look: `wtstp_eid`, `wteid_<track
/// id>`, `wt3_eid`.
fn cookie_id<'s>(hit: &mut Hit, sender: &'s Sender<'_>, site: &str) -> Option<Cow<'s, str>> {
    let mut last = |name: &str, note: &str, read: &dyn Fn(Cow<'s, str>) -> Option<Cow<'s, str>>| {
        let mut last = None;
        for cookie in sender.inbound.cookies(name) {
            match cookie {
                // Of several the last that looks like an Ever-ID, else the last: browsers send what
                // was made first first.
                Ok(value) => {
                    if let Some(id) = read(decode(value)).filter(|id| !identity::is_placeholder(id))
                        && (is_ever_id(&id) || !last.as_deref().is_some_and(is_ever_id))
                    {
                        last = Some(id);
                    }
                }
                Err(why) => hit.note(&why.note(note)),
            }
        }
        last
    };
    last("wtstp_eid", "wtstp_eid", &Some)
        .or_else(|| last(&format!("wteid_{site}"), "wteid", &Some))
        .or_else(|| {
            let read = |value: Cow<'s, str>| old_cookie_id(&value, site).map(Cow::Owned);
            last("wt3_eid", "wt3_eid", &read)
        })
}

/// `;{track id}|{eid}#{last visit}`, once for each track id.
fn old_cookie_id(value: &str, site: &str) -> Option<String> {
    value.split(';').find_map(|entry| {
        let (of, rest) = entry.split_once('|')?;
        let id = rest.split('#').next()?;
        (of == site && !id.is_empty()).then(|| id.to_owned())
    })
}

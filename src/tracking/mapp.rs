//! Mapp Intelligence (Webtrekk): hits, batches, opt-outs and redirects under `/<track id>/`
//! (`tests/cases/mapp/PROTOCOL.md`).
//!
//! What goes where: the page's URL (`X-WT-RQ`, `pu`, for a single hit the `Referer`, else the page
//! name) is `page_url`; the page name of `p`, Mapp's content id, is `page_title`; an order value or
//! order id makes a `transaction`, `ct` an `event`; the campaign of `mc` (or of `wt_mc` in the
//! page's URL) is `utm_campaign`; `uc700` to `uc712` and `cd` are contact fields where the public
//! may set them. Everything else, and what its column cannot hold, stays in `extra` under its own
//! name; the products of a page are a list there.
//!
//! Who it was: the visitor of `eid`, else of `ceid`, else of Mapp's cookies, else of ours. Without
//! any there is none: Mapp tells such visitors apart by address and agent, which one address of an
//! office or a mobile network makes one person of. With `nc=1`, or the opt-out cookie, nothing that
//! could tell who it was is kept.

pub mod batch;
mod fields;
mod parameters;
mod products;
mod reader;
mod sender;

use uuid::Uuid;

use super::decoded::{Cookies, Counted, Decoded, OwnCookie, Reply};
use super::message::take_referrer;
use super::visitor::foreign_visitor;
use super::{Rules, verdict};
use crate::model::clock::Micros;
use crate::model::hit::{Dialect, Hit, HitId, Kind, Limit, plain_ampersands};
use crate::model::host_pattern::{HostPattern, is_listed};
use crate::tracking::inbound::Inbound;

pub use reader::{is_anonymous, take_hits};
pub use sender::Sender;

use parameters::Parameters;

/// The pixel's own name for it, so that a site whose domain we share with the pixel has one opt-out
/// and not two.
pub const OPTOUT_COOKIE: &str = "webtrekkOptOut";
/// How long an opt-out lasts if the request does not say: the pixel's own default.
const OPTOUT_DAYS: i64 = 1_800;
/// Browsers keep no cookie longer than 400 days; relays and apps may.
const MOST_OPTOUT_DAYS: i64 = 3_650;
/// Mapp's Ever-ID, with the track id behind it.
const EVER_ID_COOKIE: &str = "wteid_";
/// For so many days.
const EVER_ID_DAYS: i64 = 180;
/// Mapp's session, with the track id behind it.
const SESSION_COOKIE: &str = "wtsid_";
/// Keeps equal ids of two vendors apart.
const VENDOR: &str = "mapp";
/// Most track ids of one request.
const MOST_SITES: usize = 10;

/// What is requested below a track id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `wt`, `wt.pl`, the pixel's shuffled form, or the operator's own path.
    Hit,
    /// `batch`
    Batch,
    /// `optout`
    Optout,
    /// `re.pl`
    Redirect,
}

/// Track ids in the path, comma-separated, and what is requested. `own` is the operator's own path,
/// or empty; it has no track id.
pub fn read_path<'p>(path: &'p str, own: &str) -> Option<(&'p str, Call)> {
    if !own.is_empty() && path == own {
        return Some(("", Call::Hit));
    }
    let (sites, call) = path.trim_start_matches('/').split_once('/')?;
    let is_site = |b: u8| b.is_ascii_alphanumeric() || b"_-,".contains(&b);
    let is_suffix = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    if sites.is_empty() || !sites.bytes().all(is_site) {
        return None;
    }
    let call = match call {
        "wt" | "wt.pl" => Call::Hit,
        "batch" => Call::Batch,
        "optout" => Call::Optout,
        "re.pl" => Call::Redirect,
        _ => {
            let suffix = call.strip_prefix("wt")?;
            if suffix.len() > 14 || !suffix.bytes().all(is_suffix) {
                return None;
            }
            Call::Hit
        }
    };
    Some((sites, call))
}

/// The track ids of a path, each once; empty if there are none.
pub fn split_sites(sites: &str) -> Vec<&str> {
    let mut each: Vec<&str> = Vec::new();
    for site in sites.split(',').filter(|site| !site.is_empty()) {
        if each.len() < MOST_SITES && !each.contains(&site) {
            each.push(site);
        }
    }
    each
}

/// Whether there are more track ids than [`split_sites`] returns.
pub fn are_sites_cut(sites: &str, taken: usize) -> bool {
    taken == MOST_SITES && {
        let mut named: Vec<&str> = sites.split(',').filter(|site| !site.is_empty()).collect();
        named.sort_unstable();
        named.dedup();
        named.len() > MOST_SITES
    }
}

/// Answers one of the calls but a batch, whose lines [`batch`] reads.
pub fn answer(inbound: &Inbound<'_>, rules: &Rules, call: Call) -> Decoded {
    match call {
        Call::Hit | Call::Batch => answer_hit(inbound, rules),
        Call::Optout => answer_optout(inbound, rules),
        Call::Redirect => answer_redirect(inbound, rules),
    }
}

/// `GET /<track id>/wt`: the GIF, and Mapp's cookies if they are switched on.
fn answer_hit(inbound: &Inbound<'_>, rules: &Rules) -> Decoded {
    let mut found = collect(inbound, rules, inbound.rest);
    let mut cookies = Cookies::default();
    if rules.mapp.sets_cookies && verdict::is_visit(inbound) && !found.is_anonymous {
        cookies.own = name_browser(inbound, &mut found.hits);
    }
    Decoded {
        cookies,
        counted: Counted::Collected,
        ..Decoded::of(Reply::Gif, found.hits)
    }
}

/// Every track id has its own cookies: its Ever-ID, if there is one, and a session marker. A client
/// without any id gets one, and is its visitor from this hit on.
fn name_browser(inbound: &Inbound<'_>, hits: &mut [Hit]) -> Vec<OwnCookie> {
    let (mut made, mut cookies) = (None, Vec::with_capacity(2 * hits.len()));
    for hit in hits {
        if hit.visitor_id.is_none() {
            let id = made.get_or_insert_with(|| {
                new_ever_id(inbound.received_at, inbound.new_visitor.0.as_u128())
            });
            set_ever_id(hit, id);
        }
        if let Some(id) = ever_id(hit) {
            cookies.push(OwnCookie {
                name: format!("{EVER_ID_COOKIE}{}", hit.site).into(),
                value: id.to_owned(),
                days: Some(EVER_ID_DAYS),
                is_for_scripts: false,
            });
        }
        cookies.push(OwnCookie {
            name: format!("{SESSION_COOKIE}{}", hit.site).into(),
            value: "1".to_owned(),
            days: None,
            is_for_scripts: false,
        });
    }
    cookies
}

/// `GET /<track id>/optout?duration=<days>`: the GIF, and the cookie that later hits respect.
fn answer_optout(inbound: &Inbound<'_>, rules: &Rules) -> Decoded {
    let (hits, days) = optout(inbound, rules, inbound.rest);
    let mut decoded = Decoded::of(Reply::Gif, hits);
    if inbound.method != http::Method::HEAD && !verdict::is_prefetch(inbound) {
        let days = days.clamp(0, MOST_OPTOUT_DAYS);
        decoded.cookies.own.push(OwnCookie {
            name: OPTOUT_COOKIE.into(),
            value: if days == 0 { "" } else { "1" }.to_owned(),
            days: Some(days),
            // Mapp's pixel reads it too, where the domain is the site's.
            is_for_scripts: true,
        });
    }
    decoded
}

/// `GET /<track id>/re.pl?t=<target>&c=<content id>`: only to hosts of the configuration.
fn answer_redirect(inbound: &Inbound<'_>, rules: &Rules) -> Decoded {
    let Some(target) = read_target(inbound.query, &rules.mapp.redirect_hosts) else {
        let why = "redirect to a host that is not listed";
        return Decoded::refused(Reply::NoPage(None), why).counted(Counted::UnknownLink);
    };
    let hits = click(inbound, rules, inbound.rest, target.as_str());
    Decoded::of(Reply::Redirect(target.into()), hits).counted(Counted::Redirect)
}

/// The hits of a URL.
#[derive(Clone, Debug, PartialEq)]
pub struct Collected {
    /// One for each track id.
    pub hits: Vec<Hit>,
    /// No identity may be set.
    pub is_anonymous: bool,
}

/// Reads the hits of a URL.
pub fn collect(inbound: &Inbound<'_>, rules: &Rules, sites: &str) -> Collected {
    let parameters = Parameters::read(inbound.query.as_bytes());
    let sender = Sender::of(inbound, rules);
    let mut hits = take_hits(&sender, sites, &parameters);
    for hit in &mut hits {
        if parameters.p().is_none() {
            hit.note("p missing");
        }
        verdict::judge_method(hit, inbound);
    }
    Collected {
        hits,
        is_anonymous: is_anonymous(&sender, &parameters).is_some(),
    }
}

/// A new Ever-ID: `4` (made by the tracker), ten digits of Unix seconds, eight random ones.
fn new_ever_id(now: Micros, random: u128) -> String {
    let seconds = now.0 / Micros::SECOND % 10_000_000_000;
    format!("4{seconds:010}{:08}", random % 100_000_000)
}

/// Makes a new Ever-ID's visitor the hit's.
fn set_ever_id(hit: &mut Hit, id: &str) {
    hit.visitor_id = Some(foreign_visitor(VENDOR, id));
    hit.visitor_is_new = true;
    hit.keep("eid", id);
}

/// The Ever-ID of a hit, if it looks like one.
fn ever_id(hit: &Hit) -> Option<&str> {
    let id = hit.extra.as_ref()?.get("eid")?.as_str()?;
    is_ever_id(id).then_some(id)
}

fn is_ever_id(id: &str) -> bool {
    id.len() == 19 && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// An opt-out or, with a duration below a day, its end; and for how many days it lasts.
pub fn optout(inbound: &Inbound<'_>, rules: &Rules, sites: &str) -> (Vec<Hit>, i64) {
    let parameters = Parameters::read(inbound.query.as_bytes());
    let days = parameters.get("duration").map(|days| days.trim().parse());
    let sender = Sender::of(inbound, rules);
    let mut hits = take_hits(&sender, sites, &parameters);
    for hit in &mut hits {
        hit.kind = Kind::Optout;
        if let Some(Ok(..=0)) = days {
            hit.kind = Kind::Event;
            hit.event = Some("optout removed".to_owned());
        }
        if matches!(days, Some(Err(_))) {
            hit.note("duration is no number of days");
        }
    }
    let days = days.and_then(Result::ok).unwrap_or(OPTOUT_DAYS);
    (hits, days)
}

/// The target of `re.pl`, if it is on one of the hosts: `www.example.com`, `*.example.com`.
pub fn read_target(query: &str, hosts: &[HostPattern]) -> Option<url::Url> {
    let target = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "t")?
        .1;
    let target = if target.contains("://") {
        target
    } else {
        // Encoded twice, as links in mails often are.
        std::borrow::Cow::Owned(parameters::decode(&target).into_owned())
    };
    let target = url::Url::parse(plain_ampersands(&target).trim()).ok()?;
    let is_web = matches!(target.scheme(), "http" | "https");
    let is_plain = target.username().is_empty() && target.password().is_none();
    let host = target.host_str()?;
    (is_web && is_plain && is_listed(host, hosts)).then_some(target)
}

/// The clicks of a redirect; the content id names what was clicked.
pub fn click(inbound: &Inbound<'_>, rules: &Rules, sites: &str, target: &str) -> Vec<Hit> {
    let parameters = Parameters::read(inbound.query.as_bytes());
    let sender = Sender::of(inbound, rules);
    let mut hits = take_hits(&sender, sites, &parameters);
    for hit in &mut hits {
        hit.kind = Kind::Click;
        hit.page_url = hit.take_url("page_url", target);
        hit.page_title = parameters
            .get("c")
            .and_then(|content| hit.take("content id", content, Limit::TITLE));
        take_referrer(hit, inbound);
        if let Some(extra) = &mut hit.extra {
            extra.remove("t");
            extra.remove("c");
        }
        if hit.extra.as_ref().is_some_and(serde_json::Map::is_empty) {
            hit.extra = None;
        }
        verdict::judge_method(hit, inbound);
    }
    hits
}

fn new_hit(inbound: &Inbound<'_>) -> Hit {
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        inbound.received_at,
        Kind::Pageview,
        Dialect::Mapp,
    );
    verdict::note_transport(&mut hit, inbound);
    hit
}

#[cfg(test)]
mod tests;

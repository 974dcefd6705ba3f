//! Our own vocabulary: signed links and open pixels, the parameters of the pixel and the script,
//! and the JSON of `POST /api/v1/hits`. Parameter names are Mautic's (`mtracking.gif`, `mtc/event`)
//! plus a few of our own.

mod body;
mod cookies;
mod hint;
mod json;
mod pixel;

use http::header::REFERER;
use uuid::Uuid;

pub(super) use cookies::newest;
pub use hint::{nearest, one_of, quote};
pub use json::{FieldError, decode_json_hit};
pub use pixel::collect;
pub(super) use pixel::{kind_of, take_page_utm};

use super::{MOST_PARAMETERS, Rules, adobe, foreign_visitor, mautic, verdict};
use crate::model::hit::{
    BroadlogId, DeliveryId, Dialect, Hit, HitId, Kind, Proof, Provenance, Verdict, VisitorId,
};
use crate::model::keys::Purpose;
use crate::model::link::{LinkRecord, LinkToken};
use crate::tracking::inbound::{Inbound, PassedOver};

/// Name of the visitor cookie.
pub const VISITOR_COOKIE: &str = "visitorId";
/// Session cookie: the message that was clicked.
pub const BROADLOG_COOKIE: &str = "broadlogId";
/// Session cookie: the campaign of that message.
pub const DELIVERY_COOKIE: &str = "deliveryId";
/// Stands before Adobe's id of a browser in our cookie, which holds it unsigned.
pub(super) const ADOBES_VISITOR: &str = "adobe:";
/// Parameter that a redirect hands to a landing page on another domain.
pub const LANDING_PARAMETER: &str = "_sl";
/// How long a landing parameter is believed, in minutes: long enough for a slow page, too short to
/// be passed on with the URL.
pub const LANDING_MINUTES: i64 = 10;

/// A click on a link. `token` is none for a slug.
pub fn click(
    inbound: &Inbound<'_>,
    rules: &Rules,
    link: &LinkRecord,
    token: Option<&LinkToken>,
) -> Hit {
    let mut hit = message_hit(inbound, rules, link.kind(), token);
    hit.link_id = Some(link.id);
    hit.delivery_id = hit.delivery_id.or(link.delivery_id);
    hit.page_url = hit.take_url("page_url", &link.url);
    take_referrer(&mut hit, inbound);
    hit.utm = link.utm.clone();
    for (index, (name, value)) in inbound.query_pairs().enumerate() {
        if index == MOST_PARAMETERS {
            hit.note("parameters cut");
            break;
        }
        hit.take_utm(&name, &value);
    }
    hit
}

/// A fetch of an open pixel.
pub fn open(inbound: &Inbound<'_>, rules: &Rules, token: &LinkToken) -> Hit {
    message_hit(inbound, rules, Kind::Open, Some(token))
}

/// A hit of a message, with the message and its proof where there is a token.
pub(super) fn message_hit(
    inbound: &Inbound<'_>,
    rules: &Rules,
    kind: Kind,
    token: Option<&LinkToken>,
) -> Hit {
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        inbound.received_at,
        kind,
        Dialect::Native,
    );
    verdict::judge_request(&mut hit, inbound);
    if inbound.method == http::Method::HEAD {
        hit.judge(Verdict::Scanner, "HEAD request");
    }
    if let Some(token) = token {
        hit.delivery_id = Some(token.delivery_id);
        hit.broadlog_id = Some(token.broadlog_id).filter(|id| id.0 != 0);
        hit.provenance = Provenance::Link;
        if token.is_too_soon(inbound.received_at) {
            hit.judge(Verdict::Suspect, "within the minute of sending");
        }
    }
    take_visitor(&mut hit, inbound, rules, None);
    hit
}

pub(super) fn take_referrer(hit: &mut Hit, inbound: &Inbound<'_>) {
    if let Some(referrer) = inbound.header(REFERER) {
        hit.referrer = hit.take_url("referrer", &referrer);
    }
}

/// The visitor of a signed cookie, else of a signed parameter, else the one that a vendor knew.
/// What nobody has signed goes back to the browser as it came: our signature would make a proof of
/// it.
pub(super) fn take_visitor(
    hit: &mut Hit,
    inbound: &Inbound<'_>,
    rules: &Rules,
    parameter: Option<&str>,
) {
    // A page on our own host gives us the script's cookie beside ours.
    for name in [VISITOR_COOKIE, mautic::DEVICE] {
        if take_signed_visitor(hit, rules, name, inbound.cookies(name)) {
            return;
        }
    }
    if take_signed_visitor(hit, rules, mautic::DEVICE, parameter.map(Ok).into_iter()) {
        // Anybody can put an id of his own into the address of an image that others load.
        if !inbound.is_trusted_sender {
            hit.foreign_mut().visitor_is_handed = true;
        }
        return;
    }
    let unsigned = |text| unsigned_visitor(text).map(|id| (id, text));
    let cookies = inbound.cookies(VISITOR_COOKIE).filter_map(Result::ok);
    if let Some((id, text)) = cookies.filter_map(unsigned).last() {
        set_unsigned_visitor(hit, id, text);
        return;
    }
    mautic::take_device(hit, inbound, parameter);
}

/// The visitor that an unsigned id stands for: Mautic's as Mautic writes it, Adobe's behind its
/// name.
fn unsigned_visitor(text: &str) -> Option<VisitorId> {
    match text.strip_prefix(ADOBES_VISITOR) {
        Some(id) => adobe::read_visitor(id).map(adobe::visitor),
        None => mautic::is_device_id(text).then(|| foreign_visitor("mautic", text)),
    }
}

/// Makes the visitor of an unsigned id the hit's; `text` is how the id goes back to the browser.
pub(super) fn set_unsigned_visitor(hit: &mut Hit, id: VisitorId, text: &str) {
    hit.visitor_id = Some(id);
    hit.foreign_mut().visitor = Some(text.to_owned());
}

/// The visitor of a request by its cookies alone.
pub fn known_visitor(inbound: &Inbound<'_>, rules: &Rules) -> Hit {
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        inbound.received_at,
        Kind::Pageview,
        Dialect::Native,
    );
    take_visitor(&mut hit, inbound, rules, None);
    hit
}

/// Stands before a visitor's signed id in the cookie of a browser that it was handed to. Who takes
/// the mark away says that the id is his own, which he could say of every id that he has.
pub const HANDED: &str = "handed:";

fn unmarked(sealed: &str) -> &str {
    sealed.strip_prefix(HANDED).unwrap_or(sealed)
}

/// The last of several values that we signed. What is not ours is told where none is: another
/// program's cookie of the same name is its own affair.
fn take_signed_visitor<'a>(
    hit: &mut Hit,
    rules: &Rules,
    name: &str,
    values: impl Iterator<Item = Result<&'a str, PassedOver>>,
) -> bool {
    let (mut signed, mut is_anothers) = (None, false);
    for value in values {
        match value {
            Ok(sealed) if sealed.is_empty() || unsigned_visitor(sealed).is_some() => {}
            Ok(sealed) => match cookies::signed_visitor(rules, unmarked(sealed)) {
                Some(id) => signed = Some((id, sealed)),
                None => is_anothers = true,
            },
            Err(why) => hit.note(&why.note(name)),
        }
    }
    match signed {
        // Signed before vendors' ids were left unsigned.
        Some((id, sealed)) if id.is_derived() => set_unsigned_visitor(hit, id, sealed),
        Some((id, sealed)) => {
            hit.visitor_id = Some(id);
            if sealed.starts_with(HANDED) {
                hit.foreign_mut().visitor_is_handed = true;
            }
        }
        None if is_anothers => hit.note("visitor id not signed by us"),
        None => {}
    }
    signed.is_some()
}

/// Marks a session that an unsigned link began: what it proves is no more than what the link did.
const UNSIGNED: &str = "u:";

/// The message of a click as the session cookie holds it: its number or its vendor's name for it.
pub fn session_message(hit: &Hit) -> Option<String> {
    let mark = if hit.provenance == Provenance::Link {
        ""
    } else {
        UNSIGNED
    };
    match (hit.broadlog_id, hit.message_key()) {
        (Some(id), _) => Some(format!("{mark}{id}")),
        (None, Some(key)) => Some(format!("{mark}{key}")),
        (None, None) => None,
    }
}

/// The campaign of a click as cookies hold it.
pub fn session_delivery(hit: &Hit) -> Option<String> {
    let id = hit.delivery_id?;
    let is_signed = hit.proof().is_some_and(Proof::is_signed);
    let mark = if is_signed { "" } else { UNSIGNED };
    Some(format!("{mark}{id}"))
}

/// Reads what [`session_delivery`] wrote, and what it proves.
pub(in crate::tracking) fn read_delivery(value: &str) -> Option<(DeliveryId, Provenance)> {
    let (id, provenance) = match value.strip_prefix(UNSIGNED) {
        Some(id) => (id, Provenance::Unsigned),
        None => (value, Provenance::Session),
    };
    Some((DeliveryId(id.parse().ok()?), provenance))
}

/// Delivery and message of an earlier click in this browser session.
pub(super) fn take_session(hit: &mut Hit, inbound: &Inbound<'_>, rules: &Rules) {
    let (message, delivery) = cookies::read_session(hit, inbound, rules);
    if message.is_none() && delivery.is_none() {
        return;
    }
    hit.delivery_id = delivery.map(|(id, _)| id);
    hit.provenance = delivery.map_or(Provenance::Session, |(_, provenance)| provenance);
    let Some(message) = message else { return };
    match (message.strip_prefix(UNSIGNED), message.parse()) {
        (Some(message), _) => take_unsigned_message(hit, message),
        (None, Ok(id)) => hit.broadlog_id = Some(BroadlogId(id)),
        (None, Err(_)) => {}
    }
}

/// The message of a session that an unsigned link began: a number, or its vendor's name.
fn take_unsigned_message(hit: &mut Hit, message: &str) {
    hit.provenance = Provenance::Unsigned;
    match message.parse() {
        // A landing parameter without a message.
        Ok(0) => {}
        Ok(id) => hit.broadlog_id = Some(BroadlogId(id)),
        Err(_) => hit.foreign_mut().message_key = Some(message.to_owned()),
    }
}

/// The parameter that a redirect hands to a page on another domain: message, campaign, visitor and
/// minute, signed. The message of an unsigned link stays marked as such: our signature says where
/// the reader came from, not who that is.
pub fn landing_value(rules: &Rules, hit: &Hit) -> String {
    let number = |id: Option<i64>| id.unwrap_or(0);
    // A vendor's id of the browser is not ours to sign: the page's domain makes a visitor of its
    // own.
    let visitor = hit
        .visitor_id
        .filter(|id| !id.is_derived())
        .map(|id| id.0.simple().to_string())
        .unwrap_or_default();
    let message = match hit.provenance {
        Provenance::Link => None,
        _ if hit.proof().is_some_and(|proof| !proof.is_signed()) => {
            session_message(hit).or_else(|| Some(format!("{UNSIGNED}0")))
        }
        _ => session_message(hit),
    };
    let message =
        message.unwrap_or_else(|| format!("{:x}", number(hit.broadlog_id.map(|id| id.0))));
    let value = format!(
        "{message}-{:x}-{visitor}-{:x}",
        number(hit.delivery_id.map(|id| id.0)),
        hit.received_at.minutes()
    );
    rules.keys.seal(Purpose::Landing, &value)
}

/// Reads what [`landing_value`] wrote.
fn take_landing(hit: &mut Hit, rules: &Rules, sealed: &str) {
    let Some((message, delivery, visitor, minute)) =
        rules.keys.open(Purpose::Landing, sealed).and_then(|value| {
            // From the end: a vendor's name for a message may hold dashes.
            let mut parts = value.rsplitn(4, '-');
            let minute = i64::from_str_radix(parts.next()?, 16).ok()?;
            let visitor = Uuid::try_parse(parts.next()?).ok();
            // Adobe's ids may be negative: they stand there as their two's complement.
            let delivery = u64::from_str_radix(parts.next()?, 16).ok()? as i64;
            Some((parts.next()?, delivery, visitor, minute))
        })
    else {
        hit.note("landing parameter not signed by us");
        return;
    };
    if hit.received_at.minutes() - minute > LANDING_MINUTES {
        hit.note("landing parameter expired");
        return;
    }
    hit.delivery_id = (delivery != 0).then_some(DeliveryId(delivery));
    hit.broadlog_id = None;
    if let Some(message) = message.strip_prefix(UNSIGNED) {
        take_unsigned_message(hit, message);
    } else {
        let id = u64::from_str_radix(message, 16).unwrap_or(0) as i64;
        hit.broadlog_id = (id != 0).then_some(BroadlogId(id));
        hit.provenance = Provenance::Session;
    }
    let signed = visitor.map(VisitorId).filter(|id| !id.is_derived());
    if signed.is_some() && signed != hit.visitor_id {
        // The address with it can have been passed on.
        hit.foreign_mut().visitor_is_handed = true;
        hit.visitor_id = signed;
    }
}

#[cfg(test)]
pub(super) mod tests;

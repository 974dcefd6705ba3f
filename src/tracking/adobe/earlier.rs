//! What a browser still knows of an earlier click: our cookies, and those that Adobe's server left
//! before the domain was moved here.

use percent_encoding::percent_decode_str;

use super::id::{Broadlog, likeliest, read_broadlog, read_hex};
use crate::model::hit::{BroadlogId, DeliveryId, Hit, Provenance};
use crate::model::keys::Purpose;
use crate::tracking::inbound::Inbound;
use crate::tracking::session::LAST_DELIVERY_COOKIE;
use crate::tracking::{Rules, session, visitor};

/// Adobe's session cookie: broadlog and delivery.
const SESSION: &str = "nlid";
/// Adobe's permanent cookie: the visitor.
const VISITOR: &str = "uuid230";
/// Adobe's permanent cookie: the delivery clicked last.
const LAST_DELIVERY: &str = "nllastdelid";

/// Adobe's visitor, if the browser has none of ours.
pub(super) fn take_visitor(hit: &mut Hit, inbound: &Inbound<'_>) {
    if hit.visitor_id.is_some() {
        return;
    }
    if let Some(id) = read_cookie(hit, inbound, VISITOR, visitor::read_adobes) {
        let text = format!("{}{}", visitor::ADOBES, id.hyphenated());
        visitor::set_unsigned(hit, visitor::adobes(id), &text);
    }
}

/// Message and delivery of the session; true if there is one.
pub(super) fn take_session(hit: &mut Hit, inbound: &Inbound<'_>, rules: &Rules) -> bool {
    session::take_session(hit, inbound, rules);
    if hit.delivery_id.is_some() || hit.broadlog_id.is_some() || hit.message_key().is_some() {
        return true;
    }
    let Some((broadlog, delivery)) = read_cookie(hit, inbound, SESSION, read_session) else {
        return false;
    };
    hit.provenance = Provenance::Unsigned;
    hit.note("session of Adobe's cookie");
    hit.delivery_id = Some(DeliveryId(likeliest(delivery)));
    match broadlog {
        Broadlog::Number(id) => hit.broadlog_id = Some(BroadlogId(likeliest(id))),
        Broadlog::Uuid(id) => hit.foreign_mut().message_key = Some(format!("adobe:{id}")),
    }
    true
}

/// `617791|71ffa3`, `h617791,71ffa3`, …: which character stands between the two ids is not public.
/// Hex, as in links.
fn read_session(value: &str) -> Option<(Broadlog, u64)> {
    let mut fields = value
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|field| !field.is_empty());
    let (broadlog, delivery) = (fields.next()?, fields.next()?);
    let broadlog = read_broadlog(broadlog).or_else(|| {
        // With the letter of the link before it.
        let rest = broadlog.strip_prefix(|c: char| c.is_ascii_alphabetic())?;
        read_broadlog(rest)
    })?;
    let delivery = read_hex(delivery).filter(|id| *id != 0)?;
    Some((broadlog?, delivery))
}

/// The delivery that was clicked last; true if a signed cookie says so.
pub(super) fn take_last_delivery(hit: &mut Hit, inbound: &Inbound<'_>, rules: &Rules) -> bool {
    let signed = session::newest(
        hit,
        inbound,
        rules,
        LAST_DELIVERY_COOKIE,
        Purpose::LastDeliveryCookie,
        "last delivery not signed by us",
    );
    if let Some((id, provenance)) = signed.and_then(|signed| session::read_delivery(signed.value)) {
        hit.delivery_id = Some(id);
        hit.provenance = provenance;
        return true;
    }
    let id = read_cookie(hit, inbound, LAST_DELIVERY, |value| {
        read_hex(value.trim()).filter(|id| *id != 0)
    });
    if let Some(id) = id {
        hit.delivery_id = Some(DeliveryId(likeliest(id)));
        hit.provenance = Provenance::Claimed;
    }
    false
}

/// What a cookie of Adobe's says. Of several of one name those that cannot be read are passed over,
/// and the last of the others counts: browsers send what was made first first (RFC 6265, 5.4). A
/// note says where none can be read.
fn read_cookie<T>(
    hit: &mut Hit,
    inbound: &Inbound<'_>,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let (mut last, mut is_odd) = (None, false);
    for cookie in inbound.cookies(name) {
        match cookie {
            Ok("") => {}
            Ok(value) => match read(&percent_decode_str(value).decode_utf8_lossy()) {
                Some(said) => last = Some(said),
                None => is_odd = true,
            },
            Err(why) => hit.note(&why.note(name)),
        }
    }
    if last.is_none() && is_odd {
        hit.note(&format!("{name} unreadable"));
    }
    last
}

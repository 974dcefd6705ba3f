//! The session: message and campaign of the click that this browser made last, as our cookies hold
//! them.
//!
//! A browser keeps one cookie for each name, domain and path, and sends all that fit without a word
//! on which is whose: another tool's `deliveryId`, and our own of the time before `cookies.domains`
//! was set or changed. Ours are those whose signature holds, and of them the newest counts. The
//! cookies of a session say when they were sealed. The two of one click say the same time, so the
//! message of one click never stands beside the campaign of another, in whatever order they come.
//! Those that say no time are older than all that do; among them the last is the newest.

use super::Rules;
use super::inbound::Inbound;
use crate::model::clock::Micros;
use crate::model::hit::{BroadlogId, DeliveryId, Hit, Proof, Provenance};
use crate::model::keys::Purpose;

/// Session cookie: the message that was clicked.
pub const BROADLOG_COOKIE: &str = "broadlogId";
/// Session cookie: the campaign of that message.
pub const DELIVERY_COOKIE: &str = "deliveryId";

/// Marks a session that an unsigned link began: it proves no more than the link did.
pub(crate) const UNSIGNED: &str = "u:";

/// Permanent cookie, signed: the delivery that was clicked last. Adobe's own is `nllastdelid`.
pub const LAST_DELIVERY_COOKIE: &str = "lastDeliveryId";

/// A click as the cookies of its session hold it, both with its time. Where it has no message or no
/// delivery, an earlier one's is taken away, so that its pages do not count for the wrong campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookies {
    /// Value of [`BROADLOG_COOKIE`].
    pub message: Option<String>,
    /// Value of [`DELIVERY_COOKIE`].
    pub delivery: Option<String>,
}

/// The session that a click begins.
pub(crate) fn sealed(rules: &Rules, hit: &Hit) -> SessionCookies {
    let seal = |purpose, value: Option<String>| {
        value.map(|value| rules.keys.seal_at(purpose, &value, hit.received_at))
    };
    SessionCookies {
        message: seal(Purpose::BroadlogCookie, session_message(hit)),
        delivery: seal(Purpose::DeliveryCookie, session_delivery(hit)),
    }
}

/// Value of [`LAST_DELIVERY_COOKIE`] after a click.
pub(crate) fn sealed_last_delivery(rules: &Rules, hit: &Hit) -> Option<String> {
    let delivery = session_delivery(hit)?;
    let at = hit.received_at;
    Some(
        rules
            .keys
            .seal_at(Purpose::LastDeliveryCookie, &delivery, at),
    )
}

/// The message of a click as the session cookie has it: its number or its vendor's name for it.
pub(crate) fn session_message(hit: &Hit) -> Option<String> {
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

/// The campaign of a click as cookies have it.
fn session_delivery(hit: &Hit) -> Option<String> {
    let id = hit.delivery_id?;
    let is_signed = hit.proof().is_some_and(Proof::is_signed);
    let mark = if is_signed { "" } else { UNSIGNED };
    Some(format!("{mark}{id}"))
}

/// Reads a value from [`session_delivery`], and what it proves.
pub(crate) fn read_delivery(value: &str) -> Option<(DeliveryId, Provenance)> {
    let (id, provenance) = match value.strip_prefix(UNSIGNED) {
        Some(id) => (id, Provenance::Unsigned),
        None => (value, Provenance::Session),
    };
    Some((DeliveryId(id.parse().ok()?), provenance))
}

/// Delivery and message of an earlier click in this browser session.
pub(crate) fn take_session(hit: &mut Hit, inbound: &Inbound<'_>, rules: &Rules) {
    let (message, delivery) = read_session(hit, inbound, rules);
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
pub(crate) fn take_unsigned_message(hit: &mut Hit, message: &str) {
    hit.provenance = Provenance::Unsigned;
    match message.parse() {
        // A landing parameter without a message.
        Ok(0) => {}
        Ok(id) => hit.broadlog_id = Some(BroadlogId(id)),
        Err(_) => hit.foreign_mut().message_key = Some(message.to_owned()),
    }
}

/// A value that we signed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signed<'a> {
    pub(crate) value: &'a str,
    /// The beginning of time if it does not say.
    at: Micros,
}

/// The newest cookie of a name that we signed. `not_ours` is noted if there are some but none is
/// signed.
pub(crate) fn newest<'a>(
    hit: &mut Hit,
    inbound: &Inbound<'a>,
    rules: &Rules,
    name: &str,
    purpose: Purpose,
    not_ours: &str,
) -> Option<Signed<'a>> {
    let (mut newest, mut is_anothers) = (None::<Signed<'a>>, false);
    for cookie in inbound.cookies(name) {
        match cookie {
            // What a removed cookie leaves behind in some clients.
            Ok("") => {}
            Ok(sealed) => match rules.keys.open_at(purpose, sealed) {
                Some((value, at)) => {
                    let at = at.unwrap_or(Micros(0));
                    if newest.is_none_or(|newest| newest.at <= at) {
                        newest = Some(Signed { value, at });
                    }
                }
                None => is_anothers = true,
            },
            Err(why) => hit.note(&why.note(name)),
        }
    }
    if newest.is_none() && is_anothers {
        hit.note(not_ours);
    }
    newest
}

/// Message and campaign of the last click in this browser session.
fn read_session<'a>(
    hit: &mut Hit,
    inbound: &Inbound<'a>,
    rules: &Rules,
) -> (Option<&'a str>, Option<(DeliveryId, Provenance)>) {
    let not_ours = "session cookie not signed by us";
    let mut newest = |name, purpose| newest(hit, inbound, rules, name, purpose, not_ours);
    let message = newest(BROADLOG_COOKIE, Purpose::BroadlogCookie);
    let delivery = newest(DELIVERY_COOKIE, Purpose::DeliveryCookie);
    // Of two clicks the later one counts alone: it may have had no message, or no campaign.
    let last = [message, delivery]
        .into_iter()
        .flatten()
        .map(|signed| signed.at);
    let last = last.max().unwrap_or(Micros(0));
    let of_last = |signed: Option<Signed<'a>>| signed.filter(|signed| signed.at == last);
    (
        of_last(message).map(|message| message.value),
        of_last(delivery).and_then(|delivery| read_delivery(delivery.value)),
    )
}

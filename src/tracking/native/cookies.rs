//! Our own cookies, where a browser may send several of one name.
//!
//! A browser keeps one cookie for each name, domain and path, and sends all that fit without a word
//! on which is whose: another tool's `visitorId`, and our own of the time before `cookies.domains`
//! was set or changed. Ours are those whose signature holds, and of them the newest counts:
//!
//! - The cookies of a session say when they were sealed. The two of one click say the same time, so
//!   the message of one click never stands beside the campaign of another, in whatever order they
//!   come. Those that say no time are older than all that do; among them the last is the newest.
//! - A visitor keeps its value for years, so it says no time. With equal paths (ours is always `/`)
//!   browsers send what was made first first (RFC 6265, 5.4): the last counts. It is then written
//!   to the one domain in use, so that the browser has one visitor from then on.

use uuid::Uuid;

use super::{BROADLOG_COOKIE, DELIVERY_COOKIE, read_delivery};
use crate::model::clock::Micros;
use crate::model::hit::{DeliveryId, Hit, Provenance, VisitorId};
use crate::model::keys::Purpose;
use crate::tracking::Rules;
use crate::tracking::inbound::Inbound;

/// A value that we signed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tracking) struct Signed<'a> {
    pub(in crate::tracking) value: &'a str,
    /// The beginning of time where it does not say.
    at: Micros,
}

/// The newest cookie of a name that we signed. `not_ours` is noted where there are some and none
/// is.
pub(in crate::tracking) fn newest<'a>(
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

/// Message and campaign of the click that this browser session made last.
pub(super) fn read_session<'a>(
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

/// The visitor of a value that we signed.
pub(super) fn signed_visitor(rules: &Rules, sealed: &str) -> Option<VisitorId> {
    let id = rules.keys.open(Purpose::Visitor, sealed)?;
    Uuid::try_parse(id).ok().map(VisitorId)
}

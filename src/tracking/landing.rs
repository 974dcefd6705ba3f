//! The parameter that hands a visit over to a page on another domain, where our cookies do not go.

use uuid::Uuid;

use super::Rules;
use super::session::{UNSIGNED, session_message, take_unsigned_message};
use crate::model::hit::{BroadlogId, DeliveryId, Hit, Provenance, VisitorId};
use crate::model::keys::Purpose;

/// Parameter that a redirect hands to a landing page on another domain.
pub(crate) const LANDING_PARAMETER: &str = "_sl";
/// How long a landing parameter is valid, in minutes: long enough for a slow page, too short to be
/// passed on with the URL.
const LANDING_MINUTES: i64 = 10;

/// The parameter that a redirect hands to a page on another domain: message, campaign, visitor and
/// minute, signed. The message of an unsigned link stays marked as such: our signature says where
/// the reader came from, not who that is.
pub(crate) fn landing_value(rules: &Rules, hit: &Hit) -> String {
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

/// Reads a value from [`landing_value`].
pub(crate) fn take_landing(hit: &mut Hit, rules: &Rules, sealed: &str) {
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

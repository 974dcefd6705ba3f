//! What every hit of a message has, whatever dialect its link or pixel is written in: who fetched
//! it, the message that a token proves, the visitor and the page before.

use http::header::REFERER;
use uuid::Uuid;

use super::inbound::Inbound;
use super::verdict::Surface;
use super::{Rules, verdict, visitor};
use crate::model::hit::{Dialect, Hit, HitId, Kind, Provenance};
use crate::model::link::LinkToken;

/// A hit of a message, with the message and its proof if there is a token.
pub(crate) fn message_hit(
    inbound: &Inbound<'_>,
    rules: &Rules,
    kind: Kind,
    token: Option<&LinkToken>,
) -> Hit {
    hit_from(Surface::of(kind), inbound, rules, kind, token)
}

/// A hit of a message to an app, which reports it itself with whatever library it was built with.
pub(crate) fn app_hit(inbound: &Inbound<'_>, rules: &Rules, kind: Kind) -> Hit {
    hit_from(Surface::Page, inbound, rules, kind, None)
}

fn hit_from(
    surface: Surface,
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
    let sent_minute = token.and_then(|token| token.sent_minute);
    verdict::judge_message_request(&mut hit, surface, inbound, &rules.lists, sent_minute);
    if let Some(token) = token {
        hit.delivery_id = Some(token.delivery_id);
        hit.broadlog_id = Some(token.broadlog_id).filter(|id| id.0 != 0);
        hit.provenance = Provenance::Link;
    }
    visitor::take_visitor(&mut hit, inbound, rules, None);
    hit
}

/// The note of a hit whose URL had something extra in or behind it.
pub(crate) const REPAIRED: &str = "link repaired";

/// The page that the browser says it came from.
pub(crate) fn take_referrer(hit: &mut Hit, inbound: &Inbound<'_>) {
    if let Some(referrer) = inbound.header(REFERER) {
        hit.referrer = hit.take_url("referrer", &referrer);
    }
}

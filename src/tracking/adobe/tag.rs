//! Web-tracking tags: `/r/<any>?tagid=home`, `…?tagid=cart%7Ct%7CShop&amount=49.90&article=2`.
//!
//! What kind of hit a tag makes, whether it is still valid, and whether it has to be made, is known
//! by the table of tags only: the projection decides. Which hits count depends on the mode:
//!
//! | mode | counts |
//! |---|---|
//! | session | with a session (our cookies or Adobe's `nlid`), a forced delivery (`jobid`) or a recipient (`rcpid`) |
//! | permanent | that, or a visitor that is known from an earlier click |
//! | anonymous | all |

use uuid::Uuid;

use super::earlier::{take_last_delivery, take_session, take_visitor};
use super::id::{likeliest, read_hex};
use super::{decoded, raw_pairs};
use crate::identity;
use crate::model::hit::{
    Currency, DeliveryId, Dialect, Hit, HitId, Kind, Limit, PageTagDraft, PageTagKind, Provenance,
    read_amount, read_whole,
};
use crate::tracking::inbound::Inbound;
use crate::tracking::page::take_page_utm;
use crate::tracking::{AdobeMode, MOST_PARAMETERS, Rules, address_with_plus, verdict, visitor};

/// Why a tag is not a hit: the mode wants a session.
pub const NO_SESSION: &str = "no session";
/// Why a tag is not a hit: it names no page.
pub const NO_TAG: &str = "tag without identifier";
/// Why a tag is not a hit: the mode wants a known visitor, and this browser has no id at all. The
/// projection drops those whose id is unknown.
pub const NO_VISITOR: &str = "no visitor";

/// Reads a tag.
///
/// # Errors
/// The request is not a hit: the reason, for a counter.
pub fn tag(inbound: &Inbound<'_>, rules: &Rules) -> Result<Hit, &'static str> {
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        inbound.received_at,
        Kind::Pageview,
        Dialect::Adobe,
    );
    hit.is_trusted = inbound.is_trusted_sender;
    verdict::judge_request(&mut hit, inbound, &rules.lists);
    verdict::judge_method(&mut hit, inbound);
    visitor::take_visitor(&mut hit, inbound, rules, None);
    take_visitor(&mut hit, inbound);
    let has_session = take_session(&mut hit, inbound, rules);
    let (mut forced, mut beside_amount, mut names_recipient) = (None, None, false);
    for (index, pair) in raw_pairs(inbound.query).enumerate() {
        if index == MOST_PARAMETERS {
            hit.note("parameters cut");
            break;
        }
        let (name, value) = decoded(pair);
        if value.is_empty() {
            continue;
        }
        match &*name.to_ascii_lowercase() {
            "tagid" if hit.page_tag.is_none() => take_tag(&mut hit, &value),
            "jobid" => match read_hex(value.trim()).filter(|id| *id != 0) {
                // Where there is a session, its delivery counts.
                Some(_) if has_session => hit.keep("jobid", &value),
                Some(id) => forced = Some(DeliveryId(likeliest(id))),
                None => hit.refuse("jobid", &value, "no hex number"),
            },
            "rcpid" => names_recipient |= take_recipient(&mut hit, rules, &value, pair),
            "amount" => match read_amount(&value) {
                Ok(amount) => {
                    hit.revenue = Some(amount.money);
                    beside_amount = amount.currency;
                }
                Err(error) => hit.refuse("amount", &value, &error.to_string()),
            },
            "article" => match read_whole(&value) {
                Some(number) => hit.quantity = Some(number),
                None => hit.refuse("article", &value, "no number"),
            },
            "currency" => match Currency::parse(&value) {
                Some(currency) => hit.currency = Some(currency),
                None => hit.keep("currency", &value),
            },
            _ => {
                if !hit.take_utm(&name, &value) {
                    hit.keep(&name, &value);
                }
            }
        }
    }
    if hit.page_tag.is_none() {
        return Err(NO_TAG);
    }
    hit.take_currency_beside("amount", beside_amount);
    if let Some(referer) = inbound.header("referer") {
        hit.page_url = hit.take_url("page_url", &referer);
    }
    take_page_utm(&mut hit);
    if let (false, Some(delivery)) = (has_session, forced) {
        hit.delivery_id = Some(delivery);
        hit.provenance = Provenance::Claimed;
    }
    let counts = has_session || forced.is_some();
    admit(hit, inbound, rules, counts, names_recipient)
}

/// Accepts the hit if it counts in the mode. `has_delivery`: a session or a forced delivery gave it
/// one. `names_recipient`: even an unknown one.
fn admit(
    mut hit: Hit,
    inbound: &Inbound<'_>,
    rules: &Rules,
    has_delivery: bool,
    names_recipient: bool,
) -> Result<Hit, &'static str> {
    let mode = rules.adobe_mode;
    let clicked_before =
        !has_delivery && mode != AdobeMode::Session && take_last_delivery(&mut hit, inbound, rules);
    if has_delivery || names_recipient || clicked_before {
        return Ok(hit);
    }
    match mode {
        AdobeMode::Session => Err(NO_SESSION),
        AdobeMode::Permanent if hit.visitor_id.is_none() => Err(NO_VISITOR),
        AdobeMode::Permanent => {
            hit.foreign_mut().is_for_known_visitors = true;
            Ok(hit)
        }
        AdobeMode::Anonymous => Ok(hit),
    }
}

/// `home`, or `home|t|Shop` for a tag to be created if there is none of that name.
fn take_tag(hit: &mut Hit, value: &str) {
    let mut parts = value.splitn(3, '|');
    let identifier = parts.next().unwrap_or_default();
    hit.page_tag = hit.take("tagid", identifier, Limit::NAME);
    if hit.page_tag.is_none() {
        return;
    }
    let kind = match parts.next().map(|kind| kind.trim().to_ascii_lowercase()) {
        None => return,
        Some(kind) if kind == "w" => PageTagKind::Web,
        Some(kind) if kind == "t" => PageTagKind::Transaction,
        Some(_) => {
            hit.refuse("tagid", value, "of no type");
            return;
        }
    };
    let folder = parts
        .next()
        .and_then(|folder| hit.take("tagid folder", folder, Limit::NAME));
    hit.foreign_mut().page_tag = Some(PageTagDraft { kind, folder });
}

/// `saccount=10`; whether it has that form. A placeholder identifies nobody.
fn take_recipient(hit: &mut Hit, rules: &Rules, value: &str, raw: &str) -> bool {
    // Escaped once more than it should be.
    let twice = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
    let pair = value.split_once('=').or_else(|| twice.split_once('='));
    let recipient = pair.and_then(|(field, value)| {
        let field = hit.take("rcpid", field, Limit::WORD)?;
        let field = unique_name(rules, field);
        // An address keeps its plus.
        let raw = percent_encoding::percent_decode_str(raw.split_once('=')?.1).decode_utf8_lossy();
        let address = address_with_plus(&field, raw.as_bytes());
        let value = address.as_deref().unwrap_or(value);
        Some((field, hit.take("rcpid", value, Limit::TITLE)?))
    });
    let is_named = recipient.is_some();
    let wrong = recipient.as_ref().and_then(|(field, value)| {
        let is_unique = rules.unique.contains(field);
        is_unique.then(|| identity::refusal(field, value)).flatten()
    });
    match recipient {
        _ if let Some(wrong) = wrong => hit.refuse("rcpid", value, wrong.note()),
        Some(recipient) => hit.foreign_mut().recipient = Some(recipient),
        None => hit.refuse("rcpid", value, "unreadable"),
    }
    is_named
}

/// The unique field that one of Adobe's names stands for: the name itself in any case, else without
/// its type prefix, as in `sEmail`; the name if there is none.
fn unique_name(rules: &Rules, name: String) -> String {
    let find = |name: &str| {
        let mut unique = rules.unique.iter();
        unique
            .find(|unique| unique.eq_ignore_ascii_case(name))
            .cloned()
    };
    let without_type = || find(name.strip_prefix(['s', 'i', 'S', 'I'])?);
    find(&name).or_else(without_type).unwrap_or(name)
}

#[cfg(test)]
mod tests;

//! The visitor: which browser or app a request comes from, by our own signed id or by one that a
//! vendor gave it before its pages moved here.
//!
//! A vendor's id is unsigned and stays so: it goes back to the browser as it came, and the visitor
//! that it stands for shows that it was derived. Our cookie therefore holds ids of several vendors,
//! and every dialect reads them all here. Of several cookies of one name the last counts: browsers
//! send what was made first first (RFC 6265, 5.4), and a visitor keeps its value for years, so it
//! says no time. It is then written to the one domain in use, so that the browser has one visitor
//! from then on.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Rules;
use super::inbound::{Inbound, PassedOver};
use crate::model::hit::{Dialect, Hit, VisitorId};
use crate::model::keys::Purpose;

/// Name of the visitor cookie.
pub const VISITOR_COOKIE: &str = "visitorId";
/// Name of Mautic's cookie and parameter for the browser.
pub const DEVICE: &str = "mautic_device_id";
/// Mautic's cookie for its contact.
const CONTACT_COOKIE: &str = "mtc_id";
/// Characters of an id that Mautic gave a browser.
const DEVICE_CHARS: usize = 23;
/// Prefix of Adobe's browser id in our cookie, which holds it unsigned.
pub(crate) const ADOBES: &str = "adobe:";

/// The visitor of a signed cookie, else of a signed parameter, else the one that a vendor knew.
/// What nobody has signed goes back to the browser as it came: our signature would make a proof of
/// it.
pub(crate) fn take_visitor(
    hit: &mut Hit,
    inbound: &Inbound<'_>,
    rules: &Rules,
    parameter: Option<&str>,
) {
    // A page on our own host gives us the script's cookie beside ours.
    for name in [VISITOR_COOKIE, DEVICE] {
        if take_signed_visitor(hit, rules, name, inbound.cookies(name)) {
            return;
        }
    }
    if take_signed_visitor(hit, rules, DEVICE, parameter.map(Ok).into_iter()) {
        // Anybody can put an id of his own into the address of an image that others load.
        if !inbound.is_trusted_sender {
            hit.foreign_mut().visitor_is_handed = true;
        }
        return;
    }
    let unsigned = |text| unsigned_visitor(text).map(|id| (id, text));
    let cookies = inbound.cookies(VISITOR_COOKIE).filter_map(Result::ok);
    if let Some((id, text)) = cookies.filter_map(unsigned).last() {
        set_unsigned(hit, id, text);
        return;
    }
    take_device(hit, inbound, parameter);
}

/// The visitor that an unsigned id stands for: Mautic's as Mautic writes it, Adobe's behind its
/// name.
fn unsigned_visitor(text: &str) -> Option<VisitorId> {
    match text.strip_prefix(ADOBES) {
        Some(id) => read_adobes(id).map(adobes),
        None => is_device_id(text).then(|| foreign_visitor("mautic", text)),
    }
}

/// Makes an unsigned id's visitor the hit's; `text` is how the id goes back to the browser.
pub(crate) fn set_unsigned(hit: &mut Hit, id: VisitorId, text: &str) {
    hit.visitor_id = Some(id);
    hit.foreign_mut().visitor = Some(text.to_owned());
}

/// Makes a hit without a visitor the first of a new one.
pub(crate) fn set_new(hit: &mut Hit, inbound: &Inbound<'_>) {
    if hit.visitor_id.is_none() {
        hit.visitor_id = Some(inbound.new_visitor);
        hit.visitor_is_new = true;
    }
}

/// The value of the hit's visitor in cookies and responses: an id of ours signed, a vendor's as it
/// came. `None` if the hit has none.
pub(crate) fn cookie_value(rules: &Rules, hit: &Hit) -> Option<String> {
    let id = hit.visitor_id?;
    if id.is_derived() {
        return hit.foreign.as_ref()?.visitor.clone();
    }
    let mut buffer = Uuid::encode_buffer();
    let id = id.0.simple().encode_lower(&mut buffer);
    let sealed = rules.keys.seal(Purpose::Visitor, id);
    let is_handed = hit.foreign.as_ref().is_some_and(|f| f.visitor_is_handed);
    Some(match is_handed {
        true => [HANDED, &sealed].concat(),
        false => sealed,
    })
}

/// Stands before a visitor's signed id in the cookie of a browser that it was handed to. Who takes
/// the mark away says that the id is his own, which he could say of every id that he has.
const HANDED: &str = "handed:";

fn unmarked(sealed: &str) -> &str {
    sealed.strip_prefix(HANDED).unwrap_or(sealed)
}

/// The last of several values that we signed. What is not ours is told if none is: another
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
            Ok(sealed) => match signed_visitor(rules, unmarked(sealed)) {
                Some(id) => signed = Some((id, sealed)),
                None => is_anothers = true,
            },
            Err(why) => hit.note(&why.note(name)),
        }
    }
    match signed {
        // Signed before vendors' ids were left unsigned.
        Some((id, sealed)) if id.is_derived() => set_unsigned(hit, id, sealed),
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

/// The visitor of a value that we signed.
fn signed_visitor(rules: &Rules, sealed: &str) -> Option<VisitorId> {
    let id = rules.keys.open(Purpose::Visitor, sealed)?;
    Uuid::try_parse(id).ok().map(VisitorId)
}

/// The browser as Mautic knew it, for a hit that has no visitor of ours: after a move the first
/// visit carries on the old one. The cookie is stronger than the parameter.
fn take_device(hit: &mut Hit, inbound: &Inbound<'_>, parameter: Option<&str>) {
    // Of several of one name the last: what was made first is sent first. What is no text is noted
    // where our own ids are read.
    let cookies = |name| inbound.cookies(name).filter_map(Result::ok);
    let cookie = cookies(DEVICE).filter(|id| is_device_id(id)).last();
    let parameter = parameter.filter(|id| is_device_id(id));
    if let Some(id) = cookie.or(parameter) {
        set_unsigned(hit, foreign_visitor("mautic", id), id);
    }
    if parameter.is_some() {
        hit.dialect = Dialect::Mautic;
    }
    // Mautic's number of the contact: nobody here has it, but who moves may want to look it up.
    let is_number =
        |id: &&str| (1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(id) = cookies(CONTACT_COOKIE).filter(is_number).last() {
        hit.keep(CONTACT_COOKIE, id);
    }
}

/// Whether an unsigned id has Mautic's form.
pub(crate) fn is_device_id(id: &str) -> bool {
    id.len() == DEVICE_CHARS && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Adobe's id of a browser. A word that is no UUID may be everybody's: it must not make one visitor
/// of all of them.
pub(crate) fn read_adobes(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text.trim()).ok()?;
    (!id.is_nil()).then_some(id)
}

/// The visitor that an Adobe id stands for.
pub(crate) fn adobes(id: Uuid) -> VisitorId {
    foreign_visitor("adobe", &id.simple().to_string())
}

/// The visitor that a vendor's own, unsigned id stands for. It is derived, so that nobody can name
/// a visitor of ours by sending its id as a vendor's, and it shows that it is
/// ([`VisitorId::is_derived`]). `vendor` keeps equal ids of two vendors apart.
pub fn foreign_visitor(vendor: &str, id: &str) -> VisitorId {
    let digest = Sha256::new()
        .chain_update(vendor)
        .chain_update([0])
        .chain_update(id)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    // Version 8: made of something else. Ours have version 7.
    VisitorId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

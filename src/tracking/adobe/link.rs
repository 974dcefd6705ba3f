//! Tracked links and open pixels: `/r/?id=h617791,71ffa3,71ffa8&p1=Ada&e=…&s=…`.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::earlier::take_visitor;
use super::id::{
    Broadlog, IMPRESSION, MessageId, Target, content_type, likeliest, read_id, readings,
};
use super::{decoded, raw_pairs};
use crate::model::hit::{BroadlogId, DeliveryId, Dialect, Hit, Kind, Limit, LinkId, Provenance};
use crate::model::link::{LinkRecord, PersonalValues};
use crate::tracking::inbound::Inbound;
use crate::tracking::message::{app_hit, message_hit, take_referrer};
use crate::tracking::{MOST_PARAMETERS, Rules};

/// What a link or an open pixel says about itself. None of it is proved.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkClaim {
    /// The ids.
    pub id: MessageId,
    /// `p1`, `p2`, …
    pub values: PersonalValues,
    /// What is passed on to the page: the raw query without `id`, `pN`, `e` and `s`, and with the
    /// pairs inside `e`.
    pub query: String,
    /// What was repaired or is not credible.
    notes: Vec<&'static str>,
    /// Input that could not be used.
    kept: Vec<(&'static str, String)>,
}

impl LinkClaim {
    /// Ids that the link may have in the table, likeliest first; empty for what has no destination.
    pub fn link_ids(&self) -> impl Iterator<Item = LinkId> + Clone + use<> {
        let id = match self.id.target {
            Target::Link(id) => Some(id),
            Target::Open | Target::PushClick => None,
        };
        id.into_iter().flat_map(readings).map(LinkId)
    }
}

/// Base64url as Adobe writes it, and as it comes back from programs that pad it or leave stray
/// bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads a link; `None` without a valid id.
pub(super) fn read(inbound: &Inbound<'_>) -> Option<LinkClaim> {
    let (mut id, mut sealed, mut has_signature) = (None, None, false);
    let (mut notes, mut outer) = (Vec::new(), String::new());
    for (index, pair) in raw_pairs(inbound.query).enumerate() {
        if index == MOST_PARAMETERS {
            notes.push("parameters cut");
            break;
        }
        let (name, value) = decoded(pair);
        match &*name.to_ascii_lowercase() {
            "id" => id = id.or(Some(value)),
            "e" => sealed = sealed.or(Some(value)),
            "s" => has_signature = true,
            _ => join(&mut outer, pair),
        }
    }
    let mut claim = LinkClaim {
        id: read_id(&id?)?,
        values: PersonalValues::default(),
        query: String::new(),
        notes,
        kept: Vec::new(),
    };
    if claim.id.is_repaired {
        claim.notes.push("id repaired");
    }
    if has_signature || sealed.is_some() {
        claim.notes.push("vendor's signature not verified");
    }
    // What the mailing system put into `e` counts before what somebody has appended.
    if let Some(sealed) = sealed {
        match read_sealed(&sealed) {
            Some(query) => {
                let (query, is_cut) = pass_on(&mut claim.values, &query);
                claim.query = query;
                if is_cut {
                    claim.notes.push("parameters cut");
                }
            }
            None => {
                claim.notes.push("e unreadable");
                claim.kept.push(("e", sealed.into_owned()));
            }
        }
    }
    let outer = claim.values.take_from(&outer);
    for pair in raw_pairs(&outer) {
        join(&mut claim.query, pair);
    }
    Some(claim)
}

/// The query string inside `e`.
fn read_sealed(sealed: &str) -> Option<String> {
    if sealed.is_empty() || sealed.len() > Limit::URL.0 {
        return None;
    }
    String::from_utf8(BASE64.decode(sealed).ok()?).ok()
}

/// Takes personal values and the reserved names out of a query; the second part says whether there
/// were too many.
fn pass_on(values: &mut PersonalValues, query: &str) -> (String, bool) {
    let mut passed = String::new();
    let rest = values.take_from(query);
    let is_cut = raw_pairs(&rest).nth(MOST_PARAMETERS).is_some();
    for pair in raw_pairs(&rest).take(MOST_PARAMETERS) {
        let (name, _) = decoded(pair);
        if !["id", "e", "s"].contains(&&*name.to_ascii_lowercase()) {
            join(&mut passed, pair);
        }
    }
    (passed, is_cut)
}

fn join(query: &mut String, pair: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(pair);
}

/// A click on a known link. The link's own delivery counts, whatever the request claims.
pub fn click(inbound: &Inbound<'_>, rules: &Rules, claim: &LinkClaim, link: &LinkRecord) -> Hit {
    let mut hit = claimed_hit(inbound, rules, claim, link.kind());
    hit.link_id = Some(link.id);
    if let Some(delivery) = link.delivery_id {
        let is_same = |claimed: u64| readings(claimed).any(|id| id == delivery.0);
        if let Some(claimed) = claim.id.delivery.filter(|claimed| !is_same(*claimed)) {
            hit.note("delivery of the link taken");
            hit.keep("claimed_delivery", &likeliest(claimed).to_string());
        }
        hit.delivery_id = Some(delivery);
    }
    hit.page_url = hit.take_url("page_url", &link.url);
    hit.utm = link.utm.clone();
    take_utm(&mut hit, &claim.query);
    hit
}

/// Answered without a destination: an open, a push received or tapped.
pub fn message(inbound: &Inbound<'_>, rules: &Rules, claim: &LinkClaim) -> Hit {
    let kind = match claim.id.target {
        // Adobe's SDKs send the letter h as well, so a received push cannot be told from an opened
        // mail here; the delivery's channel tells.
        Target::Open | Target::Link(IMPRESSION) => Kind::Open,
        Target::PushClick | Target::Link(_) => Kind::Click,
    };
    let mut hit = claimed_hit(inbound, rules, claim, kind);
    if claim.id.target == Target::Link(IMPRESSION) {
        hit.keep("tracking_type", "impression");
    }
    // There is no page that the rest could go on to (`mcId`, `did`, `rid`, `erid`, …).
    for (index, pair) in raw_pairs(&claim.query).enumerate() {
        if index == MOST_PARAMETERS {
            hit.note("parameters cut");
            break;
        }
        let (name, value) = decoded(pair);
        if !hit.take_utm(&name, &value) {
            hit.keep(&name, &value);
        }
    }
    hit
}

fn claimed_hit(inbound: &Inbound<'_>, rules: &Rules, claim: &LinkClaim, kind: Kind) -> Hit {
    let mut hit = match claim.id.target {
        Target::PushClick => app_hit(inbound, rules, kind),
        Target::Open | Target::Link(_) => message_hit(inbound, rules, kind, None),
    };
    hit.dialect = Dialect::Adobe;
    take_visitor(&mut hit, inbound);
    take_referrer(&mut hit, inbound);
    hit.provenance = Provenance::Unsigned;
    hit.note("unsigned link");
    hit.delivery_id = claim.id.delivery.map(likeliest).map(DeliveryId);
    match claim.id.broadlog {
        Some(Broadlog::Number(id)) => hit.broadlog_id = Some(BroadlogId(likeliest(id))),
        Some(Broadlog::Uuid(id)) => hit.foreign_mut().message_key = Some(format!("adobe:{id}")),
        None => {}
    }
    match content_type(claim.id.letter) {
        Some(name) => hit.keep("content_type", name),
        None => {
            hit.note("content type unknown");
            hit.keep("content_type", &claim.id.letter.to_string());
        }
    }
    for note in &claim.notes {
        hit.note(note);
    }
    for (name, value) in claim.values.pairs() {
        hit.keep(&name, value);
    }
    for (name, value) in &claim.kept {
        hit.keep(name, value);
    }
    hit
}

fn take_utm(hit: &mut Hit, query: &str) {
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        hit.take_utm(&name, &value);
    }
}

//! One hit explained: what is stored of it, what was noted, and what tells whose it is.

use serde_json::{Map, Value, json};

use crate::model::hit::{Authority, Hit, Provenance, VisitorId};
use crate::model::wire::Id;
use crate::operator::export::HitLine;
use crate::store::hits::StoredHit;

/// A hit as `GET /hits` tells it, but for its number and its id, which it gets when it is kept; and
/// what no column holds.
pub(super) fn explain_hit(hit: &Hit, unique: &[String]) -> Value {
    let row = StoredHit::preview(hit);
    let mut told = match serde_json::to_value(HitLine(&row)) {
        Ok(Value::Object(told)) => told,
        _ => Map::new(),
    };
    told.remove("seq");
    told.remove("id");
    let fields: Map<String, Value> = hit
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect();
    let notes: Vec<&str> = hit
        .reason
        .iter()
        .flat_map(|reason| reason.split("; "))
        .collect();
    let foreign = hit.foreign.as_deref();
    told.insert("fields".to_owned(), fields.into());
    told.insert("notes".to_owned(), notes.into());
    told.insert("evidence".to_owned(), evidence(hit, unique));
    told.insert(
        "idempotency_key".to_owned(),
        hit.idempotency_key.as_deref().into(),
    );
    told.insert(
        "quarantined".to_owned(),
        foreign
            .and_then(|foreign| foreign.refused.as_deref())
            .into(),
    );
    told.insert(
        "only_if_visitor_is_known".to_owned(),
        foreign
            .is_some_and(|foreign| foreign.is_for_known_visitors)
            .into(),
    );
    told.into()
}

/// What tells whose hit it is.
fn evidence(hit: &Hit, unique: &[String]) -> Value {
    let foreign = hit.foreign.as_deref();
    json!({
        "authority": match hit.authority {
            Authority::Public => "public",
            Authority::Authenticated => "authenticated",
        },
        "provenance": match hit.provenance {
            Provenance::None => "none",
            Provenance::Link => "link",
            Provenance::Session => "session",
            Provenance::Claimed => "claimed",
            Provenance::Unsigned => "unsigned",
        },
        "message_key": hit.message_key(),
        "recipient": foreign.and_then(|foreign| foreign.recipient.as_ref()).map(|(field, value)| json!({ "field": field, "value": value })),
        "visitor": hit.visitor_id.map(|id| json!({ "id": id.0, "from": visitor_source(hit, id) })),
        "names": names(hit, unique),
    })
}

/// What names a person, strongest first, as [`crate::identity`] goes through it: the first of them
/// that leads to somebody is who it was.
fn names(hit: &Hit, unique: &[String]) -> Vec<Value> {
    let mut names = Vec::new();
    let message = match (hit.broadlog_id, hit.message_key()) {
        (Some(id), _) => Some(json!(Id(id.0))),
        (None, Some(key)) => Some(json!(key)),
        (None, None) => None,
    };
    let by_message = |by: &str| {
        message
            .as_ref()
            .map(|message| json!({ "by": by, "message": message }))
    };
    if let Some(contact) = hit.contact_id {
        names.push(json!({ "by": "authenticated sender", "contact_id": contact.0 }));
    }
    if hit.provenance == Provenance::Link {
        names.extend(by_message("signed link"));
    }
    let recipient = hit
        .foreign
        .as_ref()
        .and_then(|foreign| foreign.recipient.as_ref());
    for (by, pair) in recipient
        .map(|pair| ("recipient", pair))
        .into_iter()
        .chain(hit.fields.iter().map(|pair| ("field", pair)))
    {
        if unique.contains(&pair.0) {
            names.push(json!({ "by": by, "field": pair.0, "value": pair.1 }));
        }
    }
    match hit.provenance {
        Provenance::Session => names.extend(by_message("session of an earlier click")),
        Provenance::Unsigned => names.extend(by_message("unsigned link or its session")),
        Provenance::None | Provenance::Link | Provenance::Claimed => {}
    }
    if let (Some(id), false) = (hit.visitor_id, hit.visitor_is_new) {
        names.push(json!({ "by": "visitor", "id": id.0, "from": visitor_source(hit, id) }));
    }
    let foreign = hit.foreign.iter();
    for (field, value) in foreign.flat_map(|foreign| &foreign.page_fields) {
        if unique.contains(field) {
            names.push(json!({ "by": "address of the page", "field": field, "value": value }));
        }
    }
    names
}

/// Where the visitor comes from: ours are made with the time in them, a vendor's are derived from
/// what it sent.
fn visitor_source(hit: &Hit, id: VisitorId) -> &'static str {
    match (hit.visitor_is_new, id.0.get_version_num()) {
        (true, _) => "made for this request",
        (false, 8) => "a vendor's id, unsigned",
        (false, _) => "an id that this server signed",
    }
}

//! A hit as JSON, from a sender with the API token. Here a mistake is an error with the field's
//! name: the sender can mend it.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::pixel::{take_site, take_tags};
use crate::identity;
use crate::model::clock::Micros;
use crate::model::hint::{did_you_mean, nearest, one_of, quote};
use crate::model::hit::{
    Authority, BroadlogId, ContactId, Currency, DeliveryId, Dialect, Hit, HitId, Kind, Limit,
    LinkId, Provenance, Utm, Verdict, VisitorId, clean, clean_lines, read_amount, read_uid,
    read_whole,
};
use crate::model::wire::Id;
use crate::tracking::page::{kind_of, take_page_utm};
use crate::tracking::verdict::{self, Lists};

/// The years 0 to 9999 in UTC: an offset can lead out of them, and then the time could be stored
/// but not shown.
const CALENDAR: std::ops::Range<Micros> =
    Micros(-62_167_219_200_000_000)..Micros(253_402_300_800_000_000);

/// No hit is older: an earlier time is a clock that was never set, or seconds taken for something
/// else.
const OLDEST: Micros = Micros(946_684_800_000_000);
/// How far a sender's clock may be ahead; a time zone taken for UTC is within it.
const MOST_AHEAD: i64 = Micros::DAY;

/// Every field of a hit in JSON except the campaign parameters.
const FIELDS: &[&str] = &[
    "kind",
    "page_url",
    "page_title",
    "page_language",
    "referrer",
    "page_tag",
    "event",
    "order_id",
    "idempotency_key",
    "user_agent",
    "site",
    "tags",
    "delivery_id",
    "broadlog_id",
    "link_id",
    "visitor_id",
    "contact_id",
    "revenue",
    "currency",
    "quantity",
    "ip",
    "at",
    "contact",
    "extra",
];

/// Names of the fields of a hit in JSON.
pub(crate) fn field_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().copied().chain(Utm::NAMES)
}

/// Other systems' names, and names that are nested one level deeper here.
const MEANT: &[(&str, &str)] = &[
    ("email", "contact.email"),
    ("firstname", "contact.firstname"),
    ("lastname", "contact.lastname"),
    ("customer_id", "contact.customer_id"),
    ("phone", "contact.phone"),
    ("type", "kind"),
    ("url", "page_url"),
    ("title", "page_title"),
    ("referer", "referrer"),
    ("amount", "revenue"),
    ("timestamp", "at"),
    ("utm", "utm_source"),
];

/// A field that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct FieldError {
    /// Name of the field.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

fn wrong(field: &str, why: &str) -> FieldError {
    FieldError {
        field: field.to_owned(),
        why: why.to_owned(),
    }
}

/// The value has the wrong type.
fn must_be(field: &str, value: &Value, allowed: &str) -> FieldError {
    let shown = shown(value);
    wrong(field, &format!("is {shown} but must be {allowed}"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        plain => plain.to_string(),
    }
}

/// An unknown name is rejected rather than kept somewhere: `mail` for `contact.email` would
/// silently lose the person.
fn unknown(name: &str) -> FieldError {
    let others: Vec<&str> = MEANT.iter().map(|(other, _)| *other).collect();
    let meant = nearest(name, field_names()).or_else(|| {
        let other = nearest(name, others.iter().copied())?;
        MEANT
            .iter()
            .find(|(known, _)| *known == other)
            .map(|(_, meant)| *meant)
    });
    let hint = did_you_mean(meant);
    wrong(
        name,
        &format!("is not a field of a hit{hint}; put your own fields into extra"),
    )
}

/// Reads one object of `POST /api/v1/hits`. The id is left nil.
///
/// # Errors
/// The value is no object, a field is unknown, has the wrong type or is out of range, or an event
/// has no name.
pub fn decode_json_hit(
    value: Value,
    received_at: Micros,
    lists: &Lists,
) -> Result<Hit, FieldError> {
    let Value::Object(fields) = value else {
        return Err(must_be(
            "hit",
            &value,
            "an object such as {\"kind\": \"pageview\", \"page_url\": \"…\"}",
        ));
    };
    let mut hit = Hit::new(
        HitId(Uuid::nil()),
        received_at,
        Kind::Pageview,
        Dialect::Native,
    );
    hit.authority = Authority::Authenticated;
    let (mut kind, mut beside_amount) = (None, None);
    for (name, value) in fields {
        let name = name.as_str();
        if value.is_null() {
            if field_names().all(|field| field != name) {
                return Err(unknown(name));
            }
            continue;
        }
        match name {
            "kind" => {
                kind =
                    Some(Kind::parse(text(name, &value)?).ok_or_else(|| wrong_kind(name, &value))?)
            }
            "page_url" => hit.page_url = take_url(&mut hit, name, &value)?,
            "page_title" => hit.page_title = take(&mut hit, name, &value, Limit::TITLE)?,
            "page_language" => hit.page_language = take(&mut hit, name, &value, Limit::WORD)?,
            "referrer" => hit.referrer = take_url(&mut hit, name, &value)?,
            "page_tag" => hit.page_tag = take(&mut hit, name, &value, Limit::NAME)?,
            "event" => hit.event = take(&mut hit, name, &value, Limit::NAME)?,
            "order_id" => hit.order_id = take_filled(&mut hit, name, &value)?,
            "idempotency_key" => hit.idempotency_key = take_filled(&mut hit, name, &value)?,
            "user_agent" => hit.user_agent = take(&mut hit, name, &value, Limit::AGENT)?,
            "site" => take_site(&mut hit, text(name, &value)?),
            "tags" => match &value {
                Value::String(tags) => take_tags(&mut hit, tags.split(',')),
                Value::Array(tags) => {
                    let tags = tags
                        .iter()
                        .map(|tag| text(name, tag))
                        .collect::<Result<Vec<_>, _>>()?;
                    take_tags(&mut hit, tags.into_iter());
                }
                value => return Err(must_be(name, value, "a string or an array of strings")),
            },
            "delivery_id" => hit.delivery_id = Some(DeliveryId(id(name, &value)?)),
            "broadlog_id" => hit.broadlog_id = Some(BroadlogId(id(name, &value)?)),
            "link_id" => hit.link_id = Some(LinkId(id(name, &value)?)),
            "visitor_id" => hit.visitor_id = Some(VisitorId(uuid(name, &value)?)),
            "contact_id" => hit.contact_id = Some(ContactId(uuid(name, &value)?)),
            "revenue" => {
                let amount = read_amount(&decimal(name, &value)?).map_err(|error| {
                    let shown = shown(&value);
                    let why = format!("is not valid: {shown} {error}; write it as \"49.90\"");
                    wrong(name, &why)
                })?;
                hit.revenue = Some(amount.money);
                beside_amount = amount.currency;
            }
            "currency" => {
                hit.currency = Some(
                    Currency::parse(text(name, &value)?)
                        .ok_or_else(|| must_be(name, &value, "an ISO 4217 code such as EUR"))?,
                )
            }
            "quantity" => {
                hit.quantity = Some(quantity(&value).ok_or_else(|| {
                    must_be(
                        name,
                        &value,
                        "a whole number from -2147483648 to 2147483647",
                    )
                })?)
            }
            "ip" => {
                hit.ip = Some(
                    text(name, &value)?
                        .trim()
                        .parse::<IpAddr>()
                        .map_err(|_| must_be(name, &value, "an IP address such as 203.0.113.7"))?,
                )
            }
            "at" => {
                let at = Micros::parse_rfc3339(text(name, &value)?)
                    .ok()
                    .filter(|at| CALENDAR.contains(at))
                    .ok_or_else(|| {
                        must_be(
                            name,
                            &value,
                            "an RFC 3339 time such as 2026-01-31T09:00:00Z",
                        )
                    })?;
                if at < OLDEST || at.0 > received_at.0.saturating_add(MOST_AHEAD) {
                    return Err(must_be(name, &value, "from 2000-01-01 to a day from now"));
                }
                hit.occurred_at = Some(at);
            }
            "contact" => take_contact(&mut hit, name, value)?,
            "extra" => match value {
                Value::Object(extra) => take_extra(&mut hit, extra),
                value => return Err(must_be(name, &value, "an object of any values")),
            },
            _ => {
                if hit.utm.slot(name).is_none() {
                    return Err(unknown(name));
                }
                let value = take(&mut hit, name, &value, Limit::NAME)?;
                if let Some(slot) = hit.utm.slot(name) {
                    *slot = value;
                }
            }
        }
    }
    hit.take_currency_beside("revenue", beside_amount);
    if hit.broadlog_id.is_some() || hit.delivery_id.is_some() {
        hit.provenance = Provenance::Link;
    }
    if hit.user_agent.is_some() {
        verdict::judge_agent(&mut hit, lists);
    } else {
        // The site's own server saw the visitor; that it names no agent says nothing about the
        // person.
        hit.verdict = Verdict::Human;
    }
    take_page_utm(&mut hit);
    hit.kind = kind.unwrap_or_else(|| kind_of(&hit));
    if hit.kind == Kind::Event && hit.event.is_none() {
        return Err(wrong("event", "is required: every event has a name"));
    }
    Ok(hit)
}

fn wrong_kind(name: &str, value: &Value) -> FieldError {
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let meant = value
        .as_str()
        .and_then(|word| nearest(word, kinds.iter().copied()));
    let hint = did_you_mean(meant);
    must_be(name, value, &format!("{}{hint}", one_of(&kinds)))
}

fn text<'v>(name: &str, value: &'v Value) -> Result<&'v str, FieldError> {
    value
        .as_str()
        .ok_or_else(|| must_be(name, value, "a string"))
}

fn take(
    hit: &mut Hit,
    name: &str,
    value: &Value,
    limit: Limit,
) -> Result<Option<String>, FieldError> {
    match value {
        // An order number is often sent as a number.
        Value::Number(number) => Ok(Some(number.to_string())),
        value => text(name, value).map(|value| hit.take(name, value, limit)),
    }
}

/// A value that everyone sends would merge all orders into one, and many hits into one.
fn take_filled(hit: &mut Hit, name: &str, value: &Value) -> Result<Option<String>, FieldError> {
    let taken = take(hit, name, value, Limit::NAME)?;
    match &taken {
        Some(text) if identity::is_unfilled(text) => Err(wrong(
            name,
            &format!("{text:?} is a placeholder; leave the field out if there is no value"),
        )),
        _ => Ok(taken),
    }
}

fn take_url(hit: &mut Hit, name: &str, value: &Value) -> Result<Option<String>, FieldError> {
    match value {
        Value::String(text) => Ok(hit.take_url(name, text)),
        other => take(hit, name, other, Limit::URL),
    }
}

/// As a number or, for JavaScript's sake, as a string.
fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(digits) => digits.trim().parse().ok(),
        _ => None,
    }
}

/// A number of items; `2.0` is two.
fn quantity(value: &Value) -> Option<i32> {
    match value {
        Value::Number(number) => read_whole(&number.to_string()),
        Value::String(text) => read_whole(text),
        _ => None,
    }
}

/// A 64-bit id. 0 means none in the figures.
fn id(name: &str, value: &Value) -> Result<i64, FieldError> {
    let id = whole_number(value).and_then(Id::of_number);
    id.map(|id| id.0).ok_or_else(|| {
        let form = format!("a {}, as a number or a string", Id::FORM);
        must_be(name, value, &form)
    })
}

fn uuid(name: &str, value: &Value) -> Result<Uuid, FieldError> {
    match read_uid(text(name, value)?) {
        Some(id) if id.is_nil() => Err(wrong(
            name,
            "is the nil UUID; leave the field out if there is no value",
        )),
        Some(id) => Ok(id),
        None => Err(must_be(
            name,
            value,
            "a UUID such as 0190a5a0-0000-7000-8000-000000000000",
        )),
    }
}

fn decimal(name: &str, value: &Value) -> Result<String, FieldError> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        value => Err(must_be(name, value, "an amount such as \"49.90\"")),
    }
}

/// `{"email": "…", "id": "…", …}`: `id` names the contact itself, the rest are fields.
fn take_contact(hit: &mut Hit, name: &str, value: Value) -> Result<(), FieldError> {
    let Value::Object(fields) = value else {
        return Err(must_be(
            name,
            &value,
            "an object of fields such as {\"email\": \"ada@example.com\"}",
        ));
    };
    if fields.len() > 200 {
        let why = format!("has {} fields: at most 200 are allowed", fields.len());
        return Err(wrong(name, &why));
    }
    for (field, value) in fields {
        let whole = format!("{name}.{field}");
        match value {
            Value::Null => {}
            Value::String(_) if field == "id" => {
                hit.contact_id = Some(ContactId(uuid(&whole, &value)?))
            }
            Value::String(value) => push_field(hit, &field, &value),
            Value::Number(number) => push_field(hit, &field, &number.to_string()),
            Value::Bool(yes) => push_field(hit, &field, if yes { "true" } else { "false" }),
            value @ (Value::Array(_) | Value::Object(_)) => {
                return Err(must_be(&whole, &value, "a string, number or boolean"));
            }
        }
    }
    Ok(())
}

fn push_field(hit: &mut Hit, field: &str, value: &str) {
    // The cleaned name from here on: it stands in the note of a repair too.
    let Some(field) = hit.take("field", field, Limit::WORD) else {
        return;
    };
    if let Some(value) = hit.take_lines(&field, value, Limit::TITLE) {
        hit.fields.push((field, value));
    }
}

/// Keeps values of any JSON type: strings cleaned, the whole at most 32 KB and 16 levels deep, else
/// as nothing but a note.
fn take_extra(hit: &mut Hit, extra: Map<String, Value>) {
    for (name, value) in extra {
        match value {
            Value::String(text) => hit.keep(&name, &text),
            value => {
                let mut is_cut = false;
                match scrub(value, 16, &mut is_cut) {
                    Some(value) if value.to_string().len() <= 32_000 => {
                        hit.keep_value(&name, value);
                    }
                    _ => is_cut = true,
                }
                if is_cut {
                    hit.note("extra cut");
                }
            }
        }
    }
}

/// Cleans every string inside, and says where one had to be cut; `None` if it is deeper than
/// `depth`.
fn scrub(value: Value, depth: usize, is_cut: &mut bool) -> Option<Value> {
    const MOST: Limit = Limit(4_000);
    let taken = |(text, repair): (Cow<'_, str>, Option<&str>), is_cut: &mut bool| {
        *is_cut |= repair == Some("cut");
        text.into_owned()
    };
    Some(match value {
        Value::String(value) => Value::String(taken(clean_lines(&value, MOST), is_cut)),
        Value::Array(values) => Value::Array(
            values
                .into_iter()
                .map(|value| scrub(value, depth.checked_sub(1)?, is_cut))
                .collect::<Option<_>>()?,
        ),
        Value::Object(fields) => {
            let mut scrubbed = Map::new();
            for (name, value) in fields {
                let name = taken(clean(&name, MOST), is_cut);
                scrubbed.insert(name, scrub(value, depth.checked_sub(1)?, is_cut)?);
            }
            Value::Object(scrubbed)
        }
        plain => plain,
    })
}

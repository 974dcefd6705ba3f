//! What `{{name}}` stands for: values taken out of earlier answers, and the paths in a mail sent
//! long ago.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sillage::door::{BroadlogId, DeliveryId, Keys, LinkId, LinkToken};

use crate::harness::SIGNING_KEY;

/// Takes values out of an answer.
pub(super) fn take_saved(
    save: &BTreeMap<String, String>,
    body: &Value,
    saved: &mut Map<String, Value>,
) -> Result<(), String> {
    for (name, pointer) in save {
        let value = body
            .pointer(pointer)
            .ok_or_else(|| format!("nothing at {pointer} in {body}"))?;
        // A visitor's id as scripts are told it; hits have the plain one.
        let plain = value.as_str().and_then(|text| text.strip_prefix("v-"));
        saved.insert(
            name.clone(),
            plain.map_or_else(|| value.clone(), Value::from),
        );
    }
    Ok(())
}

/// Puts saved values in.
pub(super) fn fill(value: &Value, saved: &Map<String, Value>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => fill_text(text, saved)?,
        Value::Array(items) => items
            .iter()
            .map(|item| fill(item, saved))
            .collect::<Result<_, _>>()?,
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(value, saved)?)))
                .collect::<Result<_, String>>()?,
        ),
        plain => plain.clone(),
    })
}

fn fill_text(text: &str, saved: &Map<String, Value>) -> Result<Value, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled += before;
        // Braces around anything else are the request's own.
        let name = after
            .split_once("}}")
            .filter(|(name, _)| !name.is_empty() && name.bytes().all(is_of_name));
        let Some((name, after)) = name else {
            filled += "{{";
            rest = after;
            continue;
        };
        let value = match name.split_once(':') {
            Some((what, ids)) => json!(own_path(what, ids)?),
            None => saved
                .get(name)
                .ok_or_else(|| format!("nothing is saved as {name}"))?
                .clone(),
        };
        if before.is_empty() && after.is_empty() && filled.is_empty() {
            return Ok(value);
        }
        match value {
            Value::String(value) => filled += &value,
            value => filled += &value.to_string(),
        }
        rest = after;
    }
    Ok(Value::String(filled + rest))
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-:/ ".contains(&byte)
}

/// `link`, `4711/1000/815` or `open`, `4711/1000`: the path in a mail sent long ago.
fn own_path(what: &str, ids: &str) -> Result<String, String> {
    let numbers: Vec<i64> = ids.split('/').filter_map(|id| id.parse().ok()).collect();
    let (&[delivery, broadlog] | &[delivery, broadlog, _]) = numbers.as_slice() else {
        return Err(format!(
            "{what}:{ids} has other ids than delivery/broadlog[/link]"
        ));
    };
    let token = LinkToken {
        delivery_id: DeliveryId(delivery),
        broadlog_id: BroadlogId(broadlog),
        link_id: numbers.get(2).copied().map(LinkId),
        sent_minute: None,
    };
    let token = token.encode(&Keys::parse(&[SIGNING_KEY.to_owned()]).unwrap());
    match (what, numbers.len()) {
        ("link", 3) => Ok(format!("/r/{token}")),
        ("open", 2) => Ok(format!("/o/{token}.gif")),
        _ => Err(format!("{what}:{ids} is neither link:d/b/l nor open:d/b")),
    }
}

#[test]
fn saved_values_are_put_in_and_unknown_ones_are_told() {
    let saved = Map::from_iter([("id".to_owned(), json!(7)), ("url".to_owned(), json!("a"))]);
    let fill = |text: &str| fill(&json!([text]), &saved).map(|value| value[0].clone());
    assert_eq!(fill("{{id}}"), Ok(json!(7)));
    assert_eq!(fill("/x/{{id}}?u={{url}}"), Ok(json!("/x/7?u=a")));
    assert_eq!(fill("{{7*7}} {{ {x}"), Ok(json!("{{7*7}} {{ {x}")));
    assert!(fill("{{other}}").is_err());
    assert!(fill("{{link:1/2}}").is_err());
    assert!(
        fill("{{link:1/2/3}}")
            .unwrap()
            .as_str()
            .unwrap()
            .starts_with("/r/")
    );
}

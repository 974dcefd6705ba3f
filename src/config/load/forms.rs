//! Values of the wrong type or form.

use figment::value::Value;

use super::Place;
use super::known::Known;
use crate::config::check::meant_host;
use crate::config::words::{SECRETS, allowed, did_you_mean, nearest};

/// Values of the wrong type or form; for a list, each such item if there are any.
pub(super) fn wrong_type(
    key: &str,
    place: &Place,
    value: &Value,
    known: &Known,
    is_taken: impl Fn(&str, &Value) -> bool,
) -> Vec<String> {
    let line = |item: Option<usize>, value: &Value| {
        let is_list = item.is_none() && known.is_list(key);
        let near = match value.as_str() {
            Some(_) if SECRETS.contains(&key) => String::new(),
            Some(text) if is_list => did_you_mean(Some([text])),
            Some(text) => meant(key, text),
            None => String::new(),
        };
        let shown = match SECRETS.contains(&key) {
            true => String::new(),
            false => format!(" = {}", serde_json::to_value(value).unwrap_or_default()),
        };
        let place = place.told(item);
        let is_host = matches!(key, "links.personal_hosts" | "mapp.redirect_hosts");
        let wrong = match is_host && !is_list && value.as_str().is_some() {
            true => "is not a host",
            false => "is not valid",
        };
        format!("{place}: {key}{shown}: {wrong}{near}; {}", allowed(key))
    };
    let items: Vec<String> = value
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, item)| !is_taken(key, &Value::from(vec![(*item).clone()])))
        .map(|(index, item)| line(Some(index), item))
        .collect();
    if items.is_empty() {
        vec![line(None, value)]
    } else {
        items
    }
}

/// What a string in the wrong form was meant to be.
fn meant(key: &str, text: &str) -> String {
    let meant = match key {
        "spool.ack" => return nearest(text, ["durable", "fast"].into_iter()),
        "log.format" => return nearest(text, ["text", "json"].into_iter()),
        "revenue.proof" => return nearest(text, ["signed", "unsigned", "claimed"].into_iter()),
        "adobe.mode" => {
            return nearest(text, ["session", "permanent", "anonymous"].into_iter());
        }
        "listen" | "console.listen" | "metrics.listen" => {
            let port = text.rsplit(':').next().unwrap_or(text);
            let host = match text.strip_suffix(port).unwrap_or_default() {
                "localhost:" => "127.0.0.1",
                "" | ":" | "*:" => "0.0.0.0",
                _ => return String::new(),
            };
            port.parse::<u16>()
                .ok()
                .map(|port| format!("{host}:{port}"))
        }
        "trust.proxies" | "trust.senders" => text
            .parse::<std::net::IpAddr>()
            .ok()
            .map(|address| ipnet::IpNet::from(address).to_string()),
        "links.personal_hosts" | "mapp.redirect_hosts" => match text.strip_prefix('.') {
            Some(domain) => Some(format!("*.{domain}")),
            None => meant_host(text),
        },
        _ if text.parse::<u64>().is_ok() && allowed(key).contains("duration") => {
            Some(format!("{text}s"))
        }
        _ => None,
    };
    did_you_mean(meant)
}

/// Keeps the valid items of a list; false if there are none.
pub(super) fn keep_items(
    key: &str,
    place: &mut Place,
    value: &mut Value,
    is_taken: impl Fn(&str, &Value) -> bool,
) -> bool {
    let is_right: Vec<bool> = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| is_taken(key, &Value::from(vec![item.clone()])))
        .collect();
    let right = value.as_array().into_iter().flatten().zip(&is_right);
    let right: Vec<Value> = right
        .filter(|(_, is_right)| **is_right)
        .map(|(item, _)| item.clone())
        .collect();
    if let Place::File(_, _, lines) = place {
        let mut each = is_right.iter();
        lines.retain(|_| *each.next().unwrap_or(&true));
    }
    let has_some = !right.is_empty();
    *value = Value::from(right);
    has_some && is_taken(key, value)
}

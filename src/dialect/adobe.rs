//! Adobe Campaign Classic: tracked links, open pixels and web-tracking tags under `/r/` (`protocols/adobe.md`).

/// Whether a request below `/r` is Adobe's and not one of our links: `rest` is the path after `/r`, `query` the raw query.
pub fn recognises(rest: &str, query: &str) -> bool {
    let has = |name: &str| query.split('&').any(|pair| pair.starts_with(name));
    (rest.trim_matches('/').is_empty() && has("id=")) || has("tagid=") || rest == "/test"
}

//! The reference of the API, in Markdown, from the document that `GET /openapi.json` answers: what
//! is told here is what the handlers and the structs say.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::web::api::openapi::DOCUMENT;

/// All operations by what their paths begin with, then all shapes.
pub(super) fn reference() -> String {
    let mut out = String::new();
    let mut groups: BTreeMap<&str, Vec<(&str, &str, &Value)>> = BTreeMap::new();
    for (path, item) in members(&DOCUMENT["paths"]) {
        for (method, operation) in members(item) {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            groups
                .entry(tag)
                .or_default()
                .push((path, method, operation));
        }
    }
    for (tag, operations) in groups {
        let _ = write!(out, "\n## Paths of {tag}\n");
        for (path, method, operation) in operations {
            let _ = write!(out, "\n### {} {path}\n\n", method.to_uppercase());
            write_operation(operation, &mut out);
        }
    }
    out += "\n## Shapes\n";
    for (name, schema) in members(&DOCUMENT["components"]["schemas"]) {
        let _ = write!(out, "\n### {name}\n\n");
        write_schema(schema, &mut out);
    }
    out
}

fn members(of: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = of.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value))
}

fn items(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

fn text(of: &Value) -> &str {
    of.as_str().unwrap_or_default()
}

fn write_operation(operation: &Value, out: &mut String) {
    let _ = write!(
        out,
        "{}. {}\n\n",
        text(&operation["summary"]),
        scopes(operation)
    );
    let parameters = items(&operation["parameters"]);
    let contents = || members(&operation["requestBody"]["content"]);
    if !parameters.is_empty() {
        out.push_str("| parameter | in | |\n|---|---|---|\n");
        for parameter in parameters {
            let schema = &parameter["schema"];
            let about = match text(&parameter["description"]) {
                "" => text(&schema["description"]),
                about => about,
            };
            let _ = writeln!(
                out,
                "| `{}`{} | {} | {} {} |",
                text(&parameter["name"]),
                mark(parameter["required"] == true),
                text(&parameter["in"]),
                kind(schema),
                cell(about)
            );
        }
        out.push('\n');
    }
    for (content_type, content) in contents() {
        let _ = write!(
            out,
            "Body, `{content_type}`: {}.\n\n",
            kind(&content["schema"])
        );
    }
    let mut problems = Vec::new();
    for (status, response) in members(&operation["responses"]) {
        if response["$ref"].is_string() {
            problems.push(status);
            continue;
        }
        let _ = write!(out, "- {status}: {}", cell(text(&response["description"])));
        for (content_type, content) in members(&response["content"]) {
            let _ = write!(out, "; `{content_type}`: {}", kind(&content["schema"]));
        }
        out.push('\n');
    }
    let _ = writeln!(out, "- {}: [Problem](#problem)", problems.join(", "));
}

/// What a token needs.
fn scopes(operation: &Value) -> String {
    let lists: Vec<String> = items(&operation["security"])
        .iter()
        .map(|one| items(&one["token"]).iter().map(text))
        .map(|scopes| scopes.map(|scope| format!("`{scope}`")))
        .map(|scopes| scopes.collect::<Vec<_>>().join(" and "))
        .collect();
    match lists.as_slice() {
        [] => "Needs no token.".to_owned(),
        [only] if only.is_empty() => "Needs a token; see [Access](access.md).".to_owned(),
        lists => format!("Needs {}.", lists.join(" or ")),
    }
}

/// The end of a reference.
fn named(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn mark(is_required: bool) -> &'static str {
    if is_required { " *" } else { "" }
}

/// What a schema is, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = named(schema) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    for of in ["oneOf", "anyOf", "allOf"] {
        let parts: Vec<String> = items(&schema[of]).iter().map(kind).collect();
        if !parts.is_empty() {
            let join = if of == "allOf" { " and " } else { " or " };
            return parts.join(join);
        }
    }
    let words = items(&schema["enum"]);
    if !words.is_empty() {
        let words: Vec<String> = words
            .iter()
            .map(|word| format!("`{}`", text(word)))
            .collect();
        return words.join(", ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        many => items(many).iter().map(text).collect(),
    };
    let mut told = types.join(" or ");
    match types.first() {
        Some(&"array") => {
            let _ = write!(told, " of {}", kind(&schema["items"]));
        }
        None => told.push_str("anything"),
        Some(_) => {}
    }
    if let Some(format) = schema["format"].as_str() {
        let _ = write!(told, " ({format})");
    }
    told
}

fn write_schema(schema: &Value, out: &mut String) {
    let about = text(&schema["description"]);
    if !about.is_empty() {
        let _ = write!(out, "{}\n\n", cell(about));
    }
    let mut rows = String::new();
    write_members(schema, &mut rows);
    if rows.is_empty() {
        let _ = writeln!(out, "{}", kind(schema));
        return;
    }
    let _ = write!(out, "| member | | |\n|---|---|---|\n{rows}");
}

/// Its own members, and those of what it is made of.
fn write_members(schema: &Value, rows: &mut String) {
    let required = items(&schema["required"]);
    for part in items(&schema["allOf"]) {
        match named(part) {
            Some(_) => {
                let _ = writeln!(rows, "| … | | all members of {} |", kind(part));
            }
            None => write_members(part, rows),
        }
    }
    for (name, member) in members(&schema["properties"]) {
        let is_required = required.iter().any(|one| one == name);
        let _ = writeln!(
            rows,
            "| `{name}`{} | {} | {} |",
            mark(is_required),
            kind(member),
            cell(text(&member["description"]))
        );
    }
}

/// A text as it stands in a table's cell. Links of the source are words here.
fn cell(text: &str) -> String {
    let plain = text.replace(['\n', '\r'], " ").replace('|', "\\|");
    plain.replace('[', "").replace("](", " (").replace(']', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_every_shape_has_its_heading() {
        let reference = reference();
        for heading in [
            "### POST /links\n",
            "### GET /deliveries/{id}/report\n",
            "### Problem\n",
            "### LinkView\n",
        ] {
            assert!(reference.contains(heading), "{heading}");
        }
        for (path, item) in members(&DOCUMENT["paths"]) {
            for (method, _) in members(item) {
                let heading = format!("### {} {path}\n", method.to_uppercase());
                assert!(reference.contains(&heading), "{heading}");
            }
        }
        // Each heading can be linked to.
        let headings = reference.lines().filter(|line| line.starts_with("###"));
        let mut anchors: Vec<String> = headings.map(str::to_lowercase).collect();
        let all = anchors.len();
        anchors.sort();
        anchors.dedup();
        assert_eq!(anchors.len(), all);
    }
}

//! `GET /openapi.json`: the API described by itself, as OpenAPI 3.1.
//!
//! Paths, parameters and bodies come from the handlers' `#[utoipa::path(…)]` and from the structs
//! that are read and written, so the document cannot say what the code does not do. What all
//! operations have in common is added here: the scopes that they need, and the problems that each
//! may answer, told from its method and its path. A route that is added needs its attribute, and
//! its line in `api.rs`; nothing else.

pub(super) mod shapes;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::routes::{Route, Routes};
use crate::model::access::Need;

/// The document.
pub(in crate::web) static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(super::all()));

/// The document as it is sent.
pub(in crate::web) static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
    let text = serde_json::to_vec_pretty(&*DOCUMENT);
    text.unwrap_or_default().into()
});

/// `GET /openapi.json`
#[utoipa::path(
    get,
    path = "/openapi.json",
    summary = "Describes this API",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)),
)]
pub(super) async fn get_document() -> Response {
    ([(CONTENT_TYPE, "application/json")], TEXT.clone()).into_response()
}

/// What all operations have in common, beside what the handlers say.
fn document(routes: Routes) -> Value {
    let (described, routes, schemas) = routes.describe();
    let made_once = super::makers().into_list();
    let mut document = serde_json::to_value(described).unwrap_or_default();
    document["info"] = json!({
        "title": "Sillage",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "Links, deliveries, messages, hits, contacts and reports of a tracking \
            server. Unknown fields and parameters are refused, so that a mistyped filter does not \
            answer everything. Lists are paged in one way: pass `next` as `after`, until it is null.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    document["servers"] = json!([{"url": "/api/v1"}]);
    let mut components = json!({});
    for (name, schema) in schemas {
        components["schemas"][name] = serde_json::to_value(schema).unwrap_or_default();
    }
    components["securitySchemes"] = json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "The admin token (`admin_token`, or data/admin.token), or one made with \
                `POST /tokens`. An operation names the scopes that it needs; the admin token has \
                all of them.",
        },
    });
    components["schemas"]["Problem"] = problem();
    let mut shared = Map::new();
    for (status, what) in PROBLEMS {
        let response = json!({"description": what, "content": problem_content()});
        shared.insert(format!("Problem{status}"), response);
    }
    components["responses"] = Value::Object(shared);
    document["components"] = components;
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let is_this = |route: &&Route| {
                route.path == *path && route.method.as_str().eq_ignore_ascii_case(method)
            };
            let need = routes
                .iter()
                .find(is_this)
                .map_or(Need::Admin, |route| route.need);
            operation["security"] = security(need);
            let made_once = made_once.iter().any(|route| is_this(&route));
            complete(path, method, made_once, operation);
        }
    }
    prune(&mut document);
    document
}

/// The scopes that a token must have: one of several lists.
fn security(need: Need) -> Value {
    match need {
        Need::Any(scopes) => {
            let alone = scopes
                .iter()
                .map(|scope| json!({"token": [scope.as_str()]}));
            alone.collect()
        }
        Need::All(_) => json!([{"token": need.scopes()}]),
        Need::Admin | Need::Known => json!([{"token": []}]),
        Need::Nothing => json!([]),
    }
}

/// Leaves out schemas that nothing speaks of: those of queries stand in them.
fn prune(document: &mut Value) {
    loop {
        let mut found = BTreeSet::new();
        references(document, &mut found);
        let schemas = &mut document["components"]["schemas"];
        let Some(schemas) = schemas.as_object_mut() else {
            return;
        };
        let before = schemas.len();
        schemas.retain(|name, _| found.contains(&format!("#/components/schemas/{name}")));
        if schemas.len() == before {
            return;
        }
    }
}

/// All that a document refers to.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(to) if name == "$ref" => {
                        found.insert(to.clone());
                    }
                    value => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn problem_content() -> Value {
    json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}})
}

/// What is told of a problem, by status.
const PROBLEMS: [(&str, &str); 9] = [
    ("400", "The body is not what it says, such as no JSON"),
    ("401", "The token is missing or wrong"),
    (
        "403",
        "The token lacks a scope; `needs` names those that are needed",
    ),
    ("404", "There is nothing with this id"),
    ("408", "The body took too long to arrive"),
    (
        "409",
        "It conflicts with what is there; `detail` says what to do",
    ),
    ("413", "The body is too large"),
    (
        "422",
        "A field or parameter is wrong; `field` says which, `detail` what is allowed",
    ),
    (
        "503",
        "The database or the disk does not answer; try again after `Retry-After`",
    ),
];

/// Adds what an operation may answer beside its success, and its tag.
fn complete(path: &str, method: &str, made_once: bool, operation: &mut Value) {
    let mut statuses = vec!["401", "403", "422", "503"];
    if path.contains('{') {
        statuses.push("404");
    }
    if matches!(method, "post" | "put" | "patch") {
        statuses.extend(["400", "408", "409", "413"]);
    }
    if method == "delete" {
        statuses.push("409");
    }
    for status in statuses {
        let named = json!({"$ref": format!("#/components/responses/Problem{status}")});
        operation["responses"][status] = named;
    }
    // What a handler says of a problem of its own is only when it comes.
    let responses = operation["responses"].as_object_mut();
    for (status, response) in responses.into_iter().flatten() {
        let is_problem = status.starts_with(['4', '5']) && response.get("$ref").is_none();
        if is_problem && response.get("content").is_none() {
            response["content"] = problem_content();
        }
    }
    // Our own words on how a handler does it are not the reader's.
    if let Some(operation) = operation.as_object_mut() {
        operation.remove("description");
    }
    let first = path.trim_start_matches('/').split(['/', '.']).next();
    operation["tags"] = json!([first.unwrap_or_default()]);
    if made_once && method == "post" {
        let key = json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "The same request under the same key is done once and gets the same \
                answer for a week; another one under it is refused.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        });
        match operation["parameters"].as_array_mut() {
            Some(parameters) => parameters.push(key),
            None => operation["parameters"] = json!([key]),
        }
    }
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "What is wrong with a request (RFC 9457).",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, and what is allowed."},
            "field": {"type": "string", "description": "The field: `utm.source`, `[3].url`."},
            "needs": {"type": "array", "items": {"type": "string"}},
            "rejected": {"type": "array", "items": {"$ref": "#/components/schemas/RejectedHit"}},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Names that stand for one shape each: two structs of one name would hide each other.
    #[test]
    fn a_schemas_name_stands_for_one_schema() {
        let mut named: BTreeMap<String, Value> = BTreeMap::new();
        let (_, _, schemas) = super::super::all().describe();
        for (name, schema) in schemas {
            let schema = serde_json::to_value(schema).unwrap();
            let first = named.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(
                *first, schema,
                "two structs are called {name}: give one of them #[schema(as = …)]"
            );
        }
        assert!(named.len() > 50, "{}", named.len());
    }

    #[test]
    fn what_is_referred_to_is_there_and_what_is_there_is_referred_to() {
        let mut found = BTreeSet::new();
        references(&DOCUMENT, &mut found);
        for to in &found {
            let at = to.trim_start_matches('#');
            assert!(
                DOCUMENT.pointer(at).is_some(),
                "there is no {to}: does its type derive ToSchema?"
            );
        }
        for part in ["schemas", "responses"] {
            for name in DOCUMENT["components"][part].as_object().unwrap().keys() {
                let to = format!("#/components/{part}/{name}");
                assert!(found.contains(&to), "nothing refers to {to}");
            }
        }
    }

    #[test]
    fn operations_have_a_name_and_a_sentence_each() {
        let mut names = BTreeSet::new();
        for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(
                    names.insert(name.to_owned()),
                    "two operations are called {name}: give {method} {path} an operation_id"
                );
                let summary = operation["summary"].as_str().unwrap_or_default();
                assert!(
                    !summary.is_empty() && !summary.contains('`'),
                    "give {method} {path} a summary in its #[utoipa::path(…)]: {summary}"
                );
                let parameters = operation["parameters"].as_array();
                for place in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                    let place = place.trim_end_matches('}');
                    assert!(
                        parameters.is_some_and(|all| all.iter().any(|one| one["name"] == place)),
                        "name {place} in params(…) of {method} {path}"
                    );
                }
            }
        }
        assert!(names.len() > 40, "{}", names.len());
    }
}

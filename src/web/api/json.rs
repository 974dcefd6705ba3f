//! JSON at the edge of the API: bodies, queries and paths in. Ids and times are those of
//! `model/wire.rs`.
//!
//! Whatever is wrong with a request is a [`Problem`]: text that is no JSON 400, a body that is too
//! large 413, a field of the wrong type, missing or unknown 422 with the field's path
//! (`utm.source`, `[3].url`), what stands there and what is allowed: see `api/mistake.rs`.

use std::fmt;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::StatusCode;
use http::request::Parts;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::mistake::{Mistake, Place};
use super::tree::Tree;
use crate::model::hint::quote;
use crate::model::wire::Id;
use crate::web::body::WholeBody;
use crate::web::error::Problem;

/// A body of JSON, whatever its content type says.
#[derive(Clone, Copy, Debug)]
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let WholeBody(body) = WholeBody::from_request(request, state).await?;
        parse_json(&body).map(Self)
    }
}

/// A body of JSON if there is one; without it what is usual.
#[derive(Clone, Copy, Debug)]
pub struct ApiJsonIfAny<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for ApiJsonIfAny<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let WholeBody(body) = WholeBody::from_request(request, state).await?;
        match body.trim_ascii().is_empty() {
            true => Ok(Self(T::default())),
            false => parse_json(&body).map(Self),
        }
    }
}

/// A query string.
#[derive(Clone, Copy, Debug)]
pub struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads a query string.
///
/// # Errors
/// 422 with its name: a parameter is unknown or wrong.
pub(super) fn read_query<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    T::deserialize(&Tree::of_query(query))
        .map_err(|mistake| Problem::field(mistake.field(), mistake.why(Place::Query)))
}

/// A path that takes no query: a mistyped filter must not answer everything.
#[derive(Clone, Copy, Debug)]
pub struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        match form_urlencoded::parse(query.as_bytes()).next() {
            None => Ok(Self),
            Some((name, _)) => Err(Problem::field(
                name,
                "is not a known parameter; this path takes none",
            )),
        }
    }
}

/// The one parameter in a path, percent-decoded.
#[derive(Clone, Debug)]
pub struct PathText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(text)| Self(text))
            .map_err(|_| Problem::no_path(&parts.uri))
    }
}

impl PathText {
    /// The id that it is; what is none cannot be found.
    ///
    /// # Errors
    /// 404 with `what`: it is not a positive 64-bit integer.
    pub(super) fn id(&self, what: &str) -> Result<Id, Problem> {
        Id::parse(&self.0).ok_or_else(|| {
            let id = quote(&self.0);
            Problem::not_found(what, format_args!("{id}; an id is a {}", Id::FORM))
        })
    }
}

/// Longest body that is parsed again to find out what is wrong with it: a tree takes several times
/// its size.
const MOST_EXPLAINED: usize = 2 << 20;

/// Reads a whole text of JSON.
///
/// # Errors
/// It is no JSON (400), or not of the form that is asked for (422, with the field's path).
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let error = match serde_json::from_slice(body) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let whole = |why: &dyn fmt::Display| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the body {why}"))
    };
    if !error.is_data() {
        return Err(no_json(body, &error));
    }
    match explain(body, |tree| T::deserialize(tree).err()) {
        Explained::NoJson(error) => Err(no_json(body, &error)),
        Explained::Mistake(mistake) => {
            let why = mistake.why(Place::Body);
            Err(if mistake.is_whole() {
                whole(&why)
            } else {
                Problem::field(mistake.field(), why)
            })
        }
        Explained::Not => Err(whole(&format_args!(
            "is wrong at line {}, column {}; send it in parts of less than 2 MB to get the exact \
            reason",
            error.line(),
            error.column()
        ))),
    }
}

/// Why a text cannot be read into a type.
pub(super) enum Explained {
    /// Further on it is no JSON.
    NoJson(serde_json::Error),
    /// A field is wrong.
    Mistake(Mistake),
    /// It is too long to be parsed again.
    Not,
}

/// Parses an invalid text once more, slower, to find the field.
pub(super) fn explain(body: &[u8], read: impl FnOnce(&Tree) -> Option<Mistake>) -> Explained {
    if body.len() > MOST_EXPLAINED {
        return Explained::Not;
    }
    match serde_json::from_slice::<Tree>(body) {
        Err(error) => Explained::NoJson(error),
        Ok(tree) => read(&tree).map_or(Explained::Not, Explained::Mistake),
    }
}

/// The problem for a body that is not JSON at all.
pub(super) fn no_json(body: &[u8], error: &serde_json::Error) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        format!("the body is not valid JSON: {}", why_no_json(body, error)),
    )
}

/// Where a text stops being JSON, and what stands there.
pub(super) fn why_no_json(body: &[u8], error: &serde_json::Error) -> String {
    if body.trim_ascii().is_empty() {
        return "it is empty".to_owned();
    }
    if error.is_eof() {
        return "it ends too early; send all of it".to_owned();
    }
    if let Err(error) = str::from_utf8(body) {
        let at = error.valid_up_to();
        return format!("it is not valid UTF-8 at byte {}", at + 1);
    }
    let (line, column) = (error.line(), error.column());
    let text = str::from_utf8(body).unwrap_or_default();
    let near: String = text
        .lines()
        .nth(line.saturating_sub(1))
        .and_then(|line| line.get(column.saturating_sub(1)..))
        .map(|rest| rest.chars().take(20).collect())
        .unwrap_or_default();
    if near.is_empty() {
        format!("syntax error at line {line}, column {column}")
    } else {
        format!(
            "syntax error at line {line}, column {column}, near {}",
            quote(&near)
        )
    }
}

/// One object or an array of them; the answer has the same form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// An object.
    One(T),
    /// An array.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// Whether it is a single object.
    pub fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }

    /// The answer to one that was given by itself, or to an array.
    pub fn like(is_one: bool, mut all: Vec<T>) -> Self {
        match all.pop() {
            Some(one) if is_one => Self::One(one),
            last => {
                all.extend(last);
                Self::Many(all)
            }
        }
    }
}

// Not `untagged` in this direction: it would lose which field is wrong.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or an array of objects")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OneOrMany::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::wire::Time;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        id: Option<Id>,
        at: Option<Time>,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
    }

    fn problem(body: &str) -> serde_json::Value {
        let problem = parse_json::<OneOrMany<Sample>>(body.as_bytes()).unwrap_err();
        problem.as_json()
    }

    #[test]
    fn an_error_names_the_field() {
        for (body, status, field) in [
            ("{", 400, None),
            ("{} x", 400, None),
            ("", 400, None),
            ("7", 422, None),
            ("{\"id\":\"x\"}", 422, Some("id")),
            ("{\"at\":\"yesterday\"}", 422, Some("at")),
            ("{\"nope\":1}", 422, Some("nope")),
            ("{\"inner\":{}}", 422, Some("inner.name")),
            ("{\"inner\":{\"name\":7}}", 422, Some("inner.name")),
            ("{\"inner\":{\"nam\":7}}", 422, Some("inner.nam")),
            ("[{},{\"inner\":{}}]", 422, Some("[1].inner.name")),
        ] {
            let problem = problem(body);
            assert_eq!(problem["status"], status, "{body}: {problem}");
            assert_eq!(problem["field"].as_str(), field, "{body}: {problem}");
        }
    }

    #[test]
    fn json_as_deep_as_a_mine_is_refused() {
        let deep = "[".repeat(1_000_000);
        let problem = parse_json::<serde_json::Value>(deep.as_bytes()).unwrap_err();
        assert_eq!(problem.as_json()["status"], 400);
    }
}

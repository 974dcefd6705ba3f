//! Error responses: RFC 9457 `application/problem+json`.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;

use super::api;
use crate::model::retry;
use crate::model::secret::NoRandom;
use crate::queue::sink::Refused;

/// Longest text of a problem, in characters.
const MOST_QUOTED: usize = 500;

/// A problem as the client sees it: reveals nothing of the server's internals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    field: Option<String>,
    more: Option<(&'static str, serde_json::Value)>,
    /// Seconds until another try may succeed.
    after: Option<i64>,
}

impl Problem {
    /// A problem with a status and one sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            field: None,
            more: None,
            after: None,
        }
    }

    /// The status and what a person is told.
    pub fn told(&self) -> (StatusCode, &str) {
        (self.status, &self.detail)
    }

    /// The same, with the seconds until another try may succeed.
    pub fn after(self, seconds: i64) -> Self {
        Self {
            after: Some(seconds),
            ..self
        }
    }

    /// With one more member, such as the list of errors.
    pub fn with(self, name: &'static str, value: serde_json::Value) -> Self {
        Self {
            more: Some((name, value)),
            ..self
        }
    }

    /// The request is wrong in one field.
    pub fn field(field: impl Into<String>, why: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            detail: format!("{field} {why}"),
            field: Some(field),
            more: None,
            after: None,
        }
    }

    /// The same where a path's request has another name for the field.
    pub fn rename(mut self, from: &str, to: &str) -> Self {
        if self.field.as_deref() == Some(from)
            && let Some(why) = self.detail.strip_prefix(from)
        {
            self.detail = format!("{to}{why}");
            self.field = Some(to.to_owned());
        }
        self
    }

    /// The request is valid but conflicts with existing data: 409.
    pub fn conflict(field: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            ..Self::field(field, why)
        }
    }

    /// Nothing with this id or name exists.
    pub fn not_found(what: &str, which: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what} {which}"))
    }

    /// The API has no such path. Routes below `/api/v1` do not see that prefix.
    pub fn no_path(uri: &http::Uri) -> Self {
        let path = uri.path().trim_start_matches("/api/v1");
        let path: String = path.chars().take(100).collect();
        Self::not_found(
            "path",
            format_args!("/api/v1{path}; paths begin with {}", api::beginnings()),
        )
    }

    /// The body is longer than this server accepts.
    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large: send it in several requests, or raise server.max_body_bytes",
        )
    }

    /// The database does not respond; the sender may try again.
    pub fn database(error: &impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed in the database");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the database does not answer; try again",
        )
    }
}

impl Problem {
    /// The tables are not there yet; the sender may try again.
    pub fn starting(why: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the server is starting: {why}; try again"),
        )
    }
}

impl From<NoRandom> for Problem {
    fn from(error: NoRandom) -> Self {
        tracing::error!(%error, "a secret could not be made");
        let why = "the system gives the server no random numbers";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not stored: {refused}; send again"),
        )
    }
}

impl Problem {
    /// The document that is sent.
    pub fn as_json(&self) -> serde_json::Value {
        // What is wrong is quoted, and the sender's field may be a megabyte.
        let cut = |text: &str| text.chars().take(MOST_QUOTED).collect::<String>();
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": cut(&self.detail),
        });
        if let Some(field) = &self.field {
            body["field"] = cut(field).into();
        }
        if let Some((name, value)) = &self.more {
            body[*name] = value.clone();
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.as_json().to_string()).into_response();
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static(retry::RETRY_AFTER));
        }
        if let Some(seconds) = self.after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// The answer to a method that a path does not take, with those it does, as in `allowed`. The one
/// place that says 405.
pub(in crate::web) fn refuse_method(method: &Method, allowed: Option<HeaderValue>) -> Response {
    let there = allowed.as_ref().and_then(|allowed| allowed.to_str().ok());
    let why = format!(
        "{method} is not allowed on this path; allowed: {}",
        there.unwrap_or("none").replace(',', ", ")
    );
    let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, why).into_response();
    if let Some(allowed) = allowed {
        problem.headers_mut().insert(ALLOW, allowed);
    }
    problem
}

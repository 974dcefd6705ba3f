//! What a page's address and its forms say.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;

use super::page::Failure;
use crate::web::AdminState;
use crate::web::body::WholeBody;

/// Most fields that are read.
const MOST_FIELDS: usize = 100;

/// Fields by name. Postgres takes no zero byte in a text, and no page of ours sends one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn read(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text).take(MOST_FIELDS);
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.replace('\0', " ")));
        Self(pairs.collect())
    }

    /// A field's value, without spaces around it; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.whole(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// A field's value as it was typed.
    pub(super) fn whole(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All values of a field that may stand there several times.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.trim())
    }

    /// A field's number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }
}

/// Of the address.
#[derive(Clone, Debug)]
pub(super) struct Query(pub(super) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(Fields::read(query.as_bytes())))
    }
}

/// Of a form that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent(pub(super) Fields);

impl FromRequest<Arc<AdminState>> for Sent {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &Arc<AdminState>) -> Result<Self, Failure> {
        let WholeBody(body) = WholeBody::from_request(request, state).await?;
        Ok(Self(Fields::read(&body)))
    }
}
